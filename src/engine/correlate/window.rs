//! The events of one correlation key, sorted by event time.
//!
//! Order of arrival does not matter: an event is put where its time belongs, and every window that it
//! is part of is looked at. For an event that comes in order this is one window and costs `O(log n)`
//! for counts and (amortised) `O(1)` for distinct values; sums and percentiles cost the window's
//! length.

use std::{collections::VecDeque, time::Duration};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::engine::{rule::WindowShape, time::EventTime};

/// One event of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When it happened.
    pub(crate) time: EventTime,
    /// Which of the correlation's inputs it is a finding of.
    pub(crate) input: u16,
    /// Hash of the counted values (BLAKE3, so that nobody can make two of them equal); 0 if none.
    pub(crate) hash: u64,
    /// The numeric value; 0 if none.
    pub(crate) number: f64,
    /// The counted value itself, for naming it in alerts.
    pub(crate) text: Option<Box<str>>,
}

/// Events of one key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Window {
    /// By time, then input: events of one moment stand in the order of the inputs.
    entries: VecDeque<Entry>,
    /// How often each hash is in the window that ends with the last entry; rebuilt when needed.
    #[serde(skip)]
    recent: Option<Recent>,
}

#[derive(Clone, Debug, Default)]
struct Recent {
    start: usize,
    counts: HashMap<u64, u32>,
}

impl Window {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    pub(crate) fn last_time(&self) -> Option<EventTime> {
        self.entries.back().map(|entry| entry.time)
    }

    pub(crate) fn range(&self, start: usize, end: usize) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(start).take(end.saturating_sub(start))
    }

    /// Puts an event where its time belongs; its index.
    pub(crate) fn insert(&mut self, entry: Entry) -> usize {
        let key = (entry.time, entry.input);
        let index = self.entries.partition_point(|known| (known.time, known.input) <= key);
        if index == self.entries.len() {
            if let Some(recent) = &mut self.recent {
                *recent.counts.entry(entry.hash).or_default() += 1;
            }
            self.entries.push_back(entry);
        } else {
            self.recent = None;
            self.entries.insert(index, entry);
        }
        index
    }

    /// Forgets the oldest event.
    pub(crate) fn drop_first(&mut self) {
        if let Some(entry) = self.entries.pop_front()
            && let Some(recent) = &mut self.recent
        {
            if recent.start == 0 {
                forget(&mut recent.counts, entry.hash);
            } else {
                recent.start -= 1;
            }
        }
    }

    /// Forgets events that no window needs any more: those that ended `keep` before `watermark`.
    pub(crate) fn prune(&mut self, watermark: EventTime, keep: Duration) {
        while self.entries.front().is_some_and(|entry| entry.time.plus(keep) <= watermark) {
            self.drop_first();
        }
    }

    /// Forgets the first `count` events.
    pub(crate) fn drop_firsts(&mut self, count: usize) {
        for _ in 0..count {
            self.drop_first();
        }
    }

    /// First and one past the last entry of the window that ends with (sliding), or holds (tumbling,
    /// session), the entry at `index`.
    pub(crate) fn bounds(
        &self,
        shape: WindowShape,
        span: Duration,
        index: usize,
    ) -> (usize, usize) {
        let Some(time) = self.get(index).map(|entry| entry.time) else { return (0, 0) };
        match shape {
            WindowShape::Sliding => {
                let before = time.minus(span);
                (self.entries.partition_point(|entry| entry.time <= before), index + 1)
            }
            WindowShape::Tumbling => {
                let (start, end) = aligned(time, span);
                (
                    self.entries.partition_point(|entry| entry.time < start),
                    self.entries.partition_point(|entry| entry.time < end),
                )
            }
            WindowShape::Session { gap } => self.session(gap, span, index),
        }
    }

    fn session(&self, gap: Duration, span: Duration, index: usize) -> (usize, usize) {
        // Sessions are cut from the first entry on, so that all agree where one begins.
        let mut start = 0;
        for at in 1..self.len() {
            let (Some(first), Some(before), Some(this)) =
                (self.get(start), self.get(at - 1), self.get(at))
            else {
                break;
            };
            let cut = this.time.since(before.time) >= gap || this.time.since(first.time) >= span;
            if cut {
                if at > index {
                    return (start, at);
                }
                start = at;
            }
        }
        (start, self.len())
    }

    /// How many different hashes there are in a range. The range that ends with the last entry of a
    /// sliding window is counted incrementally.
    pub(crate) fn distinct(&mut self, start: usize, end: usize) -> usize {
        if end != self.len() {
            let mut seen = hashbrown::HashSet::new();
            return self.range(start, end).filter(|entry| seen.insert(entry.hash)).count();
        }
        let recent = match self.recent.take() {
            Some(mut recent) if recent.start <= start => {
                for entry in self.range(recent.start, start) {
                    forget(&mut recent.counts, entry.hash);
                }
                recent.start = start;
                recent
            }
            _ => {
                let mut recent = Recent { start, counts: HashMap::new() };
                for entry in self.range(start, end) {
                    *recent.counts.entry(entry.hash).or_default() += 1;
                }
                recent
            }
        };
        let count = recent.counts.len();
        self.recent = Some(recent);
        count
    }
}

fn forget(counts: &mut HashMap<u64, u32>, hash: u64) {
    if let Some(count) = counts.get_mut(&hash) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&hash);
        }
    }
}

/// The window `[start, end)` of length `span`, aligned to the epoch, that holds a time.
pub(crate) fn aligned(time: EventTime, span: Duration) -> (EventTime, EventTime) {
    let span_micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX).max(1);
    let start =
        EventTime::from_micros(time.micros().div_euclid(span_micros).saturating_mul(span_micros));
    (start, start.plus(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seconds: i64, hash: u64) -> Entry {
        let time = EventTime::from_micros(seconds * 1_000_000);
        Entry { time, input: 0, hash, number: 0.0, text: None }
    }

    #[test]
    fn windows_are_half_open() {
        let mut window = Window::default();
        for seconds in [0, 60, 300] {
            window.insert(entry(seconds, 0));
        }
        let span = Duration::from_secs(300);
        assert_eq!(window.bounds(WindowShape::Sliding, span, 2), (1, 3), "0 is 300 s before 300");
        assert_eq!(window.bounds(WindowShape::Tumbling, span, 1), (0, 2));
        let session = WindowShape::Session { gap: Duration::from_secs(100) };
        assert_eq!(window.bounds(session, Duration::from_secs(3600), 0), (0, 2));
        assert_eq!(window.bounds(session, Duration::from_secs(3600), 2), (2, 3));
    }

    #[test]
    fn distinct_values_are_the_same_incrementally_and_anew() {
        let mut window = Window::default();
        let mut random = 7_u64;
        let span = Duration::from_secs(20);
        for step in 0..2_000_i64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let late = i64::from((random >> 40).is_multiple_of(5)) * 7;
            let index = window.insert(entry(step - late, (random >> 33) % 9));
            let (start, end) = window.bounds(WindowShape::Sliding, span, index);
            let expected = {
                let mut anew = Window { entries: window.entries.clone(), recent: None };
                anew.distinct(start, end)
            };
            assert_eq!(window.distinct(start, end), expected, "step {step}");
            window.prune(EventTime::from_micros((step - 10) * 1_000_000), span);
        }
    }
}
