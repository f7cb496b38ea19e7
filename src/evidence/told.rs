//! What the parts of the chain tell of an alert: what a package has to have of it, no more and no less.
#![allow(clippy::indexing_slicing, reason = "JSON answers `null` for what is not there")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;

use super::around::{Around, time};
use crate::engine::ledger::EntryKind;

/// Fields of evidence that say who did it.
const ACTORS: [&str; 3] = ["actor.id", "user.username", "actor.on_behalf_of"];

/// Rows of the chain, read.
pub(super) struct Told<'p> {
    fingerprint: &'p str,
    rows: Vec<(u64, &'p str, Value)>,
}

/// A file of a rule set as the chain lists it: what it is for, the name of its list, its path, the hash of its text.
pub(super) type Listed = (String, Option<String>, String, String);

/// Kinds that may be about an alert, beside its own changes.
pub(super) const fn tells_of_alerts(kind: EntryKind) -> bool {
    !matches!(
        kind,
        EntryKind::Alert
            | EntryKind::Rules
            | EntryKind::Start
            | EntryKind::Stop
            | EntryKind::Coverage
            | EntryKind::Gap
            | EntryKind::Seal
            | EntryKind::Retention
    )
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

impl<'p> Told<'p> {
    /// Of an alert, by lines of the chain: all of them, or those about it alone.
    pub(super) fn of(lines: &BTreeMap<u64, &'p str>, fingerprint: &'p str) -> Told<'p> {
        let read =
            |(id, line): (&u64, &&'p str)| Some((*id, *line, serde_json::from_str(line).ok()?));
        Told { fingerprint, rows: lines.iter().filter_map(read).collect() }
    }

    fn is_about(&self, row: &Value) -> bool {
        let is_subject = row["subject"] == self.fingerprint;
        match row["kind"].as_str().and_then(EntryKind::parse) {
            Some(EntryKind::Alert) => is_subject,
            Some(kind) if tells_of_alerts(kind) => {
                let named = row["facts"]["alerts"].as_str().unwrap_or_default();
                is_subject || named.split_whitespace().any(|name| name == self.fingerprint)
            }
            _ => false,
        }
    }

    /// The rows about it.
    pub(super) fn life(&self) -> Vec<&'p str> {
        let about = self.rows.iter().filter(|(.., row)| self.is_about(row));
        about.map(|(_, line, _)| *line).collect()
    }

    /// Its changes, with the id of the row.
    fn changes(&self) -> impl DoubleEndedIterator<Item = (u64, &Value)> {
        let is_change = |row: &Value| row["kind"] == "alert" && row["subject"] == self.fingerprint;
        self.rows.iter().filter(move |(.., row)| is_change(row)).map(|(id, _, row)| (*id, row))
    }

    /// Its last change.
    pub(super) fn last_change(&self) -> Option<&Value> {
        self.changes().next_back().map(|(_, row)| row)
    }

    /// The changes of its last episode.
    fn episode(&self) -> impl DoubleEndedIterator<Item = (u64, &Value)> {
        let starts_at = self.last_change().map(|row| &row["facts"]["starts_at"]);
        self.changes().filter(move |(_, row)| Some(&row["facts"]["starts_at"]) == starts_at)
    }

    /// The last state of its last episode.
    pub(super) fn snapshot(&self) -> Option<&Value> {
        self.episode().rev().map(|(_, row)| &row["alert"]).find(|alert| alert.is_object())
    }

    /// Hashes of the events that it showed in its last episode.
    pub(super) fn shown(&self) -> BTreeSet<&str> {
        let evidence = self.episode().filter_map(|(_, row)| row["alert"]["evidence"].as_array());
        evidence.flatten().filter_map(|one| one["event_hash"].as_str()).collect()
    }

    /// The time so long before and after its last episode, and who did it; `None` if nothing tells of the alert.
    pub(super) fn around(&self, around: Duration) -> Option<Around> {
        let times = || self.episode().filter_map(|(_, row)| time(&row["at"]));
        let (first, last) = (times().min()?, times().max()?);
        let snapshot = self.snapshot().unwrap_or(&Value::Null);
        let first = time(&snapshot["first_seen"]).map_or(first, |seen| seen.min(first));
        let evidence = snapshot["evidence"].as_array().into_iter().flatten();
        let actors =
            evidence.flat_map(|one| ACTORS.iter().filter_map(|name| text(&one["fields"][*name])));
        let (from, to) = (first.minus(around), last.plus(around));
        Some(Around { actors: actors.collect(), from, to })
    }

    /// The rows that belong to the time so long before and after it.
    pub(super) fn timeline(&self, around: Duration) -> Vec<&'p str> {
        let Some(around) = self.around(around) else { return Vec::new() };
        self.rows.iter().filter(|(.., row)| around.has(row)).map(|(_, line, _)| *line).collect()
    }

    /// The version of the rule set that was in force when its last episode began, and its files.
    pub(super) fn rules(&self) -> Option<(&str, BTreeSet<Listed>)> {
        let (first, _) = self.episode().next()?;
        let rules = || {
            let before = self.rows.iter().take_while(|(id, ..)| *id < first).map(|(.., row)| row);
            before.filter(|row| row["kind"] == "rules")
        };
        let in_force =
            rules().filter(|row| row["what"] != "text" && row["what"] != "files").last()?;
        let version = in_force["subject"].as_str()?;
        let lists = rules().filter(|row| row["what"] == "files" && row["subject"] == version);
        let files = lists.filter_map(|row| row["files"].as_array()).flatten();
        let listed = files.filter_map(|file| {
            let name = |name: &str| text(&file[name]);
            Some((name("part")?, name("list"), name("name")?, name("sha256")?))
        });
        Some((version, listed.collect()))
    }
}
