//! State by key: a bounded table with deadlines by event time, and what of it the next checkpoint
//! must hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, de::DeserializeOwned};

use super::{CorrelationKey, StateKey};
use crate::engine::{limits::CORRELATION_KEYS_MAX, time::EventTime};

/// One key's state, and when it must be looked at again, by watermark.
#[derive(Clone, Debug)]
struct Slot<S> {
    state: S,
    deadline: EventTime,
    /// Under which time it stands among the deadlines: this one or an earlier. Most events put their
    /// key's deadline off, which then costs nothing.
    scheduled: EventTime,
    /// Whether it stands among the changed ones.
    is_changed: bool,
}

/// The states of all keys of one rule. At most [`CORRELATION_KEYS_MAX`]; at the limit the key whose
/// deadline comes first is dropped: the one idle longest.
#[derive(Debug)]
pub(super) struct Keyed<S> {
    slots: BTreeMap<CorrelationKey, Slot<S>>,
    deadlines: BTreeSet<(EventTime, CorrelationKey)>,
    /// Keys that changed or are gone, in no order; one may stand there more than once.
    changed: Vec<CorrelationKey>,
    evicted: u64,
}

impl<S> Default for Keyed<S> {
    fn default() -> Keyed<S> {
        Keyed {
            slots: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            changed: Vec::new(),
            evicted: 0,
        }
    }
}

impl<S: Clone + Serialize + DeserializeOwned> Keyed<S> {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn get(&self, key: &CorrelationKey) -> Option<&S> {
        self.slots.get(key).map(|slot| &slot.state)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &CorrelationKey> {
        self.slots.keys()
    }

    /// Changes the state of a key, a fresh one if it has none. `change` says when the key must be
    /// looked at next; without a time it is forgotten.
    pub(super) fn update(
        &mut self,
        key: CorrelationKey,
        fresh: impl FnOnce() -> S,
        change: impl FnOnce(&mut S) -> Option<EventTime>,
    ) {
        if let Some(slot) = self.slots.get_mut(&key) {
            let Some(deadline) = change(&mut slot.state) else {
                self.remove(&key);
                return;
            };
            slot.deadline = deadline;
            let scheduled = slot.scheduled;
            if deadline < scheduled {
                slot.scheduled = deadline;
            }
            if !std::mem::replace(&mut slot.is_changed, true) {
                self.changed.push(key.clone());
            }
            if deadline < scheduled {
                self.deadlines.remove(&(scheduled, key.clone()));
                self.deadlines.insert((deadline, key));
            }
            return;
        }
        let mut state = fresh();
        let Some(deadline) = change(&mut state) else { return };
        if self.slots.len() >= CORRELATION_KEYS_MAX {
            self.evict();
        }
        self.deadlines.insert((deadline, key.clone()));
        self.changed.push(key.clone());
        self.slots.insert(key, Slot { state, deadline, scheduled: deadline, is_changed: true });
    }

    /// The key whose deadline comes first, if it comes until `time`; it stands among the deadlines no
    /// more.
    fn pop_due(&mut self, time: EventTime) -> Option<(EventTime, CorrelationKey)> {
        while self.deadlines.first().is_some_and(|(scheduled, _)| *scheduled <= time) {
            let (scheduled, key) = self.deadlines.pop_first()?;
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if slot.deadline <= scheduled {
                return Some((scheduled, key));
            }
            // It was put off.
            slot.scheduled = slot.deadline;
            self.deadlines.insert((slot.deadline, key));
        }
        None
    }

    fn evict(&mut self) {
        if let Some((_, key)) = self.pop_due(EventTime::MAX) {
            self.slots.remove(&key);
            self.changed.push(key);
            self.evicted += 1;
        }
    }

    pub(super) fn remove(&mut self, key: &CorrelationKey) -> Option<S> {
        let slot = self.slots.remove(key)?;
        self.deadlines.remove(&(slot.scheduled, key.clone()));
        self.changed.push(key.clone());
        Some(slot.state)
    }

    /// Looks at each key whose deadline the watermark has passed, in the order of the deadlines.
    /// `step` says when it must be looked at next; without a time it is forgotten.
    ///
    /// # Panics
    /// If `step` asks for a time that is not later: it would never end.
    pub(super) fn advance(
        &mut self,
        watermark: EventTime,
        mut step: impl FnMut(&CorrelationKey, &mut S, EventTime) -> Option<EventTime>,
    ) {
        while let Some((due, key)) = self.pop_due(watermark) {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            let Some(next) = step(&key, &mut slot.state, due) else {
                self.slots.remove(&key);
                self.changed.push(key);
                continue;
            };
            assert!(next > due, "a deadline that has passed is followed by a later one");
            (slot.deadline, slot.scheduled) = (next, next);
            if !std::mem::replace(&mut slot.is_changed, true) {
                self.changed.push(key.clone());
            }
            self.deadlines.insert((next, key));
        }
    }

    /// Keys dropped to make room since the last call.
    pub(super) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// Keys that changed since the last call, with their state as stored; `None` if it is gone.
    pub(super) fn take_changed(&mut self, table: u8, out: &mut Vec<(StateKey, Option<Vec<u8>>)>) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for key in changed {
            let bytes = self.slots.get_mut(&key).map(|slot| {
                slot.is_changed = false;
                stored(slot)
            });
            out.push((StateKey { table, key }, bytes));
        }
    }

    /// Every key with its state as stored.
    pub(super) fn dump(&self, table: u8, out: &mut Vec<(StateKey, Vec<u8>)>) {
        out.extend(
            self.slots
                .iter()
                .map(|(key, slot)| (StateKey { table, key: key.clone() }, stored(slot))),
        );
    }

    /// Puts a stored key back, after a change. `None` if its state cannot be read.
    pub(super) fn restore(
        &mut self,
        key: CorrelationKey,
        bytes: &[u8],
        change: impl FnOnce(&mut S, &CorrelationKey),
    ) -> Option<()> {
        let (mut state, deadline): (S, EventTime) = postcard::from_bytes(bytes).ok()?;
        change(&mut state, &key);
        if let Some(before) = self.slots.get(&key) {
            self.deadlines.remove(&(before.scheduled, key.clone()));
        }
        self.deadlines.insert((deadline, key.clone()));
        self.slots.insert(key, Slot { state, deadline, scheduled: deadline, is_changed: false });
        Some(())
    }
}

fn stored<S: Serialize>(slot: &Slot<S>) -> Vec<u8> {
    postcard::to_stdvec(&(&slot.state, slot.deadline))
        .expect("state is made of plain values, and memory is there for it")
}
