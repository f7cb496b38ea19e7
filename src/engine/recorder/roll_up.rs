//! Roll-ups: accesses that are alike within a time, as one.
//!
//! Their times begin at multiples of their length, so what becomes one does not depend on the order in
//! which accesses come.

use std::{collections::BTreeSet, time::Duration};

use hashbrown::HashMap;
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
    /// Looked up for each access; in no order.
    open: HashMap<RollUpKey, Open>,
    /// The same, in the order in which they end.
    ends: BTreeSet<RollUpKey>,
    /// Of which the first access is not stored as it is.
    firsts_changed: Vec<RollUpKey>,
    /// Of which the number is not stored as it is.
    counts_changed: Vec<RollUpKey>,
}

/// One that has not ended.
#[derive(Debug)]
struct Open {
    first: Box<Access>,
    counted: Counted,
    /// It is known to be among those whose number changed.
    is_changed: bool,
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
    /// Returns the roll-up that had to end early, if there were too many. Cost: one look-up, unless it is a first.
    pub(super) fn add(
        &mut self,
        alike: &Alike,
        at: EventTime,
        position: &EventPosition,
        make: impl FnOnce() -> Access,
    ) -> Option<Access> {
        let key = (end_of(at, alike.every()), alike.digest());
        if let Some(open) = self.open.get_mut(&key) {
            open.counted.count += 1;
            open.counted.last = open.counted.last.max(at);
            if order(at, position) < order(open.first.at, &open.first.position) {
                *open.first = make();
                self.firsts_changed.push(key);
            }
            if !std::mem::replace(&mut open.is_changed, true) {
                self.counts_changed.push(key);
            }
            return None;
        }
        self.begin(key, make(), Counted { count: 1, last: at });
        self.firsts_changed.push(key);
        self.counts_changed.push(key);
        if self.open.len() > ROLL_UPS_MAX { self.take_first() } else { None }
    }

    fn begin(&mut self, key: RollUpKey, first: Access, counted: Counted) {
        self.open.insert(key, Open { first: Box::new(first), counted, is_changed: false });
        self.ends.insert(key);
    }

    /// The next one that ended before event time had come so far.
    pub(super) fn ended(&mut self, watermark: EventTime) -> Option<Access> {
        let (end, _) = self.ends.first()?;
        if *end <= watermark { self.take_first() } else { None }
    }

    fn take_first(&mut self) -> Option<Access> {
        let key = self.ends.pop_first()?;
        let Open { first: mut access, counted, .. } = self.open.remove(&key)?;
        self.firsts_changed.push(key);
        self.counts_changed.push(key);
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
        let mut changed = Vec::new();
        for key in each_once(&mut self.firsts_changed) {
            let first = self.open.get(&key).map(|open| open.first.clone());
            changed.push(Changed::First(key, first));
        }
        for key in each_once(&mut self.counts_changed) {
            let open = self.open.get_mut(&key);
            let counted = open.map(|open| {
                open.is_changed = false;
                open.counted
            });
            changed.push(Changed::Count(key, counted));
        }
        changed
    }

    /// Puts a stored first access back.
    pub(super) fn restore_first(&mut self, key: RollUpKey, access: Access) {
        if let Some(open) = self.open.get_mut(&key) {
            *open.first = access;
        } else {
            let counted = Counted { count: 1, last: access.at };
            self.begin(key, access, counted);
        }
    }

    /// Puts a stored number back; of a roll-up whose access is not there it is of no use.
    pub(super) fn restore_count(&mut self, key: RollUpKey, counted: Counted) {
        if let Some(open) = self.open.get_mut(&key) {
            open.counted = counted;
        }
    }
}

/// Those of a list, in order.
fn each_once(keys: &mut Vec<RollUpKey>) -> Vec<RollUpKey> {
    let mut keys = std::mem::take(keys);
    keys.sort_unstable();
    keys.dedup();
    keys
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
