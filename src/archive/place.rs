//! Where a process keeps its ledger, for those who read it while it runs.

use std::path::{Path, PathBuf};

use super::{ArchiveError, DIRECTORY_NAME, months, reader::Reader};

/// Where the ledger of a running process is.
#[derive(Clone, Debug)]
pub struct LedgerPlace {
    state: PathBuf,
    /// With its months; `None` if they are in the state directory.
    directory: Option<PathBuf>,
}

impl LedgerPlace {
    /// Of a process with this state directory and these months.
    pub fn new(state: &Path, directory: &Path) -> LedgerPlace {
        let is_inside = state.join(DIRECTORY_NAME) == directory;
        LedgerPlace {
            state: state.to_owned(),
            directory: (!is_inside).then(|| directory.to_owned()),
        }
    }

    /// Whether there is anything yet: the first month comes with the first checkpoint.
    pub fn has_begun(&self) -> bool {
        let inside = self.state.join(DIRECTORY_NAME);
        let directory = self.directory.as_deref().unwrap_or(&inside);
        directory.is_dir() && months(directory).map_or(true, |months| !months.is_empty())
    }

    /// Opens it for one question.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(&self) -> Result<Reader, ArchiveError> {
        Reader::open(&self.state, self.directory.as_deref())
    }
}
