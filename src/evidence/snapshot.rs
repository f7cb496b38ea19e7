//! What is needed of an alert's JSON, as the ledger and packages have it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::event_ref::EventPosition;

/// What is needed of the JSON of an alert.
#[derive(Debug, Deserialize)]
pub(super) struct Snapshot {
    pub(super) starts_at: String,
    pub(super) first_seen: String,
    pub(super) last_seen: String,
    pub(super) value: f64,
    pub(super) key: BTreeMap<String, String>,
    pub(super) evidence: Vec<SnapshotEvidence>,
}

/// One event that an alert shows.
#[derive(Debug, Deserialize)]
pub(super) struct SnapshotEvidence {
    pub(super) time: String,
    pub(super) position: Option<EventPosition<String>>,
    pub(super) audit_id: Option<String>,
    pub(super) event_hash: Option<String>,
}
