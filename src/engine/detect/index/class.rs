//! What a condition comes to when only this much is known of a field: of which class its value is.

use std::borrow::Cow;

use crate::engine::{
    detect::{fold::Fold, test},
    limits,
    rule::{Expression, Predicate, RuleSet, StringKind, Test},
    value::Value,
};

/// Length of the prefixes that are known one by one: 256 bytes. Tests for longer ones are looked at.
const PREFIX_BYTES_MAX: usize = 256;

/// What is known of the value of the field in question.
#[derive(Clone, Copy)]
pub(super) enum Class<'t> {
    /// There is none.
    Absent,
    /// There is one at least, of whatever kind.
    Present,
    /// It is null.
    Null,
    /// A text that no rule names.
    Other {
        /// The longest of the [`prefix`]es of all rules that it begins with; empty if there is none.
        /// `None`: that is not known.
        prefix: Option<&'t str>,
    },
    /// This text.
    Exact(&'t str),
    /// A text that folds to this one.
    Folded(&'t str),
}

/// What a condition comes to when `known` tells of which class the values of some fields are, and
/// everything else is not known. `None`: it depends.
pub(super) fn possible<'t>(
    rules: &RuleSet,
    expression: &Expression,
    known: &mut dyn FnMut(&Predicate) -> Option<Class<'t>>,
    fold: &mut Fold,
) -> Option<bool> {
    match expression {
        Expression::Constant(value) => Some(*value),
        Expression::Inside(_) | Expression::Before(_) | Expression::SameElement(_) => None,
        Expression::Predicate(id) => {
            let predicate = rules.predicates.get(id.0 as usize)?;
            decided(predicate, known(predicate)?, fold)
        }
        Expression::Not(inner) => possible(rules, inner, known, fold).map(|value| !value),
        Expression::All(parts) => {
            combined(parts.iter().map(|part| possible(rules, part, known, fold)), false)
        }
        Expression::Any(parts) => {
            combined(parts.iter().map(|part| possible(rules, part, known, fold)), true)
        }
    }
}

/// All or any of three-valued parts: `absorbing` decides as soon as it appears.
fn combined(parts: impl Iterator<Item = Option<bool>>, absorbing: bool) -> Option<bool> {
    let mut result = Some(!absorbing);
    for part in parts {
        match part {
            Some(value) if value == absorbing => return Some(absorbing),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

/// Whether a predicate holds for a value of which only the class is known. `None`: it depends.
fn decided(predicate: &Predicate, class: Class<'_>, fold: &mut Fold) -> Option<bool> {
    match (&predicate.test, class) {
        (Test::Null, Class::Absent) => Some(true),
        (_, Class::Absent) => Some(false),
        (Test::FieldRef { .. }, _) => None,
        (test, Class::Null) => Some(test::passes(test, &Value::Null, fold)),
        (Test::Exists, _) => Some(true),
        (_, Class::Present) => None,
        (Test::Null, _) => Some(false),
        (test, Class::Exact(text)) => {
            Some(test::passes(test, &Value::Str(Cow::Borrowed(text)), fold))
        }
        (test, Class::Folded(text)) if !minds_case(test) => {
            Some(test::passes(test, &Value::Str(Cow::Borrowed(text)), fold))
        }
        (_, Class::Folded(_)) => None,
        (test, Class::Other { prefix: known }) => match (prefix(test), known) {
            (Some(prefix), Some(known)) => Some(known.starts_with(prefix)),
            _ => named_texts(test).map(|_| false),
        },
    }
}

/// Whether texts that differ in case can differ in the result.
const fn minds_case(test: &Test) -> bool {
    match test {
        Test::OneOf { cased, .. } | Test::Text { cased, .. } => *cased,
        Test::Number(..) | Test::Bool(_) | Test::Cidr(_) => false,
        _ => true,
    }
}

/// The texts without which a test is false; `None` if it is not of that sort.
pub(super) fn named_texts(test: &Test) -> Option<Vec<&str>> {
    match test {
        Test::OneOf { texts, .. } if texts.len() <= limits::INDEX_TEXTS_PER_TEST_MAX => {
            Some(texts.iter().map(String::as_str).collect())
        }
        Test::Text { kind: StringKind::Equals, pattern, .. } => Some(vec![pattern]),
        Test::Bool(true) => Some(vec!["true"]),
        Test::Bool(false) => Some(vec!["false"]),
        _ => None,
    }
}

/// The prefix, in whatever case, that makes a test true, and without which it is false. `None` if it
/// is not of that sort.
pub(super) fn prefix(test: &Test) -> Option<&str> {
    match test {
        Test::Text { kind: StringKind::StartsWith, pattern, cased: false }
            if pattern.is_ascii() && (1..=PREFIX_BYTES_MAX).contains(&pattern.len()) =>
        {
            Some(pattern)
        }
        _ => None,
    }
}
