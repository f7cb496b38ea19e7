//! An alert read again from the JSON in which it was told: what the ledger keeps of one that is over.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::{Alert, AlertState, Evidence, Fingerprint, RuleSaid};
use crate::engine::{
    digest::unhex,
    event_ref::{AuditId, EventPosition, EventRef},
    rule::{Note, Severity},
    time::{EventTime, WallTime},
};

/// An alert as [`super::json::AlertJson`] writes it. What an earlier version did not write is empty.
#[derive(Deserialize)]
struct Told {
    fingerprint: String,
    state: String,
    severity: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    rule: ToldRule,
    key: BTreeMap<String, String>,
    starts_at: String,
    ends_at: Option<String>,
    first_seen: String,
    last_seen: String,
    changed_at: String,
    value: f64,
    threshold: String,
    finding_count: u64,
    suppressed_count: u64,
    revision: u64,
    evidence: Vec<ToldEvidence>,
}

#[derive(Deserialize)]
struct ToldRule {
    id: String,
    title: String,
    owner: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    false_positives: Vec<String>,
    #[serde(default)]
    controls: Vec<String>,
    #[serde(default)]
    notes: Vec<Note>,
}

#[derive(Deserialize)]
struct ToldEvidence {
    time: String,
    fields: BTreeMap<String, String>,
    position: Option<EventPosition<String>>,
    audit_id: Option<String>,
    event_hash: Option<String>,
}

impl Alert {
    /// From its JSON; `None` if that is none of an alert. The parts of its key are in the order of their names.
    pub fn from_json(text: &str) -> Option<Alert> {
        let told: Told = serde_json::from_str(text).ok()?;
        let state = AlertState::ALL.into_iter().find(|state| state.as_str() == told.state)?;
        let ends_at = told.ends_at.as_deref().map(EventTime::parse);
        Some(Alert {
            fingerprint: told.fingerprint.parse::<Fingerprint>().ok()?,
            state,
            labels: told.labels,
            annotations: told.annotations,
            rule_id: told.rule.id,
            rule_title: told.rule.title,
            severity: Severity::parse(&told.severity)?,
            key: told.key.into_iter().collect(),
            starts_at: EventTime::parse(&told.starts_at)?,
            first_seen: EventTime::parse(&told.first_seen)?,
            last_seen: EventTime::parse(&told.last_seen)?,
            ends_at: ends_at.flatten(),
            changed_at: WallTime::from_micros(EventTime::parse(&told.changed_at)?.micros()),
            value: told.value,
            threshold: told.threshold,
            finding_count: told.finding_count,
            suppressed_count: told.suppressed_count,
            evidence: told.evidence.into_iter().filter_map(ToldEvidence::read).collect(),
            revision: told.revision,
            said: RuleSaid {
                owner: told.rule.owner,
                author: told.rule.author,
                references: told.rule.references,
                false_positives: told.rule.false_positives,
                controls: told.rule.controls,
                notes: told.rule.notes,
            },
            tags: told.rule.tags,
        })
    }
}

impl ToldEvidence {
    fn read(self) -> Option<Evidence> {
        let time = EventTime::parse(&self.time)?;
        let event = || -> Option<EventRef> {
            let EventPosition { topic, partition, offset, index } = self.position?;
            Some(EventRef {
                position: EventPosition { topic: topic.into(), partition, offset, index },
                audit_id: AuditId::new(&self.audit_id?),
                event_hash: unhex(&self.event_hash?)?.into(),
            })
        };
        let event = event().map(Arc::new);
        Some(Evidence { time, fields: self.fields.into_iter().collect(), event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_read_as_it_was_told() {
        let time = EventTime::parse("2026-01-05T22:14:01.5Z").unwrap();
        let labels = [("alertname", "burst"), ("user", "eve")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let note = Note {
            on: "alice in list readers".to_owned(),
            owner: Some("ops".to_owned()),
            ..Note::default()
        };
        let mut alert = Alert {
            annotations: BTreeMap::from([("summary".to_owned(), "ü <b>".to_owned())]),
            key: vec![("user.username".to_owned(), "eve".to_owned())],
            value: 5.5,
            threshold: "≥ 5 events in 5m".to_owned(),
            finding_count: 7,
            suppressed_count: 2,
            revision: 3,
            tags: vec!["attack.t1552".to_owned()],
            said: RuleSaid {
                owner: Some("sec".to_owned()),
                notes: vec![note],
                ..RuleSaid::default()
            },
            evidence: vec![Evidence {
                time,
                fields: vec![("verb".to_owned(), "get".to_owned())],
                event: Some(Arc::new(EventRef {
                    position: EventPosition {
                        topic: "audit".into(),
                        partition: 3,
                        offset: 1712,
                        index: 1,
                    },
                    audit_id: AuditId::new("0b5c1c5e-7d0e-4e0c-9a57-0123456789ab"),
                    event_hash: [7; 32].into(),
                })),
            }],
            ..Alert::begun(time.as_wall(), ("id", "Burst"), Severity::High, labels.into())
        };
        let again = |alert: &Alert| Alert::from_json(&alert.bounded_json(10_000).unwrap());
        assert_eq!(again(&alert).as_ref(), Some(&alert));
        (alert.state, alert.ends_at) = (AlertState::Resolved, Some(time));
        alert.evidence[0].event = None;
        assert_eq!(again(&alert).as_ref(), Some(&alert));
        for text in ["", "{}", "[]", "{\"fingerprint\":\"x\"}"] {
            assert_eq!(Alert::from_json(text), None, "{text}");
        }
    }
}
