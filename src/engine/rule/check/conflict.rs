//! A combination of requirements that no event meets, in words.

use std::collections::BTreeSet;

use crate::engine::text::first_of;

/// A combination that cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine) struct Conflict {
    /// What is wrong, without a full stop.
    pub(in crate::engine) title: String,
    /// What to do.
    pub(in crate::engine) help: String,
}

/// The first of some values, each in quotes.
pub(super) fn words(values: &BTreeSet<String>) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    first_of(&values, 3)
}
