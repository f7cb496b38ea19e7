//! What Tripline did or was told, as a row of the ledger.

use serde::{Deserialize, Serialize};

use crate::engine::{
    act::{ActEntry, ActEntryKind, ActId, Deed, DeedKind, Person, Verdict},
    alert::{Alert, AlertState},
    dispatch::{LedgerEntry, LedgerSubject, NotifyReason},
    limits::ENTRY_BODY_BYTES_MAX,
    rule::Severity,
    text::bounded_line,
    time::EventTime,
    words::words,
};

/// Bytes of one text of an entry: 2,048. A longer one is cut, with `…` at its end.
const ENTRY_TEXT_BYTES_MAX: usize = 2_048;

words! {
    /// What an entry tells of.
    pub enum EntryKind {
        /// An alert began, changed or ended.
        Alert = "alert",
        /// A receiver was told, or refused, or could not be reached.
        Delivery = "delivery",
        /// A rule set was put in force.
        Rules = "rules",
        /// The process began.
        Start = "start",
        /// The process ended as it was told to.
        Stop = "stop",
        /// What was seen of one cluster in one hour.
        Coverage = "coverage",
        /// Something is missing.
        Gap = "gap",
        /// The hash of all rows before it, signed if there is a key.
        Seal = "seal",
        /// Rows were deleted by age or size.
        Retention = "retention",
        /// Somebody logged in or out, or was refused.
        Login = "login",
        /// Somebody looked at what people did.
        View = "view",
        /// Roles and bindings of a cluster, as somebody brought them.
        RbacSnapshot = "rbac_snapshot",
        /// A silence was made, or ended.
        Silence = "silence",
        /// Somebody took an alert.
        Acknowledge = "acknowledge",
        /// An alert was given to somebody.
        Assign = "assign",
        /// Somebody said what an alert turned out to be.
        Verdict = "verdict",
        /// Somebody said something about an alert.
        Comment = "comment",
        /// Somebody ended an alert by hand.
        Resolve = "resolve",
        /// How often an exception was used in one hour.
        Exception = "exception",
    }
}

/// What an entry tells in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An alert as it was then, as JSON; see `deploy/alert.schema.json`.
    Alert(String),
    /// Which files a rule set is made of, as JSON.
    Files(String),
    /// The text of a file, or a part of it.
    Text(String),
}

impl Body {
    /// The words for it, and its text.
    fn parts(&self) -> (&'static str, &String) {
        match self {
            Body::Alert(json) => ("alert", json),
            Body::Files(json) => ("files", json),
            Body::Text(text) => ("text", text),
        }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        self.parts().1
    }
}

/// What Tripline did or was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredEntry", into = "StoredEntry")]
pub struct Entry {
    /// What it tells of.
    pub kind: EntryKind,
    /// When it happened, if that is not when it was written.
    pub at: Option<EventTime>,
    /// What it is about: the fingerprint of an alert, the id of a notification, a cluster, a version.
    pub subject: String,
    /// Who: a rule, a receiver, a user.
    pub party: String,
    /// What became of it.
    pub what: String,
    /// For people.
    pub detail: String,
    /// More, by name, in a fixed order.
    pub facts: Vec<(String, String)>,
    /// Numbers, by name, in a fixed order.
    pub counts: Vec<(String, u64)>,
    /// More than fits into facts.
    pub body: Option<Body>,
}

/// How it is stored: as it was before it had a body, which is behind the facts, under a name that no fact
/// has. So rows of earlier versions are read.
#[derive(Serialize, Deserialize)]
struct StoredEntry {
    kind: EntryKind,
    at: Option<EventTime>,
    subject: String,
    party: String,
    what: String,
    detail: String,
    facts: Vec<(String, String)>,
    counts: Vec<(String, u64)>,
}

/// What the name of a stored body begins with.
const STORED_BODY: char = '\0';

impl From<StoredEntry> for Entry {
    fn from(stored: StoredEntry) -> Entry {
        let StoredEntry { kind, at, subject, party, what, detail, mut facts, counts } = stored;
        let last = facts.pop_if(|(name, _)| name.starts_with(STORED_BODY));
        let body = last.and_then(|(name, text)| match name.trim_start_matches(STORED_BODY) {
            "alert" => Some(Body::Alert(text)),
            "files" => Some(Body::Files(text)),
            "text" => Some(Body::Text(text)),
            _ => None,
        });
        Entry { kind, at, subject, party, what, detail, facts, counts, body }
    }
}

impl From<Entry> for StoredEntry {
    fn from(entry: Entry) -> StoredEntry {
        let Entry { kind, at, subject, party, what, detail, mut facts, counts, body } = entry;
        facts.extend(body.map(|body| {
            let (word, text) = body.parts();
            (format!("{STORED_BODY}{word}"), text.clone())
        }));
        StoredEntry { kind, at, subject, party, what, detail, facts, counts }
    }
}

impl Entry {
    /// Of a kind, about something.
    pub fn new(kind: EntryKind, subject: &str, what: &str) -> Entry {
        Entry {
            kind,
            at: None,
            subject: bounded_line(subject, ENTRY_TEXT_BYTES_MAX),
            party: String::new(),
            what: what.to_owned(),
            detail: String::new(),
            facts: Vec::new(),
            counts: Vec::new(),
            body: None,
        }
    }

    /// With who it was.
    #[must_use]
    pub fn by(mut self, party: &str) -> Entry {
        self.party = bounded_line(party, ENTRY_TEXT_BYTES_MAX);
        self
    }

    /// With when it happened.
    #[must_use]
    pub const fn at(mut self, at: EventTime) -> Entry {
        self.at = Some(at);
        self
    }

    /// With words for people.
    #[must_use]
    pub fn detail(mut self, detail: &str) -> Entry {
        self.detail = bounded_line(detail, ENTRY_TEXT_BYTES_MAX);
        self
    }

    /// With one more fact.
    #[must_use]
    pub fn fact(mut self, name: &str, value: &str) -> Entry {
        self.facts.push((name.to_owned(), bounded_line(value, ENTRY_TEXT_BYTES_MAX)));
        self
    }

    /// With one more number.
    #[must_use]
    pub fn count(mut self, name: &str, count: u64) -> Entry {
        self.counts.push((name.to_owned(), count));
        self
    }

    /// With something in full.
    #[must_use]
    pub fn body(mut self, body: Body) -> Entry {
        self.body = Some(body);
        self
    }

    /// A fact by its name.
    pub fn fact_of(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A number by its name; 0 if there is none.
    pub fn count_of(&self, name: &str) -> u64 {
        self.counts.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
    }

    /// Of a change of an alert.
    pub fn of_alert(alert: &Alert) -> Entry {
        let what = match alert.state {
            AlertState::Firing if alert.revision > 1 => "updated",
            state => state.as_str(),
        };
        let at = match alert.state {
            AlertState::Firing => alert.last_seen,
            AlertState::Resolved => alert.ends_at.unwrap_or(alert.last_seen),
        };
        let entry = Entry::new(EntryKind::Alert, &alert.fingerprint.to_string(), what)
            .by(&alert.rule_id)
            .at(at)
            .detail(&alert.rule_title)
            .fact(RULE_NAME, alert.name())
            .fact("severity", alert.severity.as_str())
            .fact("starts_at", &alert.starts_at.rfc3339())
            .fact("value", &alert.value.to_string());
        let mut entry = alert
            .key
            .iter()
            .fold(entry, |entry, (name, value)| entry.fact(&format!("key.{name}"), value));
        entry.body = alert.bounded_json(ENTRY_BODY_BYTES_MAX).map(Body::Alert);
        entry
    }

    /// Of something that somebody did: who is its party, and role and address are facts.
    pub fn of_act(act: &ActEntry) -> Entry {
        let kind = match act.kind {
            ActEntryKind::Silence => EntryKind::Silence,
            ActEntryKind::Acknowledge => EntryKind::Acknowledge,
            ActEntryKind::Assign => EntryKind::Assign,
            ActEntryKind::Verdict => EntryKind::Verdict,
            ActEntryKind::Comment => EntryKind::Comment,
            ActEntryKind::Resolve => EntryKind::Resolve,
        };
        let entry = Entry::new(kind, &act.subject, &act.what)
            .by(&act.by.name)
            .at(act.at.as_event())
            .detail(&act.detail)
            .fact("role", &act.by.role)
            .fact("address", &act.by.address);
        act.facts.iter().fold(entry, |entry, (name, value)| entry.fact(name, value))
    }

    /// What somebody did with an alert, read again; `None` if it tells of something else.
    pub fn deed(&self) -> Option<Deed> {
        let kind = match self.kind {
            EntryKind::Acknowledge => DeedKind::Acknowledge,
            EntryKind::Assign if self.what == "done" => DeedKind::Assign { to: String::new() },
            EntryKind::Assign => DeedKind::Assign { to: self.what.clone() },
            EntryKind::Verdict => DeedKind::Verdict { verdict: Verdict::parse(&self.what)? },
            EntryKind::Comment => DeedKind::Comment,
            EntryKind::Resolve => DeedKind::Resolve,
            _ => return None,
        };
        let fact = |name| self.fact_of(name).unwrap_or_default();
        Some(Deed {
            act: ActId::parse(fact("act")).unwrap_or(ActId([0; 16])),
            by: Person::new(&self.party, fact("role"), fact("address")),
            at: self.at?.as_wall(),
            kind,
            severity: Severity::parse(fact("severity")).unwrap_or_default(),
            text: self.detail.clone(),
        })
    }

    /// Of what became of a notification.
    pub fn of_delivery(entry: &LedgerEntry) -> Entry {
        let LedgerSubject { id, reason, alerts } = &entry.about;
        let alerts: Vec<String> = alerts.iter().map(ToString::to_string).collect();
        Entry::new(EntryKind::Delivery, id, entry.what.as_str())
            .by(&entry.receiver)
            .detail(&entry.detail)
            .fact("notifier", &entry.notifier)
            .fact("reason", reason.map_or("", NotifyReason::as_str))
            .fact("alerts", &alerts.join(" "))
    }
}

/// The name of the fact of a change of an alert that holds the name of its rule, which nobody else knows once the rule is gone.
/// Entries of earlier versions lack it.
pub const RULE_NAME: &str = "rule_name";

/// The name of the fact of an hour of coverage in which all input ended.
pub const INPUT_ENDED: &str = "input_ended";

/// The name of the count, in an entry of the uses of an exception, of those in one cluster. Clusters without one are not
/// told apart.
pub fn uses_in(cluster: &str) -> String {
    format!("{USES_IN}{cluster}")
}

/// The name of the fact beside it that says when the last of them was.
pub fn last_use_in(cluster: &str) -> String {
    format!("last in {cluster}")
}

/// How such names begin.
const USES_IN: &str = "uses in ";

impl Entry {
    /// Of an entry of the uses of an exception: those of each cluster that is told apart.
    pub fn uses_by_cluster(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().filter_map(|(name, count)| Some((name.strip_prefix(USES_IN)?, *count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_is_read_as_it_was_told() {
        let by = Person::new("anna", "responder", "10.0.0.1");
        let act = ActId::of("anna", "1");
        for (kind, of, what) in [
            (DeedKind::Acknowledge, ActEntryKind::Acknowledge, "done"),
            (DeedKind::Assign { to: "eve".to_owned() }, ActEntryKind::Assign, "eve"),
            (DeedKind::Assign { to: String::new() }, ActEntryKind::Assign, "done"),
            (DeedKind::Verdict { verdict: Verdict::Benign }, ActEntryKind::Verdict, "benign"),
            (DeedKind::Comment, ActEntryKind::Comment, "done"),
            (DeedKind::Resolve, ActEntryKind::Resolve, "done"),
        ] {
            let at = EventTime::from_micros(7).as_wall();
            let told = ActEntry {
                kind: of,
                at,
                subject: "f".to_owned(),
                by: by.clone(),
                what: what.to_owned(),
                detail: "why".to_owned(),
                facts: vec![("severity", "high".to_owned()), ("act", act.to_string())],
            };
            let (severity, text) = (Severity::High, "why".to_owned());
            let deed = Deed { act, by: by.clone(), at, kind, severity, text };
            assert_eq!(Entry::of_act(&told).deed(), Some(deed));
        }
        assert_eq!(Entry::new(EntryKind::Silence, "s", "added").deed(), None);
    }

    #[test]
    fn entries_are_read_with_a_body_and_as_they_were_stored_without() {
        let mut entry = Entry::new(EntryKind::Rules, "1", "file").fact("file", "a").count("n", 1);
        let before = postcard::to_stdvec(&(
            entry.kind,
            entry.at,
            &entry.subject,
            &entry.party,
            &entry.what,
            &entry.detail,
            &entry.facts,
            &entry.counts,
        ));
        let before = before.unwrap();
        assert_eq!(postcard::to_stdvec(&entry).unwrap(), before);
        assert_eq!(postcard::from_bytes::<Entry>(&before).unwrap(), entry);
        for body in [Body::Alert, Body::Files, Body::Text] {
            entry.body = Some(body("{\"a\":1}".to_owned()));
            let bytes = postcard::to_stdvec(&entry).unwrap();
            assert_eq!(postcard::from_bytes::<Entry>(&bytes).unwrap(), entry);
        }
    }
}
