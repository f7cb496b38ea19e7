//! JSON Schema of `*.test.yaml`, for editors.

use serde_json::{Map, Value, json};

use super::{event::settable_roots, file::ACCESS_TEXTS};
use crate::engine::{alert::AlertState, kubernetes::fields::AUDIT_FIELDS, rule::Severity};

/// The schema of a file of tests (draft 2020-12).
pub fn json_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tests of a Tripline rule",
        "description": "Events at offsets, and every alert that must come of them.",
        "type": "object",
        "required": ["tests"],
        "additionalProperties": false,
        "properties": {
            "rule": {
                "type": "string",
                "description": "The rule file; the one with the same name, if left out.",
            },
            "base": {
                "$ref": "#/$defs/event",
                "description": "What all events of the file have in common.",
            },
            "tests": {"type": "array", "items": {"$ref": "#/$defs/test"}},
        },
        "$defs": {
            "span": {
                "anyOf": [
                    {"type": "string", "pattern": "^(0|([0-9]+(ms|[smhdw]))+)$"},
                    {"const": 0},
                ],
            },
            "text": {"type": ["string", "number", "boolean"]},
            "texts": {"type": "object", "additionalProperties": {"$ref": "#/$defs/text"}},
            "event": event(),
            "test": test(),
            "series": series(),
            "alert": alert(),
            "access": access(),
        },
    })
}

/// Dotted paths of an audit event; derived fields follow from others.
fn event() -> Value {
    let mut known = Map::new();
    for field in AUDIT_FIELDS {
        known.insert(field.path.to_owned(), json!({"description": field.doc}));
    }
    let roots = settable_roots().join("|");
    json!({
        "type": "object",
        "propertyNames": {"pattern": format!("^({roots})([.].+)?$")},
        "properties": known,
    })
}

fn test() -> Value {
    json!({
        "type": "object",
        "required": ["name", "events"],
        "anyOf": [{"required": ["expect"]}, {"required": ["accesses"]}],
        "additionalProperties": false,
        "properties": {
            "name": {"$ref": "#/$defs/text", "description": "What must hold, in words."},
            "start": {
                "type": "string",
                "description": "Time of offset zero; a Wednesday noon in UTC, if left out.",
            },
            "until": {
                "$ref": "#/$defs/span",
                "description": "How long time goes on; to the last event, if left out.",
            },
            "base": {"$ref": "#/$defs/event", "description": "What its events have in common."},
            "events": {"type": "array", "items": {"$ref": "#/$defs/series"}},
            "expect": {
                "type": "array",
                "items": {"$ref": "#/$defs/alert"},
                "description": "Every alert that comes, in order; [] is silence.",
            },
            "accesses": {
                "type": "array",
                "items": {"$ref": "#/$defs/access"},
                "description": "Every access that rules with `record` record, in order.",
            },
        },
    })
}

fn series() -> Value {
    json!({
        "type": "object",
        "required": ["at"],
        "additionalProperties": false,
        "properties": {
            "at": {"$ref": "#/$defs/span", "description": "When, from the start of the test."},
            "every": {"$ref": "#/$defs/span", "description": "How far apart they are."},
            "times": {"type": "integer", "minimum": 1, "description": "How many there are."},
            "set": {
                "$ref": "#/$defs/event",
                "description": "What it has beside the base; {n} is the number of the repetition.",
            },
        },
    })
}

fn access() -> Value {
    let mut schema = json!({
        "type": "object",
        "required": ["at"],
        "additionalProperties": false,
        "properties": {
            "at": {"$ref": "#/$defs/span", "description": "Offset of its event."},
            "class": {"type": "string", "description": "As what it is recorded."},
            "every": {
                "$ref": "#/$defs/span",
                "description": "Within which time like ones become one row; 0s if each is one.",
            },
        },
    });
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let text = |name: &str| (name.to_owned(), json!({"$ref": "#/$defs/text"}));
        properties.extend(ACCESS_TEXTS.into_iter().map(text));
    }
    schema
}

fn alert() -> Value {
    json!({
        "type": "object",
        "required": ["at"],
        "additionalProperties": false,
        "properties": {
            "at": {"$ref": "#/$defs/span", "description": "Offset of its beginning or end."},
            "state": {"enum": AlertState::ALL},
            "labels": {"$ref": "#/$defs/texts", "description": "Labels that it has among others."},
            "severity": {"enum": Severity::ALL},
            "value": {"type": "number", "description": "The value of its condition."},
            "annotations": {"$ref": "#/$defs/texts"},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::diagnostic::{Diagnostic, Problems, SourceText},
        rule_test::read_test_file,
    };

    /// What is said about a file with a key that nothing is near to.
    fn said(text: &str) -> Diagnostic {
        let problems = Problems::new();
        read_test_file(&SourceText::new("a.test.yaml", text), &problems);
        let mut found = problems.into_sorted();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn the_schema_has_the_keys_that_the_reader_has() {
        let schema = json_schema();
        for (pointer, text) in [
            ("", "tests: []\nqqqqqqqqqqqq: 1\n"),
            ("/$defs/test", "tests: [{name: a, events: [], expect: [], qqqqqqqqqqqq: 1}]\n"),
            (
                "/$defs/series",
                "tests: [{name: a, events: [{at: 0s, qqqqqqqqqqqq: 1}], expect: []}]\n",
            ),
            (
                "/$defs/access",
                "tests: [{name: a, events: [], accesses: [{at: 0s, qqqqqqqqqqqq: 1}]}]\n",
            ),
            (
                "/$defs/alert",
                "tests: [{name: a, events: [], expect: [{at: 0s, qqqqqqqqqqqq: 1}]}]\n",
            ),
        ] {
            let help = said(text).help.remove(0);
            let mut known: Vec<&str> =
                help.strip_prefix("known keys here: ").expect(&help).split(", ").collect();
            known.sort_unstable();
            let properties = schema.pointer(&format!("{pointer}/properties")).unwrap();
            let mut documented: Vec<&String> = properties.as_object().unwrap().keys().collect();
            documented.sort_unstable();
            assert_eq!(documented, known, "{pointer}");
        }
    }
}
