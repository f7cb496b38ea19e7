//! Dead letters in a Kafka topic: the record as it was, with where it comes from in headers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::dead_letter::{DeadLetterError, DeadLetterSink};
use crate::{
    engine::{detector::DeadLetter, record::PartitionName, time::WallTime},
    kafka::{DeliveryReport, ProduceError, Producer, Record},
    telemetry::Quiet,
};

/// How long one sync waits for the broker to acknowledge everything that was handed over: 3 s. What is on its
/// way then stays so, and the next sync waits for it.
const ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(3);

/// How long the broker may take to say what is wrong with the topic: 1 s.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a payload that are kept: 900,000. By default clients and brokers take records of 1 MB;
/// one that is refused for its size could never be written, and would hold up the checkpoint.
const PAYLOAD_BYTES_MAX: usize = 900_000;

/// Writes dead letters to a topic. Headers: `reason`, `detail`, `topic`, `partition`, `offset`, `time`,
/// and `truncated: true` if the payload was cut.
pub struct DeadLetterTopic {
    producer: Producer,
    /// What came of each letter since the last sync, as far as it is known.
    deliveries: Vec<oneshot::Receiver<DeliveryReport>>,
    /// Where the letters come from that are still on their way, since a sync did not wait for them.
    on_their_way: Vec<(Arc<PartitionName>, i64)>,
    /// The same of those that were handed over since.
    handed_over: Vec<(Arc<PartitionName>, i64)>,
    dropped: u64,
    /// What was logged of letters that were dropped.
    dropping: Quiet,
}

impl DeadLetterTopic {
    /// To the producer's topic.
    pub const fn new(producer: Producer) -> DeadLetterTopic {
        DeadLetterTopic {
            producer,
            deliveries: Vec::new(),
            on_their_way: Vec::new(),
            handed_over: Vec::new(),
            dropped: 0,
            dropping: Quiet::new(),
        }
    }

    fn failed(&self, detail: String) -> DeadLetterError {
        DeadLetterError { place: format!("topic {}", self.producer.topic()), detail }
    }

    /// A letter that can never be written must not hold up all others.
    fn judge(&mut self, error: &ProduceError) -> Result<(), DeadLetterError> {
        if error.failure.may_pass() {
            return Err(self.failed(error.to_string()));
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
        let names = letters.iter().map(|letter| (Arc::clone(&letter.partition), letter.offset));
        let names: Vec<_> = names.collect();
        if !names.is_empty() && names == self.on_their_way {
            // Written again they would be there twice.
            return Ok(());
        }
        self.on_their_way.clear();
        self.handed_over.extend(names);
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
        // What came of each letter is told one by one.
        let flushed = self.producer.flush(ACKNOWLEDGE_WAIT);
        let (mut waiting, mut judged) = (Vec::new(), Ok(()));
        for mut delivery in std::mem::take(&mut self.deliveries) {
            let result = match delivery.try_recv() {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => self.judge(&error),
                Err(TryRecvError::Closed) => {
                    Err(self.failed("a letter was not written".to_owned()))
                }
                Err(TryRecvError::Empty) => {
                    waiting.push(delivery);
                    Ok(())
                }
            };
            judged = judged.and(result);
        }
        let handed_over = std::mem::take(&mut self.handed_over);
        if judged.is_err() || waiting.is_empty() {
            self.on_their_way.clear();
            return judged;
        }
        self.deliveries = waiting;
        if self.on_their_way.is_empty() {
            self.on_their_way = handed_over;
        }
        let why = self.producer.trouble(ASK_TIMEOUT);
        let why = why.or_else(|| flushed.err().map(|error| error.detail)).unwrap_or_default();
        Err(self.failed(format!("letters wait to be acknowledged: {why}")))
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }
}
