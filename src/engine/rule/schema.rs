//! JSON Schema of rule files, for editors: made from the tables that the compiler itself uses.
//!
//! An editor applies it to each document of a file. It knows keys, words and types; what needs other
//! files (lists, schedules, other rules) only `tripline check` knows.

use serde_json::{Map, Value, json};

use super::{
    plan::alert::Severity,
    read::{
        header::{RELATED_TYPES, TITLE_CHARS_MAX},
        modifier::MODIFIERS,
    },
};
use crate::engine::{
    event::KNOWN_FIELDS,
    kind::{self, KINDS, Written},
    kubernetes::{
        AuditLevel,
        fields::{FieldKind, KnownField},
    },
};

/// A timespan, as a pattern.
const TIMESPAN: &str = "^([0-9]+(ms|[smhdw]))+$|^[0-9]+[My]$";

/// The schema of one document of a rule file (draft 2020-12).
pub fn json_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tripline rule",
        "description": "A Sigma 2.1 rule, correlation or filter, with what `tripline` adds.",
        "type": "object",
        "required": ["title"],
        "oneOf": [
            {"required": ["detection", "logsource"]},
            {"required": ["correlation"]},
            {"required": ["filter", "logsource"]},
        ],
        "properties": properties(),
        "$defs": {
            "timespan": {"type": "string", "pattern": TIMESPAN},
            "date": {"type": "string", "pattern": "^[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}$"},
            "texts": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "field": {"anyOf": [{"enum": field_names()}, {"type": "string"}]},
            "fields": {
                "anyOf": [
                    {"$ref": "#/$defs/field"},
                    {"type": "array", "items": {"$ref": "#/$defs/field"}, "minItems": 1},
                ],
            },
            "severity": {"enum": Severity::ALL.map(Severity::as_str)},
            "search": search(),
        },
    })
}

/// The schema of `identities.yaml`.
pub fn identities_schema() -> Value {
    let names =
        json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tripline identities",
        "description": "Who is who, for `actor.human` and `actor.team`. Tried from top to bottom.",
        "type": "object",
        "required": ["identities"],
        "additionalProperties": false,
        "properties": {"identities": {"type": "array", "items": {
            "type": "object",
            "additionalProperties": false,
            "anyOf": [{"required": ["users"]}, {"required": ["groups"]}],
            "properties": {
                "users": names,
                "groups": names,
                "human": {"type": "boolean", "description": "Whether they are people."},
                "team": {"type": "string"},
                "owner": {"type": "string"},
                "reason": {"type": "string"},
                "until": {"type": "string", "format": "date"},
            },
        }}},
    })
}

fn properties() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({
        "title": {
            "type": "string",
            "maxLength": TITLE_CHARS_MAX,
            "description": "What the rule finds, in a few words.",
        },
        "id": {"type": "string", "minLength": 1, "description": "A UUID that never changes."},
        "name": {
            "type": "string",
            "minLength": 1,
            "description": "A short name, by which correlations refer to the rule.",
        },
        "related": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type"],
                "additionalProperties": false,
                "properties": {"id": {"type": "string"}, "type": {"enum": RELATED_TYPES}},
            },
        },
        "description": text("What it means when the rule fires."),
        "status": {"enum": ["stable", "test", "experimental", "deprecated", "unsupported"]},
        "level": {"$ref": "#/$defs/severity"},
        "author": text("Who wrote it."),
        "date": {"$ref": "#/$defs/date"},
        "modified": {"$ref": "#/$defs/date"},
        "tags": {"$ref": "#/$defs/texts"},
        "references": {"$ref": "#/$defs/texts"},
        "falsepositives": {"$ref": "#/$defs/texts"},
        "fields": {"$ref": "#/$defs/fields"},
        "generate": {"type": "boolean", "description": "Whether referenced rules alert themselves."},
        "logsource": {
            "type": "object",
            "properties": {
                "product": {"const": "kubernetes"},
                "service": {"const": "audit"},
                "category": {"const": "application"},
            },
        },
        "detection": {
            "type": "object",
            "required": ["condition"],
            "properties": {"condition": {"$ref": "#/$defs/texts"}},
            "additionalProperties": {"$ref": "#/$defs/search"},
        },
        "correlation": correlation(),
        "filter": {
            "type": "object",
            "required": ["rules", "condition"],
            "properties": {
                "rules": {"$ref": "#/$defs/texts"},
                "condition": {"$ref": "#/$defs/texts"},
            },
            "additionalProperties": {"$ref": "#/$defs/search"},
        },
        "tripline": extension(),
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

fn correlation() -> Value {
    // Which keys there must be, and which ones a condition has, follows from the type.
    let types: Vec<Value> = kind::written(Written::Type)
        .map(|entry| {
            // A temporal condition may be an expression that names the rules, or be left out.
            let needs = if entry.name.starts_with("temporal") {
                json!([{"required": ["rules"]}, {"required": ["condition"]}])
            } else {
                json!([{"required": ["rules", "condition"]}])
            };
            json!({
                "description": entry.summary,
                "properties": {"type": {"const": entry.name}, "condition": (entry.schema)()},
                "anyOf": needs,
            })
        })
        .collect();
    let names: Vec<&str> = kind::written(Written::Type).map(|entry| entry.name).collect();
    json!({
        "type": "object",
        "required": ["type", "timespan"],
        "additionalProperties": false,
        "oneOf": types,
        "properties": {
            "type": {"enum": names},
            "rules": {"$ref": "#/$defs/texts"},
            "group-by": {"$ref": "#/$defs/fields"},
            "timespan": {"$ref": "#/$defs/timespan"},
            "generate": {"type": "boolean"},
            "aliases": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": {"$ref": "#/$defs/field"},
                },
            },
            "condition": true,
        },
    })
}

fn extension() -> Value {
    let mut properties = json!({
        "inside": {"$ref": "#/$defs/texts", "description": "Only events inside these schedules."},
        "outside": {"$ref": "#/$defs/texts", "description": "Only events outside of these schedules."},
        "group-by": {"$ref": "#/$defs/fields", "description": "What tells alerts apart."},
        "same_element": {
            "$ref": "#/$defs/texts",
            "description": "Arrays: fields below one, in one mapping, are those of one element.",
        },
        "window": {"enum": ["sliding", "tumbling", "session"]},
        "gap": {"$ref": "#/$defs/timespan"},
        "levels": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["gte", "level"],
                "additionalProperties": false,
                "properties": {
                    "gte": {"type": "number"},
                    "level": {"$ref": "#/$defs/severity"},
                },
            },
        },
        "suppress": {"$ref": "#/$defs/timespan", "description": "Cool-down per key."},
        "labels": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "runbook": {"type": "string"},
        "owner": {"type": "string"},
        "reason": {"type": "string"},
        "evidence": {"$ref": "#/$defs/fields"},
        "needs": {
            "type": "object",
            "additionalProperties": false,
            "properties": {"level": {"enum": AuditLevel::ALL.map(AuditLevel::as_str)}},
        },
        "controls": {"$ref": "#/$defs/texts"},
        "expires": {"$ref": "#/$defs/date"},
    });
    if let Some(properties) = properties.as_object_mut() {
        for entry in KINDS.iter().filter(|entry| entry.written != Written::Type) {
            let mut value = (entry.schema)();
            if let Some(value) = value.as_object_mut() {
                value.insert("description".to_owned(), entry.summary.into());
                value.insert("markdownDescription".to_owned(), entry.doc.into());
            }
            properties.insert(entry.name.to_owned(), value);
        }
    }
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "if": {"properties": {"window": {"const": "session"}}, "required": ["window"]},
        "then": {"required": ["gap"]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
