//! Who else is in the group whose offsets we commit.
//!
//! Nobody belongs there: partitions are assigned by hand, so a member takes nothing away, but Kafka
//! refuses our commits while there is one, and its own commits make lag tools tell about it and not us.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use rdkafka::{consumer::Consumer as _, error::KafkaError};

use super::{
    KafkaSettings,
    assignment::Consumer,
    fence::{is_earlier_version, members_of},
};

/// How often the group is looked at: every 15 s.
const INTERVAL: Duration = Duration::from_secs(15);

/// How long the brokers may take to say who is in a group: 5 s.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Members that are named: 5. The rest is counted.
const NAMED_MAX: usize = 5;

/// Members of a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// Others, for people: what they call themselves, and from where. Empty if there are none.
    pub(super) strangers: String,
    /// A Tripline of an earlier version is one, or was within its session's time.
    pub(super) has_earlier_version: bool,
}

/// Looks again and again, on a thread of its own: brokers that hang hold up nobody.
pub(super) struct Neighbours {
    looks: mpsc::Receiver<Members>,
    /// The thread ends when this goes.
    _stop: mpsc::SyncSender<()>,
}

impl Neighbours {
    pub(super) fn watch(consumer: &Arc<Consumer>, settings: &KafkaSettings) -> Neighbours {
        let (sender, looks) = mpsc::channel();
        let (stop, stopped) = mpsc::sync_channel(1);
        let (consumer, settings) = (Arc::downgrade(consumer), settings.clone());
        let body = move || {
            let mut wait = Duration::from_secs(1);
            while stopped.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Timeout) {
                wait = INTERVAL;
                let Some(consumer) = consumer.upgrade() else { return };
                match members(&consumer, &settings) {
                    Ok(members) => {
                        if sender.send(members).is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::debug!(%error, "who is in the group is not known"),
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("kafka-group".to_owned()).spawn(body) {
            tracing::warn!(%error, "no thread to look who else is in the group");
        }
        Neighbours { looks, _stop: stop }
    }

    /// What the last look found, if there was one since the last call.
    pub(super) fn latest(&self) -> Option<Members> {
        self.looks.try_iter().last()
    }
}

/// Asks the brokers who is in the group.
pub(super) fn members(
    consumer: &Consumer,
    settings: &KafkaSettings,
) -> Result<Members, KafkaError> {
    let list = consumer.fetch_group_list(Some(&settings.group), ASK_TIMEOUT)?;
    let (mut members, mut names) = (Members::default(), Vec::new());
    for member in members_of(&list, &settings.group) {
        if is_earlier_version(settings, member.id()) {
            members.has_earlier_version = true;
        } else {
            let host = member.client_host().trim_start_matches('/');
            names.push(format!("{} at {host}", member.client_id()));
        }
    }
    names.sort();
    let more = names.len().saturating_sub(NAMED_MAX);
    names.truncate(NAMED_MAX);
    members.strangers = names.join(", ");
    if more > 0 {
        members.strangers += &format!(" and {more} more");
    }
    Ok(members)
}
