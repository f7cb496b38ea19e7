//! Conditions on one and the same element of an array.
//!
//! An event is a flat list of values, in which members of arrays lie side by side. But decoding is one
//! pass, so the values of one element lie between its own entry and that of the next one: that is how
//! they are told apart, without a tree.

use std::ops::Range;

use super::test::{self, Scratch};
use crate::engine::{
    event::{Event, FieldId},
    rule::{Expression, RuleSet, SameElement},
};

/// Whether a condition holds within some element. Cost: elements × the values of their fields.
pub(super) fn holds(
    rules: &RuleSet,
    same: &SameElement,
    event: &Event<'_>,
    scratch: &mut Scratch,
) -> bool {
    let mut part = Event::new(rules.fields.len());
    let mut fields = cursors(same, event);
    event.elements(same.of).into_iter().any(|range| {
        copy(event, &range, &mut fields, &mut part);
        within(rules, &same.condition, &part, scratch)
    })
}

/// All elements, each as an event with the values of its fields alone.
pub(super) fn parts<'a>(rules: &RuleSet, same: &SameElement, event: &Event<'a>) -> Vec<Event<'a>> {
    let mut fields = cursors(same, event);
    let part = |range: Range<u32>| {
        let mut part = Event::new(rules.fields.len());
        copy(event, &range, &mut fields, &mut part);
        part
    };
    event.elements(same.of).into_iter().map(part).collect()
}

fn cursors(same: &SameElement, event: &Event<'_>) -> Vec<(FieldId, u32)> {
    same.fields.iter().map(|field| (*field, event.cursor(*field))).collect()
}

fn copy<'a>(
    event: &Event<'a>,
    range: &Range<u32>,
    fields: &mut [(FieldId, u32)],
    part: &mut Event<'a>,
) {
    part.clear();
    part.time = event.time;
    for (field, cursor) in fields {
        event.copy_range(*field, range, cursor, part);
    }
}

/// Whether a condition holds for one element.
pub(super) fn within(
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
        // Only what the API server takes counts against a condition.
        Expression::Not(inner) if part.has_replaced() => {
            !within(rules, inner, &part.taken(), scratch)
        }
        Expression::Not(inner) => !within(rules, inner, part, scratch),
        Expression::All(parts) => parts.iter().all(|one| within(rules, one, part, scratch)),
        Expression::Any(parts) => parts.iter().any(|one| within(rules, one, part, scratch)),
        Expression::SameElement(same) => holds(rules, same, part, scratch),
    }
}
