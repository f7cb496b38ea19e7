//! Values of fields: a JSON scalar as rules see it, borrowed from the record's bytes where it can be,
//! and what is kept of one for keys, labels and evidence.

use std::{borrow::Cow, cmp::Ordering, fmt, sync::Arc};

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

use super::{event_ref::EventRef, limits::CAPTURED_VALUES_MAX};

/// One value of a field. A field has none, one, or many (arrays have any-member meaning).
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// JSON `null`.
    Null,
    /// JSON `true` or `false`.
    Bool(bool),
    /// A JSON number without fraction or exponent that fits; resource versions stay exact.
    Int(i64),
    /// Every other JSON number.
    Float(f64),
    /// A string; owned only if it had escapes or is derived.
    Str(Cow<'a, str>),
    /// The path ends at an object or an empty array: it exists, and equals nothing.
    Composite,
}

impl Value<'_> {
    /// The value as text, the way keys, labels and evidence show it. `None` for [`Value::Null`] and
    /// [`Value::Composite`]: these cannot identify anybody.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Null | Value::Composite => None,
            Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Value::Int(value) => Some(Cow::Owned(value.to_string())),
            Value::Float(value) => Some(Cow::Owned(value.to_string())),
            Value::Str(value) => Some(Cow::Borrowed(value)),
        }
    }

    /// The value as a number: JSON numbers, and strings that are nothing but one.
    pub fn number(&self) -> Option<Number> {
        match self {
            Value::Int(value) => Some(Number::Whole(i128::from(*value))),
            Value::Float(value) => Some(Number::from(*value)),
            Value::Str(text) => Number::parse(text),
            Value::Null | Value::Bool(_) | Value::Composite => None,
        }
    }
}

/// A number as rules compare it: whole ones are exact, as ids and resource versions lie above 2^53. Each
/// number has one form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number of up to 127 bits.
    Whole(i128),
    /// Any other.
    Other(f64),
}

impl Number {
    /// A text that is nothing but a number.
    pub fn parse(text: &str) -> Option<Number> {
        if let Ok(whole) = text.parse() {
            return Some(Number::Whole(whole));
        }
        text.parse().ok().filter(|number: &f64| number.is_finite()).map(Number::from)
    }

    /// The nearest number of 64 bits.
    #[expect(clippy::cast_precision_loss, reason = "whoever asks for this wants no more")]
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Whole(whole) => whole as f64,
            Number::Other(number) => number,
        }
    }

    /// What is the same for the same numbers only.
    pub const fn identity(self) -> (bool, i128) {
        match self {
            Number::Whole(whole) => (true, whole),
            Number::Other(number) => (false, number.to_bits() as i128),
        }
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Number {
        /// 2^127
        const TOO_MANY: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and fits")]
        if number.fract() == 0.0 && number.abs() < TOO_MANY {
            Number::Whole(number as i128)
        } else {
            Number::Other(number)
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        match (*self, *other) {
            (Number::Whole(left), Number::Whole(right)) => Some(left.cmp(&right)),
            // Not whole, or beyond all whole ones: rounding does not make them the same.
            _ => self.as_f64().partial_cmp(&other.as_f64()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(whole) => whole.fmt(f),
            Number::Other(number) => number.fmt(f),
        }
    }
}

/// A text as it is compared when case does not count: each character lower-cased by itself, without
/// regard to its neighbours, so that parts of a text fold like the whole.
pub fn fold_case(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Values of one captured field, bounded by [`super::limits::CAPTURED_VALUE_BYTES_MAX`] and
/// [`super::limits::CAPTURED_VALUES_MAX`], or [`super::limits::KEYS_PER_EVENT_MAX`] if they count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Captured {
    /// Absent, null, or an object.
    #[default]
    Absent,
    /// One value.
    One(Arc<str>),
    /// Several, in the order of the document.
    Many(Arc<[Arc<str>]>),
    /// No value of a field: which event the values before it are of. The last of a list, if it is there;
    /// lists that earlier versions stored have none.
    Event(Arc<EventRef>),
}

impl Captured {
    /// All values, in the order of the document.
    pub fn values(&self) -> &[Arc<str>] {
        match self {
            Captured::Absent | Captured::Event(_) => &[],
            Captured::One(text) => std::slice::from_ref(text),
            Captured::Many(texts) => texts,
        }
    }

    /// All values, each once.
    pub fn distinct(&self) -> SmallVec<[&Arc<str>; 1]> {
        match self.values() {
            [] => SmallVec::new(),
            [one] => smallvec![one],
            values => {
                let mut known = HashSet::new();
                values.iter().filter(|value| known.insert(&***value)).collect()
            }
        }
    }

    /// As many values as people are shown: the first ones and the last, of more than
    /// [`super::limits::CAPTURED_VALUES_MAX`].
    #[must_use]
    pub fn shown(&self) -> Captured {
        match self.values() {
            [first @ .., last] if first.len() >= CAPTURED_VALUES_MAX => {
                let first = first.iter().take(CAPTURED_VALUES_MAX - 1);
                Captured::Many(first.chain([last]).cloned().collect())
            }
            _ => self.clone(),
        }
    }

    /// Whether these are more values than people are shown.
    pub fn is_long(&self) -> bool {
        self.values().len() > CAPTURED_VALUES_MAX
    }

    /// All values, joined by a comma and a space, for people.
    pub fn joined(&self) -> Option<Cow<'_, str>> {
        match self {
            Captured::Absent | Captured::Event(_) => None,
            Captured::One(text) => Some(Cow::Borrowed(text)),
            Captured::Many(texts) => Some(Cow::Owned(texts.join(", "))),
        }
    }
}

/// Which event the values of a list are of, if that is known.
pub(in crate::engine) fn event_of(captured: &[Captured]) -> Option<&Arc<EventRef>> {
    match captured.last()? {
        Captured::Event(event) => Some(event),
        Captured::Absent | Captured::One(_) | Captured::Many(_) => None,
    }
}

/// One of each of several parts: most keys have one or two.
pub type Combination<T> = SmallVec<[T; 4]>;

/// Each way to take one of each: nearly always there is one.
pub type Combinations<T> = SmallVec<[Combination<T>; 1]>;

/// Each way to take one value of each part, the values of the last part changing fastest; without parts
/// there is one way. A part without values gives `None` for its value. At most `most`; whether that was too
/// few.
pub fn choices<'c, V>(
    parts: impl Iterator<Item = V>,
    most: usize,
) -> (Combinations<Option<&'c Arc<str>>>, bool)
where
    V: IntoIterator<Item = &'c Arc<str>>,
{
    let mut all: Combinations<Option<&Arc<str>>> = smallvec![Combination::new()];
    let mut too_few = false;
    for part in parts {
        let mut values: SmallVec<[Option<&Arc<str>>; 1]> = part.into_iter().map(Some).collect();
        if values.is_empty() {
            values.push(None);
        }
        if let ([only], [value]) = (all.as_mut_slice(), values.as_slice()) {
            // One way and one value, as nearly always.
            only.push(*value);
            continue;
        }
        too_few |= all.len() * values.len() > most;
        let mut longer = Combinations::new();
        for known in &all {
            for value in values.iter().take(most - longer.len()) {
                longer.push(known.iter().chain([value]).copied().collect());
            }
        }
        all = longer;
    }
    (all, too_few)
}

/// Appends the text of a JSON string, as it stands between its quotes, without its escapes. Lone surrogates become U+FFFD, as the API server reads
/// them: whoever may send a raw patch can write them, and must not hide behind them.
///
/// The string must have been checked; a malformed escape gives U+FFFD.
pub(super) fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escape) = (rest.get(..at).unwrap_or(""), rest.get(at + 1..).unwrap_or(""));
        out.push_str(plain);
        let (kind, tail) = split_char(escape);
        rest = tail;
        match kind {
            'u' => {
                let (unit, tail) = hex_unit(rest);
                rest = tail;
                let mut code = unit;
                if (0xD800..0xDC00).contains(&unit)
                    && let Some(second) = rest.strip_prefix("\\u")
                    && let (low @ 0xDC00..=0xDFFF, tail) = hex_unit(second)
                {
                    rest = tail;
                    code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                }
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            other => out.push(other),
        }
    }
    out.push_str(rest);
}

fn split_char(text: &str) -> (char, &str) {
    let mut chars = text.chars();
    (chars.next().unwrap_or('\\'), chars.as_str())
}

fn hex_unit(text: &str) -> (u32, &str) {
    let (digits, tail) = text.split_at_checked(4).unwrap_or((text, ""));
    (u32::from_str_radix(digits, 16).unwrap_or(0xFFFD), tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_every_part_is_taken() {
        let many =
            |texts: &[&str]| Captured::Many(texts.iter().map(|text| Arc::from(*text)).collect());
        let parts = [many(&["a", "b", "a"]), Captured::Absent, many(&["1", "2"])];
        let words = |most: usize| -> (Vec<String>, bool) {
            let (all, too_few) = choices(parts.iter().map(Captured::distinct), most);
            let word = |choice: &Combination<Option<&Arc<str>>>| {
                choice.iter().map(|value| value.map_or("-", |text| text)).collect()
            };
            (all.iter().map(word).collect(), too_few)
        };
        let all: Vec<String> = ["a-1", "a-2", "b-1", "b-2"].map(str::to_owned).into();
        assert_eq!(words(4), (all.clone(), false));
        assert_eq!(words(3), (all[..3].to_vec(), true));
        let none = std::iter::empty::<Vec<&Arc<str>>>();
        assert_eq!(choices(none, 9), (smallvec![Combination::new()], false));
    }

    #[test]
    fn escapes_are_undone_as_the_api_server_does() {
        for (raw, text) in [
            (r"plain", "plain"),
            (r#"a\"b\\c\/d\b\f\n\r\t"#, "a\"b\\c/d\u{8}\u{c}\n\r\t"),
            (r"a\u0026b\u003c", "a&b<"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83dx", "\u{fffd}x"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\ude00", "\u{fffd}"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
        ] {
            let mut out = String::new();
            unescape(raw, &mut out);
            assert_eq!(out, text, "{raw}");
        }
    }
}
