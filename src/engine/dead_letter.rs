//! What gave no events, and why: dead letters, kept for people by the shell, and messages that are known
//! to hold none. Both are counted by reason; a record that is neither, and gave no event, does not exist.

use std::sync::Arc;

use super::{record::PartitionName, words::words};

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
    /// The payload, or the part of it, cut at 1 MiB, with secrets redacted; empty for a tombstone.
    pub payload: Vec<u8>,
}

words! {
    /// Why something could not be decoded. Metric label `reason`.
    pub enum DeadLetterReason {
        /// A record without a value.
        Tombstone = "tombstone",
        /// No bytes, or white space only.
        Empty = "empty",
        /// Not JSON.
        NotJson = "not_json",
        /// JSON that stops early. What stands before the cut was matched if it is an event with a time.
        Truncated = "truncated",
        /// A part of a line that a container runtime split, without the others. What stands in it was
        /// matched like an event that was cut.
        PartOfLine = "part_of_line",
        /// Bytes that are not UTF-8.
        InvalidUtf8 = "invalid_utf8",
        /// Nested deeper than [`super::limits::JSON_DEPTH_MAX`].
        TooDeep = "too_deep",
        /// More than [`super::limits::RECORD_BYTES_MAX`].
        TooLarge = "too_large",
        /// More events than [`super::limits::EVENTS_PER_RECORD_MAX`].
        TooManyEvents = "too_many_events",
        /// JSON, but neither an audit event nor a wrapper of one that we know.
        NotAnEvent = "not_an_event",
        /// A format that is known, and not read.
        OtherFormat = "other_format",
        /// No `auditID`.
        NoAuditId = "no_audit_id",
        /// No `verb`.
        NoVerb = "no_verb",
        /// No usable time: neither in the event, nor in what surrounds it, nor of its record.
        NoTime = "no_time",
        /// Nothing came of it. The decoder has a fault, and should be told of the record.
        Unaccounted = "unaccounted",
    }
}

words! {
    /// A message, or a part of one, that is known to hold no audit event. Metric label `kind`.
    pub enum ControlMessage {
        /// A shipper's test of the way: CloudWatch's `CONTROL_MESSAGE`.
        Check = "check",
        /// A list without items, a batch without records.
        Empty = "empty",
        /// Another log of the control plane: its scheduler, its authenticator.
        OtherLog = "other_log",
        /// Another service of the same cloud.
        OtherService = "other_service",
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
