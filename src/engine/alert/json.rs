//! An alert as JSON: what webhooks, the Kafka topic, `stdout` in a pipe and the ledger carry.
//!
//! The shape is documented by `deploy/alert.schema.json`, which a test holds to this code. Fields are only
//! ever added; a change of meaning raises [`SCHEMA_VERSION`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Alert, Evidence};
use crate::engine::{digest::hex, event_ref::EventPosition, rule::Note, text::bounded_line};

/// Version of the JSON form, `version` in each object.
pub const SCHEMA_VERSION: &str = "1";

/// Bytes of one text of an alert that is too long as a whole, at the first try and at those after it.
const SHORTENED: [usize; 3] = [512, 128, 32];

/// One alert.
#[derive(Serialize)]
pub struct AlertJson<'a> {
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

/// One event that shows why an alert fired.
#[derive(Serialize)]
pub struct EvidenceJson<'a> {
    time: String,
    fields: BTreeMap<&'a str, &'a str>,
    position: Option<&'a EventPosition>,
    audit_id: Option<String>,
    event_hash: Option<String>,
}

impl EvidenceJson<'_> {
    /// Of a piece of evidence.
    pub fn new(evidence: &Evidence) -> EvidenceJson<'_> {
        let event = evidence.event.as_deref();
        EvidenceJson {
            time: evidence.time.rfc3339(),
            fields: pairs(&evidence.fields),
            position: event.map(|event| &event.position),
            audit_id: event.map(|event| event.audit_id.to_string()),
            event_hash: event.map(|event| hex(&event.event_hash.get())),
        }
    }
}

impl AlertJson<'_> {
    /// Of an alert.
    pub fn new(alert: &Alert) -> AlertJson<'_> {
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

impl Alert {
    /// As JSON of at most so many bytes. If it is longer, its texts are shortened, and at last its evidence
    /// and annotations are left out. `None` if it is too long all the same.
    pub fn bounded_json(&self, bytes_max: usize) -> Option<String> {
        let json = |alert: &Alert| {
            serde_json::to_string(&AlertJson::new(alert))
                .ok()
                .filter(|text| text.len() <= bytes_max)
        };
        json(self)
            .or_else(|| SHORTENED.iter().find_map(|bytes| json(&self.shortened(*bytes))))
            .or_else(|| {
                let mut least = self.shortened(SHORTENED[2]);
                (least.evidence, least.annotations) = (Vec::new(), BTreeMap::new());
                json(&least)
            })
    }

    /// With texts of at most so many bytes where they may be long. Its identity stays.
    fn shortened(&self, bytes_max: usize) -> Alert {
        let short = |text: &String| bounded_line(text, bytes_max);
        let mut alert = self.clone();
        alert.annotations.values_mut().for_each(|text| *text = short(text));
        for evidence in &mut alert.evidence {
            evidence.fields.iter_mut().for_each(|(_, value)| *value = short(value));
        }
        let said = &mut alert.said;
        for texts in [&mut said.references, &mut said.false_positives, &mut said.controls] {
            for text in texts {
                *text = short(text);
            }
        }
        said.notes.clear();
        alert
    }
}

fn pairs(list: &[(String, String)]) -> BTreeMap<&str, &str> {
    list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{rule::Severity, time::EventTime};

    #[test]
    fn what_is_too_long_is_shortened_and_stays_json() {
        let time = EventTime::from_micros(1);
        let labels = BTreeMap::from([("alertname".to_owned(), "burst".to_owned())]);
        let mut alert = Alert::begun(time.as_wall(), ("id", "Burst"), Severity::High, labels);
        let whole = alert.bounded_json(10_000).unwrap();
        alert.annotations.insert("summary".to_owned(), "é\u{1}\"".repeat(3_000));
        let fields = vec![("verb".to_owned(), "\u{1}".repeat(1_024))];
        alert.evidence = vec![Evidence { time, fields, event: None }; 5];
        for most in [40_000, 8_000, 2_000, whole.len()] {
            let text = alert.bounded_json(most).unwrap();
            assert!(text.len() <= most, "{} of {most}", text.len());
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read["fingerprint"], alert.fingerprint.to_string());
        }
        assert_eq!(alert.bounded_json(10), None);
    }
}
