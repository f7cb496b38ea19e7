//! Alerts about Tripline itself, for what a team must hear through the same channels as any other.

use std::collections::BTreeMap;

use crate::engine::{
    alert::{Alert, AlertState, Fingerprint, RuleSaid},
    rule::Severity,
    time::WallTime,
};

/// Name of the alert that says an edit of the rules was refused.
pub(super) const RELOAD_FAILED: &str = "TriplineReloadFailed";

/// Name of the alert that says that the end-to-end canary does not come back.
pub(super) const CANARY_MISSING: &str = "TriplineCanaryMissing";

/// Name of the alert that always fires.
pub(super) const HEARTBEAT: &str = "tripline_heartbeat";

/// Identity of what makes the alert that always fires.
const HEARTBEAT_RULE: &str = "tripline.heartbeat";

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
    about_us(
        now,
        state,
        &About {
            name: RELOAD_FAILED,
            rule_id: "tripline.reload",
            title: "Rules could not be reloaded",
            severity: Severity::High,
            summary,
            description: detail,
        },
    )
}

/// The end-to-end canary does not come back: alerts may be late, or not come at all.
pub(super) fn canary_missing(now: WallTime, state: AlertState, detail: &str) -> Alert {
    let summary = match state {
        AlertState::Firing => "A record that Tripline sent itself made no alert in time",
        AlertState::Resolved => "Records that Tripline sends itself make alerts in time again",
    };
    about_us(
        now,
        state,
        &About {
            name: CANARY_MISSING,
            rule_id: "tripline.canary",
            title: "The end-to-end canary is missing",
            severity: Severity::Critical,
            summary,
            description: detail,
        },
    )
}

/// Always fires, for somebody who is told when it no longer comes.
pub(super) fn heartbeat(now: WallTime, state: AlertState) -> Alert {
    about_us(
        now,
        state,
        &About {
            name: HEARTBEAT,
            rule_id: HEARTBEAT_RULE,
            title: "Tripline is alive",
            severity: Severity::Informational,
            summary: "Tripline is alive, and its alerts come through",
            description: "This alert always fires. If it no longer comes, nobody watches.",
        },
    )
}

/// What an alert about ourselves says.
struct About<'a> {
    name: &'a str,
    rule_id: &'a str,
    title: &'a str,
    severity: Severity,
    summary: &'a str,
    description: &'a str,
}

fn about_us(now: WallTime, state: AlertState, about: &About<'_>) -> Alert {
    let pairs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let labels = pairs(&[
        ("alertname", about.name),
        ("severity", about.severity.as_str()),
        ("rule_id", about.rule_id),
    ]);
    let at = now.as_event();
    Alert {
        fingerprint: Fingerprint::of(&labels),
        state,
        labels,
        annotations: pairs(&[("summary", about.summary), ("description", about.description)]),
        rule_id: about.rule_id.to_owned(),
        rule_title: about.title.to_owned(),
        severity: about.severity,
        key: Vec::new(),
        starts_at: at,
        first_seen: at,
        last_seen: at,
        ends_at: (state == AlertState::Resolved).then_some(at),
        changed_at: now,
        value: 1.0,
        threshold: String::new(),
        finding_count: 1,
        suppressed_count: 0,
        evidence: Vec::new(),
        revision: 1,
        said: RuleSaid::default(),
        tags: Vec::new(),
    }
}
