//! When which key must be looked at: one entry for each key, and some that do not count any more.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::engine::time::EventTime;

/// Entries that do not count any more, beside as many as there are keys, up to which these stay: 1,024.
const STALE_MAX: usize = 1_024;

/// Times, each with the number of a slot. An entry counts while its slot is scheduled for just that time; whoever
/// schedules a slot anew adds another.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BinaryHeap<Reverse<(EventTime, u32)>>);

impl Deadlines {
    /// The first time of all.
    pub(super) fn first(&self) -> Option<EventTime> {
        self.0.peek().map(|Reverse((time, _))| *time)
    }

    /// One more entry.
    pub(super) fn push(&mut self, time: EventTime, at: u32) {
        self.0.push(Reverse((time, at)));
    }

    /// The slots that stand under a time, if it is the first of all; an entry that does not count may name a slot, too.
    pub(super) fn pop_all(&mut self, time: EventTime, out: &mut Vec<u32>) {
        while let Some(Reverse((first, at))) = self.0.peek().copied()
            && first == time
        {
            out.push(at);
            self.0.pop();
        }
    }

    /// Forgets entries that do not count, if these are more than those of the keys, of which there are so many. Cost:
    /// a look at each, for as many that were added.
    pub(super) fn tidy(&mut self, keys: usize, counts: impl Fn(EventTime, u32) -> bool) {
        if self.0.len() > 2 * keys + STALE_MAX {
            self.keep(counts);
        }
    }

    /// Forgets the others.
    pub(super) fn keep(&mut self, counts: impl Fn(EventTime, u32) -> bool) {
        self.0.retain(|Reverse((time, at))| counts(*time, *at));
    }
}

#[cfg(test)]
impl Deadlines {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
