//! Where rows of the ledger stay: one SQLite file a month, which can be copied, checked and read alone.
//!
//! `<state>/ledger/YYYY-MM.db`, by the operator's clock in UTC. One writer fills the newest; readers have
//! connections of their own. A month that is over is sealed: one file without a journal, for reading only.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod count;
mod days;
mod deletions;
mod ended;
mod filed;
mod hold;
mod month;
pub mod notes;
mod pack;
mod query;
mod reader;
mod rules_then;
mod schema;
mod search;
mod sieve;
pub mod sign;
mod spool;
pub mod verify;
mod writer;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{Timestamp, tz::TimeZone};

pub use query::{Cursor, Filter, Page, Query};
pub use reader::{MonthStatus, Reader, place_of_months};
pub use rules_then::{FileThen, RulesThen, Turn, rules_at, rules_before, turns};
pub use writer::{Archive, Limits, Retired};

use self::{ended::journal_of, month::Month};
use crate::engine::{
    ledger::{Chain, Hash, Row},
    time::WallTime,
};

/// Name of the directory within the state directory.
pub const DIRECTORY_NAME: &str = "ledger";

/// Why the archive could not be read or written. Who writes tries again; who reads says it.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file cannot be used.
    #[error("{}: {detail}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        detail: String,
    },
    /// Another process writes there.
    #[error(
        "the ledger in {} is in use by another process; each one needs a `ledger.directory` of its own",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// What was written is not there any more.
    #[error(
        "{}: it ends with row {last}, but rows up to {written} were written: it was deleted, replaced or overwritten \
         while Tripline runs; rows wait in the checkpoint until the file that was there is put back",
        path.display()
    )]
    Lost {
        /// The newest file, or the directory.
        path: PathBuf,
        /// Its last row.
        last: u64,
        /// The last row that was written.
        written: u64,
    },
    /// The disk has too little room left, which other things need more.
    #[error("{}: only {free} bytes are free, and {needed} stay for other things (`ledger.free_min`)", path.display())]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// Bytes that must stay free.
        needed: u64,
    },
    /// Rows are missing between what is archived and what comes.
    #[error("{}: its last row is {last}, and the next one is {next}; put back the file that was there", path.display())]
    Hole {
        /// The newest file.
        path: PathBuf,
        /// Its last row.
        last: u64,
        /// The row that comes.
        next: u64,
    },
}

fn failed(path: &Path, detail: impl ToString) -> ArchiveError {
    ArchiveError::File { path: path.to_owned(), detail: detail.to_string() }
}

/// `2026-11`, the month of a time in UTC.
fn month_of(time: WallTime) -> String {
    let time = Timestamp::from_microsecond(time.micros()).unwrap_or(Timestamp::UNIX_EPOCH);
    let date = TimeZone::UTC.to_datetime(time).date();
    format!("{:04}-{:02}", date.year(), date.month())
}

/// Months by name, with their files, oldest first.
type Months = Vec<(String, PathBuf)>;

/// The files of a directory by month, oldest first. What has another name is not ours.
///
/// # Errors
/// The directory cannot be read; one that is not there has no files.
pub fn months(directory: &Path) -> Result<Vec<(String, PathBuf)>, ArchiveError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(directory, error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(directory, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if let Some(month) = name.strip_suffix(".db")
            && is_month(month)
        {
            found.push((month.to_owned(), path));
        }
    }
    found.sort();
    Ok(found)
}

/// Bytes of a month on the disk, with those of its journal, which are not in its file yet.
fn bytes_of(month: &Path) -> u64 {
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    bytes(month) + bytes(&journal_of(month))
}

/// The months that are begun, and behind them those that are not, the newest first: what a crash or a full disk leaves of a
/// new month has no rows, and the ledger goes on behind the one before it.
fn begun_months(directory: &Path) -> Result<(Months, Vec<PathBuf>), ArchiveError> {
    let (mut begun, mut unbegun) = (months(directory)?, Vec::new());
    while let Some((_, path)) = begun.last()
        && schema::is_unbegun(path)?
    {
        unbegun.extend(begun.pop().map(|(_, path)| path));
    }
    Ok((begun, unbegun))
}

/// The last row of the newest month that is begun; of no row, if there is none.
///
/// # Errors
/// The month cannot be read.
pub fn last_row(directory: &Path) -> Result<Chain, ArchiveError> {
    match begun_months(directory)?.0.pop() {
        Some((_, path)) => Ok(schema::open_for_reading(&path)?.1.last),
        None => Ok(Chain::default()),
    }
}

/// The rows that no month has, of some that may be written already. A row with the number of one, but with another line,
/// is not there: it is of another chain.
/// Cost: a pass over the rows of the months between the first and the last of them.
///
/// # Errors
/// A month cannot be read.
pub fn not_there(directory: &Path, rows: Vec<Arc<Row>>) -> Result<Vec<Arc<Row>>, ArchiveError> {
    let Some(first) = rows.iter().map(|row| row.id).min() else { return Ok(rows) };
    let last = rows.iter().map(|row| row.id).max();
    let mut waiting: BTreeMap<u64, Arc<Row>> = rows.into_iter().map(|row| (row.id, row)).collect();
    // The newest first: what may be there twice was written last.
    for (name, path) in begun_months(directory)?.0.into_iter().rev() {
        let month = Month::open(name, path, None)?;
        if month.meta.last.id >= first {
            month.each(first - 1, |row| {
                let is_there = waiting.get(&row.id).is_some_and(|one| one.line() == row.line());
                if is_there {
                    waiting.remove(&row.id);
                }
                Some(row.id) < last
            })?;
        }
        if month.meta.previous.id < first {
            break;
        }
    }
    Ok(waiting.into_values().collect())
}

fn is_month(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() == 7
        && bytes.get(4) == Some(&b'-')
        && bytes.iter().enumerate().all(|(at, byte)| at == 4 || byte.is_ascii_digit())
}

/// What a month file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Meta {
    /// Before its first row.
    previous: Chain,
    /// After its last row.
    last: Chain,
    /// Which ledger it is of, a random number; `None` if an earlier version began it.
    ledger: Option<Hash>,
}
