//! What could not be decoded, and why: kept for people by the shell, counted by reason.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::PartitionName;

/// A record (or a part of one) that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its partition.
    pub partition: Arc<PartitionName>,
    /// Its offset.
    pub offset: i64,
    /// Why, as a bounded word.
    pub reason: DeadLetterReason,
    /// Why, for people; at most 200 bytes, without content of the record.
    pub detail: String,
    /// The payload, or the part of it, cut at 1 MiB; empty for a tombstone.
    pub payload: Vec<u8>,
}

/// Why something could not be decoded. Metric label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterReason {
    /// A record without a value.
    Tombstone,
    /// No bytes, or white space only.
    Empty,
    /// Not JSON.
    NotJson,
    /// JSON that stops early.
    Truncated,
    /// Bytes that are not UTF-8.
    InvalidUtf8,
    /// Nested deeper than [`super::limits::JSON_DEPTH_MAX`].
    TooDeep,
    /// More than [`super::limits::RECORD_BYTES_MAX`].
    TooLarge,
    /// More events than [`super::limits::EVENTS_PER_RECORD_MAX`].
    TooManyEvents,
    /// JSON, but neither an audit event nor a wrapper of one that we know.
    NotAnEvent,
    /// A field that the engine needs has another type than it must.
    WrongType,
    /// No `auditID`.
    NoAuditId,
    /// No `stage`, or one that does not exist.
    NoStage,
    /// No usable time.
    NoTime,
}

impl DeadLetterReason {
    /// All, for metrics that start at zero.
    pub const ALL: [DeadLetterReason; 13] = [
        DeadLetterReason::Tombstone,
        DeadLetterReason::Empty,
        DeadLetterReason::NotJson,
        DeadLetterReason::Truncated,
        DeadLetterReason::InvalidUtf8,
        DeadLetterReason::TooDeep,
        DeadLetterReason::TooLarge,
        DeadLetterReason::TooManyEvents,
        DeadLetterReason::NotAnEvent,
        DeadLetterReason::WrongType,
        DeadLetterReason::NoAuditId,
        DeadLetterReason::NoStage,
        DeadLetterReason::NoTime,
    ];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeadLetterReason::Tombstone => "tombstone",
            DeadLetterReason::Empty => "empty",
            DeadLetterReason::NotJson => "not_json",
            DeadLetterReason::Truncated => "truncated",
            DeadLetterReason::InvalidUtf8 => "invalid_utf8",
            DeadLetterReason::TooDeep => "too_deep",
            DeadLetterReason::TooLarge => "too_large",
            DeadLetterReason::TooManyEvents => "too_many_events",
            DeadLetterReason::NotAnEvent => "not_an_event",
            DeadLetterReason::WrongType => "wrong_type",
            DeadLetterReason::NoAuditId => "no_audit_id",
            DeadLetterReason::NoStage => "no_stage",
            DeadLetterReason::NoTime => "no_time",
        }
    }
}
