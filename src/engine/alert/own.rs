//! Alerts about Tripline itself, for what people must hear through the same channels as any other.

use std::collections::BTreeMap;

use super::{Alert, AlertState};
use crate::engine::{rule::Severity, text::bounded_line, time::WallTime};

/// Bytes of what somebody says who ends an alert: 1 kB; the rest is cut.
const END_NOTE_BYTES_MAX: usize = 1_024;

/// Name of the alert that always fires, for somebody who is told when it no longer comes.
pub const HEARTBEAT: &str = "tripline_heartbeat";

/// Name of the canary's rule, and of the receiver of its alerts.
pub const CANARY: &str = "tripline_canary";

/// The name of an alert with these labels by which the way from finding to being told is measured: whoever misses it takes
/// Tripline for dead. `None` of any other alert.
pub(in crate::engine) fn measures_the_way(labels: &BTreeMap<String, String>) -> Option<&str> {
    let name = labels.get("alertname").map(String::as_str);
    name.filter(|name| [HEARTBEAT, CANARY].contains(name))
}

/// A sort of alert that no rule makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAlert {
    /// The label `alertname`.
    pub name: &'static str,
    /// What stands for the rule's id.
    pub rule_id: &'static str,
    /// What stands for the rule's title.
    pub title: &'static str,
    /// How bad it is.
    pub severity: Severity,
}

impl OwnAlert {
    /// It begins. `about` are further labels, which tell alerts of this sort apart.
    pub fn begin(
        &self,
        now: WallTime,
        about: &[(&str, &str)],
        summary: &str,
        description: &str,
    ) -> Alert {
        let labels = about.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let rule = (self.rule_id, self.title);
        let mut alert = Alert::about_tripline(now, self.name, rule, labels.collect());
        alert.severity = self.severity;
        alert.labels.insert("severity".to_owned(), self.severity.as_str().to_owned());
        alert.annotations.insert("summary".to_owned(), summary.to_owned());
        if !description.is_empty() {
            alert.annotations.insert("description".to_owned(), description.to_owned());
        }
        let key = about.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        alert.key = key.collect();
        alert
    }
}

impl Alert {
    /// The same, with news of it.
    #[must_use]
    pub fn told_again(&self, now: WallTime, summary: &str, description: &str) -> Alert {
        let mut alert = self.clone();
        alert.annotations.insert("summary".to_owned(), summary.to_owned());
        alert.annotations.insert("description".to_owned(), description.to_owned());
        alert.last_seen = alert.last_seen.max(now.as_event());
        alert.changed_at = now;
        alert.finding_count += 1;
        alert.revision += 1;
        alert
    }

    /// Notes who has ended it, and why.
    pub(in crate::engine) fn note_end(&mut self, by: &str, why: &str) {
        self.annotations.insert("resolved_by".to_owned(), bounded_line(by, END_NOTE_BYTES_MAX));
        self.annotations
            .insert("resolved_because".to_owned(), bounded_line(why, END_NOTE_BYTES_MAX));
    }

    /// The same, over.
    #[must_use]
    pub fn ended(&self, now: WallTime) -> Alert {
        Alert {
            state: AlertState::Resolved,
            ends_at: Some(now.as_event()),
            last_seen: self.last_seen.max(now.as_event()),
            changed_at: now,
            revision: self.revision + 1,
            ..self.clone()
        }
    }
}
