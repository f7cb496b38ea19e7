//! JSON Schema of rule files, for editors: made from the tables that the compiler itself uses.
//!
//! An editor applies it to each document of a file. It knows keys, words and types; what needs other
//! files (lists, schedules, other rules) only `tripline check` knows.

use serde_json::{Map, Value, json};

use super::{
    plan::alert::Severity,
    read::{
        correlation::correlation_schema,
        extension::Sort,
        header::{HEADER, LOGSOURCE},
        identities::IDENTITIES,
        modifier::MODIFIERS,
    },
};
use crate::engine::{
    event::KNOWN_FIELDS,
    kubernetes::fields::{FieldKind, KnownField},
    syntax::key::{mapping, properties},
};

/// A timespan, as a pattern.
const TIMESPAN: &str = "^([0-9]+(ms|[smhdw]))+$|^[0-9]+[My]$";

/// The schema of one document of a rule file (draft 2020-12).
pub fn json_schema() -> Value {
    json!({
        "$schema": DRAFT,
        "title": "Tripline rule",
        "description": "A Sigma 2.1 rule, correlation or filter, with what `tripline` adds.",
        "type": "object",
        "required": ["title"],
        "oneOf": [
            {"required": ["detection", "logsource"]},
            {"required": ["correlation"]},
            {"required": ["filter", "logsource"]},
        ],
        "properties": document(),
        "$defs": {
            "timespan": {"type": "string", "pattern": TIMESPAN},
            "date": {"type": "string", "pattern": "^[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}$"},
            "texts": texts(),
            "field": {"anyOf": [{"enum": field_names()}, {"type": "string"}]},
            "fields": {
                "anyOf": [
                    {"$ref": "#/$defs/field"},
                    {"type": "array", "items": {"$ref": "#/$defs/field"}, "minItems": 1},
                ],
            },
            "severity": {"enum": Severity::ALL},
            "search": search(),
        },
    })
}

/// The schema of `identities.yaml`.
pub fn identities_schema() -> Value {
    let mut schema = mapping(IDENTITIES);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), DRAFT.into());
        schema.insert("title".to_owned(), "Tripline identities".into());
        let what = "Who is who, for `actor.human` and `actor.team`. Tried from top to bottom.";
        schema.insert("description".to_owned(), what.into());
        schema.insert("$defs".to_owned(), json!({"texts": texts()}));
    }
    schema
}

/// Of JSON Schema.
pub(in crate::engine) const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A text, or a list of them.
pub(in crate::engine) fn texts() -> Value {
    json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
}

/// Keys of documents: what all have, and what makes one a rule, a correlation or a filter.
fn document() -> Map<String, Value> {
    let mut all = properties(HEADER);
    let logsource = json!({"type": "object", "properties": properties(LOGSOURCE)});
    all.insert("logsource".to_owned(), logsource);
    for sort in Sort::ALL {
        let schema = match sort {
            Sort::Correlation => correlation_schema(),
            Sort::Detection => selections(&[]),
            Sort::Filter => selections(&["rules"]),
        };
        all.insert(sort.key().to_owned(), schema);
    }
    all
}

/// Selections by name, and these keys.
fn selections(keys: &[&str]) -> Value {
    let keys = || keys.iter().chain(&["condition"]);
    let texts = |key: &&str| ((*key).to_owned(), json!({"$ref": "#/$defs/texts"}));
    let properties: Map<String, Value> = keys().map(texts).collect();
    json!({
        "type": "object",
        "required": keys().collect::<Vec<_>>(),
        "properties": properties,
        "additionalProperties": {"$ref": "#/$defs/search"},
    })
}

fn field_names() -> Vec<&'static str> {
    KNOWN_FIELDS.iter().map(|field| field.path).collect()
}

/// A selection: known fields complete in editors with their documentation.
fn search() -> Value {
    let mut known = Map::new();
    for field in KNOWN_FIELDS.iter().filter(|field| !field.kind.is_prefix()) {
        known.insert(field.path.to_owned(), field_schema(field));
    }
    let modifiers: Vec<&str> =
        MODIFIERS.iter().flat_map(|modifier| modifier.names.iter().copied()).collect();
    let summaries: Vec<String> = MODIFIERS
        .iter()
        .map(|modifier| format!("{}: {}", modifier.names.join(", "), modifier.summary))
        .collect();
    let mapping = json!({
        "type": "object",
        "minProperties": 1,
        "properties": known,
        "propertyNames": {"pattern": format!("^[^|]*([|]({}))*$", modifiers.join("|"))},
        "description": summaries.join("\n"),
    });
    json!({
        "anyOf": [
            mapping,
            {"type": ["string", "number"]},
            {"type": "array", "minItems": 1, "items": {"type": ["object", "string", "number"]}},
        ],
    })
}

fn field_schema(field: &KnownField) -> Value {
    let description = field.describe();
    match field.kind {
        FieldKind::Words(words) => json!({
            "description": description,
            "examples": words,
        }),
        _ => json!({"description": description}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kind::{KINDS, Written};

    #[test]
    fn the_schema_knows_every_table() {
        let schema = json_schema();
        let text = schema.to_string();
        for entry in KINDS {
            assert!(text.contains(entry.summary), "{}", entry.name);
        }
        for entry in KINDS.iter().filter(|entry| entry.written != Written::Type) {
            assert!(schema["properties"]["tripline"]["properties"][entry.name].is_object());
        }
        for modifier in MODIFIERS {
            assert!(text.contains(modifier.names[0]), "{:?}", modifier.names);
        }
    }
}
