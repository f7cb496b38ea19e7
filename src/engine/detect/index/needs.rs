//! The fields without which an alternative cannot hold, and those with which it cannot.

use super::{
    alternative::Alternative,
    class::{Class, possible},
    cost::{Cost, cost_of},
};
use crate::engine::{
    detect::{bits::Bits, fold::Fold},
    event::{Event, FieldId, FieldTable, Parts},
    rule::{Predicate, RuleSet},
};

/// Fields of a condition that are looked for together at most: 256. One that needs one of more fields is
/// looked at for every event.
const FIELDS_TOGETHER_MAX: usize = 256;

/// What all alternatives need of an event, whatever the values.
#[derive(Debug)]
pub(super) struct Needs {
    each: Vec<NeedsOfOne>,
    /// Alternatives that need none of `firsts`.
    without_first: Bits,
    /// The fields that are the first that some alternative needs.
    firsts: Bits,
    /// For each field, the alternatives for which it is the first one.
    by_first: Vec<Bits>,
    present: Present,
    /// What is left by the first fields alone.
    left: Bits,
}

impl Needs {
    /// What each alternative needs. Of fields that are looked up anyway nothing is said twice.
    pub(super) fn new(
        rules: &RuleSet,
        alternatives: &[Alternative<'_>],
        looked_up: &[FieldId],
    ) -> Needs {
        let each: Vec<NeedsOfOne> =
            alternatives.iter().map(|one| NeedsOfOne::new(rules, one, looked_up)).collect();
        let (count, fields) = (alternatives.len(), rules.fields.len());
        let mut needs = Needs {
            without_first: Bits::none(count),
            firsts: Bits::none(fields),
            by_first: vec![Bits::default(); fields],
            present: Present::new(&rules.fields),
            left: Bits::default(),
            each: Vec::new(),
        };
        for (number, one) in each.iter().enumerate() {
            let first = one.first.and_then(|field| needs.by_first.get_mut(field.index()));
            needs.without_first.set(number, first.is_none());
            let (Some(first), Some(field)) = (first, one.first) else { continue };
            if !first.has_room() {
                *first = Bits::none(count);
            }
            first.set(number, true);
            needs.firsts.set(field.index(), true);
        }
        needs.each = each;
        needs
    }

    /// Keeps what has all that it needs, or may have it in parts that were passed over. False: nothing. Cost: some words
    /// for each field that is the first of some alternative and that the event has, and some for each alternative
    /// that is left by these.
    pub(super) fn keep(&mut self, event: &Event<'_>, passed: Parts, candidates: &mut Bits) -> bool {
        let Needs { each, without_first, firsts, by_first, present, left } = self;
        present.see(event, passed);
        left.copy_from(without_first);
        for field in present.may_have.iter_both(firsts) {
            by_first.get(field).into_iter().for_each(|first| left.add(first));
        }
        candidates.keep(left)
            && candidates.retain(|number| each.get(number).is_none_or(|one| one.met_by(present)))
    }
}

/// What one alternative needs of an event, whatever the values.
#[derive(Debug)]
struct NeedsOfOne {
    /// One of `present`, of which most events have none.
    first: Option<FieldId>,
    /// It cannot hold without any of these fields, by number.
    present: Bits,
    /// It cannot hold with any of these.
    absent: Bits,
    /// It cannot hold without at least one of these, as is usual for rules about one of several
    /// annotations.
    one_of: Option<Bits>,
}

/// Which fields an event has.
#[derive(Debug)]
struct Present {
    /// For each part, the fields that come from it.
    from: Vec<(Parts, Bits)>,
    has: Bits,
    /// Those too that may come from parts that were passed over.
    may_have: Bits,
}

impl Present {
    /// Of no event yet.
    fn new(table: &FieldTable) -> Present {
        let parts: Vec<Parts> = table.paths().iter().map(|path| Parts::of(path)).collect();
        let from = |part: Parts| {
            let mut fields = Bits::none(parts.len());
            for (number, of) in parts.iter().enumerate() {
                fields.set(number, of.meets(part));
            }
            (part, fields)
        };
        Present {
            from: Parts::EACH.map(from).into(),
            has: Bits::default(),
            may_have: Bits::default(),
        }
    }

    /// Looks at an event. Cost: a bit for each field.
    fn see(&mut self, event: &Event<'_>, passed: Parts) {
        self.has.copy_from_words(event.present());
        self.may_have.copy_from(&self.has);
        for (_, fields) in self.from.iter().filter(|(part, _)| part.meets(passed)) {
            self.may_have.add(fields);
        }
    }
}

impl NeedsOfOne {
    fn new(rules: &RuleSet, one: &Alternative<'_>, looked_up: &[FieldId]) -> NeedsOfOne {
        let mut fields: Vec<FieldId> = Vec::new();
        one.condition.for_each_predicate(&mut |id| {
            let field = rules.predicates.get(id.0 as usize).map(|predicate| predicate.field);
            // A derived field is there only once it was computed.
            fields
                .extend(field.filter(|field| cost_of(rules.fields.path(*field)) == Cost::Nothing));
        });
        fields.sort_unstable();
        fields.dedup();
        let mut fold = Fold::default();
        let mut cannot_hold = |fields: &[FieldId], class: Class<'_>| {
            let mut known =
                |predicate: &Predicate| fields.contains(&predicate.field).then_some(class);
            possible(rules, &one.condition, &mut known, &mut fold) == Some(false)
        };
        let none = Bits::none(rules.fields.len());
        let mut needs =
            NeedsOfOne { first: None, present: none.clone(), absent: none.clone(), one_of: None };
        for field in fields.iter().filter(|field| !looked_up.contains(field)) {
            if cannot_hold(&[*field], Class::Absent) {
                // Those that nearly every event has come first in the table.
                needs.first = Some(*field);
                needs.present.set(field.index(), true);
            }
            if cannot_hold(&[*field], Class::Present) {
                needs.absent.set(field.index(), true);
            }
        }
        if fields.len() <= FIELDS_TOGETHER_MAX && cannot_hold(&fields, Class::Absent) {
            // What nearly every event has goes first; so what is left tells most.
            for field in fields.clone() {
                let without: Vec<FieldId> =
                    fields.iter().copied().filter(|other| *other != field).collect();
                if cannot_hold(&without, Class::Absent) {
                    fields = without;
                }
            }
            if fields.len() > 1 {
                let mut one_of = none;
                for field in &fields {
                    one_of.set(field.index(), true);
                }
                needs.one_of = Some(one_of);
            }
        }
        needs
    }

    /// Whether an event has what is needed, or may have it in parts that were passed over.
    #[inline]
    fn met_by(&self, event: &Present) -> bool {
        event.may_have.has_all(&self.present)
            && !event.has.meets(&self.absent)
            && self.one_of.as_ref().is_none_or(|one_of| event.may_have.meets(one_of))
    }
}
