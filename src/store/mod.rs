//! Makes the engine's state durable: positions, state, outbox and ledger in one atomic commit.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

pub mod dead_letter;
pub mod memory;
pub mod sqlite;

use std::time::Duration;

use crate::engine::{
    record::Position,
    shard::{StateChange, StateEntry},
    time::WallTime,
};

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

    /// Applies all of `commit`, or nothing.
    ///
    /// # Errors
    /// If it could not be made durable. The caller keeps the changes and tries again; nothing that
    /// they would release may leave the process.
    fn commit(&mut self, commit: &Commit) -> Result<(), StoreError>;
}

/// What a store gives back at start.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Where to go on reading.
    pub positions: Vec<Position>,
    /// Engine state, in no particular order.
    pub entries: Vec<StateEntry>,
}

/// What one checkpoint writes.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// New positions of partitions that moved.
    pub positions: Vec<Position>,
    /// Changed engine state; a later change of the same key wins.
    pub changes: Vec<StateChange>,
    /// What happened, for auditors. Bounded by [`LEDGER_ROWS_MAX`] and [`LEDGER_AGE_MAX`].
    pub ledger: Vec<LedgerRow>,
}

impl Commit {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.changes.is_empty() && self.ledger.is_empty()
    }
}

/// One line of the ledger: an alert's change or a delivery attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    /// When, by the operator's clock.
    pub at: WallTime,
    /// `alert` or `delivery`.
    pub kind: &'static str,
    /// Fingerprint of the alert or id of the notification.
    pub subject: String,
    /// Receiver, for deliveries; rule id, for alerts.
    pub party: String,
    /// `firing`, `resolved`, `delivered`, `retry`, `rejected` …
    pub what: String,
    /// For people.
    pub detail: String,
}

/// Why a store failed. What the caller does: stop at `Newer` and `Locked`, retry at `Io`.
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
    /// Anything else that failed.
    #[error("state in {path}: {detail}")]
    Io {
        /// The file.
        path: String,
        /// What the library said.
        detail: String,
    },
}
