//! `deploy/ledger.schema.json` against the lines of rows: each field is documented, and what is always there
//! is said to be.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use tripline::engine::{
    access::{Outcome, SessionStep},
    ledger::{Content, EntryKind},
};

use super::archive::rows_from;

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string("deploy/ledger.schema.json").unwrap()).unwrap()
}

/// Notes what a value has that the schema does not know, and what it lacks.
fn check(schema: &Value, value: &Value, path: &str, wrong: &mut BTreeSet<String>) {
    let Some(object) = value.as_object() else { return };
    let Some(properties) = schema["properties"].as_object() else {
        if schema.get("additionalProperties").is_none() {
            wrong.insert(format!("{path} is no mapping"));
        }
        return;
    };
    for (name, member) in object {
        match properties.get(name) {
            Some(known) => check(known, member, &format!("{path}.{name}"), wrong),
            None => {
                wrong.insert(format!("{path}.{name} is not documented"));
            }
        }
    }
    for name in schema["required"].as_array().unwrap() {
        if !object.contains_key(name.as_str().unwrap()) {
            wrong.insert(format!("{path} has no {name}"));
        }
    }
}

#[test]
fn every_field_of_a_line_is_documented() {
    let schema = schema();
    let mut wrong = BTreeSet::new();
    let rows = rows_from("2026-03-10T12:00:00Z", 2_000);
    for row in &rows {
        let line: Value = serde_json::from_str(&row.line()).unwrap();
        let of = match &row.content {
            Content::Access(_) => "access",
            Content::Entry(_) => "entry",
            Content::Usage(_) => "usage",
        };
        check(&schema["$defs"][of], &line, of, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let words = |pointer: &str| -> Vec<String> {
        let words = schema.pointer(pointer).unwrap().as_array().unwrap();
        words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(words("/$defs/entry/properties/kind/enum"), EntryKind::ALL.map(EntryKind::as_str));
    assert_eq!(words("/$defs/access/properties/outcome/enum"), Outcome::ALL.map(Outcome::as_str));
    assert_eq!(
        words("/$defs/access/properties/session/enum"),
        SessionStep::ALL.map(SessionStep::as_str)
    );
}
