//! Alerts: findings with an identity and a life, firing → updated → resolved.

pub(crate) mod lifecycle;
pub(crate) mod template;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{
    digest::{Digest, hex},
    rule::Severity,
    time::{EventTime, WallTime},
    words::words,
};

/// Identity of an alert: 128 bits of BLAKE3 over its identity labels (all labels but `severity`).
/// Label values are chosen by attackers, so a hash that can be collided would hide an alert.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Of labels; `severity` is left out, since it may follow the evidence.
    pub fn of(labels: &BTreeMap<String, String>) -> Fingerprint {
        let identity = labels.iter().filter(|(name, _)| *name != "severity");
        Fingerprint(Digest::of(identity.flat_map(|(name, value)| [name, value])).first())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

words! {
    /// Where an alert is in its life.
    pub enum AlertState {
        /// The condition held within the last `resolve_after`.
        Firing = "firing",
        /// It has not held for that long.
        Resolved = "resolved",
    }
}

/// The annotation that says which rules' events an alert misses: it is about a silence, so its evidence
/// is what was heard last, and not what it is about.
pub const MISSING: &str = "missing_events";

/// What people are told. A snapshot: each change of the alert is a new, whole `Alert`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Identity, over its labels.
    pub fingerprint: Fingerprint,
    /// Where it is in its life.
    pub state: AlertState,
    /// `alertname`, `severity`, the rule's own labels, and the correlation key. Few and stable.
    pub labels: BTreeMap<String, String>,
    /// Rendered templates (`summary`, `description` …), and `runbook_url`.
    pub annotations: BTreeMap<String, String>,
    /// Stable id of the rule.
    pub rule_id: String,
    /// Title of the rule.
    pub rule_title: String,
    /// Severity now.
    pub severity: Severity,
    /// Key parts by field path, in the rule's order.
    pub key: Vec<(String, String)>,
    /// Event time of the finding that began this episode.
    pub starts_at: EventTime,
    /// Event time of the first event that counted.
    pub first_seen: EventTime,
    /// Event time of the latest event that counted.
    pub last_seen: EventTime,
    /// Event time at which it resolved; `None` while firing.
    pub ends_at: Option<EventTime>,
    /// Operator's clock at its latest change.
    pub changed_at: WallTime,
    /// Greatest value of the condition in this episode: events, distinct values, a sum …
    pub value: f64,
    /// What the value is compared with, for people: `≥ 5 events in 5m`. Empty for a plain rule.
    pub threshold: String,
    /// Findings in this episode.
    pub finding_count: u64,
    /// Findings since the previous episode that `suppress` held back.
    pub suppressed_count: u64,
    /// Events that show it, oldest first.
    pub evidence: Vec<Evidence>,
    /// Counts up with every change that receivers may want to see.
    pub revision: u64,
    /// Who answers for the rule.
    pub owner: Option<String>,
    /// Sigma tags, ATT&CK among them.
    pub tags: Vec<String>,
}

/// One event that shows why an alert fired, with secrets redacted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it happened.
    pub time: EventTime,
    /// Field paths and values, in the rule's order.
    pub fields: Vec<(String, String)>,
}
