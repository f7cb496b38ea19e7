//! Which detection rules one event satisfies.
//!
//! Each distinct predicate is evaluated at most once per event, and only rules that an index on
//! their required predicates lets through are looked at, so cost follows what matches, not how many
//! rules are loaded.

mod bits;
mod capture;
mod counted;
mod derivations;
mod element;
mod explain;
mod explained_lines;
mod fold;
mod index;
mod matcher;
mod reach;
mod test;
mod twice;

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    event::{
        Combinations, Event, FieldId, Parts, Reference, RequestIdentity, Stage, is_end_of_long,
        is_long_running, well_known,
    },
    event_ref::EventRef,
    kubernetes::verbs::CHANGING,
    rule::{ExceptionIndex, Rule, RuleIndex, RuleSet, RuleSteps},
    time::EventTime,
    value::{Captured, Value, event_of},
};
use bits::Bits;
use capture::{FreeText, Keep};
use fold::Fold;
use index::Index;
use matcher::Matcher;
use twice::Readings;

pub use explain::{
    ExplainedEvent, ExplainedInput, ExplainedRecord, ExplainedRule, Explanation, KeyPart,
    RecordExplainer, explain, explain_record,
};
pub use explained_lines::ExplainedLine;
pub(super) use reach::{Facts, Known, Reach};

/// One event satisfied one detection rule. Small and self-contained: it is what crosses threads, and
/// machines when scaled out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The rule.
    pub rule: RuleIndex,
    /// When it happened.
    pub time: EventTime,
    /// When it claims to have happened, if that cannot be.
    pub claimed: Option<EventTime>,
    /// Which request it was.
    pub identity: RequestIdentity,
    /// The stage of the event that matched.
    pub stage: Stage,
    /// Whether the rule sees all stages; then each stage counts on its own.
    pub every_stage: bool,
    /// Values of the rule's `capture` fields, in that order, and behind them which event it was.
    pub captured: Arc<[Captured]>,
}

impl Detection {
    /// Which event it was.
    pub fn event(&self) -> Option<&Arc<EventRef>> {
        event_of(&self.captured)
    }
}

/// What rules that name `stage: Unfinished` say of a change that was received, should it never end.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// Which request.
    pub identity: RequestIdentity,
    /// When it was received.
    pub time: EventTime,
    /// At least one.
    pub detections: Vec<Detection>,
}

/// A change that has an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which request.
    pub identity: RequestIdentity,
    /// When it was answered.
    pub time: EventTime,
}

/// The detection rules of one rule set, ready to be asked about events.
#[derive(Debug)]
pub(super) struct RuleMatcher {
    rules: Arc<RuleSet>,
    index: Index,
    /// For an event, and for what the API server takes of it if that is not all.
    matchers: [Matcher; 2],
    free_text: FreeText,
    /// Of each rule, which of the values that its findings carry count.
    counted: Vec<Vec<bool>>,
    candidates: Bits,
    fold: Fold,
    /// Some rule names `stage: Unfinished`.
    watches_unfinished: bool,
    /// Recording rules that the last event satisfied.
    recorded: Vec<RuleIndex>,
    /// Exceptions because of which some rule leaves out the last event.
    excepted: Vec<ExceptionIndex>,
}

impl RuleMatcher {
    pub(super) fn new(rules: Arc<RuleSet>) -> RuleMatcher {
        let mut detections = rules.detections();
        let watches_unfinished =
            detections.any(|(_, rule)| rule.steps == RuleSteps::AllAndUnfinished);
        drop(detections);
        RuleMatcher {
            index: Index::new(&rules),
            matchers: [Matcher::new(&rules), Matcher::new(&rules)],
            free_text: FreeText::new(&rules.fields),
            counted: counted::counted(&rules),
            candidates: Bits::default(),
            fold: Fold::default(),
            recorded: Vec::new(),
            excepted: Vec::new(),
            watches_unfinished,
            rules,
        }
    }

    /// Whether some rule wants to know if the request of this event comes to an end: it changes something, and is
    /// answered as soon as it is done. The same for all events of one request.
    pub(super) fn watches(&mut self, event: &Event<'_>) -> bool {
        self.watches_unfinished
            && event.first_str(well_known::VERB).is_some_and(|verb| CHANGING.contains(&verb))
            && event.has(well_known::RESOURCE)
            && !is_long_running(event)
            && self.index.may_be_unfinished(&self.rules, event, &mut self.fold)
    }

    /// What rules say of a request that was received, should it never end. The event is one of stage
    /// `Unfinished` afterwards.
    pub(super) fn received(
        &mut self,
        event: &mut Event<'_>,
        reference: &mut Reference<'_>,
    ) -> Option<Received> {
        event.stage = Stage::Unfinished;
        event.set(well_known::STAGE, Value::Str(Cow::Borrowed(Stage::Unfinished.as_str())));
        let (mut detections, time) = (Vec::new(), event.time);
        self.detect(event, None, reference, &mut detections);
        let identity = detections.first()?.identity;
        Some(Received { identity, time, detections })
    }

    /// Leaves out the rules that record, and counts no exceptions.
    pub(super) fn leave_out_recording(&mut self) {
        self.index.leave_out_recording(&self.rules);
    }

    /// Lets [`Combinations`] tell events apart by these fields of what is asked for and of who asks, whatever rules ask
    /// for. `reason` is the field that says why a request was allowed.
    pub(super) fn tell_apart_by(&mut self, fields: &[FieldId], reason: FieldId) {
        self.index.tell_apart_by(fields, reason);
    }

    /// How the event that was looked at last is told from others; `None`: it is an odd one.
    #[inline]
    pub(super) fn combinations(&mut self, event: &Event<'_>) -> Option<Combinations> {
        self.index.combinations(&self.rules, event)
    }

    /// Whether the event can satisfy no rule, whatever is in the parts that were passed over.
    pub(super) fn is_settled(&mut self, event: &mut Event<'_>, passed: Parts) -> bool {
        self.recorded.clear();
        self.excepted.clear();
        let RuleMatcher { rules, index, fold, candidates, .. } = self;
        !index.candidates(rules, event, (None, passed), fold, candidates)
    }

    /// Adds a detection for each rule that the event satisfies, in the order of the rules; those that
    /// record are in [`RuleMatcher::recorded`], and in [`RuleMatcher::excepted`] the exceptions that were used.
    /// `looked`: the last that was asked of [`RuleMatcher::is_settled`] was this event, with these parts passed
    /// over, and it was not. Returns how many rules were looked at.
    pub(super) fn detect(
        &mut self,
        event: &mut Event<'_>,
        looked: Option<Parts>,
        reference: &mut Reference<'_>,
        out: &mut Vec<Detection>,
    ) -> u64 {
        let mut looked_at = 0;
        self.recorded.clear();
        self.excepted.clear();
        let mut readings = Readings::of(event);
        let event = &mut *readings.every;
        let RuleMatcher { rules, index, fold, candidates, .. } = self;
        let looks = (looked, Parts::NONE);
        if !index.candidates(rules, event, looks, fold, candidates) {
            return looked_at;
        }
        self.matchers.iter_mut().for_each(Matcher::next_event);
        for index in self.index.rules(&self.candidates) {
            let [matcher, _] = &mut self.matchers;
            if let Some(left_out) = self.rules.left_out_at(index) {
                let event = &mut *readings.every;
                let is_seen = left_out.steps != RuleSteps::Canonical || is_canonical(event);
                if is_seen && matcher.holds(&self.rules, &left_out.expression, event) {
                    for (exception, test) in &left_out.by {
                        if !self.excepted.contains(exception)
                            && matcher.holds(&self.rules, test, event)
                        {
                            self.excepted.push(*exception);
                        }
                    }
                }
                continue;
            }
            let Some(Rule::Detection(rule)) = self.rules.rules.get(index.index()) else { continue };
            looked_at += 1;
            let condition = &rule.expression;
            let holds = match &mut readings {
                Readings { every, taken: None } => matcher.holds(&self.rules, condition, every),
                Readings { every, taken: Some(taken) } => {
                    let readings = (&mut **every, taken);
                    Matcher::either_holds(&mut self.matchers, &self.rules, condition, readings)
                }
            };
            if !holds {
                continue;
            }
            if rule.record.is_some() {
                self.recorded.push(index);
                continue;
            }
            let [matcher, _] = &self.matchers;
            let counted = self.counted.get(index.index()).map_or(&[][..], Vec::as_slice);
            let which = Captured::Event(Arc::clone(reference.of(readings.every)));
            let mut capture = |(slot, field): (usize, &FieldId)| {
                let event = readings.shown(matcher.derivations(), *field);
                let keep = Keep::of(counted.get(slot) == Some(&true));
                self.free_text.capture_deciding(event, *field, keep, &self.rules, condition)
            };
            let values = rule.capture.iter().enumerate().map(&mut capture);
            // Its length is known, so that all of it is made at once.
            let captured: Arc<[Captured]> = values.chain(std::iter::once(which)).collect();
            let event = &*readings.every;
            out.push(Detection {
                rule: index,
                time: event.time,
                claimed: None,
                identity: reference.request(event),
                stage: event.stage,
                every_stage: rule.steps != RuleSteps::Canonical,
                captured,
            });
        }
        looked_at
    }

    /// The exceptions because of which rules leave out the event that was looked at last, each once.
    pub(super) fn excepted(&self) -> &[ExceptionIndex] {
        &self.excepted
    }

    /// The rules that record the event that was looked at last, in the order of the rules.
    pub(super) fn recorded(&self) -> &[RuleIndex] {
        &self.recorded
    }
}

/// Whether an event is the one that stands for its request: the first one with an answer. Requests
/// that run long (watches, execs, logs …) are answered at `ResponseStarted`, all others at
/// `ResponseComplete` or `Panic`; failed logins have no other stage than `ResponseStarted`.
///
/// For counts only. Rules see every stage with an answer, because a policy may omit the first;
/// the request's identity keeps the second from counting twice.
pub(super) fn is_canonical(event: &Event<'_>) -> bool {
    match event.stage {
        Stage::RequestReceived | Stage::Unfinished => false,
        Stage::ResponseStarted => true,
        Stage::ResponseComplete | Stage::Panic => !is_end_of_long(event),
    }
}

#[cfg(test)]
mod tests;
