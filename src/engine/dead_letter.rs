//! What gave no events, and why: dead letters, kept for people by the shell, and messages that are known
//! to hold none. Both are counted by reason; a record that is neither, and gave no event, does not exist.

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
    /// JSON that stops early. What stands before the cut was matched if it is an event with a time.
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
    /// A format that is known, and not read.
    OtherFormat,
    /// No `auditID`.
    NoAuditId,
    /// No `verb`.
    NoVerb,
    /// No usable time: neither in the event, nor in what surrounds it, nor of its record.
    NoTime,
    /// Nothing came of it. The decoder has a fault, and should be told of the record.
    Unaccounted,
}

impl DeadLetterReason {
    /// All, for metrics that start at zero.
    pub const ALL: [DeadLetterReason; 14] = [
        DeadLetterReason::Tombstone,
        DeadLetterReason::Empty,
        DeadLetterReason::NotJson,
        DeadLetterReason::Truncated,
        DeadLetterReason::InvalidUtf8,
        DeadLetterReason::TooDeep,
        DeadLetterReason::TooLarge,
        DeadLetterReason::TooManyEvents,
        DeadLetterReason::NotAnEvent,
        DeadLetterReason::OtherFormat,
        DeadLetterReason::NoAuditId,
        DeadLetterReason::NoVerb,
        DeadLetterReason::NoTime,
        DeadLetterReason::Unaccounted,
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
            DeadLetterReason::OtherFormat => "other_format",
            DeadLetterReason::NoAuditId => "no_audit_id",
            DeadLetterReason::NoVerb => "no_verb",
            DeadLetterReason::NoTime => "no_time",
            DeadLetterReason::Unaccounted => "unaccounted",
        }
    }
}

/// A message, or a part of one, that is known to hold no audit event. Metric label `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControlMessage {
    /// A shipper's test of the way: CloudWatch's `CONTROL_MESSAGE`.
    Check,
    /// A list without items, a batch without records.
    Empty,
    /// Another log of the control plane: its scheduler, its authenticator.
    OtherLog,
    /// Another service of the same cloud.
    OtherService,
}

impl ControlMessage {
    /// All, for metrics that start at zero.
    pub const ALL: [ControlMessage; 4] = [
        ControlMessage::Check,
        ControlMessage::Empty,
        ControlMessage::OtherLog,
        ControlMessage::OtherService,
    ];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            ControlMessage::Check => "check",
            ControlMessage::Empty => "empty",
            ControlMessage::OtherLog => "other_log",
            ControlMessage::OtherService => "other_service",
        }
    }
}

/// How many there were of each [`ControlMessage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlCounts([u64; ControlMessage::ALL.len()]);

impl ControlCounts {
    /// Counts one.
    pub fn add(&mut self, message: ControlMessage) {
        let known = ControlMessage::ALL.iter().position(|kind| *kind == message);
        if let Some(count) = known.and_then(|index| self.0.get_mut(index)) {
            *count += 1;
        }
    }

    /// Each with its number, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (ControlMessage, u64)> {
        ControlMessage::ALL.into_iter().zip(self.0)
    }
}
