//! Conditions on one and the same element of an array.
//!
//! An event is a flat list of values, in which members of arrays lie side by side. But decoding is one
//! pass, so the values of one element lie between its own entry and that of the next one: that is how
//! they are told apart, without a tree.

use super::{
    test::{self, Scratch},
    twice::{self, Readings},
};
use crate::engine::{
    event::{ElementRange, Event, FieldId},
    rule::{Expression, RuleSet, SameElement},
};

/// One element of an array.
#[derive(Debug)]
pub(super) struct Element<'a> {
    /// An event with the values of its fields alone.
    pub(super) values: Event<'a>,
    /// The array stands in a value that the API server does not take, since its key stands twice.
    pub(super) is_replaced: bool,
}

/// Whether a condition holds within some element. Cost: elements × the values of their fields.
pub(super) fn holds(
    rules: &RuleSet,
    same: &SameElement,
    event: &Event<'_>,
    scratch: &mut Scratch,
) -> bool {
    any(rules, same, event, &mut |element| within(rules, &same.condition, &element.values, scratch))
}

/// The same for an event that can be read in two ways; see [`twice`].
pub(super) fn holds_read_twice(
    rules: &RuleSet,
    same: &SameElement,
    event: &Event<'_>,
    counts: bool,
    scratch: &mut Scratch,
) -> bool {
    any(rules, same, event, &mut |element| element.holds(rules, &same.condition, counts, scratch))
}

impl<'a> Element<'a> {
    /// Its readings. One that is replaced has one alone.
    pub(super) fn readings(&mut self) -> Readings<'_, 'a> {
        let taken = (!self.is_replaced && self.values.has_replaced()).then(|| self.values.taken());
        Readings { every: &mut self.values, taken }
    }

    /// Whether a condition holds for it, in two readings if it has them.
    pub(super) fn holds(
        &self,
        rules: &RuleSet,
        condition: &Expression,
        counts: bool,
        scratch: &mut Scratch,
    ) -> bool {
        let every = &self.values;
        if self.is_replaced {
            return counts && within(rules, condition, every, scratch);
        }
        if !every.has_replaced() {
            return within(rules, condition, every, scratch);
        }
        let taken = every.taken();
        twice::holds_by(condition, counts, &mut |test, counts| match test {
            Expression::SameElement(same) => holds_read_twice(rules, same, every, counts, scratch),
            test => {
                let holds = within(rules, test, every, scratch);
                twice::combined(counts, holds, || within(rules, test, &taken, scratch))
            }
        })
    }
}

/// All elements.
pub(super) fn elements<'a>(
    rules: &RuleSet,
    same: &SameElement,
    event: &Event<'a>,
) -> Vec<Element<'a>> {
    let mut fields = cursors(same, event);
    let element = |range: ElementRange| {
        let mut element = Element { values: Event::new(rules.fields.len()), is_replaced: false };
        copy(event, &range, &mut fields, &mut element);
        element
    };
    event.elements(same.of).into_iter().map(element).collect()
}

/// Whether anything holds for some element. The memory of one is that of the next.
fn any(
    rules: &RuleSet,
    same: &SameElement,
    event: &Event<'_>,
    holds: &mut dyn FnMut(&Element<'_>) -> bool,
) -> bool {
    let mut element = Element { values: Event::new(rules.fields.len()), is_replaced: false };
    let mut fields = cursors(same, event);
    event.elements(same.of).into_iter().any(|range| {
        copy(event, &range, &mut fields, &mut element);
        holds(&element)
    })
}

fn cursors(same: &SameElement, event: &Event<'_>) -> Vec<(FieldId, u32)> {
    same.fields.iter().map(|field| (*field, event.cursor(*field))).collect()
}

fn copy<'a>(
    event: &Event<'a>,
    range: &ElementRange,
    fields: &mut [(FieldId, u32)],
    element: &mut Element<'a>,
) {
    element.is_replaced = range.is_replaced;
    element.values.clear();
    element.values.time = event.time;
    event.copy_range(fields, &range.links, &mut element.values);
}

/// Whether a condition holds for the values of one element, in one reading.
fn within(
    rules: &RuleSet,
    condition: &Expression,
    part: &Event<'_>,
    scratch: &mut Scratch,
) -> bool {
    match condition {
        Expression::Constant(value) => *value,
        Expression::Predicate(id) => rules
            .predicates
            .get(id.0 as usize)
            .is_some_and(|predicate| test::holds(predicate, part, scratch)),
        Expression::Inside(schedule) => rules
            .schedules
            .get(usize::from(schedule.0))
            .is_some_and(|schedule| schedule.contains(part.time)),
        Expression::Before(end) => part.time < *end,
        Expression::Not(inner) => !within(rules, inner, part, scratch),
        Expression::All(parts) => parts.iter().all(|one| within(rules, one, part, scratch)),
        Expression::Any(parts) => parts.iter().any(|one| within(rules, one, part, scratch)),
        Expression::SameElement(same) => holds(rules, same, part, scratch),
    }
}
