//! The operator's clock was set back, and what was noted by it must not be waited for, nor begin anew.

use crate::engine::time::WallTime;

/// What the operator's clock said last, and what it says now, which is less.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct SetBack {
    before: WallTime,
    pub(in crate::engine) now: WallTime,
}

impl SetBack {
    /// `None` if it was not.
    pub(in crate::engine) fn new(before: WallTime, now: WallTime) -> Option<SetBack> {
        (now < before).then_some(SetBack { before, now })
    }

    /// A time that was noted before. If the clock has yet to come there, it is as far from the clock now as it was
    /// before: what was over is over, and a pause of which 10 s were left has 10 s left.
    pub(in crate::engine) fn of(self, time: WallTime) -> WallTime {
        if time <= self.now { time } else { time.minus(self.before.since(self.now)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_over_is_over_and_what_was_left_is_left() {
        let wall = |seconds: i64| WallTime::from_micros(seconds * 1_000_000);
        let set_back = SetBack::new(wall(5_000), wall(1_000)).unwrap();
        assert_eq!(set_back.of(wall(900)), wall(900));
        assert_eq!(set_back.of(wall(4_990)), wall(990));
        assert_eq!(set_back.of(wall(5_010)), wall(1_010));
        assert!(SetBack::new(wall(5_000), wall(5_000)).is_none());
    }
}
