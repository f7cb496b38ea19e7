//! Reads framework files, and reports everything that is wrong with them.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{Control, Framework, Show};
use crate::engine::{
    diagnostic::{Diagnostic, Problems, SourceText, nearest},
    ledger::EntryKind,
    limits::LIST_FILE_BYTES_MAX,
    rule::schema::{DRAFT, texts},
    syntax::{
        code,
        key::{Key, Shape, mapping, read_keys},
        read::Context,
    },
    yaml::{self, Node, Section},
};

/// Reads framework files. Classes are those that recording rules record; a control that names another one
/// is a mistake, as is a framework that is there twice. What is wrong is pushed to `problems`.
pub fn read_frameworks(
    sources: &[Arc<SourceText>],
    classes: &BTreeSet<String>,
    problems: &Problems,
) -> Vec<Framework> {
    let classes = Arc::new(classes.clone());
    let mut frameworks: Vec<Framework> = Vec::new();
    for source in sources {
        let context = Context { source, problems };
        let nodes = yaml::parse_bounded(source, LIST_FILE_BYTES_MAX).unwrap_or_else(|problem| {
            problems.push(*problem);
            Vec::new()
        });
        for node in &nodes {
            let section = context.section(node, "");
            let mut file = File { framework: Framework::default(), classes: Arc::clone(&classes) };
            read_keys(FRAMEWORK, &section, &mut file);
            let id = &file.framework.id;
            if frameworks.iter().any(|known| known.id == *id) {
                let title = format!("there is another framework `{id}`");
                section.invalid("framework", title, "give one of them another name");
            }
            section.finish();
            frameworks.push(file.framework);
        }
        if nodes.is_empty() && !problems.has_errors() {
            let title = "the file holds no framework";
            context.error(code::MISSING_KEY, &(0..0), title);
        }
    }
    frameworks
}

/// A framework while it is being read.
struct File {
    framework: Framework,
    classes: Arc<BTreeSet<String>>,
}

/// A control while it is being read.
struct Reading {
    control: Control,
    classes: Arc<BTreeSet<String>>,
}

const FRAMEWORK: &[Key<File>] = &[
    Key::required(
        "framework",
        Shape::Text,
        "What stands before the colon in `controls:` of rules.",
        "name it: `framework: pci-dss`",
        |s, key, to| to.framework.id = s.string(key).unwrap_or_default(),
    ),
    Key::new("title", Shape::Text, "Its name, for people.", |s, key, to| {
        to.framework.title = s.string(key).unwrap_or_default();
    }),
    Key::new("version", Shape::Text, "Which version of it, for people.", |s, key, to| {
        to.framework.version = s.string(key).unwrap_or_default();
    }),
    Key::required(
        "controls",
        Shape::Is(controls_schema),
        "",
        "write a list: `controls: [{id: AU-2, title: Event logging, shows: [coverage]}]`",
        read_controls,
    ),
];

const CONTROL: &[Key<Reading>] = &[
    Key::required("id", Shape::Text, "", "name it: `id: AU-2`", |s, key, to| {
        to.control.id = s.string(key).unwrap_or_default();
    }),
    Key::required(
        "title",
        Shape::Text,
        "What it wants, in a few words of your own.",
        "say in a few words what it wants",
        |s, key, to| to.control.title = s.string(key).unwrap_or_default(),
    ),
    Key::new("classes", Shape::Texts, "Accesses of these classes are evidence.", |s, key, to| {
        let classes = Arc::clone(&to.classes);
        let known = || classes.iter().map(String::as_str).collect();
        let find = |word: &str| classes.contains(word).then(|| word.to_owned());
        to.control.classes = words_of(s, key, "class that a rule records", known, find);
    }),
    Key::new("entries", Shape::Texts, "Entries of these kinds are evidence.", |s, key, to| {
        let known = || EntryKind::WORDS.map(|(word, _)| word).to_vec();
        to.control.entries = words_of(s, key, "kind of entry", known, EntryKind::parse);
    }),
    Key::new("shows", Shape::Texts, "What a report shows for it.", |s, key, to| {
        let known = || Show::WORDS.map(|(word, _)| word).to_vec();
        to.control.shows = words_of(s, key, "thing that a report shows", known, Show::parse);
    }),
    Key::new("limits", Shape::Text, "What this evidence cannot show.", |s, key, to| {
        to.control.limits = s.string(key).unwrap_or_default();
    }),
];

fn controls_schema() -> Value {
    json!({"type": "array", "items": mapping(CONTROL)})
}

/// JSON Schema (draft 2020-12) of a framework file.
pub fn framework_schema() -> Value {
    let mut schema = mapping(FRAMEWORK);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), DRAFT.into());
        schema.insert("title".to_owned(), "Tripline framework".into());
        let what = "Which controls of a framework want which evidence of the ledger.";
        schema.insert("description".to_owned(), what.into());
        schema.insert("$defs".to_owned(), json!({"texts": texts()}));
    }
    schema
}

fn read_controls(section: &Section<'_>, key: &'static str, to: &mut File) {
    let mut known = BTreeSet::new();
    for section in section.sections(key) {
        let mut reading = Reading { control: Control::default(), classes: Arc::clone(&to.classes) };
        read_keys(CONTROL, &section, &mut reading);
        let Control { id, classes, entries, shows, .. } = &reading.control;
        if !id.is_empty() && !known.insert(id.clone()) {
            section.invalid("id", format!("there is another control `{id}`"), "leave one of them");
        }
        let keys = ["classes", "entries", "shows"];
        if classes.is_empty()
            && entries.is_empty()
            && shows.is_empty()
            && !keys.iter().any(|key| section.has(key))
        {
            let title = "nothing is evidence for the control";
            section.invalid("id", title, "name `classes`, `entries`, `shows` or several of them");
        }
        section.finish();
        to.framework.controls.push(reading.control);
    }
}

/// The words of a list that are known; each other one is reported at its place, with the nearest.
fn words_of<'a, T>(
    section: &Section<'_>,
    key: &'static str,
    what: &str,
    known: impl Fn() -> Vec<&'a str>,
    find: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let Some(words) = section.strings(key) else { return Vec::new() };
    let node = section.node(key);
    let places = node.and_then(Node::as_list).unwrap_or_default();
    let mut found = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        if let Some(value) = find(word) {
            found.push(value);
            continue;
        }
        let place = match places.get(index) {
            Some(item) => section.place_of_span(item.span.clone()),
            None => section.place_of(key),
        };
        let diagnostic =
            Diagnostic::error(code::INVALID_VALUE, place, format!("`{word}` is no {what}"));
        let known = known();
        let help = match nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}", known.join(", ")),
        };
        section.report(diagnostic.help(help));
    }
    found
}
