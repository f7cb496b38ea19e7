//! Files that are written while they are read, and rotated: a source that never ends.
//!
//! One record a line; a last line without its end is waited for. The disk is looked at by time, not by
//! notifications of the system, which network file systems do not send.

mod content;
mod family;
mod follower;
mod note;
mod reading;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use self::follower::{Followed, Follower};
use super::FileSettings;
use crate::{
    engine::record::{PartitionName, RecordBatch},
    source::{SINK_RETRY, Source, SourceContext, SourceError, SourceEvent},
};

/// How often the files are looked at that are open: every 200 ms.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How often it is looked which files there are: every second.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);

/// Scans for which a file may be away before that is said: 3. A rotation takes it away for a moment.
const AWAY_SCANS: u32 = 3;

/// Files as a source for `run` that follows them.
#[derive(Debug)]
pub(super) struct FollowSource {
    pub(super) settings: FileSettings,
}

impl Source for FollowSource {
    fn run(self: Box<Self>, context: SourceContext) -> Result<(), SourceError> {
        let followed = Followed {
            paths: self.settings.paths,
            source: context.name.clone(),
            cluster: self.settings.cluster,
        };
        let follower = Follower::new(followed, &context.notes);
        Following { follower, context, sequence: 0, told: None, away_scans: 0 }.run();
        Ok(())
    }
}

/// What was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Ready { partitions: Vec<Arc<PartitionName>>, degraded: Option<String> },
    Unavailable(String),
}

struct Following {
    follower: Follower,
    context: SourceContext,
    sequence: u64,
    told: Option<Told>,
    away_scans: u32,
}

impl Following {
    fn run(mut self) {
        let mut next_scan = Instant::now();
        while !self.context.stop.is_cancelled() {
            if Instant::now() >= next_scan || self.follower.is_moved() {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.follower.scan(i128::try_from(since.as_nanos()).unwrap_or(i128::MAX));
                self.tell();
                next_scan = Instant::now() + SCAN_INTERVAL;
            }
            let spare = self.context.sink.spare().unwrap_or_default();
            match self.follower.next_batch(spare) {
                Some(mut batch) => {
                    batch.sequence = self.sequence;
                    self.sequence += 1;
                    self.offer(batch);
                }
                None => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Hands a batch over, however long it takes. One that was not taken was never read.
    fn offer(&mut self, batch: RecordBatch) {
        let mut waiting = Some(batch);
        while let Some(batch) = waiting.take() {
            if self.context.stop.is_cancelled() {
                return;
            }
            waiting = self.context.sink.offer(batch).err();
            if waiting.is_some() {
                thread::sleep(SINK_RETRY);
            }
        }
    }

    /// Says what changed: which logs are read, what cannot be read, what was lost.
    fn tell(&mut self) {
        for loss in self.follower.take_losses() {
            let (what, count, detail) = (loss.what, loss.count, loss.detail);
            (self.context.events)(SourceEvent::Trouble { what, count, detail });
        }
        (self.context.events)(SourceEvent::Behind { logs: self.follower.behind() });
        let trouble = self.follower.unreadable();
        self.away_scans = if trouble.is_some() { self.away_scans + 1 } else { 0 };
        let degraded = trouble.filter(|_| self.away_scans >= AWAY_SCANS || self.told.is_none());
        let now = if self.follower.has_files() {
            Told::Ready { partitions: self.follower.partitions(), degraded }
        } else {
            let nothing = || "no file is there yet; waiting for one".to_owned();
            Told::Unavailable(degraded.unwrap_or_else(nothing))
        };
        if self.told.as_ref() == Some(&now) {
            return;
        }
        let events = &self.context.events;
        match (&now, &self.told) {
            (Told::Unavailable(detail), _) => {
                events(SourceEvent::Unavailable { detail: detail.clone() });
            }
            (
                Told::Ready { partitions, degraded },
                Some(Told::Ready { partitions: before, degraded: _ }),
            ) if partitions == before => events(SourceEvent::Degraded(degraded.clone())),
            (Told::Ready { partitions, degraded }, _) => {
                events(SourceEvent::Ready { partitions: partitions.clone() });
                if degraded.is_some() {
                    events(SourceEvent::Degraded(degraded.clone()));
                }
            }
        }
        self.told = Some(now);
    }
}

#[cfg(test)]
mod tests;
