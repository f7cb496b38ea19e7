//! Makes the engine's state durable: positions, state, outbox and ledger in one atomic commit.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

pub mod dead_letter;
pub mod dead_letter_topic;
pub(crate) mod files;
pub mod kept;
pub mod memory;
pub mod sqlite;

use std::{sync::Arc, time::Duration};

use crate::engine::{ledger::Row, record::Position, shard::StateEntry};

pub use crate::engine::member::{Checkpoint, LedgerRow};

/// Rows of the ledger that are kept: 1,000,000, some 200 MB. The oldest go first.
pub const LEDGER_ROWS_MAX: usize = 1_000_000;

/// How long rows of the ledger are kept: 90 days before the newest row.
pub const LEDGER_AGE_MAX: Duration = Duration::from_secs(90 * 24 * 3_600);

/// A checkpoint that holds everything the engine must not forget.
///
/// `commit` is atomic and durable when it returns: after a crash, `load` gives what the last
/// successful commit left, never a part of a later one.
pub trait Store: Send {
    /// Everything that was committed.
    ///
    /// # Errors
    /// If the store cannot be read, or belongs to a newer version of Tripline.
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Applies all of `checkpoint`, or nothing. Its ledger is bounded by [`LEDGER_ROWS_MAX`] and
    /// [`LEDGER_AGE_MAX`].
    ///
    /// # Errors
    /// If it could not be made durable. The caller keeps the changes and tries again; nothing that
    /// they would release may leave the process.
    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError>;

    /// Rows of the list of alerts and deliveries that stands beside the state, behind the one with this number:
    /// so many, the oldest first, each with its number.
    ///
    /// # Errors
    /// If they cannot be read.
    fn old_ledger(&mut self, _: i64, _: usize) -> Result<Vec<(i64, LedgerRow)>, StoreError> {
        Ok(Vec::new())
    }

    /// The number of the last of these rows; 0 if there are none.
    ///
    /// # Errors
    /// If it cannot be read.
    fn old_ledger_end(&mut self) -> Result<i64, StoreError> {
        Ok(0)
    }

    /// Whether the store is still where it was. Cheap.
    ///
    /// # Errors
    /// [`StoreError::Gone`] if it is not.
    fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What a store gives back at start.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Where to go on reading.
    pub positions: Vec<Position>,
    /// Engine state, in no particular order.
    pub entries: Vec<StateEntry>,
    /// Rows of the ledger that the archive may not have yet, in their order.
    pub spool: Vec<Arc<Row>>,
}

/// Why a store failed. What the caller does: stop at `Newer` and `Locked`, wait for room at `Full`, give up
/// at `Gone`, retry at `Io`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory cannot be used as it is.
    #[error(
        "state in {path} was written by a newer version of Tripline (schema {found}, this one knows {known})"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its schema.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// Another process has it open.
    #[error("state in {path} is in use by another process")]
    Locked {
        /// The file.
        path: String,
    },
    /// There is no room on the disk.
    #[error("state in {path}: {detail}")]
    Full {
        /// The file.
        path: String,
        /// What failed, and what to do.
        detail: String,
    },
    /// The files were deleted or replaced while it was open.
    #[error(
        "state in {path}: it was deleted or replaced while Tripline runs; nothing more becomes durable. \
         Put it back or restart Tripline, which then rebuilds windows from the log"
    )]
    Gone {
        /// The file.
        path: String,
    },
    /// Anything else that failed.
    #[error("state in {path}: {detail}")]
    Io {
        /// The file.
        path: String,
        /// What the library said.
        detail: String,
    },
}
