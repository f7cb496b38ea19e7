//! Writes rows into the newest month; what was written before is passed over, so that rows may come again.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use rusqlite::Connection;

use super::{
    ArchiveError, Meta, bytes_of,
    count::Counts,
    failed, month_of, months,
    pack::{Numbers, write},
    schema::{
        explain, is_by_day, open_for_reading, open_for_writing, read_longest, write_chain,
        write_longest,
    },
};
use crate::{
    engine::{
        ledger::{Chain, Hash, Row},
        time::WallTime,
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
    last: Chain,
    ledger: Option<Hash>,
}

/// The month that is written.
#[derive(Debug)]
struct OpenMonth {
    name: String,
    path: PathBuf,
    connection: Connection,
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
            last: Chain::default(),
            ledger: None,
        }
    }

    /// Opens the newest month, if that was not done, or makes the directory.
    ///
    /// # Errors
    /// The directory or the newest month cannot be used. It may be tried again.
    pub fn open(&mut self) -> Result<(), ArchiveError> {
        if self.is_open {
            return Ok(());
        }
        files::make_directory(&self.directory).map_err(|error| failed(&self.directory, error))?;
        if let Some((name, path)) = months(&self.directory)?.pop() {
            // One that was sealed by the calendar is for reading only; nothing is written into it then.
            allow_writing(&path)?;
            let (open, meta) = open_month(name, path, Chain::default(), None)?;
            (self.last, self.ledger) = (meta.last, meta.ledger);
            self.open = Some(open);
        }
        self.is_open = true;
        Ok(())
    }

    /// Its last row, with the hash of the chain there.
    pub const fn last(&self) -> Chain {
        self.last
    }

    /// Writes rows that follow each other. Those that it has are passed over. Returns its last row.
    ///
    /// # Errors
    /// Some or all could not be written; they may come again.
    pub fn append(&mut self, rows: &[Arc<Row>]) -> Result<u64, ArchiveError> {
        self.open()?;
        let mut rows: Vec<&Row> =
            rows.iter().map(|row| &**row).filter(|row| row.id > self.last.id).collect();
        rows.sort_by_key(|row| row.id);
        let mut rows = rows.as_slice();
        while let Some(first) = rows.first() {
            if first.id != self.last.id + 1 {
                let path = self.open.as_ref().map_or(&self.directory, |open| &open.path).clone();
                return Err(ArchiveError::Hole { path, last: self.last.id, next: first.id });
            }
            self.check_room()?;
            let name = self.month_for(first);
            let count = rows.iter().take_while(|row| self.month_for(row) == name).count();
            let (of_month, rest) = rows.split_at(count);
            self.write(&name, of_month)?;
            rows = rest;
        }
        Ok(self.last.id)
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
        if self.open.as_ref().is_none_or(|open| open.name != name) {
            self.begin(name)?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let OpenMonth { path, connection, numbers, longest, .. } = open;
        if let Some(longest) = longest {
            *longest = rows.iter().map(|row| row.lasted()).fold(*longest, Duration::max);
        }
        let last = self.last;
        let mut run = || -> rusqlite::Result<Chain> {
            let transaction = connection.transaction()?;
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
        let chain = match run() {
            Ok(chain) => chain,
            Err(error) => {
                numbers.forget();
                let error = explain(path, &error);
                // Perhaps it is another file by now: it is opened again, and what it has counts.
                (self.open, self.is_open) = (None, false);
                return Err(error);
            }
        };
        self.last = chain;
        Ok(())
    }

    /// Ends the month before, and begins one.
    fn begin(&mut self, name: &str) -> Result<(), ArchiveError> {
        if let Some(open) = self.open.take() {
            seal(open)?;
        }
        let path = self.directory.join(format!("{name}.db"));
        // SQLite gives its journal the mode of the file itself.
        files::open(&path).map_err(|error| failed(&path, error))?;
        let (open, meta) = open_month(name.to_owned(), path, self.last, self.ledger)?;
        self.ledger = meta.ledger;
        self.open = Some(open);
        Ok(())
    }

    /// Months that are too old or too much, oldest first; never the one that is written.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn due(&self, now: WallTime) -> Result<Vec<Retired>, ArchiveError> {
        let mut found = months(&self.directory)?;
        found.pop();
        let oldest = oldest_kept(&month_of(now), self.limits.months);
        let mut total = self.bytes();
        let mut due = Vec::new();
        for (month, path) in found {
            let why = if month < oldest {
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

    /// Deletes a month. Before that, an entry must say so that is stored: else nobody could tell it from one that is lost.
    ///
    /// # Errors
    /// It cannot be deleted.
    pub fn delete(&self, month: &Retired) -> Result<(), ArchiveError> {
        let path = self.directory.join(format!("{}.db", month.month));
        std::fs::remove_file(&path).map_err(|error| failed(&path, error))
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
    Ok((OpenMonth { name, path, connection, numbers, longest }, meta))
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

/// The first month that is kept when so many are.
fn oldest_kept(current: &str, months: u32) -> String {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok()).unwrap_or(1);
    let (year, month) = (number(current.get(..4)), number(current.get(5..)));
    let oldest = (year * 12 + month).saturating_sub(months.max(1));
    format!("{:04}-{:02}", oldest / 12, oldest % 12 + 1)
}

/// The month is over: one file without a journal, for reading only.
fn seal(open: OpenMonth) -> Result<(), ArchiveError> {
    let OpenMonth { path, connection, .. } = open;
    connection
        .query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
        .map_err(|error| explain(&path, &error))?;
    drop(connection);
    set_mode(&path, 0o400)
}

fn allow_writing(path: &Path) -> Result<(), ArchiveError> {
    set_mode(path, 0o600)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), ArchiveError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| failed(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_month_that_is_kept() {
        for (current, months, oldest) in [
            ("2026-11", 1, "2026-11"),
            ("2026-11", 13, "2025-11"),
            ("2026-01", 2, "2025-12"),
            ("2026-12", 12, "2026-01"),
        ] {
            assert_eq!(oldest_kept(current, months), oldest, "{current} {months}");
        }
    }
}
