//! Rows that a process has made and its archive does not have yet, for readers.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{ArchiveError, schema::explain};
use crate::engine::ledger::Row;

/// The rows of the spool behind a row, in their order; none if there is no such file or no spool in it.
pub(super) fn read(path: &Path, after: u64) -> Result<Vec<Row>, ArchiveError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let run = || -> rusqlite::Result<Vec<Row>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let has_table: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'spool'",
            [],
            |row| row.get(0),
        )?;
        if has_table == 0 {
            return Ok(Vec::new());
        }
        let mut select = connection.prepare("SELECT row FROM spool WHERE id > ?1 ORDER BY id")?;
        let mut rows = select.query([after.cast_signed()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.extend(postcard::from_bytes(row.get_ref(0)?.as_blob()?).ok());
        }
        Ok(found)
    };
    run().map_err(|error| explain(path, &error))
}
