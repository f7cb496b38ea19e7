//! Pieces of engine state as a store keeps them: opaque bytes under stable keys.

use serde::{Deserialize, Serialize};

/// One changed piece of state, for the next checkpoint. Keys are stable over restarts and edits of
/// rules; values are opaque bytes that carry their own version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// Which table of the store.
    pub table: StateTable,
    /// Unique within the table.
    pub key: Vec<u8>,
    /// `None`: forget it.
    pub value: Option<Vec<u8>>,
}

/// Tables of engine state in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateTable {
    /// Watermarks per partition.
    Watermark,
    /// Windows and other correlation state, per rule and key.
    Correlation,
    /// Request identities that were counted.
    Identity,
    /// Alerts that fire or are suppressed.
    Alert,
    /// Groups with what they owe.
    Group,
}

impl StateTable {
    /// All, in the order in which a store creates them.
    pub const ALL: [StateTable; 5] = [
        StateTable::Watermark,
        StateTable::Correlation,
        StateTable::Identity,
        StateTable::Alert,
        StateTable::Group,
    ];

    /// Name of the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            StateTable::Watermark => "watermark",
            StateTable::Correlation => "correlation",
            StateTable::Identity => "identity",
            StateTable::Alert => "alert",
            StateTable::Group => "alert_group",
        }
    }
}

/// One piece of state as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// Which table of the store.
    pub table: StateTable,
    /// Unique within the table.
    pub key: Vec<u8>,
    /// As it was handed out.
    pub value: Vec<u8>,
}
