//! Tests of text by automata: wildcards, regular expressions, many substrings at once. Their case
//! rules are compiled into them.

use aho_corasick::AhoCorasick;
use regex::Regex;

use crate::engine::{detect::fold::Fold, value::Value};

/// Matches an expression somewhere.
pub(super) fn regex(regex: &Regex, value: &Value<'_>, fold: &mut Fold) -> bool {
    fold.text(value, true).is_some_and(|text| regex.is_match(text))
}

/// Contains any of the automaton's patterns, which are ASCII unless `cased`.
pub(super) fn contains_any(
    automaton: &AhoCorasick,
    cased: bool,
    value: &Value<'_>,
    fold: &mut Fold,
) -> bool {
    // The automaton folds ASCII itself; other letters may fold to ASCII too (the Kelvin sign).
    let as_it_is = cased || matches!(value, Value::Str(text) if text.is_ascii());
    fold.text(value, as_it_is).is_some_and(|text| automaton.is_match(text))
}
