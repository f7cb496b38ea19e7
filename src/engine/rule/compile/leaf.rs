//! From a field with its values to tests: lists put in, equal kinds of tests joined.
//!
//! Many plain texts become one set, many `contains` one automaton, and wildcards a regular expression
//! only where nothing simpler says the same.

use std::{cell::RefCell, collections::BTreeMap, ops::Range, sync::Arc};

use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems, SourceText},
    event::{FieldId, derived::EVENT_TEXT},
    limits::{EXPANSIONS_MAX, PREDICATES_PER_RULE_MAX, REGEX_BYTES_MAX, REGEXES_PER_RULE_MAX},
    rule::{
        check::fields::check_name,
        plan::{
            build::{Builder, all, any, not},
            expression::{Expression, StringKind, Test, TimePart},
            rule::{Note, add_notes},
        },
        read::{
            identities::IdentityNotes,
            list::{ListEntry, Lists},
            modifier::{Operand, RegexOperand, encode},
            pattern::{Encoding, Part, Pattern, Shape},
            selection::Item,
        },
    },
    syntax::{code, threshold::Comparison},
    time::EventTime,
    value::{Number, fold_case},
};

/// Compiles the fields and values of one document.
pub(in crate::engine) struct ItemCompiler<'a> {
    /// The plan.
    pub(in crate::engine) builder: &'a mut Builder,
    /// All lists.
    pub(in crate::engine) lists: &'a Lists,
    /// Which of their entries count.
    pub(in crate::engine) entries: Entries<'a>,
    /// Where problems go.
    pub(in crate::engine) problems: &'a Problems,
    /// The file of the document.
    pub(in crate::engine) source: &'a Arc<SourceText>,
    /// Predicates that this document has asked for so far.
    pub(in crate::engine) predicate_count: usize,
    /// Regular expressions among them.
    pub(in crate::engine) regex_count: usize,
    /// What is said of who is who.
    pub(in crate::engine) identity_notes: &'a IdentityNotes,
    /// What is said of the entries of lists and identities that it has asked for so far.
    pub(in crate::engine) notes: RefCell<Vec<Note>>,
}

/// Which entries of lists count.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Entries<'a> {
    /// All of them.
    All,
    /// Of one list, only those of which nothing is said but their values.
    Plain(&'a str),
    /// Of one list, only the one with this number.
    One(&'a str, usize),
}

impl Entries<'_> {
    fn has(self, list: &str, number: usize, entry: &ListEntry) -> bool {
        match self {
            Entries::Plain(of) if of == list => entry.exception.is_none(),
            Entries::One(of, one) if of == list => number == one,
            Entries::All | Entries::Plain(_) | Entries::One(..) => true,
        }
    }
}

/// The tests of a value, before they are joined, by the time at which they end.
#[derive(Default)]
struct Group {
    exact: Vec<String>,
    exact_cased: Vec<String>,
    contains: Vec<String>,
    contains_cased: Vec<String>,
    other: Vec<Expression>,
}

type Groups = BTreeMap<Option<EventTime>, Group>;

impl ItemCompiler<'_> {
    /// The expression of one field with its values.
    pub(in crate::engine) fn item(&mut self, item: &Item) -> Expression {
        if let Some(field) = &item.field {
            check_name(field, &self.place(&item.at), self.problems);
            add_notes(&mut self.notes.borrow_mut(), self.identity_notes.on(field));
        }
        let field = self.builder.field(item.field.as_deref().unwrap_or(EVENT_TEXT));
        let inside = item.field.is_none();
        let mut parts = Vec::new();
        if item.all {
            for (operand, span) in &item.values {
                for (operand, until) in self.each(operand, span) {
                    let mut groups = Groups::new();
                    self.operand(field, inside, &operand, span, &mut groups);
                    let test = self.join(field, groups);
                    // An entry that has ended asks for nothing any more.
                    let over = until.map(|until| not(Expression::Before(until)));
                    parts.push(any(std::iter::once(test).chain(over)));
                }
            }
        } else {
            let mut groups = Groups::new();
            for (operand, span) in &item.values {
                self.operand(field, inside, operand, span, &mut groups);
            }
            parts.push(self.join(field, groups));
        }
        let joined = all(parts);
        if item.negated { not(joined) } else { joined }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        Place { source: Arc::clone(self.source), span: span.clone() }
    }

    fn error(&self, code: &'static str, span: &Range<usize>, title: String, help: &str) {
        let mut diagnostic = Diagnostic::error(code, self.place(span), title);
        if !help.is_empty() {
            diagnostic = diagnostic.help(help);
        }
        self.problems.push(diagnostic);
    }

    fn predicate(
        &mut self,
        field: FieldId,
        test: Test,
        key: &str,
        span: &Range<usize>,
    ) -> Expression {
        self.predicate_count += 1;
        if self.predicate_count == PREDICATES_PER_RULE_MAX + 1 {
            let title = format!("the rule needs more than {PREDICATES_PER_RULE_MAX} tests");
            let help = "plain texts without wildcards in one list count as one";
            self.error(code::TOO_MANY, span, title, help);
        }
        if self.predicate_count > PREDICATES_PER_RULE_MAX {
            return Expression::Constant(false);
        }
        self.builder.predicate(field, test, key)
    }

    fn operand(
        &mut self,
        field: FieldId,
        inside: bool,
        operand: &Operand,
        span: &Range<usize>,
        groups: &mut Groups,
    ) {
        let (test, key) = match operand {
            Operand::AnyOf(values) => {
                for value in values {
                    self.operand(field, inside, value, span, groups);
                }
                return;
            }
            Operand::Text { pattern, encoding, .. } => {
                for (pattern, until) in self.expand(pattern, false, span) {
                    self.text(
                        field,
                        inside,
                        &pattern,
                        *encoding,
                        span,
                        groups.entry(until).or_default(),
                    );
                }
                return;
            }
            Operand::Number(_, original) if inside => {
                let group = groups.entry(None).or_default();
                self.text(field, inside, &Pattern::literal(original), None, span, group);
                return;
            }
            Operand::Bool(value) if inside => {
                let group = groups.entry(None).or_default();
                self.text(field, inside, &Pattern::literal(&value.to_string()), None, span, group);
                return;
            }
            Operand::Regex(regex) => {
                self.regex_operand(field, regex, span, groups);
                return;
            }
            Operand::Network(pattern) => {
                self.networks(field, pattern, span, groups);
                return;
            }
            Operand::Exists(wanted) => {
                let there = self.predicate(field, Test::Exists, "e", span);
                let there = if *wanted { there } else { not(there) };
                groups.entry(None).or_default().other.push(there);
                return;
            }
            Operand::Null => (Test::Null, "n".to_owned()),
            Operand::Bool(value) => (Test::Bool(*value), format!("b{value}")),
            Operand::Number(number, _) => number_test(Comparison::Equal, *number),
            Operand::Compare(comparison, number) => number_test(*comparison, *number),
            Operand::Field { path, kind, cased } => {
                check_name(path, &self.place(span), self.problems);
                let other = self.builder.field(path);
                let key = format!("f{}{kind:?}{cased}", other.0);
                (Test::FieldRef { other, kind: *kind, cased: *cased }, key)
            }
            Operand::Time(part, comparison, number) => time_test(*part, *comparison, *number),
        };
        let predicate = self.predicate(field, test, &key, span);
        groups.entry(None).or_default().other.push(predicate);
    }

    /// The values that a value with placeholders stands for, each with the time at which it ends. A
    /// list without entries asks for what nothing has.
    fn each(&self, operand: &Operand, span: &Range<usize>) -> Vec<(Operand, Option<EventTime>)> {
        if !operand.has_placeholders() {
            return vec![(operand.clone(), None)];
        }
        let of = |pattern: &Pattern, make: &dyn Fn(Pattern) -> Operand| {
            let escape = matches!(operand, Operand::Regex(_));
            let expanded = self.expand(pattern, escape, span).into_iter();
            let mut each: Vec<_> = expanded.map(|(one, until)| (make(one), until)).collect();
            if each.is_empty() {
                each.push((Operand::AnyOf(Vec::new()), None));
            }
            each
        };
        match operand {
            Operand::Text { pattern, original, encoding } => of(pattern, &|pattern| {
                Operand::Text { pattern, original: original.clone(), encoding: *encoding }
            }),
            Operand::Regex(regex) => of(&regex.source, &|source| {
                Operand::Regex(RegexOperand { source, ..regex.clone() })
            }),
            Operand::Network(pattern) => of(pattern, &Operand::Network),
            other => vec![(other.clone(), None)],
        }
    }

    /// Puts the entries of lists in place of placeholders, escaped if they go into a regular
    /// expression; each result with the time at which it ends.
    fn expand(
        &self,
        pattern: &Pattern,
        escape: bool,
        span: &Range<usize>,
    ) -> Vec<(Pattern, Option<EventTime>)> {
        let mut done: Vec<(Pattern, Option<EventTime>)> =
            vec![(Pattern { parts: Vec::new(), cased: pattern.cased }, None)];
        for part in &pattern.parts {
            let Part::Placeholder(name) = part else {
                for (pattern, _) in &mut done {
                    pattern.push_part(part.clone());
                }
                continue;
            };
            let Some(list) = self.lists.get(name) else {
                self.unknown_list(name, span);
                return Vec::new();
            };
            if done.len().saturating_mul(list.entries.len()) > EXPANSIONS_MAX {
                let title = format!("the placeholders stand for more than {EXPANSIONS_MAX} texts");
                self.error(code::TOO_MANY, span, title, "use one placeholder a value");
                return Vec::new();
            }
            let counts =
                |(number, entry): &(usize, &ListEntry)| self.entries.has(name, *number, entry);
            let entries = list.entries.iter().enumerate().filter(counts);
            let entries: Vec<&ListEntry> = entries.map(|(_, entry)| entry).collect();
            let notes = list.entries.iter().filter_map(|entry| entry.note.as_ref());
            add_notes(&mut self.notes.borrow_mut(), notes);
            let filled = |(pattern, until): &(Pattern, Option<EventTime>), entry: &ListEntry| {
                let mut pattern = pattern.clone();
                for part in &entry.pattern.parts {
                    pattern.push_part(match part {
                        Part::Text(text) if escape => Part::Text(regex::escape(text)),
                        other => other.clone(),
                    });
                }
                (pattern, earlier(*until, entry.until))
            };
            done = done
                .iter()
                .flat_map(|before| entries.iter().map(move |entry| filled(before, entry)))
                .collect();
        }
        done
    }

    /// Reports a list that does not exist.
    pub(in crate::engine) fn unknown_list(&self, name: &str, span: &Range<usize>) {
        let title = format!("there is no list `{name}`");
        let is_stem = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let diagnostic = Diagnostic::error(code::UNKNOWN_LIST, self.place(span), title)
            .suggest(name, self.lists.names());
        let diagnostic = if name.chars().all(is_stem) {
            diagnostic
                .help(format!("write its values to `lists/{name}.yaml` or `lists/{name}.txt`"))
        } else {
            diagnostic.help("a `%` that means itself is written `\\%`")
        };
        self.problems.push(diagnostic);
    }

    fn text(
        &mut self,
        field: FieldId,
        inside: bool,
        pattern: &Pattern,
        encoding: Option<Encoding>,
        span: &Range<usize>,
        group: &mut Group,
    ) {
        let Some(pattern) = self.encoded(pattern, encoding, span) else { return };
        let cased = pattern.cased;
        let fold = |text: String| if cased { text } else { fold_case(&text) };
        let (kind, text) = match pattern.shape() {
            Shape::Anything => {
                let there = self.predicate(field, Test::Exists, "e", span);
                group.other.push(there);
                return;
            }
            Shape::Exact(text) if !inside => {
                if cased { &mut group.exact_cased } else { &mut group.exact }.push(fold(text));
                return;
            }
            Shape::Contains(text) => (StringKind::Contains, text),
            Shape::Exact(text) | Shape::Prefix(text) | Shape::Suffix(text) if inside => {
                (StringKind::Contains, text)
            }
            Shape::Prefix(text) => (StringKind::StartsWith, text),
            Shape::Suffix(text) => (StringKind::EndsWith, text),
            Shape::Exact(_) | Shape::Wild => {
                if let Some(predicate) = self.regex(field, &pattern.regex(inside), span) {
                    group.other.push(predicate);
                }
                return;
            }
        };
        // One automaton makes no difference between ASCII cases only.
        if kind == StringKind::Contains && !text.is_empty() && (cased || text.is_ascii()) {
            if cased { &mut group.contains_cased } else { &mut group.contains }.push(fold(text));
            return;
        }
        let pattern = fold(text);
        let key = format!("t{kind:?}{cased}{pattern}");
        let predicate = self.predicate(field, Test::Text { kind, pattern, cased }, &key, span);
        group.other.push(predicate);
    }

    /// The text as the bytes of its encoding, read as UTF-8.
    fn encoded(
        &self,
        pattern: &Pattern,
        encoding: Option<Encoding>,
        span: &Range<usize>,
    ) -> Option<Pattern> {
        if encoding.is_none() {
            return Some(pattern.clone());
        }
        let mut encoded = Pattern { parts: Vec::new(), cased: pattern.cased };
        for part in &pattern.parts {
            encoded.parts.push(match part {
                Part::Text(text) => {
                    let Ok(text) = String::from_utf8(encode(text, encoding)) else {
                        let title = format!("`{text}` in UTF-16 is not text any more");
                        let help = "put `base64` or `base64offset` behind the encoding";
                        self.error(code::MODIFIER_MISUSE, span, title, help);
                        return None;
                    };
                    Part::Text(text)
                }
                other => other.clone(),
            });
        }
        Some(encoded)
    }

    fn regex_operand(
        &mut self,
        field: FieldId,
        operand: &RegexOperand,
        span: &Range<usize>,
        groups: &mut Groups,
    ) {
        // Entries of lists are literal text inside an expression.
        let literal = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Placeholder(name) => format!("%{name}%"),
            Part::Any => ".*".to_owned(),
            Part::One => ".".to_owned(),
        };
        for (pattern, until) in self.expand(&operand.source, true, span) {
            let source: String = pattern.parts.iter().map(literal).collect();
            let flags = if operand.flags.is_empty() {
                String::new()
            } else {
                format!("(?{})", operand.flags)
            };
            let source = match (operand.at_start, operand.at_end) {
                (false, false) => format!("{flags}{source}"),
                (start, end) => format!(
                    "{flags}{}(?:{source}){}",
                    if start { r"\A" } else { "" },
                    if end { r"\z" } else { "" }
                ),
            };
            if let Some(predicate) = self.regex(field, &source, span) {
                groups.entry(until).or_default().other.push(predicate);
            }
        }
    }

    fn regex(&mut self, field: FieldId, source: &str, span: &Range<usize>) -> Option<Expression> {
        self.regex_count += 1;
        if self.regex_count == REGEXES_PER_RULE_MAX + 1 {
            let title = format!("the rule needs more than {REGEXES_PER_RULE_MAX} expressions");
            let help = "texts with `*` only at their ends need none";
            self.error(code::TOO_MANY, span, title, help);
        }
        if self.regex_count > REGEXES_PER_RULE_MAX {
            return None;
        }
        match regex::RegexBuilder::new(source).size_limit(REGEX_BYTES_MAX).build() {
            Ok(regex) => {
                let test = Test::Regex(Arc::new(regex));
                Some(self.predicate(field, test, &format!("r{source}"), span))
            }
            Err(error) => {
                let (title, help) = explain_regex(&error);
                self.error(code::BAD_REGEX, span, title, help);
                None
            }
        }
    }

    fn networks(
        &mut self,
        field: FieldId,
        pattern: &Pattern,
        span: &Range<usize>,
        groups: &mut Groups,
    ) {
        for (pattern, until) in self.expand(pattern, false, span) {
            let text = pattern.plain().unwrap_or("").trim();
            // A single address is the network of itself.
            let single = if text.contains(':') { "/128" } else { "/32" };
            let network = text
                .parse::<ipnet::IpNet>()
                .or_else(|_| format!("{text}{single}").parse::<ipnet::IpNet>())
                .ok();
            let Some(network) = network else {
                let title = format!("`{pattern}` is not a network");
                self.error(code::BAD_NETWORK, span, title, "write one such as `10.0.0.0/8`");
                continue;
            };
            if network != network.trunc() && pattern.plain() == Some(text) {
                let title = format!("`{text}` names an address within `{}`", network.trunc());
                self.problems.push(
                    Diagnostic::warning(code::OTHER_TOOLS, self.place(span), title)
                        .label("other Sigma tools refuse this")
                        .help("write the network itself"),
                );
            }
            let network = network.trunc();
            let predicate =
                self.predicate(field, Test::Cidr(network), &format!("c{network}"), span);
            groups.entry(until).or_default().other.push(predicate);
        }
    }

    /// Any of the collected tests.
    fn join(&mut self, field: FieldId, groups: Groups) -> Expression {
        let span = 0..0;
        let mut parts = Vec::new();
        for (until, group) in groups {
            let mut tests = group.other;
            for (mut texts, cased) in [(group.exact, false), (group.exact_cased, true)] {
                if texts.is_empty() {
                    continue;
                }
                texts.sort_unstable();
                texts.dedup();
                let key = format!("o{cased}{}", texts.join("\0"));
                let texts = Arc::new(texts.into_iter().collect());
                tests.push(self.predicate(field, Test::OneOf { texts, cased }, &key, &span));
            }
            for (texts, cased) in [(group.contains, false), (group.contains_cased, true)] {
                tests.extend(self.contains(field, texts, cased));
            }
            let test = any(tests);
            parts.push(match until {
                Some(until) => all([Expression::Before(until), test]),
                None => test,
            });
        }
        any(parts)
    }

    fn contains(
        &mut self,
        field: FieldId,
        mut texts: Vec<String>,
        cased: bool,
    ) -> Option<Expression> {
        texts.sort_unstable();
        texts.dedup();
        let span = 0..0;
        if texts.len() > 1 {
            let automaton =
                aho_corasick::AhoCorasick::builder().ascii_case_insensitive(!cased).build(&texts);
            if let Ok(automaton) = automaton {
                let key = format!("a{cased}{}", texts.join("\0"));
                let automaton = Arc::new(automaton);
                let test = Test::ContainsAny { texts: texts.into(), cased, automaton };
                return Some(self.predicate(field, test, &key, &span));
            }
            // Too much for one automaton: one test each, within the limit of tests per rule.
        }
        let mut tests = Vec::new();
        for pattern in texts {
            let kind = StringKind::Contains;
            let key = format!("t{kind:?}{cased}{pattern}");
            tests.push(self.predicate(field, Test::Text { kind, pattern, cased }, &key, &span));
        }
        (!tests.is_empty()).then(|| any(tests))
    }
}

/// The earlier of two ends.
fn earlier(a: Option<EventTime>, b: Option<EventTime>) -> Option<EventTime> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn number_test(comparison: Comparison, number: Number) -> (Test, String) {
    (Test::Number(comparison, number), format!("#{comparison:?}{number}"))
}

fn time_test(part: TimePart, comparison: Comparison, number: i64) -> (Test, String) {
    (Test::TimePart(part, comparison, number), format!("p{part:?}{comparison:?}{number}"))
}

fn explain_regex(error: &regex::Error) -> (String, &'static str) {
    match error {
        regex::Error::CompiledTooBig(_) => (
            format!("the expression needs more than {} MiB", REGEX_BYTES_MAX >> 20),
            "make repetitions and character classes smaller",
        ),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
            let help = if last.contains("look-around") || last.contains("backreferences") {
                "expressions run in linear time; say it with `not` in the condition"
            } else {
                ""
            };
            (last, help)
        }
    }
}
