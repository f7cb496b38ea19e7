//! Dead letters in a Kafka topic: the record as it was, with where it comes from in headers.

use std::time::Duration;

use super::dead_letter::{DeadLetterError, DeadLetterSink};
use crate::{
    engine::{detector::DeadLetter, time::WallTime},
    kafka::{ProduceError, Producer, Record},
};

/// How long the broker may take to acknowledge everything that was handed over.
const ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(30);

/// Writes dead letters to a topic. Headers: `reason`, `detail`, `topic`, `partition`, `offset`, `time`.
pub struct DeadLetterTopic {
    producer: Producer,
}

impl DeadLetterTopic {
    /// To the producer's topic.
    pub const fn new(producer: Producer) -> DeadLetterTopic {
        DeadLetterTopic { producer }
    }

    fn failed(&self, error: &ProduceError) -> DeadLetterError {
        DeadLetterError {
            place: format!("topic {}", self.producer.topic()),
            detail: error.to_string(),
        }
    }
}

impl DeadLetterSink for DeadLetterTopic {
    fn append(&mut self, now: WallTime, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        let time = now.rfc3339();
        for letter in letters {
            let partition = letter.partition.partition.to_string();
            let offset = letter.offset.to_string();
            let headers: [(&str, &[u8]); 6] = [
                ("reason", letter.reason.as_str().as_bytes()),
                ("detail", letter.detail.as_bytes()),
                ("topic", letter.partition.topic.as_bytes()),
                ("partition", partition.as_bytes()),
                ("offset", offset.as_bytes()),
                ("time", time.as_bytes()),
            ];
            let record =
                Record { payload: Some(&letter.payload), headers: &headers, ..Record::default() };
            self.producer.produce(&record).map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DeadLetterError> {
        self.producer.flush(ACKNOWLEDGE_WAIT).map_err(|error| self.failed(&error))
    }

    fn dropped(&self) -> u64 {
        0
    }
}
