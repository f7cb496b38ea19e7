//! The events of one correlation key, sorted by event time.
//!
//! Order of arrival does not matter: an event is put where its time belongs, and every window that it
//! is part of is looked at. For an event that comes in order this is one window and costs `O(log n)`
//! for counts and (amortised) `O(1)` for distinct values; sums and percentiles cost the window's
//! length. Partitions that are read in turns bring most events out of order: one that comes before `k`
//! others costs as much `k` times, and no more.

mod packed;
mod repeats;
mod steps;
mod stored;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

pub(super) use repeats::Repeats;

use super::{Frame, Sample};
use crate::engine::{
    digest::Digest,
    limits::{COUNT_ERROR_PARTS, COUNTING_ENTRIES_MAX},
    time::EventTime,
    value::Captured,
};

/// Events among which different ones are counted without a table, of which most keys then need none: 8.
const FEW: usize = 8;

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 64;

/// Parts of the time that a full window covers, within which events are joined.
const JOINED_PARTS: u32 = 2_500;

/// Shape of a window, `tripline.window`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WindowShape {
    /// Any interval of `timespan` length, `[start, end)`.
    #[default]
    Sliding,
    /// Aligned to the epoch.
    Tumbling,
    /// Ends when nothing came for the gap; `timespan` is its greatest length.
    Session {
        /// The gap.
        gap: Duration,
    },
}

impl WindowShape {
    /// After how long without events a session ends.
    pub(super) const fn gap(self) -> Option<Duration> {
        match self {
            WindowShape::Session { gap } => Some(gap),
            WindowShape::Sliding | WindowShape::Tumbling => None,
        }
    }
}

/// One event of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct WindowEvent {
    /// When it happened.
    pub(super) time: EventTime,
    /// Which of the correlation's inputs it is a finding of.
    pub(super) input: u16,
    /// Hash of the counted values (BLAKE3, so that nobody can make two of them equal), or the input, where
    /// inputs are what is counted. Where nothing is told apart: for how many further events it stands, of
    /// about the same time, since the window was full.
    pub(super) hash: u64,
    /// The numeric value; 0 if none.
    pub(super) number: f64,
    /// The counted value itself, for naming it in alerts.
    pub(super) text: Option<Box<str>>,
    /// The window that ends with it has been found.
    pub(super) found: bool,
    /// What it carried, if it is the last of a window that is decided when it ends, or may be a step of several.
    pub(super) captured: Option<Arc<[Captured]>>,
}

impl WindowEvent {
    /// By what events of a window are sorted.
    pub(super) const fn place(&self) -> (EventTime, u16) {
        (self.time, self.input)
    }

    /// An event of which nothing but its time counts.
    pub(super) fn of(sample: &Sample<'_>) -> WindowEvent {
        let Sample { time, input, .. } = *sample;
        WindowEvent { time, input, hash: 0, number: 0.0, text: None, found: false, captured: None }
    }

    /// Stands for an earlier one, too.
    pub(super) fn with(self, earlier: &WindowEvent) -> Option<WindowEvent> {
        Some(WindowEvent {
            hash: self.hash.checked_add(earlier.hash)?.checked_add(1)?,
            found: self.found || earlier.found,
            captured: self.captured.or_else(|| earlier.captured.clone()),
            ..self
        })
    }

    /// An event with a number. `None` if its value is none.
    pub(super) fn of_number(sample: &Sample<'_>, values: &[&str]) -> Option<WindowEvent> {
        let number: f64 = values.first()?.parse().ok()?;
        number.is_finite().then(|| WindowEvent { number, ..WindowEvent::of(sample) })
    }

    /// An event whose values are told apart.
    pub(super) fn of_values(sample: &Sample<'_>, values: &[&str]) -> WindowEvent {
        let hash = hash_of(values);
        let text = values.join("/").into();
        WindowEvent { hash, text: Some(text), ..WindowEvent::of(sample) }
    }
}

/// Events of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// By time, then input: events of one moment stand in the order of the inputs.
    entries: VecDeque<WindowEvent>,
    /// The range of which distinct values were counted last; the next one is mostly near it.
    recent: Option<Box<Recent>>,
    /// Whether some entry may stand for several events; `None` if nobody looked since it was read.
    is_joined: Option<bool>,
    /// Of how many entries it is kept what they carried; `None` if nobody looked since it was read.
    steps_kept: Option<u32>,
    /// What texts and captured values of all entries take; `None` if nobody looked since it was read.
    held: Option<usize>,
}

/// How often each hash is in a range of entries.
#[derive(Clone, Debug, Default)]
struct Recent {
    start: usize,
    end: usize,
    counts: HashMap<u64, u32>,
}

impl Window {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&WindowEvent> {
        self.entries.get(index)
    }

    pub(super) fn last_time(&self) -> Option<EventTime> {
        self.entries.back().map(|entry| entry.time)
    }

    pub(super) fn range(&self, start: usize, end: usize) -> impl Iterator<Item = &WindowEvent> {
        self.entries.iter().skip(start).take(end.saturating_sub(start))
    }

    /// How many entries lie before a time.
    pub(super) fn count_before(&self, time: EventTime) -> usize {
        self.count_firsts(|entry| entry.time < time)
    }

    /// How many entries lie before the end of the last sliding window that holds a time.
    pub(super) fn count_of_windows_from(&self, time: EventTime, span: Duration) -> usize {
        self.count_up_to_last(|entry| entry.time.minus(span) < time)
    }

    /// How many entries a condition holds of that holds of none behind one of which it does not. Looked for from the
    /// end on, where most events belong; cost: the logarithm of how far from there it is.
    fn count_up_to_last(&self, holds: impl Fn(&WindowEvent) -> bool) -> usize {
        let (mut end, mut step) = (self.len(), 1);
        while let Some(at) = end.checked_sub(step)
            && !self.get(at).is_some_and(&holds)
        {
            end = at;
            step *= 2;
        }
        self.count_between(end.saturating_sub(step), end, holds)
    }

    /// The same, looked for from the first entry on: what windows do not need any more is forgotten, so that most
    /// begin there.
    fn count_firsts(&self, holds: impl Fn(&WindowEvent) -> bool) -> usize {
        let (mut start, mut step) = (0, 1);
        while self.get(start + step - 1).is_some_and(&holds) {
            start += step;
            step *= 2;
        }
        self.count_between(start, self.len().min(start + step), holds)
    }

    /// The same, of which it is known that it holds of all before `low`, and of none from `high` on.
    fn count_between(
        &self,
        mut low: usize,
        mut high: usize,
        holds: impl Fn(&WindowEvent) -> bool,
    ) -> usize {
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle).is_some_and(&holds) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How many events a range stands for, where nothing is told apart. Cost: one step, unless the window was
    /// full once: then its length.
    pub(super) fn events(&self, start: usize, end: usize) -> f64 {
        let plain = count(end - start);
        if self.is_joined == Some(false) {
            return plain;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let more: f64 = self.range(start, end).map(|entry| entry.hash as f64).sum();
        plain + more
    }

    /// Joins events of nearly the same time, by a 2,500th of the time that the window covers; how many are
    /// gone. Each stands where the later one stood, in the same windows.
    pub(super) fn join_neighbours(
        &mut self,
        frame: Frame,
        join: impl Fn(&WindowEvent, WindowEvent) -> Option<WindowEvent>,
    ) -> usize {
        let covered = match (self.entries.front(), self.entries.back()) {
            (Some(first), Some(last)) => last.time.since(first.time),
            _ => return 0,
        };
        let least = covered / JOINED_PARTS;
        let is_near = |since: EventTime, _: &WindowEvent, later: &WindowEvent| {
            later.time.since(since) <= least
        };
        self.join_where(frame, is_near, join)
    }

    /// Joins neighbours as long as each stands for at most the part of `compared` by which a count may be wrong
    /// ([`COUNT_ERROR_PARTS`]); if these are still too many, of twice as much, and so on. How many are gone. A
    /// window that begins within one of them counts it whole. Events that come late stand within what was joined
    /// before, so a window may begin within several: each is a quarter of what may be wrong.
    pub(super) fn join_to(
        &mut self,
        frame: Frame,
        compared: f64,
        join: impl Fn(&WindowEvent, WindowEvent) -> Option<WindowEvent>,
    ) -> usize {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let mut most = compared / (4 * COUNT_ERROR_PARTS) as f64;
        let (before, all) = (self.len(), self.events(0, self.len()));
        loop {
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
            let is_little = |_, earlier: &WindowEvent, later: &WindowEvent| {
                earlier.hash as f64 + later.hash as f64 + 2.0 <= most
            };
            self.join_where(frame, is_little, &join);
            // They leave room for a while, or cannot be joined at all.
            if self.len() <= COUNTING_ENTRIES_MAX * 9 / 10 || most > all {
                return before - self.len();
            }
            most *= 2.0;
        }
    }

    /// Joins each event with the one before it if both are `alike`, told when the earlier one began, and always
    /// in the same windows.
    fn join_where(
        &mut self,
        frame: Frame,
        alike: impl Fn(EventTime, &WindowEvent, &WindowEvent) -> bool,
        join: impl Fn(&WindowEvent, WindowEvent) -> Option<WindowEvent>,
    ) -> usize {
        let together = |before: Option<&WindowEvent>,
                        earlier: &WindowEvent,
                        later: &WindowEvent| match frame.window {
            WindowShape::Sliding => true,
            WindowShape::Tumbling => {
                aligned(earlier.time, frame.timespan) == aligned(later.time, frame.timespan)
            }
            // What was one session stays one, and begins as it did.
            WindowShape::Session { gap } => {
                before.is_some_and(|before| later.time.since(before.time) < gap)
            }
        };
        let before = self.len();
        let mut kept: VecDeque<WindowEvent> = VecDeque::new();
        let mut began = None;
        for entry in std::mem::take(&mut self.entries) {
            let earlier = kept.pop_back();
            let joined = earlier.as_ref().and_then(|earlier| {
                let since = began.unwrap_or(earlier.time);
                let may = alike(since, earlier, &entry) && together(kept.back(), earlier, &entry);
                if may { join(earlier, entry.clone()) } else { None }
            });
            if let Some(joined) = joined {
                began = began.or(earlier.map(|earlier| earlier.time));
                kept.push_back(joined);
            } else {
                began = None;
                kept.extend(earlier);
                kept.push_back(entry);
            }
        }
        self.entries = kept;
        (self.recent, self.is_joined, self.steps_kept) = (None, Some(true), None);
        self.held = None;
        before - self.len()
    }

    /// Sum of the numbers in a range.
    pub(super) fn sum(&self, start: usize, end: usize) -> f64 {
        self.range(start, end).map(|entry| entry.number).sum()
    }

    /// Nearest-rank percentile (0 to 100) of the numbers in a range; 0 of an empty one.
    pub(super) fn percentile(&self, start: usize, end: usize, share: f64) -> f64 {
        let mut numbers: Vec<(f64, u64)> =
            self.range(start, end).map(|entry| (entry.number, entry.hash)).collect();
        numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
        let rank = (share / 100.0 * self.events(start, end)).ceil().max(1.0);
        let mut below = 0.0;
        let reached = numbers.iter().find(|(_, more)| {
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
            let events = *more as f64 + 1.0;
            below += events;
            below >= rank
        });
        reached.or(numbers.last()).map_or(0.0, |(number, _)| *number)
    }

    /// Puts an event where its time belongs; its index.
    pub(super) fn insert(&mut self, entry: WindowEvent) -> usize {
        let place = entry.place();
        if self.is_joined.is_none() {
            self.is_joined = Some(self.entries.iter().any(|entry| entry.hash > 0));
        }
        let index = self.count_up_to_last(|known| known.place() <= place);
        if let Some(recent) = &mut self.recent {
            recent.inserted(index, entry.hash);
        }
        let is_kept = u32::from(entry.captured.is_some());
        self.count_kept(|kept| kept + is_kept);
        let bytes = entry.bytes();
        self.held = self.held.map(|held| held + bytes);
        if self.entries.capacity() == 0 {
            // Most keys have one event only.
            self.entries.reserve_exact(1);
        }
        self.entries.insert(index, entry);
        index
    }

    /// The last entry that does not stand behind a place.
    pub(super) fn last_at(&self, place: (EventTime, u16)) -> usize {
        self.count_up_to_last(|known| known.place() <= place).saturating_sub(1)
    }

    /// The window that ends with an entry has been found; whether it had been before.
    pub(super) fn set_found(&mut self, index: usize) -> bool {
        self.entries.get_mut(index).is_some_and(|entry| std::mem::replace(&mut entry.found, true))
    }

    /// Keeps, or forgets, what an entry carried.
    pub(super) fn set_captured(&mut self, index: usize, captured: Option<Arc<[Captured]>>) {
        if let Some(entry) = self.entries.get_mut(index) {
            let bytes_before = entry.bytes();
            let before = std::mem::replace(&mut entry.captured, captured);
            let bytes = entry.bytes();
            self.held = self.held.map(|held| held + bytes - bytes_before);
            let (is_kept, was_kept) = (entry.captured.is_some(), before.is_some());
            self.count_kept(|kept| kept + u32::from(is_kept) - u32::from(was_kept));
        }
    }

    fn count_kept(&mut self, change: impl FnOnce(u32) -> u32) {
        self.steps_kept = self.steps_kept.map(change);
    }

    /// Takes an event out again.
    pub(super) fn remove(&mut self, index: usize) {
        let Some(entry) = self.entries.remove(index) else { return };
        let was_kept = u32::from(entry.captured.is_some());
        self.count_kept(|kept| kept - was_kept);
        self.held = self.held.map(|held| held - entry.bytes());
        if let Some(recent) = &mut self.recent {
            recent.removed(index, entry.hash);
        }
    }

    /// Forgets the oldest event.
    pub(super) fn drop_first(&mut self) {
        self.remove(0);
    }

    /// Of the events that are alike by their hash, one that is no loss where repeats say nothing new:
    /// neither the first nor the last of those like the one at `index`, else one of others. If `ends` is
    /// false, the first of several is no loss either. `None` if all are different.
    pub(super) fn spare_repeat(&mut self, index: usize, ends: bool) -> Option<usize> {
        let own = self.get(index)?.hash;
        let like = |hash: u64| {
            self.entries.iter().enumerate().filter(move |(_, entry)| entry.hash == hash)
        };
        let of_several = |hash: u64| {
            let mut like = like(hash).map(|(at, _)| at);
            match (like.next(), like.next(), like.next()) {
                (_, second, Some(_)) => second,
                (first, Some(_), None) if !ends => first,
                _ => None,
            }
        };
        if let Some(spare) = of_several(own) {
            return Some(spare);
        }
        let all = self.len();
        if self.distinct(0, all) == all {
            return None;
        }
        let counts = &self.recent.as_ref()?.counts;
        let least = if ends { 3 } else { 2 };
        let repeated =
            |entry: &WindowEvent| counts.get(&entry.hash).is_some_and(|count| *count >= least);
        let first = self.entries.iter().find(|entry| repeated(entry))?.hash;
        let mut like = self.entries.iter().enumerate().filter(|(_, entry)| entry.hash == first);
        like.nth(usize::from(ends)).map(|(at, _)| at)
    }

    /// Keeps only those of the events, by their index. How many are gone.
    pub(super) fn keep(&mut self, keep: impl Fn(usize) -> bool) -> usize {
        let before = self.len();
        let mut index = 0..;
        self.entries.retain(|_| index.next().is_some_and(&keep));
        (self.recent, self.steps_kept, self.held) = (None, None, None);
        before - self.len()
    }

    /// Tells something of all events, and leaves nothing behind that costs room.
    pub(super) fn look_through<T>(&mut self, look: impl FnOnce(&mut Window) -> T) -> T {
        let recent = self.recent.take();
        let told = look(self);
        self.recent = recent;
        told
    }

    /// Forgets events that no window needs any more: those that ended `keep` before `watermark`.
    pub(super) fn prune(&mut self, watermark: EventTime, keep: Duration) {
        while self.entries.front().is_some_and(|entry| entry.time.plus(keep) <= watermark) {
            self.drop_first();
        }
    }

    /// Forgets the first `count` events.
    pub(super) fn drop_firsts(&mut self, count: usize) {
        for _ in 0..count {
            self.drop_first();
        }
    }

    /// First and one past the last entry of the window that ends with (sliding), or holds (tumbling,
    /// session), the entry at `index`.
    pub(super) fn bounds(
        &self,
        shape: WindowShape,
        span: Duration,
        index: usize,
    ) -> (usize, usize) {
        let Some(time) = self.get(index).map(|entry| entry.time) else { return (0, 0) };
        match shape {
            WindowShape::Sliding => {
                let before = time.minus(span);
                (self.count_firsts(|entry| entry.time <= before), index + 1)
            }
            WindowShape::Tumbling => {
                let (start, end) = aligned(time, span);
                (
                    self.count_firsts(|entry| entry.time < start),
                    self.count_up_to_last(|entry| entry.time < end),
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

    /// How many different hashes there are in a range. Cost: how far it is from the range that was asked
    /// for before, or its length if that is less.
    pub(super) fn distinct(&mut self, start: usize, end: usize) -> usize {
        if self.recent.is_none() && end.saturating_sub(start) <= FEW {
            let is_first = |at: &usize| {
                let hash = |at: usize| self.get(at).map(|entry| entry.hash);
                (start..*at).all(|before| hash(before) != hash(*at))
            };
            return (start..end).filter(is_first).count();
        }
        let mut recent = self.recent.take().unwrap_or_default();
        let moved = recent.start.abs_diff(start) + recent.end.abs_diff(end);
        if moved > end.saturating_sub(start) {
            *recent = Recent::default();
            self.range(start, end).for_each(|entry| recent.add(entry.hash));
        } else {
            self.range(start, recent.start).for_each(|entry| recent.add(entry.hash));
            self.range(recent.end, end).for_each(|entry| recent.add(entry.hash));
            self.range(recent.start, start).for_each(|entry| recent.forget(entry.hash));
            self.range(end, recent.end).for_each(|entry| recent.forget(entry.hash));
        }
        (recent.start, recent.end) = (start, end);
        let count = recent.counts.len();
        self.recent = Some(recent);
        count
    }

    /// Whether a range has an event with this hash. Cost as of [`Window::distinct`].
    pub(super) fn has(&mut self, start: usize, end: usize, hash: u64) -> bool {
        self.distinct(start, end);
        match &self.recent {
            Some(recent) => recent.counts.contains_key(&hash),
            None => self.range(start, end).any(|entry| entry.hash == hash),
        }
    }
}

impl Recent {
    fn add(&mut self, hash: u64) {
        *self.counts.entry(hash).or_default() += 1;
    }

    fn forget(&mut self, hash: u64) {
        if let Some(count) = self.counts.get_mut(&hash) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&hash);
            }
        }
    }

    /// An entry now stands at `index`, and those from there on one further.
    fn inserted(&mut self, index: usize, hash: u64) {
        if index < self.start {
            self.start += 1;
            self.end += 1;
        } else if index < self.end {
            self.add(hash);
            self.end += 1;
        }
    }

    /// The entry at `index` is gone, and those behind it stand one earlier.
    fn removed(&mut self, index: usize, hash: u64) {
        if index < self.start {
            self.start -= 1;
            self.end -= 1;
        } else if index < self.end {
            self.forget(hash);
            self.end -= 1;
        }
    }
}

/// Hash of counted values: BLAKE3, so that nobody can make two of them equal.
pub(super) fn hash_of(values: &[&str]) -> u64 {
    Digest::of(values.iter().map(|value| value.as_bytes())).number()
}

/// A number of things as a number to compare with.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) const fn count(count: usize) -> f64 {
    count as f64
}

/// The window `[start, end)` of length `span`, aligned to the epoch, that holds a time.
pub(super) fn aligned(time: EventTime, span: Duration) -> (EventTime, EventTime) {
    let span_micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX).max(1);
    let start =
        EventTime::from_micros(time.micros().div_euclid(span_micros).saturating_mul(span_micros));
    (start, start.plus(span))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn entry(seconds: i64, hash: u64) -> WindowEvent {
        let time = EventTime::from_micros(seconds * 1_000_000);
        WindowEvent { time, input: 0, hash, number: 0.0, text: None, found: false, captured: None }
    }

    #[test]
    fn a_key_with_one_event_costs_little() {
        // Attackers choose how many keys there are: what is kept of each is in the figures of docs/performance.md.
        assert!(size_of::<Window>() <= 72 && size_of::<WindowEvent>() <= ENTRY_BYTES);
        let mut window = Window::default();
        window.insert(entry(1, 7));
        assert_eq!((window.entries.capacity(), window.distinct(0, 1)), (1, 1));
        assert!(window.recent.is_none(), "few are counted without a table");
        for seconds in 2..=9 {
            window.insert(entry(seconds, 7));
        }
        assert_eq!(window.distinct(0, 9), 1);
        assert!(window.recent.is_some() && window.has(0, 9, 7) && !window.has(0, 9, 8));
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
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "small numbers"
        )]
        let small = |number: u64| (number as i64, number as usize);
        let span = Duration::from_secs(20);
        for step in 0..2_000_i64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let late = i64::from((random >> 40).is_multiple_of(3)) * small((random >> 50) % 15).0;
            let index = window.insert(entry(step - late, (random >> 33) % 9));
            // Every window that the event is part of, one after the other.
            for end_index in index..window.len() {
                let (start, end) = window.bounds(WindowShape::Sliding, span, end_index);
                let hashes: BTreeSet<u64> =
                    window.range(start, end).map(|entry| entry.hash).collect();
                assert_eq!(window.distinct(start, end), hashes.len(), "step {step}");
            }
            if (random >> 45).is_multiple_of(11) {
                window.remove(small(random >> 20).1 % window.len());
            }
            window.prune(EventTime::from_micros((step - 10) * 1_000_000), span);
        }
    }
}
