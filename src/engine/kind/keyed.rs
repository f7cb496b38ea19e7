//! State by key: a bounded table with deadlines by event time, and what of it the next checkpoint
//! must hold.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use hashbrown::HashMap;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    CorrelationKey,
    state::{Captures, Losses, StateKey, Table, Tables},
};
use crate::engine::{
    encode::encode, limits::CORRELATION_KEYS_MAX, time::EventTime, value::Captured,
};

/// What is kept of one key.
pub(super) trait KeyState:
    Clone + Debug + Send + Serialize + DeserializeOwned + 'static
{
    /// What it captured was captured by an earlier text of the rule: only the key is still known.
    fn outdate(&mut self, _: &CorrelationKey) {}
}

/// How far a key has come, and since when it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) progress: f64,
    pub(super) since: EventTime,
}

/// Keys that are known longest, and are not dropped: a quarter. What was begun before a flood outlasts it.
const KEPT: usize = CORRELATION_KEYS_MAX / 4;

/// Keys that are dropped when there is no room for another: a sixteenth, so that a flood costs little.
const EVICTED_AT_ONCE: usize = CORRELATION_KEYS_MAX / 16;

/// What a key says of captured values. Its parts come first in every rule.
pub(super) fn captured_of(key: &CorrelationKey) -> Arc<[Captured]> {
    key.iter().map(|part| Captured::One(Arc::clone(part))).collect()
}

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

/// The states of all keys of one rule. At most [`CORRELATION_KEYS_MAX`]: at the limit
/// [`Keyed::make_room`] drops those that have come least far.
#[derive(Debug)]
pub(super) struct Keyed<S> {
    /// Looked up for each event, and told in the order of the keys.
    slots: HashMap<CorrelationKey, Slot<S>>,
    deadlines: BTreeSet<(EventTime, CorrelationKey)>,
    /// Keys that changed or are gone, in no order; one may stand there more than once.
    changed: Vec<CorrelationKey>,
    losses: Losses,
    /// What heirs begin with. Made for the first heir.
    legacies: Option<Legacies>,
}

/// Keys without a cluster that have so many values behind them, by what stands before these.
#[derive(Debug)]
struct Legacies {
    parts: usize,
    values: usize,
    keys: HashMap<CorrelationKey, Vec<CorrelationKey>>,
}

impl Legacies {
    fn note(&mut self, key: &CorrelationKey) {
        if key.len() == self.parts + self.values {
            let owner = key.iter().take(self.parts).cloned().collect();
            self.keys.entry(owner).or_default().push(key.clone());
        }
    }
}

impl<S> Default for Keyed<S> {
    fn default() -> Keyed<S> {
        Keyed {
            slots: HashMap::new(),
            deadlines: BTreeSet::new(),
            changed: Vec::new(),
            losses: Losses::default(),
            legacies: None,
        }
    }
}

impl<S: KeyState> Keyed<S> {
    /// The watermark at which some key must be looked at, or an earlier one.
    pub(super) fn next_deadline(&self) -> Option<EventTime> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn get(&self, key: &CorrelationKey) -> Option<&S> {
        self.slots.get(key).map(|slot| &slot.state)
    }

    /// Every key, sorted.
    pub(super) fn sorted_keys(&self) -> Vec<CorrelationKey> {
        let mut keys: Vec<CorrelationKey> = self.slots.keys().cloned().collect();
        keys.sort_unstable();
        keys
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
        if let Some(legacies) = &mut self.legacies {
            legacies.note(&key);
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

    /// Makes room for a key that is new, if there is none: of all keys but the [`KEPT`] that are known longest
    /// some are dropped, those first that have come least far, and of these the ones idle longest. What they
    /// had come to.
    ///
    /// So a flood of names that each do next to nothing pushes out its own kind, and not the one that is
    /// about to be found. Cost: a look at every key, for one new key of [`EVICTED_AT_ONCE`].
    pub(super) fn make_room(
        &mut self,
        key: &CorrelationKey,
        mut standing: impl FnMut(&mut S) -> Standing,
    ) -> Vec<S> {
        if self.slots.len() < CORRELATION_KEYS_MAX || self.slots.contains_key(key) {
            return Vec::new();
        }
        let mut all: Vec<(Standing, EventTime, &CorrelationKey)> = self
            .slots
            .iter_mut()
            .map(|(key, slot)| (standing(&mut slot.state), slot.deadline, key))
            .collect();
        all.select_nth_unstable_by(KEPT, |a, b| (a.0.since, a.2).cmp(&(b.0.since, b.2)));
        let mut others = all.split_off(KEPT);
        others.select_nth_unstable_by(EVICTED_AT_ONCE, |a, b| {
            let by_progress = a.0.progress.total_cmp(&b.0.progress);
            by_progress.then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
        });
        others.truncate(EVICTED_AT_ONCE);
        // What is told of them is told in the order of their keys.
        others.sort_unstable_by_key(|(_, _, key)| *key);
        let evicted: Vec<CorrelationKey> =
            others.into_iter().map(|(.., key)| key.clone()).collect();
        self.losses.keys_evicted += EVICTED_AT_ONCE as u64;
        evicted.iter().filter_map(|key| self.remove(key)).collect()
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

    /// Events of a key were dropped, since it had too many.
    pub(super) fn lose_events(&mut self, events: u64) {
        self.losses.window_events_dropped += events;
    }
}

impl<S: KeyState> Table for Keyed<S> {
    fn len(&self) -> usize {
        self.slots.len()
    }

    fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    fn take_changed(&mut self, table: u8, out: &mut Vec<(StateKey, Option<Vec<u8>>)>) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        for key in changed {
            let bytes = self.slots.get_mut(&key).map(|slot| {
                slot.is_changed = false;
                encode(&(&slot.state, slot.deadline))
            });
            out.push((StateKey { table, key }, bytes));
        }
    }

    fn keys(&self, table: u8, out: &mut Vec<StateKey>) {
        out.extend(self.sorted_keys().into_iter().map(|key| StateKey { table, key }));
    }

    fn has(&self, key: &CorrelationKey) -> bool {
        self.slots.contains_key(key)
    }

    fn inherit(
        &mut self,
        from: &CorrelationKey,
        to: &CorrelationKey,
        values: usize,
        is_memory: bool,
    ) {
        let keys = if values == 0 {
            vec![from.clone()]
        } else {
            let (slots, parts) = (&self.slots, from.len());
            let legacies = self.legacies.get_or_insert_with(|| {
                let mut legacies = Legacies { parts, values, keys: HashMap::new() };
                slots.keys().for_each(|key| legacies.note(key));
                legacies
            });
            legacies.keys.get(from).cloned().unwrap_or_default()
        };
        for key in keys {
            let known = self.slots.get(&key).map(|slot| (slot.state.clone(), slot.deadline));
            let Some((state, deadline)) = known else { continue };
            if !is_memory {
                self.remove(&key);
            }
            let values = key.get(from.len()..).unwrap_or_default();
            let heir = to.iter().chain(values).cloned().collect();
            self.update(heir, || state, |_| Some(deadline));
        }
    }

    fn restore(&mut self, key: CorrelationKey, bytes: &[u8], captures: Captures) -> Option<()> {
        let (mut state, deadline): (S, EventTime) = postcard::from_bytes(bytes).ok()?;
        if captures == Captures::Outdated {
            state.outdate(&key);
        }
        if let Some(before) = self.slots.get(&key) {
            self.deadlines.remove(&(before.scheduled, key.clone()));
        }
        self.deadlines.insert((deadline, key.clone()));
        self.slots.insert(key, Slot { state, deadline, scheduled: deadline, is_changed: false });
        Some(())
    }

    fn outdate(&mut self) {
        // They are sorted when they are taken.
        self.slots.iter_mut().for_each(|(key, slot)| {
            slot.state.outdate(key);
            if !std::mem::replace(&mut slot.is_changed, true) {
                self.changed.push(key.clone());
            }
        });
    }
}

impl<S: KeyState> Tables for Keyed<S> {
    fn each(&self) -> impl Iterator<Item = &dyn Table> {
        std::iter::once(self as &dyn Table)
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut dyn Table> {
        std::iter::once(self as &mut dyn Table)
    }
}

impl<A: KeyState, B: KeyState> Tables for (Keyed<A>, Keyed<B>) {
    fn each(&self) -> impl Iterator<Item = &dyn Table> {
        [&self.0 as &dyn Table, &self.1].into_iter()
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut dyn Table> {
        [&mut self.0 as &mut dyn Table, &mut self.1].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl KeyState for u8 {}

    #[test]
    fn an_heir_begins_with_what_is_known_by_then() {
        let key = |parts: &[&str]| parts.iter().map(|part| Arc::from(*part)).collect();
        let mut table = Keyed::<u8>::default();
        let learn = |table: &mut Keyed<u8>, parts: &[&str]| {
            table.update(key(parts), || 7, |_| Some(EventTime::MAX));
        };
        learn(&mut table, &["a", "x"]);
        table.inherit(&key(&["a"]), &key(&["a", "prod"]), 1, true);
        assert_eq!(table.get(&key(&["a", "prod", "x"])), Some(&7));
        // Not all that log have a cluster yet.
        learn(&mut table, &["b", "y"]);
        table.inherit(&key(&["b"]), &key(&["b", "prod"]), 1, false);
        assert_eq!(table.get(&key(&["b", "prod", "y"])), Some(&7));
        let left = [["a", "x"].as_slice(), &["a", "prod", "x"], &["b", "prod", "y"]].map(key);
        let mut left = left.to_vec();
        left.sort_unstable();
        assert_eq!(table.sorted_keys(), left);
    }
}
