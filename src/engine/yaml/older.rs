//! What tools that read YAML 1.1 make of a plain scalar: PyYAML, and so pySigma and sigma-cli.
//!
//! Here files are read by YAML 1.2, in which `no` is text and `0o17` a number. Nothing is wrong with a
//! file that means something else to others, but its author should know.

use super::NodeKind;

/// What YAML 1.1 reads a plain scalar as, if that is not what it is here, in words.
///
/// `written` is the scalar as it stands in the file: one in quotes is the same to everybody.
pub(in crate::engine) fn other_reading(written: &str, kind: &NodeKind) -> Option<&'static str> {
    let other = read(written);
    let same = match (kind, other) {
        (NodeKind::Str(_), Older::Text)
        | (NodeKind::Bool(_), Older::Bool(_))
        | (NodeKind::Null, Older::Null)
        | (NodeKind::Float(_), Older::Number(_))
        | (NodeKind::List(_) | NodeKind::Map(_), _) => true,
        // It was in quotes, or over several lines.
        (NodeKind::Str(text), _) => text != written,
        (NodeKind::Int(here), Older::Number(there)) => there == Some(*here),
        _ => false,
    };
    (!same).then(|| other.words())
}

/// What YAML 1.1 knows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Older {
    Text,
    Bool(bool),
    Null,
    /// The value, if it is an integer.
    Number(Option<i64>),
    Time,
}

impl Older {
    const fn words(self) -> &'static str {
        match self {
            Older::Text => "text",
            Older::Bool(true) => "`true`",
            Older::Bool(false) => "`false`",
            Older::Null => "nothing",
            Older::Number(_) => "a number",
            Older::Time => "a date",
        }
    }
}

/// The resolver of PyYAML, which follows <https://yaml.org/type/>.
fn read(text: &str) -> Older {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Older::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            Older::Bool(false)
        }
        "" | "~" | "null" | "Null" | "NULL" => Older::Null,
        _ if is_date(text) => Older::Time,
        _ => integer(text).or_else(|| float(text)).unwrap_or(Older::Text),
    }
}

/// An integer in any of five notations.
fn integer(text: &str) -> Option<Older> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    let of_radix = |digits: &str, radix: u32| {
        let is_digit = |c: char| c.is_digit(radix);
        let is_number = !digits.is_empty() && digits.chars().all(is_digit);
        let number = || i64::from_str_radix(digits, radix).ok().map(|number| sign * number);
        is_number.then(|| Older::Number(number()))
    };
    if let Some(rest) = plain.strip_prefix("0b") {
        return of_radix(rest, 2);
    }
    if let Some(rest) = plain.strip_prefix("0x") {
        return of_radix(rest, 16);
    }
    if plain.len() > 1 && plain.starts_with('0') {
        return of_radix(&plain, 8);
    }
    if digits.starts_with('_') {
        return None;
    }
    // Base 60, as in 190:20:30.
    if plain.contains(':') && plain.starts_with(|c: char| ('1'..='9').contains(&c)) {
        let mut sum: i64 = 0;
        for (index, part) in plain.split(':').enumerate() {
            let digits_max = if index == 0 { 18 } else { 2 };
            let number: i64 = part.parse().ok().filter(|_| part.len() <= digits_max)?;
            if index > 0 && number > 59 {
                return None;
            }
            sum = sum.checked_mul(60)?.checked_add(number)?;
        }
        return Some(Older::Number(Some(sign * sum)));
    }
    of_radix(&plain, 10)
}

/// A number with a point: without one, an exponent makes none.
fn float(text: &str) -> Option<Older> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Older::Number(None));
    }
    let plain: String = unsigned.chars().filter(|c| *c != '_').collect();
    let (whole, rest) = plain.split_once('.')?;
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_exponent = |text: &str| {
        text.strip_prefix(['-', '+']).is_some_and(|text| !text.is_empty() && digits(text))
    };
    let is_number = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(is_exponent);
    is_number.then_some(Older::Number(None))
}

/// `2026-01-05`, or a whole time.
fn is_date(text: &str) -> bool {
    let digits = |text: &str, range: std::ops::RangeInclusive<usize>| {
        range.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (date, time) = match text.split_once(['t', 'T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let short = if time.is_some() { 1..=2 } else { 2..=2 };
    let is_time = |time: &str| {
        let mut parts = time.trim_start().splitn(3, ':');
        let (hour, minute, second) = (parts.next(), parts.next(), parts.next());
        hour.is_some_and(|hour| digits(hour, 1..=2))
            && minute.is_some_and(|minute| digits(minute, 2..=2))
            && second.and_then(|second| second.get(..2)).is_some_and(|second| digits(second, 2..=2))
    };
    digits(year, 4..=4)
        && digits(month, short.clone())
        && digits(day, short)
        && time.is_none_or(is_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_to_everybody() {
        let text = |text: &str| NodeKind::Str(text.to_owned());
        for plain in
            ["get", "system:masters", "10.0.0.0/8", "y", "n", "a_b", "1.2.3", "v1", "-", "1:x"]
        {
            assert_eq!(other_reading(plain, &text(plain)), None, "{plain}");
        }
        assert_eq!(other_reading("'yes'", &text("yes")), None);
        assert_eq!(other_reading("403", &NodeKind::Int(403)), None);
        assert_eq!(other_reading("-1", &NodeKind::Int(-1)), None);
        assert_eq!(other_reading("2.5", &NodeKind::Float(2.5)), None);
        assert_eq!(other_reading("true", &NodeKind::Bool(true)), None);
        assert_eq!(other_reading("~", &NodeKind::Null), None);
    }

    #[test]
    fn something_else_to_others() {
        for (plain, words) in [
            ("yes", "`true`"),
            ("On", "`true`"),
            ("no", "`false`"),
            ("OFF", "`false`"),
            ("0755", "a number"),
            ("1_000", "a number"),
            ("0b101", "a number"),
            ("22:22", "a number"),
            ("2026-01-05", "a date"),
            ("2026-01-05T22:14:01Z", "a date"),
        ] {
            let kind = NodeKind::Str(plain.to_owned());
            assert_eq!(other_reading(plain, &kind), Some(words), "{plain}");
        }
        assert_eq!(other_reading("0o17", &NodeKind::Int(15)), Some("text"));
        assert_eq!(other_reading("1e3", &NodeKind::Float(1e3)), Some("text"));
    }
}
