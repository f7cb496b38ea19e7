//! What selections and conditions mean, read naively from the Sigma specification and from what the
//! rule language decides where that is silent. Values are compared one by one, character by character.

use std::net::IpAddr;

use serde_json::Value;

/// How a field is compared.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum How {
    Plain,
    Contains,
    StartsWith,
    EndsWith,
    /// With flags among `i`, `m` and `s`.
    Regex(&'static str),
    Cidr,
    Exists,
    FieldRef(Relation),
    Number(Compare),
    /// A part of a time, in UTC.
    Time(&'static str, Option<Compare>),
    /// In Base64 wherever it begins, after an encoding.
    Base64(Encoding),
    /// In Base64 as it is.
    Base64Whole,
    Windash,
    /// `%people%`
    Expand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Same,
    Contains,
    StartsWith,
    EndsWith,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Lt,
    Lte,
    Gt,
    Gte,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Wide,
    Utf16Be,
}

/// A field with its modifiers and values.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) field: &'static str,
    pub(crate) how: How,
    pub(crate) cased: bool,
    pub(crate) all: bool,
    pub(crate) neq: bool,
    pub(crate) values: Vec<Value>,
}

/// A selection.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    All(Vec<Item>),
    Any(Vec<Vec<Item>>),
    Keywords(Vec<String>),
}

/// A condition over selections.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Name(usize),
    /// Of selections whose names begin so; of `them` without.
    OneOf(Option<&'static str>),
    AllOf(Option<&'static str>),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

/// The list of `How::Expand`: entries are Sigma strings.
pub(crate) const PEOPLE: &[&str] = &["aB", "b*", "4?3"];

/// The second field of `How::FieldRef`.
pub(crate) const OTHER: &str = "requestObject.b";

pub(crate) fn condition_holds(
    condition: &Condition,
    selections: &[(&str, Selection)],
    event: &Value,
) -> bool {
    let holds = |selection: &Selection| selection_holds(selection, event);
    let fitting = |prefix: Option<&str>| -> Vec<bool> {
        selections
            .iter()
            .filter(|(name, _)| !name.starts_with('_') && name.starts_with(prefix.unwrap_or("")))
            .map(|(_, selection)| holds(selection))
            .collect()
    };
    let inner = |part: &Condition| condition_holds(part, selections, event);
    match condition {
        Condition::Name(index) => holds(&selections[*index].1),
        Condition::OneOf(prefix) => fitting(*prefix).contains(&true),
        Condition::AllOf(prefix) => !fitting(*prefix).contains(&false),
        Condition::Not(part) => !inner(part),
        Condition::And(parts) => parts.iter().all(inner),
        Condition::Or(parts) => parts.iter().any(inner),
    }
}

fn selection_holds(selection: &Selection, event: &Value) -> bool {
    let all = |items: &Vec<Item>| items.iter().all(|item| item_holds(item, event));
    match selection {
        Selection::All(items) => all(items),
        Selection::Any(maps) => maps.iter().any(all),
        Selection::Keywords(words) => {
            // Anywhere in the event, with the escapes of its strings undone.
            let text = event.to_string().replace("\\\\", "\\");
            words.iter().any(|word| {
                let pattern = [vec![Token::Any], tokens(word), vec![Token::Any]].concat();
                matches(&pattern, &characters(&text, false), false)
            })
        }
    }
}

pub(crate) fn item_holds(item: &Item, event: &Value) -> bool {
    let one = |value: &Value| value_holds(item, value, event);
    let holds = if item.all { item.values.iter().all(one) } else { item.values.iter().any(one) };
    holds != item.neq
}

fn value_holds(item: &Item, value: &Value, event: &Value) -> bool {
    let mut found = Vec::new();
    walk(event, item.field, &mut found);
    let cased = item.cased;
    let text = value.as_str().unwrap_or_default();
    let wild = |front: bool, back: bool, leaf: &Value| {
        let around = |wanted: bool| if wanted { vec![Token::Any] } else { Vec::new() };
        let pattern = [around(front), tokens(text), around(back)].concat();
        // Nothing but `*` asks whether the field is there.
        let anything = !pattern.is_empty() && pattern.iter().all(|token| *token == Token::Any);
        anything
            || text_of(leaf).is_some_and(|leaf| matches(&pattern, &characters(&leaf, cased), cased))
    };
    let contains = |text: &str, part: &str| text.contains(part);
    let test = |leaf: &Value| match &item.how {
        How::Plain => match value {
            Value::Number(number) => number_of(leaf) == number.as_f64(),
            Value::Bool(_) => {
                text_of(leaf).is_some_and(|text| text.eq_ignore_ascii_case(&value.to_string()))
                    && !leaf.is_number()
            }
            Value::Null => leaf.is_null(),
            _ => wild(false, false, leaf),
        },
        How::Contains => wild(true, true, leaf),
        How::StartsWith => wild(false, true, leaf),
        How::EndsWith => wild(true, false, leaf),
        How::Regex(flags) => text_of(leaf).is_some_and(|leaf| {
            regex::RegexBuilder::new(text)
                .case_insensitive(flags.contains('i'))
                .multi_line(flags.contains('m'))
                .dot_matches_new_line(flags.contains('s'))
                .build()
                .unwrap()
                .is_match(&leaf)
        }),
        How::Cidr => leaf.as_str().is_some_and(|leaf| in_network(text, leaf)),
        How::Exists => unreachable!("answered below"),
        How::FieldRef(relation) => {
            let mut others = Vec::new();
            walk(event, OTHER, &mut others);
            others.iter().any(|other| related(*relation, leaf, other, cased))
        }
        How::Number(compare) => {
            number_of(leaf).is_some_and(|leaf| compare.holds(leaf, value.as_f64().unwrap()))
        }
        How::Time(part, compare) => {
            leaf.as_str().and_then(|leaf| part_of(part, leaf)).is_some_and(|part| match compare {
                None => Some(part) == value.as_f64(),
                Some(compare) => compare.holds(part, value.as_f64().unwrap()),
            })
        }
        How::Base64(encoding) => leaf.as_str().is_some_and(|leaf| {
            (0..3).any(|shift| contains(leaf, &inner_base64(&encoding.bytes(text), shift)))
        }),
        How::Base64Whole => leaf.as_str().is_some_and(|leaf| {
            contains(&leaf.to_lowercase(), &base64(text.as_bytes()).to_lowercase())
        }),
        How::Windash => text_of(leaf).is_some_and(|leaf| windash(text, &leaf)),
        How::Expand => text_of(leaf).is_some_and(|leaf| {
            let leaf = characters(&leaf, cased);
            PEOPLE.iter().any(|entry| matches(&tokens(entry), &leaf, cased))
        }),
    };
    match (&item.how, value) {
        (How::Exists, wanted) => *wanted == Value::Bool(!found.is_empty()),
        (How::Plain, Value::Null) if found.is_empty() => true,
        _ => found.iter().any(|leaf| test(leaf)),
    }
}

/// What a dotted path leads to, through arrays.
fn walk<'v>(value: &'v Value, path: &str, out: &mut Vec<&'v Value>) {
    match (value, path) {
        (Value::Array(items), _) if !items.is_empty() => {
            for item in items {
                walk(item, path, out);
            }
        }
        (leaf, "") => out.push(leaf),
        (Value::Object(members), path) => {
            let (head, tail) = path.split_once('.').unwrap_or((path, ""));
            if let Some(member) = members.get(head) {
                walk(member, tail, out);
            }
        }
        _ => {}
    }
}

/// `None` for null and objects, which equal nothing.
fn text_of(leaf: &Value) -> Option<String> {
    match leaf {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

fn number_of(leaf: &Value) -> Option<f64> {
    match leaf {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

impl Compare {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Compare::Lt => left < right,
            Compare::Lte => left <= right,
            Compare::Gt => left > right,
            Compare::Gte => left >= right,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Compare::Lt => "lt",
            Compare::Lte => "lte",
            Compare::Gt => "gt",
            Compare::Gte => "gte",
        }
    }
}

/// A piece of a Sigma string.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Char(char),
    Any,
    One,
}

/// `*` any text, `?` one character; a backslash before these or itself makes them literal, and is
/// literal before anything else.
fn tokens(text: &str) -> Vec<Token> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let escaped = characters.get(at + 1).filter(|next| "*?\\".contains(**next));
        tokens.push(match (characters[at], escaped) {
            ('\\', Some(next)) => {
                at += 1;
                Token::Char(*next)
            }
            ('*', _) => Token::Any,
            ('?', _) => Token::One,
            (c, _) => Token::Char(c),
        });
        at += 1;
    }
    tokens
}

fn characters(text: &str, cased: bool) -> Vec<char> {
    if cased { text.chars().collect() } else { text.to_lowercase().chars().collect() }
}

fn matches(pattern: &[Token], text: &[char], cased: bool) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([Token::Any, rest @ ..], _) => {
            (0..=text.len()).any(|skip| matches(rest, &text[skip..], cased))
        }
        ([Token::One, rest @ ..], [_, tail @ ..]) => matches(rest, tail, cased),
        ([Token::Char(c), rest @ ..], [first, tail @ ..]) => {
            let same = if cased { c == first } else { c.to_lowercase().eq([*first]) };
            same && matches(rest, tail, cased)
        }
        _ => false,
    }
}

fn related(relation: Relation, left: &Value, right: &Value, cased: bool) -> bool {
    if relation == Relation::Same
        && (left.is_number() || right.is_number())
        && let (Some(left), Some(right)) = (number_of(left), number_of(right))
    {
        return (left - right).abs() == 0.0;
    }
    let (Some(left), Some(right)) = (text_of(left), text_of(right)) else { return false };
    let fold = |text: String| if cased { text } else { text.to_lowercase() };
    let (left, right) = (fold(left), fold(right));
    match relation {
        Relation::Same => left == right,
        Relation::Contains => left.contains(&right),
        Relation::StartsWith => left.starts_with(&right),
        Relation::EndsWith => left.ends_with(&right),
    }
}

/// Bit by bit.
fn in_network(network: &str, address: &str) -> bool {
    let bits = |ip: IpAddr| -> Vec<bool> {
        let bytes = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
    };
    let (base, length) = network.split_once('/').unwrap();
    let (base, length): (IpAddr, usize) = (base.parse().unwrap(), length.parse().unwrap());
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    // An IPv4 address in the clothes of IPv6 is the IPv4 address, too.
    [address, address.to_canonical()].into_iter().any(|address| {
        address.is_ipv4() == base.is_ipv4() && bits(address)[..length] == bits(base)[..length]
    })
}

fn part_of(part: &str, text: &str) -> Option<f64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    let time = time.to_zoned_datetime(jiff::tz::TimeZone::UTC);
    let format = match part {
        "minute" => "%M",
        "hour" => "%H",
        "day" => "%d",
        "week" => "%V",
        "month" => "%m",
        _ => "%Y",
    };
    time.strftime(format).to_string().parse().ok()
}

impl Encoding {
    pub(crate) fn bytes(self, text: &str) -> Vec<u8> {
        match self {
            Encoding::Utf8 => text.as_bytes().to_vec(),
            Encoding::Wide => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Encoding::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The characters that the bits of some bytes alone decide, if they begin `shift` bytes into a text.
fn inner_base64(bytes: &[u8], shift: usize) -> String {
    let bit = |at: usize| {
        let byte = at / 8;
        (byte >= shift && byte < shift + bytes.len())
            .then(|| bytes[byte - shift] >> (7 - at % 8) & 1)
    };
    (0..(shift + bytes.len()) * 8 / 6)
        .filter_map(|group| {
            let bits: Option<Vec<u8>> = (0..6).map(|at| bit(group * 6 + at)).collect();
            let index = bits?.iter().fold(0_usize, |sum, bit| sum * 2 + usize::from(*bit));
            Some(char::from(ALPHABET[index]))
        })
        .collect()
}

/// Base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().div_ceil(3) * 3, 0);
    let text = inner_base64(&padded, 0);
    let kept = (bytes.len() * 8).div_ceil(6);
    format!("{}{}", &text[..kept], "=".repeat(text.len() - kept))
}

/// The text is somewhere, where each `-` or `/` that begins a word may be any usual dash.
fn windash(pattern: &str, text: &str) -> bool {
    const DASHES: &str = "-/–—―";
    let word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let any = |at: usize| {
        "-/".contains(pattern[at])
            && word(pattern.get(at + 1))
            && !word(at.checked_sub(1).and_then(|before| pattern.get(before)))
    };
    (0..=text.len()).any(|start| {
        pattern.iter().enumerate().all(|(at, c)| {
            text.get(start + at)
                .is_some_and(|found| if any(at) { DASHES.contains(*found) } else { found == c })
        })
    })
}
