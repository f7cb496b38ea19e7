//! Events that something has bent on its way to us: other keys, texts in the place of trees, bytes in the place of
//! texts, a document over many lines behind other text.

use serde_json::{Value, json};

use tripline::engine::decode::take_apart;

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
        (json!({"auditID": {"string": "a-1"}, "verb": {"string": "create"}}), WHOLE),
        (json!({"stage": {"string": "ResponseStarted"}, "level": {"string": "Metadata"}}), WHOLE),
        (json!({"requestURI": {"S": "/api/v1"}, "verb": {"S": "create"}}), WHOLE),
        (
            json!({"stageTimestamp": {"long": 1_772_445_600_200_u64}, "requestReceivedTimestamp": {"string": "2026-03-02T10:00:00Z"}}),
            WHOLE,
        ),
        (
            json!({"stageTimestamp": {"$date": "2026-03-02T10:00:00.200Z"}, "requestReceivedTimestamp": {"$date": 1_772_445_600_100_u64}}),
            WHOLE,
        ),
        (json!({"stageTimestamp": {"seconds": 1_772_445_600, "nanos": 200_000_000}}), WHOLE),
        (
            json!({"stageTimestamp": "Mon, 02 Mar 2026 10:00:00 GMT", "requestReceivedTimestamp": "(absent)"}),
            WHOLE,
        ),
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
        check(format!(r#"{{"type":"Buffer","data":{list}}}"#), WHOLE);
        check(&list, WHOLE);
        check(list.replace(',', ",\n "), WHOLE);
        // A typed array of JavaScript.
        let bytes = list.trim_matches(['[', ']']).split(',').enumerate();
        let counted: Vec<String> = bytes.map(|(at, byte)| format!("\"{at}\":{byte}")).collect();
        check(format!("{{{}}}", counted.join(",")), WHOLE);
    }
    let lead = written(format!("I0302 audit: {EXEC}").as_bytes(), false);
    check(format!(r#"{{"MESSAGE":{lead}}}"#), WHOLE);
    for other in ["[1,2,3]", "[123,34,300]", "[123,1.5]", "[]"] {
        check(format!(r#"{{"MESSAGE":{other}}}"#), "0 events !not_an_event");
    }
    check("[1,2,3]", "0 events !not_an_event");
}

#[test]
fn every_value_of_an_event_of_avro_may_name_its_type() {
    let event: Value = serde_json::from_str(EXEC).unwrap();
    let typed = |value: &Value| json!({"string": value});
    let mut out = serde_json::Map::new();
    for (key, value) in event.as_object().unwrap() {
        let value = match (key.as_str(), value) {
            ("annotations", value) => json!({"map": value}),
            (_, Value::Array(_)) => json!({"array": value}),
            (_, Value::Object(members)) => {
                let members = members.iter().map(|(key, value)| match value {
                    Value::String(_) => (key.clone(), typed(value)),
                    Value::Number(_) => (key.clone(), json!({"int": value})),
                    other => (key.clone(), other.clone()),
                });
                let record: serde_json::Map<_, _> = members.collect();
                json!({format!("io.k8s.audit.{key}"): record})
            }
            (_, value) => typed(value),
        };
        out.insert(key.clone(), value);
    }
    let event = Value::Object(out).to_string();
    check(&event, WHOLE);
    check(format!(r#"{{"schema":null,"payload":{event}}}"#), WHOLE);
}

#[test]
fn digits_entities_and_doubled_quotes_are_undone() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let hex = tripline::engine::ledger::hex_of(EXEC.as_bytes());
    check(&hex, WHOLE);
    check(hex.to_uppercase(), WHOLE);
    check(format!(r#"{{"payload":"{hex}"}}"#), WHOLE);
    check(format!(r#"{{"payload":"\\x{hex}"}}"#), WHOLE);
    let line = format!("<134>Mar  2 10:00:00 cp-1 audit: {EXEC}");
    check(format!(r#"{{"payload":"{}"}}"#, STANDARD.encode(&line)), WHOLE);
    check(STANDARD.encode(&line), WHOLE);
    let url = format!("data:application/json;base64,{}", STANDARD.encode(EXEC));
    check(format!(r#"{{"data":"{url}"}}"#), WHOLE);
    let doubled = EXEC.replace('"', "\"\"");
    check(
        format!("time,host,event,x\n2026-03-02T10:00:00Z,cp-1,\"{doubled}\",1\n"),
        &format!("{WHOLE} !other_format"),
    );
    let entities = EXEC.replace('"', "&quot;");
    check(format!("<Event><Message>{entities}</Message></Event>"), WHOLE);
    check(format!(r#"{{"message":"{entities}"}}"#), WHOLE);
    let escaped = EXEC.replace('"', "\\\"");
    check(format!("<134>Mar  2 10:00:00 cp-1 audit: {escaped}"), WHOLE);
    check(format!("{EXEC},\n'{EXEC}',\n"), "2 events allowed exec metadata switched");
}

#[test]
fn base64_is_found_within_texts_wherever_the_event_stands_in_it() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use std::io::Write as _;
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(EXEC.as_bytes()).unwrap();
    let leads = ["", " ", "  ", "<134>Mar  2 10:00:00 cp-1 audit: "];
    let mut values: Vec<String> =
        leads.iter().map(|lead| STANDARD.encode(format!("{lead}{EXEC}"))).collect();
    values.push(STANDARD.encode(zlib.finish().unwrap()));
    for value in values {
        let pushed = format!(r#"{{"message":{{"data":"{value}","messageId":"1"}}}}"#);
        check(&pushed, WHOLE);
        check(format!(r#"{{"log":{}}}"#, quoted(&pushed)), WHOLE);
        check(
            format!(r#"{{"log":{}}}"#, quoted(&format!(r#"{{"log":{}}}"#, quoted(&pushed)))),
            WHOLE,
        );
        check(quoted(&pushed), WHOLE);
        let bytes = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"bytesValue":"{value}"}}}}]}}]}}]}}"#
        );
        check(format!(r#"{{"log":{}}}"#, quoted(&bytes)), WHOLE);
        check(bytes.replace("bytesValue", "stringValue"), WHOLE);
    }
}

#[test]
fn a_record_that_is_cut_within_base64_has_the_event_in_it() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let at = EXEC.find("\"requestReceivedTimestamp\"").unwrap();
    let body: Vec<String> = (0..500).map(|number| format!("padding {number}")).collect();
    let body = format!(r#""requestObject":{{"x":{}}},"#, json!(body));
    let event = [&EXEC[..at], &body, &EXEC[at..]].concat();
    for around in [
        r#"{"time":"2026-03-02T10:00:00Z","records":[{"data":"@"}]}"#,
        r#"{"Records":[{"kinesis":{"approximateArrivalTimestamp":1772445600.2,"data":"@"}}]}"#,
        r#"{"message":{"publishTime":"2026-03-02T10:00:00Z","data":"@"}}"#,
    ] {
        let record = around.replace('@', &STANDARD.encode(&event));
        let half = record.len() / 2;
        for end in half..half + 8 {
            let taken = take_apart(&record.as_bytes()[..end]);
            assert_eq!((taken.events, taken.dead_letters), (1, 1), "{around}: {taken:#?}");
        }
    }
}

#[test]
fn a_line_of_base64_that_is_torn_spoils_no_other() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(EXEC.as_bytes()).unwrap();
    let line = STANDARD.encode(gzip.finish().unwrap());
    let torn = &line[..101];
    check(
        format!("{torn}\n{EXEC}\n{EXEC}\n"),
        "2 events allowed exec metadata switched !truncated",
    );
    check(
        format!("{}!\n{line}\n{EXEC}", &torn[..50]),
        "2 events allowed exec metadata switched !not_json",
    );
}

#[test]
fn entries_beside_a_list_with_an_event_are_accounted_for() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let good = format!(r#"{{"topic":"audit","offset":1,"value":"{}"}}"#, STANDARD.encode(EXEC));
    for bad in ["", "hello", "null", &STANDARD.encode("hello".repeat(30)), "{}"] {
        let bad = format!(r#"{{"topic":"audit","offset":1,"value":{}}}"#, quoted(bad));
        let expected = format!("{WHOLE} !not_an_event");
        check(format!(r#"{{"records":{{"audit-0":[{good}],"audit-1":[{bad}]}}}}"#), &expected);
        check(format!(r#"{{"records":{{"audit-0":[{bad}],"audit-1":[{good}]}}}}"#), &expected);
        check(format!(r#"{{"records":{{"audit-0":{good},"audit-1":{bad}}}}}"#), &expected);
    }
    // What else stands beside it says what it is about.
    check(
        format!(
            r#"{{"tags":["a"],"labels":[{{"key":"a","value":"b"}}],"host":{{"name":"x"}},"records":[{good}]}}"#
        ),
        WHOLE,
    );
}

#[test]
fn attributes_of_opentelemetry_without_a_time_are_an_event() {
    let event: Value = serde_json::from_str(EXEC).unwrap();
    let attributes: Vec<Value> = event
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            json!({"key": key, "value": {"stringValue": text}})
        })
        .collect();
    for record in [
        json!({"attributes": attributes}),
        json!({"severityText": "x", "attributes": attributes}),
        json!({"observed_time_unix_nano": "1772445600200000000", "attributes": attributes}),
    ] {
        check(
            json!({"resourceLogs": [{"resource": {"attributes": [{"key": "a", "value": {"stringValue": "b"}}]}, "scopeLogs": [{"logRecords": [record]}]}]}).to_string(),
            WHOLE,
        );
        check(record.to_string(), WHOLE);
    }
}

#[test]
fn marks_zeros_and_utf_16_may_stand_around_base64_and_lines() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let base64 = STANDARD.encode(EXEC);
    check(format!("\u{feff}{base64}"), WHOLE);
    check(format!("\u{feff}\u{feff}\n{base64}\n"), WHOLE);
    check(format!("{}{base64}", "\0".repeat(100)), WHOLE);
    let line = format!("2026-03-02T10:00:00.2Z stdout F {EXEC}");
    for text in [EXEC, &base64, &line] {
        let units: Vec<u16> = text.encode_utf16().collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        check(&big, WHOLE);
        check(&little, WHOLE);
        check([&b"\xFF\xFE"[..], &little].concat(), WHOLE);
    }
}

#[test]
fn formats_that_are_not_read_are_named() {
    for (payload, name) in [
        (&b"k8s\0\x0A\x1C\x0A\x0Faudit.k8s.io/v1"[..], "protocol buffers of Kubernetes"),
        (b"\xC3\x0112345678\x06abc\xFF", "Avro"),
        (b"Obj\x01\x04\x16avro.schema\0\xFF", "an Avro file"),
        (b"\0\0\0\0\x07\x06a-1\x0Ccreate\x80\x01\xFF", "Confluent"),
        (b"\x82\xA4kind\xA5Event\xA4verb\xA3get", "MessagePack"),
        (b"\xA2\x64kind\x65Event", "CBOR"),
        (b"\x28\xB5\x2F\xFD\x04\0", "zstd"),
        (b"\x04\x22\x4D\x18\x64\x40", "LZ4"),
        (b"\xFF\x06\0\0sNaPpY", "Snappy"),
        (b"\x0A\xFF\x01\x0A\0", "protocol buffers"),
        (b"<?xml version=\"1.0\"?>\n<events>\n <event verb=\"get\"/>\n</events>\n", "XML"),
        (b"auditID,verb,stage,user\na-1,create,Panic,eve\n", "CSV"),
        (b"kind: Event\napiVersion: audit.k8s.io/v1\nauditID: a-1\n", "YAML"),
        (b"{'kind': 'Event', 'auditID': 'a-1'}", "Python"),
        (b"time=2026-03-02T10:00:00Z verb=get auditID=a-1", "logfmt"),
        (b"2026-03-02T10:00:00Z AUDIT: id=\"a-1\" stage=\"Panic\"", "old text format"),
        (b"68656c6c6f20776f726c642068656c6c6f", "hexadecimal"),
    ] {
        let taken = take_apart(payload);
        let told: Vec<&str> = taken.steps.iter().map(|step| step.what.as_str()).collect();
        let shown = String::from_utf8_lossy(payload);
        assert_eq!((taken.events, taken.dead_letters), (0, 1), "{shown}: {told:?}");
        assert!(
            told.iter().any(|step| step.contains("other_format") && step.contains(name)),
            "{shown}: {told:?}"
        );
        check(payload, "0 events !other_format");
    }
    // A line of text in it stands there as it is.
    let forwarded =
        [&b"\x93\xA3tag\xCE\x69\xA5\x60\xA0\x81\xA3log\xDA\x02\x80"[..], EXEC.as_bytes()].concat();
    check(forwarded, &format!("{WHOLE} !other_format"));
    let lines = format!("\u{8}{EXEC}\u{12}\n\u{3}{EXEC}\u{1}");
    let otlp = [&b"\x0A\x80\x08\x0A\x04\xFF"[..], lines.as_bytes()].concat();
    check(otlp, "2 events allowed exec metadata switched !other_format");
}
