//! Reads `tripline.record`: that a rule records what it matches, as what, and how much of it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::engine::{
    diagnostic::{Diagnostic, nearest},
    limits::{ROLL_UP_MAX, ROLL_UP_MIN},
    rule::plan::record::{CLASSES, KeyPart, KeyParts, RecordSpec, SESSION},
    syntax::{
        code,
        key::{Key, Shape, mapping, read_keys},
        read::{text, texts, timespan},
    },
    yaml::{NodeKind, Section},
};

/// Characters of the name of a class.
const CLASS_CHARS_MAX: usize = 40;

/// Keys of alerts that say something about a recording rule too.
pub(in crate::engine) fn fits_record(key: &str) -> bool {
    matches!(key, "controls" | "runbook")
}

/// What `record: {…}` says so far.
#[derive(Default)]
struct Syntax {
    class: Option<Arc<str>>,
    every: Option<Duration>,
    key: Option<KeyParts>,
}

const RECORD: &[Key<Syntax>] = &[
    Key::required(
        "class",
        Shape::Is(class_schema),
        "As what it is recorded.",
        "say as what it is recorded: `class: secret_read`",
        |s, key, to| to.class = read_class(s, key),
    ),
    Key::new(
        "every",
        Shape::Timespan,
        "Like accesses within so long become one row.",
        |s, key, to| to.every = read_every(s, key),
    ),
    Key::new(
        "key",
        Shape::Is(|| json!({"type": "array", "items": {"enum": KeyPart::ALL}})),
        "What makes accesses alike; all of it, if left out.",
        |s, key, to| to.key = read_key(s, key),
    ),
];

fn class_schema() -> Value {
    json!({"type": "string", "pattern": format!("^[a-z][a-z0-9_]{{0,{}}}$", CLASS_CHARS_MAX - 1)})
}

/// JSON Schema of what stands behind `record`.
pub(in crate::engine) fn record_schema() -> Value {
    let mut written = mapping(RECORD);
    if let Some(written) = written.as_object_mut() {
        written.insert("dependentRequired".to_owned(), json!({"key": ["every"]}));
    }
    json!({"anyOf": [class_schema(), written]})
}

/// Reads what stands behind `record`.
pub(in crate::engine) fn read_record(
    section: &Section<'_>,
    key: &'static str,
) -> Option<RecordSpec> {
    let node = section.node(key)?;
    if !matches!(node.kind, NodeKind::Map(_)) {
        let class = read_class(section, key)?;
        return Some(RecordSpec { class, every: None, key: KeyParts::ALL });
    }
    let inner = section.section(key)?;
    let mut read = Syntax::default();
    read_keys(RECORD, &inner, &mut read);
    if read.every.is_none() && inner.has("key") && !inner.has("every") {
        inner.missing("every", "`key` says what makes accesses alike within a time: `every: 1h`");
    }
    inner.finish();
    Some(RecordSpec {
        class: read.class?,
        every: read.every,
        key: read.key.unwrap_or(KeyParts::ALL),
    })
}

fn read_class(section: &Section<'_>, key: &str) -> Option<Arc<str>> {
    let class = text(section, key)?;
    let mut chars = class.value.chars();
    let is_name = chars.next().is_some_and(|first| first.is_ascii_lowercase())
        && chars.all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
        && class.value.len() <= CLASS_CHARS_MAX;
    let known = || CLASSES.into_iter().chain([SESSION]);
    if !is_name {
        let title = format!("`{}` cannot be the name of a class", class.value);
        let help = format!(
            "names are lower-case letters, digits and `_`, at most {CLASS_CHARS_MAX}, and begin \
             with a letter: `cardholder`"
        );
        let diagnostic = Diagnostic::error(code::INVALID_VALUE, class.place, title);
        section.report(diagnostic.suggest(&class.value, known()).help(help));
        return None;
    }
    if let Some(near) = nearest(&class.value, known())
        && near != class.value
    {
        let title = format!("the class `{}` is nearly one that Tripline knows", class.value);
        section.report(
            Diagnostic::warning(code::UNUSUAL_CLASS, class.place, title)
                .help(format!("did you mean `{near}`?")),
        );
    }
    Some(class.value.into())
}

fn read_every(section: &Section<'_>, key: &str) -> Option<Duration> {
    let every = timespan(section, key)?;
    if (ROLL_UP_MIN..=ROLL_UP_MAX).contains(&every) {
        return Some(every);
    }
    let title = format!(
        "{} is too {}",
        section.path_of(key),
        if every < ROLL_UP_MIN { "short" } else { "long" }
    );
    section.invalid(key, title, "it may be 1m to 1d; without it each access is recorded");
    None
}

fn read_key(section: &Section<'_>, key: &str) -> Option<KeyParts> {
    let mut parts = KeyParts::NONE;
    for part in texts(section, key)? {
        if let Some(known) = KeyPart::parse(&part.value) {
            parts = parts.with(known);
        } else {
            let title = format!("accesses have no `{}` to tell them apart by", part.value);
            let words = KeyPart::ALL.map(KeyPart::as_str);
            let diagnostic = Diagnostic::error(code::INVALID_VALUE, part.place, title)
                .suggest(&part.value, words)
                .help(format!("the parts are: {}", words.join(", ")));
            section.report(diagnostic);
        }
    }
    Some(parts)
}

/// Reports keys that only make sense for a rule that alerts.
pub(in crate::engine) fn refuse_beside_record<'k>(
    section: &Section<'_>,
    keys: impl Iterator<Item = &'k str>,
) {
    for key in keys.filter(|key| section.has(key)) {
        section.report(beside_record(section, key));
    }
}

/// That a key does not go together with `record`.
pub(in crate::engine) fn beside_record(section: &Section<'_>, key: &str) -> Diagnostic {
    let title = format!("`{key}` stands beside `record`, and a rule that records makes no alert");
    Diagnostic::error(code::SHAPE_MISMATCH, section.place_of_key(key), title)
        .help("leave it out, or write a second rule that alerts")
}
