//! `deploy/alert.schema.json` against what receivers get: every field is documented, is there, and is
//! what the schema says.

use std::{fs, sync::Arc};

use serde_json::{Map, Value};
use tripline::{engine::alert::AlertState, notify::Printer};

use crate::{
    contract_notify::{alert, build, build_with, notification},
    fake_receivers::FakeHttp,
};

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string("deploy/alert.schema.json").unwrap()).unwrap()
}

/// What is wrong with a value, by the keywords that the schema uses.
fn check(root: &Value, schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
    let rules = schema.as_object().unwrap();
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(pointer).unwrap(), value, path, wrong);
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{path}[{index}]"), wrong);
                }
            }
            other if !holds(root, other, rule, value) => {
                wrong.push(format!("{path}: {other} is {rule}, but there is {value}"));
            }
            _ => {}
        }
    }
    if let Some(object) = value.as_object() {
        check_object(root, rules, object, path, wrong);
    }
}

/// Whether one keyword is content with a value; one that is not known here is a mistake.
fn holds(root: &Value, keyword: &str, rule: &Value, value: &Value) -> bool {
    let options = rule.as_array().map(Vec::as_slice);
    match keyword {
        "type" => {
            let names = options.unwrap_or(std::slice::from_ref(rule));
            names.iter().any(|name| is_of_type(value, name.as_str().unwrap()))
        }
        "anyOf" => options.unwrap().iter().any(|option| {
            let mut wrong = Vec::new();
            check(root, option, value, "", &mut wrong);
            wrong.is_empty()
        }),
        "enum" => options.unwrap().contains(value),
        "const" => rule == value,
        "minimum" => value.as_f64() >= rule.as_f64(),
        "pattern" => {
            let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
            value.as_str().is_some_and(|text| pattern.is_match(text))
        }
        "format" => {
            assert_eq!(rule, "date-time");
            value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok())
        }
        "$schema" | "$defs" | "title" | "description" => true,
        // See `check_object`.
        keyword if ["required", "properties", "additionalProperties"].contains(&keyword) => true,
        other => panic!("the test does not know {other}"),
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        other => panic!("the test does not know the type {other}"),
    }
}

fn check_object(
    root: &Value,
    rules: &Map<String, Value>,
    object: &Map<String, Value>,
    path: &str,
    wrong: &mut Vec<String>,
) {
    if let Some(properties) = rules.get("properties").and_then(Value::as_object) {
        // Stricter than the schema, which lets fields be added: none is undocumented, none is missing.
        let documented: Vec<&String> = properties.keys().collect();
        let required: Vec<&str> = rules["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        let mut sorted = required.clone();
        sorted.sort_unstable();
        assert_eq!(documented, sorted, "{path}: every field is always there");
        let there: Vec<&String> = object.keys().collect();
        if there != documented {
            wrong.push(format!("{path}: fields are {there:?}, documented are {documented:?}"));
        }
        for (name, rule) in properties {
            if let Some(value) = object.get(name) {
                check(root, rule, value, &format!("{path}.{name}"), wrong);
            }
        }
    } else if let Some(rule) = rules.get("additionalProperties") {
        for (name, value) in object {
            check(root, rule, value, &format!("{path}.{name}"), wrong);
        }
    }
}

fn problems(schema_path: &str, value: &Value) -> Vec<String> {
    let (root, mut wrong) = (schema(), Vec::new());
    check(&root, root.pointer(schema_path).unwrap(), value, "", &mut wrong);
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_receivers_get_is_what_the_schema_says() {
    let told_about =
        notification(vec![alert("eve", AlertState::Firing), alert("bob", AlertState::Resolved)]);
    let http = FakeHttp::start().await;
    build("webhook", &format!("url: '{}'\n", http.base())).notify(&told_about).await;
    let body = http.requests()[0].json();
    assert_eq!(problems("/$defs/notification", &body), Vec::<String>::new());

    let printed = Arc::new(std::sync::Mutex::new(String::new()));
    let copy = Arc::clone(&printed);
    let print = Arc::new(move |text: &str| {
        copy.lock().unwrap().push_str(text);
        Ok(())
    });
    let printer = Printer { print, is_terminal: false, has_colours: false };
    build_with("stdout", "format: auto\n", printer).notify(&told_about).await;
    let lines = printed.lock().unwrap().clone();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for (line, of_body) in lines.iter().zip(body["alerts"].as_array().unwrap()) {
        assert_eq!(problems("", line), Vec::<String>::new());
        assert_eq!(line, of_body, "an alert has one form, wherever it goes");
    }
}

#[test]
fn the_schema_tells_good_from_bad() {
    let good = serde_json::json!({"version": "1", "id": "0".repeat(32)});
    let found = problems("/$defs/notification", &good);
    assert!(found.len() == 1 && found[0].contains("fields are"), "{found:?}");
    for (path, value) in [
        ("/$defs/version", serde_json::json!("2")),
        ("/$defs/state", serde_json::json!("pending")),
        ("/$defs/time", serde_json::json!("yesterday")),
        ("/$defs/count", serde_json::json!(-1)),
        ("/$defs/texts", serde_json::json!({"a": 1})),
    ] {
        assert_ne!(problems(path, &value), Vec::<String>::new(), "{path} {value}");
    }
}
