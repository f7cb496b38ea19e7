//! The months that entries say were deleted, by age or size: rows that are not there because of that are not missing.

use std::collections::BTreeMap;

use crate::engine::{
    ledger::{Chain, Entry, EntryKind, hex_of, parse_hex},
    text::thousands,
};

/// Months that were deleted, with where the chain stood behind each. Earlier versions did not say where.
#[derive(Debug, Default)]
pub(super) struct Deletions(BTreeMap<String, Option<Chain>>);

impl Deletions {
    /// Adds a month.
    pub(super) fn add(&mut self, month: &str, last: Option<Chain>) {
        self.0.insert(month.to_owned(), last);
    }

    /// Adds what an entry tells.
    pub(super) fn take(&mut self, entry: &Entry) {
        if entry.kind == EntryKind::Retention {
            let last = last_of(entry.fact_of("head"), entry.count_of("last"));
            self.add(&entry.subject, last);
        }
    }

    /// Adds those that others know.
    pub(super) fn extend(&mut self, others: Deletions) {
        self.0.extend(others.0);
    }

    /// What is wrong with a ledger that begins with a month and behind a row: rows are missing before it that nobody says
    /// were deleted.
    pub(super) fn missing(&self, first: &str, begins: Chain) -> Option<String> {
        let head = hex_of(&begins.head);
        if begins.id == 0 {
            let what = || format!("{first} begins with row 1, but behind the hash {head}");
            return (begins != Chain::default()).then(what);
        }
        let rows = match begins.id {
            1 => "row 1 is not here".to_owned(),
            last => format!("rows 1 to {} are not here", thousands(last)),
        };
        match self.0.range(..first.to_owned()).next_back() {
            None => {
                Some(format!("{rows}, and no entry says that months before {first} were deleted"))
            }
            Some((month, Some(last))) if *last != begins => Some(format!(
                "{rows}; the entry of the deletion of {month} says that it ended with row {}{}",
                thousands(last.id),
                if last.id == begins.id { ", but with another hash" } else { "" }
            )),
            Some(_) => None,
        }
    }
}

/// Where the chain stood behind a deleted month, as its entry says it.
pub(super) fn last_of(head: Option<&str>, id: u64) -> Option<Chain> {
    Some(Chain { id, head: head.and_then(parse_hex)? })
}
