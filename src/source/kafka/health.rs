//! Tells what people must know about the connection, once, instead of every error of the library.

use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode;

use crate::telemetry::Quiet;

/// How soon the same trouble is logged again: after 1 min, then ever more seldom, at last every 10 min.
const LOG_INTERVAL_MIN: Duration = Duration::from_secs(60);
const LOG_INTERVAL_MAX: Duration = Duration::from_secs(600);

/// What keeps the source from reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No broker answers. Ends when statistics show a connection.
    Connection,
    /// TLS or SASL fails. Ends when statistics show a connection.
    Credentials,
    /// A topic does not exist or may not be read. Ends with an assignment.
    Topic,
    /// The group may not be used. Ends with an assignment.
    Group,
}

/// The state that `/readyz` shows.
#[derive(Debug)]
pub(super) struct ConnectionHealth {
    trouble: Option<Trouble>,
    ready: bool,
    /// What the last error about a single broker said.
    broker_detail: String,
    next_log: Instant,
    log_interval: Duration,
    /// What was logged of errors that mean nothing for the source.
    others: Quiet,
}

impl ConnectionHealth {
    pub(super) fn new() -> ConnectionHealth {
        ConnectionHealth {
            trouble: None,
            ready: false,
            broker_detail: String::new(),
            next_log: Instant::now(),
            log_interval: LOG_INTERVAL_MIN,
            others: Quiet::new(),
        }
    }

    /// What a library error means for people; `None` if it means nothing yet.
    pub(super) fn judge(
        &mut self,
        code: RDKafkaErrorCode,
        reason: &str,
    ) -> Option<(Trouble, String)> {
        use RDKafkaErrorCode as Code;
        match code {
            Code::Authentication | Code::SaslAuthenticationFailed => Some((
                Trouble::Credentials,
                format!("the brokers refuse the credentials: {reason}"),
            )),
            Code::SSL => {
                Some((Trouble::Credentials, format!("TLS to the brokers fails: {reason}")))
            }
            Code::UnknownTopicOrPartition | Code::UnknownTopic => {
                Some((Trouble::Topic, format!("{reason}; it is read as soon as it exists")))
            }
            Code::TopicAuthorizationFailed => {
                Some((Trouble::Topic, format!("{reason}; grant READ and DESCRIBE on the topic")))
            }
            Code::GroupAuthorizationFailed => {
                Some((Trouble::Group, format!("{reason}; grant READ on the group")))
            }
            Code::InconsistentGroupProtocol => Some((
                Trouble::Group,
                format!("{reason}; another program is a member of it, and must not be"),
            )),
            // One broker of many may be away, and an idle connection may be closed: statistics tell
            // whether all of them are gone.
            Code::AllBrokersDown => None,
            Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut => {
                reason.clone_into(&mut self.broker_detail);
                None
            }
            _ => {
                if let Some(times) = self.others.happened(&code.to_string(), Instant::now()) {
                    tracing::warn!(%code, times, "Kafka: {reason}");
                }
                None
            }
        }
    }

    /// What it means that statistics show no connection at all, or none on which a broker answers.
    pub(super) fn disconnected(&self, is_silent: bool) -> (Trouble, String) {
        if is_silent {
            let detail = "the brokers are connected, but do not answer".to_owned();
            return (Trouble::Connection, detail);
        }
        let detail = format!("no broker can be reached: {}", self.broker_detail);
        (Trouble::Connection, detail.trim_end_matches([':', ' ']).to_owned())
    }

    /// Notes a trouble. Whether it is news, to be reported as an event.
    pub(super) fn fails(&mut self, trouble: Trouble, detail: &str, now: Instant) -> bool {
        // Credentials that are refused also look like brokers that cannot be reached.
        if trouble == Trouble::Connection && self.trouble == Some(Trouble::Credentials) {
            return false;
        }
        let news = self.trouble != Some(trouble);
        if news {
            self.log_interval = LOG_INTERVAL_MIN;
        }
        if news || now >= self.next_log {
            tracing::warn!("Kafka source cannot read: {detail}");
            self.next_log = now + self.log_interval;
            self.log_interval = (self.log_interval * 2).min(LOG_INTERVAL_MAX);
        }
        (self.trouble, self.ready) = (Some(trouble), false);
        news
    }

    /// Whether other credentials may help: none are accepted, or no broker can be reached.
    pub(super) const fn may_need_credentials(&self) -> bool {
        matches!(self.trouble, Some(Trouble::Connection | Trouble::Credentials))
    }

    /// Notes that brokers are connected. Whether that makes the source ready.
    pub(super) fn connected(&mut self, has_partitions: bool) -> bool {
        if matches!(self.trouble, Some(Trouble::Connection | Trouble::Credentials)) {
            self.trouble = None;
        }
        self.trouble.is_none() && !self.ready && has_partitions && self.works()
    }

    /// Notes that partitions are assigned or records come. Whether that is news.
    pub(super) fn works(&mut self) -> bool {
        let news = !self.ready;
        if news && self.trouble.is_some() {
            tracing::info!("Kafka source reads again");
        }
        (self.trouble, self.ready) = (None, true);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_once_and_ends() {
        let (mut health, now) = (ConnectionHealth::new(), Instant::now());
        let (trouble, detail) = health.judge(RDKafkaErrorCode::UnknownTopic, "no topic").unwrap();
        assert!(detail.contains("as soon as it exists"), "{detail}");
        assert!(health.fails(trouble, &detail, now));
        assert!(!health.fails(trouble, &detail, now));
        assert!(!health.connected(true), "a connection does not make the topic");
        assert!(health.works());
        assert!(!health.works());
    }

    #[test]
    fn a_lost_connection_ends_by_itself_but_needs_no_new_assignment() {
        let (mut health, now) = (ConnectionHealth::new(), Instant::now());
        assert!(health.works());
        assert_eq!(health.judge(RDKafkaErrorCode::BrokerTransportFailure, "refused"), None);
        let (trouble, detail) = health.disconnected(false);
        assert_eq!(detail, "no broker can be reached: refused");
        assert!(health.fails(trouble, &detail, now));
        assert!(health.connected(true));
        assert!(!health.connected(true));
    }

    #[test]
    fn refused_credentials_are_not_hidden_by_the_lost_connection() {
        let (mut health, now) = (ConnectionHealth::new(), Instant::now());
        let (trouble, detail) = health.judge(RDKafkaErrorCode::Authentication, "no").unwrap();
        assert!(health.fails(trouble, &detail, now));
        let (trouble, detail) = health.disconnected(false);
        assert!(!health.fails(trouble, &detail, now));
    }
}
