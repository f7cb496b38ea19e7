//! How far event time has come.
//!
//! A partition's watermark is the highest event time that it has shown, minus `grace`; the stream's is
//! the least of them. A partition that has been silent for `idle_after` of the operator's clock stops
//! holding the others back. When all are silent, event time goes on at the speed of the operator's
//! clock from where it was, so that open windows still close; it does not jump to "now", since a
//! stream that is being read again after an outage is older than that.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::engine::{
    record::{PartitionName, Progress},
    settings::EngineSettings,
    time::{EventTime, WallTime},
};

/// One partition's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionClock {
    /// Highest event time seen.
    pub time_max: EventTime,
    /// When, by the operator's clock, an event last came.
    pub heard_at: WallTime,
}

/// The clocks of all partitions, and the watermark of the stream.
#[derive(Debug)]
pub struct Watermark {
    grace: std::time::Duration,
    idle_after: std::time::Duration,
    partitions: BTreeMap<Arc<PartitionName>, PartitionClock>,
    merged: Option<EventTime>,
}

impl Watermark {
    pub(crate) fn new(settings: &EngineSettings) -> Watermark {
        Watermark {
            grace: settings.grace,
            idle_after: settings.idle_after,
            partitions: BTreeMap::new(),
            merged: None,
        }
    }

    /// Takes a batch's progress; true if the partition's clock moved.
    pub(crate) fn observe(&mut self, now: WallTime, progress: &Progress) -> bool {
        let Some(time) = progress.time_max else { return false };
        let clock = self
            .partitions
            .entry(Arc::clone(&progress.partition))
            .or_insert(PartitionClock { time_max: EventTime::MIN, heard_at: now });
        clock.heard_at = clock.heard_at.max(now);
        let moved = time > clock.time_max;
        clock.time_max = clock.time_max.max(time);
        moved
    }

    /// Puts a stored clock back. Its silence begins anew: nobody could have heard anything meanwhile.
    pub(crate) fn restore(&mut self, partition: PartitionName, clock: PartitionClock) {
        self.partitions.insert(Arc::new(partition), clock);
    }

    /// Computes the watermark for this time; it never goes back.
    pub(crate) fn advance(&mut self, now: WallTime) {
        let awake = self
            .partitions
            .values()
            .filter(|clock| now.since(clock.heard_at) < self.idle_after)
            .map(|clock| clock.time_max)
            .min();
        let time = awake.or_else(|| {
            self.partitions
                .values()
                .map(|clock| clock.time_max.plus(now.since(clock.heard_at)))
                .max()
        });
        if let Some(time) = time {
            let candidate = time.minus(self.grace);
            self.merged = Some(self.merged.map_or(candidate, |merged| merged.max(candidate)));
        }
    }

    /// Moves it past everything that was seen: the stream has ended.
    pub(crate) fn finish(&mut self) {
        if self.merged.is_some() || !self.partitions.is_empty() {
            self.merged = Some(EventTime::MAX);
        }
    }

    /// The stream's watermark; `None` before the first event.
    pub const fn get(&self) -> Option<EventTime> {
        self.merged
    }

    /// The clocks, for metrics and checkpoints.
    pub const fn partitions(&self) -> &BTreeMap<Arc<PartitionName>, PartitionClock> {
        &self.partitions
    }
}
