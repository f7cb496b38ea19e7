//! Alerts about Tripline itself, for what a team must hear through the same channels as any other.

use std::{collections::BTreeMap, time::Duration};

use crate::engine::{
    alert::{Alert, AlertState, HEARTBEAT},
    rule::Severity,
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
        Some(end_of(&before, reload_failed(now, AlertState::Resolved, "")))
    }
}

/// The end of the episode that was told, in the words of `over`.
pub(super) fn end_of(told: &Alert, over: Alert) -> Alert {
    Alert {
        starts_at: told.starts_at,
        first_seen: told.first_seen,
        last_seen: told.last_seen,
        finding_count: told.finding_count,
        revision: told.revision + 1,
        ..over
    }
}

/// What an alert about Tripline itself is about.
struct About {
    name: &'static str,
    rule_id: &'static str,
    title: &'static str,
    severity: Severity,
    firing: &'static str,
    resolved: &'static str,
}

/// A failed reload: the last good rules go on, and somebody must know. `detail` is what is wrong.
pub(super) fn reload_failed(now: WallTime, state: AlertState, detail: &str) -> Alert {
    const ABOUT: About = About {
        name: RELOAD_FAILED,
        rule_id: "tripline.reload",
        title: "Rules could not be reloaded",
        severity: Severity::High,
        firing: "An edit of the rules was refused; the last good set goes on",
        resolved: "The rules were loaded again",
    };
    about_tripline(&ABOUT, now, state, detail)
}

/// The ledger cannot be written, and rows wait in the checkpoint. `detail` is why.
pub(super) fn ledger_stalled(now: WallTime, state: AlertState, detail: &str) -> Alert {
    const ABOUT: About = About {
        name: "TriplineLedgerStalled",
        rule_id: "tripline.ledger",
        title: "The ledger cannot be written",
        severity: Severity::High,
        firing: "Rows of the ledger wait in the checkpoint; when there is no more room for them, \
                 accesses are not recorded",
        resolved: "The ledger is written again",
    };
    about_tripline(&ABOUT, now, state, detail)
}

/// Accesses are not recorded, since there is no room for them. `detail` says how many.
pub(super) fn access_shed(now: WallTime, state: AlertState, detail: &str) -> Alert {
    const ABOUT: About = About {
        name: "TriplineAccessShed",
        rule_id: "tripline.accesses",
        title: "Accesses are not recorded",
        severity: Severity::High,
        firing: "There are more accesses than the ledger takes; those beyond are counted only",
        resolved: "All accesses are recorded again",
    };
    about_tripline(&ABOUT, now, state, detail)
}

/// How long nothing more is shed before it counts as over: 10 minutes.
const SHED_CALM: Duration = Duration::from_secs(600);

/// Accesses that were shed, and whether people know.
#[derive(Default)]
pub(super) struct ShedAccesses {
    total: u64,
    /// What people know, and when the last was shed.
    told: Option<(Alert, WallTime)>,
}

impl ShedAccesses {
    /// So many were shed in all. The alert to tell, if there is news.
    pub(super) fn look(&mut self, now: WallTime, total: u64) -> Option<Alert> {
        if std::mem::replace(&mut self.total, total) != total {
            if let Some((_, last)) = &mut self.told {
                *last = now;
                return None;
            }
            let detail = format!("{total} since the process started");
            let alert = access_shed(now, AlertState::Firing, &detail);
            self.told = Some((alert.clone(), now));
            return Some(alert);
        }
        let is_calm =
            |(_, last): &mut (Alert, WallTime)| now.since(*last) >= SHED_CALM || now < *last;
        let (told, _) = self.told.take_if(is_calm)?;
        Some(end_of(&told, access_shed(now, AlertState::Resolved, "")))
    }
}

/// The end-to-end canary does not come back: alerts may be late, or not come at all. `detail` is which.
pub(super) fn canary_missing(now: WallTime, state: AlertState, detail: &str) -> Alert {
    const ABOUT: About = About {
        name: "TriplineCanaryMissing",
        rule_id: "tripline.canary",
        title: "The end-to-end canary is missing",
        severity: Severity::Critical,
        firing: "A record that Tripline sent itself made no alert in time",
        resolved: "Records that Tripline sends itself make alerts in time again",
    };
    about_tripline(&ABOUT, now, state, detail)
}

/// Always fires, for somebody who is told when it no longer comes.
pub(super) fn heartbeat(now: WallTime, state: AlertState) -> Alert {
    const ABOUT: About = About {
        name: HEARTBEAT,
        rule_id: "tripline.heartbeat",
        title: "Tripline is alive",
        severity: Severity::Informational,
        firing: "Tripline is alive, and its alerts come through",
        resolved: "No heartbeat is told any more",
    };
    let detail = "This alert always fires. If it no longer comes, nobody watches.";
    about_tripline(&ABOUT, now, state, detail)
}

fn about_tripline(about: &About, now: WallTime, state: AlertState, detail: &str) -> Alert {
    let summary = match state {
        AlertState::Firing => about.firing,
        AlertState::Resolved => about.resolved,
    };
    let annotations = BTreeMap::from([
        ("summary".to_owned(), summary.to_owned()),
        ("description".to_owned(), detail.to_owned()),
    ]);
    let ends_at = (state == AlertState::Resolved).then_some(now.as_event());
    let rule = (about.rule_id, about.title);
    let mut alert = Alert::about_tripline(now, about.name, rule, BTreeMap::new());
    alert.severity = about.severity;
    alert.labels.insert("severity".to_owned(), about.severity.as_str().to_owned());
    Alert { state, annotations, ends_at, ..alert }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `TriplineAccessShed` is told once, goes on while more is shed, and ends after ten minutes of calm.
    #[test]
    fn accesses_that_are_shed_are_one_alert_until_it_is_calm() {
        let start = WallTime::from_micros(1_700_000_000_000_000);
        let after = |minutes: u64| start.plus(Duration::from_secs(60 * minutes));
        let mut shed = ShedAccesses::default();
        let (mut told, mut began) = (Vec::new(), Vec::new());
        for (minute, total) in [
            (0, 0),
            (1, 5),
            (2, 5),
            (3, 9),
            (12, 9),
            (13, 9),
            (30, 9),
            (31, 10),
            (40, 10),
            (41, 10),
        ] {
            let alert = shed.look(after(minute), total);
            told.extend(alert.map(|alert| {
                began.push(alert.starts_at);
                let name = alert.labels.get("alertname").cloned().unwrap_or_default();
                (minute, name, alert.state)
            }));
        }
        let name = || "TriplineAccessShed".to_owned();
        assert_eq!(
            told,
            [
                (1, name(), AlertState::Firing),
                (13, name(), AlertState::Resolved),
                (31, name(), AlertState::Firing),
                (41, name(), AlertState::Resolved),
            ]
        );
        let of = |minute| after(minute).as_event();
        assert_eq!(began, [of(1), of(1), of(31), of(31)], "an end is that of the same episode");
    }
}
