//! What Tripline did or was told, as a row of the ledger.

use serde::{Deserialize, Serialize};

use crate::engine::{
    act::{ActEntry, ActEntryKind},
    alert::{Alert, AlertState},
    dispatch::LedgerEntry,
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
    }
}

/// What Tripline did or was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
            .fact("severity", alert.severity.as_str())
            .fact("starts_at", &alert.starts_at.rfc3339())
            .fact("value", &alert.value.to_string());
        alert
            .key
            .iter()
            .fold(entry, |entry, (name, value)| entry.fact(&format!("key.{name}"), value))
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

    /// Of what became of a notification.
    pub fn of_delivery(entry: &LedgerEntry) -> Entry {
        Entry::new(EntryKind::Delivery, &entry.subject, entry.what.as_str())
            .by(&entry.receiver)
            .detail(&entry.detail)
            .fact("notifier", &entry.notifier)
    }
}
