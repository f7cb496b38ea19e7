//! What events are held against that claim to be from the future: the latest that it can be, by all that our
//! own clock has said.
//!
//! Our clock may be set back, while a process runs or between two. What happened before then seems to come
//! from the future, and events of now too. So within one run the horizon goes on as time passes, whatever
//! the clock says; and it is stored, so that a process that starts with a clock that is behind goes on from there.
//! If it was the clock before that was wrong, the horizon is too far, and events may claim so much more; it comes
//! back as the inherited one goes a little slower than time.

use std::time::Duration;

use super::{
    state::{StateEntry, StateTable},
    time::WallTime,
};

/// Its key in the table of watermarks. Names of partitions are longer.
pub(super) const KEY: &[u8] = b"h";

/// In which steps it is stored: 30 s, in microseconds. So a process for which nothing happens writes seldom, and
/// what is stored does not depend on when checkpoints are made.
const STORED_STEP: i64 = 30_000_000;

/// By which part of the time that passes an inherited horizon comes back.
const SLOWER: u32 = 64;

/// The horizon as the engine keeps it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Horizon {
    at: Option<WallTime>,
    /// What the clock said when it was there.
    clock: Option<WallTime>,
    stored: Option<WallTime>,
}

impl Horizon {
    /// Where it is; `None` before the clock has said anything.
    pub(super) const fn at(&self) -> Option<WallTime> {
        self.at
    }

    /// The clock says this by now.
    pub(super) fn look(&mut self, now: WallTime) {
        let passed = self.clock.map_or(Duration::ZERO, |before| now.since(before));
        self.at = Some(match self.at {
            Some(at) if at > now => at.plus(passed),
            _ => now,
        });
        self.clock = Some(now);
    }

    /// Events were held against this one.
    pub(super) fn used(&mut self, now: WallTime, at: WallTime) {
        (self.at, self.clock) = (Some(at), Some(now));
    }

    /// Nobody listens, or a process begins: it goes on from what is stored when somebody looks again, so that
    /// nothing depends on whether it was the same process.
    pub(super) fn rest(&mut self) {
        (self.at, self.clock) = (self.at.map(stored_step), None);
    }

    /// What to store, if that has changed since the last call.
    pub(super) fn take_moved(&mut self) -> Option<WallTime> {
        let step = Some(stored_step(self.at?));
        if self.stored == step {
            return None;
        }
        self.stored = step;
        step
    }

    pub(super) fn restore(&mut self, at: WallTime) {
        (self.at, self.stored) = (Some(at), Some(at));
    }

    /// The one that an earlier process has stored, if this entry is it.
    pub fn read(entry: &StateEntry) -> Option<WallTime> {
        if entry.table != StateTable::Watermark || entry.key != KEY {
            return None;
        }
        let mut entry = entry.clone();
        if entry.unseal() { postcard::from_bytes(&entry.value).ok() } else { None }
    }
}

/// The step that is stored of it.
fn stored_step(at: WallTime) -> WallTime {
    WallTime::from_micros(at.micros() - at.micros().rem_euclid(STORED_STEP))
}

/// The horizon of one run, for whoever detects.
#[derive(Clone, Copy, Debug)]
pub struct RunHorizon {
    began: WallTime,
    inherited: WallTime,
}

impl RunHorizon {
    /// Of a run that begins now, after one that has stored a horizon.
    pub fn new(now: WallTime, inherited: Option<WallTime>) -> RunHorizon {
        RunHorizon { began: now, inherited: inherited.unwrap_or(now) }
    }

    /// Where it is when the clock says `now`, and `passed` is how long the run lasts, by a clock that nobody sets.
    pub fn at(&self, now: WallTime, passed: Duration) -> WallTime {
        let inherited = self.inherited.plus(passed.saturating_sub(passed / SLOWER));
        now.max(self.began.plus(passed)).max(inherited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(seconds: i64) -> WallTime {
        WallTime::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_run_that_begins_with_a_clock_that_is_behind_goes_on_from_what_was_stored() {
        let run = RunHorizon::new(wall(1_000), Some(wall(8_200)));
        assert_eq!(run.at(wall(1_000), Duration::ZERO), wall(8_200));
        assert_eq!(run.at(wall(1_064), Duration::from_secs(64)), wall(8_263));
        // The clock is set right.
        assert_eq!(run.at(wall(8_265), Duration::from_secs(65)), wall(8_265));
        // It was the clock before that was wrong: some days later that is forgotten.
        let days = 600_000;
        assert_eq!(run.at(wall(1_000 + days), Duration::from_secs(600_000)), wall(1_000 + days));
    }

    #[test]
    fn a_clock_that_is_set_back_moves_nothing_within_a_run() {
        let run = RunHorizon::new(wall(1_000), None);
        assert_eq!(run.at(wall(400), Duration::from_secs(10)), wall(1_010));
        let mut horizon = Horizon::default();
        horizon.look(wall(1_000));
        horizon.look(wall(400));
        horizon.look(wall(410));
        assert_eq!(horizon.take_moved(), Some(wall(990)));
        assert_eq!(horizon.take_moved(), None);
        horizon.look(wall(420));
        assert_eq!(horizon.take_moved(), Some(wall(1_020)));
        horizon.used(wall(430), wall(1_005));
        assert_eq!(horizon.take_moved(), Some(wall(990)));
        // As if another process began.
        horizon.rest();
        horizon.look(wall(500));
        assert_eq!(horizon.at(), Some(wall(990)));
        horizon.look(wall(510));
        assert_eq!(horizon.at(), Some(wall(1_000)));
    }
}
