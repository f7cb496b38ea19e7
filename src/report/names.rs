//! Sets of names that do not grow beyond what a report can show.

use std::{collections::BTreeSet, sync::Arc};

/// Names of one set: 1,000. Of more only their number is known to be larger.
const NAMES_MAX: usize = 1_000;

/// Names, at most [`NAMES_MAX`].
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    known: BTreeSet<Arc<str>>,
    has_more: bool,
}

impl Names {
    pub(super) fn add(&mut self, name: Option<&Arc<str>>) {
        let Some(name) = name else { return };
        if self.known.contains(name) {
            return;
        }
        if self.known.len() < NAMES_MAX {
            self.known.insert(Arc::clone(name));
        } else {
            self.has_more = true;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|name| &**name)
    }

    pub(super) fn len(&self) -> u64 {
        self.known.len() as u64
    }

    /// `3`, or `1,000+`.
    pub(super) fn shown(&self) -> String {
        let plus = if self.has_more { "+" } else { "" };
        format!("{}{plus}", crate::engine::text::thousands(self.len()))
    }

    /// The first few, and how many more.
    pub(super) fn listed(&self, most: usize) -> String {
        let names: Vec<&str> = self.iter().collect();
        crate::engine::text::first_of(&names, most)
    }
}
