//! Sigma strings: text with wildcards, escapes and placeholders.
//!
//! `*` stands for any text, `?` for one character. A backslash makes `*`, `?` and `\` literal, and is
//! itself literal before anything else, so that Windows paths need no doubling. With `expand`, `%name%`
//! stands for the entries of a list, and a backslash makes `%` literal too.

use std::fmt;

use crate::engine::{kubernetes::users::SERVICE_ACCOUNT_PREFIX, value::fold_case};

/// One piece of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Part {
    /// Literal text, never empty; never two in a row.
    Text(String),
    /// `*`
    Any,
    /// `?`
    One,
    /// `%name%` after `expand`.
    Placeholder(String),
}

/// A byte encoding that `wide` and its sisters ask for. It takes effect when the text becomes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Encoding {
    /// `wide`, `utf16le`
    LittleEndian,
    /// `utf16be`
    BigEndian,
    /// `utf16`: little-endian behind a byte order mark.
    Marked,
}

/// A Sigma string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Pattern {
    /// Its pieces, in order.
    pub(in crate::engine) parts: Vec<Part>,
    /// Compared exactly.
    pub(in crate::engine) cased: bool,
}

/// What a pattern without placeholders amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Shape {
    /// No wildcards.
    Exact(String),
    /// `text*`
    Prefix(String),
    /// `*text`
    Suffix(String),
    /// `*text*`
    Contains(String),
    /// Nothing but `*`.
    Anything,
    /// Anything else.
    Wild,
}

impl Pattern {
    /// Reads a Sigma string. Every text is one.
    pub(in crate::engine) fn parse(text: &str) -> Pattern {
        Pattern::read(text, false)
    }

    /// Reads a Sigma string with placeholders.
    pub(in crate::engine) fn parse_expanding(text: &str) -> Pattern {
        Pattern::read(text, true)
    }

    fn read(text: &str, expanding: bool) -> Pattern {
        let mut pattern = Pattern::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or("");
            rest = after;
            match c {
                '\\' => match after.chars().next() {
                    Some(next) if matches!(next, '*' | '?' | '\\') || expanding && next == '%' => {
                        pattern.push_char(next);
                        rest = after.get(1..).unwrap_or("");
                    }
                    _ => pattern.push_char(c),
                },
                '*' => pattern.parts.push(Part::Any),
                '?' => pattern.parts.push(Part::One),
                '%' if expanding => match placeholder(after, &['*', '?']) {
                    Some((name, behind)) => {
                        pattern.parts.push(Part::Placeholder(name.to_owned()));
                        rest = behind;
                    }
                    None => pattern.push_char(c),
                },
                _ => pattern.push_char(c),
            }
        }
        pattern
    }

    /// Finds the placeholders of a regular expression, whose escapes and wildcards are left alone.
    pub(in crate::engine) fn parse_regex(text: &str) -> Pattern {
        let mut pattern = Pattern::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or("");
            rest = after;
            match (c, placeholder(after, &[])) {
                ('%', Some((name, behind))) => {
                    pattern.parts.push(Part::Placeholder(name.to_owned()));
                    rest = behind;
                }
                ('\\', _) => {
                    pattern.push_char(c);
                    if let Some(escaped) = after.chars().next() {
                        pattern.push_char(escaped);
                        rest = after.get(escaped.len_utf8()..).unwrap_or("");
                    }
                }
                _ => pattern.push_char(c),
            }
        }
        pattern
    }

    /// A pattern of literal text alone.
    pub(in crate::engine) fn literal(text: &str) -> Pattern {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] };
        Pattern { parts, cased: false }
    }

    fn push_char(&mut self, c: char) {
        if let Some(Part::Text(text)) = self.parts.last_mut() {
            text.push(c);
        } else {
            self.parts.push(Part::Text(c.to_string()));
        }
    }

    /// Adds a piece at the end.
    pub(in crate::engine) fn push_part(&mut self, part: Part) {
        match (self.parts.last_mut(), part) {
            (Some(Part::Text(text)), Part::Text(more)) => text.push_str(&more),
            (_, part) => self.parts.push(part),
        }
    }

    /// The text, if there are neither wildcards nor placeholders.
    pub(in crate::engine) fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Names of its placeholders, in order.
    pub(in crate::engine) fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Puts `*` in front and behind, where it is not yet.
    pub(in crate::engine) fn widen(&mut self, front: bool, behind: bool) {
        if front && self.parts.first() != Some(&Part::Any) {
            self.parts.insert(0, Part::Any);
        }
        if behind && self.parts.last() != Some(&Part::Any) {
            self.parts.push(Part::Any);
        }
    }

    /// The variants that `windash` stands for: each `-` or `/` before a word takes five forms. `None`
    /// if there are more than three of them.
    pub(in crate::engine) fn windash(&self) -> Option<Vec<Pattern>> {
        const DASHES: [char; 5] = ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'];
        let mut variants = vec![Pattern { parts: Vec::new(), cased: self.cased }];
        let mut dash_count = 0;
        for part in &self.parts {
            let Part::Text(text) = part else {
                for variant in &mut variants {
                    variant.push_part(part.clone());
                }
                continue;
            };
            let mut before = None;
            let mut chars = text.chars().peekable();
            while let Some(c) = chars.next() {
                let is_dash = matches!(c, '-' | '/')
                    && !before.is_some_and(is_word)
                    && chars.peek().copied().is_some_and(is_word);
                before = Some(c);
                if !is_dash {
                    for variant in &mut variants {
                        variant.push_char(c);
                    }
                    continue;
                }
                dash_count += 1;
                if dash_count > 3 {
                    return None;
                }
                variants = variants
                    .iter()
                    .flat_map(|variant| {
                        DASHES.iter().map(|dash| {
                            let mut variant = variant.clone();
                            variant.push_char(*dash);
                            variant
                        })
                    })
                    .collect();
            }
        }
        Some(variants)
    }

    /// What it amounts to.
    pub(in crate::engine) fn shape(&self) -> Shape {
        match self.parts.as_slice() {
            [] => Shape::Exact(String::new()),
            [Part::Text(text)] => Shape::Exact(text.clone()),
            [Part::Text(text), Part::Any] => Shape::Prefix(text.clone()),
            [Part::Any, Part::Text(text)] => Shape::Suffix(text.clone()),
            [Part::Any, Part::Text(text), Part::Any] => Shape::Contains(text.clone()),
            parts if parts.iter().all(|part| *part == Part::Any) => Shape::Anything,
            _ => Shape::Wild,
        }
    }

    /// The same as a regular expression; anchored at both ends unless `inside`. In names of service
    /// accounts a wildcard stands for a part of the namespace or of the name, never of both.
    pub(in crate::engine) fn regex(&self, inside: bool) -> String {
        let flags = if self.cased { "(?s)" } else { "(?is)" };
        let mut source = String::from(flags);
        source.push_str(if inside { "" } else { r"\A" });
        // Namespace and name are matched apart, and neither holds a colon.
        let of_account = matches!(self.parts.first(), Some(Part::Text(text))
            if fold_case(text).starts_with(SERVICE_ACCOUNT_PREFIX));
        let one = if of_account { "[^:]" } else { "." };
        for part in &self.parts {
            match part {
                Part::Text(text) | Part::Placeholder(text) => {
                    source.push_str(&regex::escape(text));
                }
                Part::Any => {
                    source.push_str(one);
                    source.push('*');
                }
                Part::One => source.push_str(one),
            }
        }
        source.push_str(if inside { "" } else { r"\z" });
        source
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The name up to the next `%`, and what follows that: as in pySigma anything but nothing, `%` and
/// backslashes, and here what `ends` it.
fn placeholder<'t>(text: &'t str, ends: &[char]) -> Option<(&'t str, &'t str)> {
    let (name, behind) = text.split_once('%')?;
    let is_name = !name.is_empty() && !name.contains('\\') && !name.contains(ends);
    is_name.then_some((name, behind))
}

/// Prints the shortest Sigma string that reads back as this pattern.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            let text = match part {
                Part::Any => "*",
                Part::One => "?",
                Part::Placeholder(name) => {
                    write!(f, "%{name}%")?;
                    continue;
                }
                Part::Text(text) => text,
            };
            if !matches!(part, Part::Text(_)) {
                f.write_str(text)?;
                continue;
            }
            let wildcard_follows = matches!(self.parts.get(index + 1), Some(Part::Any | Part::One));
            let mut chars = text.chars().peekable();
            while let Some(c) = chars.next() {
                let escaped = match (c, chars.peek()) {
                    ('*' | '?', _) | ('\\', Some('*' | '?' | '\\')) => true,
                    ('\\', None) => wildcard_follows,
                    _ => false,
                };
                if escaped {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_those_of_the_specification() {
        let text = |text: &str| Part::Text(text.to_owned());
        for (source, parts) in [
            ("a*b?c", vec![text("a"), Part::Any, text("b"), Part::One, text("c")]),
            (r"a\*b\?c", vec![text("a*b?c")]),
            (r"a\\*", vec![text(r"a\"), Part::Any]),
            (r"a\\\*", vec![text(r"a\*")]),
            (r"C:\Windows\x", vec![text(r"C:\Windows\x")]),
            (r"a\\b", vec![text(r"a\b")]),
            (r"end\", vec![text(r"end\")]),
            ("", vec![]),
        ] {
            assert_eq!(Pattern::parse(source).parts, parts, "{source}");
        }
    }

    #[test]
    fn placeholders_have_names_and_escapes() {
        for (source, names, literal) in [
            ("a%b_c%d", &["b_c"] as &[&str], "ad"),
            (r"\%plain%name%", &["name"], "%plain"),
            (r"\\%name%", &["name"], r"\"),
            ("%a%%b%", &["a", "b"], ""),
            ("100%", &[], "100%"),
            ("%%", &[], "%%"),
            ("%a b%", &["a b"], ""),
            ("%a*b%", &[], "%ab%"),
            (r"%a\b%", &[], r"%a\b%"),
        ] {
            let pattern = Pattern::parse_expanding(source);
            assert_eq!(pattern.placeholders().collect::<Vec<_>>(), names, "{source}");
            let text = |part: &Part| {
                if let Part::Text(text) = part { text.clone() } else { String::new() }
            };
            assert_eq!(pattern.parts.iter().map(text).collect::<String>(), literal, "{source}");
        }
        assert_eq!(Pattern::parse("%a%").plain(), Some("%a%"), "only with `expand`");
        let regex = Pattern::parse_regex(r"^\%x%a%\\%b%$");
        assert_eq!(regex.placeholders().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn windash_varies_only_dashes_before_words() {
        let variants = Pattern::parse("-enc x-y").windash().unwrap();
        let texts: Vec<String> = variants.iter().map(Pattern::to_string).collect();
        assert_eq!(texts, ["-enc x-y", "/enc x-y", "–enc x-y", "—enc x-y", "―enc x-y"]);
        assert_eq!(Pattern::parse("-a -b -c -d").windash(), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(text in r"[ab\\*?]{0,12}") {
            let pattern = Pattern::parse(&text);
            prop_assert_eq!(Pattern::parse(&pattern.to_string()), pattern);
        }

        #[test]
        fn the_regex_agrees_with_a_naive_reading(pattern in r"[aB\\*?]{0,6}", text in r"[Ab\\*?]{0,6}") {
            let pattern = Pattern::parse(&pattern);
            let regex = regex::Regex::new(&pattern.regex(false)).unwrap();
            let text_lower: Vec<char> = text.to_lowercase().chars().collect();
            prop_assert_eq!(regex.is_match(&text), naive(&pattern.parts, &text_lower));
        }
    }

    fn naive(parts: &[Part], text: &[char]) -> bool {
        match parts {
            [] => text.is_empty(),
            [Part::Any, rest @ ..] => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
            [Part::One, rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
            [Part::Text(literal) | Part::Placeholder(literal), rest @ ..] => {
                let literal: Vec<char> = literal.to_lowercase().chars().collect();
                text.starts_with(&literal) && naive(rest, &text[literal.len()..])
            }
        }
    }
}
