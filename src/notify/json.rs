//! Alerts and notifications as JSON: what webhooks, the Kafka topic and `stdout` in a pipe carry.
//!
//! The shape of an alert is documented by `deploy/alert.schema.json`, which a test holds to this code.
//! Fields are only ever added; a change of meaning raises [`SCHEMA_VERSION`].

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::{
    alert::{Alert, AlertState, Evidence},
    dispatch::Notification,
    event_ref::EventPosition,
    ledger::hex_of,
    rule::Note,
};

/// Version of the JSON form, `version` in each object.
pub(super) const SCHEMA_VERSION: &str = "1";

/// One alert.
#[derive(Serialize)]
pub(super) struct AlertJson<'a> {
    version: &'static str,
    fingerprint: String,
    state: &'static str,
    severity: &'static str,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    rule: RuleJson<'a>,
    key: BTreeMap<&'a str, &'a str>,
    starts_at: String,
    ends_at: Option<String>,
    first_seen: String,
    last_seen: String,
    changed_at: String,
    value: f64,
    threshold: &'a str,
    finding_count: u64,
    suppressed_count: u64,
    revision: u64,
    evidence: Vec<EvidenceJson<'a>>,
}

#[derive(Serialize)]
struct RuleJson<'a> {
    id: &'a str,
    title: &'a str,
    owner: Option<&'a str>,
    author: Option<&'a str>,
    tags: &'a [String],
    references: &'a [String],
    false_positives: &'a [String],
    controls: &'a [String],
    notes: &'a [Note],
}

#[derive(Serialize)]
struct EvidenceJson<'a> {
    time: String,
    fields: BTreeMap<&'a str, &'a str>,
    position: Option<&'a EventPosition>,
    audit_id: Option<String>,
    event_hash: Option<String>,
}

impl EvidenceJson<'_> {
    fn new(evidence: &Evidence) -> EvidenceJson<'_> {
        let event = evidence.event.as_deref();
        EvidenceJson {
            time: evidence.time.rfc3339(),
            fields: pairs(&evidence.fields),
            position: event.map(|event| &event.position),
            audit_id: event.map(|event| event.audit_id.to_string()),
            event_hash: event.map(|event| hex_of(&event.event_hash)),
        }
    }
}

/// One notification with its alerts.
#[derive(Serialize)]
pub(super) struct NotificationJson<'a> {
    version: &'static str,
    id: String,
    receiver: &'a str,
    reason: &'static str,
    state: &'static str,
    group_key: &'a str,
    group_labels: &'a BTreeMap<String, String>,
    created_at: String,
    external_url: Option<&'a str>,
    truncated_count: u64,
    alerts: Vec<AlertJson<'a>>,
}

impl AlertJson<'_> {
    pub(super) fn new(alert: &Alert) -> AlertJson<'_> {
        AlertJson {
            version: SCHEMA_VERSION,
            fingerprint: alert.fingerprint.to_string(),
            state: alert.state.as_str(),
            severity: alert.severity.as_str(),
            labels: &alert.labels,
            annotations: &alert.annotations,
            rule: RuleJson {
                id: &alert.rule_id,
                title: &alert.rule_title,
                owner: alert.said.owner.as_deref(),
                author: alert.said.author.as_deref(),
                tags: &alert.tags,
                references: &alert.said.references,
                false_positives: &alert.said.false_positives,
                controls: &alert.said.controls,
                notes: &alert.said.notes,
            },
            key: pairs(&alert.key),
            starts_at: alert.starts_at.rfc3339(),
            ends_at: alert.ends_at.map(crate::engine::time::EventTime::rfc3339),
            first_seen: alert.first_seen.rfc3339(),
            last_seen: alert.last_seen.rfc3339(),
            changed_at: alert.changed_at.rfc3339(),
            value: alert.value,
            threshold: &alert.threshold,
            finding_count: alert.finding_count,
            suppressed_count: alert.suppressed_count,
            revision: alert.revision,
            evidence: alert.evidence.iter().map(EvidenceJson::new).collect(),
        }
    }
}

impl<'a> NotificationJson<'a> {
    pub(super) fn new(
        notification: &'a Notification,
        external_url: Option<&'a str>,
    ) -> NotificationJson<'a> {
        let any_firing = notification.firing_count() > 0;
        NotificationJson {
            version: SCHEMA_VERSION,
            id: notification.id.to_string(),
            receiver: &notification.receiver,
            reason: notification.reason.as_str(),
            state: (if any_firing { AlertState::Firing } else { AlertState::Resolved }).as_str(),
            group_key: &notification.group_key,
            group_labels: &notification.group_labels,
            created_at: notification.created_at.rfc3339(),
            external_url,
            truncated_count: notification.truncated_count,
            alerts: notification.alerts.iter().map(AlertJson::new).collect(),
        }
    }
}

/// One alert as one line, as receivers write it.
pub fn alert_line(alert: &Alert) -> Vec<u8> {
    let mut line = to_bytes(&AlertJson::new(alert));
    line.push(b'\n');
    line
}

fn pairs(list: &[(String, String)]) -> BTreeMap<&str, &str> {
    list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// As bytes. Only maps with text keys and finite numbers go in, so it cannot fail: a number that JSON
/// does not know is written as `null`.
pub(super) fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("text keys and plain values can be written as JSON")
}
