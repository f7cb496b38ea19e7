//! What every Kafka client of Tripline shares: the connection, its credentials, logs, a producer,
//! and an embedded Kafka for `demo` and tests.
//!
//! This module knows nothing of records, alerts or checkpoints. It and `source::kafka` are the only
//! ones that name the client library; sources, stores and notifiers may use this module as they use
//! `telemetry`.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

pub mod connection;
pub mod embedded;
mod oauth;
pub mod producer;
mod property;
mod reading;

use rdkafka::{
    client::{ClientContext, OAuthToken},
    config::RDKafkaLogLevel,
};

use std::time::Instant;

use crate::telemetry::Quiet;

pub use connection::{Connection, OpenConnection, Sasl, Tls};
pub use embedded::EmbeddedKafka;
pub use oauth::OAuth;
pub use producer::{DeliveryReport, ProduceError, ProduceFailure, Producer, Record};
pub use reading::{StoredRecord, read_record, read_topic};

/// What [`is_topic`] asks for, for people.
pub const TOPIC_RULE: &str = "names have letters, digits, `.`, `_` and `-`, 249 at most";

/// Kafka's own rule for names of topics.
pub fn is_topic(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && name.len() <= 249 && name.chars().all(legal) && name != "." && name != ".."
}

/// Reads a secret, as the shell does it.
pub type ReadSecret<'a> = &'a dyn Fn(&crate::engine::yaml::SecretRef) -> Result<String, String>;

/// What the library was heard to say again and again.
static LIBRARY: Quiet = Quiet::new();

/// The part of a client's callbacks that producers and consumers share.
#[derive(Debug)]
pub(crate) struct Callbacks {
    tokens: Option<oauth::TokenSource>,
}

impl Callbacks {
    /// Forwards a log line of the library. Lines about single connections come often while a cluster
    /// is away, and from each of its threads; what they mean for people is logged once by the source
    /// or returned by the producer, so they are for debugging.
    pub(crate) fn forward_log(level: RDKafkaLogLevel, facility: &str, text: &str) {
        const TARGET: &str = "tripline::kafka::library";
        if matches!(facility, "FAIL" | "GETPID") {
            tracing::debug!(target: TARGET, facility, "{text}");
            return;
        }
        let times = || LIBRARY.happened(facility, Instant::now());
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: TARGET, facility, "{text}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                if let Some(times) = times() {
                    tracing::warn!(target: TARGET, facility, times, "{text}");
                } else {
                    tracing::debug!(target: TARGET, facility, "{text}");
                }
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: TARGET, facility, "{text}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: TARGET, facility, "{text}"),
        }
    }

    /// A token for SASL OAUTHBEARER.
    pub(crate) fn token(&self) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let source = self.tokens.as_ref().ok_or("no token endpoint is configured")?;
        source.fetch().map_err(|detail| {
            if let Some(times) = LIBRARY.happened("oauth", Instant::now()) {
                tracing::warn!(%detail, times, "no OAuth token for Kafka");
            }
            detail.into()
        })
    }
}

impl ClientContext for Callbacks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Callbacks::forward_log(level, facility, text);
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        if let Some(times) = LIBRARY.happened(&error.to_string(), Instant::now()) {
            tracing::warn!(target: "tripline::kafka::library", %error, times, "{reason}");
        }
    }

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.token()
    }
}
