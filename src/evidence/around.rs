//! The time around an alert: which rows of the ledger belong to it. Whoever makes evidence and whoever checks it go by this.
#![allow(clippy::indexing_slicing, reason = "JSON answers `null` for what is not there")]

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    archive::{Filter, Query},
    engine::{ledger::EntryKind, time::EventTime},
};

/// What some did within a time, and how alerts changed in it.
#[derive(Debug)]
pub(super) struct Around {
    /// Who did it; all, if nobody is known.
    pub(super) actors: BTreeSet<String>,
    /// Not before this; of a roll-up the last request.
    pub(super) from: EventTime,
    /// Before this.
    pub(super) to: EventTime,
}

impl Around {
    /// What is asked of the ledger, so that its answers together are the rows that belong to it; so many each.
    pub(super) fn queries(&self, limit: usize) -> Vec<Query> {
        let mut filters: Vec<Filter> = self.actors.iter().cloned().map(Filter::Actor).collect();
        if filters.is_empty() {
            filters.push(Filter::Accesses);
        }
        filters.push(Filter::Entries(EntryKind::Alert));
        let (from, to) = (self.from, self.to);
        let query = |filter| Query { filters: vec![filter], from, to, after: None, limit };
        filters.into_iter().map(query).collect()
    }

    /// Whether a row belongs to it, by its line.
    pub(super) fn has(&self, row: &Value) -> bool {
        let is_meant = match row["kind"].as_str() {
            Some("access") => self.is_theirs(row),
            kind => kind == Some(EntryKind::Alert.as_str()),
        };
        let first = time(&row["at"]);
        let last = time(&row["last"]).max(first);
        is_meant
            && first.is_some_and(|first| first < self.to)
            && last.is_some_and(|last| last >= self.from)
    }

    fn is_theirs(&self, row: &Value) -> bool {
        let is_one = |who: &Value| who.as_str().is_some_and(|who| self.actors.contains(who));
        self.actors.is_empty() || is_one(&row["actor"]["id"]) || is_one(&row["on_behalf_of"])
    }
}

/// A time of a line.
pub(super) fn time(value: &Value) -> Option<EventTime> {
    value.as_str().and_then(EventTime::parse)
}
