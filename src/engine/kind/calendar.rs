//! Time that counts only now and then: that of a schedule.

use std::{fmt::Debug, time::Duration};

use crate::engine::time::EventTime;

/// When time counts.
pub(in crate::engine) trait Calendar: Debug + Send + Sync {
    /// For people, behind a span of time: `inside office-hours`.
    fn describe(&self) -> String;

    /// Whether time counts at this moment.
    fn counts(&self, at: EventTime) -> bool;

    /// A later moment, until which [`Calendar::counts`] says the same.
    fn same_until(&self, at: EventTime) -> EventTime;
}

/// Stretches that are looked at for one answer: some 50 years of office hours. What would be later is never.
const STRETCHES_MAX: usize = 100_000;

/// How much time counts between two moments. Without a calendar all of it. Cost: some stretches a day.
pub(super) fn counted(calendar: Option<&dyn Calendar>, from: EventTime, to: EventTime) -> Duration {
    let Some(calendar) = calendar else { return to.since(from) };
    let (mut at, mut sum) = (from, Duration::ZERO);
    for _ in 0..STRETCHES_MAX {
        if at >= to {
            break;
        }
        let next = calendar.same_until(at).min(to);
        if calendar.counts(at) {
            sum += next.since(at);
        }
        at = next;
    }
    sum
}

/// The moment at which so much time has counted since another.
pub(super) fn counted_at(
    calendar: Option<&dyn Calendar>,
    from: EventTime,
    span: Duration,
) -> EventTime {
    let Some(calendar) = calendar else { return from.plus(span) };
    let (mut at, mut rest) = (from, span);
    for _ in 0..STRETCHES_MAX {
        let next = calendar.same_until(at);
        if calendar.counts(at) {
            let stretch = next.since(at);
            if stretch >= rest {
                return at.plus(rest);
            }
            rest -= stretch;
        }
        at = next;
    }
    EventTime::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first ten of every thirty seconds.
    #[derive(Debug)]
    struct Tens;

    const fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(seconds * 1_000_000)
    }

    impl Calendar for Tens {
        fn describe(&self) -> String {
            String::new()
        }

        fn counts(&self, at: EventTime) -> bool {
            at.micros().rem_euclid(30_000_000) < 10_000_000
        }

        fn same_until(&self, time: EventTime) -> EventTime {
            let start = time.micros().div_euclid(30_000_000) * 30;
            if self.counts(time) { at(start + 10) } else { at(start + 30) }
        }
    }

    #[test]
    fn only_what_lies_inside_counts() {
        let tens = || Some(&Tens as &dyn Calendar);
        for (from, to, seconds) in [(0, 10, 10), (3, 9, 6), (5, 35, 10), (12, 29, 0), (-5, 95, 35)]
        {
            assert_eq!(counted(tens(), at(from), at(to)).as_secs(), seconds, "{from} to {to}");
        }
        for (from, seconds, to) in [(0, 10, 10), (0, 11, 31), (12, 5, 35), (5, 25, 70), (12, 0, 30)]
        {
            let reached = counted_at(tens(), at(from), Duration::from_secs(seconds));
            assert_eq!(reached, at(to), "{seconds} from {from}");
        }
        assert_eq!(counted(None, at(1), at(9)).as_secs(), 8);
        assert_eq!(counted_at(None, at(1), Duration::from_secs(8)), at(9));
    }
}
