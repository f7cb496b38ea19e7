//! Alerts: findings with an identity and a life, firing → updated → resolved.

mod from_json;
pub mod json;
pub(crate) mod lifecycle;
mod own;
pub(crate) mod quota;
mod shown;
pub(crate) mod template;
mod who;

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

pub(in crate::engine) use own::measures_the_way;
pub use own::{CANARY, HEARTBEAT, OwnAlert};
pub use shown::shown_value;

use super::{
    digest::{Digest, hex},
    event_ref::EventRef,
    limits::ALERT_TEXTS_MAX,
    rule::{About, Note, Severity},
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

impl std::str::FromStr for Fingerprint {
    type Err = ();

    /// As it is shown: 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<Fingerprint, ()> {
        let is_hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex).ok_or(())?;
        Ok(Fingerprint(number.to_be_bytes()))
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
    /// What the rule's author says for whoever looks into it.
    pub said: RuleSaid,
    /// Sigma tags, ATT&CK among them.
    pub tags: Vec<String>,
}

impl Alert {
    /// The name of its rule, by which people know it: the label `alertname`, or the rule's id if it has none.
    pub fn name(&self) -> &str {
        self.labels.get("alertname").map_or(&self.rule_id, String::as_str)
    }

    /// One that begins to fire now, of the rule with this id and title, and of which nothing else is known.
    pub fn begun(
        now: WallTime,
        (rule_id, rule_title): (&str, &str),
        severity: Severity,
        labels: BTreeMap<String, String>,
    ) -> Alert {
        let at = now.as_event();
        Alert {
            fingerprint: Fingerprint::of(&labels),
            state: AlertState::Firing,
            labels,
            annotations: BTreeMap::new(),
            rule_id: rule_id.to_owned(),
            rule_title: rule_title.to_owned(),
            severity,
            key: Vec::new(),
            starts_at: at,
            first_seen: at,
            last_seen: at,
            ends_at: None,
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

    /// One about Tripline itself: of no rule, though it has the id and title of one.
    pub fn about_tripline(
        now: WallTime,
        name: &str,
        rule: (&str, &str),
        further_labels: BTreeMap<String, String>,
    ) -> Alert {
        let severity = Severity::High;
        let own = [("alertname", name), ("severity", severity.as_str()), ("rule_id", rule.0)];
        let own = own.map(|(label, value)| (label.to_owned(), value.to_owned()));
        Alert::begun(now, rule, severity, further_labels.into_iter().chain(own).collect())
    }
}

/// What an alert carries of what the author of its rule says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredSaid", into = "StoredSaid")]
pub struct RuleSaid {
    /// Who answers for the rule.
    pub owner: Option<String>,
    /// Who wrote it.
    pub author: Option<String>,
    /// Where to read more.
    pub references: Vec<String>,
    /// What else it may be.
    pub false_positives: Vec<String>,
    /// Controls of frameworks that it serves.
    pub controls: Vec<String>,
    /// Who answers for its filters and the entries of its lists, and why they are there.
    pub notes: Vec<Note>,
}

impl RuleSaid {
    /// The first [`ALERT_TEXTS_MAX`] of each.
    pub(crate) fn of(about: &About) -> RuleSaid {
        let notes = about.notes.iter().take(ALERT_TEXTS_MAX);
        let first = |texts: &[String]| texts.iter().take(ALERT_TEXTS_MAX).cloned().collect();
        RuleSaid {
            owner: about.owner.clone(),
            author: about.author.clone(),
            references: first(&about.references),
            false_positives: first(&about.false_positives),
            controls: first(&about.controls),
            notes: notes.map(|note| Note { value: None, ..note.clone() }).collect(),
        }
    }
}

/// How it is stored. The first two are what an optional owner was stored as before there was more, so
/// that alerts of earlier versions are read.
#[derive(Serialize, Deserialize)]
enum StoredSaid {
    Nothing,
    Owner(String),
    All {
        owner: Option<String>,
        author: Option<String>,
        references: Vec<String>,
        false_positives: Vec<String>,
        controls: Vec<String>,
        notes: Vec<Note>,
    },
}

impl From<StoredSaid> for RuleSaid {
    fn from(stored: StoredSaid) -> RuleSaid {
        match stored {
            StoredSaid::Nothing => RuleSaid::default(),
            StoredSaid::Owner(owner) => RuleSaid { owner: Some(owner), ..RuleSaid::default() },
            StoredSaid::All { owner, author, references, false_positives, controls, notes } => {
                RuleSaid { owner, author, references, false_positives, controls, notes }
            }
        }
    }
}

impl From<RuleSaid> for StoredSaid {
    fn from(said: RuleSaid) -> StoredSaid {
        let RuleSaid { owner, author, references, false_positives, controls, notes } = said;
        StoredSaid::All { owner, author, references, false_positives, controls, notes }
    }
}

/// One event that shows why an alert fired, with secrets redacted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredEvidence", into = "StoredEvidence")]
pub struct Evidence {
    /// When it happened.
    pub time: EventTime,
    /// Field paths and values, in the rule's order.
    pub fields: Vec<(String, String)>,
    /// Which event it is. `None` if that is not known: of what earlier versions stored, and of silences of
    /// which nothing was ever heard.
    pub event: Option<Arc<EventRef>>,
}

/// How it is stored: as it was before it knew its event, which is behind the fields, under a name that no
/// field has. So evidence of earlier versions is read.
#[derive(Serialize, Deserialize)]
struct StoredEvidence {
    time: EventTime,
    fields: Vec<(String, String)>,
}

/// The name under which an event is stored behind the fields of evidence.
const STORED_EVENT: &str = "\0event";

impl From<StoredEvidence> for Evidence {
    fn from(stored: StoredEvidence) -> Evidence {
        let StoredEvidence { time, mut fields } = stored;
        let last = fields.pop_if(|(name, _)| name == STORED_EVENT);
        let event = last.and_then(|(_, text)| {
            let bytes = BASE64_STANDARD.decode(text).ok()?;
            postcard::from_bytes(&bytes).ok()
        });
        Evidence { time, fields, event }
    }
}

impl From<Evidence> for StoredEvidence {
    fn from(evidence: Evidence) -> StoredEvidence {
        let Evidence { time, mut fields, event } = evidence;
        let stored = event.and_then(|event| postcard::to_stdvec(&*event).ok());
        let text = stored.map(|bytes| BASE64_STANDARD.encode(bytes));
        fields.extend(text.map(|text| (STORED_EVENT.to_owned(), text)));
        StoredEvidence { time, fields }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event_ref::{AuditId, EventPosition};

    #[test]
    fn a_fingerprint_is_read_as_it_is_shown() {
        let fingerprint = Fingerprint([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 254, 255]);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        for text in ["", "+0102030405060708090a0b0c0d0efff", "0g"] {
            assert_eq!(text.parse::<Fingerprint>(), Err(()), "{text}");
        }
    }

    #[test]
    fn evidence_is_read_with_its_event_and_as_it_was_stored_without() {
        let fields = vec![("verb".to_owned(), "get".to_owned())];
        let time = EventTime::from_micros(7);
        let before = postcard::to_stdvec(&(time, &fields)).unwrap();
        let mut evidence = Evidence { time, fields, event: None };
        assert_eq!(postcard::from_bytes::<Evidence>(&before).unwrap(), evidence);
        assert_eq!(postcard::to_stdvec(&evidence).unwrap(), before);
        evidence.event = Some(Arc::new(EventRef {
            position: EventPosition { topic: "audit".into(), partition: 3, offset: 1712, index: 1 },
            audit_id: AuditId::new("\0\n"),
            event_hash: [255; 32].into(),
        }));
        let bytes = postcard::to_stdvec(&evidence).unwrap();
        assert_eq!(postcard::from_bytes::<Evidence>(&bytes).unwrap(), evidence);
    }

    #[test]
    fn an_owner_that_was_stored_alone_is_read() {
        let read = |bytes: Vec<u8>| postcard::from_bytes::<RuleSaid>(&bytes).unwrap();
        assert_eq!(read(postcard::to_stdvec(&None::<String>).unwrap()), RuleSaid::default());
        let ops = RuleSaid { owner: Some("ops".to_owned()), ..RuleSaid::default() };
        assert_eq!(read(postcard::to_stdvec(&Some("ops")).unwrap()), ops);
        let said = RuleSaid { controls: vec!["soc2:CC6.1".to_owned()], ..ops };
        assert_eq!(read(postcard::to_stdvec(&said).unwrap()), said);
    }
}
