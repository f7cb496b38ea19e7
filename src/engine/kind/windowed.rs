//! Kinds that are decided by the events of one window.
//!
//! A condition that more events can only make truer is decided the moment an event comes, for every
//! window that the event is part of. Any other is decided when its window ends by the watermark; an
//! event that comes after that does not open the window again.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    CorrelationKey, Frame, Hit, Holds, RuleState, Sample, Taken,
    keyed::{KeyState, Keyed, Standing, captured_of},
    memory,
    state::{Decide, fresh},
    window::{Repeats, Window, WindowEvent, WindowShape, aligned},
};
use crate::engine::{limits::WINDOW_EVENTS_MAX, time::EventTime, value::Captured};

/// Values that a hit names at most, and the events of a window that are looked through for them: a full
/// window must not cost each further event its whole length.
const VALUES_NAMED_MAX: usize = 20;
const VALUES_LOOKED_THROUGH_MAX: usize = 500;

/// Entries that are looked through, each way, for one that is shown in place of another: 500.
const STEPS_LOOKED_THROUGH_MAX: usize = 500;

/// Windows that an event is part of and that are looked at one by one: 8. More of them are first looked at
/// together.
const LOOKED_AT_ONE_BY_ONE: usize = 8;

/// What a kind says about the events of a window.
pub(super) trait Windowed: Clone + Debug + Send + Sync + 'static {
    /// Whether it is decided the moment an event comes: more events can only make it truer.
    fn fires_at_once(&self, window: WindowShape) -> bool;

    /// The sample, with one combination of its values, as an event of a window. `None` if a value is no
    /// number where one is needed.
    fn entry(&self, sample: &Sample<'_>, values: &[&str]) -> Option<WindowEvent>;

    /// How far a key has come; see [`Keyed::evict`]. Of what is decided by an end, what holds by now is
    /// about to be found.
    fn progress(&self, window: &mut Window, frame: Frame) -> f64 {
        let all = window.len();
        let verdict = self.evaluate(window, 0, all);
        let waits = !self.fires_at_once(frame.window);
        if waits && verdict.holds { f64::INFINITY } else { verdict.value }
    }

    /// Entries of a window that is full.
    fn entries_max(&self) -> usize {
        WINDOW_EVENTS_MAX
    }

    /// Takes out of a window that is full what it can do without best, now that the event at `index` has
    /// come; how many these are.
    fn make_room(&self, window: &mut Window, index: usize, frame: Frame) -> usize;

    /// Whether what windows begin with decides when they end.
    fn ends(&self, frame: Frame) -> bool {
        !self.fires_at_once(frame.window) || frame.window.gap().is_some()
    }

    /// Whether it can hold for no part of some events if it does not hold for all of them, which costs
    /// less to know than looking at every part.
    fn grows(&self) -> bool {
        false
    }

    /// When an event says nothing that a later one does not, of what is decided at once.
    fn repeats(&self) -> Repeats {
        Repeats::Counted
    }

    /// Whether its hits show what came before; see [`Windowed::steps`].
    fn has_steps(&self) -> bool {
        false
    }

    /// Which of entries `start..end` of a window, in which it holds, it needs, in order.
    fn steps(&self, _: &Window, _start: usize, _end: usize) -> Vec<usize> {
        Vec::new()
    }

    /// Looks at entries `start..end` of a window.
    fn evaluate(&self, window: &mut Window, start: usize, end: usize) -> Verdict;

    /// Whether a sliding window that must end begins with the first event that [`Windowed::opens`]
    /// it, and not at a multiple of its length.
    fn begins_with_first(&self) -> bool {
        false
    }

    /// Whether an event begins a window; others only count in one.
    fn opens(&self, _: &WindowEvent) -> bool {
        true
    }
}

/// The event that leaves if all count alike: the oldest, or one amid the others if the first one decides
/// when the window ends.
pub(super) fn oldest(window: &Window, ends: bool) -> usize {
    if ends { window.len() / 2 } else { 0 }
}

/// What looking at one window gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    /// Whether the condition holds.
    pub(super) holds: bool,
    /// The number that people are shown.
    pub(super) value: f64,
}

/// State of a rule that is decided by windows, and has seen nothing.
pub(super) fn fresh_windows<K: Windowed>(kind: &K, frame: Frame) -> Box<dyn RuleState> {
    fresh(Windows { kind: kind.clone(), frame })
}

/// The entries of one event: mostly one.
type Entries = SmallVec<[WindowEvent; 1]>;

#[derive(Debug)]
struct Windows<K> {
    kind: K,
    frame: Frame,
}

/// One key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct KeyWindow {
    window: Window,
    /// What the last event carried, if a hit may come without a further one.
    captured: Arc<[Captured]>,
}

impl KeyState for KeyWindow {
    fn outdate(&mut self, key: &CorrelationKey) {
        // What waits for an end has captured its key at least.
        if !self.captured.is_empty() {
            self.captured = captured_of(key);
        }
        (0..self.window.len()).for_each(|at| self.window.set_captured(at, None));
    }

    fn bytes(&mut self) -> usize {
        self.window.bytes() + memory::captured(&self.captured)
    }

    fn pack(&self, out: &mut Vec<u8>) -> bool {
        self.captured.is_empty() && self.window.pack(out)
    }

    fn unpack(packed: &[u8]) -> Option<KeyWindow> {
        Some(KeyWindow { window: Window::unpack(packed)?, captured: Arc::default() })
    }
}

impl<K: Windowed> Decide for Windows<K> {
    type Tables = Keyed<KeyWindow>;

    fn handle(
        &mut self,
        keys: &mut Keyed<KeyWindow>,
        key: CorrelationKey,
        sample: Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        let (kind, frame) = (&self.kind, self.frame);
        let entries: Entries =
            sample.combinations().filter_map(|values| kind.entry(&sample, values)).collect();
        if entries.is_empty() {
            return Taken::NoNumber;
        }
        let mut taken = Taken::Counted;
        let mut dropped = 0;
        keys.update(key, KeyWindow::default, |state| {
            let count = entries.len();
            if let Some(watermark) = watermark
                && frame.window == WindowShape::Sliding
                && kind.fires_at_once(frame.window)
            {
                let window = &mut state.window;
                window.leave_out_repeats(kind.repeats(), frame.timespan, sample.time, watermark);
            }
            let mut at = insert(kind, frame, &mut state.window, entries, &mut dropped);
            if kind.fires_at_once(frame.window) {
                if kind.has_steps() {
                    at = state.window.keep_step(at, &sample.captured, watermark);
                }
                state.captured = sample.captured;
                look_at_once(kind, frame, state, (at, sample.time), out);
                // Only an event that comes can bring a hit, and that one carries what is shown of it.
                state.captured = Arc::default();
                if let Some(watermark) = watermark {
                    forget(kind, frame, &mut state.window, watermark);
                }
            } else if watermark.is_some_and(|watermark| end_of(kind, frame, state, at) <= watermark)
            {
                (0..count).for_each(|back| state.window.remove(at.saturating_sub(back)));
                taken = Taken::TooLate;
            } else {
                capture(kind, frame, state, at, count, sample.captured);
            }
            deadline(kind, frame, state)
        });
        keys.lose_events(dropped);
        taken
    }

    fn make_room(&mut self, keys: &mut Keyed<KeyWindow>, _: EventTime, _: &mut Vec<Hit>) {
        let (kind, frame) = (&self.kind, self.frame);
        let standing = |state: &mut KeyWindow| {
            let since = state.window.get(0).map_or(EventTime::MAX, |entry| entry.time);
            let progress = state.window.look_through(|window| kind.progress(window, frame));
            Standing { progress, since }
        };
        keys.evict(standing, |_| false);
    }

    fn advance(&mut self, keys: &mut Keyed<KeyWindow>, watermark: EventTime, out: &mut Vec<Hit>) {
        let (kind, frame) = (&self.kind, self.frame);
        keys.advance(watermark, |_, state, _| {
            if kind.fires_at_once(frame.window) {
                forget(kind, frame, &mut state.window, watermark);
            } else {
                close(kind, frame, state, watermark, out);
            }
            deadline(kind, frame, state)
        });
    }

    fn next_deadline(&self, keys: &Keyed<KeyWindow>) -> Option<EventTime> {
        let waits = !self.kind.fires_at_once(self.frame.window);
        keys.next_deadline().filter(|_| waits)
    }
}

/// Puts the entries of one event into a window; where the last of them is. Only the window that ends with
/// that one has all of the event: the others end none.
fn insert<K: Windowed>(
    kind: &K,
    frame: Frame,
    window: &mut Window,
    entries: Entries,
    dropped: &mut u64,
) -> usize {
    let last = entries.len().saturating_sub(1);
    let mut at = 0;
    for (number, mut entry) in entries.into_iter().enumerate() {
        entry.found = number < last;
        let place = entry.place();
        at = window.insert(entry);
        if window.len() > kind.entries_max() {
            *dropped += kind.make_room(window, at, frame) as u64;
            at = window.last_at(place);
        }
    }
    at
}

/// One past the last entry with which a window ends that the entry at `at` is part of.
fn ends_with(frame: Frame, window: &Window, at: usize) -> usize {
    match (frame.window, window.get(at)) {
        (_, None) => at,
        (WindowShape::Sliding, Some(entry)) => {
            window.count_of_windows_from(entry.time, frame.timespan).max(at + 1)
        }
        (WindowShape::Tumbling | WindowShape::Session { .. }, Some(_)) => at + 1,
    }
}

/// Looks at every window that the entry at `at` is part of. A sliding window is found once, whatever
/// the order in which its events come: if it was found before, the hit says only what it has come to.
/// An event that comes before many others is part of as many windows; where more events can only make it
/// truer, many of them are looked at together. `came`: when the event happened that is there.
fn look_at_once<K: Windowed>(
    kind: &K,
    frame: Frame,
    state: &mut KeyWindow,
    (at, came): (usize, EventTime),
    out: &mut Vec<Hit>,
) {
    let all = state.window.len();
    if kind.grows() && !kind.evaluate(&mut state.window, 0, all).holds {
        // All of its events are too few: then those of one window are, too.
        return;
    }
    let sliding = frame.window == WindowShape::Sliding;
    let mut still: Option<Hit> = None;
    // The only window that was found before: of several no one's steps are those of all.
    let mut corrected = None;
    let mut left = vec![(at, ends_with(frame, &state.window, at))];
    while let Some((from, to)) = left.pop() {
        if kind.grows() && to - from > LOOKED_AT_ONE_BY_ONE {
            let (start, _) = state.window.bounds(frame.window, frame.timespan, from);
            if kind.evaluate(&mut state.window, start, to).holds {
                let middle = from.midpoint(to);
                left.extend([(middle, to), (from, middle)]);
            }
            continue;
        }
        for end_index in from..to {
            let (start, end) = state.window.bounds(frame.window, frame.timespan, end_index);
            let verdict = kind.evaluate(&mut state.window, start, end);
            if !verdict.holds {
                continue;
            }
            let found_before = sliding && state.window.set_found(end_index);
            let hit = hit(state, start, end, verdict.value, came);
            if !found_before {
                out.push(with_steps(kind, frame, &state.window, (start, end), hit));
            } else if let Some(still) = &mut still {
                corrected = None;
                still.first = still.first.min(hit.first);
                still.last = still.last.max(hit.last);
                still.value = still.value.max(hit.value);
            } else {
                still = Some(Hit { holds: Holds::Still, ..hit });
                corrected = Some((start, end));
            }
        }
    }
    out.extend(still.map(|still| match corrected {
        Some(range) => with_steps(kind, frame, &state.window, range, still),
        None => still,
    }));
}

/// Keeps what an event carried with the last event of its window: what comes after the window ended,
/// but before it was decided, is not evidence of it. The event is the `count` entries up to `at`.
fn capture<K: Windowed>(
    kind: &K,
    frame: Frame,
    state: &mut KeyWindow,
    at: usize,
    count: usize,
    captured: Arc<[Captured]>,
) {
    let window = &mut state.window;
    let (start, end) = match frame.window {
        WindowShape::Sliding if kind.begins_with_first() => first_to_end(kind, frame, window)
            .filter(|ending| (ending.start..ending.end).contains(&at))
            .map_or((at, at + 1), |ending| (ending.start, ending.end)),
        WindowShape::Sliding => window.bounds(WindowShape::Tumbling, frame.timespan, at),
        shape => window.bounds(shape, frame.timespan, at),
    };
    if (at + 1..end).rev().all(|behind| carried(window, behind).is_none()) {
        window.set_captured(at, Some(Arc::clone(&captured)));
        if let Some(before) = at.checked_sub(count).filter(|before| *before >= start) {
            window.set_captured(before, None);
        }
    }
    state.captured = captured;
}

/// Decides windows that have ended, and forgets their events.
fn close<K: Windowed>(
    kind: &K,
    frame: Frame,
    state: &mut KeyWindow,
    watermark: EventTime,
    out: &mut Vec<Hit>,
) {
    while let Some(ending) = first_to_end(kind, frame, &state.window)
        && ending.time <= watermark
    {
        let verdict = kind.evaluate(&mut state.window, ending.start, ending.end);
        if verdict.holds {
            // It is true only now that the window has ended.
            let (start, end) = (ending.start, ending.end);
            let known = (start..end).rev().find_map(|at| carried(&state.window, at));
            let (captured_at, captured) = known.unwrap_or((ending.time, &state.captured));
            let captured = Arc::clone(captured);
            let hit = hit(state, start, end, verdict.value, captured_at);
            out.push(Hit { time: ending.time, captured, captured_at, ..hit });
        }
        state.window.drop_firsts(ending.end.max(1));
    }
    if frame.window == WindowShape::Sliding && kind.begins_with_first() {
        // What came before a window has begun is in none, once no earlier beginning can come.
        let before = first_opening(kind, &state.window).unwrap_or(EventTime::MAX).min(watermark);
        state.window.drop_firsts(state.window.count_before(before));
    }
}

/// A window that will end.
#[derive(Clone, Copy, Debug)]
struct Ending {
    /// When.
    time: EventTime,
    /// Its first entry.
    start: usize,
    /// One past its last entry.
    end: usize,
}

/// The window that ends first.
fn first_to_end<K: Windowed>(kind: &K, frame: Frame, window: &Window) -> Option<Ending> {
    let first = window.get(0)?.time;
    Some(match frame.window {
        WindowShape::Session { gap } => {
            let (start, end) = window.bounds(frame.window, frame.timespan, 0);
            Ending { time: session_end(window, frame, gap, start, end), start, end }
        }
        WindowShape::Sliding if kind.begins_with_first() => {
            let first = first_opening(kind, window)?;
            let time = first.plus(frame.timespan);
            Ending { time, start: window.count_before(first), end: window.count_before(time) }
        }
        WindowShape::Sliding | WindowShape::Tumbling => {
            let (start, end) = window.bounds(WindowShape::Tumbling, frame.timespan, 0);
            Ending { time: aligned(first, frame.timespan).1, start, end }
        }
    })
}

/// When the first window begins that begins with an event.
fn first_opening<K: Windowed>(kind: &K, window: &Window) -> Option<EventTime> {
    window.range(0, window.len()).find(|entry| kind.opens(entry)).map(|entry| entry.time)
}

/// Forgets events that no window needs any more. Sessions go as a whole: the next one is cut from
/// where the one before ended.
fn forget<K: Windowed>(kind: &K, frame: Frame, window: &mut Window, watermark: EventTime) {
    if !matches!(frame.window, WindowShape::Session { .. }) {
        window.prune(watermark, frame.timespan);
        return;
    }
    while let Some(ending) = first_to_end(kind, frame, window)
        && ending.time <= watermark
    {
        window.drop_firsts(ending.end.max(1));
    }
}

/// When the window ends that the entry at `at` has come to be part of.
fn end_of<K: Windowed>(kind: &K, frame: Frame, state: &KeyWindow, at: usize) -> EventTime {
    let window = &state.window;
    let Some(time) = window.get(at).map(|entry| entry.time) else { return EventTime::MAX };
    match frame.window {
        WindowShape::Session { gap } => {
            let (start, end) = window.bounds(frame.window, frame.timespan, at);
            session_end(window, frame, gap, start, end)
        }
        // Only as the first that opens one can it make a window of its own that has ended.
        WindowShape::Sliding if kind.begins_with_first() => {
            let opens = window.get(at).is_some_and(|entry| kind.opens(entry));
            let is_first = first_opening(kind, window).is_none_or(|first| first >= time);
            if opens && is_first { time.plus(frame.timespan) } else { EventTime::MAX }
        }
        WindowShape::Sliding | WindowShape::Tumbling => aligned(time, frame.timespan).1,
    }
}

fn session_end(
    window: &Window,
    frame: Frame,
    gap: Duration,
    start: usize,
    end: usize,
) -> EventTime {
    let time_of = |at: usize| window.get(at).map_or(EventTime::MAX, |entry| entry.time);
    time_of(end.saturating_sub(1)).plus(gap).min(time_of(start).plus(frame.timespan))
}

/// When the windows of a key must be looked at next; `None` if it has none.
fn deadline<K: Windowed>(kind: &K, frame: Frame, state: &KeyWindow) -> Option<EventTime> {
    let last = state.window.last_time()?;
    let session = matches!(frame.window, WindowShape::Session { .. });
    if kind.fires_at_once(frame.window) && !session {
        // Not before the last event is out of every window: forgetting early saves nothing.
        return Some(last.plus(frame.timespan));
    }
    let ending = first_to_end(kind, frame, &state.window);
    // Events that open no window are forgotten when no earlier beginning can come.
    Some(ending.map_or(last.plus(Duration::from_micros(1)), |ending| ending.time))
}

/// A hit of entries `start..end` with what those carried that it needs. It shows the last of them, which is what decides;
/// if nothing is known of that any more, the nearest of its input; if of none, the event that came, which may be any.
fn with_steps<K: Windowed>(
    kind: &K,
    frame: Frame,
    window: &Window,
    (start, end): (usize, usize),
    hit: Hit,
) -> Hit {
    if !kind.has_steps() {
        return hit;
    }
    let last = end.saturating_sub(1);
    let shown = last_known(window, frame, start, last).and_then(|at| carried(window, at));
    let (captured_at, captured) = shown.unwrap_or((hit.captured_at, &hit.captured));
    let input = |at: usize| window.get(at).map(|entry| entry.input);
    let others = kind.steps(window, start, end).into_iter().filter(|at| input(*at) != input(last));
    let others = others.filter_map(|at| carried(window, at));
    let others = others.filter(|(_, other)| !Arc::ptr_eq(other, captured));
    let steps = others.map(|(time, carried)| (time, Arc::clone(carried))).collect();
    Hit { captured: Arc::clone(captured), captured_at, steps, ..hit }
}

/// The entry at `last`, with which a window from `start` on ends, or the nearest of its input of which it is known what
/// they carried: one behind it that is less than the timespan behind the first, else one before it.
fn last_known(window: &Window, frame: Frame, start: usize, last: usize) -> Option<usize> {
    let (first, input) = (window.get(start)?.time, window.get(last)?.input);
    let is_near =
        |at: &usize| window.get(*at).is_some_and(|entry| entry.time.since(first) < frame.timespan);
    let is_known = |at: &usize| {
        carried(window, *at).is_some() && window.get(*at).is_some_and(|entry| entry.input == input)
    };
    let behind = (last..window.len()).take(STEPS_LOOKED_THROUGH_MAX).take_while(is_near);
    let before = (start..last).rev().take(STEPS_LOOKED_THROUGH_MAX);
    behind.chain(before).find(is_known)
}

/// What an entry carried, if that is known, and when it was.
fn carried(window: &Window, at: usize) -> Option<(EventTime, &Arc<[Captured]>)> {
    let entry = window.get(at)?;
    Some((entry.time, entry.captured.as_ref()?))
}

/// What entries `start..end` came to. It shows the last of them, or the event that came, and when that was.
fn hit(state: &KeyWindow, start: usize, end: usize, value: f64, came: EventTime) -> Hit {
    let time_of = |at: usize| state.window.get(at).map_or(EventTime::MIN, |entry| entry.time);
    let (first, last) = (time_of(start), time_of(end.saturating_sub(1)));
    let carried = carried(&state.window, end.saturating_sub(1));
    let (captured_at, captured) = carried.unwrap_or((came, &state.captured));
    let mut values: BTreeMap<&str, usize> = BTreeMap::new();
    let looked_through = state.window.range(start, end).take(VALUES_LOOKED_THROUGH_MAX);
    for text in looked_through.filter_map(|entry| entry.text.as_deref()) {
        if values.len() >= VALUES_NAMED_MAX {
            break;
        }
        let order = values.len();
        values.entry(text).or_insert(order);
    }
    let mut values: Vec<(usize, &str)> = values.into_iter().map(|(text, at)| (at, text)).collect();
    values.sort_unstable();
    Hit {
        time: last,
        claimed: None,
        first,
        last,
        value,
        values: values.into_iter().map(|(_, text)| text.to_owned()).collect(),
        captured: Arc::clone(captured),
        captured_at,
        steps: Vec::new(),
        usual: None,
        holds: Holds::Once,
    }
}
