//! Reads the ledger: months merged by time, and what waits for them in the spool.
//!
//! A month that cannot be read, that is of another installation or that is not there is named, and the others answer.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    ArchiveError, DIRECTORY_NAME, bytes_of,
    deletions::Deletions,
    failed,
    month::Month,
    months,
    query::{Cursor, Filter, Page, Query},
    schema::is_empty,
    spool::{self, Waiting},
};
use crate::engine::{
    ledger::{Chain, EntryKind, Hash, Row},
    text::thousands,
    time::EventTime,
};

/// Texts that are compared with one that nobody knows: 10,000 of each month.
const TEXTS_COMPARED_MAX: usize = 10_000;

/// Rows that are in memory at once while all are looked through.
const ROWS_AT_ONCE: usize = 10_000;

/// How often an empty month is looked at that may be just being made, and how long after each: 5 times 20 ms.
const MADE_LOOKS: usize = 5;
const MADE_PAUSE: Duration = Duration::from_millis(20);

/// A ledger that is open for reading.
#[derive(Debug)]
pub struct Reader {
    months: Vec<Month>,
    spool: Vec<Row>,
    /// Where the chain has come to by the checkpoint, if there is one.
    head: Option<Chain>,
    is_copy: bool,
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

/// Where the months of a state are: where its process said that it keeps them, or else inside.
///
/// # Errors
/// They are kept elsewhere, and that is no directory now.
pub fn place_of_months(state: &Path) -> Result<PathBuf, ArchiveError> {
    // If the checkpoint cannot be read, that is said by whoever reads more of it.
    match spool::place_of_months(&state.join("tripline.db")).unwrap_or_default() {
        Some(elsewhere) if !elsewhere.is_dir() => {
            let what = "the ledger of this state is kept there, and it is no directory: say by --ledger where its months \
                        are now";
            Err(failed(&elsewhere, what))
        }
        Some(elsewhere) => Ok(elsewhere),
        None => Ok(state.join(DIRECTORY_NAME)),
    }
}

impl Reader {
    /// Opens the ledger of a state directory, which knows where its months are, or a directory with months alone. A
    /// directory that is named is a copy, unless it is where the process with that state writes.
    ///
    /// # Errors
    /// There is no ledger, or its directory cannot be read.
    pub fn open(state: &Path, directory: Option<&Path>) -> Result<Reader, ArchiveError> {
        let own = match place_of_months(state) {
            Err(error) if directory.is_none() => return Err(error),
            own => own.ok().filter(|own| own.is_dir()),
        };
        // What is named as a state may have months alone.
        let own = own.unwrap_or_else(|| state.to_owned());
        let is_same = |one: &Path| {
            one.canonicalize().is_ok_and(|one| own.canonicalize().is_ok_and(|own| one == own))
        };
        // A copy has nothing to do with what waits elsewhere.
        let is_copy = directory.is_some_and(|directory| !is_same(directory));
        let directory = directory.unwrap_or(&own);
        let reader = Reader::read(directory, (!is_copy).then_some(state), None)?;
        if reader.months.is_empty() && reader.problems.is_empty() {
            let first = reader.spool.first().map(|row| row.id);
            if first.or(reader.head.map(|head| head.id)).unwrap_or_default() > 1 {
                let what = "the ledger of this state is not here: say by --ledger where its months are \
                            (`ledger.directory`)";
                return Err(failed(directory, what));
            }
            if first.is_none() {
                let what =
                    "there is no ledger here: `tripline run` keeps it in its state directory";
                return Err(failed(directory, what));
            }
        }
        Ok(Reader { is_copy, ..reader })
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
        let reader = Reader::read_once(directory, state, deadline)?;
        if reader.missing_behind().is_empty() {
            return Ok(reader);
        }
        // A month may have begun between one look and the other.
        Reader::read_once(directory, state, deadline)
    }

    fn read_once(
        directory: &Path,
        state: Option<&Path>,
        deadline: Option<Instant>,
    ) -> Result<Reader, ArchiveError> {
        let (mut open, mut problems, mut empty) = (Vec::new(), Vec::new(), None);
        for (name, path) in months(directory)? {
            // Only the newest can be just being made.
            problems.extend(empty.take().map(|(_, _, problem)| problem));
            match Month::open(name.clone(), path.clone(), deadline) {
                Ok(month) => open.push(month),
                Err(problem) if is_empty(&path) => empty = Some((name, path, problem)),
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(take_foreign(&mut open));
        let last = open.last().map_or(0, |month| month.meta.last.id);
        let waiting = state.map(|state| spool::read(&state.join("tripline.db"), last));
        let Waiting { rows: spool, head } =
            waiting.unwrap_or_else(|| Ok(Waiting::default())).unwrap_or_else(|problem| {
                problems.push(problem);
                Waiting::default()
            });
        if spool.first().is_none_or(|row| row.id > last + 1) {
            // What is not in the spool any more has been written meanwhile.
            open.last_mut().map_or(Ok(()), Month::refresh)?;
            // One that was never begun has nothing that is missing, if the newest row of all is here without it.
            let is_all = spool.is_empty() && head == open.last().map(|month| month.meta.last);
            if let Some((name, path, problem)) = empty.filter(|_| head.is_none() || !is_all) {
                match open_made(&name, &path, deadline) {
                    Some(month) => open.push(month),
                    None => problems.push(problem),
                }
            }
        }
        Ok(Reader { months: open, spool, head, is_copy: state.is_none(), problems })
    }

    /// Whether it is a copy, of which the process that wrote it knows nothing.
    pub const fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// All that is to be said to who is answered: what could not be read, and which rows are missing.
    pub fn warnings(&self) -> Vec<String> {
        self.problems.iter().map(ToString::to_string).chain(self.holes()).collect()
    }

    /// What could not be read.
    pub fn problems(&self) -> &[ArchiveError] {
        &self.problems
    }

    /// Whether there is a month of this name, readable or not.
    pub fn has_month(&self, name: &str) -> bool {
        let is_broken = |problem: &ArchiveError| {
            let (ArchiveError::File { path, .. }
            | ArchiveError::Locked { path }
            | ArchiveError::Lost { path, .. }
            | ArchiveError::NoRoom { path, .. }
            | ArchiveError::Hole { path, .. }) = problem;
            path.file_stem().is_some_and(|stem| stem == name)
        };
        self.months.iter().any(|month| month.name == name) || self.problems.iter().any(is_broken)
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
    pub fn each_of(&self, filters: &[Filter], take: impl FnMut(&Row)) -> Result<(), ArchiveError> {
        self.each_of_before(EventTime::MAX, filters, take)
    }

    /// The same, of those before a time.
    ///
    /// # Errors
    /// A month broke while it was read.
    pub fn each_of_before(
        &self,
        to: EventTime,
        filters: &[Filter],
        mut take: impl FnMut(&Row),
    ) -> Result<(), ArchiveError> {
        let (from, filters) = (EventTime::MIN, filters.to_vec());
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

    /// The last row that is here.
    pub fn last_id(&self) -> u64 {
        let of_months = self.months.last().map_or(0, |month| month.meta.last.id);
        self.spool.last().map_or(of_months, |row| row.id.max(of_months))
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

    /// Rows that should be there: before the first month, between one and the next, and behind the newest. Those of months
    /// that were deleted by age or size are not missing.
    pub fn holes(&self) -> Vec<String> {
        let pairs = self.months.iter().zip(self.months.iter().skip(1));
        let pairs = pairs.filter(|(one, next)| next.meta.previous != one.meta.last);
        let between = pairs.map(|(one, next)| {
            let (last, previous) = (one.meta.last.id, next.meta.previous.id);
            format!(
                "{} ends with row {last}, and {} begins behind row {previous}",
                one.name, next.name
            )
        });
        self.missing_before().into_iter().chain(between).chain(self.missing_behind()).collect()
    }

    fn missing_before(&self) -> Option<String> {
        let first = self.months.first().filter(|first| first.meta.previous != Chain::default())?;
        let mut deletions = Deletions::default();
        let told = self.each_of(&[Filter::Entries(EntryKind::Retention)], |row| {
            row.entry().into_iter().for_each(|entry| deletions.take(entry));
        });
        told.ok()?;
        deletions.missing(&first.name, first.meta.previous)
    }

    /// What waits goes on behind the newest month, and ends where the checkpoint says.
    pub(super) fn missing_behind(&self) -> Vec<String> {
        let newest = self.months.last();
        let ends = |last: u64| match newest {
            Some(month) if last == month.meta.last.id => {
                format!("{} ends with row {}", month.name, thousands(last))
            }
            _ if last == 0 => "no row is here".to_owned(),
            _ => format!("row {} waits", thousands(last)),
        };
        let end = newest.map_or(0, |month| month.meta.last.id);
        let (mut last, mut missing) = (end, Vec::new());
        for row in self.spool.iter().map(|row| row.id).filter(|id| *id > end) {
            if row != last + 1 {
                missing.push(format!(
                    "{}, and the next one that waits is row {}",
                    ends(last),
                    thousands(row)
                ));
            }
            last = row;
        }
        let Some(head) = self.head else { return missing };
        if head.id > last {
            let head = thousands(head.id);
            missing
                .push(format!("{}, and by the checkpoint there are rows up to {head}", ends(last)));
        } else if newest
            .is_some_and(|month| month.meta.last.id == head.id && month.meta.last != head)
        {
            missing.push(format!("{}, but with another hash than the checkpoint has", ends(last)));
        }
        missing
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

/// Opens a month that was empty a moment ago, once it is made; `None` if nobody makes it.
fn open_made(name: &str, path: &Path, deadline: Option<Instant>) -> Option<Month> {
    (0..MADE_LOOKS).find_map(|_| {
        let month = Month::open(name.to_owned(), path.to_owned(), deadline).ok();
        if month.is_none() {
            thread::sleep(MADE_PAUSE);
        }
        month
    })
}

/// Takes out the months of other ledgers than most are of, or the newest of as many; with why. Once a month says of which it
/// is, all that come after it do.
fn take_foreign(months: &mut Vec<Month>) -> Vec<ArchiveError> {
    let mut counts: BTreeMap<Hash, (usize, usize)> = BTreeMap::new();
    for (number, month) in months.iter().enumerate() {
        if let Some(ledger) = month.meta.ledger {
            let (count, newest) = counts.entry(ledger).or_default();
            (*count, *newest) = (*count + 1, number);
        }
    }
    let Some((ours, _)) = counts.into_iter().max_by_key(|(_, seen)| *seen) else {
        return Vec::new();
    };
    let since = months.iter().position(|month| month.meta.ledger == Some(ours)).unwrap_or(0);
    let (mut foreign, mut number) = (Vec::new(), 0);
    months.retain(|month| {
        let is_ours = match month.meta.ledger {
            Some(ledger) => ledger == ours,
            None => number < since,
        };
        number += 1;
        if !is_ours {
            let what =
                "it is of the ledger of another installation; put back the file that was there";
            foreign.push(failed(&month.path, what));
        }
        is_ours
    });
    foreign
}
