//! Reads `correlation:`: type, rules, key, window, condition, aliases.

use std::time::Duration;

use crate::engine::{
    diagnostic::Diagnostic,
    kind::{self, KindEntry, KindSyntax, Written},
    limits::{CORRELATION_INPUTS_MAX, KEY_PARTS_MAX},
    syntax::{
        code,
        read::{Text, bounded, required_texts, text, texts, timespan},
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

/// Reads the mapping. `None` if it is unusable; that is reported.
pub(in crate::engine) fn read_correlation(section: Section<'_>) -> Option<CorrelationSyntax> {
    let entry = read_type(&section);
    let span = timespan(&section, "timespan");
    if section.node("timespan").is_none() {
        section.missing("timespan", "how long the window is: `timespan: 5m`");
    }
    let group_by = texts(&section, "group-by").unwrap_or_default();
    if bounded(&section, "group-by", group_by.len(), KEY_PARTS_MAX) {
        unique(&section, &group_by);
    }
    let aliases = read_aliases(&section);
    let generate = section.boolean("generate");
    section.has("condition");
    let kind = entry.and_then(|entry| entry.read).and_then(|read| read(&section));
    let mut rules = match &kind {
        Some(kind) if !kind.named_rules.is_empty() && section.node("rules").is_none() => {
            kind.named_rules.clone()
        }
        _ => required_texts(&section, "rules", "name the rules whose events are correlated"),
    };
    if bounded(&section, "rules", rules.len(), CORRELATION_INPUTS_MAX) {
        unique(&section, &rules);
    } else {
        rules.clear();
    }
    section.finish();
    let kind = kind?;
    if rules.is_empty() {
        return None;
    }
    Some(CorrelationSyntax { kind, rules, group_by, timespan: span?, aliases, generate })
}

fn read_type(section: &Section<'_>) -> Option<&'static KindEntry> {
    let names = || {
        let names: Vec<&str> = kind::written(Written::Type).map(|entry| entry.name).collect();
        format!("it is one of: {}", names.join(", "))
    };
    let Some(word) = text(section, "type") else {
        if section.node("type").is_none() {
            section.missing("type", names());
        }
        return None;
    };
    let found = kind::find(&word.value);
    if let Some(entry) = found.filter(|entry| entry.written == Written::Type) {
        return Some(entry);
    }
    let title = format!("there is no correlation type `{}`", word.value);
    let diagnostic = Diagnostic::error(code::UNKNOWN_CORRELATION, word.place, title)
        .suggest(&word.value, kind::written(Written::Type).map(|entry| entry.name));
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

fn read_aliases(section: &Section<'_>) -> Vec<Alias> {
    let Some(inner) = section.section("aliases") else { return Vec::new() };
    if !bounded(section, "aliases", inner.keys().count(), KEY_PARTS_MAX) {
        return Vec::new();
    }
    let mut aliases = Vec::new();
    for name in inner.keys() {
        let Some(fields) = inner.section(name) else { continue };
        let pairs = fields.keys().filter_map(|rule| {
            let field = text(&fields, rule)?;
            Some((Text { value: rule.to_owned(), place: fields.place_of_key(rule) }, field))
        });
        let pairs: Vec<(Text, Text)> = pairs.collect();
        let name = Text { value: name.to_owned(), place: inner.place_of_key(name) };
        aliases.push(Alias { name, fields: pairs });
    }
    aliases
}
