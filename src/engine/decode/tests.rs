//! What records come to: events, and dead letters with their reasons.

use std::fmt::Write as _;

use super::*;
use crate::engine::detector::DeadLetterReason as Reason;
use crate::engine::event::{FieldId, well_known};

/// Writes down what comes out of a record: one line an event or dead letter.
struct Transcript {
    fields: FieldTable,
    text: String,
}

impl Sink for Transcript {
    fn event(&mut self, event: &mut Event<'_>) {
        let id = event.first_str(well_known::AUDIT_ID).unwrap_or("");
        let _ = write!(self.text, "event {id} {} {}", event.stage.as_str(), event.time);
        if event.is_cut {
            self.text.push_str(" (cut)");
        }
        for path in event.unread.paths() {
            let _ = write!(self.text, " ({path} unread)");
        }
        for (index, path) in self.fields.paths().iter().enumerate() {
            let field = FieldId(u16::try_from(index).unwrap());
            let plain =
                [well_known::AUDIT_ID, well_known::STAGE, well_known::STAGE_TIME, well_known::VERB];
            if plain.contains(&field) {
                continue;
            }
            for value in event.values(field) {
                let _ = write!(self.text, " {path}={value:?}");
            }
        }
        self.text.push('\n');
    }

    fn control(&mut self, message: ControlMessage) {
        let _ = writeln!(self.text, "control {}", message.as_str());
    }

    fn dead_letter(&mut self, reason: DeadLetterReason, _detail: String, bytes: &[u8]) {
        let _ = writeln!(self.text, "{} {} bytes", reason.as_str(), bytes.len());
    }
}

/// What comes out of one record, with these fields asked for besides the well-known ones.
fn decode_fields(paths: &[&str], payload: &[u8]) -> String {
    let mut fields = FieldTable::new();
    for path in paths {
        fields.intern(path);
    }
    let mut decoder = Decoder::new(&fields);
    let mut transcript = Transcript { fields, text: String::new() };
    // Twice, since memory is reused.
    decoder.decode(payload, Origin::default(), &mut transcript);
    let first = std::mem::take(&mut transcript.text);
    decoder.decode(payload, Origin::default(), &mut transcript);
    assert_eq!(first, transcript.text, "the second time is different");
    first
}

/// A source that knows its cluster.
fn from_source() -> Origin<'static> {
    Origin { cluster: Some("source"), time: None }
}

#[track_caller]
fn check(payload: impl AsRef<[u8]>, expected: &str) {
    assert_eq!(decode_fields(&[], payload.as_ref()), expected);
}

/// An event with a body.
fn event(id: &str, body: &str) -> String {
    format!(
        r#"{{"kind":"Event","auditID":"{id}","stage":"ResponseComplete","verb":"patch","requestObject":{body},"stageTimestamp":"2026-01-05T22:14:01.131000Z"}}"#
    )
}

const SMALL: &str = r#"{"auditID":"a","stage":"Panic","verb":"get","stageTimestamp":"2026-01-05T22:14:01.131000Z"}"#;
const SMALL_EVENT: &str = "event a Panic 2026-01-05T22:14:01.131000Z\n";

#[track_caller]
fn check_paths(paths: &[&str], body: &str, expected: &str) {
    let transcript = decode_fields(paths, event("x", body).as_bytes());
    let got =
        transcript.trim_end().strip_prefix("event x ResponseComplete 2026-01-05T22:14:01.131000Z");
    assert_eq!(got.map(str::trim_start), Some(expected), "{transcript}");
}

#[test]
fn an_event_a_list_an_array_and_lines() {
    check(SMALL, SMALL_EVENT);
    check(format!("\n {SMALL} \n"), SMALL_EVENT);
    let two = format!("{SMALL_EVENT}{SMALL_EVENT}");
    check(format!("{SMALL}\n{SMALL}\n"), &two);
    check(format!("[{SMALL}, {SMALL}]"), &two);
    let list = format!(
        r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{SMALL},{SMALL}]}}"#
    );
    check(&list, &two);
    check(format!("{list}{SMALL}"), &format!("{two}{SMALL_EVENT}"));
    check(format!("[{list},{list}]"), &two.repeat(2));
    check(format!("[[{SMALL}],[{SMALL}]]"), &two);
    check(format!("\u{feff}{SMALL}\n\u{feff}{SMALL}\0\0"), &two);
    check(r#"{"kind":"EventList","items":[]}"#, "control empty\n");
    check("[]", "control empty\n");
}

#[test]
fn an_event_of_2017_has_its_time_elsewhere() {
    check(
        r#"{"metadata":{"creationTimestamp":"2017-09-11T19:55:05Z"},"auditID":"a","stage":"ResponseComplete","verb":"get"}"#,
        "event a ResponseComplete 2017-09-11T19:55:05.000000Z\n",
    );
}

#[test]
fn what_cannot_be_decoded_says_why() {
    for (payload, reason) in [
        ("", Reason::Empty),
        (" \r\n\t", Reason::Empty),
        ("hello", Reason::NotJson),
        ("\0", Reason::NotJson),
        ("{\"auditID\":\"a\"", Reason::Truncated),
        ("{\"auditID\":\"a\",\"requestURI\":\"/api[Truncated...]", Reason::Truncated),
        ("{\"auditID\":\"a\",\"verb\":[Truncated...]", Reason::Truncated),
        ("{\"auditID\":\"a\"}}", Reason::NoVerb),
        ("1", Reason::NotAnEvent),
        ("\"text\"", Reason::NotAnEvent),
        ("null", Reason::NotAnEvent),
        ("[1]", Reason::NotAnEvent),
        ("{}", Reason::NotAnEvent),
        (r#"{"kind":"Event","apiVersion":"v1","reason":"BackOff"}"#, Reason::NotAnEvent),
        (r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1"}"#, Reason::NoAuditId),
        (r#"{"stage":"Panic","stageTimestamp":"2026-01-05T22:14:01Z"}"#, Reason::NoAuditId),
        (r#"{"auditID":"","stage":"Panic"}"#, Reason::NoAuditId),
        (r#"{"auditID":{},"stage":"Panic","verb":"get"}"#, Reason::NoAuditId),
        (r#"{"auditID":null,"stage":"Panic","verb":"get"}"#, Reason::NoAuditId),
        (r#"{"auditID":"a","stage":"Panic"}"#, Reason::NoVerb),
        (r#"{"auditID":"a","stage":"Panic","verb":7}"#, Reason::NoVerb),
        (r#"{"auditID":"a","stage":"Panic","verb":null}"#, Reason::NoVerb),
        (r#"{"auditID":"a","stage":"Panic","verb":["get"]}"#, Reason::NoTime),
        (r#"{"auditID":"a","verb":"get"}"#, Reason::NoTime),
        (r#"{"auditID":"a","stage":"Panic","verb":"get","stageTimestamp":"noon"}"#, Reason::NoTime),
        (
            r#"{"auditID":"a","stage":"Panic","verb":"get","stageTimestamp":"0001-01-01T00:00:00Z"}"#,
            Reason::NoTime,
        ),
    ] {
        let first = decode_fields(&[], payload.as_bytes());
        let got = first.split(' ').next().unwrap_or("");
        assert_eq!(got, reason.as_str(), "{payload}: {first}");
    }
}

#[test]
fn one_bad_item_does_not_spoil_the_others() {
    let list = format!(r#"{{"items":[{SMALL},{{"auditID":"b"}},7,{SMALL}]}}"#);
    let expected = format!("{SMALL_EVENT}no_verb 15 bytes\nnot_an_event 1 bytes\n{SMALL_EVENT}");
    check(&list, &expected);
    let cut = format!(r#"{{"items":[{SMALL},{{"auditID":"b","#);
    check(&cut, &format!("{SMALL_EVENT}truncated 15 bytes\n"));
    let lines = format!("{SMALL}\n{{\"auditID\":nonsense}}\n{SMALL}");
    check(&lines, &format!("{SMALL_EVENT}not_json 21 bytes\n{SMALL_EVENT}"));
}

#[test]
fn an_event_may_not_hide_behind_bad_bytes() {
    let mut payload = event("x", r#"{"a":"B"}"#).into_bytes();
    let at = payload.iter().position(|byte| *byte == b'B').unwrap();
    payload[at] = 0xFF;
    let transcript = decode_fields(&["requestObject.a"], &payload);
    let expected = format!("invalid_utf8 {} bytes\n", payload.len());
    assert!(transcript.starts_with(&expected), "{transcript}");
    assert!(transcript.contains("requestObject.a=Str(\"\u{fffd}\")"), "{transcript}");
    check([0xFF, 0xFE], "invalid_utf8 2 bytes\n");
}

#[test]
fn an_event_may_not_hide_behind_depth_or_size() {
    let deep = format!("{{\"a\":1,\"d\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let payload = event("x", &deep);
    let transcript = decode_fields(&["requestObject.a", "requestObject.d"], payload.as_bytes());
    let expected = format!("too_deep {} bytes\nevent x", payload.len());
    assert!(transcript.starts_with(&expected), "{transcript}");
    assert!(transcript.contains("requestObject.a=Int(1)"), "{transcript}");
    check("[".repeat(10_000), "too_deep 10000 bytes\n");
    check("{\"a\":".repeat(10_000), "too_deep 50000 bytes\n");
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    check(&nested, "too_deep 19990 bytes\n");

    let large = event("x", &format!("\"{}\"", "x".repeat(10 << 20)));
    let expected = format!("too_large {} bytes\nevent x", large.len());
    assert!(decode_fields(&[], large.as_bytes()).starts_with(&expected));
    let too_large = vec![b' '; limits::RECORD_BYTES_MAX + 1];
    check(&too_large, &format!("too_large {} bytes\n", too_large.len()));
}

#[test]
fn a_record_holds_so_many_events_and_no_more() {
    let mut list = "[".to_owned();
    for _ in 0..limits::EVENTS_PER_RECORD_MAX {
        list.push_str("null,");
    }
    list.push_str("null]");
    let transcript = decode_fields(&[], list.as_bytes());
    assert_eq!(transcript.lines().count(), limits::EVENTS_PER_RECORD_MAX + 1);
    assert_eq!(transcript.lines().last(), Some("too_many_events 5 bytes"));
}

#[test]
fn paths_are_found_however_keys_are_cut() {
    check_paths(&["requestObject.a.b.c"], r#"{"a":{"b":{"c":1}}}"#, "requestObject.a.b.c=Int(1)");
    check_paths(&["requestObject.a.b.c"], r#"{"a.b":{"c":1}}"#, "requestObject.a.b.c=Int(1)");
    check_paths(&["requestObject.a.b.c"], r#"{"a":{"b.c":1}}"#, "requestObject.a.b.c=Int(1)");
    check_paths(&["requestObject.a.b.c"], r#"{"a.b.c":1}"#, "requestObject.a.b.c=Int(1)");
    check_paths(&["requestObject.a.b"], r#"{"a":{"c":1},"b":1,"a.":{"b":2}}"#, "");
    check_paths(&["requestObject.a"], r#"{"\u0061":1}"#, "requestObject.a=Int(1)");
    check_paths(
        &["requestObject.a", "requestObject.a.b"],
        r#"{"a":{"b":true}}"#,
        "requestObject.a=Composite requestObject.a.b=Bool(true)",
    );
}

#[test]
fn every_value_counts_and_arrays_are_transparent() {
    let path = &["requestObject.c.p"];
    check_paths(
        path,
        r#"{"c":[{"p":1},{"q":2},{"p":[3,[4]]}]}"#,
        "requestObject.c.p=Int(1) requestObject.c.p=Int(3) requestObject.c.p=Int(4)",
    );
    check_paths(
        path,
        r#"{"c":{"p":"decoy"},"c":{"p":"real"}}"#,
        "requestObject.c.p=Str(\"decoy\") requestObject.c.p=Str(\"real\")",
    );
    check_paths(
        path,
        r#"{"c.p":"decoy","c":{"p":"real"}}"#,
        "requestObject.c.p=Str(\"decoy\") requestObject.c.p=Str(\"real\")",
    );
    check_paths(path, r#"{"c":{"p":[]}}"#, "requestObject.c.p=Composite");
    check_paths(path, r#"{"c":{"p":null}}"#, "requestObject.c.p=Null");
    check_paths(path, r#"{"c":[]}"#, "");
    check_paths(
        path,
        r#"{"c":{"p":[1.5,1e999,-0,9007199254740993,99999999999999999999]}}"#,
        "requestObject.c.p=Float(1.5) requestObject.c.p=Float(inf) requestObject.c.p=Int(0) requestObject.c.p=Int(9007199254740993) requestObject.c.p=Float(1e20)",
    );
}

#[test]
fn a_pod_spec_is_found_wherever_it_is() {
    for body in [
        r#"{"spec":{"hostPID":true}}"#,
        r#"{"spec":{"template":{"spec":{"hostPID":true}}}}"#,
        r#"{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"hostPID":true}}}}}}"#,
    ] {
        check_paths(&["pod_spec.hostPID"], body, "pod_spec.hostPID=Bool(true)");
    }
    check_paths(
        &["pod_spec.hostPID", "requestObject.spec.hostPID"],
        r#"{"spec":{"hostPID":true}}"#,
        "pod_spec.hostPID=Bool(true) requestObject.spec.hostPID=Bool(true)",
    );
}

/// Counts values of one field, and keeps the last.
struct Counted {
    field: FieldId,
    count: usize,
    last: String,
    dropped: u32,
}

impl Sink for Counted {
    fn event(&mut self, event: &mut Event<'_>) {
        self.count = event.count(self.field);
        self.last = format!("{:?}", event.last(self.field));
        self.dropped = event.values_dropped;
    }

    fn control(&mut self, _message: ControlMessage) {}

    fn dead_letter(&mut self, _reason: DeadLetterReason, _detail: String, _bytes: &[u8]) {}
}

fn count(path: &str, payload: &str) -> Counted {
    let mut fields = FieldTable::new();
    let field = fields.intern(path);
    let mut counted = Counted { field, count: 0, last: String::new(), dropped: 0 };
    Decoder::new(&fields).decode(payload.as_bytes(), Origin::default(), &mut counted);
    counted
}

#[test]
fn an_object_is_read_from_every_form_of_a_change() {
    let paths = &["object.a", "object.list.b"];
    for (body, expected) in [
        (r#"{"a":1}"#, "object.a=Int(1)"),
        (r#"{"items":[{"a":1},{"a":2}]}"#, "object.a=Int(1) object.a=Int(2)"),
        (r#"[{"op":"add","path":"/a","value":1}]"#, "object.a=Int(1)"),
        (r#"[{"value":{"a":1},"path":"","op":"replace"}]"#, "object.a=Int(1)"),
        (r#"[{"op":"add","path":"/\u0061","value":1}]"#, "object.a=Int(1)"),
        (r#"[{"op":"test","path":"/a","value":1},{"op":"remove","path":"/a"}]"#, ""),
        (r#"[{"op":"add","path":"/list","value":[{"b":1}]}]"#, "object.list.b=Int(1)"),
        (r#"[{"op":"add","path":"/list/-","value":{"b":1}}]"#, "object.list.b=Int(1)"),
        (r#"[{"op":"add","path":"/list/10/b","value":1}]"#, "object.list.b=Int(1)"),
        (r#"[{"op":"add","path":"/list/x/b","value":1}]"#, ""),
        (
            r#"[{"op":"add","path":"/x","value":7},{"op":"copy","from":"/x","path":"/a"}]"#,
            "object.a=Int(7)",
        ),
        (
            r#"[{"op":"add","path":"/x/0","value":{"y":7}},{"op":"move","from":"/x","path":"/y"},{"op":"copy","from":"/y/-/y","path":"/list/0/b"}]"#,
            "object.list.b=Int(7)",
        ),
        (r#"[{"op":"copy","from":"/x","path":"/a"}]"#, ""),
        (r#"[1,null,[],{"op":1,"path":2}]"#, ""),
    ] {
        check_paths(paths, body, expected);
    }
    let slash = &["object.metadata.annotations.a/b~c"];
    let body = r#"[{"op":"add","path":"/metadata/annotations/a~1b~0c","value":"x"}]"#;
    check_paths(slash, body, r#"object.metadata.annotations.a/b~c=Str("x")"#);
}

#[test]
fn an_object_is_that_of_a_change_wherever_the_verb_stands() {
    let event = |verb: &str, below: &str| {
        [
            format!(r#""verb":"{verb}","objectRef":{{"subresource":"{below}"}},BODIES"#),
            format!(r#""verb":"{verb}",BODIES,"objectRef":{{"subresource":"{below}"}}"#),
            format!(r#"BODIES,"objectRef":{{"subresource":"{below}"}},"verb":"{verb}""#),
        ]
        .map(|text| {
            let bodies = r#""requestObject":{"a":1},"responseObject":{"a":2}"#;
            let rest = text.replace("BODIES", bodies);
            format!(
                r#"{{"auditID":"i","stage":"ResponseComplete","stageTimestamp":"2026-01-05T22:14:01Z",{rest}}}"#
            )
        })
    };
    for (verb, below, is_change) in [
        ("patch", "", true),
        ("update", "approval", true),
        ("deletecollection", "", true),
        ("get", "", false),
        ("watch", "", false),
        ("update", "status", false),
        ("patch", "scale", false),
    ] {
        for payload in event(verb, below) {
            let transcript = decode_fields(&["object.a"], payload.as_bytes());
            let found = transcript.matches("object.a=").count();
            assert_eq!(found, if is_change { 2 } else { 0 }, "{payload}: {transcript}");
        }
    }
}

#[test]
fn of_an_event_of_the_largest_size_that_is_real_every_value_is_kept() {
    let values = "1,".repeat(limits::EVENT_BYTES_MAX / 2 - 200);
    let payload = event("x", &format!("{{\"a\":[{values}2]}}"));
    assert!(payload.len() < limits::EVENT_BYTES_MAX);
    let counted = count("requestObject.a", &payload);
    assert_eq!(counted.count, limits::EVENT_BYTES_MAX / 2 - 199);
    assert_eq!((counted.last.as_str(), counted.dropped), ("Some(Int(2))", 0));
}

#[test]
fn an_event_with_more_values_than_can_be_real_has_its_first_and_last() {
    let values = "1,".repeat(5 << 20);
    let payload = SMALL.replace('}', &format!(",\"sourceIPs\":[{values}2]}}"));
    let counted = count("sourceIPs", &payload);
    assert_eq!(counted.last, "Some(Int(2))");
    assert!(counted.count < limits::VALUES_PER_EVENT_MAX as usize);
    assert_eq!(counted.count + counted.dropped as usize, (5 << 20) + 1);
    // What stands behind is seen all the same.
    let payload = payload.replace("]}", "],\"userAgent\":\"kubectl\"}");
    assert_eq!(count("userAgent", &payload).count, 1);
}

#[test]
fn values_are_found_in_arrays_within_arrays_however_deep() {
    let deep = |value: &str| format!("{}{value}{}", "[".repeat(5_000), "]".repeat(5_000));
    let body = deep(r#"{"b":1},[[]],{"b":[[2],3]}"#);
    let payload = event("x", &format!("{{\"a\":[{body},{{\"b\":4}}]}}"));
    let transcript = decode_fields(&["requestObject.a.b"], payload.as_bytes());
    let values: Vec<&str> = transcript.split(" requestObject.a.b=").skip(1).collect();
    assert_eq!(values, ["Int(1)", "Int(2)", "Int(3)", "Int(4)\n"]);
    for wrong in ["[1,]", "[[1,2]", "[[1]}", "[,1]", "[1 2]", "[[]1]"] {
        let payload = event("x", &format!("{{\"a\":{wrong}}}"));
        let transcript = decode_fields(&["requestObject.a.b"], payload.as_bytes());
        assert!(!transcript.contains("event x"), "{wrong}: {transcript}");
    }
}

#[test]
fn the_cluster_is_what_the_source_says_else_a_field() {
    let payload = SMALL.replace('}', ",\"cluster\":\"field\"}");
    let mut decoder = Decoder::new(&FieldTable::new());
    let mut transcript = Transcript { fields: FieldTable::new(), text: String::new() };
    decoder.decode(payload.as_bytes(), from_source(), &mut transcript);
    decoder.decode(payload.as_bytes(), Origin::default(), &mut transcript);
    assert_eq!(transcript.text.matches("cluster=Str(\"source\")").count(), 1);
    assert_eq!(transcript.text.matches("cluster=Str(\"field\")").count(), 1);
}

/// The exec event of an engineer.
const EXEC: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"Panic","verb":"get","stageTimestamp":"2026-01-05T22:14:01.131000Z"}"#;

#[test]
fn every_way_in_is_read() {
    assert!(DECODERS.is_sorted_by_key(|envelope| envelope.name));
    for envelope in DECODERS {
        let name = envelope.name;
        let record = envelope.record(EXEC);
        let transcript = decode_fields(&[], &record);
        assert_eq!(transcript.lines().count(), 1, "{name}: {transcript}");
        assert!(transcript.starts_with("event "), "{name}: {transcript}");
        let names_cluster = envelope.example.to_lowercase().contains("prod");
        assert_eq!(
            transcript.contains("cluster=Str(\"prod\")"),
            names_cluster,
            "{name}: {transcript}"
        );
        assert!(envelope.summary.ends_with('.'), "{name}");
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
            "{name}"
        );
        let Ok(text) = str::from_utf8(&record) else { continue };
        if !text.starts_with('{') {
            continue;
        }
        let members = Members::of(Json::new(text));
        let claims: Vec<_> =
            DECODERS.iter().filter(|other| other.is(&members)).map(|other| other.name).collect();
        let is_plain = matches!(name, "event" | "event_list");
        assert_eq!(claims, if is_plain { vec![] } else { vec![name] });
    }
}

#[test]
fn wrappers_may_hold_several_events_and_other_wrappers() {
    let text = |inner: &str| serde_json::to_string(inner).unwrap();
    let lines = format!("{SMALL}\n{SMALL}");
    let two = format!("{SMALL_EVENT}{SMALL_EVENT}");
    check(format!(r#"{{"message":{}}}"#, text(&lines)), &two);
    let list = format!(r#"{{"items":[{SMALL},{SMALL}]}}"#);
    check(format!(r#"{{"log":{}}}"#, text(&list)), &two);
    let mut wrapped = SMALL.to_owned();
    for _ in 0..limits::SEARCH_DEPTH_MAX {
        wrapped = format!(r#"{{"log":{wrapped}}}"#);
    }
    check(&wrapped, SMALL_EVENT);
    wrapped = format!(r#"{{"log":{wrapped}}}"#);
    check(&wrapped, &format!("not_an_event {} bytes\n", wrapped.len()));
    let mut texts = SMALL.to_owned();
    for _ in 0..limits::WRAPPERS_MAX {
        texts = format!(r#"{{"log":{}}}"#, text(&texts));
    }
    check(&texts, SMALL_EVENT);
    let inner = format!(r#"{{"log":{}}}"#, text(SMALL));
    let transcript = decode_fields(&[], format!(r#"{{"log":{}}}"#, text(&texts)).as_bytes());
    assert_eq!(transcript, format!("not_an_event {} bytes\n", inner.len()));
}

#[test]
fn what_shippers_send_besides_is_passed_over_or_a_dead_letter() {
    check(
        r#"{"messageType":"CONTROL_MESSAGE","logGroup":"","logEvents":[{"message":"CWL"}]}"#,
        "control check\n",
    );
    check(
        r#"{"messageType":"DATA_MESSAGE","logStream":"authenticator-0","logEvents":[{"message":"time=x"}]}"#,
        "control other_log\n",
    );
    check(
        r#"{"records":[{"category":"kube-scheduler","properties":{"log":"I0101 x"}}]}"#,
        "control other_log\n",
    );
    check(r#"{"message":"Back-off restarting","reason":"BackOff"}"#, "not_an_event 52 bytes\n");
    check(r#"{"message":"{\"auditID\":\"a[Truncated...]"}"#, "truncated 27 bytes\n");
    check(
        r#"{"messageType":"DATA_MESSAGE","logStream":"kube-apiserver-audit-0","logEvents":[{"message":"{} x"}]}"#,
        "not_an_event 2 bytes\n",
    );
    check(
        r#"{"protoPayload":{"methodName":"google.container.v1.X","serviceName":"container.googleapis.com"}}"#,
        "control other_service\n",
    );
    for empty in [
        r#"{"messageType":"DATA_MESSAGE","logEvents":[]}"#,
        r#"{"resourceLogs":[]}"#,
        r#"{"records":[]}"#,
        r#"{"streams":[]}"#,
    ] {
        check(empty, "control empty\n");
    }
}

#[test]
fn the_source_knows_the_cluster_better_than_a_wrapper() {
    let payload = format!(r#"{{"log":{SMALL},"cluster":"wrapper"}}"#);
    let mut decoder = Decoder::new(&FieldTable::new());
    let mut transcript = Transcript { fields: FieldTable::new(), text: String::new() };
    decoder.decode(payload.as_bytes(), from_source(), &mut transcript);
    assert!(transcript.text.ends_with(" cluster=Str(\"source\")\n"), "{}", transcript.text);
}

#[test]
fn keys_may_stand_in_any_order_and_be_written_in_any_way() {
    let paths = [
        "kind",
        "requestObject.a",
        "user.uid",
        "user.extra.authentication.kubernetes.io/pod-name",
        "annotations.authorization.k8s.io/reason",
        "objectRef.resourceVersion",
        "responseStatus.reason",
    ];
    let members = [
        r#""kind":"Event""#,
        r#""apiVersion":"audit.k8s.io/v1""#,
        r#""auditID":"a-1""#,
        r#""stage":"ResponseComplete""#,
        r#""verb":"get""#,
        r#""user":{"username":"eve","uid":"u-1","extra":{"authentication.kubernetes.io/pod-name":["web"]}}"#,
        r#""objectRef":{"resource":"pods","name":"p","resourceVersion":"7","subresource":"log"}"#,
        r#""responseStatus":{"metadata":{},"reason":"Gone","code":410}"#,
        r#""requestObject":{"a":1}"#,
        r#""requestReceivedTimestamp":"2026-01-05T22:14:01.000000Z""#,
        r#""stageTimestamp":"2026-01-05T22:14:02.000000Z""#,
        r#""annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"r"}"#,
    ];
    let usual = format!("{{{}}}", members.join(","));
    let expected = decode_fields(&paths, usual.as_bytes());
    for part in ["eve", "u-1", "web", "pods", "Gone", "410", "allow"] {
        assert!(expected.contains(part), "no {part} in {expected}");
    }
    let mut reversed = members;
    reversed.reverse();
    // Keys that begin like those that are expected, and are others.
    let alike = r#""kindly":1,"verbs":2,"users":{"username":"bob"},"stageTimestamps":3"#;
    let with_others: Vec<String> =
        members.iter().flat_map(|member| [alike.to_owned(), (*member).to_owned()]).collect();
    for text in [
        format!("{{{}}}", reversed.join(",")),
        format!("{{{}}}", with_others.join(",")),
        usual.replace("\":", "\" : ").replace(',', " ,\n  "),
        usual.replace("auditID", "audit\\u0049D").replace("username", "user\\u006eame"),
        // Less than 32 bytes follow the last key.
        usual
            .replace(
                r#","annotations":{"authorization.k8s.io/decision":"allow","#,
                r#","annotations":{"#,
            )
            .replace(
                "{\"kind\"",
                r#"{"annotations":{"authorization.k8s.io/decision":"allow"},"kind""#,
            ),
    ] {
        assert_eq!(decode_fields(&paths, text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn an_event_behind_one_that_was_not_written_to_its_end_is_found() {
    let whole = |id: &str| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"{id}","verb":"get","stage":"ResponseComplete","stageTimestamp":"2026-01-05T10:00:00Z","user":{{"username":"eve"}}}}"#
        )
    };
    let (first, second) = (whole("a"), whole("b"));
    // The disk was full for a while; the next line went on where the space had ended.
    for end in 1..first.len() {
        let text = decode_fields(&[], format!("{}{second}\n", &first[..end]).as_bytes());
        let events = text.lines().filter(|line| line.starts_with("event b ")).count();
        let letters = text.lines().filter(|line| !line.starts_with("event ")).count();
        // A bracket alone is text in front of an event.
        assert!(events == 1 && (letters == 1 || end == 1 && letters == 0), "{end}: {text}");
    }
}
