//! What detections come to over time: findings of rules become samples of the correlations above them,
//! and their hits become findings again.
//!
//! What a correlation looks for is the business of its kind (`kind`); which events count at all, and how
//! far event time has come, is decided here.

pub(crate) mod identity;
pub mod watermark;

use std::sync::Arc;

use super::{
    kind::{CorrelationKey, Hit, Holds, RuleState, Sample, Taken},
    rule::{CaptureSlot, CorrelationInput, CorrelationRule, RuleIndex},
    time::EventTime,
    value::Captured,
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
    /// What the value usually is, for a kind that knows.
    pub usual: Option<f64>,
    /// Values of the rule's `capture`, in that order.
    pub captured: Arc<[Captured]>,
    /// Some of the distinct values that were counted.
    pub values: Vec<String>,
    /// For how long it holds. [`Holds::Ended`]: it holds no longer, and nothing was found.
    pub holds: Holds,
}

/// Gives a finding to a correlation, as its input number `input_index`; what it comes to is appended
/// to `out`. Returns whether it counts.
pub(crate) fn correlate(
    (index, rule): (RuleIndex, &CorrelationRule),
    state: &mut dyn RuleState,
    input_index: usize,
    finding: &Finding,
    watermark: Option<EventTime>,
    out: &mut Vec<Finding>,
) -> Taken {
    let (Some(input), Ok(input_number)) =
        (rule.inputs.get(input_index), u16::try_from(input_index))
    else {
        return Taken::NotExpected;
    };
    let first = |slot: &CaptureSlot| finding.captured.get(slot.index()).and_then(Captured::first);
    let key: Option<CorrelationKey> =
        input.key.iter().map(|slot| first(slot).map(Arc::clone)).collect();
    let values: Option<Vec<&str>> =
        input.fields.iter().map(|slot| first(slot).map(|text| &**text)).collect();
    let (Some(key), Some(values)) = (key, values) else { return Taken::Absent };
    let captured = capture_of(input, finding);
    let sample = Sample { time: finding.time, input: input_number, values: &values, captured };
    let mut hits = Vec::new();
    let taken = state.handle(key, sample, watermark, &mut hits);
    out.extend(hits.into_iter().map(|hit| finding_of(index, hit)));
    taken
}

/// Tells a correlation how far event time has come.
pub(crate) fn advance(
    index: RuleIndex,
    state: &mut dyn RuleState,
    watermark: EventTime,
    out: &mut Vec<Finding>,
) {
    let mut hits = Vec::new();
    state.advance(watermark, &mut hits);
    out.extend(hits.into_iter().map(|hit| finding_of(index, hit)));
}

/// What the correlation's own finding would carry. Nothing is copied if that is the same.
fn capture_of(input: &CorrelationInput, finding: &Finding) -> Arc<[Captured]> {
    let same = |(at, slot): (usize, &Option<CaptureSlot>)| slot.is_some_and(|s| s.index() == at);
    let slots = input.capture.iter();
    if slots.len() == finding.captured.len() && slots.clone().enumerate().all(same) {
        return Arc::clone(&finding.captured);
    }
    let value = |slot: &Option<CaptureSlot>| {
        slot.and_then(|slot| finding.captured.get(slot.index()).cloned()).unwrap_or_default()
    };
    slots.map(value).collect()
}

fn finding_of(rule: RuleIndex, hit: Hit) -> Finding {
    let Hit { time, first, last, value, values, usual, captured, holds } = hit;
    Finding { rule, time, first, last, value, usual, captured, values, holds }
}
