//! What reports add up of all rows of their period. The order of rows does not matter to it, so that months are added up
//! side by side, each while it is verified, and then joined.

use std::collections::BTreeMap;

use super::{
    part::{people::People, requests::Requests, totals::Totals},
    scope::Scope,
};
use crate::{
    archive::{Cursor, Reader, verify::Pass},
    ask::{
        AskError,
        begun::{BEGUN_MAX, began_before},
        sessions::add_ends,
    },
    engine::{
        access::{Access, Outcome, SessionStep, Sessions},
        ledger::Row,
    },
};

/// Ends of sessions that wait for their beginnings, while rows come in another order than that of time: 10,000.
const ENDS_MAX: usize = 10_000;

/// Sessions without an end yet whose end is looked for behind the period: 10,000.
const OPEN_MAX: usize = 10_000;

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
    /// Sessions whose beginning was added, with the outcome that they count with.
    begun: BTreeMap<[u8; 16], Option<Outcome>>,
    /// Beginnings of sessions that were opened and whose end was not seen yet.
    open: BTreeMap<[u8; 16], Access>,
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
            begun: BTreeMap::new(),
            open: BTreeMap::new(),
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
        tally.look_behind(reader)?;
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
            let room = OPEN_MAX.saturating_sub(all.open.len());
            all.open.extend(month.open.into_iter().take(room));
            all.ends.extend(month.ends);
        }
        if all.is_full {
            return Ok(None);
        }
        all.settle(reader)?;
        all.look_behind(reader)?;
        let has_room = all.totals.has_room() && all.people.has_room() && all.requests.has_room();
        Ok(has_room.then_some(all))
    }

    /// A row, in any order.
    fn put(&mut self, row: &Row) {
        match row.access().and_then(|access| Some((access, access.session?))) {
            Some((access, SessionStep::End)) => {
                self.add_end(row, access);
                if self.end(access) {
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
                    self.begun.insert(access.request, access.outcome);
                    let is_opened = matches!(access.outcome, Some(Outcome::Success) | None);
                    if is_opened && self.open.len() < OPEN_MAX {
                        self.open.insert(access.request, access.clone());
                    }
                }
            }
            Some((_, SessionStep::Whole)) | None => self.add(row),
        }
    }

    /// Adds the ends of sessions of which no row tells the beginning; none, where not all beginnings could be kept.
    fn settle(&mut self, reader: &Reader) -> Result<(), AskError> {
        for row in std::mem::take(&mut self.ends).values() {
            let Some(access) = row.access().filter(|_| !self.is_full) else { continue };
            if !self.end(access) && !began_before(reader, access, self.scope.period.from)? {
                self.add(row);
            }
        }
        Ok(())
    }

    /// Looks behind the period for how those sessions ended that have no end in it, where it matters.
    fn look_behind(&mut self, reader: &Reader) -> Result<(), AskError> {
        if self.counts == Counts::default() {
            return Ok(());
        }
        let mut sessions = Sessions::default();
        for access in self.open.values() {
            sessions.add(access);
        }
        add_ends(reader, self.scope.period.to, &mut sessions)?;
        for session in sessions.finish() {
            if let Some(began) = self.open.remove(&session.request) {
                self.totals.change_outcome(&began, began.outcome, session.outcome);
            }
        }
        Ok(())
    }

    /// A session ended. Whether its beginning was added, and so it counts as one that ended so.
    fn end(&mut self, access: &Access) -> bool {
        let Some(counted) = self.begun.get_mut(&access.request) else { return false };
        let outcome = access.outcome.or(*counted);
        self.totals.change_outcome(access, *counted, outcome);
        *counted = outcome;
        self.open.remove(&access.request);
        true
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
