//! Entries that somebody brings while no process runs, into the state that the next one goes on from.

use std::path::Path;

use super::clock::now;
use crate::{
    archive::{ArchiveError, last_row, not_there, place_of_months},
    engine::{ledger::Entry, member::append_entries},
    store::{
        Store as _, StoreError,
        sqlite::{FILE_NAME, SqliteStore},
    },
};

/// Puts entries behind all rows of the ledger, in one transaction, under the lock of the state. `ledger` is where its months
/// are, if it is not where its process keeps them.
///
/// # Errors
/// There is no state, its months are not there, a process has it open, or it cannot be written. Nothing was changed then.
pub fn import_into_state(
    state: &Path,
    ledger: Option<&Path>,
    entries: Vec<Entry>,
) -> Result<(), StoreError> {
    let path = state.join(FILE_NAME);
    let failed = |detail: String| StoreError::Io { path: path.display().to_string(), detail };
    if !path.exists() {
        let detail = "there is no state of `tripline run` here; name its directory with --state";
        return Err(failed(detail.to_owned()));
    }
    let mut store = SqliteStore::open(state)?;
    let loaded = store.load()?;
    let unreadable = |error: ArchiveError| failed(error.to_string());
    let directory = ledger.map_or_else(|| place_of_months(state), |named| Ok(named.to_owned()));
    let directory = directory.map_err(unreadable)?;
    let archive = last_row(&directory).map_err(unreadable)?;
    let spool = not_there(&directory, loaded.spool).map_err(unreadable)?;
    let checkpoint = append_entries(loaded.entries, spool, archive, now(), entries);
    store.commit(&checkpoint)
}
