//! What a recording rule does with the requests that it matches.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::engine::words::words;

/// The classes of the shipped rules; teams add their own. Sorted.
pub const CLASSES: [&str; 9] = [
    "change",
    "credential",
    "denied",
    "impersonation",
    "permission_change",
    "privileged",
    "read",
    "secret_change",
    "secret_read",
];

/// The class of requests that open a session: both of their stages are recorded, and joined.
pub const SESSION: &str = "session";

words! {
    /// What tells the accesses of a roll-up apart, beside the cluster and the classes.
    pub enum KeyPart {
        /// Who acted.
        Actor = "actor",
        /// Who spoke for the actor.
        OnBehalfOf = "on_behalf_of",
        /// What was done.
        Verb = "verb",
        /// The resource, with its API group.
        Resource = "resource",
        /// What below it.
        Subresource = "subresource",
        /// Where.
        Namespace = "namespace",
        /// Which one.
        Name = "name",
        /// How it ended.
        Outcome = "outcome",
        /// From which address.
        Source = "source",
        /// By which permission.
        Permission = "permission",
    }
}

/// Some of the [`KeyPart`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyParts(u16);

impl KeyParts {
    /// None of them.
    pub const NONE: KeyParts = KeyParts(0);
    /// All of them.
    pub const ALL: KeyParts = KeyParts((1 << KeyPart::ALL.len()) - 1);

    /// These and one more.
    #[must_use]
    pub const fn with(self, part: KeyPart) -> KeyParts {
        KeyParts(self.0 | 1 << part as u16)
    }

    /// These without one.
    #[must_use]
    pub const fn without(self, part: KeyPart) -> KeyParts {
        KeyParts(self.0 & !(1 << part as u16))
    }

    /// These and those.
    #[must_use]
    pub const fn union(self, other: KeyParts) -> KeyParts {
        KeyParts(self.0 | other.0)
    }

    /// Whether one is among them.
    pub const fn has(self, part: KeyPart) -> bool {
        self.0 & 1 << part as u16 != 0
    }
}

/// How a recording rule records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSpec {
    /// Of which class its accesses are.
    pub class: Arc<str>,
    /// Like accesses within so long become one; `None` if each is recorded.
    pub every: Option<Duration>,
    /// What makes accesses alike.
    pub key: KeyParts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_added_and_taken_away() {
        let some = KeyParts::NONE.with(KeyPart::Actor).with(KeyPart::Permission);
        for part in KeyPart::ALL {
            assert!(KeyParts::ALL.has(part) && !KeyParts::ALL.without(part).has(part));
            assert_eq!(some.has(part), matches!(part, KeyPart::Actor | KeyPart::Permission));
        }
        assert_eq!(some.union(KeyParts::ALL), KeyParts::ALL);
    }
}
