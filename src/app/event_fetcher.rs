//! Fetches events again by where they were read, to show them, and to hand them over as evidence.

use std::{path::PathBuf, sync::Arc};

use super::{configuration::Configuration, configured_source::ConfiguredSource};
use crate::{
    config::SecretReader,
    engine::{
        decode::{Again, event_again},
        event_ref::EventRef,
        record::PartitionName,
        yaml::SecretRef,
    },
    kafka::read_record,
};

/// Fetches events again, from the sources of a configuration. Cheap to clone.
#[derive(Clone)]
pub struct EventFetcher {
    sources: Arc<[ConfiguredSource]>,
    secrets: SecretReader,
}

impl Configuration {
    /// Fetches events again from its sources.
    pub fn event_fetcher(&self) -> EventFetcher {
        EventFetcher { sources: Arc::clone(&self.sources), secrets: self.secrets.clone() }
    }

    /// Names of the sources that have one.
    pub fn source_names(&self) -> impl Iterator<Item = Arc<str>> {
        self.sources.iter().filter_map(|source| source.name.clone())
    }

    /// A file that a source reads, by the name of the source and of its partition.
    pub fn file_of(&self, source: Option<&str>, topic: &str) -> Option<PathBuf> {
        let mut sources = self.sources.iter().filter(|one| one.name.as_deref() == source);
        sources.find_map(|source| source.config.file(topic))
    }
}

impl EventFetcher {
    /// The event, if it is where it was read, byte for byte. Blocks the thread: 20 s at most for each answer of
    /// a broker. Joins no group, and disturbs no process that reads the same stream.
    pub fn fetch(&self, event: &EventRef) -> Again {
        match self.record(event) {
            Ok(Some(payload)) => {
                event_again(&payload, event.position.index, &event.event_hash.get())
            }
            Ok(None) => Again::PastRetention,
            Err(why) => Again::Unreadable(why),
        }
    }

    /// The record in which it was; `None` if that is no longer there.
    fn record(&self, event: &EventRef) -> Result<Option<Vec<u8>>, String> {
        let position = &event.position;
        let names: Vec<Arc<str>> =
            self.sources.iter().filter_map(|source| source.name.clone()).collect();
        let name = PartitionName::new(&*position.topic, position.partition).resolved(&names);
        let source = self.sources.iter().find(|source| source.name == name.source);
        let source = source.ok_or("the configuration has no such source")?;
        let secret = |secret: &SecretRef| self.secrets.read(secret);
        if let Some(kafka) = source.config.kafka() {
            let connection = kafka.connection.open(&secret)?;
            let found = read_record(connection, &name.topic, name.partition, position.offset)?;
            return Ok(found.and_then(|record| record.payload));
        }
        match source.config.record(&name.topic, position.offset) {
            Some(found) => found.map_err(|error| error.to_string()),
            None => Err("this kind of source keeps no records".to_owned()),
        }
    }
}
