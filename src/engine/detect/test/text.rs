//! Tests of text: equality with any of a set, prefixes, suffixes, substrings.

use hashbrown::HashSet;

use crate::engine::{detect::fold::Fold, rule::StringKind, value::Value};

/// Equal to one of a set. Numbers and booleans are compared by their text.
pub(super) fn one_of(
    texts: &HashSet<String>,
    cased: bool,
    value: &Value<'_>,
    fold: &mut Fold,
) -> bool {
    fold.text(value, cased).is_some_and(|text| texts.contains(text))
}

/// Related to one pattern.
pub(super) fn relates(
    kind: StringKind,
    pattern: &str,
    cased: bool,
    value: &Value<'_>,
    fold: &mut Fold,
) -> bool {
    fold.text(value, cased).is_some_and(|text| kind_holds(kind, text, pattern))
}

/// Whether a text relates to a pattern, byte by byte.
pub(super) fn kind_holds(kind: StringKind, text: &str, pattern: &str) -> bool {
    match kind {
        StringKind::Equals => text == pattern,
        StringKind::StartsWith => text.starts_with(pattern),
        StringKind::EndsWith => text.ends_with(pattern),
        StringKind::Contains => memchr::memmem::find(text.as_bytes(), pattern.as_bytes()).is_some(),
    }
}
