//! Lists of values that rules name as `%name%`: who may, which clusters exist, what is bad.
//!
//! `lists/<name>.txt` has one value a line, `#` begins a comment. `lists/<name>.yaml` is a sequence of
//! values, or of mappings with `value` and, for people, `owner` and `reason`; an entry with `until`
//! counts up to and including that date (UTC), by the time of the event. Values are Sigma strings:
//! they may have wildcards.

use std::{cell::Cell, collections::BTreeMap, ops::Range, sync::Arc};

use super::pattern::Pattern;
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems, SourceText},
    kubernetes::users::SERVICE_ACCOUNT_PREFIX,
    limits::{LIST_FILE_BYTES_MAX, LIST_VALUES_MAX},
    rule::plan::rule::Note,
    syntax::{
        code,
        key::{Key, Shape, read_all},
        read::{Context, end_of_date},
    },
    time::{EventTime, WallTime},
    yaml::{self, Node},
};

/// A list.
#[derive(Debug)]
pub(in crate::engine) struct List {
    /// Its entries, in the order of the file.
    pub(in crate::engine) entries: Vec<ListEntry>,
    source: Arc<SourceText>,
    used: Cell<bool>,
}

/// One value of a list.
#[derive(Debug)]
pub(in crate::engine) struct ListEntry {
    /// The value.
    pub(in crate::engine) pattern: Pattern,
    /// The first moment at which it does not count any more.
    pub(in crate::engine) until: Option<EventTime>,
    /// Who answers for it, and why it is there.
    pub(in crate::engine) note: Option<Note>,
    /// What it is called, if more is said of it than its value.
    pub(in crate::engine) exception: Option<String>,
    /// Where it stands in the file.
    span: Range<usize>,
}

impl ListEntry {
    fn plain(value: &str, span: Range<usize>) -> ListEntry {
        let pattern = Pattern::parse(value);
        ListEntry { pattern, until: None, note: None, exception: None, span }
    }
}

impl List {
    /// Where one of its entries stands.
    pub(in crate::engine) fn place_of(&self, entry: &ListEntry) -> Place {
        Place { source: Arc::clone(&self.source), span: entry.span.clone() }
    }
}

/// All lists by name.
#[derive(Debug, Default)]
pub(in crate::engine) struct Lists(BTreeMap<String, List>);

impl Lists {
    /// The list of a name, for a rule that refers to it.
    pub(in crate::engine) fn get(&self, name: &str) -> Option<&List> {
        let list = self.0.get(name)?;
        list.used.set(true);
        Some(list)
    }

    /// All names, sorted.
    pub(in crate::engine) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All lists, by name.
    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (&str, &List)> {
        self.0.iter().map(|(name, list)| (name.as_str(), list))
    }

    /// Warns about lists that no rule has asked for.
    pub(in crate::engine) fn check_used(&self, problems: &Problems) {
        for (name, list) in self.0.iter().filter(|(_, list)| !list.used.get()) {
            let place = Place { source: Arc::clone(&list.source), span: 0..0 };
            let title = format!("no rule refers to the list `{name}`");
            problems.push(
                Diagnostic::warning(code::NOT_USED, place, title)
                    .help(format!("refer to it with `|expand: '%{name}%'`, or remove the file")),
            );
        }
    }
}

/// Reads all lists. `now` decides which entries are reported as expired.
pub(in crate::engine) fn read_lists(
    sources: &[(String, Arc<SourceText>)],
    now: Option<WallTime>,
    problems: &Problems,
) -> Lists {
    let mut lists = BTreeMap::new();
    for (name, source) in sources {
        let context = Context { source, problems };
        let is_text = source.name.rsplit('.').next().is_some_and(|end| end == "txt");
        let entries = if is_text { read_text(context) } else { read_yaml(context, now) };
        if entries.len() > LIST_VALUES_MAX {
            let count = entries.len();
            let title = format!("the list has {count} values; at most {LIST_VALUES_MAX} are read");
            context.error(code::TOO_MANY, &(0..0), title);
        }
        let list = List { entries, source: Arc::clone(source), used: Cell::new(false) };
        if lists.insert(name.clone(), list).is_some() {
            let title = format!("there are two files for the list `{name}`");
            context.error(code::BAD_LIST, &(0..0), title);
        }
    }
    Lists(lists)
}

fn read_text(context: Context<'_>) -> Vec<ListEntry> {
    let mut entries = Vec::new();
    // Some editors put a mark in front, which is no part of the first value.
    let text = context.source.text.trim_start_matches('\u{feff}');
    let mut next = context.source.text.len() - text.len();
    for line in text.split_inclusive('\n') {
        let start = next + line.len() - line.trim_start().len();
        next += line.len();
        let value = match line.split_once('#') {
            // A `#` inside a value is part of it; a comment has space before it.
            Some((before, _)) if before.is_empty() || before.ends_with(char::is_whitespace) => {
                before
            }
            _ => line,
        };
        let value = value.trim();
        if !value.is_empty() {
            let span = start..start + value.len();
            warn_of_any_namespace(context, &span, value);
            entries.push(ListEntry::plain(value, span));
        }
    }
    entries
}

fn read_yaml(context: Context<'_>, now: Option<WallTime>) -> Vec<ListEntry> {
    let mut entries = Vec::new();
    let nodes = match yaml::parse_bounded(context.source, LIST_FILE_BYTES_MAX) {
        Ok(nodes) => nodes,
        Err(problem) => {
            context.problems.push(*problem);
            return entries;
        }
    };
    let whole = |nodes: &[Node]| nodes.first().map_or(0..0, |node| node.span.clone());
    match nodes.as_slice() {
        [] => {}
        [node] => match node.as_list() {
            Some(items) => {
                entries.extend(items.iter().filter_map(|item| entry(context, item, now)));
            }
            None => bad(context, &node.span, format!("a list cannot be {}", node.kind_name())),
        },
        many => bad(context, &whole(many), "a list file has one document".to_owned()),
    }
    entries
}

fn bad(context: Context<'_>, span: &Range<usize>, title: String) {
    let diagnostic = Diagnostic::error(code::BAD_LIST, context.place(span), title)
        .help("write a sequence, with one value or one mapping with `value` each");
    context.problems.push(diagnostic);
}

fn entry(context: Context<'_>, node: &Node, now: Option<WallTime>) -> Option<ListEntry> {
    if let Some(text) = node.scalar_text() {
        warn_of_any_namespace(context, &node.span, &text);
        return Some(ListEntry::plain(&text, node.span.clone()));
    }
    if node.as_map().is_none() {
        let title = format!("a list has values, not {}", node.kind_name());
        bad(context, &node.span, title);
        return None;
    }
    let Draft { value, until, owner, reason } = read_all(ENTRY, context.section(node, ""));
    if let (Some(until), Some(now)) = (until, now)
        && until <= now.as_event()
    {
        let title = format!("`{}` has expired", value.as_deref().unwrap_or("the entry"));
        let diagnostic = Diagnostic::warning(code::EXPIRED, context.place(&node.span), title)
            .help("remove it, or give it a later date");
        context.problems.push(diagnostic);
    }
    let value = value?;
    warn_of_any_namespace(context, &node.span, &value);
    let pattern = Pattern::parse(&value);
    let on = format!("`{value}` in {}", context.source.name);
    let note = Note { on: on.clone(), owner, reason, value: Some(pattern.regex(false)) };
    let note = Some(note).filter(Note::is_said);
    let exception = (note.is_some() || until.is_some()).then_some(on);
    Some(ListEntry { pattern, until, note, exception, span: node.span.clone() })
}

/// Warns about service accounts whose namespace anybody may make.
fn warn_of_any_namespace(context: Context<'_>, span: &Range<usize>, value: &str) {
    let namespace = value.strip_prefix(SERVICE_ACCOUNT_PREFIX);
    let (namespace, name) = namespace.and_then(|rest| rest.split_once(':')).unwrap_or_default();
    if !namespace.starts_with('*') || name == "*" {
        return;
    }
    let title = format!("whoever may make a namespace can be `{value}`");
    context.problems.push(
        Diagnostic::warning(code::ANYBODYS_NAME, context.place(span), title)
            .help("say the namespace, too"),
    );
}

/// An entry while it is being read.
#[derive(Default)]
struct Draft {
    value: Option<String>,
    until: Option<EventTime>,
    owner: Option<String>,
    reason: Option<String>,
}

const ENTRY: &[Key<Draft>] = &[
    Key::required("value", Shape::Text, "", "", |s, key, to| {
        to.value = s.required_string(key, "write the value that counts");
    }),
    Key::new("until", Shape::Day, "", |s, key, to| to.until = end_of_date(s, key)),
    Key::new("expires", Shape::Day, "", |s, key, to| {
        if s.has(key) && to.until.is_none() {
            to.until = end_of_date(s, key);
        }
    }),
    Key::new("owner", Shape::Text, "", |s, key, to| to.owner = s.string(key)),
    Key::new("reason", Shape::Text, "", |s, key, to| to.reason = s.string(key)),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> (Vec<String>, Vec<Diagnostic>) {
        let problems = Problems::new();
        let sources = [("people".to_owned(), SourceText::new(name, text))];
        let now = WallTime::from_micros(EventTime::parse("2026-06-01T00:00:00Z").unwrap().micros());
        let lists = read_lists(&sources, Some(now), &problems);
        let entries = &lists.get("people").unwrap().entries;
        (entries.iter().map(|entry| entry.pattern.to_string()).collect(), problems.into_sorted())
    }

    #[test]
    fn text_lists_have_comments() {
        let (values, problems) = read("lists/people.txt", "# all\n alice \n\nbob # left\nc#d\n");
        assert_eq!(values, ["alice", "bob", "c#d"]);
        assert!(problems.is_empty());
    }

    #[test]
    fn values_stand_where_they_are_written() {
        for (name, text) in [
            ("lists/people.txt", "\u{feff}# bob\r\n\tbob-x # bob\r\n\n bob\nalice"),
            ("lists/people.yaml", "# bob\n- bob-x\n- bob\n- alice\n"),
        ] {
            let problems = Problems::new();
            let source = SourceText::new(name, text);
            let lists = read_lists(&[("people".to_owned(), source)], None, &problems);
            let list = lists.get("people").unwrap();
            let spans = list.entries.iter().map(|entry| list.place_of(entry).span);
            let written: Vec<&str> = spans.map(|span| &text[span]).collect();
            assert_eq!(written, ["bob-x", "bob", "alice"], "{name}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_value() {
        for (name, text) in [
            ("lists/people.txt", "\u{feff}alice\r\nbob\r\n"),
            ("lists/people.txt", "\u{feff}# all\nalice\nbob\n"),
            ("lists/people.yaml", "\u{feff}- alice\n- bob\n"),
        ] {
            assert_eq!(read(name, text).0, ["alice", "bob"], "{text:?}");
        }
    }

    #[test]
    fn yaml_lists_have_reasons_and_dates() {
        let text =
            "- alice\n- 42\n- {value: bob, owner: ops, reason: on call, until: 2026-05-31}\n";
        let (values, problems) = read("lists/people.yaml", text);
        assert_eq!(values, ["alice", "42", "bob"]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].code, code::EXPIRED);
    }

    #[test]
    fn mistakes_in_lists_are_reported() {
        for text in
            ["a: b\n", "- [a]\n", "- {valu: a}\n", "- {value: a, until: soon}\n", "- a\n---\n- b\n"]
        {
            assert!(!read("lists/people.yaml", text).1.is_empty(), "{text}");
        }
    }
}
