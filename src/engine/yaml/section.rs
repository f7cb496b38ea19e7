//! Reads a mapping key by key, and reports everything that is wrong with it.
//!
//! A [`Section`] remembers which keys were asked for; [`Section::finish`] reports the others as
//! unknown, with the nearest known name. A getter reports a wrong type and returns `None`, so that
//! reading goes on and all mistakes are shown at once.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
    ops::Range,
    sync::Arc,
    time::Duration,
};

use super::{Key, Node, NodeKind};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems, SourceText, code},
    duration::parse_duration,
};

/// Where a secret is to be found. Resolved by the shell; never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// Written into the file itself.
    Inline(String),
    /// `<key>_file: PATH`: the file's content without a trailing newline.
    File(String),
    /// `<key>_env: NAME` or `<key>: ${NAME}`.
    Env(String),
}

impl std::fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretRef::Inline(_) => f.write_str("SecretRef::Inline(<secret>)"),
            SecretRef::File(path) => write!(f, "SecretRef::File({path})"),
            SecretRef::Env(name) => write!(f, "SecretRef::Env({name})"),
        }
    }
}

/// The codes under which a [`Section`] reports what is wrong with it.
#[derive(Debug)]
pub struct SectionCodes {
    /// A key that nobody asked for.
    pub unknown: &'static str,
    /// A key that must be there is not.
    pub missing: &'static str,
    /// A value of the wrong kind.
    pub wrong_type: &'static str,
    /// A value of the right kind that cannot be taken.
    pub invalid: &'static str,
    /// The same thing said twice.
    pub twice: &'static str,
}

/// The codes of the configuration; rule files have their own.
pub const CONFIG_CODES: SectionCodes = SectionCodes {
    unknown: code::UNKNOWN_SETTING,
    missing: code::MISSING_SETTING,
    wrong_type: code::WRONG_SETTING_TYPE,
    invalid: code::INVALID_SETTING,
    twice: code::SETTING_TWICE,
};

/// A mapping being read.
pub struct Section<'a> {
    codes: &'static SectionCodes,
    source: &'a Arc<SourceText>,
    problems: &'a Problems,
    node: &'a Node,
    entries: &'a [(Key, Node)],
    /// Where this section is, for messages: `receivers[0].slack`; empty at the root.
    path: String,
    asked: RefCell<BTreeSet<String>>,
    /// Numbers of the entries, sorted by their keys; made for a mapping with many.
    by_key: OnceCell<Vec<usize>>,
}

/// Entries of a mapping that are looked through one by one: 16.
const SEARCHED_MAX: usize = 16;

impl<'a> Section<'a> {
    /// Starts reading a mapping. Anything else is reported and read as an empty one; nothing at all
    /// (`http:` and no more) is an empty mapping.
    pub fn new(
        source: &'a Arc<SourceText>,
        problems: &'a Problems,
        node: &'a Node,
        path: impl Into<String>,
    ) -> Section<'a> {
        Section::with_codes(&CONFIG_CODES, source, problems, node, path)
    }

    /// Like [`Section::new`], with the codes of another kind of file. Nested sections inherit them.
    pub fn with_codes(
        codes: &'static SectionCodes,
        source: &'a Arc<SourceText>,
        problems: &'a Problems,
        node: &'a Node,
        path: impl Into<String>,
    ) -> Section<'a> {
        let path = path.into();
        let entries = match &node.kind {
            NodeKind::Map(entries) => entries.as_slice(),
            NodeKind::Null => &[],
            _ => {
                let what = if path.is_empty() { "the document" } else { path.as_str() };
                let title = format!("{what} must be a mapping, not {}", node.kind_name());
                let place = Place { source: Arc::clone(source), span: node.span.clone() };
                problems.push(Diagnostic::error(codes.wrong_type, place, title));
                &[]
            }
        };
        let (asked, by_key) = (RefCell::default(), OnceCell::new());
        Section { codes, source, problems, node, entries, path, asked, by_key }
    }

    /// Dotted path of this section; empty at the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Dotted path of a key of this section.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where this section begins.
    pub fn place(&self) -> Place {
        self.place_of_span(self.node.span.clone())
    }

    /// Where the value of a key stands; where the section begins if it has no such key.
    pub fn place_of(&self, key: &str) -> Place {
        self.entry(key)
            .map_or_else(|| self.place(), |(_, node)| self.place_of_span(node.span.clone()))
    }

    /// Where a key itself stands; where the section begins if it has no such key.
    pub fn place_of_key(&self, key: &str) -> Place {
        self.entry(key)
            .map_or_else(|| self.place(), |(key, _)| self.place_of_span(key.span.clone()))
    }

    /// A place in the same file, such as that of a node of this section.
    pub fn place_of_span(&self, span: Range<usize>) -> Place {
        Place { source: Arc::clone(self.source), span }
    }

    /// Reports a problem found by the caller.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.problems.push(diagnostic);
    }

    /// Reports that the value of `key` is not acceptable.
    pub fn invalid(&self, key: &str, title: impl Into<String>, help: impl Into<String>) {
        self.report(Diagnostic::error(self.codes.invalid, self.place_of(key), title).help(help));
    }

    /// The keys in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.entries.iter().map(|(key, _)| key.text.as_str())
    }

    fn entry(&self, key: &str) -> Option<&'a (Key, Node)> {
        if self.entries.len() <= SEARCHED_MAX {
            return self.entries.iter().find(|(known, _)| known.text == key);
        }
        let text = |at: &usize| self.entries.get(*at).map_or("", |(key, _)| key.text.as_str());
        let by_key = self.by_key.get_or_init(|| {
            let mut numbers: Vec<usize> = (0..self.entries.len()).collect();
            numbers.sort_by(|a, b| text(a).cmp(text(b)));
            numbers
        });
        let found = by_key.binary_search_by(|at| text(at).cmp(key)).ok()?;
        self.entries.get(*by_key.get(found)?)
    }

    /// Whether the key is there, whatever its value. Counts as asked for.
    pub fn has(&self, key: &str) -> bool {
        self.asked.borrow_mut().insert(key.to_owned());
        self.entry(key).is_some()
    }

    /// Whether the key is there with nothing behind it. Counts as asked for.
    pub fn is_empty(&self, key: &str) -> bool {
        self.has(key) && self.node(key).is_none()
    }

    /// The raw value of a key. Counts as asked for. A null value counts as absent.
    pub fn node(&self, key: &str) -> Option<&'a Node> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.entry(key).map(|(_, node)| node).filter(|node| node.kind != NodeKind::Null)
    }

    fn wrong(&self, key: &str, node: &Node, wanted: &str) {
        let title = format!("{} must be {wanted}, not {}", self.path_of(key), node.kind_name());
        self.report(Diagnostic::error(
            self.codes.wrong_type,
            self.place_of_span(node.span.clone()),
            title,
        ));
    }

    /// Reports a missing key with what to write.
    pub fn missing(&self, key: &str, help: impl Into<String>) {
        let title = format!("{} is missing", self.path_of(key));
        self.report(Diagnostic::error(self.codes.missing, self.place(), title).help(help));
    }

    /// Reports a key with nothing behind it.
    pub fn empty(&self, key: &str) {
        let title = format!("{} is empty", self.path_of(key));
        let diagnostic = Diagnostic::error(self.codes.invalid, self.place_of_key(key), title);
        self.report(diagnostic.help("write a value behind it, or leave the key out"));
    }

    /// Text. Numbers and booleans are taken as written.
    pub fn string(&self, key: &str) -> Option<String> {
        let node = self.node(key)?;
        let text = node.scalar_text();
        if text.is_none() {
            self.wrong(key, node, "text");
        }
        text
    }

    /// Text that must be there and not be empty; its absence is reported with `help`.
    pub fn required_string(&self, key: &str, help: &str) -> Option<String> {
        if self.node(key).is_none() {
            self.missing(key, help);
            return None;
        }
        let text = self.string(key)?;
        if text.is_empty() {
            self.invalid(key, format!("{} is empty", self.path_of(key)), help);
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        let node = self.node(key)?;
        if let NodeKind::Bool(value) = node.kind {
            return Some(value);
        }
        self.wrong(key, node, "true or false");
        None
    }

    /// An integer within a range, both ends included.
    pub fn integer(&self, key: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let node = self.node(key)?;
        match node.kind {
            NodeKind::Int(value) if range.contains(&value) => Some(value),
            NodeKind::Int(value) => {
                let title = format!("{} is {value}", self.path_of(key));
                let help = format!("it may be {} to {}", range.start(), range.end());
                self.invalid(key, title, help);
                None
            }
            _ => {
                self.wrong(key, node, "an integer");
                None
            }
        }
    }

    /// A number.
    pub fn number(&self, key: &str) -> Option<f64> {
        let node = self.node(key)?;
        match node.kind {
            #[expect(clippy::cast_precision_loss, reason = "settings are far below 2^53")]
            NodeKind::Int(value) => Some(value as f64),
            NodeKind::Float(value) => Some(value),
            _ => {
                self.wrong(key, node, "a number");
                None
            }
        }
    }

    /// A duration as Prometheus writes it: `30s`, `1h30m`, `2d`, `1w`, `250ms`.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        let node = self.node(key)?;
        let parsed = node.scalar_text().and_then(|text| parse_duration(&text));
        if parsed.is_none() {
            let title = format!("{} is not a duration", self.path_of(key));
            self.invalid(
                key,
                title,
                "write a number and a unit, such as `30s`, `5m`, `1h30m`, `2d`",
            );
        }
        parsed
    }

    /// A list of texts; one text alone is a list of one.
    pub fn strings(&self, key: &str) -> Option<Vec<String>> {
        let node = self.node(key)?;
        if let Some(text) = node.scalar_text() {
            return Some(vec![text]);
        }
        let Some(items) = node.as_list() else {
            self.wrong(key, node, "a list of texts");
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.scalar_text() {
                Some(text) => texts.push(text),
                None => self.wrong(key, item, "a list of texts"),
            }
        }
        Some(texts)
    }

    /// A mapping from text to text, in the order of the file.
    pub fn string_map(&self, key: &str) -> Option<Vec<(String, String)>> {
        let node = self.node(key)?;
        let Some(entries) = node.as_map() else {
            self.wrong(key, node, "a mapping");
            return None;
        };
        let mut pairs = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            match value.scalar_text() {
                Some(text) => pairs.push((name.text.clone(), text)),
                None => self.wrong(&format!("{key}.{}", name.text), value, "text"),
            }
        }
        Some(pairs)
    }

    /// One of a few words.
    pub fn one_of<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let title = format!("{} cannot be `{text}`", self.path_of(key));
            let diagnostic = Diagnostic::error(self.codes.invalid, self.place_of(key), title)
                .help(format!("it is one of: {}", list.join(", ")))
                .suggest(&text, list.iter().copied());
            self.report(diagnostic);
        }
        found
    }

    /// A secret: `key`, `key_file` or `key_env`; `${NAME}` as the whole value of `key` means the
    /// environment too. More than one of them is reported.
    pub fn secret(&self, key: &str) -> Option<SecretRef> {
        let inline = self.string(key).map(|text| {
            match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => SecretRef::Env(name.to_owned()),
                None => SecretRef::Inline(text),
            }
        });
        let file = self.string(&format!("{key}_file")).map(SecretRef::File);
        let env = self.string(&format!("{key}_env")).map(SecretRef::Env);
        let mut given: Vec<SecretRef> = [inline, file, env].into_iter().flatten().collect();
        if given.len() > 1 {
            let title = format!("{} is given more than once", self.path_of(key));
            let help = format!("keep one of `{key}`, `{key}_file` and `{key}_env`");
            self.report(Diagnostic::error(self.codes.twice, self.place(), title).help(help));
        }
        if given.is_empty() { None } else { Some(given.swap_remove(0)) }
    }

    /// A nested mapping.
    pub fn section(&self, key: &str) -> Option<Section<'a>> {
        let node = {
            self.asked.borrow_mut().insert(key.to_owned());
            &self.entry(key)?.1
        };
        let path = self.path_of(key);
        Some(Section::with_codes(self.codes, self.source, self.problems, node, path))
    }

    /// A list of mappings.
    pub fn sections(&self, key: &str) -> Vec<Section<'a>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Some(items) = node.as_list() else {
            self.wrong(key, node, "a list");
            return Vec::new();
        };
        let section = |(index, item)| {
            let path = format!("{}[{index}]", self.path_of(key));
            Section::with_codes(self.codes, self.source, self.problems, item, path)
        };
        items.iter().enumerate().map(section).collect()
    }

    /// Reports every key that nobody asked for, with the nearest known name.
    pub fn finish(self) {
        let asked = self.asked.into_inner();
        for (key, _) in self.entries {
            if asked.contains(&key.text) {
                continue;
            }
            let path = if self.path.is_empty() {
                key.text.clone()
            } else {
                format!("{}.{}", self.path, key.text)
            };
            let place = Place { source: Arc::clone(self.source), span: key.span.clone() };
            let mut diagnostic =
                Diagnostic::error(self.codes.unknown, place, format!("unknown key `{path}`"))
                    .suggest(&key.text, asked.iter().map(String::as_str));
            if diagnostic.help.is_empty() {
                let known: Vec<&str> = asked.iter().map(String::as_str).collect();
                diagnostic = diagnostic.help(format!("known keys here: {}", known.join(", ")));
            }
            self.problems.push(diagnostic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::yaml::parse;

    #[test]
    fn keys_are_found_among_few_and_among_many() {
        for count in [1, SEARCHED_MAX, SEARCHED_MAX + 1, 10_000] {
            let lines: Vec<String> = (0..count).map(|n| format!("k{n}: {n}\n")).collect();
            let source = SourceText::new("t.yaml", lines.concat());
            let (nodes, problems) = (parse(&source).unwrap(), Problems::new());
            let section = Section::new(&source, &problems, &nodes[0], "");
            for n in 0..count {
                assert_eq!(section.string(&format!("k{n}")), Some(n.to_string()));
            }
            assert_eq!(section.string("k"), None);
        }
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let source = SourceText::new("t.yaml", "wait: soon\nlistn: x\nport: 99999\n");
        let (nodes, problems) = (parse(&source).unwrap(), Problems::new());
        let section = Section::new(&source, &problems, &nodes[0], "");
        assert_eq!(section.duration("wait"), None);
        assert_eq!(section.string("listen"), None);
        assert_eq!(section.integer("port", 1..=65_535), None);
        assert_eq!(section.required_string("name", "give it a name"), None);
        section.finish();
        let codes: Vec<_> = problems.into_sorted().iter().map(|p| p.code).collect();
        assert_eq!(codes, ["C002", "C004", "C001", "C004"]);
    }
}
