//! One field against another when both have many values: whether any two relate, in about the time that it
//! takes to read them. Comparing all with all would take the product, which whoever writes a body chooses.

use std::borrow::Cow;

use aho_corasick::AhoCorasick;
use hashbrown::HashSet;

use crate::engine::{
    detect::fold::is_folded,
    event::{Event, FieldId},
    rule::StringKind,
    value::{Number, Value, fold_case},
};

/// Bytes of patterns that are looked for at once: 1 MiB, since an automaton takes many times as much.
const PATTERN_BYTES_AT_ONCE: usize = 1 << 20;

/// Whether any value of one field relates to any of another, as [`super::field_ref`] says it.
pub(super) fn any_relate(
    event: &Event<'_>,
    [field, other]: [FieldId; 2],
    kind: StringKind,
    cased: bool,
) -> bool {
    if kind == StringKind::Equals && any_same_number(event, [field, other]) {
        return true;
    }
    let texts = texts_of(event, field, cased);
    let patterns = texts_of(event, other, cased);
    match kind {
        StringKind::Equals => {
            let patterns: HashSet<&str> = patterns.iter().map(|pattern| &**pattern).collect();
            texts.iter().any(|text| patterns.contains(&**text))
        }
        StringKind::StartsWith => any_begins(
            texts.iter().map(|text| text.as_bytes()),
            patterns.iter().map(|pattern| pattern.as_bytes()),
        ),
        StringKind::EndsWith => {
            let reversed = |texts: &[Cow<'_, str>]| -> Vec<Vec<u8>> {
                texts.iter().map(|text| text.bytes().rev().collect()).collect()
            };
            let (texts, patterns) = (reversed(&texts), reversed(&patterns));
            any_begins(texts.iter().map(Vec::as_slice), patterns.iter().map(Vec::as_slice))
        }
        StringKind::Contains => any_contains(&texts, &patterns),
    }
}

/// The texts of all values, folded unless `cased`.
fn texts_of<'e>(event: &'e Event<'_>, field: FieldId, cased: bool) -> Vec<Cow<'e, str>> {
    let texts = event.values(field).filter_map(Value::text);
    let fold = |text: Cow<'e, str>| {
        if cased || is_folded(&text) { text } else { Cow::Owned(fold_case(&text)) }
    };
    texts.map(fold).collect()
}

/// Whether a value is a number of JSON.
pub(super) const fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_))
}

/// Numbers are the same if they are as numbers, and one of the two is no text.
fn any_same_number(event: &Event<'_>, fields: [FieldId; 2]) -> bool {
    let is_number = |value: &&Value<'_>| is_number(value);
    let identity = |value: &Value<'_>| value.number().map(Number::identity);
    let [(numbers, all), (other_numbers, other_all)] = fields.map(|field| {
        let numbers: HashSet<(bool, i128)> =
            event.values(field).filter(is_number).filter_map(identity).collect();
        let all: HashSet<(bool, i128)> = event.values(field).filter_map(identity).collect();
        (numbers, all)
    });
    !numbers.is_disjoint(&other_all) || !all.is_disjoint(&other_numbers)
}

/// Whether any text begins with any pattern.
fn any_begins<'t>(
    mut texts: impl Iterator<Item = &'t [u8]>,
    patterns: impl Iterator<Item = &'t [u8]>,
) -> bool {
    let mut patterns: Vec<&[u8]> = patterns.collect();
    patterns.sort_unstable();
    // Of patterns that begin with one another the shortest will do; then a text can only begin with the
    // last one that is not behind it.
    patterns.dedup_by(|longer, shorter| longer.starts_with(shorter));
    texts.any(|text| {
        let behind = patterns.partition_point(|pattern| *pattern <= text);
        let last = behind.checked_sub(1).and_then(|last| patterns.get(last));
        last.is_some_and(|pattern| text.starts_with(pattern))
    })
}

/// Whether any text has any pattern in it.
fn any_contains(texts: &[Cow<'_, str>], patterns: &[Cow<'_, str>]) -> bool {
    let mut patterns: Vec<&str> = patterns.iter().map(|pattern| &**pattern).collect();
    patterns.sort_unstable();
    patterns.dedup();
    let mut left = patterns.as_slice();
    while !left.is_empty() {
        let mut bytes = 0;
        let few = left.iter().take_while(|pattern| {
            bytes += pattern.len();
            bytes <= PATTERN_BYTES_AT_ONCE
        });
        let (some, rest) = left.split_at(few.count().max(1));
        let found = match AhoCorasick::new(some) {
            Ok(automaton) => texts.iter().any(|text| automaton.is_match(&**text)),
            Err(_) => some.iter().any(|pattern| texts.iter().any(|text| text.contains(pattern))),
        };
        if found {
            return true;
        }
        left = rest;
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::{super::field_ref::any_other, *};
    use crate::engine::detect::test::Scratch;

    fn value() -> impl Strategy<Value = Value<'static>> {
        let texts = select(
            &[
                "",
                "a",
                "aB",
                "ab",
                "ABc",
                "bc",
                "7",
                "07",
                "7.0",
                "9007199254740993",
                "\u{212a}",
                "k",
            ][..],
        );
        prop_oneof![
            4 => texts.prop_map(|text| Value::Str(Cow::Borrowed(text))),
            1 => "[abB7]{2,5}".prop_map(|text| Value::Str(Cow::Owned(text))),
            1 => select(&[7, 0, 70, 9_007_199_254_740_992][..]).prop_map(Value::Int),
            1 => select(&[7.0, -0.0, 0.5][..]).prop_map(Value::Float),
            1 => Just(Value::Null),
        ]
    }

    proptest! {
        #[test]
        fn it_is_as_if_all_were_compared_with_all(
            values in vec(value(), 0..8),
            others in vec(value(), 0..8),
            cased in any::<bool>(),
        ) {
            use StringKind::{Contains, EndsWith, Equals, StartsWith};
            let [field, other] = [FieldId(0), FieldId(1)];
            let mut event = Event::new(2);
            for value in values {
                event.push(field, value);
            }
            for value in others {
                event.push(other, value);
            }
            for kind in [Equals, StartsWith, EndsWith, Contains] {
                let mut scratch = Scratch::default();
                let mut relates = |value| {
                    any_other(&event, (value, other), kind, cased, &mut scratch)
                };
                let expected = event.values(field).any(&mut relates);
                let got = any_relate(&event, [field, other], kind, cased);
                prop_assert_eq!(got, expected, "{:?} {:?}", kind, event);
            }
        }
    }
}
