//! Writes rows into the newest month; what was written before is passed over, so that rows may come again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use rusqlite::{Connection, Transaction};

use super::{
    ArchiveError, Meta, begun_months, bytes_of,
    count::Counts,
    ended::{allow_writing, is_sealed, remove, remove_journals, seal},
    failed,
    hold::{Known, Lock},
    journal_of, month_of, months, not_there,
    pack::{Numbers, USAGE_KIND, entry_kind, write},
    schema::{
        explain, is_by_day, is_unbegun, open_for_reading, open_for_writing, read_longest,
        read_meta, write_chain, write_longest,
    },
};
use crate::{
    engine::{
        ledger::{Chain, EntryKind, Hash, Row},
        time::{EventTime, WallTime},
    },
    store::files,
};

/// So many rows are worth a thread of their own: 100.
const HASHED_BESIDE: usize = 100;

/// How much the archive may take, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that must stay free on its disk.
    pub free_min: u64,
    /// Bytes of all months together; the oldest are deleted beyond it.
    pub size_max: u64,
    /// Months that are kept, the one that is written among them.
    pub months: u32,
}

/// The archive of one process, open for writing.
#[derive(Debug)]
pub struct Archive {
    directory: PathBuf,
    limits: Limits,
    is_open: bool,
    open: Option<OpenMonth>,
    /// Newer files without a row, which are made anew; the newest first.
    unbegun: Vec<PathBuf>,
    /// Months that are over, and not sealed yet.
    unsealed: Vec<PathBuf>,
    /// Behind what was written last, whatever is found there later.
    last: Chain,
    /// The last of the rows that were handed over and are there.
    written: u64,
    /// Where rows that come lead to, if that was not seen yet.
    expected: Option<Chain>,
    lock: Option<Lock>,
    ledger: Option<Hash>,
}

/// The month that is written.
#[derive(Debug)]
struct OpenMonth {
    name: String,
    path: PathBuf,
    connection: Connection,
    /// It and its journal.
    files: Vec<Known>,
    numbers: Numbers,
    /// How long its longest roll-up is, if that is known of all of its rows.
    longest: Option<Duration>,
}

/// A month that is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// `2025-10`
    pub month: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// Where the chain stood behind it; `None` if it could not be read.
    pub last: Option<Chain>,
    /// Why: `age` or `size`.
    pub why: &'static str,
}

impl Archive {
    /// In a directory; it is opened later.
    pub fn new(directory: &Path, limits: Limits) -> Archive {
        Archive {
            directory: directory.to_owned(),
            limits,
            is_open: false,
            open: None,
            unbegun: Vec::new(),
            unsealed: Vec::new(),
            last: Chain::default(),
            written: 0,
            expected: None,
            lock: None,
            ledger: None,
        }
    }

    /// Opens the newest month that is begun, if that was not done, or makes the directory. No other process writes there from
    /// then on.
    ///
    /// # Errors
    /// [`ArchiveError::Locked`] if another process does. The directory or that month cannot be used, or what was written is
    /// not there. It may be tried again.
    pub fn open(&mut self) -> Result<(), ArchiveError> {
        if self.is_open {
            return Ok(());
        }
        let newest = months(&self.directory)?.pop();
        let newest = newest.map_or_else(|| self.directory.clone(), |(_, path)| path);
        if newest == self.directory {
            self.must_have_all(&newest, Chain::default())?;
        }
        self.take_lock()?;
        let (mut begun, unbegun) = begun_months(&self.directory)?;
        if let Some((name, path)) = begun.pop() {
            // One that was sealed by the calendar is for reading only; nothing is written into it then.
            allow_writing(&path)?;
            let (open, meta) = open_month(name, path, Chain::default(), None)?;
            self.must_have_all(&newest, meta.last)?;
            (self.last, self.ledger) = (meta.last, meta.ledger);
            self.open = Some(open);
        } else {
            self.must_have_all(&newest, Chain::default())?;
        }
        let over = begun.into_iter().map(|(_, path)| path);
        (self.unsealed, self.unbegun) = (over.filter(|path| !is_sealed(path)).collect(), unbegun);
        self.is_open = true;
        Ok(())
    }

    /// Opens it, if that was not done, and looks whether what was written is still found there. Cheap.
    ///
    /// # Errors
    /// As [`Archive::open`]; or it was deleted or replaced. It may be tried again, when somebody has put it back.
    pub fn check(&mut self) -> Result<(), ArchiveError> {
        self.open()?;
        let lock = self.lock.iter().try_for_each(Lock::check);
        let files = self.open.iter().flat_map(|open| &open.files).try_for_each(Known::check);
        let found = lock.and(files);
        if found.is_err() {
            self.close();
        }
        found
    }

    /// Whatever is there now is opened before more is written, and what it has counts.
    fn close(&mut self) {
        (self.open, self.is_open) = (None, false);
        self.unbegun.clear();
        self.unsealed.clear();
    }

    fn take_lock(&mut self) -> Result<(), ArchiveError> {
        if self.lock.as_ref().is_none_or(|lock| lock.check().is_err()) {
            self.lock = None;
            files::make_directory(&self.directory)
                .map_err(|error| failed(&self.directory, error))?;
            self.lock = Some(Lock::take(&self.directory)?);
        }
        Ok(())
    }

    /// What is found must have all that was written: the checkpoint has given it up.
    fn must_have_all(&self, path: &Path, found: Chain) -> Result<(), ArchiveError> {
        if found.id >= self.last.id {
            return Ok(());
        }
        Err(ArchiveError::Lost { path: path.to_owned(), last: found.id, written: self.last.id })
    }

    /// Its last row, with the hash of the chain there.
    pub const fn last(&self) -> Chain {
        self.last
    }

    /// The last of the rows that were handed over and are there: by what was written, not by their numbers alone.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The rows that come lead to this: what is found there must be what they go on behind, whenever it can be opened.
    pub const fn expect(&mut self, chain: Chain) {
        self.expected = Some(chain);
    }

    /// Writes rows that follow each other. Those that it has are passed over. Returns the last row that was handed over
    /// and is there.
    ///
    /// # Errors
    /// Some or all could not be written; they may come again. Those of another chain never are.
    pub fn append(&mut self, rows: &[Arc<Row>]) -> Result<u64, ArchiveError> {
        self.check()?;
        let (there, mut rows): (Vec<&Arc<Row>>, Vec<&Arc<Row>>) =
            rows.iter().partition(|row| row.id <= self.last.id);
        self.pass_over(there.into_iter().cloned().collect())?;
        rows.sort_by_key(|row| row.id);
        let rows: Vec<&Row> = rows.into_iter().map(|row| &**row).collect();
        let mut rows = rows.as_slice();
        self.must_lead_on(rows)?;
        while let Some(first) = rows.first() {
            if first.id != self.last.id + 1 {
                let open = self.open.as_ref().map(|open| &open.path);
                let path = self.unbegun.first().or(open).unwrap_or(&self.directory).clone();
                // Whatever is put back is looked at.
                self.close();
                return Err(ArchiveError::Hole { path, last: self.last.id, next: first.id });
            }
            self.check_room()?;
            let name = self.month_for(first);
            let count = rows.iter().take_while(|row| self.month_for(row) == name).count();
            let (of_month, rest) = rows.split_at(count);
            self.write(&name, of_month)?;
            rows = rest;
        }
        Ok(self.written)
    }

    /// The rows that it does not have, of some that may be written already: see [`not_there`].
    ///
    /// # Errors
    /// A month cannot be read.
    pub fn not_there(&self, rows: Vec<Arc<Row>>) -> Result<Vec<Arc<Row>>, ArchiveError> {
        not_there(&self.directory, rows)
    }

    /// Rows that are there by their numbers must be the rows that are there.
    fn pass_over(&mut self, rows: Vec<Arc<Row>>) -> Result<(), ArchiveError> {
        let Some(last) = rows.iter().map(|row| row.id).max() else { return Ok(()) };
        if let Some(other) = not_there(&self.directory, rows)?.first() {
            return Err(self.of_another_chain(other.id));
        }
        self.written = self.written.max(last);
        Ok(())
    }

    /// Rows that follow its last one by their numbers must follow it by their hashes, too.
    fn must_lead_on(&mut self, rows: &[&Row]) -> Result<(), ArchiveError> {
        let Some(expected) = self.expected else { return Ok(()) };
        let mut chain = self.last;
        for row in rows {
            if row.id != chain.id + 1 || row.id > expected.id {
                break;
            }
            chain.push(&row.line());
        }
        if chain.id == expected.id && chain != expected {
            return Err(self.of_another_chain(self.last.id));
        }
        if chain.id >= expected.id {
            self.expected = None;
        }
        Ok(())
    }

    fn of_another_chain(&mut self, id: u64) -> ArchiveError {
        // It may be put right meanwhile, and what it has was never ours.
        self.close();
        self.last = Chain { id: self.written, ..Chain::default() };
        let what = format!(
            "it is of another chain: its row {id} is not the one that Tripline wrote; put back the ledger that was there, or \
             start Tripline again, which then goes on behind what is here; rows wait in the checkpoint until then"
        );
        failed(&self.directory, what)
    }

    /// The month of a row: by its time, but never one before that which is written.
    fn month_for(&self, row: &Row) -> String {
        let month = month_of(row.recorded);
        match &self.open {
            Some(open) if open.name > month => open.name.clone(),
            _ => month,
        }
    }

    fn check_room(&self) -> Result<(), ArchiveError> {
        let room =
            rustix::fs::statvfs(&self.directory).map_err(|error| failed(&self.directory, error))?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free < self.limits.free_min {
            let (path, needed) = (self.directory.clone(), self.limits.free_min);
            return Err(ArchiveError::NoRoom { path, free, needed });
        }
        Ok(())
    }

    fn write(&mut self, name: &str, rows: &[&Row]) -> Result<(), ArchiveError> {
        if let Err(error) = self.prepare(name) {
            // What there is by now is seen when it is tried again.
            self.close();
            return Err(error);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let OpenMonth { path, connection, numbers, longest, .. } = open;
        if let Some(longest) = longest {
            *longest = rows.iter().map(|row| row.lasted()).fold(*longest, Duration::max);
        }
        let last = self.last;
        let mut run = |transaction: Transaction<'_>| -> rusqlite::Result<Chain> {
            let mut counts = Counts::default();
            let chain = chain_beside(last, rows, || {
                for row in rows {
                    write(&transaction, numbers, row)?;
                    counts.add(&row.content);
                }
                counts.store(&transaction)
            })?;
            write_chain(&transaction, "last", chain)?;
            if let Some(longest) = longest {
                write_longest(&transaction, *longest, chain.id)?;
            }
            transaction.commit()?;
            Ok(chain)
        };
        let written = begin_behind(last, path, connection)
            .and_then(|transaction| run(transaction).map_err(|error| explain(path, &error)));
        // Before anybody is told: what went into a file that was taken away meanwhile comes again.
        let written = written.and_then(|chain| self.check().map(|()| chain));
        match written {
            Ok(chain) => {
                self.last = chain;
                self.written = chain.id;
                Ok(())
            }
            Err(error) => {
                // Perhaps it is another file by now: it is opened again, and what it has counts.
                self.close();
                Err(error)
            }
        }
    }

    /// Makes a month the one that is written.
    fn prepare(&mut self, name: &str) -> Result<(), ArchiveError> {
        while let Some(path) = self.unbegun.pop() {
            if !is_unbegun(&path)? {
                let what = "somebody has put another file there; it is looked at again";
                return Err(failed(&path, what));
            }
            tracing::warn!("{}: it was never begun, and is made anew", path.display());
            remove(&path)?;
        }
        if self.open.as_ref().is_none_or(|open| open.name != name) {
            self.begin(name)?;
        }
        Ok(())
    }

    /// Begins a month, and ends the one before.
    fn begin(&mut self, name: &str) -> Result<(), ArchiveError> {
        let path = self.directory.join(format!("{name}.db"));
        // SQLite gives its journal the mode of the file itself.
        files::open(&path).map_err(|error| failed(&path, error))?;
        let made = open_month(name.to_owned(), path.clone(), self.last, self.ledger);
        if made.is_err() && is_unbegun(&path).unwrap_or(false) {
            // Nothing is left that somebody would wonder about. It is made when it is tried again.
            drop(remove(&path));
        }
        let (open, meta) = made?;
        self.ledger = meta.ledger;
        // Who writes it would be in the way, too.
        let over = self.open.replace(open).map(|over| over.path);
        if let Some(over) = over {
            self.unsealed.push(over);
            // If that cannot be, it is tried again, and rows are written meanwhile.
            drop(self.seal());
        }
        Ok(())
    }

    /// Seals the months that are over and are not sealed yet, also those that an earlier process has left: each is one file
    /// without a journal then, for reading only. Cheap if there is none.
    ///
    /// # Errors
    /// One is still read by somebody, or cannot be written. It is tried again the next time.
    pub fn seal(&mut self) -> Result<(), ArchiveError> {
        let mut outcome = Ok(());
        self.unsealed.retain(|path| {
            let sealed = seal(path);
            let is_left = sealed.is_err();
            if is_left {
                outcome = sealed;
            }
            is_left
        });
        outcome
    }

    /// Months that are too old or too much, oldest first; never the one that is written. How old they are is told by the
    /// newest event, if our clock is ahead of it: one start with a clock that is wrong by years deletes nothing.
    ///
    /// # Errors
    /// The directory or its newest month cannot be read.
    pub fn due(&self, now: WallTime) -> Result<Vec<Retired>, ArchiveError> {
        let (mut found, _) = begun_months(&self.directory)?;
        let newest = found.iter().rev().find_map(|(_, path)| newest_event(path));
        let oldest = newest
            .map(|newest| oldest_kept(&month_of(now.min(newest.as_wall())), self.limits.months));
        found.pop();
        let mut total = self.bytes();
        let mut due = Vec::new();
        for (month, path) in found {
            let why = if oldest.as_ref().is_some_and(|oldest| month < *oldest) {
                "age"
            } else if total > self.limits.size_max {
                "size"
            } else {
                break;
            };
            let bytes = bytes_of(&path);
            let last = open_for_reading(&path).ok().map(|(_, meta)| meta.last);
            total = total.saturating_sub(bytes);
            due.push(Retired { month, bytes, last, why });
        }
        Ok(due)
    }

    /// Deletes a month with its journals, and what is left of those of older ones. Before that, an entry must say so that is
    /// stored: else nobody could tell it from one that is lost.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub fn delete(&self, month: &Retired) -> Result<(), ArchiveError> {
        let path = self.directory.join(format!("{}.db", month.month));
        remove(&path)?;
        remove_journals(&self.directory, &month.month)
    }

    /// Bytes of all its months.
    pub fn bytes(&self) -> u64 {
        let files = months(&self.directory).unwrap_or_default();
        files.iter().map(|(_, path)| bytes_of(path)).sum()
    }
}

/// Opens a month, or makes it behind the rows before it; with what it says of itself.
fn open_month(
    name: String,
    path: PathBuf,
    previous: Chain,
    ledger: Option<Hash>,
) -> Result<(OpenMonth, Meta), ArchiveError> {
    let (connection, meta) = open_for_writing(&path, previous, ledger)?;
    let explained = |error| explain(&path, &error);
    let numbers = Numbers::new(is_by_day(&connection).map_err(explained)?);
    let longest = if meta.last == meta.previous {
        Some(Duration::ZERO)
    } else {
        read_longest(&connection).map_err(explained)?
    };
    let files = vec![Known::of(path.clone())?, Known::of(journal_of(&path))?];
    Ok((OpenMonth { name, path, connection, files, numbers, longest }, meta))
}

/// Begins to write behind a row. Somebody may have changed the file: what is written behind another row is torn.
fn begin_behind<'a>(
    last: Chain,
    path: &Path,
    connection: &'a mut Connection,
) -> Result<Transaction<'a>, ArchiveError> {
    let transaction = connection.transaction().map_err(|error| explain(path, &error))?;
    if read_meta(path, &transaction)?.is_none_or(|meta| meta.last != last) {
        let what = "it was overwritten, or another program writes into it; put back the file that was there, and rows wait \
                    in the checkpoint until then";
        return Err(failed(path, what));
    }
    Ok(transaction)
}

/// Where the chain comes to with more rows. Many are hashed on a thread of its own, while something else is done.
fn chain_beside<E>(
    last: Chain,
    rows: &[&Row],
    meanwhile: impl FnOnce() -> Result<(), E>,
) -> Result<Chain, E> {
    let hash = move || {
        let (mut chain, mut line) = (last, Vec::new());
        for row in rows {
            row.write_line(&mut line);
            chain.push(&line);
        }
        chain
    };
    if rows.len() < HASHED_BESIDE {
        return meanwhile().map(|()| hash());
    }
    thread::scope(|scope| {
        let hashing = scope.spawn(hash);
        meanwhile()?;
        Ok(hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// When the newest event was that a month knows of; `None` if it has none, or cannot be read.
fn newest_event(path: &Path) -> Option<EventTime> {
    let (connection, _) = open_for_reading(path).ok()?;
    // Accesses, uses of permissions, and hours in which there were any: other rows have the time of our clock.
    let kinds = format!("0, {USAGE_KIND}, {}", entry_kind(EntryKind::Coverage));
    let sql = format!("SELECT at FROM row WHERE kind IN ({kinds}) ORDER BY at DESC LIMIT 1");
    connection.query_row(&sql, [], |row| row.get(0)).ok().map(EventTime::from_micros)
}

/// The first month that is kept when so many are.
fn oldest_kept(current: &str, months: u32) -> String {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok()).unwrap_or(1);
    let (year, month) = (number(current.get(..4)), number(current.get(5..)));
    let oldest = (year * 12 + month).saturating_sub(months.max(1));
    format!("{:04}-{:02}", oldest / 12, oldest % 12 + 1)
}

#[cfg(test)]
mod tests;
