//! Whether the values of a field pass one test of a rule. One file per family of operators.

mod field_ref;
mod many;
mod network;
mod pattern;
mod scalar;
mod text;

use super::fold::Fold;
use crate::engine::{
    event::Event,
    rule::{Predicate, Test},
    value::Value,
};

/// Memory for evaluating tests, reused from one to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) fold: Fold,
    other: field_ref::Other,
}

/// Whether a predicate holds for an event whose derived fields were computed.
#[inline]
pub(super) fn holds(predicate: &Predicate, event: &Event<'_>, scratch: &mut Scratch) -> bool {
    let field = predicate.field;
    match &predicate.test {
        Test::Exists => event.has(field),
        Test::Null => !event.has(field) || event.values(field).any(|value| *value == Value::Null),
        Test::FieldRef { other, kind, cased } => {
            field_ref::holds(event, [field, *other], *kind, *cased, scratch)
        }
        test => event.values(field).any(|value| passes(test, value, &mut scratch.fold)),
    }
}

/// Whether it is this value that lets a predicate hold. Not said of tests that nearly every value passes.
pub(super) fn is_decisive(
    predicate: &Predicate,
    event: &Event<'_>,
    value: &Value<'_>,
    scratch: &mut Scratch,
) -> bool {
    match &predicate.test {
        Test::Exists | Test::Null => false,
        Test::FieldRef { other, kind, cased } => {
            field_ref::relates(event, (value, *other), *kind, *cased, scratch)
        }
        test => passes(test, value, &mut scratch.fold),
    }
}

/// Whether one value passes a test. Tests that are not of one value alone say no.
#[inline]
pub(super) fn passes(test: &Test, value: &Value<'_>, fold: &mut Fold) -> bool {
    match test {
        Test::Exists => true,
        Test::Null => *value == Value::Null,
        Test::OneOf { texts, cased } => text::one_of(texts, *cased, value, fold),
        Test::Text { kind, pattern, cased } => text::relates(*kind, pattern, *cased, value, fold),
        Test::Regex(regex) => pattern::regex(regex, value, fold),
        Test::ContainsAny { automaton, cased, .. } => {
            pattern::contains_any(automaton, *cased, value, fold)
        }
        Test::Number(comparison, bound) => scalar::number(*comparison, *bound, value),
        Test::Bool(wanted) => scalar::boolean(*wanted, value),
        Test::Cidr(network) => network::inside(network, value),
        Test::TimePart(part, comparison, bound) => {
            scalar::time_part(*part, *comparison, *bound, value)
        }
        Test::FieldRef { .. } => false,
    }
}
