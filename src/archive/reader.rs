//! Reads the ledger: months merged by time, and what waits for them in the spool.
//!
//! A month that cannot be read is named, and the others answer.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    ArchiveError, DIRECTORY_NAME, bytes_of,
    month::Month,
    months,
    query::{Cursor, Filter, Page, Query},
    schema::is_being_made,
    spool,
};
use crate::engine::{
    ledger::{Chain, Row},
    time::EventTime,
};

/// Texts that are compared with one that nobody knows: 10,000 of each month.
const TEXTS_COMPARED_MAX: usize = 10_000;

/// Rows that are in memory at once while all are looked through.
const ROWS_AT_ONCE: usize = 10_000;

/// A ledger that is open for reading.
#[derive(Debug)]
pub struct Reader {
    months: Vec<Month>,
    spool: Vec<Row>,
    problems: Vec<ArchiveError>,
}

/// What one month has.
#[derive(Clone, Debug)]
pub struct MonthStatus {
    /// `2026-11`
    pub month: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Its first row would have the id behind this one.
    pub previous: Chain,
    /// Its last row.
    pub last: Chain,
    /// Rows by class, and by kind of entry; `None` if they were not counted.
    pub rows: Option<BTreeMap<String, u64>>,
}

impl Reader {
    /// Opens the ledger of a state directory, or a directory with months alone.
    ///
    /// # Errors
    /// There is no ledger, or its directory cannot be read.
    pub fn open(state: &Path, directory: Option<&Path>) -> Result<Reader, ArchiveError> {
        let inside = state.join(DIRECTORY_NAME);
        // A copy has nothing to do with what waits elsewhere.
        let is_copy = directory.is_some();
        let directory: PathBuf = match directory {
            Some(directory) => directory.to_owned(),
            None if inside.is_dir() => inside,
            None => state.to_owned(),
        };
        let reader = Reader::read(&directory, (!is_copy).then_some(state), None)?;
        if reader.months.is_empty() && reader.spool.is_empty() && reader.problems.is_empty() {
            return Err(super::failed(
                &directory,
                "there is no ledger here: `tripline run` keeps it in its state directory",
            ));
        }
        Ok(reader)
    }

    /// Opens the ledger of a process that runs; it may be empty still. Beyond the deadline, nothing is read.
    ///
    /// # Errors
    /// Its directory cannot be read.
    pub fn of_process(
        state: &Path,
        directory: &Path,
        deadline: Option<Instant>,
    ) -> Result<Reader, ArchiveError> {
        Reader::read(directory, Some(state), deadline)
    }

    fn read(
        directory: &Path,
        state: Option<&Path>,
        deadline: Option<Instant>,
    ) -> Result<Reader, ArchiveError> {
        let (mut open, mut problems) = (Vec::new(), Vec::new());
        for (name, path) in months(directory)? {
            match Month::open(name, path.clone(), deadline) {
                Ok(month) => open.push(month),
                Err(_) if is_being_made(&path) => {}
                Err(problem) => problems.push(problem),
            }
        }
        let last = open.last().map_or(0, |month| month.meta.last.id);
        let spool = state.map(|state| spool::read(&state.join("tripline.db"), last));
        let spool = spool.unwrap_or_else(|| Ok(Vec::new())).unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        });
        Ok(Reader { months: open, spool, problems })
    }

    /// What could not be read.
    pub fn problems(&self) -> &[ArchiveError] {
        &self.problems
    }

    /// The rows that a query wants, in the order of time; the next page begins behind its cursor.
    ///
    /// # Errors
    /// A month broke while it was read.
    pub fn page(&self, query: &Query) -> Result<Page, ArchiveError> {
        let mut rows: Vec<Row> = Vec::new();
        let mut query = query.clone();
        for month in &self.months {
            let mut found = 0;
            month.search(&query, &mut |row| {
                if query.fits(&row) {
                    rows.push(row);
                    found += 1;
                }
                found <= query.limit
            })?;
            if rows.len() > query.limit {
                // What lies behind these is on another page, whichever month has it.
                rows.sort_by_key(Cursor::behind);
                rows.truncate(query.limit + 1);
                let last = rows.last().map_or(EventTime::MAX, Row::at);
                query.to = query.to.min(EventTime::from_micros(last.micros().saturating_add(1)));
            }
        }
        let is_behind = |row: &&Row| query.after.is_none_or(|after| Cursor::behind(row) > after);
        rows.extend(self.spool.iter().filter(|row| query.fits(row)).filter(is_behind).cloned());
        rows.sort_by_key(Cursor::behind);
        // What waited when the ledger was opened may be in its month by now.
        rows.dedup_by_key(|row| row.id);
        let has_more = rows.len() > query.limit;
        rows.truncate(query.limit);
        let next = rows.last().filter(|_| has_more).map(Cursor::behind);
        Ok(Page { rows, next })
    }

    /// Calls back with every row (of one month, if it is named) in the order of their ids, until it says that it has seen enough.
    ///
    /// # Errors
    /// A month broke while it was read.
    pub fn each(
        &self,
        only: Option<&str>,
        mut take: impl FnMut(&Row) -> bool,
    ) -> Result<(), ArchiveError> {
        let mut goes_on = true;
        for month in self.months.iter().filter(|month| only.is_none_or(|only| month.name == only)) {
            if goes_on {
                month.each(0, |row| {
                    goes_on = take(&row);
                    goes_on
                })?;
            }
        }
        for row in self.spool.iter().filter(|_| only.is_none()) {
            if !goes_on || !take(row) {
                break;
            }
        }
        Ok(())
    }

    /// Calls back with all rows that filters let through, in the order of time, 10,000 of them in memory at once.
    ///
    /// # Errors
    /// A month broke while it was read.
    pub fn each_of(
        &self,
        filters: &[Filter],
        mut take: impl FnMut(&Row),
    ) -> Result<(), ArchiveError> {
        let (from, to) = (EventTime::MIN, EventTime::MAX);
        let filters = filters.to_vec();
        let mut query = Query { filters, from, to, after: None, limit: ROWS_AT_ONCE };
        loop {
            let page = self.page(&query)?;
            page.rows.iter().for_each(&mut take);
            let Some(next) = page.next else { return Ok(()) };
            query.after = Some(next);
        }
    }

    /// Where the chain stood before the first row that is here.
    pub fn first(&self) -> Chain {
        self.months.first().map_or_else(Chain::default, |month| month.meta.previous)
    }

    /// Calls back with the rows behind one, in the order of their ids, until it says that it has seen enough.
    ///
    /// # Errors
    /// A month broke while it was read.
    pub fn each_behind(
        &self,
        after: u64,
        mut take: impl FnMut(&Row) -> bool,
    ) -> Result<(), ArchiveError> {
        let mut goes_on = true;
        for month in self.months.iter().filter(|month| month.meta.last.id > after) {
            if goes_on {
                month.each(after, |row| {
                    goes_on = take(&row);
                    goes_on
                })?;
            }
        }
        let _ = self.spool.iter().filter(|row| row.id > after).all(|row| goes_on && take(row));
        Ok(())
    }

    /// Whether a text stands in a column (`actor`, `behalf`, `source`, `credential`, `permission`, `namespace`) of a
    /// row of a month. Cost: a look into an index of each month.
    ///
    /// # Errors
    /// A month broke while it was read.
    pub fn has_text(&self, column: &'static str, text: &str) -> Result<bool, ArchiveError> {
        for month in &self.months {
            if month.has_text(column, text)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a text stands in an access of a month, as whatever it is. Cost: a look into an index of each month.
    ///
    /// # Errors
    /// A month broke while it was read.
    pub fn may_have(&self, text: &str) -> Result<bool, ArchiveError> {
        for month in &self.months {
            if month.may_have(text)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Texts that stand in a column of some row (`actor`, `source`, `credential`, `permission`), for saying
    /// which one was meant.
    pub fn texts(&self, column: &'static str) -> Vec<String> {
        let mut texts: Vec<String> = self
            .months
            .iter()
            .filter_map(|month| month.texts_of(column, TEXTS_COMPARED_MAX).ok())
            .flatten()
            .collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    }

    /// What each month has. Cheap, but for months of earlier versions, over whose rows it passes.
    ///
    /// # Errors
    /// A month broke while it was read.
    pub fn status(&self) -> Result<Vec<MonthStatus>, ArchiveError> {
        let of = |month: &Month| {
            let counts = month.counts().transpose().unwrap_or_else(|| month.counted());
            Ok(head_of(month, Some(counts?)))
        };
        self.months.iter().map(of).collect()
    }

    /// What each month has, with counts of rows if the month has them. Cheap.
    pub fn heads(&self) -> Vec<MonthStatus> {
        self.months.iter().map(|month| head_of(month, month.counts().unwrap_or_default())).collect()
    }

    /// Rows that should be there, between one month and the next.
    pub fn holes(&self) -> Vec<String> {
        let pairs = self.months.iter().zip(self.months.iter().skip(1));
        let holes = pairs.filter(|(one, next)| next.meta.previous != one.meta.last);
        holes
            .map(|(one, next)| {
                let (last, previous) = (one.meta.last.id, next.meta.previous.id);
                format!(
                    "{} ends with row {last}, and {} begins behind row {previous}",
                    one.name, next.name
                )
            })
            .collect()
    }

    /// Leaves out some months from now on; returns them.
    pub(super) fn take_months(&mut self, is_meant: impl Fn(&Month) -> bool) -> Vec<Month> {
        let (taken, left) = std::mem::take(&mut self.months).into_iter().partition(is_meant);
        self.months = left;
        taken
    }

    /// Leaves out the rows that are not in a month yet, from now on.
    pub(super) fn leave_out_waiting(&mut self) {
        self.spool.clear();
    }

    /// The rows that are not in a month yet.
    pub fn waiting(&self) -> impl Iterator<Item = &Row> {
        self.spool.iter()
    }

    pub(super) fn months(&self) -> &[Month] {
        &self.months
    }
}

fn head_of(month: &Month, rows: Option<BTreeMap<String, u64>>) -> MonthStatus {
    let bytes = bytes_of(&month.path);
    let (previous, last) = (month.meta.previous, month.meta.last);
    MonthStatus { month: month.name.clone(), bytes, previous, last, rows }
}
