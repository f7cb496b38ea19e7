//! The operator's clock: the only place of the pipeline that asks it.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::engine::time::WallTime;

/// What the operator's clock says now.
pub fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The same, but that it never goes back within one run: a clock that is set back must not make events
/// of now look as if they came from the future.
pub(super) fn never_back() -> WallTime {
    static BEGAN: OnceLock<(WallTime, Instant)> = OnceLock::new();
    let (began, at) = BEGAN.get_or_init(|| (now(), Instant::now()));
    now().max(began.plus(at.elapsed()))
}
