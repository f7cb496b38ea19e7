//! Alerts about Tripline itself, for what a team must hear through the same channels as any other.

use std::collections::BTreeMap;

use crate::engine::{
    alert::{Alert, AlertState},
    time::WallTime,
};

/// Name of the alert that says an edit of the rules was refused.
pub(super) const RELOAD_FAILED: &str = "TriplineReloadFailed";

/// The trouble of refused edits: from the first until a set is taken, it is one alert.
#[derive(Default)]
pub(super) struct RefusedEdits {
    alert: Option<Alert>,
}

impl RefusedEdits {
    /// An edit was refused; `detail` is what is wrong. The alert to tell, if there is news.
    pub(super) fn refused(&mut self, now: WallTime, detail: &str) -> Option<Alert> {
        match &mut self.alert {
            None => self.alert = Some(reload_failed(now, AlertState::Firing, detail)),
            Some(alert) => {
                let told = alert.annotations.insert("description".to_owned(), detail.to_owned());
                if told.as_deref() == Some(detail) {
                    return None;
                }
                alert.last_seen = now.as_event();
                alert.changed_at = now;
                alert.finding_count += 1;
                alert.revision += 1;
            }
        }
        self.alert.clone()
    }

    /// A set was taken. The alert to tell, if there was trouble.
    pub(super) fn taken(&mut self, now: WallTime) -> Option<Alert> {
        let before = self.alert.take()?;
        let over = reload_failed(now, AlertState::Resolved, "");
        Some(Alert {
            starts_at: before.starts_at,
            first_seen: before.first_seen,
            last_seen: before.last_seen,
            finding_count: before.finding_count,
            revision: before.revision + 1,
            ..over
        })
    }
}

/// A failed reload: the last good rules go on, and somebody must know. `detail` is what is wrong.
pub(super) fn reload_failed(now: WallTime, state: AlertState, detail: &str) -> Alert {
    let summary = match state {
        AlertState::Firing => "An edit of the rules was refused; the last good set goes on",
        AlertState::Resolved => "The rules were loaded again",
    };
    let annotations = BTreeMap::from([
        ("summary".to_owned(), summary.to_owned()),
        ("description".to_owned(), detail.to_owned()),
    ]);
    let ends_at = (state == AlertState::Resolved).then_some(now.as_event());
    let rule = ("tripline.reload", "Rules could not be reloaded");
    let alert = Alert::about_tripline(now, RELOAD_FAILED, rule, BTreeMap::new());
    Alert { state, annotations, ends_at, ..alert }
}
