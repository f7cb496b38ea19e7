//! Which rules an event can satisfy at all, found without looking at the rules.
//!
//! For each of the fields that tell rules apart best (resource, verb, user …) the index knows, for
//! every value that some rule names, which rules that value does not rule out; and the same for
//! all other values, for null, and for absence. It is made by evaluating each condition with that
//! one field known and everything else unknown: what is false then is false whatever the rest of the
//! event says. So it understands `not`, wildcards and numbers as well as plain equality. An event's
//! candidates are the intersection over the fields. It never leaves out a rule that holds.
//!
//! What is numbered are the alternatives of the conditions, not the rules: of `(a and b) or (c and d)`
//! one field rules out each half, but seldom the whole. Values that are there already come first, then
//! what each alternative that is left needs to be there or not, then values that are dear to know.

mod alternative;
mod class;
mod cost;
mod endless;
mod field;
mod learned;
mod needs;
mod prefixes;
mod together;
mod uses;

use super::{bits::Bits, derivations::Derivations, fold::Fold};
use crate::engine::{
    event::{Combinations, Event, FieldId, Parts, Stage},
    rule::{Expression, Rule, RuleIndex, RuleSet},
};
use alternative::Alternative;
use cost::{Cost, is_usual};
use endless::Endless;
use field::FieldIndex;
use needs::Needs;
use together::{About, Together};
use uses::Uses;

/// Fields that nearly every event has and that are looked up by themselves at most: 12. More would cost every event more
/// than they save.
const USUAL_FIELDS_MAX: usize = 12;

/// Fields that few events have and that are looked up at most: 60. Only events are asked for them of which something is
/// left when it is known which fields they have.
const UNUSUAL_FIELDS_MAX: usize = 60;

/// What serving a rule is worth beside serving one that is served once more: 3 times.
const SERVED_LESS: u64 = 3;

/// Fields that rule a rule out, beyond which one more is worth no more than another: 6.
const SERVED_MAX: u32 = 6;

/// An index over the detection rules of one rule set.
#[derive(Debug)]
pub(super) struct Index {
    /// The rule of each alternative, by its number in the sets. Those of one rule are neighbours.
    rules: Vec<RuleIndex>,
    /// What sees canonical events: all.
    all: Bits,
    /// What sees every stage.
    every_stage: Bits,
    /// What sees requests that never ended.
    unfinished: Bits,
    /// Fields about what is asked for, which are looked up at once.
    kind: Together,
    /// Those about who asks.
    caller: Together,
    /// Other fields that nearly every event has, and whose values cost little to know.
    usual: Vec<FieldIndex>,
    /// For each alternative, the fields without which, or with which, it cannot hold: most fields of
    /// bodies and annotations are absent from most events.
    needs: Needs,
    rest: Rest,
    derivations: Derivations,
    /// Parts of the event that was looked at last which are not read.
    passed: Parts,
    /// The conditions of the alternatives, by number.
    conditions: Vec<Expression>,
    endless: Endless,
}

impl Index {
    pub(super) fn new(rules: &RuleSet) -> Index {
        let alternatives = Alternative::of(rules);
        let count = alternatives.len();
        let (mut every_stage, mut unfinished) = (Bits::none(count), Bits::none(count));
        for (number, alternative) in alternatives.iter().enumerate() {
            every_stage.set(number, alternative.every_stage);
            unfinished.set(number, alternative.unfinished);
        }
        let known = Uses::of(rules, &alternatives)
            .into_iter()
            .filter_map(|uses| FieldIndex::new(rules, &alternatives, &uses));
        let (usual, others): (Vec<_>, Vec<_>) =
            known.partition(|index| is_usual(rules.fields.path(index.field)));
        let (unusual, dear): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|index| index.cost < Cost::Much);
        let is_alone = |index: &FieldIndex| About::of(&rules.fields, index).is_none();
        let mut usual = choose(usual, is_alone, USUAL_FIELDS_MAX, count);
        let looked_up: Vec<_> = usual.iter().map(|index| index.field).collect();
        let kind = Together::of(About::Kind, &rules.fields, &mut usual, count);
        let caller = Together::of(About::Caller, &rules.fields, &mut usual, count);
        let mut rest = choose(unusual, |_| true, UNUSUAL_FIELDS_MAX, count);
        rest.extend(dear);
        let needs = Needs::new(rules, &alternatives, &looked_up);
        Index {
            rules: alternatives.iter().map(|one| one.rule).collect(),
            all: Bits::all(count),
            every_stage,
            unfinished,
            kind,
            caller,
            usual,
            needs,
            rest: Rest::new(rest, count),
            derivations: Derivations::new(rules),
            passed: Parts::NONE,
            endless: Endless::default(),
            conditions: alternatives.into_iter().map(|one| one.condition.into_owned()).collect(),
        }
    }

    /// Leaves out what only the ledger wants to know, from now on: the rules that record, and what is left out of
    /// rules.
    pub(super) fn leave_out_recording(&mut self, rules: &RuleSet) {
        for (number, index) in self.rules.iter().enumerate() {
            let rule = rules.rules.get(index.index());
            if rule.is_none_or(Rule::records) {
                for bits in [&mut self.all, &mut self.every_stage, &mut self.unfinished] {
                    bits.set(number, false);
                }
            }
        }
        self.kind.forget();
        self.caller.forget();
    }

    /// See [`RuleMatcher::tell_apart_by`](super::RuleMatcher::tell_apart_by).
    pub(super) fn tell_apart_by(&mut self, fields: &[FieldId], reason: FieldId) {
        self.kind.tell_apart_by(fields, reason);
        self.caller.tell_apart_by(fields, reason);
    }

    /// How the event that was looked at last is told from others; `None`: it is an odd one.
    #[inline]
    pub(super) fn combinations(
        &mut self,
        rules: &RuleSet,
        event: &Event<'_>,
    ) -> Option<Combinations> {
        if event.has_replaced() {
            return None;
        }
        let kind = self.kind.digest(rules, event, self.passed)?;
        Some(Combinations { kind, caller: self.caller.latest() })
    }

    /// The alternatives that the event can satisfy, whatever is in the parts that were passed over, into
    /// `candidates`. False: none. `looked`: the event was looked at before, when these parts were passed over;
    /// `candidates` is what was left then.
    pub(super) fn candidates(
        &mut self,
        rules: &RuleSet,
        event: &mut Event<'_>,
        (looked, passed): (Option<Parts>, Parts),
        fold: &mut Fold,
        candidates: &mut Bits,
    ) -> bool {
        let all = match event.stage {
            Stage::RequestReceived => &self.every_stage,
            Stage::Unfinished => &self.unfinished,
            _ => &self.all,
        };
        self.passed = passed;
        if looked.is_none() {
            self.kind.next_event();
            self.caller.next_event();
        }
        if event.has_replaced() {
            // A value may count towards a condition and not against it, which no field can tell.
            candidates.copy_from(all);
            return true;
        }
        let Index { kind, caller, usual, needs, rest, conditions, derivations, .. } = self;
        let mut look =
            Look { rules, conditions, derivations, looked, passed, is_thorough: false, fold };
        // Nothing of these is in parts that may be passed over, but for the reason, which is looked at as it is written.
        if looked.is_none() {
            candidates.copy_from(all);
            if !kind.keep(&mut look, event, all, candidates)
                || !caller.keep(&mut look, event, &self.all, candidates)
            {
                return false;
            }
        }
        if !look.keep(usual, event, candidates) {
            return false;
        }
        if looked != Some(passed) && !needs.keep(event, passed, candidates) {
            return false;
        }
        rest.keep(&mut look, event, candidates)
    }

    /// Whether some rule may hold for a request like this one, should it never end. `false` for all events of one
    /// request, or for none of them.
    pub(super) fn may_be_unfinished(
        &mut self,
        rules: &RuleSet,
        event: &Event<'_>,
        fold: &mut Fold,
    ) -> bool {
        let Index { endless, unfinished, conditions, .. } = self;
        let of_rules = unfinished.iter().filter_map(|number| conditions.get(number));
        endless.concerns(event, of_rules, rules, fold)
    }

    /// The rules of these [`Index::candidates`], in their order, each once.
    pub(super) fn rules(&self, candidates: &Bits) -> impl Iterator<Item = RuleIndex> {
        let mut last = None;
        candidates.iter().filter_map(move |number| {
            let rule = *self.rules.get(number)?;
            (last.replace(rule) != Some(rule)).then_some(rule)
        })
    }
}

/// Fields that few events have, and behind them those whose values are dear: for what is still left.
#[derive(Debug)]
struct Rest {
    fields: Vec<FieldIndex>,
    /// For each alternative, the fields that may rule it out, one bit each.
    deciding: Vec<u64>,
}

impl Rest {
    /// Of these fields, of which the first 64 are looked at.
    fn new(fields: Vec<FieldIndex>, count: usize) -> Rest {
        let bits = |number: usize| {
            let deciding = fields.iter().take(64).map(|index| index.decides.has(number));
            deciding.zip(0..).fold(0, |all, (decides, bit)| all | u64::from(decides) << bit)
        };
        Rest { deciding: (0..count).map(bits).collect(), fields }
    }

    /// Keeps what the values of the fields that matter to it do not rule out. False: nothing.
    fn keep(&mut self, look: &mut Look<'_>, event: &mut Event<'_>, candidates: &mut Bits) -> bool {
        let deciding = |number| self.deciding.get(number).copied().unwrap_or(0);
        let mut left = candidates.iter().fold(0, |all, number| all | deciding(number));
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            left &= left - 1;
            let field = self.fields.get_mut(at..=at).unwrap_or_default();
            if !look.keep(field, event, candidates) {
                return false;
            }
        }
        true
    }
}

/// A look at the fields of one event.
struct Look<'l> {
    rules: &'l RuleSet,
    conditions: &'l [Expression],
    derivations: &'l Derivations,
    /// Parts that were passed over when the event was looked at before.
    looked: Option<Parts>,
    passed: Parts,
    /// What is found is remembered, so that it has to be all that can be found.
    is_thorough: bool,
    fold: &'l mut Fold,
}

impl Look<'_> {
    /// Keeps what the values of these fields do not rule out. False: nothing.
    fn keep(
        &mut self,
        fields: &mut [FieldIndex],
        event: &mut Event<'_>,
        candidates: &mut Bits,
    ) -> bool {
        for index in fields {
            let is_known = self.looked.is_some_and(|looked| !index.parts.meets(looked));
            if is_known || !candidates.meets(&index.decides) {
                continue;
            }
            if index.parts.meets(self.passed) {
                // A reason that was passed over can be looked at all the same.
                let is_alone = index.parts == Parts::REASON && !event.has(index.field);
                let written = event.reason_as_written.filter(|_| is_alone);
                let Some(written) = written else { continue };
                let (rules, is_thorough) = ((self.rules, self.conditions), self.is_thorough);
                if !index.keep_as_written(rules, written, is_thorough, self.fold, candidates) {
                    return false;
                }
                continue;
            }
            self.derivations.derive(event, index.field);
            if !index.keep(self.rules, self.conditions, event, self.fold, candidates) {
                return false;
            }
        }
        true
    }
}

/// Chooses the fields whose values are looked up, the sharpest first.
///
/// A rule wants to be ruled out by one field at least, better by several, since no field rules it out of
/// every event. So in each step the field that does most for the rules served least is taken. One that is
/// behind the others costs little: of most events nothing is left by then.
/// `most` of those that are looked up by themselves are taken.
fn choose(
    mut known: Vec<FieldIndex>,
    is_alone: impl Fn(&FieldIndex) -> bool,
    most: usize,
    count: usize,
) -> Vec<FieldIndex> {
    let mut ruled_out: Vec<Bits> = known.iter().map(|index| index.often_ruled_out(count)).collect();
    let mut served = vec![0_u32; count];
    let mut chosen = Vec::new();
    while chosen.iter().filter(|index| is_alone(index)).count() < most {
        let gain = |bits: &Bits| -> u64 {
            bits.iter()
                .map(|number| {
                    served
                        .get(number)
                        .map_or(0, |served| SERVED_LESS.pow(SERVED_MAX.saturating_sub(*served)))
                })
                .sum()
        };
        let best = ruled_out
            .iter()
            .enumerate()
            .map(|(at, bits)| (gain(bits), at))
            .max_by_key(|(gain, at)| (*gain, std::cmp::Reverse(*at)));
        let Some((1.., at)) = best else { break };
        for number in ruled_out.remove(at).iter() {
            if let Some(served) = served.get_mut(number) {
                *served += 1;
            }
        }
        chosen.push(known.remove(at));
    }
    chosen
}
