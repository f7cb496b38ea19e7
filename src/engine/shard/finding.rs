//! What detections come to over time: findings of rules become samples of the correlations above them,
//! and their hits become findings again.
//!
//! What a correlation looks for is the business of its kind (`kind`).

use std::sync::Arc;

use crate::engine::{
    kind::{CorrelationKey, Hit, RuleState, Sample, Taken},
    rule::{CaptureSlot, CorrelationInput, CorrelationRule, RuleIndex},
    time::EventTime,
    value::Captured,
};

/// A rule's whole condition held.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    /// The rule.
    pub(super) rule: RuleIndex,
    /// What was found. Captured are the values of the rule's `capture`, in that order.
    pub(super) hit: Hit,
}

/// Gives a finding to a correlation, as its input number `input_index`; what it comes to is appended
/// to `out`. Returns whether it counts.
pub(super) fn correlate(
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
    let first =
        |slot: &CaptureSlot| finding.hit.captured.get(slot.index()).and_then(Captured::first);
    let key: Option<CorrelationKey> =
        input.key.iter().map(|slot| first(slot).map(Arc::clone)).collect();
    let values: Option<Vec<&str>> =
        input.fields.iter().map(|slot| first(slot).map(|text| &**text)).collect();
    let (Some(key), Some(values)) = (key, values) else { return Taken::Absent };
    let captured = capture_of(input, finding);
    let sample = Sample { time: finding.hit.time, input: input_number, values: &values, captured };
    let mut hits = Vec::new();
    let taken = state.handle(key, sample, watermark, &mut hits);
    out.extend(hits.into_iter().map(|hit| Finding { rule: index, hit }));
    taken
}

/// Tells a correlation how far event time has come.
pub(super) fn advance(
    index: RuleIndex,
    state: &mut dyn RuleState,
    watermark: EventTime,
    out: &mut Vec<Finding>,
) {
    let mut hits = Vec::new();
    state.advance(watermark, &mut hits);
    out.extend(hits.into_iter().map(|hit| Finding { rule: index, hit }));
}

/// What the correlation's own finding would carry. Nothing is copied if that is the same.
fn capture_of(input: &CorrelationInput, finding: &Finding) -> Arc<[Captured]> {
    let same = |(at, slot): (usize, &Option<CaptureSlot>)| slot.is_some_and(|s| s.index() == at);
    let slots = input.capture.iter();
    if slots.len() == finding.hit.captured.len() && slots.clone().enumerate().all(same) {
        return Arc::clone(&finding.hit.captured);
    }
    let value = |slot: &Option<CaptureSlot>| {
        slot.and_then(|slot| finding.hit.captured.get(slot.index()).cloned()).unwrap_or_default()
    };
    slots.map(value).collect()
}
