//! Alerts that somebody ends, whatever their rule says.

use super::{Alert, AlertState, Fingerprint, Lifecycle, TrackedAlert};
use crate::engine::time::WallTime;

impl Lifecycle {
    /// Ends an alert by hand, whatever its rule says. Whether it fired. Cost: all alerts.
    pub(crate) fn resolve_by_hand(
        &mut self,
        now: WallTime,
        fingerprint: Fingerprint,
        (by, why): (&str, &str),
        out: &mut Vec<Alert>,
    ) -> bool {
        let is_meant = |entry: &TrackedAlert| {
            entry.alert.fingerprint == fingerprint && entry.alert.state == AlertState::Firing
        };
        let key =
            self.entries.iter().find(|(_, entry)| is_meant(entry)).map(|(key, _)| key.clone());
        let Some((key, mut entry)) = key.and_then(|key| self.entries.remove_entry(&key)) else {
            return false;
        };
        self.deadlines.remove(&(entry.scheduled, key.clone()));
        entry.settle(&self.rules, &key.0, &self.templates, &mut self.counts);
        // It may have claimed to hold for a year.
        entry.until = entry.until.min(now.as_event()).max(entry.alert.starts_at);
        entry.alert.note_end(by, why);
        self.resolve(now, None, key, entry, out);
        true
    }
}
