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
    if !cased
        && let Value::Str(text) = value
        && let Some(holds) = holds_at_an_end(kind, text, pattern)
    {
        return holds;
    }
    fold.text(value, cased).is_some_and(|text| kind_holds(kind, text, pattern))
}

/// Whether a text has a lower-case pattern at one end, or is it, without folding all of the text. `None`
/// unless what is compared is ASCII: other letters may fold to ASCII too (the Kelvin sign).
#[inline]
fn holds_at_an_end(kind: StringKind, text: &str, pattern: &str) -> Option<bool> {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let cut = text.len().checked_sub(pattern.len());
    let end = match (kind, cut) {
        (StringKind::Contains, _) => return None,
        (StringKind::StartsWith, Some(_)) => text.get(..pattern.len())?,
        (StringKind::EndsWith, Some(cut)) => text.get(cut..)?,
        // All of it, which is of another length unless it is equal or folds to another length.
        (StringKind::Equals, _) | (_, None) => text,
    };
    // Nearly always the first letter decides.
    if let (Some(first), Some(wanted)) = (end.first(), pattern.first())
        && first.is_ascii()
        && first.to_ascii_lowercase() != *wanted
    {
        return end.is_ascii().then_some(false);
    }
    end.is_ascii().then(|| end.eq_ignore_ascii_case(pattern))
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
