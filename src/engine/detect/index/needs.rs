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
    /// The fields that come from the parts of each [`Parts::set`].
    from: Vec<Bits>,
    /// Of the event that is looked at, the fields that it has, or may have in parts that were passed over.
    may_have: Bits,
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
            from: Parts::sets().map(|parts| from(parts, &rules.fields)).collect(),
            may_have: Bits::default(),
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
        let Needs { each, without_first, firsts, by_first, from, may_have, left } = self;
        let has = event.present();
        let Some(from) = from.get(passed.number()) else { return candidates.has_any() };
        may_have.become_all_of(has, from);
        left.copy_from(without_first);
        for field in may_have.iter_both(firsts) {
            by_first.get(field).into_iter().for_each(|first| left.add(first));
        }
        candidates.keep(left)
            && candidates
                .retain(|number| each.get(number).is_none_or(|one| one.met_by(has, may_have)))
    }
}

/// The fields that come from some parts.
fn from(parts: Parts, table: &FieldTable) -> Bits {
    let mut fields = Bits::none(table.len());
    for (number, path) in table.paths().iter().enumerate() {
        fields.set(number, Parts::of(path).meets(parts));
    }
    fields
}

/// What one alternative needs of an event, whatever the values.
#[derive(Debug)]
struct NeedsOfOne {
    /// It cannot hold without this field, which most events do not have.
    first: Option<FieldId>,
    /// If there are more without any of which it cannot hold: all of them, by number.
    present: Option<Bits>,
    /// It cannot hold with any of these.
    absent: Option<Bits>,
    /// It cannot hold without at least one of these, as is usual for rules about one of several
    /// annotations.
    one_of: Option<Bits>,
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
        let set = |fields: &[FieldId]| {
            let mut bits = Bits::none(rules.fields.len());
            for field in fields {
                bits.set(field.index(), true);
            }
            Some(bits)
        };
        let (mut present, mut absent) = (Vec::new(), Vec::new());
        for field in fields.iter().filter(|field| !looked_up.contains(field)) {
            if cannot_hold(&[*field], Class::Absent) {
                present.push(*field);
            }
            if cannot_hold(&[*field], Class::Present) {
                absent.push(*field);
            }
        }
        let mut needs = NeedsOfOne {
            // Those that nearly every event has come first in the table.
            first: present.last().copied(),
            present: set(&present).filter(|_| present.len() > 1),
            absent: set(&absent).filter(|_| !absent.is_empty()),
            one_of: None,
        };
        if fields.len() <= FIELDS_TOGETHER_MAX && cannot_hold(&fields, Class::Absent) {
            // What nearly every event has goes first; so what is left tells most.
            for field in fields.clone() {
                let without: Vec<FieldId> =
                    fields.iter().copied().filter(|other| *other != field).collect();
                if cannot_hold(&without, Class::Absent) {
                    fields = without;
                }
            }
            needs.one_of = set(&fields).filter(|_| fields.len() > 1);
        }
        needs
    }

    /// Whether an event that has the first field that is needed has the others, or may have them in parts that were
    /// passed over.
    #[inline]
    fn met_by(&self, has: &[u64], may_have: &Bits) -> bool {
        self.present.as_ref().is_none_or(|present| may_have.has_all(present))
            && self.absent.as_ref().is_none_or(|absent| !absent.meets_words(has))
            && self.one_of.as_ref().is_none_or(|one_of| may_have.meets(one_of))
    }
}
