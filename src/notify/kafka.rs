//! `kafka`: one JSON record for each change of an alert, keyed by its fingerprint.
//!
//! The value is one alert as `deploy/alert.schema.json` describes it. Headers `notification_id` and
//! `state` let a consumer drop what it has seen; a compacted topic keeps the latest state of each alert.

use std::sync::Arc;

use super::{
    BuildContext, Notifier, NotifierConfig, NotifierKind, NotifyFuture, Terms, cannot_build,
    form::in_form, json,
};
use crate::{
    engine::{
        alert::json::AlertJson,
        diagnostic::Diagnostic,
        dispatch::{Address, Notification, Outcome, OutcomeReason},
        text,
        yaml::{SecretRef, Section},
    },
    kafka::{
        Connection, ProduceError, ProduceFailure, Producer, Record, TOPIC_RULE, is_topic,
        producer::PRODUCER_OWNED,
    },
};

/// The kind.
pub(super) struct Kafka;

struct KafkaConfig {
    connection: Connection,
    topic: String,
}

struct KafkaNotifier {
    producer: Arc<Producer>,
    address: Address,
}

impl NotifierKind for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn summary(&self) -> &'static str {
        "One JSON record for each change of an alert in a Kafka topic."
    }

    fn example(&self) -> &'static str {
        "brokers: [127.0.0.1:9092]\ntopic: alerts\n"
    }

    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn NotifierConfig>> {
        let connection = Connection::parse(section, &PRODUCER_OWNED);
        let topic = section.required_string("topic", "name the topic that alerts are written to");
        if let Some(topic) = topic.as_deref().filter(|topic| !is_topic(topic)) {
            let title = format!("`{}` is not a topic", text::one_line(topic, 80));
            section.invalid("topic", title, TOPIC_RULE);
        }
        Some(Box::new(KafkaConfig { connection: connection?, topic: topic? }))
    }
}

impl NotifierConfig for KafkaConfig {
    fn terms(&self) -> Terms {
        Terms::machine()
    }

    fn secrets(&self) -> Vec<SecretRef> {
        self.connection.secrets()
    }

    fn files(&self) -> Vec<String> {
        self.connection.files()
    }

    fn topic(&self) -> Option<(&Connection, &str)> {
        Some((&self.connection, &self.topic))
    }

    fn make(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        let failed = |why: String| cannot_build("kafka", &why);
        let connection = self.connection.open(&*context.secret).map_err(failed)?;
        let producer = Producer::new(connection, &self.topic).map_err(failed)?;
        let mut brokers = self.connection.brokers.clone();
        brokers.sort_unstable();
        let address = Address::of(brokers.iter().chain([&self.topic]));
        Ok(Arc::new(KafkaNotifier { producer: Arc::new(producer), address }))
    }
}

impl Notifier for KafkaNotifier {
    fn address(&self) -> Address {
        self.address
    }

    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        Box::pin(async move {
            let id = notification.id.to_string();
            let records: Vec<(String, &'static str, Vec<u8>)> = in_form(notification)
                .alerts
                .iter()
                .map(|alert| {
                    let body = json::to_bytes(&AlertJson::new(alert));
                    (alert.fingerprint.to_string(), alert.state.as_str(), body)
                })
                .collect();
            let producer = Arc::clone(&self.producer);
            // Queueing waits when the queue is full, so it must not hold up other receivers.
            let queued = tokio::task::spawn_blocking(move || {
                let queue = |(key, state, body): &(String, &'static str, Vec<u8>)| {
                    let headers: [(&str, &[u8]); 2] =
                        [("notification_id", id.as_bytes()), ("state", state.as_bytes())];
                    producer.deliver(&Record {
                        key: Some(key.as_bytes()),
                        payload: Some(body),
                        headers: &headers,
                        ..Record::default()
                    })
                };
                records.iter().map(queue).collect::<Result<Vec<_>, ProduceError>>()
            });
            let receivers = match queued.await {
                Ok(Ok(receivers)) => receivers,
                Ok(Err(error)) => return outcome(&error),
                Err(error) => {
                    let (reason, detail) = (OutcomeReason::Unsendable, error.to_string());
                    return Outcome::Retry { reason, detail, after: None };
                }
            };
            for receiver in receivers {
                match receiver.await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return outcome(&error),
                    Err(_) => {
                        let detail = "the producer was closed".to_owned();
                        let reason = OutcomeReason::Connection;
                        return Outcome::Retry { reason, detail, after: None };
                    }
                }
            }
            Outcome::Delivered { receipt: None }
        })
    }
}

fn outcome(error: &ProduceError) -> Outcome {
    let detail = error.to_string();
    let rejected = |reason, detail| Outcome::Rejected { reason, detail };
    match error.failure {
        ProduceFailure::Transient => {
            Outcome::Retry { reason: OutcomeReason::Connection, detail, after: None }
        }
        ProduceFailure::Denied => rejected(OutcomeReason::AuthError, detail),
        ProduceFailure::TooLarge => rejected(OutcomeReason::TooLarge, detail),
        ProduceFailure::Invalid => rejected(OutcomeReason::ClientError, detail),
    }
}
