//! Alerts as earlier versions stored them.

use serde::Deserialize;

use super::TrackedAlert;
use crate::engine::{
    alert::{Alert, quota::add_actor},
    time::EventTime,
};

/// A [`TrackedAlert`] as it was stored before it knew who did it.
#[derive(Deserialize)]
struct TrackedAlertBefore {
    alert: Alert,
    until: EventTime,
    told_value: f64,
    suppressed_count: u64,
    suppress_until: Option<EventTime>,
}

impl TrackedAlert {
    /// Reads a stored one; `None` if it cannot be read.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<TrackedAlert> {
        if let Ok(entry) = postcard::from_bytes(bytes) {
            return Some(entry);
        }
        let TrackedAlertBefore { alert, until, told_value, suppressed_count, suppress_until } =
            postcard::from_bytes(bytes).ok()?;
        let mut actors = Vec::new();
        for evidence in &alert.evidence {
            add_actor(&mut actors, evidence.who().as_deref());
        }
        Some(TrackedAlert {
            suppressed_count,
            suppress_until,
            ..TrackedAlert::new(alert, until, told_value, actors)
        })
    }
}
