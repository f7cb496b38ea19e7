//! The condition grammar: names, `and`, `or`, `not`, selectors and parentheses.
//!
//! One parser serves the conditions of detections and filters, where names are selections and
//! `1 of x*` is allowed, and those of temporal correlations (SEP-198), where names are rules. As in
//! Sigma, `not` binds closest, then `and`, then `or`; operators are lower-case.

use std::{fmt, ops::Range};

use super::{code, read::Text};
use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    limits::CONDITION_DEPTH_MAX,
};

/// A parsed condition. Ranges are bytes of the condition's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Condition {
    /// A selection, or a rule.
    Name(String, Range<usize>),
    /// `1 of pattern`, `any of pattern` (`all: false`), `all of pattern`.
    Of {
        /// All, or any.
        all: bool,
        /// A name with `*`, or `them`.
        pattern: String,
        /// The whole selector.
        at: Range<usize>,
    },
    /// `not`
    Not(Box<Condition>),
    /// `and`; at least two.
    All(Vec<Condition>),
    /// `or`; at least two.
    Any(Vec<Condition>),
}

impl Condition {
    /// Every name in it, with its place, as often as it is there.
    pub(in crate::engine) fn names(&self) -> Vec<(&str, &Range<usize>)> {
        match self {
            Condition::Name(name, at) => vec![(name, at)],
            Condition::Of { .. } => Vec::new(),
            Condition::Not(inner) => inner.names(),
            Condition::All(parts) | Condition::Any(parts) => {
                parts.iter().flat_map(Condition::names).collect()
            }
        }
    }
}

/// Why a condition is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct SyntaxError {
    /// What is wrong, without a full stop.
    pub(in crate::engine) title: String,
    /// Where.
    pub(in crate::engine) at: Range<usize>,
    /// What to do; may be empty.
    pub(in crate::engine) help: String,
    /// What kind of mistake.
    pub(in crate::engine) kind: SyntaxErrorKind,
}

/// What kind of mistake a [`SyntaxError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum SyntaxErrorKind {
    /// Any other.
    Plain,
    /// `|` or `near`.
    Legacy,
    /// Deeper than [`CONDITION_DEPTH_MAX`].
    TooDeep,
}

/// Parses a condition. `selectors` says whether `1 of …` is part of the grammar.
pub(in crate::engine) fn parse(text: &str, selectors: bool) -> Result<Condition, SyntaxError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { text, tokens: &tokens, next: 0, selectors };
    let condition = parser.any(0)?;
    match parser.peek() {
        None => Ok(condition),
        Some(token) => Err(parser.unexpected(token)),
    }
}

/// Parses a condition and reports what is wrong with it.
pub(in crate::engine) fn parse_condition(
    problems: &Problems,
    text: &Text,
    selectors: bool,
) -> Option<Condition> {
    match parse(&text.value, selectors) {
        Ok(condition) => Some(condition),
        Err(error) => {
            let code = match error.kind {
                SyntaxErrorKind::Plain => code::CONDITION_SYNTAX,
                SyntaxErrorKind::Legacy => code::LEGACY_AGGREGATION,
                SyntaxErrorKind::TooDeep => code::CONDITION_TOO_DEEP,
            };
            let mut diagnostic = Diagnostic::error(code, text.place_of(error.at), error.title);
            if !error.help.is_empty() {
                diagnostic = diagnostic.help(error.help);
            }
            problems.push(diagnostic);
            None
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    kind: TokenKind,
    at: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenKind {
    Word,
    Open,
    Close,
}

fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*');
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let kind = match c {
            c if c.is_whitespace() => continue,
            '(' => TokenKind::Open,
            ')' => TokenKind::Close,
            c if is_word(c) => TokenKind::Word,
            '|' => {
                let help = "write a correlation document instead, with `type: event_count` or \
                            `type: value_count`, `rules`, `group-by`, `timespan` and `condition`";
                return Err(SyntaxError {
                    title: "aggregations in conditions were removed from Sigma".to_owned(),
                    at: start..text.len(),
                    help: help.to_owned(),
                    kind: SyntaxErrorKind::Legacy,
                });
            }
            c => {
                return Err(SyntaxError {
                    title: format!("`{c}` does not belong in a condition"),
                    at: start..start + c.len_utf8(),
                    help: "names are made of letters, digits, `_` and `-`".to_owned(),
                    kind: SyntaxErrorKind::Plain,
                });
            }
        };
        let mut end = start + c.len_utf8();
        if kind == TokenKind::Word {
            while let Some((at, c)) = chars.next_if(|(_, c)| is_word(*c)) {
                end = at + c.len_utf8();
            }
        }
        tokens.push(Token { kind, at: start..end });
    }
    Ok(tokens)
}

struct Parser<'t> {
    text: &'t str,
    tokens: &'t [Token],
    next: usize,
    selectors: bool,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.next)
    }

    fn word(&self, token: &Token) -> &'t str {
        self.text.get(token.at.clone()).unwrap_or("")
    }

    /// Takes the next token if it is this word.
    fn take(&mut self, word: &str) -> bool {
        let found = self
            .peek()
            .is_some_and(|token| token.kind == TokenKind::Word && self.word(token) == word);
        self.next += usize::from(found);
        found
    }

    fn any(&mut self, depth: usize) -> Result<Condition, SyntaxError> {
        let mut parts = vec![self.all(depth)?];
        while self.take("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Condition::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, SyntaxError> {
        let mut parts = vec![self.not(depth)?];
        while self.take("and") {
            parts.push(self.not(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Condition::All(parts) })
    }

    fn not(&mut self, depth: usize) -> Result<Condition, SyntaxError> {
        if depth > CONDITION_DEPTH_MAX {
            let at = self.peek().map_or(self.text.len()..self.text.len(), |token| token.at.clone());
            return Err(SyntaxError {
                title: format!("the condition is nested deeper than {CONDITION_DEPTH_MAX} levels"),
                at,
                help: "name parts of it as selections".to_owned(),
                kind: SyntaxErrorKind::TooDeep,
            });
        }
        if self.take("not") {
            return Ok(Condition::Not(Box::new(self.not(depth + 1)?)));
        }
        self.operand(depth)
    }

    fn operand(&mut self, depth: usize) -> Result<Condition, SyntaxError> {
        let Some(token) = self.peek() else { return Err(self.missing_operand()) };
        match token.kind {
            TokenKind::Open => {
                self.next += 1;
                let inner = self.any(depth + 1)?;
                match self.peek() {
                    Some(close) if close.kind == TokenKind::Close => {
                        self.next += 1;
                        Ok(inner)
                    }
                    Some(other) => Err(self.unexpected(other)),
                    None => Err(self.plain("this parenthesis is not closed", token.at.clone(), "")),
                }
            }
            TokenKind::Close => Err(self.unexpected(token)),
            TokenKind::Word => self.name_or_selector(token),
        }
    }

    fn name_or_selector(&mut self, token: &Token) -> Result<Condition, SyntaxError> {
        let word = self.word(token);
        if matches!(word, "and" | "or") {
            return Err(self.unexpected(token));
        }
        self.next += 1;
        let of = self.selectors && self.take("of");
        if !of {
            if word.contains('*') {
                let help = format!("write `1 of {word}` or `all of {word}`");
                let title = format!("`{word}` is a pattern, not a name");
                let help = if self.selectors { help.as_str() } else { "" };
                return Err(self.plain(title, token.at.clone(), help));
            }
            return Ok(Condition::Name(word.to_owned(), token.at.clone()));
        }
        let all = match word {
            "1" | "any" => false,
            "all" => true,
            _ => {
                let title = format!("`{word} of` is not a selector");
                return Err(self.plain(
                    title,
                    token.at.clone(),
                    "Sigma has `1 of`, `any of` and `all of`",
                ));
            }
        };
        match self.peek() {
            Some(pattern) if pattern.kind == TokenKind::Word => {
                self.next += 1;
                let at = token.at.start..pattern.at.end;
                Ok(Condition::Of { all, pattern: self.word(pattern).to_owned(), at })
            }
            _ => Err(self.plain(
                format!("`{word} of` is followed by nothing to choose from"),
                token.at.clone(),
                "write `them` or a pattern such as `selection_*`",
            )),
        }
    }

    fn missing_operand(&self) -> SyntaxError {
        match self.next.checked_sub(1).and_then(|before| self.tokens.get(before)) {
            None => self.plain("the condition is empty", 0..self.text.len(), ""),
            Some(before) => {
                let title = format!("something must follow `{}`", self.word(before));
                self.plain(title, before.at.clone(), "")
            }
        }
    }

    fn unexpected(&self, token: &Token) -> SyntaxError {
        let word = self.word(token);
        let before = self.next.checked_sub(1).and_then(|index| self.tokens.get(index));
        let lower = word.to_ascii_lowercase();
        let help = if lower != word && matches!(lower.as_str(), "and" | "or" | "not" | "of") {
            format!("operators are lower-case: `{lower}`")
        } else if word == "near" || word == "by" {
            return SyntaxError {
                title: format!("`{word}` was removed from Sigma"),
                at: token.at.clone(),
                help: "write a correlation document of type `temporal` instead".to_owned(),
                kind: SyntaxErrorKind::Legacy,
            };
        } else if token.kind == TokenKind::Word && before.is_some() {
            "put `and` or `or` between the two".to_owned()
        } else {
            String::new()
        };
        let title = match before {
            Some(before) => format!("`{word}` cannot follow `{}`", self.word(before)),
            None => format!("a condition cannot begin with `{word}`"),
        };
        self.plain(title, token.at.clone(), &help)
    }

    #[expect(clippy::unused_self, reason = "reads as one of the parser's errors")]
    fn plain(&self, title: impl Into<String>, at: Range<usize>, help: &str) -> SyntaxError {
        let help = help.to_owned();
        SyntaxError { title: title.into(), at, help, kind: SyntaxErrorKind::Plain }
    }
}

/// Whether a selection's name fits a selector's pattern. Names that begin with `_` fit only patterns
/// that do.
pub(in crate::engine) fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('_') && !pattern.starts_with('_') {
        return false;
    }
    if pattern == "them" {
        return true;
    }
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    let mut pieces: Vec<&str> = tail.split('*').collect();
    let last = pieces.pop().unwrap_or("");
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or(""),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Prints the condition with as few parentheses as it needs.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f, 0)
    }
}

impl Condition {
    /// Whether it has `not` anywhere.
    pub(in crate::engine) fn has_not(&self) -> bool {
        match self {
            Condition::Name(..) | Condition::Of { .. } => false,
            Condition::Not(_) => true,
            Condition::All(parts) | Condition::Any(parts) => parts.iter().any(Condition::has_not),
        }
    }

    /// `binding` is that of the operator around it: 0 nothing or `or`, 1 `and`, 2 `not`.
    fn print(&self, f: &mut fmt::Formatter<'_>, binding: u8) -> fmt::Result {
        let (parts, word, own) = match self {
            Condition::Name(name, _) => return f.write_str(name),
            Condition::Of { all, pattern, .. } => {
                return write!(f, "{} of {pattern}", if *all { "all" } else { "1" });
            }
            Condition::Not(inner) => {
                f.write_str("not ")?;
                return inner.print(f, 2);
            }
            Condition::All(parts) => (parts, " and ", 1),
            Condition::Any(parts) => (parts, " or ", 0),
        };
        let parentheses = binding > own;
        if parentheses {
            f.write_str("(")?;
        }
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                f.write_str(word)?;
            }
            // A part with the same operator keeps its parentheses, so that it reads back as it is.
            part.print(f, own + 1)?;
        }
        if parentheses {
            f.write_str(")")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn not_binds_before_and_before_or() {
        let condition = parse("a or not b and (c or 1 of d*)", true).unwrap();
        let Condition::Any(parts) = &condition else { panic!("{condition:?}") };
        assert!(
            matches!(&parts[1], Condition::All(inner) if matches!(inner[0], Condition::Not(_)))
        );
        assert_eq!(condition.to_string(), "a or not b and (c or 1 of d*)");
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, title) in [
            ("", "the condition is empty"),
            ("a and", "something must follow `and`"),
            ("a AND b", "`AND` cannot follow `a`"),
            ("2 of a*", "`2 of` is not a selector"),
            ("a b", "`b` cannot follow `a`"),
            ("(a or b", "this parenthesis is not closed"),
            ("a | count() by b > 3", "aggregations in conditions were removed from Sigma"),
            ("a near b", "`near` was removed from Sigma"),
            ("sel*", "`sel*` is a pattern, not a name"),
            ("1 of", "`1 of` is followed by nothing to choose from"),
            (") a", "a condition cannot begin with `)`"),
            ("a & b", "`&` does not belong in a condition"),
        ] {
            assert_eq!(parse(text, true).unwrap_err().title, title, "{text}");
        }
        let deep = "(".repeat(10_000) + "a";
        assert_eq!(parse(&deep, true).unwrap_err().kind, SyntaxErrorKind::TooDeep);
        let nots = "not ".repeat(10_000) + "a";
        assert_eq!(parse(&nots, true).unwrap_err().kind, SyntaxErrorKind::TooDeep);
    }

    #[test]
    fn patterns_choose_selections() {
        for (pattern, name, expected) in [
            ("them", "a", true),
            ("them", "_a", false),
            ("_*", "_a", true),
            ("sel*", "selection", true),
            ("sel*", "filter", false),
            ("*_b_*", "a_b_c", true),
            ("a*a", "a", false),
            ("a*b*c", "aXbYbZc", true),
            ("abc", "abc", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    fn any_condition() -> impl Strategy<Value = Condition> {
        let leaf = prop_oneof![
            "[a-c_]{1,3}x".prop_map(|name| Condition::Name(name, 0..0)),
            ("[a-c]{1,2}\\*", any::<bool>()).prop_map(|(pattern, all)| Condition::Of {
                all,
                pattern,
                at: 0..0
            }),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|one| Condition::Not(Box::new(one))),
                prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::All),
                prop::collection::vec(inner, 2..4).prop_map(Condition::Any),
            ]
        })
    }

    fn without_places(condition: Condition) -> Condition {
        match condition {
            Condition::Name(name, _) => Condition::Name(name, 0..0),
            Condition::Of { all, pattern, .. } => Condition::Of { all, pattern, at: 0..0 },
            Condition::Not(inner) => Condition::Not(Box::new(without_places(*inner))),
            Condition::All(parts) => {
                Condition::All(parts.into_iter().map(without_places).collect())
            }
            Condition::Any(parts) => {
                Condition::Any(parts.into_iter().map(without_places).collect())
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(condition in any_condition()) {
            let read = parse(&condition.to_string(), true).unwrap();
            prop_assert_eq!(without_places(read), condition);
        }

        #[test]
        fn any_text_is_a_condition_or_an_error_with_a_place(text in ".{0,40}") {
            if let Err(error) = parse(&text, true) {
                prop_assert!(text.get(error.at).is_some());
            }
        }
    }
}
