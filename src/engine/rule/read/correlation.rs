//! Reads `correlation:`: type, rules, key, window, condition, aliases.

use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::{
    diagnostic::Diagnostic,
    kind::{self, KindEntry, KindSyntax, Written},
    limits::{CORRELATION_INPUTS_MAX, KEY_PARTS_MAX},
    syntax::{
        code,
        key::{Key, Shape, mapping, read_all},
        read::{Text, bounded, chosen_text, required_texts, text, texts, timespan},
        threshold::CONDITION,
    },
    yaml::Section,
};

/// A correlation as it is written.
#[derive(Debug)]
pub(in crate::engine) struct CorrelationSyntax {
    /// What it looks for.
    pub(in crate::engine) kind: KindSyntax,
    /// `rules`: ids or names.
    pub(in crate::engine) rules: Vec<Text>,
    /// `group-by`
    pub(in crate::engine) group_by: Vec<Text>,
    /// `timespan`
    pub(in crate::engine) timespan: Duration,
    /// `aliases`: the alias, and for each rule its field.
    pub(in crate::engine) aliases: Vec<Alias>,
    /// `generate` inside the correlation.
    pub(in crate::engine) generate: Option<bool>,
}

/// One alias.
#[derive(Debug)]
pub(in crate::engine) struct Alias {
    /// The name that stands in `group-by`.
    pub(in crate::engine) name: Text,
    /// For each rule its field.
    pub(in crate::engine) fields: Vec<(Text, Text)>,
}

/// What of a correlation was read so far.
#[derive(Default)]
pub(in crate::engine) struct Draft {
    entry: Option<&'static KindEntry>,
    kind: Option<KindSyntax>,
    rules: Vec<Text>,
    group_by: Vec<Text>,
    timespan: Option<Duration>,
    aliases: Vec<Alias>,
    generate: Option<bool>,
}

/// Keys of `correlation:`. What a condition may be depends on the type before it.
pub(in crate::engine) const CORRELATION: &[Key<Draft>] = &[
    Key::required("type", Shape::Is(|| json!({"enum": types()})), "", "", |s, key, to| {
        to.entry = read_type(s, key);
    }),
    Key::required(
        "timespan",
        Shape::Timespan,
        "How long the window is.",
        "how long the window is: `timespan: 5m`",
        |s, key, to| {
            to.timespan = timespan(s, key);
        },
    ),
    Key::new("group-by", Shape::Fields, "Events are counted for each key.", |s, key, to| {
        to.group_by = texts(s, key).unwrap_or_default();
        if bounded(s, key, to.group_by.len(), KEY_PARTS_MAX) {
            unique(s, &to.group_by);
        }
    }),
    Key::new("aliases", Shape::Is(aliases_schema), "", |s, key, to| {
        to.aliases = read_aliases(s, key);
    }),
    Key::new("generate", Shape::Bool, "Whether the rules alert themselves.", |s, key, to| {
        to.generate = s.boolean(key);
    }),
    Key::new(CONDITION, Shape::Is(|| json!(true)), "", |s, key, to| {
        s.has(key);
        to.kind = to.entry.and_then(|entry| entry.read).and_then(|read| read(s));
    }),
    Key::new("rules", Shape::Texts, "Names or ids.", |s, key, to| {
        to.rules = match &to.kind {
            Some(kind) if !kind.named_rules.is_empty() && s.node(key).is_none() => {
                kind.named_rules.clone()
            }
            _ => required_texts(s, key, "name the rules whose events are correlated"),
        };
        if bounded(s, key, to.rules.len(), CORRELATION_INPUTS_MAX) {
            unique(s, &to.rules);
        } else {
            to.rules.clear();
        }
    }),
];

/// JSON Schema of `correlation:`. Which keys there must be, and which ones a condition has, follows
/// from the type.
pub(in crate::engine) fn correlation_schema() -> Value {
    let of_type = |entry: &KindEntry| {
        // A temporal condition may be an expression that names the rules, or be left out.
        let needs = if entry.name.starts_with("temporal") {
            json!([{"required": ["rules"]}, {"required": [CONDITION]}])
        } else {
            json!([{"required": ["rules", CONDITION]}])
        };
        json!({
            "description": entry.summary,
            "properties": {"type": {"const": entry.name}, CONDITION: (entry.schema)()},
            "anyOf": needs,
        })
    };
    let types: Vec<Value> = kind::written(Written::Type).map(of_type).collect();
    let mut schema = mapping(CORRELATION);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("oneOf".to_owned(), types.into());
    }
    schema
}

fn aliases_schema() -> Value {
    let fields = json!({"type": "object", "additionalProperties": {"$ref": "#/$defs/field"}});
    json!({"type": "object", "additionalProperties": fields})
}

/// Reads the mapping. `None` if it is unusable; that is reported.
pub(in crate::engine) fn read_correlation(section: Section<'_>) -> Option<CorrelationSyntax> {
    let Draft { kind, rules, group_by, timespan, aliases, generate, .. } =
        read_all(CORRELATION, section);
    let kind = kind?;
    // Without one, which was reported, the rest is checked all the same.
    let timespan = timespan.unwrap_or(Duration::from_secs(60));
    (!rules.is_empty()).then_some(CorrelationSyntax {
        kind,
        rules,
        group_by,
        timespan,
        aliases,
        generate,
    })
}

fn types() -> Vec<&'static str> {
    kind::written(Written::Type).map(|entry| entry.name).collect()
}

fn read_type(section: &Section<'_>, key: &str) -> Option<&'static KindEntry> {
    let names = || format!("it is one of: {}", types().join(", "));
    let Some(word) = text(section, key) else {
        if section.node(key).is_none() {
            section.missing(key, names());
        }
        return None;
    };
    let found = kind::find(&word.value);
    if let Some(entry) = found.filter(|entry| entry.written == Written::Type) {
        return Some(entry);
    }
    let title = format!("there is no correlation type `{}`", word.value);
    let diagnostic = Diagnostic::error(code::UNKNOWN_CORRELATION, word.place, title)
        .suggest(&word.value, types());
    section.report(match found {
        Some(entry) => diagnostic
            .help(format!("write `tripline: {{{}: …}}` on the detection rule", entry.name)),
        None => diagnostic.help(names()),
    });
    None
}

fn unique(section: &Section<'_>, texts: &[Text]) {
    let mut seen: Vec<&Text> = Vec::new();
    for text in texts {
        if let Some(first) = seen.iter().find(|seen| seen.value == text.value) {
            let title = format!("`{}` is named twice", text.value);
            section.report(
                Diagnostic::error(code::TWICE, text.place.clone(), title)
                    .related(first.place.clone(), "first here"),
            );
        }
        seen.push(text);
    }
}

fn read_aliases(section: &Section<'_>, key: &str) -> Vec<Alias> {
    let Some(inner) = section.section(key) else { return Vec::new() };
    if !bounded(section, key, inner.keys().count(), KEY_PARTS_MAX) {
        return Vec::new();
    }
    let mut aliases = Vec::new();
    for name in inner.keys() {
        let Some(fields) = inner.section(name) else { continue };
        let pairs = fields.keys().filter_map(|rule| {
            let field = chosen_text(&fields, rule)?;
            Some((Text { value: rule.to_owned(), place: fields.place_of_key(rule) }, field))
        });
        let pairs: Vec<(Text, Text)> = pairs.collect();
        let name = Text { value: name.to_owned(), place: inner.place_of_key(name) };
        aliases.push(Alias { name, fields: pairs });
    }
    aliases
}
