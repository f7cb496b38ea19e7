//! Alerts that somebody ends, whatever their rule says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Alert, AlertKey, AlertState, Fingerprint, Lifecycle};
use crate::engine::time::WallTime;

impl Lifecycle {
    /// Ends alerts by hand, whatever their rules say. Which of them fired. Cost: all alerts, once.
    pub(crate) fn resolve_by_hand(
        &mut self,
        now: WallTime,
        fingerprints: &BTreeSet<Fingerprint>,
        (by, why): (&str, &str),
        out: &mut Vec<Alert>,
    ) -> BTreeSet<Fingerprint> {
        let mut keys: BTreeMap<Fingerprint, Arc<AlertKey>> = BTreeMap::new();
        for (key, entry) in self.entries.iter() {
            let Alert { fingerprint, state, .. } = entry.alert;
            if state == AlertState::Firing && fingerprints.contains(&fingerprint) {
                keys.entry(fingerprint).or_insert_with(|| Arc::clone(key));
            }
        }
        let fired = keys.keys().copied().collect();
        for key in keys.into_values() {
            let Some(mut entry) = self.entries.remove(&key) else { continue };
            self.deadlines.remove(&(entry.scheduled, Arc::clone(&key)));
            entry.settle(&self.rules, &key.0, &self.templates, &mut self.counts);
            // It may have claimed to hold for a year.
            entry.until = entry.until.min(now.as_event()).max(entry.alert.starts_at);
            entry.alert.note_end(by, why);
            self.resolve(now, None, key, entry, out);
        }
        fired
    }
}
