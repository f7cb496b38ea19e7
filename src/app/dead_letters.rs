//! Dead letters that were kept: reading them, and sending their records again.

use std::sync::Arc;

use super::configuration::Configuration;
use crate::{
    config::DeadLetterSettings,
    engine::{
        diagnostic::{Diagnostic, code},
        record::PartitionName,
    },
    kafka::{Connection, OpenConnection, Producer, Record, StoredRecord, read_record},
    store::kept::{KeptLetter, read_files, read_from_topic},
};

impl Configuration {
    /// The dead letters that are kept, oldest first. Blocks the thread.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn kept_dead_letters(&self) -> Result<Vec<KeptLetter>, Box<Diagnostic>> {
        let read = match &self.general.dead_letter {
            DeadLetterSettings::Directory(directory) if !directory.exists() => Ok(Vec::new()),
            DeadLetterSettings::Directory(directory) => {
                read_files(directory).map_err(|error| error.to_string())
            }
            DeadLetterSettings::Topic(topic) => self.dead_letter_cluster().and_then(|cluster| {
                read_from_topic(cluster, topic).map_err(|error| error.to_string())
            }),
        };
        read.map_err(|why| Box::new(Diagnostic::error_nowhere(code::DEAD_LETTERS_IMPOSSIBLE, why)))
    }

    /// The cluster in which the topic of dead letters lies.
    pub(super) fn dead_letter_cluster(&self) -> Result<OpenConnection, String> {
        let first = self.sources.iter().find_map(|source| source.config.kafka());
        self.open(&first.ok_or("there is no Kafka source")?.connection)
    }

    /// The record from which a letter came, if it came from Kafka and is still there.
    pub fn original_of(&self, letter: &KeptLetter) -> Option<StoredRecord> {
        let (topic, connection) = self.origin(letter)?;
        let connection = self.open(connection).ok()?;
        read_record(connection, &topic, letter.partition, letter.offset).ok()?
    }

    /// Writes a payload to the end of the topic from which a letter came, with key and headers of its record, which may
    /// say of which cluster it is, and waits until it is there.
    ///
    /// # Errors
    /// If it came from no topic of ours, or the topic does not take it.
    pub fn send_again(
        &self,
        letter: &KeptLetter,
        payload: &[u8],
        original: Option<&StoredRecord>,
    ) -> Result<(), String> {
        let (topic, connection) = self.origin(letter).ok_or_else(|| {
            "it came from no topic of this configuration; write it with --output".to_owned()
        })?;
        let producer = Producer::new(self.open(connection)?, &topic)?;
        let headers = original.map_or(&[][..], |record| &record.headers);
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let key = original.and_then(|record| record.key.as_deref());
        let record = Record { key, payload: Some(payload), headers: &headers, ..Record::default() };
        let delivery = producer.deliver(&record).map_err(|error| error.to_string())?;
        match delivery.blocking_recv() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("topic {topic}: it was not acknowledged")),
        }
    }

    fn open(&self, connection: &Connection) -> Result<OpenConnection, String> {
        connection.open_to_renew(self.secret_source())
    }

    /// The topic of a letter, and how its cluster is reached.
    fn origin(&self, letter: &KeptLetter) -> Option<(String, &Connection)> {
        let names: Vec<Arc<str>> =
            self.sources.iter().filter_map(|source| source.name.clone()).collect();
        let name = PartitionName::new(letter.topic.clone(), letter.partition).resolved(&names);
        let source = self.sources.iter().find(|source| source.name == name.source)?;
        Some((name.topic, &source.config.kafka()?.connection))
    }
}
