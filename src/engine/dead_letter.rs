//! What could not be decoded, and why: kept for people by the shell, counted by reason.

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
    /// The payload, or the part of it, cut at 1 MiB; empty for a tombstone.
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
        /// JSON that stops early.
        Truncated = "truncated",
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
        /// A field that the engine needs has another type than it must.
        WrongType = "wrong_type",
        /// No `auditID`.
        NoAuditId = "no_audit_id",
        /// No `stage`, or one that does not exist.
        NoStage = "no_stage",
        /// No usable time.
        NoTime = "no_time",
    }
}
