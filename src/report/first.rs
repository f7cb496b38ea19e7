//! The first of many things by time, in whatever order they are added.

use std::collections::BTreeMap;

use crate::archive::Cursor;

/// Up to `MOST` things, those that came first by time, and how many there were.
#[derive(Debug)]
pub(super) struct First<T, const MOST: usize> {
    kept: BTreeMap<Cursor, T>,
    count: u64,
}

impl<T, const MOST: usize> Default for First<T, MOST> {
    fn default() -> First<T, MOST> {
        First { kept: BTreeMap::new(), count: 0 }
    }
}

impl<T, const MOST: usize> First<T, MOST> {
    /// Adds one, which is made only if there is room for it.
    pub(super) fn add(&mut self, at: Cursor, make: impl FnOnce() -> T) {
        self.count += 1;
        if self.kept.len() >= MOST {
            if self.kept.last_key_value().is_none_or(|(last, _)| *last < at) {
                return;
            }
            self.kept.pop_last();
        }
        self.kept.insert(at, make());
    }

    /// Adds what others have.
    pub(super) fn join(&mut self, others: First<T, MOST>) {
        let left_out = others.left_out();
        for (at, one) in others.kept {
            self.add(at, || one);
        }
        self.count += left_out;
    }

    /// Those that are kept, in the order of time.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.kept.values()
    }

    /// How many are not kept.
    pub(super) fn left_out(&self) -> u64 {
        self.count - self.kept.len() as u64
    }
}
