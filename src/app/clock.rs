//! The operator's clock: the only place of the pipeline that asks it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::{
    horizon::{Horizon, RunHorizon},
    state::StateEntry,
    time::WallTime,
};

/// What the operator's clock says now.
pub fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// What events are held against that claim to be from the future; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct HorizonClock {
    run: RunHorizon,
    began: Instant,
}

impl HorizonClock {
    /// Of a run that begins now, with what an earlier one has stored.
    pub(super) fn start(stored: &[StateEntry]) -> HorizonClock {
        let inherited = stored.iter().find_map(Horizon::read);
        HorizonClock { run: RunHorizon::new(now(), inherited), began: Instant::now() }
    }

    /// The horizon.
    pub(super) fn now(&self) -> WallTime {
        self.run.at(now(), self.began.elapsed())
    }
}
