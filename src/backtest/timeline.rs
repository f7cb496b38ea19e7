//! How many alerts when, in a bounded number of equal stretches of time, however long history is.
//!
//! Stretches are a power of two of seconds long and begin at multiples of their length, so that two
//! short ones are exactly a longer one, and plots of several rules can be laid side by side.

use crate::engine::time::EventTime;

/// Stretches of one timeline at most: 128. When time passes them, two become one.
const STRETCHES_MAX: usize = 128;

const SECOND: i64 = 1_000_000;

/// Counts over time.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    /// Each stretch is `2^scale` seconds long.
    scale: u32,
    /// Number of the first stretch since the epoch.
    first: i64,
    counts: Vec<u64>,
}

impl Timeline {
    /// Counts one alert. Cost: constant, but for the few times at which stretches double.
    pub(super) fn add(&mut self, time: EventTime) {
        let second = time.micros().div_euclid(SECOND);
        if self.counts.is_empty() {
            self.first = second;
        }
        loop {
            let stretch = second >> self.scale;
            let end = self.first.saturating_add_unsigned(self.counts.len() as u64);
            let (first, end) = (self.first.min(stretch), end.max(stretch.saturating_add(1)));
            let Some(length) =
                end.checked_sub(first).and_then(|length| usize::try_from(length).ok())
            else {
                self.double();
                continue;
            };
            if length > STRETCHES_MAX {
                self.double();
                continue;
            }
            let before = usize::try_from(self.first - first).unwrap_or(0);
            self.counts.splice(0..0, std::iter::repeat_n(0, before));
            self.counts.resize(length, 0);
            self.first = first;
            let index = usize::try_from(stretch - first).unwrap_or(0);
            if let Some(count) = self.counts.get_mut(index) {
                *count += 1;
            }
            return;
        }
    }

    fn double(&mut self) {
        let mut counts = vec![0; STRETCHES_MAX / 2 + 1];
        let first = self.first >> 1;
        for (stretch, count) in (self.first..).zip(&self.counts) {
            let index = usize::try_from((stretch >> 1) - first).unwrap_or(0);
            if let Some(sum) = counts.get_mut(index) {
                *sum += count;
            }
        }
        counts.truncate(self.counts.len() / 2 + 1);
        (self.scale, self.first, self.counts) = (self.scale + 1, first, counts);
    }

    /// Counts in so many equal stretches from `from` to `to`. What lies across a border counts where
    /// its middle is.
    pub(super) fn between(&self, from: EventTime, to: EventTime, bins: usize) -> Vec<u64> {
        let mut folded = vec![0; bins];
        let (from, to) = (from.micros().div_euclid(SECOND), to.micros().div_euclid(SECOND));
        let span = i128::from(to.saturating_sub(from).max(0)) + 1;
        for (stretch, count) in (self.first..).zip(&self.counts) {
            let middle = (i128::from(stretch) << self.scale) + ((1 << self.scale) >> 1);
            let index = (middle - i128::from(from)).max(0) * bins as i128 / span;
            let index = usize::try_from(index).unwrap_or(0).min(bins.saturating_sub(1));
            if let Some(sum) = folded.get_mut(index) {
                *sum += count;
            }
        }
        folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> EventTime {
        EventTime::from_millis(second * 1_000 + 500)
    }

    fn timeline(seconds: &[i64]) -> Timeline {
        let mut timeline = Timeline::default();
        for second in seconds {
            timeline.add(at(*second));
        }
        timeline
    }

    #[test]
    fn nothing_is_lost_however_long_it_goes_on() {
        let seconds: Vec<i64> = (0..5_000).map(|n| n * 97 - 50_000).collect();
        let timeline = timeline(&seconds);
        assert!(timeline.counts.len() <= STRETCHES_MAX);
        let bins = timeline.between(at(-50_000), at(4_999 * 97 - 50_000), 10);
        assert_eq!(bins.iter().sum::<u64>(), 5_000);
        // One of its own stretches holds about 50.
        assert!(bins.iter().all(|bin| (440..=560).contains(bin)), "{bins:?}");
        assert_eq!(Timeline::default().between(at(0), at(9), 3), [0, 0, 0]);
    }

    #[test]
    fn the_order_does_not_matter() {
        let forward = timeline(&[0, 1, 7, 300, 301, 9_000]).between(at(0), at(9_000), 90);
        let backward = timeline(&[9_000, 301, 300, 7, 1, 0]).between(at(0), at(9_000), 90);
        assert_eq!(forward, backward);
        assert_eq!((forward[0], forward[89]), (3, 1));
    }

    #[test]
    fn the_ends_of_time_are_in_it() {
        let mut timeline = Timeline::default();
        for time in [EventTime::MIN, at(0), EventTime::MAX] {
            timeline.add(time);
        }
        assert_eq!(timeline.between(EventTime::MIN, EventTime::MAX, 4).iter().sum::<u64>(), 3);
    }
}
