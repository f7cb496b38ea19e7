//! Sigma's modifiers: what `field|modifier|…` does to the values behind it.
//!
//! [`MODIFIERS`] is the one table; each entry turns an [`Operand`] into another, from left to right.
//! What fits together is decided here; lists behind placeholders are put in later (`leaf`).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::pattern::{Encoding, Part, Pattern, Shape};
use crate::engine::{
    rule::plan::expression::{StringKind, TimePart},
    syntax::{code, threshold::Comparison},
    value::Number,
};

/// A value on its way through the modifiers.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) enum Operand {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, and how it was written.
    Number(Number, String),
    /// A Sigma string, and how it was written.
    Text {
        /// As it is read.
        pattern: Pattern,
        /// As it was written.
        original: String,
        /// How it becomes bytes.
        encoding: Option<Encoding>,
    },
    /// A regular expression.
    Regex(RegexOperand),
    /// A network, still as text.
    Network(Pattern),
    /// A comparison with a number.
    Compare(Comparison, Number),
    /// The field is there, or is not.
    Exists(bool),
    /// A comparison with another field.
    Field {
        /// Path of the other field.
        path: String,
        /// How.
        kind: StringKind,
        /// Exactly.
        cased: bool,
    },
    /// A comparison of a part of a time.
    Time(TimePart, Comparison, i64),
    /// Any of several.
    AnyOf(Vec<Operand>),
}

/// A regular expression that is being put together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::engine) struct RegexOperand {
    /// The expression as text and placeholders, without wildcards.
    pub(in crate::engine) source: Pattern,
    /// Among `i`, `m`, `s`.
    pub(in crate::engine) flags: String,
    /// Must match at the beginning.
    pub(in crate::engine) at_start: bool,
    /// Must match up to the end.
    pub(in crate::engine) at_end: bool,
}

impl Operand {
    /// A Sigma string as it was written.
    pub(in crate::engine) fn text(original: &str) -> Operand {
        let pattern = Pattern::parse(original);
        Operand::Text { pattern, original: original.to_owned(), encoding: None }
    }

    /// A Sigma string in which `%name%` is a placeholder.
    pub(in crate::engine) fn expanding(original: &str) -> Operand {
        let pattern = Pattern::parse_expanding(original);
        Operand::Text { pattern, original: original.to_owned(), encoding: None }
    }

    /// Whether entries of a list are to be put into it.
    pub(in crate::engine) fn has_placeholders(&self) -> bool {
        match self {
            Operand::Text { pattern, .. } | Operand::Network(pattern) => {
                pattern.placeholders().next().is_some()
            }
            Operand::Regex(regex) => regex.source.placeholders().next().is_some(),
            Operand::AnyOf(values) => values.iter().any(Operand::has_placeholders),
            _ => false,
        }
    }

    /// Whether the entries of this list are to be put into it.
    pub(in crate::engine) fn names_list(&self, list: &str) -> bool {
        match self {
            Operand::Text { pattern, .. } | Operand::Network(pattern) => {
                pattern.placeholders().any(|name| name == list)
            }
            Operand::Regex(regex) => regex.source.placeholders().any(|name| name == list),
            Operand::AnyOf(values) => values.iter().any(|value| value.names_list(list)),
            _ => false,
        }
    }

    /// The text that it is, if it is one without wildcards and placeholders.
    pub(in crate::engine) fn plain_text(&self) -> Option<&str> {
        match self {
            Operand::Text { pattern, encoding: None, .. } => pattern.plain(),
            _ => None,
        }
    }

    const fn kind_name(&self) -> &'static str {
        match self {
            Operand::Null => "null",
            Operand::Bool(_) => "a boolean",
            Operand::Number(..) => "a number",
            Operand::Text { .. } => "text",
            Operand::Regex(_) => "a regular expression",
            Operand::Network(_) => "a network",
            Operand::Compare(..) => "a comparison",
            Operand::Exists(_) => "an existence test",
            Operand::Field { .. } => "a field reference",
            Operand::Time(..) => "a part of a time",
            Operand::AnyOf(_) => "several values",
        }
    }
}

/// Why a modifier does not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Refusal {
    /// Its code.
    pub(in crate::engine) code: &'static str,
    /// What is wrong, without a full stop.
    pub(in crate::engine) title: String,
    /// What to do; may be empty.
    pub(in crate::engine) help: String,
}

fn misuse(title: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal { code: code::MODIFIER_MISUSE, title: title.into(), help: help.into() }
}

/// What a modifier does.
pub(in crate::engine) enum Effect {
    /// All values must match, not any.
    All,
    /// None of the values may match.
    Negate,
    /// Finds placeholders in each value; one of them at least must have one.
    Expand,
    /// Changes each value; told whether it is the first modifier.
    Each(fn(Operand, bool) -> Result<Operand, Refusal>),
}

/// One modifier.
pub(in crate::engine) struct Modifier {
    /// Its name, then other names for it.
    pub(in crate::engine) names: &'static [&'static str],
    /// What it does, in a sentence.
    pub(in crate::engine) summary: &'static str,
    /// What it does.
    pub(in crate::engine) effect: Effect,
}

macro_rules! each {
    ($names:expr, $summary:literal, $function:expr) => {
        Modifier { names: &$names, summary: $summary, effect: Effect::Each($function) }
    };
}

/// Every modifier of Sigma 2.1, with pySigma's further names; sorted.
pub(in crate::engine) const MODIFIERS: &[Modifier] = &[
    Modifier { names: &["all"], summary: "All values must match, not any.", effect: Effect::All },
    each!(["base64"], "The value in Base64.", base64),
    each!(
        ["base64offset"],
        "The value in Base64, wherever it begins in a longer text.",
        base64offset
    ),
    each!(["cased"], "Compares upper and lower case exactly.", cased),
    each!(["cidr"], "The address lies inside the network.", cidr),
    each!(["contains"], "The value is somewhere in the field.", |o, _| affix(o, "contains")),
    each!(["day"], "The day of the month of a time, in UTC.", |o, _| time(o, TimePart::Day)),
    each!(["endswith"], "The field ends with the value.", |o, _| affix(o, "endswith")),
    each!(["exists"], "The field is there, or is not.", exists),
    Modifier {
        names: &["expand"],
        summary: "Replaces each `%name%` by the entries of the list of that name.",
        effect: Effect::Expand,
    },
    each!(["fieldref"], "Compares with another field of the same event.", fieldref),
    each!(["gt"], "Greater than.", |o, _| compare(o, Comparison::Greater)),
    each!(["gte"], "Greater than or equal.", |o, _| compare(o, Comparison::GreaterOrEqual)),
    each!(["hour"], "The hour of a time, in UTC.", |o, _| time(o, TimePart::Hour)),
    each!(["i", "ignorecase"], "The expression ignores case.", |o, _| flag(o, 'i')),
    each!(["lt"], "Less than.", |o, _| compare(o, Comparison::Less)),
    each!(["lte"], "Less than or equal.", |o, _| compare(o, Comparison::LessOrEqual)),
    each!(["m", "multiline"], "`^` and `$` match at lines.", |o, _| flag(o, 'm')),
    each!(["minute"], "The minute of a time, in UTC.", |o, _| time(o, TimePart::Minute)),
    each!(["month"], "The month of a time, in UTC.", |o, _| time(o, TimePart::Month)),
    Modifier { names: &["neq"], summary: "None of the values matches.", effect: Effect::Negate },
    each!(["re"], "A regular expression that matches somewhere.", regex),
    each!(["s", "dotall"], "`.` matches line breaks too.", |o, _| flag(o, 's')),
    each!(["startswith"], "The field begins with the value.", |o, _| affix(o, "startswith")),
    each!(["utf16"], "The value in UTF-16 with a byte order mark.", |o, _| wide(
        o,
        Encoding::Marked
    )),
    each!(["utf16be"], "The value in big-endian UTF-16.", |o, _| wide(o, Encoding::BigEndian)),
    each!(["week"], "The ISO week of a time, in UTC.", |o, _| time(o, TimePart::Week)),
    each!(["wide", "utf16le"], "The value in little-endian UTF-16.", |o, _| wide(
        o,
        Encoding::LittleEndian
    )),
    each!(["windash"], "Every usual form of a dash before a word.", windash),
    each!(["year"], "The year of a time, in UTC.", |o, _| time(o, TimePart::Year)),
];

/// The modifier of a name.
pub(in crate::engine) fn find(name: &str) -> Option<&'static Modifier> {
    MODIFIERS.iter().find(|modifier| modifier.names.contains(&name))
}

/// Every name of every modifier.
pub(in crate::engine) fn names() -> impl Iterator<Item = &'static str> {
    MODIFIERS.iter().flat_map(|modifier| modifier.names.iter().copied())
}

/// Applies a function to each of several values, or to one.
fn map(
    operand: Operand,
    change: impl Fn(Operand) -> Result<Operand, Refusal> + Copy,
) -> Result<Operand, Refusal> {
    match operand {
        Operand::AnyOf(values) => {
            let values: Result<Vec<Operand>, Refusal> =
                values.into_iter().map(|value| map(value, change)).collect();
            Ok(Operand::AnyOf(values?))
        }
        one => change(one),
    }
}

fn unfit(name: &str, operand: &Operand) -> Refusal {
    misuse(format!("`{name}` cannot be applied to {}", operand.kind_name()), "")
}

/// Numbers and booleans are taken as they are written where text is wanted.
fn as_text(operand: Operand) -> Operand {
    match operand {
        Operand::Number(_, original) => Operand::text(&original),
        Operand::Bool(value) => Operand::text(if value { "true" } else { "false" }),
        other => other,
    }
}

fn affix(operand: Operand, name: &'static str) -> Result<Operand, Refusal> {
    let (front, behind) = (name != "startswith", name != "endswith");
    map(as_text(operand), |operand| match operand {
        Operand::Text { mut pattern, original, encoding } => {
            pattern.widen(front, behind);
            Ok(Operand::Text { pattern, original, encoding })
        }
        Operand::Regex(mut regex) => {
            regex.at_start |= !front;
            regex.at_end |= !behind;
            Ok(Operand::Regex(regex))
        }
        Operand::Field { path, cased, .. } => {
            let kind = match name {
                "startswith" => StringKind::StartsWith,
                "endswith" => StringKind::EndsWith,
                _ => StringKind::Contains,
            };
            Ok(Operand::Field { path, kind, cased })
        }
        other => Err(unfit(name, &other)),
    })
}

/// The bytes of a text without wildcards.
fn bytes_of(name: &str, operand: Operand) -> Result<Vec<u8>, Refusal> {
    let Operand::Text { pattern, encoding, .. } = &operand else {
        return Err(unfit(name, &operand));
    };
    let Some(text) = pattern.plain() else {
        return Err(misuse(
            format!("`{name}` cannot encode wildcards or placeholders"),
            "escape `*` and `?` with a backslash if they are meant literally, and put `contains` \
             behind the encoding",
        ));
    };
    Ok(encode(text, *encoding))
}

/// The bytes of a text in an encoding; UTF-8 without one.
pub(in crate::engine) fn encode(text: &str, encoding: Option<Encoding>) -> Vec<u8> {
    let units = text.encode_utf16();
    match encoding {
        None => text.as_bytes().to_vec(),
        Some(Encoding::LittleEndian) => units.flat_map(u16::to_le_bytes).collect(),
        Some(Encoding::BigEndian) => units.flat_map(u16::to_be_bytes).collect(),
        Some(Encoding::Marked) => {
            [0xff, 0xfe].into_iter().chain(units.flat_map(u16::to_le_bytes)).collect()
        }
    }
}

fn literal(text: &str) -> Operand {
    Operand::Text { pattern: Pattern::literal(text), original: text.to_owned(), encoding: None }
}

fn base64(operand: Operand, _first: bool) -> Result<Operand, Refusal> {
    map(as_text(operand), |operand| Ok(literal(&STANDARD.encode(bytes_of("base64", operand)?))))
}

fn base64offset(operand: Operand, _first: bool) -> Result<Operand, Refusal> {
    map(as_text(operand), |operand| {
        let bytes = bytes_of("base64offset", operand)?;
        if bytes.len() < 2 {
            return Err(misuse(
                "a single byte leaves no trace of its own in Base64",
                "`base64offset` would match every value; write a longer text",
            ));
        }
        // Three bytes become four characters. Behind `shift` unknown bytes the first characters hold
        // bits of those, and the last ones bits of what follows: both are left out.
        let variant = |shift: usize| {
            let mut padded = vec![b' '; shift];
            padded.extend_from_slice(&bytes);
            let encoded = STANDARD.encode(&padded);
            let start = [0, 2, 3].get(shift).copied().unwrap_or(0);
            let cut = [0, 3, 2].get(padded.len() % 3).copied().unwrap_or(0);
            literal(encoded.get(start..encoded.len() - cut).unwrap_or(""))
        };
        Ok(Operand::AnyOf((0..3).map(variant).collect()))
    })
}

fn wide(operand: Operand, wanted: Encoding) -> Result<Operand, Refusal> {
    map(as_text(operand), |operand| match operand {
        Operand::Text { pattern, original, encoding: None } => {
            Ok(Operand::Text { pattern, original, encoding: Some(wanted) })
        }
        Operand::Text { .. } => Err(misuse("the value is in UTF-16 already", "")),
        other => Err(unfit("wide", &other)),
    })
}

fn windash(operand: Operand, _first: bool) -> Result<Operand, Refusal> {
    map(as_text(operand), |operand| match operand {
        Operand::Text { pattern, .. } if pattern.placeholders().next().is_some() => Err(misuse(
            "`windash` does not vary the entries of a list",
            "write each form of them in the list, or the values here",
        )),
        Operand::Text { pattern, original, encoding } => match pattern.windash() {
            Some(variants) => {
                let text =
                    |pattern| Operand::Text { pattern, original: original.clone(), encoding };
                Ok(Operand::AnyOf(variants.into_iter().map(text).collect()))
            }
            None => Err(Refusal {
                code: code::TOO_MANY,
                title: "`windash` varies at most three dashes".to_owned(),
                help: "split the value into several, with `|windash|contains|all`".to_owned(),
            }),
        },
        other => Err(unfit("windash", &other)),
    })
}

fn cased(operand: Operand, _first: bool) -> Result<Operand, Refusal> {
    map(as_text(operand), |operand| match operand {
        Operand::Text { mut pattern, original, encoding } => {
            pattern.cased = true;
            Ok(Operand::Text { pattern, original, encoding })
        }
        Operand::Field { path, kind, .. } => Ok(Operand::Field { path, kind, cased: true }),
        Operand::Regex(_) => {
            Err(misuse("a regular expression is case-sensitive anyhow", "leave out `cased`"))
        }
        other => Err(unfit("cased", &other)),
    })
}

fn regex(operand: Operand, first: bool) -> Result<Operand, Refusal> {
    match as_text(operand) {
        Operand::Text { original, .. } if first => {
            let source = Pattern::literal(&original);
            Ok(Operand::Regex(RegexOperand { source, ..RegexOperand::default() }))
        }
        Operand::Text { .. } => Err(misuse("`re` must be the first modifier", "")),
        other => Err(unfit("re", &other)),
    }
}

fn flag(operand: Operand, flag: char) -> Result<Operand, Refusal> {
    match operand {
        Operand::Regex(mut regex) => {
            if !regex.flags.contains(flag) {
                regex.flags.push(flag);
            }
            Ok(Operand::Regex(regex))
        }
        other => {
            let title = format!("`{flag}` is a flag of `re`");
            let help = format!("write `|re|{flag}`");
            Err(if matches!(other, Operand::Text { .. }) {
                misuse(title, help)
            } else {
                unfit(&flag.to_string(), &other)
            })
        }
    }
}

fn cidr(operand: Operand, first: bool) -> Result<Operand, Refusal> {
    match operand {
        // Behind `expand`, so that a list may hold networks.
        Operand::Text { pattern, encoding: None, .. }
            if first || matches!(pattern.parts.as_slice(), [Part::Placeholder(_)]) =>
        {
            Ok(Operand::Network(pattern))
        }
        Operand::Text { .. } => Err(misuse(
            "`cidr` must be the first modifier",
            "only `expand` with a whole value may stand before it",
        )),
        other => Err(unfit("cidr", &other)),
    }
}

fn compare(operand: Operand, comparison: Comparison) -> Result<Operand, Refusal> {
    match operand {
        Operand::Number(number, _) => Ok(Operand::Compare(comparison, number)),
        Operand::Time(part, Comparison::Equal, number) => {
            Ok(Operand::Time(part, comparison, number))
        }
        Operand::Text { original, .. } if original.parse::<f64>().is_ok() => Err(misuse(
            "numbers are compared, not text",
            format!("write {original} without quotes"),
        )),
        other => Err(misuse(format!("numbers are compared, not {}", other.kind_name()), "")),
    }
}

fn time(operand: Operand, part: TimePart) -> Result<Operand, Refusal> {
    match operand {
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        Operand::Number(Number::Whole(number), _) if (0..=9_999).contains(&number) => {
            Ok(Operand::Time(part, Comparison::Equal, number as i64))
        }
        Operand::Number(..) => Err(misuse("a part of a time is a whole number up to 9999", "")),
        other => {
            Err(misuse(format!("a part of a time is a number, not {}", other.kind_name()), ""))
        }
    }
}

fn exists(operand: Operand, first: bool) -> Result<Operand, Refusal> {
    match operand {
        Operand::Bool(value) if first => Ok(Operand::Exists(value)),
        Operand::Bool(_) => Err(misuse("`exists` must be the first modifier", "")),
        other => {
            Err(misuse(format!("`exists` wants `true` or `false`, not {}", other.kind_name()), ""))
        }
    }
}

/// Texts were read with placeholders already, as their escapes differ.
pub(in crate::engine) fn expand(operand: Operand) -> Result<Operand, Refusal> {
    map(operand, |operand| match operand {
        Operand::Regex(mut regex) => {
            if let Some(source) = regex.source.plain() {
                regex.source = Pattern::parse_regex(source);
            }
            Ok(Operand::Regex(regex))
        }
        Operand::Text { .. } | Operand::Network(_) => Ok(operand),
        other => Err(unfit("expand", &other)),
    })
}

fn fieldref(operand: Operand, _first: bool) -> Result<Operand, Refusal> {
    let Operand::Text { pattern, original, encoding: None } = operand else {
        return Err(unfit("fieldref", &operand));
    };
    let written = Pattern::parse(&original);
    let Some(path) = written.plain().filter(|path| !path.is_empty()) else {
        return Err(misuse("the name of a field has no wildcards", ""));
    };
    // `startswith` and its like may stand before or behind.
    let kind = match pattern.shape() {
        Shape::Exact(_) => StringKind::Equals,
        Shape::Prefix(_) => StringKind::StartsWith,
        Shape::Suffix(_) => StringKind::EndsWith,
        Shape::Contains(_) => StringKind::Contains,
        Shape::Anything | Shape::Wild => {
            return Err(misuse("the name of a field has no placeholders", ""));
        }
    };
    Ok(Operand::Field { path: path.to_owned(), kind, cased: pattern.cased })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(operand: Operand, names: &[&str]) -> Result<Operand, Refusal> {
        names.iter().enumerate().try_fold(operand, |operand, (index, name)| {
            match find(name).unwrap().effect {
                Effect::Each(change) => change(operand, index == 0),
                Effect::Expand => expand(operand),
                Effect::All | Effect::Negate => Ok(operand),
            }
        })
    }

    fn texts(operand: &Operand) -> Vec<String> {
        match operand {
            Operand::Text { pattern, .. } => vec![pattern.to_string()],
            Operand::AnyOf(values) => values.iter().flat_map(texts).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_table_is_sorted_and_explained() {
        let names: Vec<&str> = MODIFIERS.iter().map(|modifier| modifier.names[0]).collect();
        assert!(names.is_sorted(), "{names:?}");
        let mut all: Vec<&str> = super::names().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), super::names().count());
        assert!(MODIFIERS.iter().all(|modifier| modifier.summary.ends_with('.')));
    }

    #[test]
    fn encodings_are_those_of_the_specification() {
        let encoded =
            |text: &str, names: &[&str]| texts(&apply(Operand::text(text), names).unwrap());
        assert_eq!(encoded("foobar", &["base64"]), ["Zm9vYmFy"]);
        // The example of the specification's appendix.
        assert_eq!(
            encoded("http://", &["base64offset", "contains"]),
            ["*aHR0cDovL*", "*h0dHA6Ly*", "*odHRwOi8v*"]
        );
        assert_eq!(encoded("ping", &["wide", "base64"]), ["cABpAG4AZwA="]);
        assert_eq!(encoded("A", &["utf16be", "base64"]), ["AEE="]);
        assert_eq!(encoded("A", &["utf16", "base64"]), ["//5BAA=="]);
        assert_eq!(encoded("a", &["contains"]), ["*a*"]);
        assert_eq!(encoded("*a", &["contains", "contains"]), ["*a*"]);
    }

    #[test]
    fn base64offset_finds_the_text_at_any_place() {
        for text in ["ab", "abc", "secret token", "é"] {
            let variants = texts(&apply(Operand::text(text), &["base64offset"]).unwrap());
            for before in 0..6 {
                for after in 0..3 {
                    let whole = format!("{}{text}{}", "x".repeat(before), "y".repeat(after));
                    let encoded = STANDARD.encode(&whole);
                    let found = variants.iter().any(|variant| encoded.contains(variant));
                    assert!(found, "{whole} {encoded} {variants:?}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (operand, names) in [
            (Operand::text("a"), &["contains", "re"] as &[&str]),
            (Operand::text("a*"), &["base64"]),
            (Operand::text("a"), &["base64offset"]),
            (Operand::text("a"), &["lt"]),
            (Operand::text("5"), &["lt"]),
            (Operand::text("a"), &["i"]),
            (Operand::text("a"), &["exists"]),
            (Operand::Null, &["expand"]),
            (Operand::text("a*"), &["fieldref"]),
            (Operand::expanding("%a%"), &["expand", "fieldref"]),
            (Operand::text("a"), &["re", "cased"]),
            (Operand::text("a"), &["startswith", "cidr"]),
            (Operand::Number(Number::from(5.5), "5.5".to_owned()), &["hour"]),
            (Operand::text("a*"), &["re", "base64"]),
            (Operand::Null, &["contains"]),
            (Operand::Bool(true), &["contains", "exists"]),
            (Operand::text("a*b"), &["fieldref"]),
            (Operand::expanding("%a%"), &["expand", "windash"]),
            (Operand::expanding("%a%"), &["windash", "expand"]),
        ] {
            assert!(apply(operand.clone(), names).is_err(), "{operand:?} {names:?}");
        }
    }

    #[test]
    fn numbers_become_text_where_text_is_wanted() {
        let number = || Operand::Number(Number::from(101.0), "101".to_owned());
        assert_eq!(texts(&apply(number(), &["startswith"]).unwrap()), ["101*"]);
        let hour =
            apply(Operand::Number(Number::from(18.0), "18".to_owned()), &["hour", "gte"]).unwrap();
        assert_eq!(hour, Operand::Time(TimePart::Hour, Comparison::GreaterOrEqual, 18));
    }
}
