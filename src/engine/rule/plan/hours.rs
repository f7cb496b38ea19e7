//! When time counts by some schedules together: inside each of these, outside of those.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::schedule::Schedule;
use crate::engine::{kind::Calendar, time::EventTime};

/// Schedules, each with whether time counts inside it or outside of it. All must agree.
#[derive(Debug)]
pub(in crate::engine) struct Hours {
    /// Not empty.
    pub(in crate::engine) parts: Vec<(Schedule, bool)>,
}

impl Calendar for Hours {
    fn describe(&self) -> String {
        let word = |inside: bool| if inside { "inside" } else { "outside" };
        let parts =
            self.parts.iter().map(|(part, inside)| format!("{} {}", word(*inside), part.name));
        parts.collect::<Vec<_>>().join(" and ")
    }

    fn counts(&self, at: EventTime) -> bool {
        self.parts.iter().all(|(schedule, inside)| schedule.contains(at) == *inside)
    }

    fn same_until(&self, at: EventTime) -> EventTime {
        let ends = self.parts.iter().map(|(schedule, _)| same_until(schedule, at));
        ends.min().unwrap_or(EventTime::MAX)
    }
}

const MINUTES_PER_DAY: i32 = 1_440;

/// The end of the day, of a range, or of the zone's present offset, whichever comes first.
fn same_until(schedule: &Schedule, at: EventTime) -> EventTime {
    let Ok(now) = Timestamp::from_microsecond(at.micros()) else { return EventTime::MAX };
    let zone = &schedule.zone;
    let local = zone.to_datetime(now);
    let midnight =
        local.date().tomorrow().ok().map(|date| date.to_datetime(jiff::civil::Time::MIN));
    let day = i32::from(local.weekday().to_monday_zero_offset()) * MINUTES_PER_DAY;
    let of_day =
        schedule.minutes.iter().flat_map(|(start, end)| [*start, *end]).filter_map(|minute| {
            let minute = i32::from(minute) - day;
            let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
            let time = jiff::civil::Time::new(hour, minute, 0, 0).ok()?;
            Some(local.date().to_datetime(time))
        });
    let boundaries = of_day.chain(midnight).flat_map(|boundary| moments(zone, boundary));
    let transition = zone.following(now).next().map(|transition| transition.timestamp());
    boundaries
        .chain(transition)
        .map(|moment| EventTime::from_micros(moment.as_microsecond()))
        .filter(|moment| *moment > at)
        .min()
        .unwrap_or(EventTime::MAX)
}

/// The moments at which clocks of a zone show a time: two in the hour that comes twice.
fn moments(zone: &TimeZone, shown: DateTime) -> impl Iterator<Item = Timestamp> {
    let shown = zone.to_ambiguous_timestamp(shown);
    [shown.earlier(), shown.later()].into_iter().filter_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks through two weeks around the change of the clocks, minute by minute.
    #[test]
    fn it_says_the_same_until_it_says_something_else() {
        let schedule = |zone: &str, minutes: Vec<(u16, u16)>| Schedule {
            name: zone.to_owned(),
            zone: TimeZone::get(zone).unwrap(),
            minutes,
            except: vec!["2026-10-21".parse().unwrap()],
        };
        // Mondays to Wednesdays from 8 to 18, and Saturday night until Sunday, half past two.
        let berlin = (0..3).map(|day| (day * 1_440 + 480, day * 1_440 + 1_080));
        let berlin = schedule("Europe/Berlin", berlin.chain([(8_640, 8_640 + 150)]).collect());
        let hours = Hours {
            parts: vec![(berlin, true), (schedule("America/New_York", vec![(300, 420)]), false)],
        };
        for start in ["2026-10-17T22:00:00Z", "2026-03-22T23:00:00Z"] {
            let start = EventTime::parse(start).unwrap();
            let minute = std::time::Duration::from_secs(60);
            let mut changes = 0;
            for minutes in 0..14 * 1_440 {
                let at = start.plus(minute * minutes);
                let until = hours.same_until(at);
                let next = at.plus(minute);
                assert!(until > at, "{at}");
                if hours.counts(at) != hours.counts(next) {
                    assert_eq!(until, next, "{at}");
                    changes += 1;
                }
            }
            assert!(changes > 12, "{changes}");
        }
    }
}
