//! What detections come to over time: findings of rules become samples of the correlations above them,
//! and their hits become findings again.
//!
//! What a correlation looks for is the business of its kind (`kind`).

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::engine::{
    event::{RequestIdentity, Stage},
    kind::{CorrelationKey, Hit, RuleState, Sample, Taken},
    limits::KEYS_PER_EVENT_MAX,
    rule::{CaptureSlot, CorrelationInput, CorrelationRule, RuleIndex},
    time::{EventTime, WallTime},
    value::{Captured, Combination, Combinations, choices, event_of},
};

/// A rule's whole condition held.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    /// The rule.
    pub(super) rule: RuleIndex,
    /// What was found. Captured are the values of the rule's `capture`, in that order.
    pub(super) hit: Hit,
}

/// What of the event at hand was counted, by correlations that count events. What several rules find in one
/// event comes one after the other, so nothing need be kept for longer.
#[derive(Debug, Default)]
pub(super) struct Counted {
    event: Option<(RequestIdentity, Stage)>,
    samples: Vec<(RuleIndex, CorrelationKey, Vec<String>)>,
}

impl Counted {
    /// Findings of this event follow; of one that nobody can tell from others, if it is `None`.
    pub(super) fn begin(&mut self, event: Option<(RequestIdentity, Stage)>) {
        if event.is_none() || self.event != event {
            self.samples.clear();
            self.event = event;
        }
    }

    /// Remembers a sample; whether it is new.
    fn add(&mut self, rule: RuleIndex, key: &CorrelationKey, values: &[&str]) -> bool {
        let is_known = self.samples.iter().any(|(known, of_key, of_values)| {
            *known == rule && of_key == key && of_values.iter().eq(values)
        });
        if !is_known {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            self.samples.push((rule, key.clone(), values));
        }
        !is_known
    }
}

/// What became of a finding that was given to a correlation.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// What became of each key that it was a sample of.
    pub(super) taken: SmallVec<[Taken; 1]>,
    /// It had more keys, or counted values, than count of one event.
    pub(super) too_many: bool,
}

/// Gives a finding to a correlation, as its input number `input_index`; what it comes to is appended
/// to `out`. If a field of the key has several values, it is a sample of each; of counted fields each value
/// counts. `of_all_clusters`: the state may have been stored when clusters were not apart. `counted`: what of
/// the event was counted before, if it is the finding of one.
pub(super) fn correlate(
    (index, rule): (RuleIndex, &CorrelationRule),
    state: &mut dyn RuleState,
    input_index: usize,
    finding: &Finding,
    (watermark, of_all_clusters): (Option<EventTime>, bool),
    counted: Option<&mut Counted>,
    out: &mut Vec<Finding>,
) -> Given {
    let mut given = Given::default();
    let (Some(input), Ok(input_number)) =
        (rule.inputs.get(input_index), u16::try_from(input_index))
    else {
        return given;
    };
    if rule.expires.is_some_and(|until| finding.hit.time >= until) {
        given.taken.push(Taken::NotExpected);
        return given;
    }
    let (keys, too_many_keys) = of_slots(&input.key, finding, Captured::distinct);
    let (values, too_many_values) = of_slots(&input.fields, finding, Captured::values);
    given.too_many = too_many_keys || too_many_values;
    if keys.is_empty() || values.is_empty() {
        given.taken.push(Taken::Absent);
        return given;
    }
    let fields = input.fields.len();
    let cluster = cluster_of(input.cluster, &finding.hit);
    let counts_once = rule.inputs.len() > 1 && rule.kind.counts_events();
    let mut counted = counted.filter(|_| counts_once);
    let mut hits = Vec::new();
    for key in &keys {
        let whole: CorrelationKey = key.iter().copied().chain(cluster).map(Arc::clone).collect();
        if of_all_clusters && cluster.is_some() {
            let of_all = key.iter().copied().map(Arc::clone).collect();
            state.inherit(&of_all, &whole, fields);
        }
        let mut take = |whole: CorrelationKey, values: &[&str], told_by: &[&Arc<str>]| {
            if counted.as_deref_mut().is_some_and(|counted| !counted.add(index, &whole, values)) {
                given.taken.push(Taken::Counted);
                return;
            }
            let captured = capture_of(input, finding, key, told_by);
            let (time, claimed) = (finding.hit.time, finding.hit.claimed);
            let sample = Sample { time, claimed, input: input_number, values, fields, captured };
            given.taken.push(state.handle(whole, sample, watermark, &mut hits));
        };
        if rule.kind.is_about_values() {
            // Each combination has alerts of its own.
            for values in &values {
                take(whole.clone(), &texts(values), values);
            }
        } else {
            take(whole, &values.iter().flat_map(texts).collect::<Combination<_>>(), &[]);
        }
    }
    out.extend(hits.into_iter().map(|hit| Finding { rule: index, hit }));
    given
}

/// The cluster that a finding is of, if that is known and keeps it apart.
fn cluster_of(slot: Option<CaptureSlot>, hit: &Hit) -> Option<&Arc<str>> {
    hit.captured.get(slot?.index())?.values().first()
}

fn texts<'t>(values: &Combination<&'t Arc<str>>) -> Combination<&'t str> {
    values.iter().map(|text| &***text).collect()
}

/// Each way to take one value of each slot; none if one is absent. And whether these are not all.
fn of_slots<'f, V>(
    slots: &[CaptureSlot],
    finding: &'f Finding,
    values: impl Fn(&'f Captured) -> V,
) -> (Combinations<&'f Arc<str>>, bool)
where
    V: IntoIterator<Item = &'f Arc<str>> + Default,
{
    let captured = |slot: &CaptureSlot| finding.hit.captured.get(slot.index());
    let only = |slot| match captured(slot)? {
        Captured::One(text) => Some(text),
        _ => None,
    };
    if let Some(only) = slots.iter().map(only).collect() {
        // One value of each, as nearly always.
        return (smallvec![only], false);
    }
    let captured = |slot| captured(slot).map(&values).unwrap_or_default();
    let (all, too_many) = choices(slots.iter().map(captured), KEYS_PER_EVENT_MAX);
    let whole =
        |choice: Combination<Option<&'f Arc<str>>>| choice.into_iter().collect::<Option<_>>();
    (all.into_iter().filter_map(whole).collect(), too_many)
}

/// Tells a correlation how far event time has come, and our own clock.
pub(super) fn advance(
    index: RuleIndex,
    state: &mut dyn RuleState,
    (watermark, horizon): (EventTime, Option<WallTime>),
    out: &mut Vec<Finding>,
) {
    let mut hits = Vec::new();
    if let Some(horizon) = horizon {
        state.believe(horizon.as_event());
    }
    state.advance(watermark, &mut hits);
    out.extend(hits.into_iter().map(|hit| Finding { rule: index, hit }));
}

/// What the correlation's own finding would carry: of fields with several values, those of this key, and of
/// counted fields those of this combination, if it is about one. Nothing is copied if that is the same.
fn capture_of(
    input: &CorrelationInput,
    finding: &Finding,
    key: &[&Arc<str>],
    values: &[&Arc<str>],
) -> Arc<[Captured]> {
    let captured = &finding.hit.captured;
    let chosen: Vec<(&CaptureSlot, &Arc<str>)> = input
        .key
        .iter()
        .zip(key.iter().copied())
        .chain(input.fields.iter().zip(values.iter().copied()))
        .filter(|(slot, _)| matches!(captured.get(slot.index()), Some(Captured::Many(_))))
        .collect();
    let same = |(at, slot): (usize, &Option<CaptureSlot>)| slot.is_some_and(|s| s.index() == at);
    let slots = input.capture.iter();
    let event = event_of(captured);
    let fields = captured.len() - usize::from(event.is_some());
    if chosen.is_empty()
        && !captured.iter().any(Captured::is_long)
        && slots.len() == fields
        && slots.clone().enumerate().all(same)
    {
        return Arc::clone(captured);
    }
    let value = |slot: &Option<CaptureSlot>| {
        let Some(slot) = slot else { return Captured::Absent };
        match chosen.iter().find(|(known, _)| *known == slot) {
            Some((_, value)) => Captured::One(Arc::clone(value)),
            // What is kept with a sample is what people will be shown.
            None => captured.get(slot.index()).map(Captured::shown).unwrap_or_default(),
        }
    };
    slots.map(value).chain(event.cloned().map(Captured::Event)).collect()
}
