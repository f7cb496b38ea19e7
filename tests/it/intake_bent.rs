//! Events that something has bent on its way to us: other keys, texts in the place of trees, bytes in the place of
//! texts, a document over many lines behind other text.

use serde_json::{Value, json};

use super::intake::{EXEC, WHOLE, changed, check, cut, quoted};

/// An event with other keys, by a function of the path to each; and with trees as texts, if asked for.
fn rewritten(event: &str, key: &dyn Fn(&str) -> String, trees_are_texts: bool) -> String {
    let event: Value = serde_json::from_str(event).unwrap();
    let mut out = serde_json::Map::new();
    for (name, value) in event.as_object().unwrap() {
        let value = match value {
            Value::Object(members) if name != "annotations" => {
                let members = members.iter().map(|(name, value)| (key(name), value.clone()));
                Value::Object(members.collect())
            }
            other => other.clone(),
        };
        let is_tree = value.is_object() || value.is_array();
        let value = if is_tree && trees_are_texts { Value::from(value.to_string()) } else { value };
        out.insert(key(name), value);
    }
    Value::Object(out).to_string()
}

#[test]
fn keys_in_other_letters_are_keys_of_an_event() {
    let snake = |name: &str| {
        let mut out = String::new();
        for (index, c) in
            name.replace("URI", "Uri").replace("ID", "Id").replace("IPs", "Ips").char_indices()
        {
            if c.is_uppercase() && index > 0 {
                out.push('_');
            }
            out.extend(c.to_lowercase());
        }
        out
    };
    let pascal = |name: &str| name[..1].to_uppercase() + &name[1..];
    let lower = |name: &str| name.to_lowercase();
    let ways: [&dyn Fn(&str) -> String; 3] = [&snake, &pascal, &lower];
    for way in ways {
        for trees_are_texts in [false, true] {
            let event = rewritten(EXEC, way, trees_are_texts);
            check(&event, WHOLE);
            check(format!(r#"{{"log":{}}}"#, quoted(&event)), WHOLE);
            check(format!(r#"{{"rows":[{event},{{"x":1}}]}}"#), &format!("{WHOLE} !not_an_event"));
        }
    }
}

#[test]
fn what_lost_its_types_on_the_way_is_read() {
    let objects = |key: &str| {
        let event: Value = serde_json::from_str(EXEC).unwrap();
        event[key].to_string()
    };
    for (changes, expected) in [
        (json!({"responseStatus": objects("responseStatus")}), WHOLE),
        (json!({"responseStatus": "101"}), WHOLE),
        (json!({"responseStatus.code": {"int": 101}}), WHOLE),
        (json!({"responseStatus.code": {"$numberInt": "101"}}), WHOLE),
        (json!({"user": objects("user")}), WHOLE),
        (json!({"user": "eve"}), WHOLE),
        (json!({"user.username": {"string": "eve"}}), WHOLE),
        (json!({"objectRef": objects("objectRef")}), WHOLE),
        (
            json!({"sourceIPs": "1.1.1.1, 10.1.2.3"}),
            "1 events allowed exec inside metadata switched",
        ),
        (json!({"sourceIPs": "[\"10.1.2.3\"]"}), "1 events allowed exec inside metadata switched"),
        (
            json!({"user": objects("user"), "annotations": [{"key": "authorization.k8s.io/decision", "value": "allow"}]}),
            WHOLE,
        ),
    ] {
        check(changed(changes), expected);
    }
}

#[test]
fn compressed_texts_and_texts_that_were_cut_are_read_in_base64_too() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use std::io::Write as _;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(EXEC.as_bytes()).unwrap();
    let zlib = STANDARD.encode(encoder.finish().unwrap());
    check(format!(r#"{{"payload":"{zlib}"}}"#), WHOLE);
    check(&zlib, WHOLE);
    let base64 = STANDARD.encode(cut(9_000, ""));
    for length in 8_000..8_004 {
        check(
            format!(r#"{{"time":"2026-03-02T10:00:00Z","data":"{}"}}"#, &base64[..length]),
            "1 events cut exec metadata switched !truncated",
        );
    }
}

#[test]
fn a_document_over_many_lines_may_begin_behind_other_text() {
    let event: Value = serde_json::from_str(EXEC).unwrap();
    let pretty = serde_json::to_string_pretty(&event).unwrap();
    check(format!("<134>Mar  2 10:00:00 cp-1 audit: {pretty}\n"), WHOLE);
    check(format!("a {pretty}\nb {pretty}\nc {EXEC}\n"), "3 events allowed exec metadata switched");
    let decoy = r#"<134>1 2026-03-02T10:00:00Z cp-1 audit 12 - [x@1 k="{\"a\":1}"] "#;
    check(format!("{decoy}{EXEC}"), WHOLE);
    // The time of an entry is none.
    check(format!(r#"{{"rows":[["2026-03-02T10:00:00Z",{}]]}}"#, quoted(EXEC)), WHOLE);
}

#[test]
fn keys_that_were_joined_are_paths() {
    for (separator, prefix) in
        [("_", ""), ("_", "audit_"), (".", ""), (".", "kubernetes.audit."), ("/", "k8s/")]
    {
        let event: Value = serde_json::from_str(EXEC).unwrap();
        let mut joined = serde_json::Map::new();
        for (name, value) in event.as_object().unwrap() {
            match value {
                Value::Object(members) => {
                    for (below, value) in members {
                        joined.insert(format!("{prefix}{name}{separator}{below}"), value.clone());
                    }
                }
                other => {
                    joined.insert(format!("{prefix}{name}"), other.clone());
                }
            }
        }
        check(Value::Object(joined).to_string(), WHOLE);
    }
}

#[test]
fn lists_of_bytes_are_texts() {
    let written = |bytes: &[u8], below_zero: bool| {
        let numbers = bytes.iter().map(|byte| {
            if below_zero { i8::from_ne_bytes([*byte]).to_string() } else { byte.to_string() }
        });
        format!("[{}]", numbers.collect::<Vec<_>>().join(","))
    };
    let named = changed(json!({"user.username": "zoë"}));
    for below_zero in [false, true] {
        let list = written(named.as_bytes(), below_zero);
        // journald; a Buffer of Node.js.
        check(format!(r#"{{"MESSAGE":{list},"__REALTIME_TIMESTAMP":"1772445600200000"}}"#), WHOLE);
        check(format!(r#"{{"log":{{"type":"Buffer","data":{list}}}}}"#), WHOLE);
    }
    let lead = written(format!("I0302 audit: {EXEC}").as_bytes(), false);
    check(format!(r#"{{"MESSAGE":{lead}}}"#), WHOLE);
    for other in ["[1,2,3]", "[123,34,300]", "[123,1.5]", "[]"] {
        check(format!(r#"{{"MESSAGE":{other}}}"#), "0 events !not_an_event");
    }
}
