//! Sets of names that do not grow beyond what a report can show.

use std::{collections::BTreeMap, sync::Arc};

use crate::archive::Cursor;

/// Names of one set: 1,000, those that came first by time. Of more only their number is known to be larger.
const NAMES_MAX: usize = 1_000;

/// Names, at most [`NAMES_MAX`], with where each came first. Which they are does not depend on the order in which they
/// are added.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<Arc<str>, Cursor>,
    /// If there are more, none of these came first behind this.
    most: Option<Cursor>,
}

impl Names {
    pub(super) fn add(&mut self, name: Option<&Arc<str>>, at: Cursor) {
        let Some(name) = name else { return };
        if let Some(first) = self.known.get_mut(name) {
            *first = at.min(*first);
        } else if self.most.is_none_or(|most| at < most) {
            self.known.insert(Arc::clone(name), at);
            self.limit();
        }
    }

    /// Adds what others have.
    pub(super) fn join(&mut self, others: Names) {
        for (name, at) in others.known {
            self.add(Some(&name), at);
        }
        // What they have no room for comes behind all that they have, and so behind what is kept here.
        self.most = self.most.or(others.most);
        self.limit();
    }

    /// Leaves out the one that came last, if there are too many.
    fn limit(&mut self) {
        let last = |known: &BTreeMap<Arc<str>, Cursor>| {
            let last = known.iter().max_by_key(|(_, at)| **at);
            last.map(|(name, at)| (Arc::clone(name), *at))
        };
        if self.known.len() <= NAMES_MAX {
            return;
        }
        if let Some((name, _)) = last(&self.known) {
            self.known.remove(&name);
        }
        self.most = last(&self.known).map(|(_, at)| at);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(|name| &**name)
    }

    pub(super) fn len(&self) -> u64 {
        self.known.len() as u64
    }

    /// `3`, or `1,000+`.
    pub(super) fn shown(&self) -> String {
        let plus = if self.most.is_some() { "+" } else { "" };
        format!("{}{plus}", crate::engine::text::thousands(self.len()))
    }

    /// The first few, and how many more.
    pub(super) fn listed(&self, most: usize) -> String {
        let names: Vec<&str> = self.iter().collect();
        crate::engine::text::first_of(&names, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_came_first_are_kept_in_whatever_order_they_come() {
        for count in [10, 1_000, 1_001, 1_500] {
            let came = |number: u64| {
                // Each name comes three times; its first time is what counts.
                let name: Arc<str> = format!("name {}", number % count).into();
                (name, Cursor { at: (number * 10).cast_signed(), id: number })
            };
            let mut parts = [Names::default(), Names::default(), Names::default()];
            for number in 0..3 * count {
                // A prime, so that each number comes once.
                let (name, at) = came(number * 7_919 % (3 * count));
                parts[usize::try_from(number % 3).unwrap()].add(Some(&name), at);
            }
            let [mut all, one, other] = parts;
            all.join(one);
            all.join(other);
            let mut wanted: Vec<_> = (0..count.min(1_000)).map(|number| came(number).0).collect();
            wanted.sort();
            let kept: Vec<Arc<str>> = all.iter().map(Arc::from).collect();
            assert_eq!(kept, wanted, "{count}");
            assert_eq!(all.shown().ends_with('+'), count > 1_000, "{count}");
        }
    }
}
