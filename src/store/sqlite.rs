//! The checkpoint of a single process: one SQLite file, so that a commit is one transaction.
//!
//! `<dir>/tripline.db` holds positions, one table for each kind of engine state, and the ledger.
//! It is in WAL mode, so people may read it with `sqlite3` while Tripline runs. A second Tripline is
//! kept out by a lock on `<dir>/tripline.lock`, which the kernel drops when the process dies; SQLite's
//! own exclusive mode would keep readers out too. This is the only module that names SQLite.
//!
//! `synchronous=FULL` makes each commit wait for one fsync of the WAL: a commit that returned is
//! there after a power cut. A commit that failed may or may not be: its positions and changes may be
//! written again, which changes nothing.

use std::{
    fs::File,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, params};

use super::{
    Checkpoint, LEDGER_AGE_MAX, LEDGER_ROWS_MAX, LedgerRow, Loaded, Store, StoreError, files,
};
use crate::engine::{
    record::{PartitionName, Position},
    shard::{StateChange, StateEntry, StateTable},
};

/// Name of the database within the state directory.
pub const FILE_NAME: &str = "tripline.db";

/// Name of the lock file within the state directory. It holds the owner's process id, for people.
pub const LOCK_NAME: &str = "tripline.lock";

/// Marks the file as ours (`PRAGMA application_id`): the letters `TRIP`.
const APPLICATION_ID: i64 = 0x5452_4950;

/// The schema that this version writes (`PRAGMA user_version`), from 1.
const SCHEMA: i64 = 1;

/// How long a commit waits for somebody who writes into the file by hand: 5 s. Then it fails with
/// [`StoreError::Io`] and is tried again by the caller.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Everything but the tables of engine state, which are made from [`StateTable::ALL`].
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS position (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL, log TEXT,
        PRIMARY KEY (topic, partition)
    ) WITHOUT ROWID;
    -- rows of the ledger that the archive does not have yet
    CREATE TABLE IF NOT EXISTS spool (id INTEGER PRIMARY KEY, row BLOB NOT NULL);
    -- where what belongs to this state is kept, if that is not beside it: bytes of a path
    CREATE TABLE IF NOT EXISTS place (name TEXT PRIMARY KEY, path BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS ledger (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL, -- microseconds since 1970
        kind TEXT NOT NULL, subject TEXT NOT NULL, party TEXT NOT NULL,
        what TEXT NOT NULL, detail TEXT NOT NULL
    );";

/// The embedded store.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// Which file it is: device and number.
    identity: (u64, u64),
    connection: Connection,
    /// Held for as long as the store lives.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store in `dir`, or makes it. Directories get mode 0700, files 0600.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it, [`StoreError::Newer`] if a newer Tripline
    /// wrote it, [`StoreError::Io`] for the rest, with what to do about it.
    pub fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
        let path = dir.join(FILE_NAME);
        let broken = |what: &str, error: &std::io::Error| of_system(&path, what, error);
        files::make_directory(dir)
            .map_err(|error| broken("cannot make the state directory", &error))?;
        let lock = lock(dir, &path)?;
        // SQLite gives `-wal` and `-shm` the mode of the database itself, and follows no link to them.
        files::open(&path).map_err(|error| broken("cannot write the file", &error))?;
        // SQLite refuses links anywhere in a path, and those above the directory are the operator's own.
        let real = dir
            .canonicalize()
            .map_err(|error| broken("cannot find the state directory", &error))?
            .join(FILE_NAME);
        let mut connection = connect(&real).map_err(|error| explain(&path, &error))?;
        // Before anything is changed: another program's file is left as it is.
        check_owner(&path, &connection)?;
        let migrated =
            set_up(&connection).and_then(|()| connection.transaction()).and_then(create_schema);
        migrated.map_err(|error| explain(&path, &error))?;
        let identity =
            files::identity_of(&path).map_err(|error| broken("cannot find the file", &error))?;
        Ok(SqliteStore { path, identity, connection, _lock: lock })
    }

    /// Remembers where the months of the ledger are, for whoever knows the state directory alone; `None` if they are in
    /// their usual place within it, wherever that is copied to.
    ///
    /// # Errors
    /// As of a commit.
    pub fn remember_ledger(&mut self, directory: Option<&Path>) -> Result<(), StoreError> {
        let done = match directory {
            Some(directory) => self.connection.execute(
                "INSERT INTO place (name, path) VALUES ('ledger', ?1)
                 ON CONFLICT DO UPDATE SET path = excluded.path",
                [directory.as_os_str().as_bytes()],
            ),
            None => self.connection.execute("DELETE FROM place WHERE name = 'ledger'", []),
        };
        done.map(drop).map_err(|error| explain(&self.path, &error))
    }

    /// The newest rows of the ledger, at most `limit`, oldest first.
    ///
    /// # Errors
    /// [`StoreError::Io`] if they cannot be read.
    pub fn ledger(&mut self, limit: u32) -> Result<Vec<LedgerRow>, StoreError> {
        read_ledger(&self.connection, limit).map_err(|error| explain(&self.path, &error))
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        load(&mut self.connection).map_err(|error| explain(&self.path, &error))
    }

    fn old_ledger(
        &mut self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, LedgerRow)>, StoreError> {
        let rows = "SELECT * FROM ledger WHERE id > ?2 ORDER BY id LIMIT ?1";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        read_rows(&self.connection, rows, params![limit, after])
            .map_err(|error| explain(&self.path, &error))
    }

    fn old_ledger_end(&mut self) -> Result<i64, StoreError> {
        let sql = "SELECT ifnull(max(id), 0) FROM ledger";
        self.connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(|error| explain(&self.path, &error))
    }

    fn check(&self) -> Result<(), StoreError> {
        let is_there = files::identity_of(&self.path).is_ok_and(|found| found == self.identity);
        let gone = || StoreError::Gone { path: self.path.display().to_string() };
        if is_there { Ok(()) } else { Err(gone()) }
    }

    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        if checkpoint.is_empty() {
            return Ok(());
        }
        // Into a file that nobody will find again it would be written without an error.
        self.check()?;
        write(&mut self.connection, checkpoint).map_err(|error| explain(&self.path, &error))
    }
}

fn lock(dir: &Path, path: &Path) -> Result<File, StoreError> {
    let lock_path = dir.join(LOCK_NAME);
    let locked = files::lock(&lock_path).map_err(|error| {
        of_system(path, &format!("cannot lock {}", lock_path.display()), &error)
    })?;
    locked.ok_or_else(|| StoreError::Locked { path: path.display().to_string() })
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    // WAL survives a crash at any point and needs one fsync per commit rather than two.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;",
    )?;
    // A WAL that a long commit made large is cut back to 64 MiB.
    connection.query_row("PRAGMA journal_size_limit = 67108864", [], |_| Ok(()))
}

/// Refuses what another program or a newer Tripline wrote.
fn check_owner(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let number = |pragma: &str| {
        connection
            .query_row(pragma, [], |row| row.get::<_, i64>(0))
            .map_err(|error| explain(path, &error))
    };
    let owner = number("PRAGMA application_id")?;
    let found = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    if owner != APPLICATION_ID && (owner != 0 || tables != 0) {
        return Err(StoreError::Io {
            path: path.display().to_string(),
            detail: "it is a SQLite file of another program; choose another state directory"
                .to_owned(),
        });
    }
    if found > SCHEMA {
        return Err(StoreError::Newer { path: path.display().to_string(), found, known: SCHEMA });
    }
    Ok(())
}

/// Makes what is missing. Steps from older schemas belong here, before the version is written.
fn create_schema(transaction: Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(TABLES)?;
    // Earlier versions of this schema had no `log`; they go on without it.
    let has_log = "SELECT count(*) FROM pragma_table_info('position') WHERE name = 'log'";
    if transaction.query_row(has_log, [], |row| row.get::<_, i64>(0))? == 0 {
        transaction.execute_batch("ALTER TABLE position ADD COLUMN log TEXT")?;
    }
    for table in StateTable::ALL {
        transaction.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS {} (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
            table.as_str()
        ))?;
    }
    transaction.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA};"
    ))?;
    transaction.commit()
}

fn load(connection: &mut Connection) -> rusqlite::Result<Loaded> {
    // One transaction, so that all tables are read as of the same commit.
    let transaction = connection.transaction()?;
    let mut loaded = Loaded::default();
    {
        let mut select = transaction
            .prepare("SELECT topic, partition, next_offset, log FROM position ORDER BY 1, 2")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let partition = PartitionName::new(row.get::<_, String>(0)?, row.get(1)?);
            let next_offset = row.get(2)?;
            let log = row.get::<_, Option<String>>(3)?.map(Arc::from);
            loaded.positions.push(Position { partition: Arc::new(partition), next_offset, log });
        }
    }
    for table in StateTable::ALL {
        let sql = format!("SELECT key, value FROM {} ORDER BY key", table.as_str());
        let mut select = transaction.prepare(&sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            loaded.entries.push(StateEntry { table, key: row.get(0)?, value: row.get(1)? });
        }
    }
    {
        let mut select = transaction.prepare("SELECT row FROM spool ORDER BY id")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let bytes: Vec<u8> = row.get(0)?;
            // One that cannot be read is a hole, which the archive and its readers name.
            loaded.spool.extend(postcard::from_bytes(&bytes).ok().map(Arc::new));
        }
    }
    transaction.finish()?;
    Ok(loaded)
}

fn write(connection: &mut Connection, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut upsert = transaction.prepare_cached(
            "INSERT INTO position (topic, partition, next_offset, log) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset, log = excluded.log",
        )?;
        for Position { partition, next_offset, log } in &checkpoint.positions {
            let topic = partition.stored_topic();
            upsert.execute(params![topic, partition.partition, next_offset, log.as_deref()])?;
        }
    }
    for table in StateTable::ALL {
        write_changes(&transaction, table, &checkpoint.changes)?;
    }
    write_ledger(&transaction, &checkpoint.ledger)?;
    write_spool(&transaction, checkpoint)?;
    transaction.commit()
}

fn write_changes(
    transaction: &Transaction<'_>,
    table: StateTable,
    changes: &[StateChange],
) -> rusqlite::Result<()> {
    let mut ours = changes.iter().filter(|change| change.table == table).peekable();
    if ours.peek().is_none() {
        return Ok(());
    }
    let name = table.as_str();
    let mut upsert = transaction.prepare_cached(&format!(
        "INSERT INTO {name} (key, value) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET value = excluded.value"
    ))?;
    let mut delete = transaction.prepare_cached(&format!("DELETE FROM {name} WHERE key = ?1"))?;
    for change in ours {
        match &change.value {
            Some(value) => upsert.execute(params![change.key, value])?,
            None => delete.execute(params![change.key])?,
        };
    }
    Ok(())
}

/// Adds rows of the ledger, and takes those away that the archive has.
fn write_spool(transaction: &Transaction<'_>, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM spool WHERE id <= ?1")?
        .execute(params![checkpoint.archived_through.cast_signed()])?;
    let mut insert =
        transaction.prepare_cached("INSERT OR REPLACE INTO spool (id, row) VALUES (?1, ?2)")?;
    for row in &checkpoint.rows {
        let bytes = postcard::to_stdvec(&**row)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        insert.execute(params![row.id.cast_signed(), bytes])?;
    }
    Ok(())
}

/// Appends rows and drops what is too old or too much. Only the oldest rows are looked at, twice as
/// many as were added, so the cost follows the commit and not the ledger.
fn write_ledger(transaction: &Transaction<'_>, rows: &[LedgerRow]) -> rusqlite::Result<()> {
    let Some(newest) = rows.iter().map(|row| row.at).max() else { return Ok(()) };
    let mut insert = transaction.prepare_cached(
        "INSERT INTO ledger (at, kind, subject, party, what, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for row in rows {
        insert.execute(params![
            row.at.micros(),
            row.kind,
            row.subject,
            row.party,
            row.what,
            row.detail
        ])?;
    }
    let rows_max = i64::try_from(LEDGER_ROWS_MAX).unwrap_or(i64::MAX);
    transaction
        .prepare_cached("DELETE FROM ledger WHERE id <= ?1")?
        .execute(params![transaction.last_insert_rowid() - rows_max])?;
    let looked_at = i64::try_from(rows.len()).unwrap_or(i64::MAX / 4) * 2 + 16;
    transaction
        .prepare_cached(
            "DELETE FROM ledger WHERE id IN (
                SELECT id FROM (SELECT id, at FROM ledger ORDER BY id LIMIT ?1) WHERE at < ?2
            )",
        )?
        .execute(params![looked_at, newest.minus(LEDGER_AGE_MAX).micros()])?;
    Ok(())
}

fn read_ledger(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<LedgerRow>> {
    let newest = "SELECT * FROM ledger ORDER BY id DESC LIMIT ?1";
    let rows = read_rows(connection, newest, params![limit])?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// The rows of the ledger that a query selects, by their numbers.
fn read_rows(
    connection: &Connection,
    rows: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<(i64, LedgerRow)>> {
    use crate::engine::time::WallTime;
    let sql =
        format!("SELECT at, kind, subject, party, what, detail, id FROM ({rows}) ORDER BY id");
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select.query_map(values, |row| {
        let kind: String = row.get(1)?;
        let ledger_row = LedgerRow {
            at: WallTime::from_micros(row.get(0)?),
            kind: if kind == "alert" { "alert" } else { "delivery" },
            subject: row.get(2)?,
            party: row.get(3)?,
            what: row.get(4)?,
            detail: row.get(5)?,
        };
        Ok((row.get(6)?, ledger_row))
    })?;
    rows.collect()
}

/// What the operating system refused.
fn of_system(path: &Path, what: &str, error: &std::io::Error) -> StoreError {
    use std::io::ErrorKind as Kind;
    let path = path.display().to_string();
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
            StoreError::Full { path, detail: format!("{what}: {error}; make room") }
        }
        _ => StoreError::Io { path, detail: format!("{what}: {error}") },
    }
}

/// What went wrong, and what to do about it.
fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full; make room, nothing is lost meanwhile",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "it cannot be written; check the owner and mode of the state directory"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program is writing into it; end that program's transaction"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the file is damaged; put back a copy, or move the state directory away: Tripline then \
             goes on from the offsets that it committed to Kafka and rebuilds windows from the log"
        }
        Some(ErrorCode::SystemIoFailure) => "the disk failed; look into the system log",
        _ => "",
    };
    let detail = if hint.is_empty() { error.to_string() } else { format!("{hint} ({error})") };
    let path = path.display().to_string();
    match error.sqlite_error_code() {
        // A quota, too, is only a failure of the disk to SQLite.
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => StoreError::Full { path, detail },
        _ => StoreError::Io { path, detail },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn text(error: Result<SqliteStore, StoreError>) -> String {
        error.expect_err("it must be refused").to_string()
    }

    #[test]
    fn files_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/b");
        let mut store = SqliteStore::open(&state).unwrap();
        let ledger = vec![];
        let changes = vec![StateChange {
            table: StateTable::Alert,
            key: b"k".to_vec(),
            value: Some(b"v".to_vec()),
        }];
        store.commit(&Checkpoint { changes, ledger, ..Checkpoint::default() }).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state), 0o700);
        for name in [FILE_NAME, LOCK_NAME, "tripline.db-wal"] {
            assert_eq!(mode(&state.join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn a_second_owner_is_kept_out_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = SqliteStore::open(dir.path()).unwrap();
        assert!(matches!(SqliteStore::open(dir.path()), Err(StoreError::Locked { .. })));
        drop(first);
        SqliteStore::open(dir.path()).unwrap();
    }

    #[test]
    fn links_are_followed_to_the_directory_but_not_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (state, link) = (dir.path().join("state"), dir.path().join("link"));
        drop(SqliteStore::open(&state).unwrap());
        symlink(&state, &link).unwrap();
        drop(SqliteStore::open(&link).unwrap());
        for name in [FILE_NAME, LOCK_NAME] {
            let (path, elsewhere) = (state.join(name), dir.path().join(name));
            std::fs::rename(&path, &elsewhere).unwrap();
            symlink(&elsewhere, &path).unwrap();
            let message = text(SqliteStore::open(&state));
            assert!(message.contains("symbolic link"), "{message}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE cats (name)").unwrap();
        assert!(text(SqliteStore::open(dir.path())).contains("another program"));
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(dir.path()).unwrap());
        let connection = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        connection.execute_batch("PRAGMA user_version = 99").unwrap();
        let error = SqliteStore::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 99, known: SCHEMA, .. }), "{error}");
    }

    #[test]
    fn a_damaged_file_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), vec![0x5a; 8_192]).unwrap();
        let message = text(SqliteStore::open(dir.path()));
        assert!(message.contains("damaged") && message.contains(FILE_NAME), "{message}");
    }

    #[test]
    fn a_file_that_is_deleted_or_replaced_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(dir.path()).unwrap();
        let partition = Arc::new(PartitionName::new("audit", 3));
        let positions = vec![Position::new(partition, 7)];
        let checkpoint = Checkpoint { positions, ..Checkpoint::default() };
        store.commit(&checkpoint).unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::copy(&path, dir.path().join("copy")).unwrap();
        std::fs::rename(dir.path().join("copy"), &path).unwrap();
        assert!(matches!(store.commit(&checkpoint), Err(StoreError::Gone { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(store.check(), Err(StoreError::Gone { .. })));
    }

    #[test]
    fn people_may_read_while_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(dir.path()).unwrap();
        let reader = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        let partition = Arc::new(PartitionName::new("audit", 3));
        let positions = vec![Position::new(partition, 7)];
        store.commit(&Checkpoint { positions, ..Checkpoint::default() }).unwrap();
        let offset: i64 = reader
            .query_row("SELECT next_offset FROM position WHERE topic = 'audit'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(offset, 7);
    }
}
