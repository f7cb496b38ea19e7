//! Numbers of events over a long time, in coarse steps: how many there were lately, at a few bytes a
//! step.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    keyed::{KeyState, Standing},
    memory,
};
use crate::engine::{encode::encode_into, time::EventTime};

/// From when to when something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SeenSpan {
    /// The earliest time.
    pub(super) first: EventTime,
    /// The latest time.
    pub(super) last: EventTime,
}

impl KeyState for SeenSpan {
    fn pack(&self, out: &mut Vec<u8>) -> bool {
        *out = encode_into(std::mem::take(out), self);
        true
    }

    fn unpack(packed: &[u8]) -> Option<SeenSpan> {
        postcard::from_bytes(packed).ok()
    }
}

impl SeenSpan {
    /// Seen once.
    pub(super) const fn at(time: EventTime) -> SeenSpan {
        SeenSpan { first: time, last: time }
    }

    /// What was seen for longest has come furthest.
    pub(super) fn standing(&self) -> Standing {
        Standing { progress: self.last.since(self.first).as_secs_f64(), since: self.first }
    }

    /// Seen once more, by somebody whose memory lasts so long: after a longer pause it begins anew,
    /// whether the watermark has passed the pause or not.
    pub(super) fn add(&mut self, time: EventTime, memory: Duration) {
        if self.last.plus(memory) <= time {
            *self = SeenSpan::at(time);
        }
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }
}

/// How many events each step of time had. Steps without events take no room.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct StepCounts {
    /// Number of the step since the epoch, and its events; ascending.
    steps: VecDeque<(i64, u32)>,
}

/// Steps that are packed: 32. Each further event of the key costs as much again.
const PACKED_MAX: usize = 32;

impl KeyState for StepCounts {
    fn bytes(&mut self) -> usize {
        memory::list(self.steps.len(), 16)
    }

    fn pack(&self, out: &mut Vec<u8>) -> bool {
        let is_short = self.steps.len() <= PACKED_MAX;
        if is_short {
            *out = encode_into(std::mem::take(out), self);
        }
        is_short
    }

    fn unpack(packed: &[u8]) -> Option<StepCounts> {
        postcard::from_bytes(packed).ok()
    }
}

/// The number of the step that a time is in.
pub(super) fn step_of(time: EventTime, length: Duration) -> i64 {
    let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX).max(1);
    time.micros().div_euclid(length)
}

/// When a step begins.
pub(super) fn start_of(step: i64, length: Duration) -> EventTime {
    let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX).max(1);
    EventTime::from_micros(step.saturating_mul(length))
}

impl StepCounts {
    /// One more event in a step.
    pub(super) fn add(&mut self, step: i64) {
        let at = self.steps.partition_point(|(known, _)| *known < step);
        match self.steps.get_mut(at) {
            Some((known, events)) if *known == step => *events = events.saturating_add(1),
            _ => self.steps.insert(at, (step, 1)),
        }
    }

    /// Forgets the steps before this one.
    pub(super) fn forget_before(&mut self, step: i64) {
        while self.steps.front().is_some_and(|(known, _)| *known < step) {
            self.steps.pop_front();
        }
    }

    /// The last step that had an event.
    pub(super) fn last(&self) -> Option<i64> {
        self.steps.back().map(|(step, _)| *step)
    }

    /// Events of one step.
    pub(super) fn at(&self, step: i64) -> u32 {
        self.steps
            .binary_search_by_key(&step, |(known, _)| *known)
            .ok()
            .and_then(|at| self.steps.get(at))
            .map_or(0, |(_, events)| *events)
    }

    /// What had most events has come furthest.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(super) fn standing(&self, length: Duration) -> Standing {
        let first = self.steps.front().map_or(i64::MAX, |(step, _)| *step);
        Standing { progress: self.since(i64::MIN) as f64, since: start_of(first, length) }
    }

    /// Events from one step on.
    pub(super) fn since(&self, step: i64) -> u64 {
        let recent = self.steps.iter().rev().take_while(|(known, _)| *known >= step);
        recent.map(|(_, events)| u64::from(*events)).sum()
    }

    /// Events of the steps `from..to`.
    pub(super) fn between(&self, from: i64, to: i64) -> u64 {
        let steps = self.steps.iter().filter(|(step, _)| (from..to).contains(step));
        steps.map(|(_, events)| u64::from(*events)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_arrival_does_not_matter() {
        let mut history = StepCounts::default();
        for step in [5, 3, 5, 9, 3, 3] {
            history.add(step);
        }
        assert_eq!((history.at(3), history.at(4), history.at(5)), (3, 0, 2));
        assert_eq!((history.since(5), history.between(3, 9)), (3, 5));
        history.forget_before(5);
        assert_eq!((history.since(i64::MIN), history.last()), (3, Some(9)));
    }
}
