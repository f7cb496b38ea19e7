//! What a state directory says of the ledger: where it is, rows that a process has made and its archive does not have yet,
//! and where their chain has come to.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::{ArchiveError, schema::explain};
use crate::engine::{
    ledger::{Chain, Row},
    recorder::{head_key, stored_chain},
};

/// What waits in a state directory.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Rows, in their order.
    pub(super) rows: Vec<Row>,
    /// Where the chain had come to behind the last row of all; `None` if the process has not said so yet.
    pub(super) head: Option<Chain>,
}

/// The rows of the spool behind a row; none if there is no such file or no spool in it.
pub(super) fn read(path: &Path, after: u64) -> Result<Waiting, ArchiveError> {
    if !path.exists() {
        return Ok(Waiting::default());
    }
    let run = || -> rusqlite::Result<Waiting> {
        let mut connection = open(path)?;
        // As of one moment.
        let state = connection.transaction()?;
        let mut waiting = Waiting::default();
        if !has_table(&state, "spool")? {
            return Ok(waiting);
        }
        let mut select = state.prepare("SELECT row FROM spool WHERE id > ?1 ORDER BY id")?;
        let mut rows = select.query([after.cast_signed()])?;
        while let Some(row) = rows.next()? {
            waiting.rows.extend(postcard::from_bytes(row.get_ref(0)?.as_blob()?).ok());
        }
        if has_table(&state, "recorder")? {
            let head = "SELECT value FROM recorder WHERE key = ?1";
            let head = state.query_row(head, [head_key()], |row| row.get(0)).optional()?;
            waiting.head = head.and_then(stored_chain);
        }
        Ok(waiting)
    };
    run().map_err(|error| explain(path, &error))
}

/// Where the months are, if that is not the usual place, as the process said it when it began.
pub(super) fn place_of_months(path: &Path) -> Result<Option<PathBuf>, ArchiveError> {
    if !path.exists() {
        return Ok(None);
    }
    let run = || -> rusqlite::Result<Option<PathBuf>> {
        let connection = open(path)?;
        if !has_table(&connection, "place")? {
            return Ok(None);
        }
        let place = "SELECT path FROM place WHERE name = 'ledger'";
        let place: Option<Vec<u8>> =
            connection.query_row(place, [], |row| row.get(0)).optional()?;
        Ok(place.map(|bytes| PathBuf::from(OsString::from_vec(bytes))))
    };
    run().map_err(|error| explain(path, &error))
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)";
    connection.query_row(sql, [name], |row| row.get(0))
}
