//! The stateful half of the engine: detections in, alerts out.
//!
//! A shard owns correlation state, alert lifecycle and suppression for its share of the correlation
//! keys. It knows nothing of where its detections come from.

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

/// What the engine is told about time and limits.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Tolerated disorder of event times.
    pub grace: std::time::Duration,
    /// After how long without records a partition stops holding the watermark back.
    pub idle_after: std::time::Duration,
    /// How far ahead of the operator's clock an event may claim to be and still move the watermark.
    pub skew_max: std::time::Duration,
    /// How long an alert of a plain detection rule fires after its last event.
    pub resolve_after: std::time::Duration,
}

impl Default for EngineSettings {
    fn default() -> EngineSettings {
        use super::limits;
        EngineSettings {
            grace: limits::GRACE_DEFAULT,
            idle_after: limits::IDLE_AFTER_DEFAULT,
            skew_max: limits::SKEW_MAX_DEFAULT,
            resolve_after: std::time::Duration::from_secs(300),
        }
    }
}
