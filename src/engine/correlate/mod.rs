//! What detections come to over time: windows, keys, watermark.
//!
//! Each correlation rule keeps one state per key. Findings of its inputs are put into it by event
//! time; conditions that more events can only make truer are decided at once, all others when their
//! window closes by watermark.

mod evaluate;
pub(crate) mod identity;
pub mod watermark;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::{
    evaluate::{evaluate, fires_at_once},
    window::{Entry, Window, aligned},
};
use super::{
    detect::Captured,
    limits::{CORRELATION_KEYS_MAX, WINDOW_EVENTS_MAX},
    rule::{CorrelationInput, CorrelationKind, CorrelationRule, RuleIndex, WindowShape},
    time::EventTime,
};

/// A rule's whole condition held.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleIndex,
    /// When it fired, by event time.
    pub time: EventTime,
    /// The first event that counted.
    pub first: EventTime,
    /// The last event that counted.
    pub last: EventTime,
    /// Events, distinct values, a sum …; 1 for a plain rule.
    pub value: f64,
    /// Values of the rule's `capture`, in that order.
    pub captured: Box<[Captured]>,
    /// Some of the distinct values that were counted.
    pub values: Vec<String>,
}

/// Values that alerts name at most.
const VALUES_NAMED_MAX: usize = 20;

/// Values of `group-by`, in order.
pub(crate) type CorrelationKey = Box<[Box<str>]>;

/// State of one key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct KeyState {
    window: Window,
    /// What the last event carried, as the correlation's own capture.
    captured: Box<[Captured]>,
    /// When something must be looked at again, by watermark.
    deadline: Option<EventTime>,
}

/// State of one correlation rule.
#[derive(Debug, Default)]
pub(crate) struct RuleState {
    keys: BTreeMap<CorrelationKey, KeyState>,
    deadlines: BTreeSet<(EventTime, CorrelationKey)>,
    changed: BTreeSet<CorrelationKey>,
}

/// What was counted while findings were handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CorrelateCounts {
    pub(crate) keys_null: u64,
    pub(crate) keys_evicted: u64,
    pub(crate) window_events_dropped: u64,
}

impl RuleState {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes a finding of the input at `input_index`.
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, by the shard that owns all of them"
    )]
    pub(crate) fn handle(
        &mut self,
        index: RuleIndex,
        rule: &CorrelationRule,
        input_index: usize,
        finding: &Finding,
        watermark: Option<EventTime>,
        counts: &mut CorrelateCounts,
        out: &mut Vec<Finding>,
    ) {
        let Some(input) = rule.inputs.get(input_index) else { return };
        let Some(key) = key_of(input, finding) else {
            counts.keys_null += 1;
            return;
        };
        let Some(entry) = entry_of(rule, input, input_index, finding) else {
            counts.keys_null += 1;
            return;
        };
        if !self.keys.contains_key(&key) && self.keys.len() >= CORRELATION_KEYS_MAX {
            self.evict();
            counts.keys_evicted += 1;
        }
        let state = self.keys.entry(key.clone()).or_default();
        if state.window.len() >= WINDOW_EVENTS_MAX {
            state.window.drop_first();
            counts.window_events_dropped += 1;
        }
        state.captured = capture_of(input, finding);
        let at = state.window.insert(entry);
        if fires_at_once(&rule.kind) {
            fire_at_once(index, rule, state, at, out);
        }
        if let Some(watermark) = watermark
            && fires_at_once(&rule.kind)
        {
            state.window.prune(watermark, keep(rule));
        }
        let before = state.deadline;
        state.deadline = next_deadline(rule, &state.window);
        let after = state.deadline;
        self.reschedule(&key, before, after);
        self.changed.insert(key);
    }

    fn reschedule(
        &mut self,
        key: &CorrelationKey,
        before: Option<EventTime>,
        after: Option<EventTime>,
    ) {
        if before != after {
            if let Some(before) = before {
                self.deadlines.remove(&(before, key.clone()));
            }
            if let Some(after) = after {
                self.deadlines.insert((after, key.clone()));
            }
        }
    }

    /// Drops the key whose window ends first: the one idle longest.
    fn evict(&mut self) {
        let key = self.deadlines.pop_first().map(|(_, key)| key);
        if let Some(key) = key.or_else(|| self.keys.keys().next().cloned()) {
            self.keys.remove(&key);
            self.changed.insert(key);
        }
    }

    /// Whether anything is to be done once the watermark moves.
    pub(crate) fn has_deadlines(&self) -> bool {
        !self.deadlines.is_empty()
    }

    /// Closes windows that the watermark has passed.
    pub(crate) fn advance(
        &mut self,
        index: RuleIndex,
        rule: &CorrelationRule,
        watermark: EventTime,
        out: &mut Vec<Finding>,
    ) {
        while let Some((due, _)) = self.deadlines.first()
            && *due <= watermark
            && let Some((_, key)) = self.deadlines.pop_first()
        {
            let Some(state) = self.keys.get_mut(&key) else { continue };
            if fires_at_once(&rule.kind) {
                state.window.prune(watermark, keep(rule));
            } else {
                close_windows(index, rule, state, watermark, out);
            }
            state.deadline = next_deadline(rule, &state.window);
            match state.deadline {
                Some(next) => {
                    self.deadlines.insert((next, key.clone()));
                }
                None => {
                    self.keys.remove(&key);
                }
            }
            self.changed.insert(key);
        }
    }

    /// Keys that changed since the last call, with their state, or `None` if it is gone.
    pub(crate) fn take_changed(&mut self) -> Vec<(CorrelationKey, Option<Vec<u8>>)> {
        std::mem::take(&mut self.changed)
            .into_iter()
            .map(|key| {
                let bytes = self.keys.get(&key).and_then(|state| postcard::to_stdvec(state).ok());
                (key, bytes)
            })
            .collect()
    }

    /// Puts a stored key back.
    pub(crate) fn restore(&mut self, key: CorrelationKey, state: KeyState) {
        if let Some(deadline) = state.deadline {
            self.deadlines.insert((deadline, key.clone()));
        }
        self.keys.insert(key, state);
    }

    /// All keys count as changed: the rule they belong to was stored under another shape.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &CorrelationKey> {
        self.keys.keys()
    }
}

fn key_of(input: &CorrelationInput, finding: &Finding) -> Option<CorrelationKey> {
    let part = |slot: &super::rule::CaptureSlot| {
        finding.captured.get(slot.index()).and_then(Captured::first).map(Box::from)
    };
    input.key.iter().map(part).collect()
}

/// `None` if a field that is counted is absent, or is not a number where one is needed.
fn entry_of(
    rule: &CorrelationRule,
    input: &CorrelationInput,
    input_index: usize,
    finding: &Finding,
) -> Option<Entry> {
    let input_number = u16::try_from(input_index).ok()?;
    let mut entry =
        Entry { time: finding.time, input: input_number, hash: 0, number: 0.0, text: None };
    let values = || {
        input
            .fields
            .iter()
            .map(|slot| finding.captured.get(slot.index()).and_then(Captured::first))
            .collect::<Option<Vec<&str>>>()
    };
    match &rule.kind {
        CorrelationKind::ValueCount(_) => {
            let values = values()?;
            let mut hasher = blake3::Hasher::new();
            for value in &values {
                hasher.update(&(value.len() as u64).to_le_bytes());
                hasher.update(value.as_bytes());
            }
            let hash = hasher.finalize();
            let (head, _) = hash.as_bytes().split_first_chunk::<8>()?;
            entry.hash = u64::from_le_bytes(*head);
            entry.text = Some(values.join("/").into());
        }
        CorrelationKind::ValueSum(_)
        | CorrelationKind::ValueAvg(_)
        | CorrelationKind::ValuePercentile(..)
        | CorrelationKind::ValueMedian(_) => {
            let number: f64 = values()?.first()?.parse().ok()?;
            entry.number = Some(number).filter(|number| number.is_finite())?;
        }
        _ => {}
    }
    Some(entry)
}

fn capture_of(input: &CorrelationInput, finding: &Finding) -> Box<[Captured]> {
    let value = |slot: &Option<super::rule::CaptureSlot>| {
        slot.and_then(|slot| finding.captured.get(slot.index()).cloned()).unwrap_or_default()
    };
    input.capture.iter().map(value).collect()
}

/// Looks at every window that the new entry is part of; hands out the one with the greatest value.
fn fire_at_once(
    index: RuleIndex,
    rule: &CorrelationRule,
    state: &mut KeyState,
    at: usize,
    out: &mut Vec<Finding>,
) {
    let Some(time) = state.window.get(at).map(|entry| entry.time) else { return };
    let mut best: Option<Finding> = None;
    let mut end_index = at;
    while let Some(end_time) = state.window.get(end_index).map(|entry| entry.time) {
        let sliding = rule.window == WindowShape::Sliding;
        if end_index > at && (!sliding || end_time.minus(rule.timespan) >= time) {
            break;
        }
        let (start, end) = state.window.bounds(rule.window, rule.timespan, end_index);
        let verdict = evaluate(&rule.kind, rule.inputs.len(), &mut state.window, start, end);
        let better = best.as_ref().is_none_or(|best| verdict.value > best.value);
        if verdict.holds && better {
            best = Some(finding(index, rule, state, start, end, verdict.value));
        }
        end_index += 1;
    }
    out.extend(best);
}

/// Decides windows that have closed, and forgets their events.
fn close_windows(
    index: RuleIndex,
    rule: &CorrelationRule,
    state: &mut KeyState,
    watermark: EventTime,
    out: &mut Vec<Finding>,
) {
    while let Some(first) = state.window.get(0).map(|entry| entry.time) {
        let (end_time, end) = closing(rule, &state.window, first);
        if end_time > watermark {
            break;
        }
        let verdict = evaluate(&rule.kind, rule.inputs.len(), &mut state.window, 0, end);
        if verdict.holds {
            let mut found = finding(index, rule, state, 0, end, verdict.value);
            // It is true only now that the window has ended.
            found.time = end_time;
            out.push(found);
        }
        state.window.drop_firsts(end.max(1));
    }
}

/// When the window that begins with the first entry closes, and how many entries it has.
fn closing(rule: &CorrelationRule, window: &Window, first: EventTime) -> (EventTime, usize) {
    match rule.window {
        WindowShape::Session { gap } => {
            let (_, end) = window.bounds(rule.window, rule.timespan, 0);
            let last = window.get(end.saturating_sub(1)).map_or(first, |entry| entry.time);
            (last.plus(gap).min(first.plus(rule.timespan)), end)
        }
        // A temporal condition with `not` waits `timespan` from its first event.
        WindowShape::Sliding if is_temporal(&rule.kind) => {
            let end_time = first.plus(rule.timespan);
            let end = (0..window.len())
                .take_while(|at| window.get(*at).is_some_and(|entry| entry.time < end_time))
                .count();
            (end_time, end)
        }
        WindowShape::Sliding | WindowShape::Tumbling => {
            let (_, end) = window.bounds(WindowShape::Tumbling, rule.timespan, 0);
            (aligned(first, rule.timespan).1, end)
        }
    }
}

const fn is_temporal(kind: &CorrelationKind) -> bool {
    matches!(kind, CorrelationKind::Temporal(_) | CorrelationKind::TemporalOrdered(_))
}

/// How long after its time an event may still be part of a window.
fn keep(rule: &CorrelationRule) -> Duration {
    match rule.window {
        WindowShape::Sliding | WindowShape::Tumbling => rule.timespan,
        WindowShape::Session { gap } => rule.timespan.saturating_add(gap),
    }
}

fn next_deadline(rule: &CorrelationRule, window: &Window) -> Option<EventTime> {
    if fires_at_once(&rule.kind) {
        // Not before the last event is out of every window: pruning early saves nothing.
        return window.last_time().map(|last| last.plus(keep(rule)));
    }
    let first = window.get(0)?.time;
    Some(closing(rule, window, first).0)
}

fn finding(
    index: RuleIndex,
    rule: &CorrelationRule,
    state: &KeyState,
    start: usize,
    end: usize,
    value: f64,
) -> Finding {
    let time_of = |at: usize| state.window.get(at).map_or(EventTime::MIN, |entry| entry.time);
    let (first, last) = (time_of(start), time_of(end.saturating_sub(1)));
    let mut values: Vec<String> = Vec::new();
    if matches!(rule.kind, CorrelationKind::ValueCount(_)) {
        for text in state.window.range(start, end).filter_map(|entry| entry.text.as_deref()) {
            if values.len() >= VALUES_NAMED_MAX {
                break;
            }
            if !values.iter().any(|known| known == text) {
                values.push(text.to_owned());
            }
        }
    }
    Finding {
        rule: index,
        time: last,
        first,
        last,
        value,
        captured: state.captured.clone(),
        values,
    }
}
