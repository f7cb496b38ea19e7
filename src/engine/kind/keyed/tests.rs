//! A table against a plain model, and what it takes counted anew.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// Numbers, of which a few are packed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note(Vec<u16>);

impl KeyState for Note {
    fn bytes(&mut self) -> usize {
        10 * self.0.len()
    }

    fn pack(&self, out: &mut Vec<u8>) -> bool {
        let is_short = self.0.len() <= 3;
        if is_short {
            out.extend(encode(self));
        }
        is_short
    }

    fn unpack(packed: &[u8]) -> Option<Note> {
        postcard::from_bytes(packed).ok()
    }
}

fn standing(note: &mut Note) -> Standing {
    let since = note.0.first().copied().unwrap_or(0);
    Standing { progress: f64::from(u16::try_from(note.0.len()).unwrap()), since: at(since.into()) }
}

fn at(micros: i64) -> EventTime {
    EventTime::from_micros(micros)
}

fn key(parts: &[&str]) -> CorrelationKey {
    parts.iter().map(|part| Arc::from(*part)).collect()
}

impl<S: KeyState> Keyed<S> {
    /// What all keys take, counted anew.
    fn recounted(&self) -> usize {
        let each = self.slots.iter().filter(|slot| !slot.is_free()).map(|slot| {
            let (mut room, key) = (slot.key().0.to_vec(), slot.key().0.into());
            let state = slot.look(S::clone);
            // As it is read from a store.
            let state: S = postcard::from_bytes(&encode(&state)).unwrap();
            KEY_BYTES
                + if state.pack(&mut room) {
                    piece(room.len())
                } else {
                    Whole::new(key, state).bytes
                }
        });
        each.sum()
    }
}

/// The same as plainly as it can be written.
#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<CorrelationKey, (Note, EventTime)>);

impl Model {
    fn advance(&mut self, watermark: EventTime, looked_at: &mut Vec<(EventTime, CorrelationKey)>) {
        loop {
            let due = self.0.iter().map(|(key, (_, deadline))| (*deadline, key.clone())).min();
            let Some((deadline, key)) = due.filter(|(deadline, _)| *deadline <= watermark) else {
                return;
            };
            let (note, next) = self.0.get_mut(&key).unwrap();
            match step(note, deadline) {
                Some(later) => *next = later,
                None => drop(self.0.remove(&key)),
            }
            looked_at.push((deadline, key));
        }
    }

    fn evict(&mut self) -> Vec<Note> {
        let mut all: Vec<_> = self.0.clone().into_iter().collect();
        let all_keys = all.len();
        all.sort_by_key(|(key, (note, _))| (standing(&mut note.clone()).since, key.clone()));
        let mut others = all.split_off(all_keys / 4);
        others.sort_by_key(|(key, (note, deadline))| (note.0.len(), *deadline, key.clone()));
        others.truncate((all_keys / 16).max(1));
        others.sort();
        self.0.retain(|key, _| others.iter().all(|(other, _)| other != key));
        others.into_iter().map(|(_, (note, _))| note).filter(is_told).collect()
    }
}

impl PartialOrd for Note {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Note {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl Eq for Note {}

/// Whoever has an even number is looked at again, as long as it has some.
fn step(note: &mut Note, due: EventTime) -> Option<EventTime> {
    let last = note.0.pop()?;
    (last % 2 == 0).then(|| due.plus(std::time::Duration::from_micros(u64::from(last) + 1)))
}

fn is_told(note: &Note) -> bool {
    note.0.len() % 2 == 1
}

#[derive(Clone, Debug)]
enum Op {
    Add {
        key: usize,
        number: u16,
        after: i64,
    },
    Forget(usize),
    Remove(usize),
    Advance(i64),
    Evict,
    /// What changed goes to the store.
    Commit,
    /// Another table goes on with what the store has.
    Restart,
}

/// Parts that are like one another: how they are sorted and told apart is not by their bytes in one row.
const PARTS: [&str; 7] = ["", "a", "a\0", "a\0b", "ab", "b", "\u{e9}"];

fn key_of(number: usize) -> CorrelationKey {
    let part = |at: usize| PARTS.get(at % PARTS.len()).copied().unwrap_or_default();
    match number / 49 {
        0 => key(&[part(number), part(number / 7)]),
        1 => key(&[part(number)]),
        _ => key(&[]),
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = 0..99_usize;
    let add = (key.clone(), 0..9_u16, 0..40_i64);
    let op = prop_oneof![
        12 => add
            .prop_map(|(key, number, after)| Op::Add { key, number, after }),
        1 => key.clone().prop_map(Op::Forget),
        1 => key.prop_map(Op::Remove),
        2 => (0..30_i64).prop_map(Op::Advance),
        1 => Just(Op::Evict),
        2 => Just(Op::Commit),
        1 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 1..300)
}

type Stored = BTreeMap<CorrelationKey, Vec<u8>>;

fn commit(table: &mut Keyed<Note>, stored: &mut Stored) {
    let mut changes = Vec::new();
    table.take_changed(3, &mut changes);
    let keys: BTreeSet<&StateKey> = changes.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), changes.len(), "each key once");
    let kept = changes.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| &key.key);
    assert!(kept.is_sorted());
    for (key, value) in changes {
        match value {
            Some(value) => drop(stored.insert(key.key, value)),
            None => drop(stored.remove(&key.key)),
        }
    }
}

fn restored(stored: &Stored) -> Keyed<Note> {
    let mut table = Keyed::default();
    for (key, value) in stored {
        assert_eq!(table.restore(key.clone(), value, Captures::Same), Some(()));
    }
    table
}

proptest! {
    /// Whatever happens: keys, states, deadlines, the order in which keys are looked at and evicted, what is stored, and
    /// what is taken are those of a model, and of a table that was restored.
    #[test]
    fn a_table_is_what_a_plain_model_is(ops in ops()) {
        let (mut table, mut model) = (Keyed::<Note>::default(), Model::default());
        let (mut stored, mut clock) = (Stored::new(), 0);
        for op in ops {
            match op {
                Op::Add { key, number, after } => {
                    let deadline = at(clock + after);
                    let change = |note: &mut Note| {
                        note.0.push(number);
                        Some(deadline)
                    };
                    table.update(key_of(key), || Note(vec![]), change);
                    let entry = model.0.entry(key_of(key)).or_insert((Note(vec![]), deadline));
                    entry.1 = change(&mut entry.0).unwrap();
                }
                Op::Forget(key) => {
                    table.update(key_of(key), || Note(vec![]), |_| None);
                    model.0.remove(&key_of(key));
                }
                Op::Remove(key) => {
                    let gone = model.0.remove(&key_of(key)).map(|(note, _)| note);
                    let removed = table.remove(&key_of(key));
                    prop_assert_eq!(removed, gone);
                }
                Op::Advance(by) => {
                    clock += by;
                    let (mut told, mut expected) = (Vec::new(), Vec::new());
                    table.advance(at(clock), |key, note, due| {
                        told.push((due, key.unpack()));
                        step(note, due)
                    });
                    model.advance(at(clock), &mut expected);
                    prop_assert_eq!(told, expected);
                    prop_assert!(table.next_deadline().is_none_or(|next| next > at(clock)));
                }
                Op::Evict => {
                    let before = table.len();
                    prop_assert_eq!(table.evict(standing, is_told), model.evict());
                    let gone = table.take_losses().keys_evicted;
                    prop_assert_eq!(gone, (before - table.len()) as u64);
                }
                Op::Commit => {
                    commit(&mut table, &mut stored);
                    let expected: Stored = model
                        .0
                        .iter()
                        .map(|(key, state)| (key.clone(), encode(state)))
                        .collect();
                    prop_assert_eq!(&stored, &expected);
                }
                Op::Restart => {
                    commit(&mut table, &mut stored);
                    let bytes = table.bytes();
                    table = restored(&stored);
                    prop_assert_eq!(table.bytes(), bytes);
                }
            }
            let keys: Vec<CorrelationKey> = model.0.keys().cloned().collect();
            prop_assert_eq!(table.sorted_keys(), keys);
            for (key, (note, _)) in &model.0 {
                prop_assert_eq!(table.look(key, Note::clone), Some(note.clone()));
            }
            prop_assert_eq!(table.bytes(), table.recounted());
            let earliest = model.0.values().map(|(_, deadline)| *deadline).min();
            prop_assert!(table.next_deadline() <= earliest || earliest.is_none());
        }
    }
}

#[test]
fn a_key_at_rest_is_one_piece_of_memory() {
    // Attackers choose how many keys there are: what is kept of each is in the figures of docs/performance.md.
    assert_eq!(size_of::<Slot<Note>>(), 40);
    let mut table = Keyed::<Note>::default();
    let name = "system:serviceaccount:shop:a";
    table.update(key(&[name]), || Note(vec![1, 2]), |_| Some(at(1)));
    assert_eq!(table.bytes(), KEY_BYTES + piece(name.len() + 1 + 3));
    assert!(matches!(table.slots[0].body, Body::Packed(_)));
    // Long ones are not written anew for each event.
    table.update(
        key(&[name]),
        || Note(vec![]),
        |note| {
            note.0.extend([3, 4]);
            Some(at(1))
        },
    );
    assert!(matches!(table.slots[0].body, Body::Whole(_)));
}

#[test]
fn deadlines_that_do_not_count_do_not_pile_up() {
    let mut table = Keyed::<Note>::default();
    for number in 0..100_000_i64 {
        table.update(key(&["a"]), || Note(vec![1]), |_| Some(at(200_000 - number)));
    }
    assert!(table.deadlines.len() < 3_000, "{}", table.deadlines.len());
    table.advance(at(100_000), |_, _, _| panic!("it is not due"));
    table.advance(at(100_001), |_, _, _| None);
    assert_eq!(table.len(), 0);
}

#[test]
fn an_heir_begins_with_what_is_known_by_then() {
    let mut table = Keyed::<Note>::default();
    let learn = |table: &mut Keyed<Note>, parts: &[&str]| {
        table.update(key(parts), || Note(vec![7]), |_| Some(EventTime::MAX));
    };
    let has_learnt = |table: &Keyed<Note>, parts: &[&str]| {
        table.look(&key(parts), |note| note.0 == [7]) == Some(true)
    };
    learn(&mut table, &["a", "x"]);
    table.inherit(&key(&["a"]), &key(&["a", "prod"]), 1, true);
    assert!(has_learnt(&table, &["a", "prod", "x"]));
    // Not all that log have a cluster yet.
    learn(&mut table, &["b", "y"]);
    table.inherit(&key(&["b"]), &key(&["b", "prod"]), 1, false);
    assert!(has_learnt(&table, &["b", "prod", "y"]));
    let left = [["a", "x"].as_slice(), &["a", "prod", "x"], &["b", "prod", "y"]].map(key);
    let mut left = left.to_vec();
    left.sort_unstable();
    assert_eq!(table.sorted_keys(), left);
}
