//! What the coordinator knows of one source: its batches in their order, and which of its partitions are
//! read.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::engine::{
    detector::DetectionBatch,
    record::{PartitionName, Position},
};

/// What is known of one source.
#[derive(Default)]
pub(super) struct SourceState {
    pub(super) next_sequence: u64,
    /// Where it goes on, with which batch, in order.
    pub(super) begins: VecDeque<Begin>,
    /// See [`super::Input::Begin`].
    pub(super) is_rebuilding: bool,
    /// Batches that came before their turn, or while none counted.
    pub(super) early: BTreeMap<u64, DetectionBatch>,
    /// Its partitions, while it can be read.
    pub(super) ready: Option<Vec<Arc<PartitionName>>>,
    /// Those of them, or others, that cannot be read nevertheless.
    pub(super) away: Vec<Arc<PartitionName>>,
    /// Partitions that an earlier process has read, until this one can read the source.
    pub(super) restored: Vec<Arc<PartitionName>>,
    /// How many batches there are in all, once that is known.
    pub(super) batches: Option<u64>,
}

/// See [`super::Input::Begin`].
pub(super) struct Begin {
    pub(super) sequence: u64,
    pub(super) positions: Vec<Position>,
    pub(super) is_rebuilding: bool,
}

impl SourceState {
    /// The partitions whose silence means something.
    pub(super) fn heard(&self) -> Vec<Arc<PartitionName>> {
        let is_heard = |partition: &&Arc<PartitionName>| !self.away.contains(partition);
        self.ready.iter().flatten().filter(is_heard).cloned().collect()
    }

    /// Where it goes on now, if that has changed.
    pub(super) fn next_begin(&mut self) -> Option<Begin> {
        let is_due = |begin: &Begin| begin.sequence <= self.next_sequence;
        self.begins.front().is_some_and(is_due).then(|| self.begins.pop_front())?
    }

    /// The batch whose turn it is, if it is there.
    pub(super) fn next_batch(&mut self) -> Option<DetectionBatch> {
        let batch = self.early.remove(&self.next_sequence)?;
        self.next_sequence += 1;
        Some(batch)
    }
}
