//! What was read of the ledger a moment ago, for pages that ask for the same at nearly the same time: many open the same
//! page when something fires, and most pages show what changed of alerts.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::engine::{ledger::Row, time::EventTime};

/// How long what was read is as good as new: 2 s.
const FRESH: Duration = Duration::from_secs(2);

/// Ranges that are kept: 8, the latest. Pages about a day, a week and a month are most of them.
const RANGES_MAX: usize = 8;

/// Ranges are read from minute to minute, so that pages that are opened one after another ask for the same.
const MINUTE_MICROS: i64 = 60_000_000;

/// A range, from minute to minute.
pub(super) type Minutes = (EventTime, EventTime);

/// Rows of a range in the order of time, and whether there are earlier ones that did not fit.
#[derive(Debug)]
pub(super) struct Known {
    read_at: Instant,
    pub(super) rows: Vec<Arc<Row>>,
    pub(super) is_cut: bool,
}

/// Room for the rows of one range. Whoever holds it reads them; the others wait, and find them.
pub(super) type Place = Arc<tokio::sync::Mutex<Option<Arc<Known>>>>;

/// The rows of some ranges.
#[derive(Debug, Default)]
pub(super) struct Recent {
    places: Mutex<Vec<(Minutes, Place)>>,
}

/// The minutes that a range touches.
pub(super) fn minutes_of((from, to): (EventTime, EventTime)) -> Minutes {
    let minute = |micros: i64| EventTime::from_micros(micros.saturating_mul(MINUTE_MICROS));
    let last = to.micros().saturating_add(MINUTE_MICROS - 1).div_euclid(MINUTE_MICROS);
    (minute(from.micros().div_euclid(MINUTE_MICROS)), minute(last))
}

impl Recent {
    /// The place of a range.
    pub(super) fn place(&self, minutes: Minutes) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, place)) = places.iter().find(|(known, _)| *known == minutes) {
            return Arc::clone(place);
        }
        if places.len() >= RANGES_MAX {
            places.remove(0);
        }
        let place = Place::default();
        places.push((minutes, Arc::clone(&place)));
        place
    }
}

impl Known {
    /// Read just now.
    pub(super) fn now(rows: Vec<Row>, is_cut: bool) -> Known {
        let rows = rows.into_iter().map(Arc::new).collect();
        Known { read_at: Instant::now(), rows, is_cut }
    }

    /// Whether it is as good as new.
    pub(super) fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < FRESH
    }

    /// Those of a range within it.
    pub(super) fn within(&self, (from, to): (EventTime, EventTime)) -> Vec<Arc<Row>> {
        let is_within = |row: &&Arc<Row>| (from..to).contains(&row.at());
        self.rows.iter().filter(is_within).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_the_same_minutes_have_one_place_and_old_ones_leave() {
        let recent = Recent::default();
        let range = |from: i64, to: i64| {
            minutes_of((EventTime::from_micros(from), EventTime::from_micros(to)))
        };
        let first = recent.place(range(1, 119_999_999));
        assert!(Arc::ptr_eq(&first, &recent.place(range(59_000_000, 60_000_001))));
        assert!(!Arc::ptr_eq(&first, &recent.place(range(1, 120_000_001))));
        for minute in 0..8 {
            recent.place(range(minute * 60_000_000, i64::MAX));
        }
        assert!(!Arc::ptr_eq(&first, &recent.place(range(1, 119_999_999))));
    }
}
