//! State by key: a bounded table with deadlines by event time, and what of it the next checkpoint
//! must hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{CorrelationKey, StateKey};
use crate::engine::{limits::CORRELATION_KEYS_MAX, time::EventTime};

/// One key's state, and when it must be looked at again, by watermark.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Slot<S> {
    state: S,
    deadline: EventTime,
}

/// The states of all keys of one rule. At most [`CORRELATION_KEYS_MAX`]; at the limit the key whose
/// deadline comes first is dropped: the one idle longest.
#[derive(Debug)]
pub(super) struct Keyed<S> {
    slots: BTreeMap<CorrelationKey, Slot<S>>,
    deadlines: BTreeSet<(EventTime, CorrelationKey)>,
    changed: BTreeSet<CorrelationKey>,
    evicted: u64,
}

impl<S> Default for Keyed<S> {
    fn default() -> Keyed<S> {
        Keyed {
            slots: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            changed: BTreeSet::new(),
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
            let before = slot.deadline;
            let after = change(&mut slot.state);
            self.reschedule(key, before, after);
            return;
        }
        let mut state = fresh();
        let Some(deadline) = change(&mut state) else { return };
        if self.slots.len() >= CORRELATION_KEYS_MAX {
            self.evict();
        }
        self.deadlines.insert((deadline, key.clone()));
        self.changed.insert(key.clone());
        self.slots.insert(key, Slot { state, deadline });
    }

    fn reschedule(&mut self, key: CorrelationKey, before: EventTime, after: Option<EventTime>) {
        if after != Some(before) {
            self.deadlines.remove(&(before, key.clone()));
            match after {
                Some(after) => {
                    self.deadlines.insert((after, key.clone()));
                    if let Some(slot) = self.slots.get_mut(&key) {
                        slot.deadline = after;
                    }
                }
                None => {
                    self.slots.remove(&key);
                }
            }
        }
        self.changed.insert(key);
    }

    fn evict(&mut self) {
        if let Some((_, key)) = self.deadlines.pop_first() {
            self.slots.remove(&key);
            self.changed.insert(key);
            self.evicted += 1;
        }
    }

    pub(super) fn remove(&mut self, key: &CorrelationKey) -> Option<S> {
        let slot = self.slots.remove(key)?;
        self.deadlines.remove(&(slot.deadline, key.clone()));
        self.changed.insert(key.clone());
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
        while let Some((due, _)) = self.deadlines.first()
            && *due <= watermark
            && let Some((due, key)) = self.deadlines.pop_first()
        {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            match step(&key, &mut slot.state, due) {
                Some(next) => {
                    assert!(next > due, "a deadline that has passed is followed by a later one");
                    slot.deadline = next;
                    self.deadlines.insert((next, key.clone()));
                }
                None => {
                    self.slots.remove(&key);
                }
            }
            self.changed.insert(key);
        }
    }

    /// Keys dropped to make room since the last call.
    pub(super) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// Keys that changed since the last call, with their state as stored; `None` if it is gone.
    pub(super) fn take_changed(&mut self, table: u8, out: &mut Vec<(StateKey, Option<Vec<u8>>)>) {
        for key in std::mem::take(&mut self.changed) {
            let bytes = self.slots.get(&key).map(stored);
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
        let mut slot: Slot<S> = postcard::from_bytes(bytes).ok()?;
        change(&mut slot.state, &key);
        self.deadlines.insert((slot.deadline, key.clone()));
        if let Some(before) = self.slots.insert(key.clone(), slot.clone())
            && before.deadline != slot.deadline
        {
            self.deadlines.remove(&(before.deadline, key));
        }
        Some(())
    }
}

fn stored<S: Serialize>(slot: &Slot<S>) -> Vec<u8> {
    postcard::to_stdvec(slot).expect("state is made of plain values, and memory is there for it")
}
