//! What a source hands to the engine: bytes with their position, in batches.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{state::SourceNote, time::EventTime};

/// One ordered log that a source reads: a Kafka partition, a file, a log with its rotated files, or a path
/// that is posted to (partition 0 of each).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "StoredName", into = "StoredName")]
pub struct PartitionName {
    /// Name that the operator gave to its source; `None` for an only source without one.
    pub source: Option<Arc<str>>,
    /// Kafka topic, or path of a file, or path of a URL.
    pub topic: String,
    /// Kafka partition; 0 for a file.
    pub partition: i32,
}

/// A partition as checkpoints have it.
#[derive(Serialize, Deserialize)]
struct StoredName {
    topic: String,
    partition: i32,
}

impl PartitionName {
    /// Of a source without a name.
    pub fn new(topic: impl Into<String>, partition: i32) -> PartitionName {
        PartitionName { source: None, topic: topic.into(), partition }
    }

    /// Source and topic in one text, as checkpoints and dead letters have them: `prod:audit`.
    pub fn stored_topic(&self) -> Cow<'_, str> {
        match &self.source {
            None => Cow::Borrowed(&self.topic),
            Some(source) => Cow::Owned(format!("{source}:{}", self.topic)),
        }
    }

    /// A name from a checkpoint, with its source apart from its topic if it is one of these. Only they
    /// tell: a path may have a colon in it, too.
    #[must_use]
    pub fn resolved(mut self, sources: &[Arc<str>]) -> PartitionName {
        if self.source.is_none() {
            let of_source = |source: &&Arc<str>| {
                let rest = self.topic.strip_prefix(&***source);
                rest.is_some_and(|rest| rest.starts_with(':'))
            };
            if let Some(source) = sources.iter().find(of_source) {
                self.topic.drain(..=source.len());
                self.source = Some(Arc::clone(source));
            }
        }
        self
    }
}

impl From<StoredName> for PartitionName {
    fn from(StoredName { topic, partition }: StoredName) -> PartitionName {
        PartitionName::new(topic, partition)
    }
}

impl From<PartitionName> for StoredName {
    fn from(name: PartitionName) -> StoredName {
        StoredName { topic: name.stored_topic().into_owned(), partition: name.partition }
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stored_topic(), self.partition)
    }
}

/// Where to go on reading a partition: everything before `next_offset` is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: Arc<PartitionName>,
    /// Kafka offset, or line number of a file, of the first record that is not done. Of a file that is
    /// followed: the byte at which it begins.
    pub next_offset: i64,
    /// Which log it is a place in, if the source can tell (Kafka's id of the topic): one that was made
    /// anew under the same name has another.
    pub log: Option<Arc<str>>,
}

impl Position {
    /// In a log that nobody can tell from another one of its name.
    pub const fn new(partition: Arc<PartitionName>, next_offset: i64) -> Position {
        Position { partition, next_offset, log: None }
    }
}

/// One record of a [`RecordBatch`]; its bytes lie in the batch's arena.
#[derive(Clone, Debug)]
pub struct RecordEntry {
    /// Index into [`RecordBatch::partitions`].
    pub partition_index: u16,
    /// Index into [`RecordBatch::clusters`], if the source knows the cluster.
    pub cluster_index: Option<u16>,
    /// Kafka offset, or line number of a file; the last byte of its line in a file that is followed; a
    /// number of its own for a body that was posted.
    pub offset: i64,
    /// When the record was written, by the clock of its producer or broker; `None` if the source keeps
    /// no such time.
    pub time: Option<EventTime>,
    /// Where its payload lies in [`RecordBatch::payload`], in bytes. `None` for a tombstone.
    pub payload: Option<std::ops::Range<usize>>,
}

/// Records in the order in which the source read them, with one shared arena for their bytes.
///
/// One copy of about 1.5 kB a record (some 100 ns) buys batches that can cross threads without
/// holding the consumer's memory.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    /// Counts up by one from 0 for each batch of a run; the shard restores this order.
    pub sequence: u64,
    /// Partitions that records of this batch come from.
    pub partitions: Vec<Arc<PartitionName>>,
    /// Names of clusters that the source attached (static configuration, header).
    pub clusters: Vec<Arc<str>>,
    /// The records.
    pub records: Vec<RecordEntry>,
    /// The arena.
    pub payload: Vec<u8>,
    /// What the source wants to know after a restart that goes on behind these records; a later note of a
    /// key replaces an earlier one. There may be notes without records.
    pub notes: Vec<SourceNote>,
}

impl RecordBatch {
    /// Adds one record without a time of its own at the end; see [`RecordBatch::push_at`].
    pub fn push(
        &mut self,
        partition: &Arc<PartitionName>,
        offset: i64,
        cluster: Option<&Arc<str>>,
        payload: Option<&[u8]>,
    ) {
        self.push_at(partition, offset, cluster, None, payload);
    }

    /// Adds one record at the end. Cost: one copy of the payload, a short scan of `partitions`.
    ///
    /// # Panics
    /// If the batch already names 65,535 partitions or clusters; sources flush long before.
    pub fn push_at(
        &mut self,
        partition: &Arc<PartitionName>,
        offset: i64,
        cluster: Option<&Arc<str>>,
        time: Option<EventTime>,
        payload: Option<&[u8]>,
    ) {
        let partition_index = index_of(&mut self.partitions, partition);
        let cluster_index = cluster.map(|cluster| index_of(&mut self.clusters, cluster));
        let payload = payload.map(|bytes| {
            let start = self.payload.len();
            self.payload.extend_from_slice(bytes);
            start..self.payload.len()
        });
        self.records.push(RecordEntry { partition_index, cluster_index, offset, time, payload });
    }

    /// Makes room for so many records with so many bytes together, so that they are copied once.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.records.reserve(records);
        self.payload.reserve(bytes);
    }

    /// Forgets all records, and keeps the memory for others.
    pub fn clear(&mut self) {
        self.sequence = 0;
        self.partitions.clear();
        self.clusters.clear();
        self.records.clear();
        self.payload.clear();
        self.notes.clear();
    }

    /// The bytes of one record; `None` for a tombstone.
    pub fn payload_of(&self, record: &RecordEntry) -> Option<&[u8]> {
        self.payload.get(record.payload.clone()?)
    }

    /// The partition of one record.
    pub fn partition_of(&self, record: &RecordEntry) -> Option<&Arc<PartitionName>> {
        self.partitions.get(usize::from(record.partition_index))
    }

    /// The cluster that the source attached to one record.
    pub fn cluster_of(&self, record: &RecordEntry) -> Option<&Arc<str>> {
        self.clusters.get(usize::from(record.cluster_index?))
    }
}

/// How far a batch brings one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The partition.
    pub partition: Arc<PartitionName>,
    /// The offset after its last record in the batch.
    pub next_offset: i64,
    /// Lowest event time seen; `None` if there were no events.
    pub time_min: Option<EventTime>,
    /// Highest event time seen, events from the future left out; `None` if there were no events.
    pub time_max: Option<EventTime>,
    /// Records in the batch.
    pub records: u64,
}

fn index_of<T: Clone + PartialEq>(table: &mut Vec<T>, value: &T) -> u16 {
    // The last partition is nearly always the one: sources read partitions in runs.
    let index = table.iter().rposition(|known| known == value).unwrap_or_else(|| {
        table.push(value.clone());
        table.len() - 1
    });
    u16::try_from(index).expect("a batch names at most 65,535 partitions and clusters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_stored_in_front_of_its_topic_and_known_again() {
        let sources: [Arc<str>; 2] = ["prod".into(), "prod-eu".into()];
        let stored = |topic: &str| PartitionName::new(topic, 3);
        for (source, topic) in [(None, "audit"), (None, "/var/log/a:b"), (Some(1), "audit")] {
            let source = source.map(|index: usize| Arc::clone(&sources[index]));
            let name = PartitionName { source, ..stored(topic) };
            let bytes = postcard::to_stdvec(&name).unwrap();
            let read: PartitionName = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(read, stored(&name.stored_topic()));
            assert_eq!(read.resolved(&sources), name);
            assert_eq!(name.clone().resolved(&sources), name);
        }
        assert_eq!(
            stored("old:audit").resolved(&sources),
            stored("old:audit"),
            "not configured now"
        );
    }
}
