//! Groups with something that their notifier does not take, in the order of time.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{
    dispatch::{GroupKey, SetBack},
    time::WallTime,
};

/// Groups with something that their notifier does not take.
#[derive(Clone, Debug, Default)]
pub(super) struct Failing {
    since: BTreeMap<GroupKey, WallTime>,
    by_time: BTreeSet<(WallTime, GroupKey)>,
}

impl Failing {
    /// Notes since when it does not take something of a group, or that it does; whether that is news.
    pub(super) fn set(&mut self, key: GroupKey, since: Option<WallTime>) -> bool {
        let before = match since {
            Some(since) => self.since.insert(key, since),
            None => self.since.remove(&key),
        };
        if before == since {
            return false;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, key));
        }
        self.by_time.extend(since.map(|since| (since, key)));
        true
    }

    /// Since when it does not take something, of any group.
    pub(super) fn first(&self) -> Option<WallTime> {
        self.by_time.first().map(|(since, _)| *since)
    }

    /// The group of which that is so.
    pub(super) fn first_group(&self) -> Option<GroupKey> {
        self.by_time.first().map(|(_, key)| *key)
    }

    /// Goes on with a clock that was set back.
    pub(super) fn rebase(&mut self, set_back: SetBack) {
        for (key, since) in std::mem::take(self).since {
            self.set(key, Some(set_back.of(since)));
        }
    }
}
