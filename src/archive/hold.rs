//! Knows whether the files that are written are still the ones that are found there, and keeps other processes out.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::{ArchiveError, failed};
use crate::store::files;

/// Name of the lock file within the directory. It holds the owner's process id, for people.
pub(super) const LOCK_NAME: &str = "ledger.lock";

/// A file that is open, and which one it is. What is written into one that nobody finds any more is lost without an error.
#[derive(Debug)]
pub(super) struct Known {
    path: PathBuf,
    identity: (u64, u64),
}

impl Known {
    /// The one that is there now.
    pub(super) fn of(path: PathBuf) -> Result<Known, ArchiveError> {
        let identity = files::identity_of(&path).map_err(|error| failed(&path, error))?;
        Ok(Known { path, identity })
    }

    /// Whether it still is. Cheap.
    pub(super) fn check(&self) -> Result<(), ArchiveError> {
        if files::identity_of(&self.path).is_ok_and(|found| found == self.identity) {
            return Ok(());
        }
        let what = "it was deleted or replaced while Tripline runs; put back the file that was there, and rows wait in the \
                    checkpoint until then";
        Err(failed(&self.path, what))
    }
}

/// The directory is written by this process alone for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    known: Known,
    /// The kernel lets go of it when the process dies.
    _file: File,
}

impl Lock {
    /// Takes it.
    pub(super) fn take(directory: &Path) -> Result<Lock, ArchiveError> {
        let path = directory.join(LOCK_NAME);
        let why = |error| {
            failed(
                &path,
                format!(
                    "cannot lock it: {error}; the ledger needs a directory that can be written, on a file system with locks"
                ),
            )
        };
        let Some(file) = files::lock(&path).map_err(why)? else {
            return Err(ArchiveError::Locked { path: directory.to_owned() });
        };
        Ok(Lock { known: Known::of(path)?, _file: file })
    }

    /// Whether others still find it.
    pub(super) fn check(&self) -> Result<(), ArchiveError> {
        self.known.check()
    }
}
