//! One month file that is open for reading: its rows in an order, and what it says of itself.

use std::{cell::RefCell, path::PathBuf, time::Instant};

use rusqlite::{Connection, params_from_iter, types::Value};

use super::{
    ArchiveError, Meta,
    pack::{Texts, USAGE_KIND, find_text, unpack},
    query::{Cursor, Filter, Query},
    schema::{explain, open_for_reading},
};
use crate::engine::ledger::Row;

/// Steps of SQLite between two looks at the clock, for readers with a deadline.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// A month that is open for reading.
#[derive(Debug)]
pub(super) struct Month {
    /// `2026-11`
    pub(super) name: String,
    /// The file.
    pub(super) path: PathBuf,
    /// Which rows it says it has.
    pub(super) meta: Meta,
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
        Ok(Month { name, path, meta, connection, texts: RefCell::default(), deadline })
    }

    /// Calls back with each row, in the order of their ids, until it says that it has seen enough.
    pub(super) fn each(
        &self,
        after: u64,
        mut take: impl FnMut(Row) -> bool,
    ) -> Result<(), ArchiveError> {
        let sql = "SELECT id, recorded, body FROM row WHERE id > ?1 ORDER BY id";
        let values = vec![Value::Integer(after.cast_signed())];
        self.select(sql, values, |row| Ok(take(row))).map_err(|error| explain(&self.path, &error))
    }

    /// Calls back with each row that a query may want, in the order of time, from its cursor on.
    pub(super) fn search(
        &self,
        query: &Query,
        mut take: impl FnMut(Row) -> bool,
    ) -> Result<(), ArchiveError> {
        let of_others = if query.filters.contains(&Filter::Usage) { "" } else { "kind >= 0 AND" };
        let mut run = || -> rusqlite::Result<()> {
            let Some((condition, mut values)) = self.condition(query)? else { return Ok(()) };
            let after = query.after.unwrap_or(Cursor { at: i64::MIN, id: 0 });
            let numbers = [
                query.from.micros().max(after.at),
                query.to.micros(),
                after.at,
                after.id.cast_signed(),
            ];
            values.extend(numbers.map(Value::Integer));
            let sql = format!(
                "SELECT id, recorded, body FROM row WHERE {condition} {of_others} at >= ? AND at < ?
                 AND (at, id) > (?, ?) ORDER BY at, id"
            );
            self.select(&sql, values, |row| Ok(take(row)))
        };
        run().map_err(|error| explain(&self.path, &error))
    }

    fn select(
        &self,
        sql: &str,
        values: Vec<Value>,
        mut take: impl FnMut(Row) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<()> {
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows = select.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let (id, recorded) = (row.get(0)?, row.get(1)?);
            let body = row.get_ref(2)?.as_blob()?;
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let interrupted = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT);
                return Err(rusqlite::Error::SqliteFailure(interrupted, None));
            }
            let mut texts = self.texts.borrow_mut();
            let row = unpack(&self.connection, &mut texts, id, recorded, body)?;
            drop(texts);
            if !take(row)? {
                break;
            }
        }
        Ok(())
    }

    /// The part of the condition that an index helps with, up to its `AND`; `None` if nothing can fit.
    fn condition(&self, query: &Query) -> rusqlite::Result<Option<(String, Vec<Value>)>> {
        let is_usage = query.filters.contains(&Filter::Usage);
        let prefix = if is_usage { format!("kind = {USAGE_KIND} AND ") } else { String::new() };
        for filter in &query.filters {
            let column = match filter {
                Filter::Actor(actor) => {
                    let Some(number) = find_text(&self.connection, actor)? else { return Ok(None) };
                    let values = vec![Value::Integer(number), Value::Integer(number)];
                    let condition = format!("({prefix}actor = ? OR {prefix}behalf = ?) AND");
                    return Ok(Some((condition, values)));
                }
                Filter::Object { resource, namespace, name } => {
                    return self.objects(Some(resource), namespace.as_deref(), name.as_deref());
                }
                Filter::Namespace(namespace) => {
                    return self.objects(None, Some(namespace), None);
                }
                Filter::Source(text) => ("source", text),
                Filter::Credential(text) => ("credential", text),
                Filter::Permission(text) => ("permission", text),
                Filter::Entries(kind) => {
                    let kind = Value::Integer(*kind as i64 + 1);
                    return Ok(Some(("kind = ? AND kind > 0 AND".to_owned(), vec![kind])));
                }
                Filter::Class(_)
                | Filter::Verbs(_)
                | Filter::Cluster(_)
                | Filter::Accesses
                | Filter::Usage => continue,
            };
            let (column, text) = column;
            let Some(number) = find_text(&self.connection, text)? else { return Ok(None) };
            let condition = format!("{prefix}{column} = ? AND");
            return Ok(Some((condition, vec![Value::Integer(number)])));
        }
        Ok(Some((prefix, Vec::new())))
    }

    /// Rows about some objects, those among them that name none.
    fn objects(
        &self,
        resource: Option<&str>,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> rusqlite::Result<Option<(String, Vec<Value>)>> {
        let (mut parts, mut values) = (Vec::new(), Vec::new());
        for (column, text, is_exact) in [
            ("resource", resource, true),
            ("namespace", namespace, resource.is_none()),
            ("name", name, false),
        ] {
            let Some(text) = text else { continue };
            match find_text(&self.connection, text)? {
                Some(number) if is_exact => parts.push((format!("{column} = ?"), Some(number))),
                Some(number) => {
                    parts.push((format!("({column} = ? OR {column} IS NULL)"), Some(number)));
                }
                None if is_exact => return Ok(None),
                None => parts.push((format!("{column} IS NULL"), None)),
            }
        }
        values.extend(parts.iter().filter_map(|(_, number)| number.map(Value::Integer)));
        let conditions: Vec<String> = parts.into_iter().map(|(text, _)| text).collect();
        let conditions = conditions.join(" AND ");
        Ok(Some((format!("object IN (SELECT id FROM object WHERE {conditions}) AND"), values)))
    }

    /// Whether a text stands in a column of a row.
    pub(super) fn has_text(&self, column: &str, text: &str) -> Result<bool, ArchiveError> {
        let run = || -> rusqlite::Result<bool> {
            let Some(number) = find_text(&self.connection, text)? else { return Ok(false) };
            let sql = format!("SELECT EXISTS (SELECT 1 FROM row WHERE {column} = ?1)");
            self.connection.prepare_cached(&sql)?.query_row([number], |row| row.get(0))
        };
        run().map_err(|error| explain(&self.path, &error))
    }

    /// Up to so many texts that stand in a column.
    pub(super) fn texts_of(&self, column: &str, limit: usize) -> Result<Vec<String>, ArchiveError> {
        let run = || -> rusqlite::Result<Vec<String>> {
            let sql = format!(
                "SELECT text FROM text WHERE id IN (SELECT DISTINCT {column} FROM row) LIMIT ?1"
            );
            let mut select = self.connection.prepare_cached(&sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let texts = select.query_map([limit], |row| row.get(0))?;
            texts.collect()
        };
        run().map_err(|error| explain(&self.path, &error))
    }

    /// Whether SQLite finds its file whole.
    pub(super) fn integrity(&self) -> Result<(), ArchiveError> {
        let found: String = self
            .connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(|error| explain(&self.path, &error))?;
        if found == "ok" { Ok(()) } else { Err(super::failed(&self.path, found)) }
    }
}
