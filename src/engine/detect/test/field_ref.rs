//! The test of one field against another.

use crate::engine::{
    detect::fold::Fold,
    event::{Event, FieldId},
    rule::StringKind,
    value::Value,
};

/// Memory for the other field's text, folded.
#[derive(Debug, Default)]
pub(in crate::engine::detect) struct Other {
    fold: Fold,
}

/// Any value of one field relates to any of another. Numbers are the same if they are as numbers.
pub(super) fn holds(
    event: &Event<'_>,
    [field, other]: [FieldId; 2],
    kind: StringKind,
    cased: bool,
    fold: &mut Fold,
    other_fold: &mut Other,
) -> bool {
    event.values(field).any(|value| {
        event.values(other).any(|other| {
            if kind == StringKind::Equals
                && (is_number(value) || is_number(other))
                && let (Some(left), Some(right)) = (value.number(), other.number())
            {
                return left.total_cmp(&right).is_eq();
            }
            match (fold.text(value, cased), other_fold.fold.text(other, cased)) {
                (Some(text), Some(pattern)) => super::text::kind_holds(kind, text, pattern),
                _ => false,
            }
        })
    })
}

const fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_))
}
