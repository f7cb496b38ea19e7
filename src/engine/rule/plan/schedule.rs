//! Weekly schedules, such as office hours.

use crate::engine::time::EventTime;

/// A named weekly schedule in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Its name in `schedules.yaml`.
    pub name: String,
    /// The zone in which its ranges are meant.
    pub zone: jiff::tz::TimeZone,
    /// Minutes of the week (Monday 00:00 = 0), half-open, sorted, disjoint; a range past midnight or
    /// past Sunday is split when it is loaded.
    pub minutes: Vec<(u16, u16)>,
    /// Dates on which nothing is inside (holidays), sorted.
    pub except: Vec<jiff::civil::Date>,
}

/// Minutes of a week.
pub(in crate::engine) const MINUTES_PER_WEEK: u16 = 7 * 1_440;

impl Schedule {
    /// Whether every time lies inside.
    pub fn is_always(&self) -> bool {
        self.minutes == [(0, MINUTES_PER_WEEK)] && self.except.is_empty()
    }

    /// Whether a time lies inside. Cost: one zone conversion, about 100 ns.
    pub fn contains(&self, time: EventTime) -> bool {
        let Ok(timestamp) = jiff::Timestamp::from_microsecond(time.micros()) else { return false };
        let local = self.zone.to_datetime(timestamp);
        if self.except.binary_search(&local.date()).is_ok() {
            return false;
        }
        let day = i32::from(local.weekday().to_monday_zero_offset());
        let minute = day * 1_440 + i32::from(local.hour()) * 60 + i32::from(local.minute());
        self.minutes
            .iter()
            .any(|(start, end)| (i32::from(*start)..i32::from(*end)).contains(&minute))
    }
}
