//! What reports add up of all rows of their period. The order of rows does not matter to it, so that months are added up
//! side by side, each while it is verified, and then joined.

use super::{
    part::{people::People, requests::Requests, totals::Totals},
    scope::Scope,
};
use crate::{
    archive::{Cursor, Reader, verify::Pass},
    ask::AskError,
    engine::ledger::Row,
};

/// Which parts are added up beside the totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// What each actor did.
    pub people: bool,
    /// What was done.
    pub requests: bool,
}

/// What was added up.
#[derive(Debug)]
pub struct Tally<'s> {
    scope: &'s Scope,
    counts: Counts,
    pub(super) totals: Totals,
    pub(super) people: People,
    pub(super) requests: Requests,
}

impl<'s> Tally<'s> {
    /// Of no rows yet.
    pub fn new(scope: &'s Scope, counts: Counts) -> Tally<'s> {
        let (totals, people) = (Totals::default(), People::default());
        Tally { scope, counts, totals, people, requests: Requests::default() }
    }

    /// Of all rows that a reader has, one after another in the order of time.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn in_order(
        reader: &Reader,
        scope: &'s Scope,
        counts: Counts,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Tally<'s>, AskError> {
        let mut tally = Tally::new(scope, counts);
        scope.each(reader, progress, |row| tally.add(row))?;
        Ok(tally)
    }

    /// Of what months were added up to; `None` if there are more keys than are kept apart: which ones these are is
    /// decided by the order of rows.
    pub fn joined(
        scope: &'s Scope,
        counts: Counts,
        months: impl Iterator<Item = Tally<'s>>,
    ) -> Option<Tally<'s>> {
        let mut all = Tally::new(scope, counts);
        for month in months {
            all.totals.join(month.totals);
            all.people.join(month.people);
            all.requests.join(month.requests);
        }
        let has_room = all.totals.has_room() && all.people.has_room() && all.requests.has_room();
        has_room.then_some(all)
    }

    fn add(&mut self, row: &Row) {
        let at = Cursor::behind(row);
        self.totals.add(row, at);
        if let Some(access) = row.access() {
            if self.counts.people {
                self.people.add(access, at, self.scope);
            }
            if self.counts.requests {
                self.requests.add(access, at);
            }
        }
    }
}

impl Pass for Tally<'_> {
    fn take(&mut self, row: &Row) {
        if row.usage().is_none() && self.scope.holds(row) {
            self.add(row);
        }
    }
}
