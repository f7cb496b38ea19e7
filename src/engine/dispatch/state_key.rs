//! How the entries of groups are named in the store: by their first byte, as `state.rs` says.

use super::GroupKey;
use crate::engine::alert::Fingerprint;

/// Names one state entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum GroupStateKey {
    /// The group itself.
    Group(GroupKey),
    /// One of its alerts.
    Alert(GroupKey, Fingerprint),
    /// What it owes.
    Owed(GroupKey),
    /// How far the delivery of that is.
    Progress(GroupKey),
    /// When one of its alerts was last told.
    ToldAt(GroupKey, Fingerprint),
}

impl GroupStateKey {
    pub(in crate::engine) fn group(&self) -> GroupKey {
        match self {
            GroupStateKey::Group(group)
            | GroupStateKey::Alert(group, _)
            | GroupStateKey::Owed(group)
            | GroupStateKey::Progress(group)
            | GroupStateKey::ToldAt(group, _) => *group,
        }
    }

    pub(in crate::engine) fn to_bytes(self) -> Vec<u8> {
        let (kind, rest): (u8, &[u8]) = match &self {
            GroupStateKey::Group(_) => (b'g', &[]),
            GroupStateKey::Alert(_, fingerprint) => (b'm', &fingerprint.0),
            GroupStateKey::Owed(_) => (b'o', &[]),
            GroupStateKey::Progress(_) => (b'p', &[]),
            GroupStateKey::ToldAt(_, fingerprint) => (b't', &fingerprint.0),
        };
        [&[kind], self.group().0.as_slice(), rest].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<GroupStateKey> {
        let (kind, rest) = bytes.split_first()?;
        let (group, rest) = rest.split_first_chunk()?;
        let group = GroupKey(*group);
        match (kind, rest.len()) {
            (b'g', 0) => Some(GroupStateKey::Group(group)),
            (b'm', 16) => Some(GroupStateKey::Alert(group, Fingerprint(rest.try_into().ok()?))),
            (b'o', 0) => Some(GroupStateKey::Owed(group)),
            (b'p', 0) => Some(GroupStateKey::Progress(group)),
            (b't', 16) => Some(GroupStateKey::ToldAt(group, Fingerprint(rest.try_into().ok()?))),
            _ => None,
        }
    }
}
