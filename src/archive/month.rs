//! One month file that is open for reading: its rows in an order, and what it says of itself.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OptionalExtension as _, params_from_iter, types::Value};

use super::{
    ArchiveError, Meta, count,
    filed::Filed,
    pack::{Columns, Texts, decode, find_text, set_time, unpack},
    schema::{explain, has_usage, is_by_day, open_for_reading, read_longest, read_meta},
    sieve::Sieve,
};
use crate::engine::{
    ledger::{Content, Row},
    limits::ROLL_UP_MAX,
    time::EventTime,
};

/// Steps of SQLite between two looks at the clock, for readers with a deadline.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// Of a month that is read from end to end, so much stays in memory: 8 MiB. Each page is read once, and few again.
const CACHE_KIB: u32 = 8_192;

/// A column of objects; the others are of rows.
const NAMESPACE: &str = "namespace";

/// What a month is opened by, once or again.
#[derive(Clone, Debug)]
pub(super) struct Door {
    name: String,
    path: PathBuf,
    deadline: Option<Instant>,
}

impl Door {
    /// Opens it for reading all of it, as it is now: what is written meanwhile is not seen, and pages of its indexes stay
    /// in memory.
    pub(super) fn open(&self) -> Result<Month, ArchiveError> {
        let mut month = Month::open(self.name.clone(), self.path.clone(), self.deadline)?;
        let begin = format!("PRAGMA cache_size = -{CACHE_KIB}; BEGIN");
        month.connection.execute_batch(&begin).map_err(|error| explain(&self.path, &error))?;
        // By now it may have more rows than when it was opened.
        month.refresh()?;
        Ok(month)
    }
}

/// A month that is open for reading.
#[derive(Debug)]
pub(super) struct Month {
    /// `2026-11`
    pub(super) name: String,
    /// The file.
    pub(super) path: PathBuf,
    /// Which rows it says it has.
    pub(super) meta: Meta,
    /// Whether its objects have verbs, and its texts are indexed by day: months of earlier versions have neither.
    pub(super) is_by_day: bool,
    pub(super) connection: Connection,
    texts: RefCell<Texts>,
    deadline: Option<Instant>,
}

impl Month {
    /// Opens it. What is still read at the deadline fails then.
    pub(super) fn open(
        name: String,
        path: PathBuf,
        deadline: Option<Instant>,
    ) -> Result<Month, ArchiveError> {
        let (mut connection, meta) = open_for_reading(&path)?;
        if let Some(deadline) = deadline {
            let is_late = move || Instant::now() >= deadline;
            connection
                .progress_handler(STEPS_BETWEEN_LOOKS, Some(is_late))
                .map_err(|error| explain(&path, &error))?;
        }
        let is_by_day = is_by_day(&connection).map_err(|error| explain(&path, &error))?;
        Ok(Month { name, path, meta, is_by_day, connection, texts: RefCell::default(), deadline })
    }

    /// Looks again which rows it has by now.
    pub(super) fn refresh(&mut self) -> Result<(), ArchiveError> {
        self.meta = read_meta(&self.path, &self.connection)?.unwrap_or(self.meta);
        Ok(())
    }

    /// By what it is opened again, for another thread.
    pub(super) fn door(&self) -> Door {
        Door { name: self.name.clone(), path: self.path.clone(), deadline: self.deadline }
    }

    /// Calls back with each row, in the order of their ids, until it says that it has seen enough.
    pub(super) fn each(
        &self,
        after: u64,
        mut take: impl FnMut(Row) -> bool,
    ) -> Result<(), ArchiveError> {
        let sql = "SELECT id, recorded, body, at FROM row WHERE id > ?1 ORDER BY id";
        let values = vec![Value::Integer(after.cast_signed())];
        self.select(sql, values, |_, row| Ok(take(self.row(row)?)))
            .map_err(|error| explain(&self.path, &error))
    }

    /// Calls back with what SQLite finds, each with the id in its first column, until it is told that this is enough.
    pub(super) fn select(
        &self,
        sql: &str,
        values: Vec<Value>,
        mut take: impl FnMut(i64, &rusqlite::Row<'_>) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows = select.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            self.check_deadline()?;
            if !take(row.get(0)?, row)? {
                break;
            }
        }
        Ok(())
    }

    /// Fails beyond the deadline.
    pub(super) fn check_deadline(&self) -> rusqlite::Result<()> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let interrupted = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT);
            return Err(rusqlite::Error::SqliteFailure(interrupted, None));
        }
        Ok(())
    }

    /// The row of columns that begin with `id, recorded, body, at`.
    pub(super) fn row(&self, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
        self.unpack(row, decode(row.get_ref(2)?.as_blob()?)?)
    }

    /// The same, unless a sieve holds it back.
    pub(super) fn sifted(
        &self,
        row: &rusqlite::Row<'_>,
        sieve: &Sieve,
    ) -> rusqlite::Result<Option<Row>> {
        let (body, at) = (row.get_ref(2)?.as_blob()?, EventTime::from_micros(row.get(3)?));
        if !sieve.may_let_through(at, body)? {
            return Ok(None);
        }
        let content = decode(body)?;
        if sieve.lets_through(at, &content) {
            self.unpack(row, content).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The same, and the columns that it should have.
    pub(super) fn checked(
        &self,
        row: &rusqlite::Row<'_>,
        filed: &mut Filed,
    ) -> rusqlite::Result<(Row, rusqlite::Result<Columns>)> {
        let content = decode(row.get_ref(2)?.as_blob()?)?;
        let columns = filed.columns(&self.connection, &mut self.texts.borrow_mut(), &content);
        let row = self.unpack(row, content)?;
        let at = row.at().micros();
        Ok((row, columns.map(|columns| Columns { at, ..columns })))
    }

    fn unpack(&self, row: &rusqlite::Row<'_>, mut content: Content<u32>) -> rusqlite::Result<Row> {
        let mut texts = self.texts.borrow_mut();
        if self.is_by_day {
            set_time(&mut content, EventTime::from_micros(row.get(3)?));
        }
        unpack(&self.connection, &mut texts, row.get(0)?, row.get(1)?, content)
    }

    /// Its rows by class, and by kind of entry, as it says; `None` if it is of an earlier version.
    pub(super) fn counts(&self) -> Result<Option<BTreeMap<String, u64>>, ArchiveError> {
        count::kept(&self.connection).map_err(|error| explain(&self.path, &error))
    }

    /// The same, counted. Cost: a pass over its rows.
    pub(super) fn counted(&self) -> Result<BTreeMap<String, u64>, ArchiveError> {
        let counts = count::counted(&self.connection);
        counts.map(|counts| counts.by_name()).map_err(|error| explain(&self.path, &error))
    }

    /// How long a roll-up of it lasts at most.
    pub(super) fn longest(&self) -> rusqlite::Result<Duration> {
        Ok(read_longest(&self.connection)?.unwrap_or(ROLL_UP_MAX))
    }

    /// Whether it has a row of a time. Cost: a look into an index.
    pub(super) fn has_row_of(
        &self,
        (from, to): (EventTime, EventTime),
    ) -> Result<bool, ArchiveError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM row WHERE at >= ?1 AND at < ?2)";
        let found = self.connection.query_row(sql, [from.micros(), to.micros()], |row| row.get(0));
        found.map_err(|error| explain(&self.path, &error))
    }

    /// Whether a text stands in a column of a row.
    pub(super) fn has_text(&self, column: &str, text: &str) -> Result<bool, ArchiveError> {
        let run = || -> rusqlite::Result<bool> {
            let Some(number) = find_text(&self.connection, text)? else { return Ok(false) };
            if column == NAMESPACE {
                let sql = "SELECT EXISTS (SELECT 1 FROM object WHERE namespace = ?1)";
                return self.connection.prepare_cached(sql)?.query_row([number], |row| row.get(0));
            }
            if self.is_by_day {
                return self.has_on_some_day(column, number);
            }
            let sql = format!("SELECT EXISTS (SELECT 1 FROM row WHERE {column} = ?1)");
            self.connection.prepare_cached(&sql)?.query_row([number], |row| row.get(0))
        };
        run().map_err(|error| explain(&self.path, &error))
    }

    /// Whether a text stands in an access of it, wherever. Cost: a look into an index.
    pub(super) fn may_have(&self, text: &str) -> Result<bool, ArchiveError> {
        let found =
            find_text(&self.connection, text).map_err(|error| explain(&self.path, &error))?;
        Ok(found.is_some())
    }

    /// Up to so many texts that stand in a column.
    pub(super) fn texts_of(&self, column: &str, limit: usize) -> Result<Vec<String>, ArchiveError> {
        let run = || -> rusqlite::Result<Vec<String>> {
            let table = if column == NAMESPACE { "object" } else { "row" };
            let sql = format!(
                "SELECT text FROM text WHERE id IN (SELECT DISTINCT {column} FROM {table}) LIMIT ?1"
            );
            let mut select = self.connection.prepare_cached(&sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let texts = select.query_map([limit], |row| row.get(0))?;
            texts.collect()
        };
        run().map_err(|error| explain(&self.path, &error))
    }

    /// A text that is there twice, which nobody but SQLite prevents. Cost: a pass over all texts.
    pub(super) fn text_twice(&self) -> rusqlite::Result<Option<String>> {
        let sql = "SELECT text FROM text GROUP BY text HAVING count(*) > 1 LIMIT 1";
        self.connection.query_row(sql, [], |row| row.get(0)).optional()
    }

    /// Whether it may have uses of permissions: months of the first version have none.
    pub(super) fn has_usage(&self) -> rusqlite::Result<bool> {
        has_usage(&self.connection)
    }

    /// Whether it has rows of a kind.
    pub(super) fn has_kind(&self, kind: i64) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM row WHERE kind = ?1)";
        self.connection.query_row(sql, [kind], |row| row.get(0))
    }

    /// Whether it has an index: months of earlier versions lack some.
    pub(super) fn has_index(&self, name: &str) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1)";
        self.connection.prepare_cached(sql)?.query_row([name], |row| row.get(0))
    }

    /// What a check of SQLite finds wrong.
    pub(super) fn pragma(&self, check: &str) -> rusqlite::Result<Option<String>> {
        let sql = format!("PRAGMA {check}");
        let found: String = self.connection.query_row(&sql, [], |row| row.get(0))?;
        Ok((found != "ok").then_some(found))
    }
}
