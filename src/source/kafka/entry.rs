//! The entry of the table of sources: what can be made of its settings.

use std::{sync::Arc, time::Duration};

use super::{KafkaSettings, KafkaSource, range::KafkaRange};
use crate::{
    engine::{
        diagnostic::{Diagnostic, code},
        time::WallTime,
        yaml::{SecretRef, Section},
    },
    kafka::ReadSecret,
    source::{RecordReader, Source, SourceConfig, SourceError, SourceKind},
    web::SecretSource,
};

/// The line of [`crate::source::SOURCES`].
#[derive(Debug)]
pub struct Kafka;

impl SourceKind for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn summary(&self) -> &'static str {
        "Topics of a Kafka cluster, by name or pattern; one process owns them all."
    }

    fn example(&self) -> &'static str {
        "brokers: [127.0.0.1:9092]\ntopics: [audit]\ngroup: tripline\n"
    }

    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn SourceConfig>> {
        KafkaSettings::parse(section).map(|settings| Box::new(settings) as Box<dyn SourceConfig>)
    }
}

impl SourceConfig for KafkaSettings {
    fn secrets(&self) -> Vec<SecretRef> {
        self.connection.secrets()
    }

    fn build(&self, secret: &SecretSource) -> Result<Box<dyn Source>, Box<Diagnostic>> {
        let connection = self.connection.open_to_renew(Arc::clone(secret)).map_err(|detail| {
            let title = format!("the Kafka source cannot be built: {detail}");
            Box::new(Diagnostic::error_nowhere(code::KAFKA_IMPOSSIBLE, title))
        })?;
        Ok(Box::new(KafkaSource::new(self.clone(), connection)))
    }

    fn history(
        &self,
        secret: ReadSecret<'_>,
        from: Option<WallTime>,
        until: Option<WallTime>,
    ) -> Option<Result<Box<dyn RecordReader>, SourceError>> {
        let failed = |detail| SourceError::Config(format!("Kafka source: {detail}"));
        let range = self
            .connection
            .open(secret)
            .map_err(failed)
            .and_then(|connection| KafkaRange::open(self, &connection, from, until));
        Some(range.map(|range| Box::new(range) as Box<dyn RecordReader>))
    }

    fn kafka(&self) -> Option<&KafkaSettings> {
        Some(self)
    }

    fn leave_out(&mut self, topic: &str) {
        self.left_out.push(topic.to_owned());
    }

    fn take_over(&self, secret: ReadSecret<'_>, timeout: Duration) -> Result<(), Box<Diagnostic>> {
        let failed = |detail: String| {
            let title = format!("cannot take over the stream: {detail}");
            Box::new(Diagnostic::error_nowhere(code::NOT_TAKEN_OVER, title))
        };
        let connection = self.connection.open(secret).map_err(failed)?;
        super::take_over(self, connection, timeout).map_err(|error| failed(error.to_string()))
    }
}
