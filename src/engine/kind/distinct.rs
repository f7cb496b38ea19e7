//! How many different values, where they are too many to be kept one by one.
//!
//! A key takes at most 64 KiB, however many values it has: 8 B for each of few, which are told apart exactly, and
//! 56 KiB of cells for many ([`marks`]). Windows are those of exact counts, and so is what fires when:
//!
//! - sliding windows know of each value when it was last seen, to within some 250th of what is compared with
//!   ([`panes`]). So a window is looked at in which the event is the last, and if it came late those that end behind it
//!   with one of these steps; values that were seen since are not counted again in the windows before.
//! - windows aligned to the epoch and sessions stand apart ([`apart`]): of six of them values are told apart. Before
//!   six later ones a window is decided by the number that it had.
//!
//! It is a function of what came in which order, with no secret: whoever knows it can choose values that fall together,
//! or that are not looked at.

mod apart;
mod marks;
mod panes;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use self::{
    apart::{Apart, Placed, Span},
    marks::{Marks, SHARES, cells_of, share_for},
    panes::{Counted, Pace, Panes, STEPS_WANTED},
};
use super::{
    CorrelationKey, Frame, Hit, Holds, RuleState, Sample, Taken,
    keyed::{KeyState, Keyed, Standing, captured_of},
    memory,
    state::{Decide, fresh},
    window::{WindowShape, count, hash_of},
};
use crate::engine::{syntax::threshold::Threshold, time::EventTime, value::Captured};

/// Values that are named of a key, and bytes of all of them: 10, and 512.
const NAMES_MAX: usize = 10;
const NAMES_BYTES_MAX: usize = 512;

/// State of a rule that compares the number of values with `threshold`, and has seen nothing. `compared`: the least and
/// the greatest number that this or its alerts compare with.
pub(super) fn fresh_distinct(
    threshold: &Threshold,
    compared: (f64, f64),
    frame: Frame,
) -> Box<dyn RuleState> {
    fresh(Distinct::new(threshold.clone(), compared, frame))
}

/// What the state of such a rule depends on, beside its frame.
pub(super) fn state_parameters(threshold: &Threshold, greatest: f64) -> String {
    let shape = if threshold.fires_at_once() { "at once" } else { "at the end" };
    format!("values in cells, {} of {SHARES}, {shape}", share_for(greatest))
}

#[derive(Debug)]
struct Distinct {
    threshold: Threshold,
    frame: Frame,
    /// Of how many hashes values are looked at once they are many; see [`marks`].
    share: u8,
    /// How many values a step of a sliding window should have, at least and at most.
    step: (f32, f32),
}

/// One key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeyValues {
    marks: Marks,
    spans: Spans,
    /// Some of the values, with when they were first seen in their windows.
    names: VecDeque<(EventTime, Box<str>)>,
}

/// In which windows values were seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Spans {
    Sliding(Panes),
    Apart(Apart),
}

impl KeyState for KeyValues {
    fn outdate(&mut self, key: &CorrelationKey) {
        if let Spans::Apart(apart) = &mut self.spans {
            let waits = apart.spans.iter_mut().filter(|span| !span.captured.is_empty());
            waits.for_each(|span| span.captured = captured_of(key));
        }
    }

    fn bytes(&mut self) -> usize {
        let names: usize = self.names.iter().map(|(_, name)| memory::piece(name.len())).sum();
        let spans = match &self.spans {
            Spans::Sliding(panes) => panes.bytes(),
            Spans::Apart(apart) => {
                let captured = apart.spans.iter().map(|span| memory::captured(&span.captured));
                memory::list(apart.spans.len(), size_of::<Span>()) + captured.sum::<usize>()
            }
        };
        let each = size_of::<(EventTime, Box<str>)>();
        self.marks.bytes() + spans + memory::list(self.names.len(), each) + names
    }

    fn pack(&self, _: &mut Vec<u8>) -> bool {
        false
    }

    fn unpack(_: &[u8]) -> Option<KeyValues> {
        None
    }
}

impl KeyValues {
    /// Nothing was seen yet.
    fn new(is_sliding: bool) -> KeyValues {
        let spans = if is_sliding {
            Spans::Sliding(Panes::default())
        } else {
            Spans::Apart(Apart::default())
        };
        KeyValues { marks: Marks::default(), spans, names: VecDeque::new() }
    }

    /// Notes the name of a value that was not known, seen at a time, in place of such that were seen up to `until`.
    fn note(&mut self, values: &[&str], time: EventTime, until: EventTime) {
        while self.names.front().is_some_and(|(seen, _)| *seen <= until) {
            self.names.pop_front();
        }
        if self.names.len() >= NAMES_MAX {
            return;
        }
        let name = values.join("/");
        let bytes: usize = self.names.iter().map(|(_, name)| name.len()).sum();
        if bytes + name.len() <= NAMES_BYTES_MAX && self.names.iter().all(|(_, one)| **one != *name)
        {
            let at = self.names.partition_point(|(seen, _)| *seen <= time);
            self.names.insert(at, (time, name.into()));
        }
    }

    /// Names of values that were seen from one time to another.
    fn named(&self, first: EventTime, last: EventTime) -> Vec<String> {
        let within = self.names.iter().filter(|(seen, _)| (first..=last).contains(seen));
        within.map(|(_, name)| String::from(&**name)).collect()
    }
}

/// What was seen of a key within one window.
#[derive(Clone, Copy, Debug)]
struct Seen {
    value: f64,
    first: EventTime,
    last: EventTime,
}

impl Seen {
    /// The window that ends at a time.
    fn of(marks: &Marks, counted: Counted, last: EventTime) -> Seen {
        let value = marks.estimate(counted.within, counted.later);
        Seen { value, first: counted.first, last }
    }

    /// What is true of one window or of another.
    fn or(self, other: Seen) -> Seen {
        Seen {
            value: self.value.max(other.value),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// `captured`: by an event, and when that was.
fn hit(
    state: &KeyValues,
    seen: Seen,
    (captured_at, captured): (EventTime, &Arc<[Captured]>),
    holds: Holds,
) -> Hit {
    let Seen { value, first, last } = seen;
    let captured = Arc::clone(captured);
    Hit {
        time: last,
        claimed: None,
        first,
        last,
        value,
        values: state.named(first, last),
        usual: None,
        captured,
        captured_at,
        steps: Vec::new(),
        holds,
    }
}

impl Distinct {
    fn new(threshold: Threshold, (least, greatest): (f64, f64), frame: Frame) -> Distinct {
        let share = share_for(greatest);
        #[expect(clippy::cast_possible_truncation, reason = "a number is near enough")]
        let step = |compared| (cells_of(compared, share) / STEPS_WANTED).max(1.0) as f32;
        Distinct { threshold, frame, share, step: (step(least), step(greatest)) }
    }

    fn is_sliding(&self) -> bool {
        self.threshold.fires_at_once() && self.frame.window == WindowShape::Sliding
    }

    /// The sliding window that ends at a time.
    fn window_to(&self, marks: &Marks, panes: &Panes, last: EventTime) -> Seen {
        Seen::of(marks, panes.count(marks, last.minus(self.frame.timespan), last), last)
    }

    /// Counts a sample in sliding windows, and looks at those of which it may be part: the one that ends with it and,
    /// if it came late and says something new, those behind it that end with a step. Of these what is found for the first
    /// time is found once.
    fn slide(
        &self,
        state: &mut KeyValues,
        sample: &Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) {
        let (time, span) = (sample.time, self.frame.timespan);
        let Spans::Sliding(panes) = &mut state.spans else { return };
        if watermark.is_some_and(|watermark| time.plus(span) <= watermark) {
            return;
        }
        let before = panes.last();
        let pace = Pace { span, step: self.step, watermark };
        let mut news = Values::new();
        for values in sample.combinations() {
            if panes.see(&mut state.marks, hash_of(values), time, pace) {
                news.push(values);
            }
            if state.marks.spread(self.share, Ord::max) {
                panes.thin(self.share, SHARES);
            }
        }
        let (last, was_found) = (panes.last(), panes.is_found);
        panes.is_found = was_found && time < before;
        for values in &news {
            state.note(values, time, last.minus(span));
        }
        let Spans::Sliding(panes) = &state.spans else { return };
        if !self
            .threshold
            .holds(state.marks.estimate(f64::from(state.marks.count_where(|_| true)), 0.0))
        {
            // All values are too few: then those of one window are, too.
            return;
        }
        let own = self.window_to(&state.marks, panes, time);
        let holds = |seen: &Seen| self.threshold.holds(seen.value);
        let mut is_found = if time >= before { holds(&own) } else { was_found };
        let (mut new, mut still): (Option<Seen>, Option<Seen>) = (None, None);
        if time < last && !news.is_empty() {
            for (end, counted) in panes.count_behind(&state.marks, time, span) {
                let seen = Seen::of(&state.marks, counted, end);
                if !holds(&seen) {
                    continue;
                }
                let was_found = if end == last {
                    is_found = true;
                    was_found
                } else {
                    let before = Counted { within: counted.within - count(news.len()), ..counted };
                    holds(&Seen::of(&state.marks, before, end))
                };
                let found = if was_found || new.is_some() { &mut still } else { &mut new };
                *found = Some(found.map_or(seen, |other| other.or(seen)));
            }
        }
        let own = Some(own).filter(holds).map(|own| (own, Holds::Once));
        let new = new.map(|new| (new, Holds::Once));
        let still = still.map(|still| (still, Holds::Still));
        for (seen, holds) in own.into_iter().chain(new).chain(still) {
            out.push(hit(state, seen, (time, &sample.captured), holds));
        }
        if let Spans::Sliding(panes) = &mut state.spans {
            panes.is_found = is_found;
        }
    }

    /// Counts a sample in the window that it is part of, and looks at that.
    fn set_apart(
        &self,
        state: &mut KeyValues,
        sample: &Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Placed {
        let Spans::Apart(apart) = &mut state.spans else { return Placed::TooLate };
        let placed = apart.open(&mut state.marks, sample.time, self.frame, watermark);
        let Placed::In { at, .. } = placed else { return placed };
        let mut news = Values::new();
        for values in sample.combinations() {
            if apart.see(&mut state.marks, hash_of(values), at) {
                news.push(values);
            }
            state.marks.spread(self.share, |a, b| a | b);
        }
        let until = apart.spans.first().map_or(EventTime::MIN, |span| span.first);
        let at_once = self.threshold.fires_at_once();
        let Some(span) = apart.spans.get_mut(at) else { return placed };
        let (first, last) = (span.first, span.last);
        if !at_once && sample.time >= last {
            span.captured = Arc::clone(&sample.captured);
        }
        let value = span.value(&state.marks);
        for values in &news {
            state.note(values, sample.time, until.minus(Duration::from_micros(1)));
        }
        if at_once && self.threshold.holds(value) {
            let seen = Seen { value, first, last };
            out.push(hit(state, seen, (sample.time, &sample.captured), Holds::Once));
        }
        placed
    }

    /// Decides the windows that have ended, and forgets them.
    fn close(&self, state: &mut KeyValues, watermark: EventTime, out: &mut Vec<Hit>) {
        loop {
            let Spans::Apart(apart) = &mut state.spans else { return };
            let Some((end, at)) = apart.first_end(self.frame) else { return };
            let Some(span) = apart.spans.get(at).filter(|_| end <= watermark) else { return };
            let value = span.value(&state.marks);
            let Some(span) = apart.close(&mut state.marks, at) else { return };
            if !self.threshold.fires_at_once() && self.threshold.holds(value) {
                let seen = Seen { value, first: span.first, last: span.last };
                let captured = (span.last, &span.captured);
                out.push(Hit { time: end, ..hit(state, seen, captured, Holds::Once) });
            }
        }
    }

    /// When a key must be looked at next; `None` if nothing of it can matter any more.
    fn deadline(&self, state: &KeyValues) -> Option<EventTime> {
        match &state.spans {
            Spans::Sliding(panes) if panes.is_empty() => None,
            Spans::Sliding(panes) => Some(panes.last().plus(self.frame.timespan)),
            Spans::Apart(apart) => apart.first_end(self.frame).map(|(end, _)| end),
        }
    }

    /// How far a key has come; see [`Keyed::evict`].
    fn standing(&self, state: &KeyValues) -> Standing {
        let marks = &state.marks;
        match &state.spans {
            Spans::Sliding(panes) => {
                let progress = self.window_to(marks, panes, panes.last()).value;
                Standing { progress, since: panes.first() }
            }
            Spans::Apart(apart) => {
                let values = apart.spans.iter().map(|span| span.value(marks));
                let waits = |value: f64| {
                    let is_found = !self.threshold.fires_at_once() && self.threshold.holds(value);
                    if is_found { f64::INFINITY } else { value }
                };
                let since = apart.spans.first().map_or(EventTime::MAX, |span| span.first);
                Standing { progress: values.map(waits).fold(0.0, f64::max), since }
            }
        }
    }
}

/// Some of the values of an event: mostly one.
type Values<'a> = SmallVec<[&'a [&'a str]; 1]>;

impl Decide for Distinct {
    type Tables = Keyed<KeyValues>;

    fn handle(
        &mut self,
        keys: &mut Keyed<KeyValues>,
        key: CorrelationKey,
        sample: Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        if sample.combinations().next().is_none() {
            return Taken::NoNumber;
        }
        let mut placed = Placed::In { at: 0, lost: 0 };
        let is_sliding = self.is_sliding();
        keys.update(
            key,
            || KeyValues::new(is_sliding),
            |state| {
                if is_sliding {
                    self.slide(state, &sample, watermark, out);
                } else {
                    placed = self.set_apart(state, &sample, watermark, out);
                }
                self.deadline(state)
            },
        );
        match placed {
            Placed::TooLate => Taken::TooLate,
            Placed::In { lost, .. } => {
                keys.lose_events(lost);
                Taken::Counted
            }
        }
    }

    fn make_room(&mut self, keys: &mut Keyed<KeyValues>, _: EventTime, _: &mut Vec<Hit>) {
        keys.evict(|state| self.standing(state), |_| false);
    }

    fn advance(&mut self, keys: &mut Keyed<KeyValues>, watermark: EventTime, out: &mut Vec<Hit>) {
        keys.advance(watermark, |_, state, _| {
            self.close(state, watermark, out);
            self.deadline(state).filter(|deadline| *deadline > watermark)
        });
    }

    fn next_deadline(&self, keys: &Keyed<KeyValues>) -> Option<EventTime> {
        keys.next_deadline().filter(|_| !self.threshold.fires_at_once())
    }
}

#[cfg(test)]
mod tests;
