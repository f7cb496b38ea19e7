//! The test of one field against another.

use super::{
    Scratch,
    many::{self, is_number},
};
use crate::engine::{
    detect::fold::Fold,
    event::{Event, FieldId},
    rule::StringKind,
    value::Value,
};

/// Values of one of two fields up to which all are compared with all of the other: 16.
const FEW: usize = 16;

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
    scratch: &mut Scratch,
) -> bool {
    if event.count(field).min(event.count(other)) > FEW {
        return many::any_relate(event, [field, other], kind, cased);
    }
    event.values(field).any(|value| any_other(event, (value, other), kind, cased, scratch))
}

/// Whether one value relates to any of a field that has few.
pub(super) fn relates(
    event: &Event<'_>,
    (value, other): (&Value<'_>, FieldId),
    kind: StringKind,
    cased: bool,
    scratch: &mut Scratch,
) -> bool {
    event.count(other) <= FEW && any_other(event, (value, other), kind, cased, scratch)
}

pub(super) fn any_other(
    event: &Event<'_>,
    (value, other): (&Value<'_>, FieldId),
    kind: StringKind,
    cased: bool,
    scratch: &mut Scratch,
) -> bool {
    event.values(other).any(|other| {
        if kind == StringKind::Equals
            && (is_number(value) || is_number(other))
            && let (Some(left), Some(right)) = (value.number(), other.number())
        {
            return left == right;
        }
        match (scratch.fold.text(value, cased), scratch.other.fold.text(other, cased)) {
            (Some(text), Some(pattern)) => super::text::kind_holds(kind, text, pattern),
            _ => false,
        }
    })
}
