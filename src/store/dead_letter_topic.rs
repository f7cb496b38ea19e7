//! Dead letters in a Kafka topic: the record as it was, with where it comes from in headers.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::dead_letter::{DeadLetterError, DeadLetterSink};
use crate::{
    engine::{detector::DeadLetter, time::WallTime},
    kafka::{DeliveryReport, ProduceError, Producer, Record},
    telemetry::Quiet,
};

/// How long the broker may take to acknowledge everything that was handed over.
const ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(30);

/// Bytes of a payload that are kept: 900,000. By default clients and brokers take records of 1 MB;
/// one that is refused for its size could never be written, and would hold up the checkpoint.
const PAYLOAD_BYTES_MAX: usize = 900_000;

/// Writes dead letters to a topic. Headers: `reason`, `detail`, `topic`, `partition`, `offset`, `time`,
/// and `truncated: true` if the payload was cut.
pub struct DeadLetterTopic {
    producer: Producer,
    /// What came of each letter since the last sync, as far as it is known.
    deliveries: Vec<oneshot::Receiver<DeliveryReport>>,
    dropped: u64,
    /// What was logged of letters that were dropped.
    dropping: Quiet,
}

impl DeadLetterTopic {
    /// To the producer's topic.
    pub const fn new(producer: Producer) -> DeadLetterTopic {
        DeadLetterTopic { producer, deliveries: Vec::new(), dropped: 0, dropping: Quiet::new() }
    }

    fn failed(&self, error: &ProduceError) -> DeadLetterError {
        DeadLetterError {
            place: format!("topic {}", self.producer.topic()),
            detail: error.to_string(),
        }
    }

    /// A letter that can never be written must not hold up all others.
    fn judge(&mut self, error: &ProduceError) -> Result<(), DeadLetterError> {
        if error.failure.may_pass() {
            return Err(self.failed(error));
        }
        self.dropped += 1;
        if let Some(times) = self.dropping.happened(&error.to_string(), Instant::now()) {
            tracing::error!(%error, times, "a dead letter was dropped");
        }
        Ok(())
    }
}

impl DeadLetterSink for DeadLetterTopic {
    fn append(&mut self, now: WallTime, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        let time = now.rfc3339();
        for letter in letters {
            let partition = letter.partition.partition.to_string();
            let offset = letter.offset.to_string();
            let topic = letter.partition.stored_topic();
            let headers: [(&str, &[u8]); 7] = [
                ("reason", letter.reason.as_str().as_bytes()),
                ("detail", letter.detail.as_bytes()),
                ("topic", topic.as_bytes()),
                ("partition", partition.as_bytes()),
                ("offset", offset.as_bytes()),
                ("time", time.as_bytes()),
                ("truncated", b"true"),
            ];
            let cut = letter.payload.get(..PAYLOAD_BYTES_MAX);
            let headers = if cut.is_some() { &headers[..] } else { &headers[..6] };
            let payload = Some(cut.unwrap_or(&letter.payload));
            match self.producer.deliver(&Record { payload, headers, ..Record::default() }) {
                Ok(delivery) => self.deliveries.push(delivery),
                Err(error) => self.judge(&error)?,
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DeadLetterError> {
        let flushed = self.producer.flush(ACKNOWLEDGE_WAIT);
        for mut delivery in std::mem::take(&mut self.deliveries) {
            match delivery.try_recv() {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => self.judge(&error)?,
                // Not acknowledged in time.
                Err(_) => match &flushed {
                    Err(error) => return Err(self.failed(error)),
                    Ok(()) => {
                        return Err(DeadLetterError {
                            place: format!("topic {}", self.producer.topic()),
                            detail: "a letter was not acknowledged".to_owned(),
                        });
                    }
                },
            }
        }
        Ok(())
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }
}
