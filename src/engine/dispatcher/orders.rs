//! What is asked of all groups: which alerts somebody was told of, which groups have something to tell, and which is
//! the largest.

use std::collections::BTreeSet;

use super::Dispatcher;
use crate::engine::{
    alert::{Alert, Fingerprint},
    dispatch::GroupKey,
};

impl Dispatcher {
    /// An alert as receivers hold it of which somebody was told, or will be, and not yet of its end.
    pub fn told_of(&self, fingerprint: Fingerprint) -> Option<&Alert> {
        let of_alert = (fingerprint, 0)..=(fingerprint, usize::MAX);
        let held = self.holders.range(of_alert).filter_map(|(_, key)| self.groups.get(key));
        let mut held = held.filter_map(|group| group.alerts.get(fingerprint));
        held.find(|grouped| grouped.is_firing()).map(|grouped| &*grouped.latest)
    }

    /// Alerts of which somebody was told that they fire; one comes as often as receivers hold it.
    pub fn told(&self) -> impl Iterator<Item = &Alert> {
        let grouped = self.groups.values().flat_map(|group| group.alerts.iter());
        grouped.filter(|(_, grouped)| grouped.is_firing()).map(|(_, grouped)| &*grouped.latest)
    }

    /// Groups that have something to tell their receiver, or wait for its answer, those left out that are
    /// quiet for a time. As of the last
    /// [`Dispatcher::handle_timeout`]. Cost: notifiers and routes.
    pub fn pending_count(&self) -> usize {
        let is_quiet = |of: &&BTreeSet<GroupKey>| {
            let group = of.first().and_then(|key| self.groups.get(key));
            group.is_some_and(|group| group.policy.times.quiet_until(self.now).is_some())
        };
        self.pending.values().filter(|of| !is_quiet(of)).map(BTreeSet::len).sum()
    }

    /// A group held so many alerts, and holds others by now.
    pub(super) fn note_size(&mut self, key: GroupKey, before: usize) {
        self.sizes.remove(&(before, key));
        if let Some(group) = self.groups.get(&key) {
            self.sizes.insert((group.alerts.len(), key));
        }
    }

    /// A group may have something to tell that it did not have, or nothing any more.
    pub(super) fn note_pending(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get(&key) else { return };
        let of = (group.slot, group.route);
        if group.owed.is_some() || group.has_news {
            self.pending.entry(of).or_default().insert(key);
        } else {
            self.forget_pending(of, key);
        }
    }

    pub(super) fn forget_pending(&mut self, of: (usize, [u8; 16]), key: GroupKey) {
        if let Some(pending) = self.pending.get_mut(&of) {
            pending.remove(&key);
            if pending.is_empty() {
                self.pending.remove(&of);
            }
        }
    }
}
