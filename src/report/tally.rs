//! What reports add up of all rows of their period. The order of rows does not matter to it, so that months are added up
//! side by side, each while it is verified, and then joined.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    part::{people::People, requests::Requests, totals::Totals},
    scope::Scope,
};
use crate::{
    archive::{Cursor, Reader, verify::Pass},
    ask::{
        AskError,
        begun::{BEGUN_MAX, began_before},
    },
    engine::{
        access::{Access, SessionStep},
        ledger::Row,
    },
};

/// Ends of sessions that wait for their beginnings, while rows come in another order than that of time: 10,000.
const ENDS_MAX: usize = 10_000;

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
    /// Sessions whose beginning was seen.
    begun: BTreeSet<[u8; 16]>,
    /// Ends whose beginning was not seen yet, if there is one.
    ends: BTreeMap<Cursor, Row>,
    /// There were more of these than are kept.
    is_full: bool,
}

impl<'s> Tally<'s> {
    /// Of no rows yet.
    pub fn new(scope: &'s Scope, counts: Counts) -> Tally<'s> {
        Tally {
            scope,
            counts,
            totals: Totals::default(),
            people: People::default(),
            requests: Requests::default(),
            begun: BTreeSet::new(),
            ends: BTreeMap::new(),
            is_full: false,
        }
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
        scope.each(reader, progress, |row| {
            if tally.ends.len() >= ENDS_MAX {
                tally.settle(reader)?;
            }
            tally.put(row);
            Ok(())
        })?;
        tally.settle(reader)?;
        Ok(tally)
    }

    /// Of what months were added up to; `None` if there are more keys than are kept apart: which ones these are is
    /// decided by the order of rows.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn joined(
        reader: &Reader,
        scope: &'s Scope,
        counts: Counts,
        months: impl Iterator<Item = Tally<'s>>,
    ) -> Result<Option<Tally<'s>>, AskError> {
        let mut all = Tally::new(scope, counts);
        for month in months {
            all.totals.join(month.totals);
            all.people.join(month.people);
            all.requests.join(month.requests);
            all.is_full |= month.is_full || all.begun.len() + month.begun.len() > BEGUN_MAX;
            all.begun.extend(month.begun);
            all.ends.extend(month.ends);
        }
        if all.is_full {
            return Ok(None);
        }
        all.settle(reader)?;
        let has_room = all.totals.has_room() && all.people.has_room() && all.requests.has_room();
        Ok(has_room.then_some(all))
    }

    /// A row, in any order.
    fn put(&mut self, row: &Row) {
        match row.access().and_then(|access| Some((access, access.session?))) {
            Some((access, SessionStep::End)) => {
                self.add_end(row, access);
                if self.begun.contains(&access.request) {
                    return;
                }
                self.is_full |= self.ends.len() >= ENDS_MAX;
                if !self.is_full {
                    self.ends.insert(Cursor::behind(row), row.clone());
                }
            }
            Some((access, SessionStep::Start)) => {
                self.add(row);
                self.is_full |= self.begun.len() >= BEGUN_MAX;
                if !self.is_full {
                    self.begun.insert(access.request);
                }
            }
            Some((_, SessionStep::Whole)) | None => self.add(row),
        }
    }

    /// Adds the ends of sessions of which no row tells the beginning; none, where not all beginnings could be kept.
    fn settle(&mut self, reader: &Reader) -> Result<(), AskError> {
        for row in std::mem::take(&mut self.ends).values() {
            let Some(access) = row.access().filter(|_| !self.is_full) else { continue };
            let is_told = self.begun.contains(&access.request)
                || began_before(reader, access, self.scope.period.from)?;
            if !is_told {
                self.add(row);
            }
        }
        Ok(())
    }

    /// The end of a session that another row stands for, or may stand for.
    fn add_end(&mut self, row: &Row, access: &Access) {
        self.totals.see(row);
        if self.counts.requests {
            self.requests.add_end(access, Cursor::behind(row));
        }
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
            self.put(row);
        }
    }
}
