//! Acts as auditors read them.

use super::{Deed, Episode, Person, Silence};
use crate::engine::{time::WallTime, words::words};

words! {
    /// What was done.
    pub enum ActEntryKind {
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

/// Something that was done, for the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActEntry {
    /// What.
    pub kind: ActEntryKind,
    /// When.
    pub at: WallTime,
    /// Fingerprint of the alert, or id of the silence.
    pub subject: String,
    /// Who; empty if time did it.
    pub by: Person,
    /// `added`, `ended`, `expired`; for an alert what it came to: whom it was given to, the verdict; else `done`.
    pub what: String,
    /// The reason or comment.
    pub detail: String,
    /// More, by name, in a fixed order.
    pub facts: Vec<(&'static str, String)>,
}

impl ActEntry {
    /// A silence was made.
    pub(super) fn of_silence(silence: &Silence) -> ActEntry {
        ActEntry {
            kind: ActEntryKind::Silence,
            at: silence.made_at,
            subject: silence.id.to_string(),
            by: silence.author.clone(),
            what: "added".to_owned(),
            detail: silence.reason.clone(),
            facts: facts_of(silence),
        }
    }

    /// Somebody ended a silence.
    pub(super) fn of_end(silence: &Silence, at: WallTime, by: &Person, why: &str) -> ActEntry {
        let mut facts = facts_of(silence);
        facts.push(("author", silence.author.name.clone()));
        facts.push(("hidden", silence.hidden_count.to_string()));
        ActEntry {
            at,
            by: by.clone(),
            what: "ended".to_owned(),
            detail: why.to_owned(),
            facts,
            ..ActEntry::of_silence(silence)
        }
    }

    /// A silence came to its end.
    pub(super) fn of_expiry(silence: &Silence) -> ActEntry {
        let by = Person::default();
        let entry = ActEntry::of_end(silence, silence.ends_at, &by, &silence.reason);
        ActEntry { what: "expired".to_owned(), ..entry }
    }

    /// Something was done with an alert.
    pub(super) fn of_deed(episode: &Episode, kind: ActEntryKind, deed: &Deed) -> ActEntry {
        let value = deed.kind.value();
        let what = if value.is_empty() { "done" } else { value };
        ActEntry {
            kind,
            at: deed.at,
            subject: episode.key.fingerprint.to_string(),
            by: deed.by.clone(),
            what: what.to_owned(),
            detail: deed.text.clone(),
            facts: vec![
                ("starts_at", episode.key.starts_at.rfc3339()),
                ("rule", episode.rule_id.clone()),
                ("severity", deed.severity.as_str().to_owned()),
                ("act", deed.act.to_string()),
            ],
        }
    }
}

fn facts_of(silence: &Silence) -> Vec<(&'static str, String)> {
    vec![
        ("matchers", silence.written()),
        ("starts_at", silence.starts_at.rfc3339()),
        ("ends_at", silence.ends_at.rfc3339()),
    ]
}
