//! What happens to every record: one copy into the batch, and its place remembered.
//!
//! This is the hottest code of the shell; it takes no lock and makes no system call.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use rdkafka::{
    Message as _,
    message::{BorrowedMessage, Headers as _},
};

use super::context::{NOWHERE, ReaderContext, Tracked};
use crate::{
    engine::{
        limits::RECORD_BYTES_MAX,
        record::{PartitionName, RecordBatch},
        time::EventTime,
    },
    source::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX},
};

/// Names of clusters that are remembered from headers: 1,000. Then all are forgotten and learned
/// again, which costs one allocation each.
const CLUSTERS_MAX: usize = 1_000;

/// Bytes of a cluster's name from a header: 253. A longer one is cut.
const CLUSTER_BYTES_MAX: usize = 253;

/// A partition of which the offsets went back.
#[derive(Debug)]
pub(super) struct Rewind {
    pub(super) partition: Arc<PartitionName>,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The batch that is being filled.
#[derive(Debug)]
pub(super) struct Intake {
    batch: RecordBatch,
    /// Partitions of the current assignment that were met: the library's handle of the topic, the
    /// partition, and what we know of it. Handles are only compared.
    met: Vec<(usize, i32, Arc<Tracked>)>,
    /// Where in `met` the last record's partition is; records come in runs.
    latest: usize,
    assignments: u64,
    cluster: Option<Arc<str>>,
    clusters: Clusters,
    sequence: u64,
    rewinds: Vec<Rewind>,
}

impl Intake {
    pub(super) fn new(cluster: Option<Arc<str>>, cluster_header: Option<String>) -> Intake {
        Intake {
            batch: RecordBatch::default(),
            met: Vec::new(),
            latest: 0,
            assignments: 0,
            cluster,
            clusters: Clusters::new(cluster_header),
            sequence: 0,
            rewinds: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.records.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.batch.records.len() >= BATCH_RECORDS_MAX || self.batch.payload.len() >= BATCH_BYTES_MAX
    }

    /// The batch, if it has records; the next one begins, in what `spare` gives.
    pub(super) fn take(
        &mut self,
        spare: impl FnOnce() -> Option<RecordBatch>,
    ) -> Option<RecordBatch> {
        if self.is_empty() {
            return None;
        }
        let next = spare().unwrap_or_else(|| RecordBatch {
            // The last record passes the bound by its length.
            payload: Vec::with_capacity(self.batch.payload.len().min(2 * BATCH_BYTES_MAX)),
            records: Vec::with_capacity(self.batch.records.len()),
            ..RecordBatch::default()
        });
        let mut batch = std::mem::replace(&mut self.batch, next);
        batch.sequence = self.sequence;
        self.sequence += 1;
        Some(batch)
    }

    /// The number of the next batch.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Partitions that went back since the last call.
    pub(super) fn take_rewinds(&mut self) -> Vec<Rewind> {
        std::mem::take(&mut self.rewinds)
    }

    /// Copies one record.
    pub(super) fn push(&mut self, context: &ReaderContext, message: &BorrowedMessage<'_>) {
        let index = self.find(context, message);
        let Some((_, _, tracked)) = self.met.get(index) else { return };
        let offset = message.offset();
        if offset >= tracked.stop_at.load(Ordering::Relaxed) {
            return;
        }
        let expected = tracked.next.load(Ordering::Relaxed);
        if offset != expected && expected != NOWHERE {
            if offset < expected {
                let partition = Arc::clone(&tracked.name);
                self.rewinds.push(Rewind { partition, from: expected, to: offset });
            } else {
                note_hole(tracked, expected, offset);
            }
        }
        tracked.next.store(offset + 1, Ordering::Relaxed);
        // A record above the bound is a dead letter; the decoder sees that it is, not all of it.
        let payload =
            message.payload().map(|bytes| bytes.get(..=RECORD_BYTES_MAX).unwrap_or(bytes));
        let named = self.clusters.of(message);
        let cluster = named.as_ref().or(self.cluster.as_ref());
        self.batch.push_at(&tracked.name, offset, cluster, written_at(message), payload);
    }

    fn find(&mut self, context: &ReaderContext, message: &BorrowedMessage<'_>) -> usize {
        let (topic, partition) = (message.topic_ptr() as usize, message.partition());
        let assignments = context.assignments();
        if assignments != self.assignments {
            // The library may reuse a handle after it gave a topic up.
            self.assignments = assignments;
            self.met.clear();
        }
        let same = |entry: &(usize, i32, Arc<Tracked>)| entry.0 == topic && entry.1 == partition;
        if !self.met.get(self.latest).is_some_and(same) {
            self.latest = self.met.iter().position(same).unwrap_or_else(|| {
                self.met.push((topic, partition, context.track(message.topic(), partition)));
                self.met.len() - 1
            });
        }
        self.latest
    }
}

/// When a record was written; `None` of producers that keep no clock, which say 0 or less.
pub(super) fn written_at(message: &BorrowedMessage<'_>) -> Option<EventTime> {
    let millis = message.timestamp().to_millis().filter(|millis| *millis > 0)?;
    Some(EventTime::from_millis(millis))
}

/// Keeps the widest hole since the last statistics.
fn note_hole(tracked: &Tracked, from: i64, to: i64) {
    let (begin, end) = &tracked.hole;
    if to - from > end.load(Ordering::Relaxed) - begin.load(Ordering::Relaxed) {
        begin.store(from, Ordering::Relaxed);
        end.store(to, Ordering::Relaxed);
    }
}

/// Names of clusters from a header, each kept once.
#[derive(Debug)]
pub(super) struct Clusters {
    header: Option<String>,
    known: BTreeMap<Vec<u8>, Arc<str>>,
}

impl Clusters {
    pub(super) fn new(header: Option<String>) -> Clusters {
        Clusters { header, known: BTreeMap::new() }
    }

    /// The cluster that a record names, if a header is configured and there.
    pub(super) fn of(&mut self, message: &BorrowedMessage<'_>) -> Option<Arc<str>> {
        let header = self.header.as_deref()?;
        let value = message.headers()?.iter().find(|found| found.key == header)?.value?;
        let value = value.get(..CLUSTER_BYTES_MAX).unwrap_or(value);
        if value.is_empty() {
            return None;
        }
        if let Some(known) = self.known.get(value) {
            return Some(Arc::clone(known));
        }
        if self.known.len() >= CLUSTERS_MAX {
            self.known.clear();
        }
        let name: Arc<str> = String::from_utf8_lossy(value).into();
        self.known.insert(value.to_vec(), Arc::clone(&name));
        Some(name)
    }
}
