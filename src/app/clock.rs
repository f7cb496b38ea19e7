//! The operator's clock: the only place of the pipeline that asks it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::engine::time::WallTime;

/// What the operator's clock says now.
pub fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
