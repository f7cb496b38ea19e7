//! When a route is quiet: `mute_time_intervals` and `active_time_intervals`, with Alertmanager's meaning.

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::engine::time::WallTime;

/// Times are looked at again after a minute, which is as fine as they are written.
const MINUTE_MICROS: i64 = 60_000_000;

/// Several intervals under one name: a time is inside if it is inside of any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeIntervals {
    /// As routes name them.
    pub name: String,
    /// The intervals.
    pub intervals: Vec<TimeInterval>,
}

/// A time is inside if it fits all of these; what is empty fits always.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeInterval {
    /// Minutes of the day, half-open.
    pub times: Vec<(u16, u16)>,
    /// Days of the week, Sunday = 0, both ends included.
    pub weekdays: Vec<(i8, i8)>,
    /// Days of the month, from 1, or from the end from -1, both ends included.
    pub days_of_month: Vec<(i8, i8)>,
    /// Months, from 1, both ends included.
    pub months: Vec<(i8, i8)>,
    /// Years, both ends included.
    pub years: Vec<(i16, i16)>,
    /// Where the clock hangs.
    pub location: TimeZone,
}

impl TimeInterval {
    fn contains(&self, at: WallTime) -> bool {
        let Ok(timestamp) = Timestamp::from_microsecond(at.micros()) else { return false };
        let local = self.location.to_datetime(timestamp);
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute()));
        let minute = minute.unwrap_or_default();
        fits(&self.times, |(start, end)| (*start..*end).contains(&minute))
            && fits(&self.weekdays, |(first, last)| {
                (*first..=*last).contains(&local.weekday().to_sunday_zero_offset())
            })
            && fits(&self.days_of_month, |range| is_in_month(*range, local))
            && fits(&self.months, |(first, last)| (*first..=*last).contains(&local.month()))
            && fits(&self.years, |(first, last)| (*first..=*last).contains(&local.year()))
    }
}

fn fits<R>(ranges: &[R], is_inside: impl Fn(&R) -> bool) -> bool {
    ranges.is_empty() || ranges.iter().any(is_inside)
}

/// Days from the end of a month are cut to what the month has, as Alertmanager does.
fn is_in_month((first, last): (i8, i8), local: DateTime) -> bool {
    let days = local.days_in_month();
    let day = |day: i8| if day < 0 { days.saturating_add(day).saturating_add(1) } else { day };
    (day(first).max(1)..=day(last).min(days)).contains(&local.day())
}

/// When a route tells nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteTimes {
    /// `mute_time_intervals`: inside of any it is quiet.
    pub mute: Vec<Arc<TimeIntervals>>,
    /// `active_time_intervals`: if there are any, it is quiet outside of all.
    pub active: Vec<Arc<TimeIntervals>>,
}

impl RouteTimes {
    /// When to look again, if it is quiet now.
    pub(in crate::engine) fn quiet_until(&self, now: WallTime) -> Option<WallTime> {
        if self.mute.is_empty() && self.active.is_empty() {
            return None;
        }
        let is_inside = |of: &[Arc<TimeIntervals>]| {
            let mut intervals = of.iter().flat_map(|one| &one.intervals);
            intervals.any(|interval| interval.contains(now))
        };
        let is_quiet =
            is_inside(&self.mute) || (!self.active.is_empty() && !is_inside(&self.active));
        let into_minute = now.micros().rem_euclid(MINUTE_MICROS).unsigned_abs();
        let left = Duration::from_micros(MINUTE_MICROS.unsigned_abs() - into_minute);
        is_quiet.then(|| now.plus(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::time::EventTime;

    fn always() -> TimeInterval {
        TimeInterval {
            times: Vec::new(),
            weekdays: Vec::new(),
            days_of_month: Vec::new(),
            months: Vec::new(),
            years: Vec::new(),
            location: TimeZone::UTC,
        }
    }

    fn holds(interval: &TimeInterval, at: &str) -> bool {
        interval.contains(EventTime::parse(at).unwrap().as_wall())
    }

    #[test]
    fn a_time_fits_every_sort_of_range_that_is_there() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let office = TimeInterval {
            times: vec![(480, 720), (780, 1_080)],
            weekdays: vec![(1, 5)],
            location: berlin,
            ..always()
        };
        for (at, expected) in [
            ("2026-01-05T07:00:00Z", true),
            ("2026-01-05T06:59:59Z", false),
            ("2026-01-05T11:30:00Z", false),
            ("2026-01-05T16:59:59Z", true),
            ("2026-01-05T17:00:00Z", false),
            ("2026-07-06T06:00:00Z", true),
            ("2026-01-04T10:00:00Z", false),
        ] {
            assert_eq!(holds(&office, at), expected, "{at}");
        }
        assert!(holds(&always(), "2026-01-05T07:00:00Z"));
        let last_days = TimeInterval { days_of_month: vec![(-3, -1)], ..always() };
        let first_of_year = TimeInterval {
            days_of_month: vec![(1, 31)],
            months: vec![(2, 2)],
            years: vec![(2026, 2027)],
            ..always()
        };
        for (at, last, first) in [
            ("2026-02-25T10:00:00Z", false, true),
            ("2026-02-26T10:00:00Z", true, true),
            ("2026-02-28T23:59:59Z", true, true),
            ("2028-02-27T10:00:00Z", true, false),
            ("2026-03-01T10:00:00Z", false, false),
        ] {
            assert_eq!((holds(&last_days, at), holds(&first_of_year, at)), (last, first), "{at}");
        }
    }

    #[test]
    fn a_quiet_route_is_looked_at_again_at_the_next_minute() {
        let night = TimeInterval { times: vec![(0, 60)], ..always() };
        let night = Arc::new(TimeIntervals { name: "night".to_owned(), intervals: vec![night] });
        let time = |text| EventTime::parse(text).unwrap().as_wall();
        let muted = RouteTimes { mute: vec![Arc::clone(&night)], active: Vec::new() };
        let at = time("2026-01-05T00:30:30Z");
        assert_eq!(muted.quiet_until(at), Some(time("2026-01-05T00:31:00Z")));
        assert_eq!(muted.quiet_until(time("2026-01-05T01:00:00Z")), None);
        let active = RouteTimes { mute: Vec::new(), active: vec![night] };
        assert_eq!(active.quiet_until(at), None);
        assert!(active.quiet_until(time("2026-01-05T01:00:00Z")).is_some());
        assert_eq!(RouteTimes::default().quiet_until(at), None);
    }
}
