//! What people did about an alert, as its messages show it.

use std::collections::BTreeMap;

use crate::engine::digest::Digest;

/// Annotations that say it, in the order in which it is read.
pub const HANDLING: [&str; 4] = ["acknowledged_by", "assigned_to", "judged", "silenced"];

/// What people did about an alert, as its messages show it: annotations that it has beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    annotations: BTreeMap<&'static str, String>,
    digest: u64,
}

impl Handling {
    /// What is said of it, in the order of [`HANDLING`].
    pub(in crate::engine) fn new(said: [Option<String>; HANDLING.len()]) -> Handling {
        let said = HANDLING.into_iter().zip(said);
        let annotations: BTreeMap<&'static str, String> =
            said.filter_map(|(name, value)| Some((name, value?))).collect();
        if annotations.is_empty() {
            return Handling::default();
        }
        let parts = annotations.iter().flat_map(|(name, value)| [*name, value.as_str()]);
        let digest = parts.fold(Digest::default(), Digest::part);
        // 0 is that nothing was done.
        let digest = u64::from_le_bytes(digest.first()).max(1);
        Handling { annotations, digest }
    }

    /// What it is told apart by from what was shown before; 0 if there is nothing to show.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// The annotations.
    pub fn annotations(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.annotations.iter().map(|(name, value)| (*name, value.as_str()))
    }
}
