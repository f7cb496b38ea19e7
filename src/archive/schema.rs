//! The tables of a month file, and what it says of itself.

use std::{collections::BTreeMap, path::Path, time::Duration};

use ring::rand::{SecureRandom as _, SystemRandom};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};

use super::{ArchiveError, Meta, count::counted, failed};
use crate::engine::{
    ledger::{Chain, Hash, hex_of, parse_hex},
    text::printable,
};

/// Marks the file as ours (`PRAGMA application_id`): the letters `TRIL`.
const APPLICATION_ID: i64 = 0x5452_494c;

/// The schema that this version writes (`PRAGMA user_version`), from 1. Since 2 there are uses of permissions, since 3
/// counts of rows, since 4 objects with verbs, and indexes by day. A month that was begun with an earlier one is ended
/// with the last of those.
const SCHEMA: i64 = 4;

/// The schema from which on there are uses of permissions.
const USAGE_SINCE: i64 = 2;

/// The schema from which on a file has counts.
const COUNTS_SINCE: i64 = 3;

/// The schema from which on objects are told apart by verb, and texts are indexed by day.
const DAYS_SINCE: i64 = 4;

/// How long a reader waits for the writer at most: 5 s.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Pages of the month that is written stay in memory up to 32 MiB: a row goes into up to nine indexes, and 2,000 rows change
/// some 1,000 pages of them.
const CACHE_KIB: u32 = 32_768;

/// Pages of the journal before they are moved into the file: 16,384, or 64 MiB. Pages that change again and again are
/// then moved once.
const JOURNAL_PAGES: u32 = 16_384;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS count (name TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS text (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
    -- kind 0 is an access, -1 a use of a permission; at and recorded are microseconds since 1970
    CREATE TABLE IF NOT EXISTS row (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, recorded INTEGER NOT NULL, kind INTEGER NOT NULL,
        actor INTEGER, behalf INTEGER, object INTEGER, source INTEGER, permission INTEGER,
        credential INTEGER, body BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS row_at ON row (at);
    CREATE INDEX IF NOT EXISTS row_kind ON row (kind, at) WHERE kind > 0;
    CREATE INDEX IF NOT EXISTS row_object ON row (object, at) WHERE object IS NOT NULL;
    CREATE INDEX IF NOT EXISTS usage_at ON row (kind, at) WHERE kind = -1;
    CREATE INDEX IF NOT EXISTS usage_actor ON row (kind, actor, at) WHERE kind = -1;
    CREATE INDEX IF NOT EXISTS usage_behalf ON row (kind, behalf, at)
        WHERE kind = -1 AND behalf IS NOT NULL;
    CREATE INDEX IF NOT EXISTS usage_permission ON row (kind, permission, at) WHERE kind = -1;";

/// What a month has besides since [`DAYS_SINCE`]. What was done to an object is a part of it, so that rows with
/// other verbs are not looked at. Texts are indexed by day and second. The time of an access or a use stands in its
/// column alone, not in its body.
const TABLES_BY_DAY: &str = "
    CREATE TABLE IF NOT EXISTS object (
        id INTEGER PRIMARY KEY, resource INTEGER NOT NULL, namespace INTEGER, name INTEGER, verb INTEGER
    );
    CREATE UNIQUE INDEX IF NOT EXISTS object_key
        ON object (resource, ifnull(namespace, 0), ifnull(name, 0), ifnull(verb, 0));
    CREATE INDEX IF NOT EXISTS object_namespace ON object (namespace);
    CREATE INDEX IF NOT EXISTS day_actor
        ON row (at / 86400000000, actor, at % 86400000000 / 1000000) WHERE actor IS NOT NULL;
    CREATE INDEX IF NOT EXISTS day_behalf
        ON row (at / 86400000000, behalf, at % 86400000000 / 1000000) WHERE behalf IS NOT NULL;
    CREATE INDEX IF NOT EXISTS day_source
        ON row (at / 86400000000, source, at % 86400000000 / 1000000) WHERE source IS NOT NULL;
    CREATE INDEX IF NOT EXISTS day_permission
        ON row (at / 86400000000, permission, at % 86400000000 / 1000000) WHERE permission IS NOT NULL;
    CREATE INDEX IF NOT EXISTS day_credential
        ON row (at / 86400000000, credential, at % 86400000000 / 1000000) WHERE credential IS NOT NULL;";

/// What a month had besides before [`DAYS_SINCE`].
const TABLES_BEFORE: &str = "
    CREATE TABLE IF NOT EXISTS object (
        id INTEGER PRIMARY KEY, resource INTEGER NOT NULL, namespace INTEGER, name INTEGER
    );
    CREATE UNIQUE INDEX IF NOT EXISTS object_key
        ON object (resource, ifnull(namespace, 0), ifnull(name, 0));
    CREATE INDEX IF NOT EXISTS object_namespace ON object (namespace);
    CREATE INDEX IF NOT EXISTS row_actor ON row (actor, at) WHERE actor IS NOT NULL;
    CREATE INDEX IF NOT EXISTS row_behalf ON row (behalf, at) WHERE behalf IS NOT NULL;
    CREATE INDEX IF NOT EXISTS row_source ON row (source, at) WHERE source IS NOT NULL;
    CREATE INDEX IF NOT EXISTS row_permission ON row (permission, at) WHERE permission IS NOT NULL;
    CREATE INDEX IF NOT EXISTS row_credential ON row (credential, at) WHERE credential IS NOT NULL;";

/// Tables, indexes and what else SQLite knows, by name: what it is, and the text that it was made by.
type Schema = BTreeMap<String, (String, Option<String>)>;

fn schema_of(connection: &Connection) -> rusqlite::Result<Schema> {
    let mut select = connection.prepare("SELECT name, type, sql FROM sqlite_schema")?;
    let found = select.query_map([], |row| {
        let sql: Option<String> = row.get(2)?;
        let sql = sql.map(|sql| sql.split_whitespace().collect::<Vec<_>>().join(" "));
        Ok((row.get(0)?, (row.get(1)?, sql)))
    })?;
    found.collect()
}

/// What is not as this version or earlier ones made it in a file, for people: an index that is missing, a trigger.
pub(super) fn strange_in_schema(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let version = version(connection)?;
    let ours = Connection::open_in_memory()?;
    make_tables(&ours, version >= DAYS_SINCE)?;
    let (wanted, has) = (schema_of(&ours)?, schema_of(connection)?);
    let may_lack = |name: &str| match name {
        "row_credential" => version < COUNTS_SINCE,
        _ if name.starts_with("usage_") => version < USAGE_SINCE,
        _ => (name == "count" || name == "sqlite_autoindex_count_1") && version < COUNTS_SINCE,
    };
    let missing = wanted.iter().find(|(name, _)| !has.contains_key(*name) && !may_lack(name));
    if let Some((name, (what, _))) = missing {
        return Ok(Some(format!("its {what} {name} is missing")));
    }
    let strange = has.iter().find(|(name, made)| wanted.get(*name) != Some(made));
    Ok(strange.map(|(name, (what, _))| {
        let (what, name) = (printable(what), printable(name));
        format!("its {what} {name} is not one that Tripline makes")
    }))
}

fn make_tables(connection: &Connection, is_by_day: bool) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.execute_batch(if is_by_day { TABLES_BY_DAY } else { TABLES_BEFORE })
}

/// Whether the objects of a file have verbs, and its texts are indexed by day.
pub(super) fn is_by_day(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(version(connection)? >= DAYS_SINCE)
}

/// Whether a file may have uses of permissions.
pub(super) fn has_usage(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(version(connection)? >= USAGE_SINCE)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Opens a file for writing, or makes it with what came before it. One that does not say of which ledger it is will say so:
/// of that one, or of a new one.
pub(super) fn open_for_writing(
    path: &Path,
    previous: Chain,
    ledger: Option<Hash>,
) -> Result<(Connection, Meta), ArchiveError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_WAIT)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    };
    let connection = open().map_err(|error| explain(path, &error))?;
    check_owner(path, &connection)?;
    let set_up = || -> rusqlite::Result<()> {
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch(&format!(
            "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{CACHE_KIB};
             PRAGMA wal_autocheckpoint = {JOURNAL_PAGES};"
        ))?;
        // In one step: whoever reads meanwhile sees a file without tables, or all of it.
        let step = connection.unchecked_transaction()?;
        let has = version(&step)?;
        let schema = if has == 0 || has >= DAYS_SINCE { SCHEMA } else { DAYS_SINCE - 1 };
        make_tables(&step, schema >= DAYS_SINCE)?;
        if has < COUNTS_SINCE {
            counted(&step)?.store(&step)?;
        }
        step.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {schema};"
        ))?;
        let known = "SELECT count(*) FROM meta WHERE name IN ('previous', 'last')";
        if step.query_row(known, [], |row| row.get::<_, i64>(0))? == 0 {
            write_chain(&step, "previous", previous)?;
            write_chain(&step, "last", previous)?;
        }
        let mut id = ledger.unwrap_or_default();
        if ledger.is_none() {
            SystemRandom::new().fill(&mut id).expect("the system has random numbers");
        }
        step.execute(
            "INSERT INTO meta (name, value) VALUES ('ledger', ?1) ON CONFLICT DO NOTHING",
            [hex_of(&id)],
        )?;
        step.commit()
    };
    set_up().map_err(|error| explain(path, &error))?;
    let meta = read_meta(path, &connection)?;
    Ok((connection, meta.unwrap_or(Meta { previous, last: previous, ledger })))
}

/// Whether a file has no tables yet: it is just being made, or somebody emptied it.
pub(super) fn is_empty(path: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let tables = Connection::open_with_flags(path, flags).and_then(|connection| {
        let count = "SELECT count(*) FROM sqlite_schema";
        connection.query_row(count, [], |row| row.get::<_, i64>(0))
    });
    tables.is_ok_and(|tables| tables == 0)
}

/// Whether a month never had a row, and does not say behind which one it begins: it was just being made when its process
/// died or its disk was full, and an earlier version may have gone on with what was left as if it were the first month. One
/// that somebody emptied looks the same; by the rows that come it is told apart.
///
/// # Errors
/// It cannot be read, or it is no month of a ledger.
pub(super) fn is_unbegun(path: &Path) -> Result<bool, ArchiveError> {
    let is_empty = std::fs::metadata(path).is_ok_and(|file| file.len() == 0);
    // Looked at like that, nothing of it is changed, and most have rows.
    let has_rows = || open_for_reading(path).is_ok_and(|(_, meta)| meta.last != Chain::default());
    if is_empty || has_rows() {
        return Ok(is_empty);
    }
    // A step that was not finished is rolled back by whoever may write.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.busy_timeout(BUSY_WAIT).map(|()| connection))
        .map_err(|error| explain(path, &error))?;
    check_owner(path, &connection)?;
    if read_meta(path, &connection)?.is_some_and(|meta| meta.last != Chain::default()) {
        return Ok(false);
    }
    let has_table = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'row')";
    let is = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, bool>(0))
            .map_err(|error| explain(path, &error))
    };
    Ok(!is(has_table)? || !is("SELECT EXISTS (SELECT 1 FROM row)")?)
}

/// Opens a file for reading.
pub(super) fn open_for_reading(path: &Path) -> Result<(Connection, Meta), ArchiveError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.busy_timeout(BUSY_WAIT).map(|()| connection))
        .map_err(|error| explain(path, &error))?;
    check_owner(path, &connection)?;
    let meta = read_meta(path, &connection)?
        .ok_or_else(|| failed(path, "it does not say which rows it holds: it is not whole; put back the file that was there"))?;
    Ok((connection, meta))
}

fn check_owner(path: &Path, connection: &Connection) -> Result<(), ArchiveError> {
    let number = |pragma: &str| {
        connection
            .query_row(pragma, [], |row| row.get::<_, i64>(0))
            .map_err(|error| explain(path, &error))
    };
    let owner = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if owner != APPLICATION_ID && (owner != 0 || tables != 0) {
        return Err(failed(
            path,
            "it is no month of a ledger, but a SQLite file of something else",
        ));
    }
    if version > SCHEMA {
        let detail = format!(
            "it was written by a newer version of Tripline (schema {version}, this one knows {SCHEMA})"
        );
        return Err(failed(path, detail));
    }
    Ok(())
}

/// What a file says of its rows; `None` if it has none yet.
pub(super) fn read_meta(
    path: &Path,
    connection: &Connection,
) -> Result<Option<Meta>, ArchiveError> {
    let text = |name: &str| -> Result<Option<String>, ArchiveError> {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        let found = connection.query_row(sql, [name], |row| row.get(0)).optional();
        found.map_err(|error| explain(path, &error))
    };
    let chain = |name: &str| -> Result<Option<Chain>, ArchiveError> {
        let Some(text) = text(name)? else { return Ok(None) };
        let parsed = text
            .split_once(' ')
            .and_then(|(id, head)| Some(Chain { id: id.parse().ok()?, head: parse_hex(head)? }));
        parsed.map(Some).ok_or_else(|| failed(path, format!("its `{name}` is damaged")))
    };
    let has_table: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", [], |row| row.get(0))
        .map_err(|error| explain(path, &error))?;
    if has_table == 0 {
        return Ok(None);
    }
    let ledger = text("ledger")?.as_deref().and_then(parse_hex);
    let ends = chain("previous")?.zip(chain("last")?);
    Ok(ends.map(|(previous, last)| Meta { previous, last, ledger }))
}

pub(super) fn write_chain(
    connection: &Connection,
    name: &str,
    chain: Chain,
) -> rusqlite::Result<()> {
    write_meta(connection, name, &format!("{} {}", chain.id, hex_of(&chain.head)))
}

fn write_meta(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET value = excluded.value",
        )?
        .execute(params![name, value])?;
    Ok(())
}

/// How long the longest roll-up of a month is. `None` if that is not known of all of its rows, since an earlier version
/// wrote some.
pub(super) fn read_longest(connection: &Connection) -> rusqlite::Result<Option<Duration>> {
    let sql = "SELECT longest.value, last.value FROM meta AS longest, meta AS last
               WHERE longest.name = 'longest' AND last.name = 'last'";
    let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<(String, String)> {
        Ok((row.get(0)?, row.get(1)?))
    };
    let said = connection.prepare_cached(sql)?.query_row([], read).optional()?;
    Ok(said.and_then(|(longest, last)| {
        let (micros, id) = longest.split_once(' ')?;
        let (last, _) = last.split_once(' ')?;
        (id == last).then(|| micros.parse().ok().map(Duration::from_micros))?
    }))
}

/// Says how long the longest roll-up is of all rows up to one.
pub(super) fn write_longest(
    connection: &Connection,
    longest: Duration,
    last: u64,
) -> rusqlite::Result<()> {
    write_meta(connection, "longest", &format!("{} {last}", longest.as_micros()))
}

/// What went wrong, and what to do about it.
pub(super) fn explain(path: &Path, error: &rusqlite::Error) -> ArchiveError {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; make room",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "it cannot be opened; check its owner and mode"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program holds it; end that program's transaction"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the file is damaged; put back a copy"
        }
        _ => "",
    };
    failed(path, if hint.is_empty() { error.to_string() } else { format!("{hint} ({error})") })
}
