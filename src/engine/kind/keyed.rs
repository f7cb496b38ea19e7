//! State by key: a table with deadlines by event time, and what of it the next checkpoint must hold.
//!
//! Attackers choose how many keys there are, so a key at rest is one piece of memory: its own bytes and, behind
//! them, its state as the kind packs it. What is long, or what was captured, stands unpacked beside the key. Which of
//! the two it is, and what it takes ([`Keyed::bytes`]), depends on the state alone.

mod deadlines;
mod key;

use std::{fmt::Debug, hash::BuildHasher, sync::Arc};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use serde::{Serialize, de::DeserializeOwned};

use self::deadlines::Deadlines;
pub(super) use self::key::KeyRef;
use super::{
    CorrelationKey,
    memory::{KEY_BYTES, piece},
    state::{Captures, Losses, StateKey, Table, Tables},
};
use crate::engine::{encode::encode, time::EventTime, value::Captured};

/// What is kept of one key.
pub(super) trait KeyState:
    Clone + Debug + Send + Serialize + DeserializeOwned + 'static
{
    /// What it captured was captured by an earlier text of the rule: only the key is still known. Nothing
    /// changes in what can be packed.
    fn outdate(&mut self, _: &CorrelationKey) {}

    /// Bytes that it takes beside its own size. Cost: one step, mostly.
    fn bytes(&mut self) -> usize {
        0
    }

    /// Writes it behind `out` in few bytes, one at least, of which [`KeyState::unpack`] makes the same again; whether it
    /// did. What is long is not packed, since each event would cost as much, nor what captured something, since
    /// events would be hashed for it.
    fn pack(&self, out: &mut Vec<u8>) -> bool;

    /// Reads what was packed.
    fn unpack(packed: &[u8]) -> Option<Self>;
}

/// How far a key has come, and since when it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) progress: f64,
    pub(super) since: EventTime,
}

/// Of the keys a quarter that is known longest is not dropped: what was begun before a flood outlasts it.
const KEPT_PARTS: usize = 4;

/// When there is no room a sixteenth of the keys is dropped, so that a flood costs little.
const EVICTED_PARTS: usize = 16;

/// What a key says of captured values. Its parts come first in every rule.
pub(super) fn captured_of(key: &CorrelationKey) -> Arc<[Captured]> {
    key.iter().map(|part| Captured::One(Arc::clone(part))).collect()
}

/// One key with its state, and when it must be looked at again, by watermark.
#[derive(Debug)]
struct Slot<S> {
    body: Body<S>,
    deadline: EventTime,
    /// Under which time it stands among the deadlines: this one or an earlier. Most events put their
    /// key's deadline off, which then costs nothing.
    scheduled: EventTime,
    /// Of the key.
    hash: u32,
    /// Twice the bytes of the key; and 1 if it stands among the changed ones.
    key_bytes: u32,
}

/// A key and its state.
#[derive(Debug)]
enum Body<S> {
    /// The bytes of both. None at all: the slot is free.
    Packed(Box<[u8]>),
    /// What cannot be packed.
    Whole(Box<Whole<S>>),
}

#[derive(Debug)]
struct Whole<S> {
    key: Box<[u8]>,
    state: S,
    /// What both take.
    bytes: usize,
}

impl<S: KeyState> Slot<S> {
    /// A slot that is free.
    fn free() -> Slot<S> {
        let (deadline, scheduled) = (EventTime::MAX, EventTime::MAX);
        Slot { body: Body::Packed(Box::default()), deadline, scheduled, hash: 0, key_bytes: 0 }
    }

    fn is_free(&self) -> bool {
        matches!(&self.body, Body::Packed(bytes) if bytes.is_empty())
    }

    fn key(&self) -> KeyRef<'_> {
        KeyRef(match &self.body {
            Body::Packed(bytes) => self.parts_of(bytes).0,
            Body::Whole(whole) => &whole.key,
        })
    }

    /// The key and the state in what is packed.
    fn parts_of<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        bytes.split_at_checked(self.key_length()).unwrap_or_default()
    }

    /// How many of the bytes are those of the key.
    const fn key_length(&self) -> usize {
        (self.key_bytes >> 1) as usize
    }

    const fn is_changed(&self) -> bool {
        self.key_bytes & 1 == 1
    }

    /// Notes that it stands among the changed ones, or does not any more; what it was before.
    fn set_changed(&mut self, is_changed: bool) -> bool {
        let before = self.is_changed();
        self.key_bytes = (self.key_bytes >> 1) << 1 | u32::from(is_changed);
        before
    }

    /// What key and state take.
    fn bytes(&self) -> usize {
        match &self.body {
            Body::Packed(bytes) => KEY_BYTES + piece(bytes.len()),
            Body::Whole(whole) => KEY_BYTES + whole.bytes,
        }
    }

    /// Looks at the state.
    fn look<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        match &self.body {
            Body::Packed(bytes) => look(&unpacked(self.parts_of(bytes).1)),
            Body::Whole(whole) => look(&whole.state),
        }
    }

    /// Looks at the state with what changes nothing of it but what is remembered of earlier looks.
    fn look_through<T>(&mut self, look: impl FnOnce(&mut S) -> T) -> T {
        let at = self.key_length();
        match &mut self.body {
            Body::Packed(bytes) => look(&mut unpacked(bytes.get(at..).unwrap_or_default())),
            Body::Whole(whole) => look(&mut whole.state),
        }
    }

    /// The state, for itself.
    fn into_state(self) -> S {
        match self.body {
            Body::Packed(ref bytes) => unpacked(self.parts_of(bytes).1),
            Body::Whole(whole) => whole.state,
        }
    }

    /// Changes the state, and packs it if it can be; when the key must be looked at next. Without a time nothing
    /// is kept of the change. `room` is any piece of memory.
    fn change(
        &mut self,
        room: &mut Vec<u8>,
        change: impl FnOnce(KeyRef<'_>, &mut S) -> Option<EventTime>,
    ) -> Option<EventTime> {
        room.clear();
        let at = self.key_length();
        match &mut self.body {
            Body::Packed(bytes) => {
                let (key, packed) = bytes.split_at_checked(at).unwrap_or_default();
                let mut state = unpacked::<S>(packed);
                let next = change(KeyRef(key), &mut state)?;
                room.extend_from_slice(key);
                if !state.pack(room) {
                    self.body = Body::Whole(Box::new(Whole::new(key.into(), state)));
                } else if room.len() == bytes.len() {
                    bytes.copy_from_slice(room);
                } else {
                    *bytes = room.as_slice().into();
                }
                Some(next)
            }
            Body::Whole(whole) => {
                let next = change(KeyRef(&whole.key), &mut whole.state)?;
                room.extend_from_slice(&whole.key);
                if whole.state.pack(room) {
                    self.body = Body::Packed(room.as_slice().into());
                } else {
                    whole.count();
                }
                Some(next)
            }
        }
    }
}

impl<S: KeyState> Whole<S> {
    fn new(key: Box<[u8]>, state: S) -> Whole<S> {
        let mut whole = Whole { key, state, bytes: 0 };
        whole.count();
        whole
    }

    /// Counts what it takes.
    fn count(&mut self) {
        self.bytes = piece(size_of::<Self>()) + piece(self.key.len()) + self.state.bytes();
    }
}

fn unpacked<S: KeyState>(packed: &[u8]) -> S {
    S::unpack(packed).expect("it was packed here")
}

/// A hash of 32 bits as tables want it: they look at the first bits and at the last.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// The states of all keys of one rule.
#[derive(Debug)]
pub(super) struct Keyed<S> {
    slots: Vec<Slot<S>>,
    /// Numbers of slots that are free.
    free: Vec<u32>,
    /// Numbers of the others, by the hashes of their keys. Looked up for each event.
    by_key: HashTable<u32>,
    hasher: DefaultHashBuilder,
    deadlines: Deadlines,
    /// Slots that changed, in no order; one may stand there more than once, or be free.
    changed: Vec<u32>,
    /// Keys that are gone, likewise; one may be there again.
    gone: Vec<Box<[u8]>>,
    /// What all of them take.
    bytes: usize,
    losses: Losses,
    /// What heirs begin with. Made for the first heir.
    legacies: Option<Legacies>,
    /// Memory for what is packed.
    room: Vec<u8>,
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
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            deadlines: Deadlines::default(),
            changed: Vec::new(),
            gone: Vec::new(),
            bytes: 0,
            losses: Losses::default(),
            legacies: None,
            room: Vec::new(),
        }
    }
}

impl<S: KeyState> Keyed<S> {
    /// The watermark at which some key must be looked at, or an earlier one.
    pub(super) fn next_deadline(&self) -> Option<EventTime> {
        self.deadlines.first()
    }

    /// Looks at the state of a key, if it has one.
    pub(super) fn look<T>(&self, key: &CorrelationKey, look: impl FnOnce(&S) -> T) -> Option<T> {
        let slot = self.slots.get(self.find(self.hash(key), key)? as usize)?;
        Some(slot.look(look))
    }

    /// Every key, sorted.
    pub(super) fn sorted_keys(&self) -> Vec<CorrelationKey> {
        let used = self.slots.iter().filter(|slot| !slot.is_free());
        let mut keys: Vec<KeyRef<'_>> = used.map(Slot::key).collect();
        keys.sort_unstable();
        keys.into_iter().map(KeyRef::unpack).collect()
    }

    #[expect(clippy::cast_possible_truncation, reason = "32 bits of it are enough")]
    fn hash(&self, key: &CorrelationKey) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    /// The slot of a key.
    fn find(&self, hash: u32, key: &CorrelationKey) -> Option<u32> {
        let is_it = |at: &u32| {
            self.slots.get(*at as usize).is_some_and(|slot| slot.hash == hash && slot.key().is(key))
        };
        self.by_key.find(spread(hash), is_it).copied()
    }

    /// Changes the state of a key, a fresh one if it has none. `change` says when the key must be
    /// looked at next; without a time it is forgotten.
    pub(super) fn update(
        &mut self,
        key: CorrelationKey,
        fresh: impl FnOnce() -> S,
        change: impl FnOnce(&mut S) -> Option<EventTime>,
    ) {
        let hash = self.hash(&key);
        if let Some(at) = self.find(hash, &key) {
            let Some(deadline) = self.change(at, |_, state| change(state)) else { return };
            let Some(slot) = self.slots.get_mut(at as usize) else { return };
            if deadline < slot.scheduled {
                slot.scheduled = deadline;
                self.deadlines.push(deadline, at);
                self.tidy();
            }
            return;
        }
        let mut state = fresh();
        let Some(deadline) = change(&mut state) else { return };
        if let Some(legacies) = &mut self.legacies {
            legacies.note(&key);
        }
        let at = self.insert(hash, &key, state, deadline);
        self.changed.push(at);
        if let Some(slot) = self.slots.get_mut(at as usize) {
            slot.set_changed(true);
        }
    }

    /// Changes the state in a slot; its next deadline. Without one the slot is free now.
    fn change(
        &mut self,
        at: u32,
        change: impl FnOnce(KeyRef<'_>, &mut S) -> Option<EventTime>,
    ) -> Option<EventTime> {
        let slot = self.slots.get_mut(at as usize)?;
        let before = slot.bytes();
        let next = slot.change(&mut self.room, change);
        self.bytes = self.bytes + slot.bytes() - before;
        let Some(deadline) = next else {
            self.clear(at);
            return None;
        };
        slot.deadline = deadline;
        if !slot.set_changed(true) {
            self.changed.push(at);
        }
        Some(deadline)
    }

    /// Puts a key that has no slot into one; its number.
    fn insert(&mut self, hash: u32, key: &CorrelationKey, state: S, deadline: EventTime) -> u32 {
        self.room.clear();
        key::pack(key, &mut self.room);
        let key_bytes = u32::try_from(self.room.len()).expect("values of keys are short");
        let body = if state.pack(&mut self.room) {
            Body::Packed(self.room.as_slice().into())
        } else {
            let key = self.room.get(..key_bytes as usize).unwrap_or_default();
            Body::Whole(Box::new(Whole::new(key.into(), state)))
        };
        let slot = Slot { body, deadline, scheduled: deadline, hash, key_bytes: key_bytes << 1 };
        self.bytes += slot.bytes();
        let at = if let Some(at) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(at as usize) {
                *place = slot;
            }
            at
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).expect("memory has no room for so many")
        };
        let slots = &self.slots;
        let hash_of = |at: &u32| spread(slots.get(*at as usize).map_or(0, |slot| slot.hash));
        self.by_key.insert_unique(spread(hash), at, hash_of);
        self.deadlines.push(deadline, at);
        self.tidy();
        at
    }

    /// Frees a slot; what was in it.
    fn clear(&mut self, at: u32) -> Option<Slot<S>> {
        let slot = std::mem::replace(self.slots.get_mut(at as usize)?, Slot::free());
        if let Ok(entry) = self.by_key.find_entry(spread(slot.hash), |known| *known == at) {
            entry.remove();
        }
        self.bytes -= slot.bytes();
        self.gone.push(slot.key().0.into());
        self.free.push(at);
        Some(slot)
    }

    /// Forgets deadlines that do not count any more, if these are many.
    fn tidy(&mut self) {
        let slots = &self.slots;
        self.deadlines.tidy(self.by_key.len(), |time, at| is_scheduled(slots, time, at));
    }

    /// Makes room: of all keys but the quarter that is known longest a sixteenth of all is dropped, those first that
    /// have come least far, and of these the ones idle longest. Their states, of those that `tells` says are
    /// needed, in the order of their keys.
    ///
    /// So a flood of names that each do next to nothing pushes out its own kind, and not the one that is
    /// about to be found. Cost: a look at every key, for a sixteenth of them.
    pub(super) fn evict(
        &mut self,
        mut standing: impl FnMut(&mut S) -> Standing,
        tells: impl Fn(&S) -> bool,
    ) -> Vec<S> {
        let mut all = Vec::with_capacity(self.by_key.len());
        for (at, slot) in (0_u32..).zip(&mut self.slots) {
            if !slot.is_free() {
                all.push((slot.look_through(&mut standing), slot.deadline, at));
            }
        }
        let (kept, count) = (all.len() / KEPT_PARTS, (all.len() / EVICTED_PARTS).max(1));
        let key = |at: u32| self.slots.get(at as usize).map(Slot::key);
        if kept > 0 {
            all.select_nth_unstable_by(kept, |a, b| {
                a.0.since.cmp(&b.0.since).then_with(|| key(a.2).cmp(&key(b.2)))
            });
        }
        let mut others = all.split_off(kept);
        if count < others.len() {
            others.select_nth_unstable_by(count, |a, b| {
                let by_progress = a.0.progress.total_cmp(&b.0.progress);
                by_progress.then_with(|| a.1.cmp(&b.1)).then_with(|| key(a.2).cmp(&key(b.2)))
            });
            others.truncate(count);
        }
        let needed = |at: u32| self.slots.get(at as usize).is_some_and(|slot| slot.look(&tells));
        let (mut told, rest): (Vec<u32>, Vec<u32>) =
            others.into_iter().map(|(.., at)| at).partition(|at| needed(*at));
        // What is told of them is told in the order of their keys.
        told.sort_unstable_by_key(|at| key(*at));
        self.losses.keys_evicted += (told.len() + rest.len()) as u64;
        for at in rest {
            self.clear(at);
        }
        let told = told.into_iter().filter_map(|at| self.clear(at)).map(Slot::into_state).collect();
        let slots = &self.slots;
        self.deadlines.keep(|time, at| is_scheduled(slots, time, at));
        told
    }

    pub(super) fn remove(&mut self, key: &CorrelationKey) -> Option<S> {
        let at = self.find(self.hash(key), key)?;
        self.clear(at).map(Slot::into_state)
    }

    /// Looks at each key whose deadline the watermark has passed, in the order of the deadlines, and of one moment in
    /// that of the keys. `step` says when it must be looked at next; without a time it is forgotten.
    ///
    /// # Panics
    /// If `step` asks for a time that is not later: it would never end.
    pub(super) fn advance(
        &mut self,
        watermark: EventTime,
        mut step: impl FnMut(KeyRef<'_>, &mut S, EventTime) -> Option<EventTime>,
    ) {
        let mut due = Vec::new();
        while let Some(time) = self.deadlines.first().filter(|time| *time <= watermark) {
            self.take_due(time, &mut due);
            for at in due.drain(..) {
                let Some(next) = self.change(at, |key, state| step(key, state, time)) else {
                    continue;
                };
                assert!(next > time, "a deadline that has passed is followed by a later one");
                self.schedule(at, next);
            }
        }
    }

    /// The slots that must be looked at at a time, the first of all that some are scheduled for. Those that were put
    /// off are scheduled anew.
    fn take_due(&mut self, time: EventTime, due: &mut Vec<u32>) {
        self.deadlines.pop_all(time, due);
        due.retain(|at| is_scheduled(&self.slots, time, *at));
        due.sort_unstable();
        due.dedup();
        due.retain(|at| {
            let deadline = self.slots.get(*at as usize).map_or(time, |slot| slot.deadline);
            if deadline > time {
                if let Some(slot) = self.slots.get_mut(*at as usize) {
                    slot.scheduled = deadline;
                }
                self.deadlines.push(deadline, *at);
            }
            deadline <= time
        });
        due.sort_unstable_by_key(|at| self.slots.get(*at as usize).map(Slot::key));
    }

    fn schedule(&mut self, at: u32, time: EventTime) {
        if let Some(slot) = self.slots.get_mut(at as usize) {
            slot.scheduled = time;
            self.deadlines.push(time, at);
        }
    }

    /// Sorts slots by their keys. Names are mostly told apart by what stands just behind that in which all are alike: that
    /// is taken along, so that keys, which are all over memory, are looked at twice.
    fn sort(&self, all: &mut [u32]) {
        let key = |at: u32| self.slots.get(at as usize).map_or(KeyRef(&[]), Slot::key);
        let Some(first) = all.first().map(|at| key(*at)) else { return };
        let alike = all.iter().map(|at| key(*at).alike(first)).min().unwrap_or(0);
        let mut ranked: Vec<(u64, u32)> =
            all.iter().map(|at| (key(*at).rank_behind(alike), *at)).collect();
        ranked.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(&key(b.1))));
        for (place, (_, at)) in all.iter_mut().zip(ranked) {
            *place = at;
        }
    }

    /// Events of a key were dropped, since it had too many.
    pub(super) fn lose_events(&mut self, events: u64) {
        self.losses.window_events_dropped += events;
    }
}

/// Whether a slot is scheduled for just this time.
fn is_scheduled<S: KeyState>(slots: &[Slot<S>], time: EventTime, at: u32) -> bool {
    slots.get(at as usize).is_some_and(|slot| slot.scheduled == time && !slot.is_free())
}

impl<S: KeyState> Table for Keyed<S> {
    fn len(&self) -> usize {
        self.by_key.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    fn take_changed(&mut self, table: u8, out: &mut Vec<(StateKey, Option<Vec<u8>>)>) {
        let mut gone = std::mem::take(&mut self.gone);
        gone.sort_unstable_by(|a, b| KeyRef(a).cmp(&KeyRef(b)));
        gone.dedup();
        for packed in gone {
            let key = KeyRef(&packed).unpack();
            if self.find(self.hash(&key), &key).is_none() {
                out.push((StateKey { table, key }, None));
            }
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|at| {
            self.slots.get_mut(*at as usize).is_some_and(|slot| slot.set_changed(false))
        });
        self.sort(&mut changed);
        out.reserve(changed.len());
        for slot in changed.iter().filter_map(|at| self.slots.get(*at as usize)) {
            let bytes = slot.look(|state| encode(&(state, slot.deadline)));
            out.push((StateKey { table, key: slot.key().unpack() }, Some(bytes)));
        }
    }

    fn keys(&self, table: u8, out: &mut Vec<StateKey>) {
        out.extend(self.sorted_keys().into_iter().map(|key| StateKey { table, key }));
    }

    fn has(&self, key: &CorrelationKey) -> bool {
        self.find(self.hash(key), key).is_some()
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
                let used = slots.iter().filter(|slot| !slot.is_free());
                used.for_each(|slot| legacies.note(&slot.key().unpack()));
                legacies
            });
            legacies.keys.get(from).cloned().unwrap_or_default()
        };
        for key in keys {
            let at = self.find(self.hash(&key), &key);
            let slot = at.and_then(|at| self.slots.get(at as usize));
            let Some(slot) = slot else { continue };
            let (state, deadline) = (slot.look(S::clone), slot.deadline);
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
        let hash = self.hash(&key);
        if let Some(at) = self.find(hash, &key) {
            self.clear(at);
            self.gone.pop();
        }
        self.insert(hash, &key, state, deadline);
        Some(())
    }

    fn outdate(&mut self) {
        // They are sorted when they are taken.
        for (at, slot) in (0_u32..).zip(&mut self.slots) {
            if matches!(slot.body, Body::Packed(_)) {
                continue;
            }
            let (before, deadline) = (slot.bytes(), slot.deadline);
            slot.change(&mut self.room, |key, state| {
                state.outdate(&key.unpack());
                Some(deadline)
            });
            self.bytes = self.bytes + slot.bytes() - before;
            if !slot.set_changed(true) {
                self.changed.push(at);
            }
        }
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
mod tests;
