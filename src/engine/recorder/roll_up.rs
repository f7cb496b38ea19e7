//! Roll-ups: accesses that are alike within a time, as one.
//!
//! Their times begin at multiples of their length, so what becomes one does not depend on the order in
//! which accesses come.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::engine::{
    access::{Access, Alike, EventPosition, RollUp},
    limits::ROLL_UPS_MAX,
    time::EventTime,
};

/// Which roll-up it is: when it ends, and a digest of what its accesses have in common.
pub(super) type RollUpKey = (EventTime, [u8; 16]);

/// How many accesses a roll-up has, and when the last was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    count: u64,
    last: EventTime,
}

/// The roll-ups that have not ended.
#[derive(Debug, Default)]
pub(super) struct RollUps {
    open: BTreeMap<RollUpKey, (Box<Access>, Counted)>,
    /// Of which the first access is not stored as it is.
    firsts_changed: BTreeSet<RollUpKey>,
    counts_changed: BTreeSet<RollUpKey>,
}

/// A change for the next checkpoint; `None`: it is gone.
pub(super) enum Changed {
    /// Of the first access.
    First(RollUpKey, Option<Box<Access>>),
    /// Of the number.
    Count(RollUpKey, Option<Counted>),
}

impl RollUps {
    /// Adds an access by what it has in common with others, its time and its place; `make` makes it whole.
    /// Returns the roll-up that had to end early, if there were too many.
    pub(super) fn add(
        &mut self,
        alike: &Alike,
        at: EventTime,
        position: &EventPosition,
        make: impl FnOnce() -> Access,
    ) -> Option<Access> {
        let key = (end_of(at, alike.every()), alike.digest());
        self.counts_changed.insert(key);
        if let Some((first, counted)) = self.open.get_mut(&key) {
            counted.count += 1;
            counted.last = counted.last.max(at);
            if order(at, position) < order(first.at, &first.position) {
                **first = make();
                self.firsts_changed.insert(key);
            }
            return None;
        }
        self.open.insert(key, (Box::new(make()), Counted { count: 1, last: at }));
        self.firsts_changed.insert(key);
        if self.open.len() > ROLL_UPS_MAX { self.take_first() } else { None }
    }

    /// The next one that ended before event time had come so far.
    pub(super) fn ended(&mut self, watermark: EventTime) -> Option<Access> {
        let ((end, _), _) = self.open.first_key_value()?;
        if *end <= watermark { self.take_first() } else { None }
    }

    fn take_first(&mut self) -> Option<Access> {
        let (key, (mut access, counted)) = self.open.pop_first()?;
        self.firsts_changed.insert(key);
        self.counts_changed.insert(key);
        let first = access.at;
        access.rolled_up = Some(RollUp { count: counted.count, first, last: counted.last });
        Some(*access)
    }

    /// Whether none is open.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<Changed> {
        let firsts = std::mem::take(&mut self.firsts_changed)
            .into_iter()
            .map(|key| Changed::First(key, self.open.get(&key).map(|(access, _)| access.clone())));
        let counts = std::mem::take(&mut self.counts_changed)
            .into_iter()
            .map(|key| Changed::Count(key, self.open.get(&key).map(|(_, counted)| *counted)));
        firsts.chain(counts).collect()
    }

    /// Puts a stored first access back.
    pub(super) fn restore_first(&mut self, key: RollUpKey, access: Access) {
        let counted = Counted { count: 1, last: access.at };
        let (place, _) =
            self.open.entry(key).or_insert_with(|| (Box::new(access.clone()), counted));
        **place = access;
    }

    /// Puts a stored number back; of a roll-up whose access is not there it is of no use.
    pub(super) fn restore_count(&mut self, key: RollUpKey, counted: Counted) {
        if let Some((_, place)) = self.open.get_mut(&key) {
            *place = counted;
        }
    }
}

/// Which of two accesses is the first.
fn order(at: EventTime, position: &EventPosition) -> (EventTime, &str, i32, i64, u32) {
    (at, &position.topic, position.partition, position.offset, position.index)
}

/// The end of the time in which an access lies.
fn end_of(at: EventTime, every: Duration) -> EventTime {
    let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX).max(1);
    let start = at.micros().div_euclid(every).saturating_mul(every);
    EventTime::from_micros(start.saturating_add(every))
}
