//! Label matchers: how they are written, and what they mean.
//!
//! Same meaning as in Alertmanager: `=`, `!=`, `=~`, `!~`; regular expressions are anchored at both
//! ends; a label that an alert does not have is the empty text.

use std::{collections::BTreeMap, fmt};

use super::{MatchTest, Matcher};
use crate::engine::alert::measures_the_way;

/// Bytes that a compiled regular expression of a matcher may take: 256 KiB. A larger one is refused.
const REGEX_BYTES_MAX: usize = 256 << 10;

/// Why a text is not a matcher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// It has none of the four operators.
    #[error("`{0}` has no operator")]
    NoOperator(String),
    /// What stands before the operator is not a label's name.
    #[error("`{0}` is not the name of a label")]
    LabelName(String),
    /// A quote that does not end, or something behind it.
    #[error("the quotes around `{0}` do not fit")]
    Quotes(String),
    /// A regular expression that cannot be used.
    #[error("`{pattern}` is not a regular expression: {detail}")]
    Regex {
        /// As it is written.
        pattern: String,
        /// The first line of what the library says.
        detail: String,
    },
}

impl Matcher {
    /// Reads `label="value"`, `label!=value`, `label=~"a|b"`, `label!~'…'`; quotes may be left out.
    ///
    /// # Errors
    /// If it is none of these, or the regular expression is invalid or too large.
    pub fn parse(text: &str) -> Result<Matcher, MatcherError> {
        let at = text
            .find(['=', '!'])
            .ok_or_else(|| MatcherError::NoOperator(text.trim().to_owned()))?;
        let (label, rest) = text.split_at(at);
        let label = label.trim();
        if !is_label_name(label) {
            return Err(MatcherError::LabelName(label.to_owned()));
        }
        let operator = ["=~", "!~", "!=", "="]
            .into_iter()
            .find(|operator| rest.starts_with(operator))
            .ok_or_else(|| MatcherError::NoOperator(text.trim().to_owned()))?;
        let value = unquoted(rest.strip_prefix(operator).unwrap_or(rest).trim())?;
        let test = match operator {
            "=~" => MatchTest::Regex(anchored(&value)?),
            "!~" => MatchTest::NotRegex(anchored(&value)?),
            "!=" => MatchTest::NotEqual(value),
            _ => MatchTest::Equal(value),
        };
        Ok(Matcher { label: label.to_owned(), test })
    }

    /// Whether an alert with these labels passes.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.label).map_or("", String::as_str);
        match &self.test {
            MatchTest::Equal(wanted) => value == wanted,
            MatchTest::NotEqual(unwanted) => value != unwanted,
            MatchTest::Regex(regex) => regex.is_match(value),
            MatchTest::NotRegex(regex) => !regex.is_match(value),
        }
    }
}

impl Matcher {
    /// Whether it is the label `alertname` that must be this name, alone or as one of those that its pattern spells out.
    fn names(&self, name: &str) -> bool {
        self.label == "alertname"
            && match &self.test {
                MatchTest::Equal(wanted) => wanted == name,
                MatchTest::Regex(regex) => regex.as_str().contains(name),
                MatchTest::NotEqual(_) | MatchTest::NotRegex(_) => false,
            }
    }
}

/// Whether matchers (of a silence, of the targets of an inhibition) hide an alert with these labels: all match. What measures
/// the way ([`measures_the_way`]) is hidden by those alone that name it.
pub(in crate::engine) fn hide(matchers: &[Matcher], labels: &BTreeMap<String, String>) -> bool {
    let is_meant = measures_the_way(labels)
        .is_none_or(|name| matchers.iter().any(|matcher| matcher.names(name)));
    is_meant && matchers.iter().all(|matcher| matcher.matches(labels))
}

impl fmt::Display for Matcher {
    /// One spelling for each matcher, so that it can be part of a route's identity.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, value) = match &self.test {
            MatchTest::Equal(value) => ("=", value.as_str()),
            MatchTest::NotEqual(value) => ("!=", value.as_str()),
            MatchTest::Regex(regex) => ("=~", written(regex)),
            MatchTest::NotRegex(regex) => ("!~", written(regex)),
        };
        write!(f, "{}{operator}{value:?}", self.label)
    }
}

/// A pattern without the anchors that [`anchored`] put around it.
fn written(regex: &regex::Regex) -> &str {
    let pattern = regex.as_str();
    pattern.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or(pattern)
}

fn is_label_name(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Takes quotes away; inside double quotes `\"`, `\\` and `\n` are escapes.
fn unquoted(text: &str) -> Result<String, MatcherError> {
    let wrong = || MatcherError::Quotes(text.to_owned());
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return if text.contains('"') { Err(wrong()) } else { Ok(text.to_owned()) };
    };
    let inner =
        text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).ok_or_else(wrong)?;
    if quote == '\'' {
        return Ok(inner.to_owned());
    }
    let (mut value, mut characters) = (String::with_capacity(inner.len()), inner.chars());
    while let Some(character) = characters.next() {
        match character {
            '"' => return Err(wrong()),
            '\\' => match characters.next() {
                Some('n') => value.push('\n'),
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                // `\d` and its like mean themselves, so that patterns need no double backslash.
                Some(other) => value.extend(['\\', other]),
                None => return Err(wrong()),
            },
            other => value.push(other),
        }
    }
    Ok(value)
}

fn anchored(pattern: &str) -> Result<regex::Regex, MatcherError> {
    let failed = |error: regex::Error| {
        let said = error.to_string();
        let detail = said.lines().last().unwrap_or_default().trim_start_matches("error: ");
        MatcherError::Regex { pattern: pattern.to_owned(), detail: detail.to_owned() }
    };
    // Alone first, so that `a)(b` is refused although `^(?:a)(b)$` would be a regular expression.
    regex::Regex::new(pattern).map_err(failed)?;
    regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(matcher: &str, team: &str) -> bool {
        let labels = [("team".to_owned(), team.to_owned())].into();
        Matcher::parse(matcher).unwrap().matches(&labels)
    }

    #[test]
    fn the_four_operators() {
        for (matcher, team, expected) in [
            ("team=a", "a", true),
            ("team = \"a\"", "a", true),
            ("team='a'", "b", false),
            ("team!=a", "b", true),
            ("team=~\"a|b\"", "b", true),
            ("team=~a|b", "ab", false),
            ("team!~\"a|b\"", "ab", true),
            ("team=~\"\\d+\"", "12", true),
            ("team=\"a\\\"b\\\\\"", "a\"b\\", true),
            ("team==a", "=a", true),
        ] {
            assert_eq!(holds(matcher, team), expected, "{matcher} on {team}");
        }
    }

    #[test]
    fn a_missing_label_is_the_empty_text() {
        let none = BTreeMap::new();
        for (matcher, expected) in
            [("a=\"\"", true), ("a!=x", true), ("a=~\".+\"", false), ("a!~\".+\"", true)]
        {
            assert_eq!(Matcher::parse(matcher).unwrap().matches(&none), expected, "{matcher}");
        }
    }

    #[test]
    fn what_is_no_matcher_is_refused() {
        for text in
            ["", "team", "te am=a", "=a", "1a=b", "team=\"a", "team=a\"", "team=~(", "team=~a)(b"]
        {
            assert!(Matcher::parse(text).is_err(), "{text}");
        }
        assert!(Matcher::parse("team=~\"(?:a{100}){100}{10}\"").is_err());
    }

    #[test]
    fn what_is_printed_reads_the_same() {
        for text in ["a=\"b\\\"c\"", "a!=b", "a=~\"x|y\"", "a!~\"\\\\d\""] {
            let once = Matcher::parse(text).unwrap().to_string();
            assert_eq!(Matcher::parse(&once).unwrap().to_string(), once, "{text}");
        }
    }
}
