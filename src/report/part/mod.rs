//! Parts of reports: each looks at every row of the period once, and becomes a section.

pub(super) mod alerts;
pub(super) mod coverage;
pub(super) mod exceptions;
pub(super) mod people;
pub(super) mod permissions;
pub(super) mod requests;
pub(super) mod totals;

use std::collections::{BTreeMap, btree_map::Entry};

/// Rows of a table: 1,000. Further ones are counted, and JSON and CSV of a narrower period have them.
pub(super) const ROWS_MAX: usize = 1_000;

/// Keys of a part that an outsider can choose: 100,000. What has a further one is counted as `(others)`.
pub(super) const KEYS_MAX: usize = 100_000;

/// The value of a key, or of all that there is no room for.
pub(super) fn of_key<K: Ord, V: Default>(
    map: &mut BTreeMap<K, V>,
    key: K,
    others: impl FnOnce() -> K,
) -> &mut V {
    let key = if map.len() < KEYS_MAX || map.contains_key(&key) { key } else { others() };
    map.entry(key).or_default()
}

/// Adds the values of other keys, each to that of the same key.
pub(super) fn join<K: Ord, V>(
    map: &mut BTreeMap<K, V>,
    others: BTreeMap<K, V>,
    add: impl Fn(&mut V, V),
) {
    for (key, value) in others {
        match map.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(mut entry) => add(entry.get_mut(), value),
        }
    }
}

/// Whether each key that came has a value of its own, so that the order in which they came does not matter.
pub(super) fn has_room<K, V>(map: &BTreeMap<K, V>) -> bool {
    map.len() < KEYS_MAX
}
