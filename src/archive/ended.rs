//! Months that are over: each is one file without a journal, for reading only, until it is deleted with all that is its.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{ArchiveError, failed, is_month, schema::explain};

/// What SQLite keeps beside a file.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How long it is waited for readers of a month that is to be sealed: 100 ms. It is tried again and again.
const SEAL_WAIT: Duration = Duration::from_millis(100);

/// Seals a month that nobody has open for writing: what is in its journal goes into its file, and nobody writes it any more.
/// One that is not there has nothing to be sealed.
///
/// # Errors
/// Somebody reads it, or it cannot be written. It may be tried again.
pub(super) fn seal(path: &Path) -> Result<(), ArchiveError> {
    if !path.exists() {
        return Ok(());
    }
    allow_writing(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let end = || -> rusqlite::Result<()> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(SEAL_WAIT)?;
        connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
    };
    end().map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            let what = "this month is over, and some of its rows stay in its journal (`-wal`) for as long as another program \
                        reads it; copy both until then";
            failed(path, what)
        }
        _ => explain(path, &error),
    })?;
    set_mode(path, 0o400)
}

/// Whether a month is sealed.
pub(super) fn is_sealed(path: &Path) -> bool {
    let is_for_reading =
        std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o222 == 0);
    is_for_reading && BESIDE.iter().all(|suffix| !beside(path, suffix).exists())
}

/// Makes a month writable for its owner, and for nobody else.
pub(super) fn allow_writing(path: &Path) -> Result<(), ArchiveError> {
    set_mode(path, 0o600)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), ArchiveError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| failed(path, error))
}

/// The journal of a month that is written: rows that are not in its file yet.
pub(super) fn journal_of(month: &Path) -> PathBuf {
    beside(month, "-wal")
}

fn beside(month: &Path, suffix: &str) -> PathBuf {
    let mut path = month.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// Deletes a month with its journals.
pub(super) fn remove(path: &Path) -> Result<(), ArchiveError> {
    // The file first: what is left of a journal without it is no month.
    remove_file(path)?;
    BESIDE
        .iter()
        .map(|suffix| beside(path, suffix))
        .filter(|path| path.exists())
        .try_for_each(|path| remove_file(&path))
}

/// Deletes journals that are left of months up to one whose files are deleted.
pub(super) fn remove_journals(directory: &Path, through: &str) -> Result<(), ArchiveError> {
    let listed = std::fs::read_dir(directory).map_err(|error| failed(directory, error))?;
    for path in listed.filter_map(|file| Some(file.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let Some(month) = BESIDE
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix)?.strip_suffix(".db"))
            .filter(|month| is_month(month) && *month <= through)
        else {
            continue;
        };
        if !directory.join(format!("{month}.db")).exists() {
            remove_file(&path)?;
        }
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), ArchiveError> {
    std::fs::remove_file(path).map_err(|error| failed(path, error))
}
