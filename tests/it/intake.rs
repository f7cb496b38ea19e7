//! Everything that reaches us is read, or said not to be: the ways in which audit events come, whole and
//! damaged, and the page that documents them.
//!
//! `UPDATE=1` writes the goldens and the table of the page anew; look at the difference before you keep it.

use std::{fs, path::Path, sync::Arc};

use proptest::prelude::*;
use serde_json::{Value, json};
use tripline::engine::{
    decode::{DECODERS, take_apart},
    detector::{DeadLetterReason, DetectionBatch, Detector},
    diagnostic::SourceText,
    record::{PartitionName, RecordBatch},
    rule::{LoadOptions, RuleSources, load},
    settings::EngineSettings,
    time::{EventTime, WallTime},
};

use crate::{
    binary::{run, tripline},
    fuzz_bodies::record,
};

/// An exec by a person.
pub(crate) const EXEC: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1","stage":"ResponseStarted","requestURI":"/api/v1/namespaces/shop/pods/web-0/exec?command=id","verb":"create","user":{"username":"eve","groups":["dev"]},"sourceIPs":["198.51.100.9"],"objectRef":{"resource":"pods","namespace":"shop","name":"web-0","apiVersion":"v1","subresource":"exec"},"responseStatus":{"metadata":{},"code":101},"requestReceivedTimestamp":"2026-03-02T10:00:00.100000Z","stageTimestamp":"2026-03-02T10:00:00.200000Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""}}"#;

/// Rules that match what their name says.
const RULES: &str = "\
title: every
name: every
logsource: {product: kubernetes, service: audit}
detection: {a: {auditID|exists: true}, condition: a}
---
title: exec
name: exec
logsource: {product: kubernetes, service: audit}
detection: {a: {verb: create, objectRef.subresource: exec}, condition: a}
---
title: allowed
name: allowed
logsource: {product: kubernetes, service: audit}
detection: {a: {annotations.authorization.k8s.io/decision: allow}, condition: a}
---
title: switched
name: switched
logsource: {product: kubernetes, service: audit}
detection: {a: {responseStatus.code: 101, outcome: success}, condition: a}
---
title: metadata
name: metadata
logsource: {product: kubernetes, service: audit}
detection: {a: {level: Metadata}, condition: a}
---
title: inside
name: inside
logsource: {product: kubernetes, service: audit}
detection: {a: {sourceIPs|cidr: 10.0.0.0/8, source.ip: 10.1.2.3}, condition: a}
---
title: cut
name: cut
logsource: {product: kubernetes, service: audit}
detection: {a: {truncated: true}, condition: a}
";

/// What a record comes to, in words: how many events, which rules they satisfy, and why parts of it are no
/// events.
fn outcome(payload: &[u8]) -> String {
    outcome_at(payload, None)
}

pub(crate) fn outcome_at(payload: &[u8], time: Option<EventTime>) -> String {
    let source = SourceText::new("rules.yaml", RULES);
    let sources = RuleSources { rules: vec![source], ..RuleSources::default() };
    let rules = Arc::new(load(&sources, &LoadOptions::default()).rules.unwrap());
    let mut detector = Detector::new(Arc::clone(&rules), 0, &EngineSettings::default());
    let partition = Arc::new(PartitionName::new("audit", 0));
    let mut batch = RecordBatch::default();
    batch.push_at(&partition, 0, None, time, Some(payload));
    let found = detector.detect(WallTime::from_micros(0), &batch);
    let mut names: Vec<&str> = found
        .detections
        .iter()
        .map(|detection| rules.rule(detection.rule).meta().name.as_str())
        .filter(|name| *name != "every")
        .collect();
    names.sort_unstable();
    names.dedup();
    let DetectionBatch { counts, dead_letters, .. } = found;
    let mut words = vec![format!("{} events", counts.events)];
    words.extend(names.iter().map(|name| (*name).to_owned()));
    let unread = counts.fields_unread.iter().filter(|(_, count)| *count > 0);
    words.extend(unread.map(|(field, _)| format!("{field}?")));
    let controls = counts.control_messages.iter().filter(|(_, count)| *count > 0);
    words.extend(controls.map(|(kind, count)| format!("{}={count}", kind.as_str())));
    words.extend(dead_letters.iter().map(|letter| format!("!{}", letter.reason.as_str())));
    words.join(" ")
}

#[track_caller]
pub(crate) fn check(payload: impl AsRef<[u8]>, expected: &str) {
    let payload = payload.as_ref();
    let shown = String::from_utf8_lossy(payload);
    assert_eq!(outcome(payload), expected, "{shown:.300}");
}

/// The exec with some of its members changed; null takes one away.
pub(crate) fn changed(changes: Value) -> String {
    let mut event: Value = serde_json::from_str(EXEC).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        let mut at = &mut event;
        let parts: Vec<&str> = key.split('.').collect();
        let (last, parents) = parts.split_last().unwrap();
        for part in parents {
            at = &mut at[*part];
        }
        if *value == json!("(absent)") {
            at.as_object_mut().unwrap().remove(*last);
        } else {
            at[*last] = value.clone();
        }
    }
    event.to_string()
}

pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

pub(crate) const WHOLE: &str = "1 events allowed exec metadata switched";

#[test]
fn every_way_in_is_taken_apart_as_its_golden_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats");
    for envelope in DECODERS {
        let taken = take_apart(&envelope.record(EXEC));
        assert_eq!((taken.events, taken.dead_letters), (1, 0), "{}: {taken:#?}", envelope.name);
        let steps: String = taken
            .steps
            .iter()
            .flat_map(|step| ["  ".repeat(step.depth), step.what.clone(), "\n".to_owned()])
            .collect();
        let path = directory.join(format!("{}.out", envelope.name));
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&directory).unwrap();
            fs::write(&path, &steps).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(steps, golden, "{}", path.display());
    }
}

#[test]
fn the_page_has_the_table_and_a_recipe_for_every_shipper() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/intake.md");
    let page = fs::read_to_string(&path).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (code, table, _) =
        run(tripline(directory.path()).args(["formats", "--format", "markdown"]));
    assert_eq!(code, 0);
    let (start, end) = ("<!-- table of `tripline formats` -->\n", "<!-- end of table -->");
    let (before, rest) = page.split_once(start).unwrap();
    let (old, after) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, [before, start, &table, end, after].concat()).unwrap();
    } else {
        assert_eq!(old, table, "UPDATE=1 writes it anew");
    }
    for shipper in [
        "Fluent Bit",
        "Vector",
        "Filebeat",
        "Logstash",
        "OpenTelemetry",
        "rsyslog",
        "Kafka Connect",
        "EKS",
        "AKS",
        "GKE",
        "OpenShift",
    ] {
        assert!(page.contains(&format!("### {shipper}")), "no recipe for {shipper}");
    }
}

#[test]
fn the_event_is_found_under_any_key_and_only_once() {
    let text = quoted(EXEC);
    for envelope in [
        format!(r#"{{"whatever":{EXEC}}}"#),
        format!(r#"{{"whatever":{text}}}"#),
        format!(r#"{{"a":{{"b":[1,{{"c":{text}}}]}}}}"#),
        format!(r#"{{"log":{text},"log_processed":{EXEC}}}"#),
        format!(r#"{{"message":{text},"kubernetes":{{"audit":{EXEC}}}}}"#),
        format!(r#"{{"payload":{{"before":{EXEC},"after":{EXEC},"op":"u"}}}}"#),
        format!(r#"{{"log":{}}}"#, quoted(&format!(r#"{{"log":{text},"stream":"stdout"}}"#))),
        format!(r#"{{"items":[],"log":{text}}}"#),
        format!(r#"{{"items":["x"],"records":[],"log":{text}}}"#).replace(r#"["x"]"#, "[]"),
        changed(json!({"items": []})),
        changed(json!({"records": []})),
        format!(r#"{{"items":[],{}"#, &EXEC[1..]),
        quoted(EXEC),
        quoted(&quoted(EXEC)),
        format!("[{text}]"),
    ] {
        check(&envelope, WHOLE);
    }
}

#[test]
fn rows_of_the_table_of_aks_are_events() {
    let row = r#"{"TimeGenerated":"2026-03-02T10:00:00.2Z","AuditId":"a-1","Level":"Metadata","Stage":"ResponseStarted","RequestUri":"/api","Verb":"create","User":"{\"username\":\"eve\"}","ObjectRef":{"resource":"pods","subresource":"exec"},"ResponseStatus":"{\"code\":101}","Annotations":{"authorization.k8s.io/decision":"allow"},"Type":"AKSAudit"}"#;
    check(row, WHOLE);
    check(format!(r#"{{"records":[{row}]}}"#), WHOLE);
    // The table of all diagnostic logs has columns of its own.
    let text = quoted(EXEC);
    check(
        format!(
            r#"{{"Category":"kube-audit","log_s":{text},"ResourceId":"/X/PROD","Type":"AzureDiagnostics"}}"#
        ),
        WHOLE,
    );
}

#[test]
fn each_entry_of_a_batch_is_accounted_for() {
    let text = quoted(EXEC);
    for (batch, expected) in [
        (format!(r#"{{"records":[{{"value":{text}}},{{"value":"x"}}]}}"#), format!("{WHOLE} !not_an_event")),
        (format!(r#"["x",{text},7]"#), format!("{WHOLE} !not_an_event !not_an_event")),
        (
            format!(r#"{{"streams":[{{"stream":{{}},"values":[["1772445600200000000",{text},{{"m":"n"}}]]}}]}}"#),
            WHOLE.to_owned(),
        ),
        (
            r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{}},{"body":{"arrayValue":{}}},{"body":{"bytesValue":"AAAA"}}]}]}]}"#.to_owned(),
            "0 events !not_an_event !not_an_event !not_an_event".to_owned(),
        ),
        (
            format!(r#"{{"records":[{{"category":"Kube-Audit","properties":{{"log":[{text}]}},"resourceId":"/X"}},{{"category":"kube-audit","properties":{{}},"resourceId":"/X"}}]}}"#),
            format!("{WHOLE} !not_an_event"),
        ),
        (
            format!(r#"{{"messageType":"DATA_MESSAGE","logGroup":"/aws/eks/p/cluster","logStream":"kube-apiserver-audit-1","logEvents":[{{"message":{EXEC}}},{{"message":[{EXEC}]}},{{"id":"1"}}]}}"#),
            "2 events allowed exec metadata switched !not_an_event".to_owned(),
        ),
    ] {
        check(&batch, &expected);
    }
}

#[test]
fn a_line_makes_one_dead_letter_at_most() {
    for (text, expected) in [
        ("hello {world} {\"a\":1} {\"b\":2}", "0 events !not_an_event"),
        ("2026-03-02T10:00:00Z stdout F starting", "0 events !not_json"),
        ("I0302 10:00:00 a.go:1] x\nI0302 10:00:00 a.go:1] y\n", "0 events !not_json"),
        ("{\"a\":1}{\"b\":2}", "0 events !not_an_event"),
        ("{\"a\":1}\n{\"b\":2}", "0 events !not_an_event !not_an_event"),
        ("[pod/a/b] no event", "0 events !not_json"),
    ] {
        check(text, expected);
    }
    for lead in [
        "2026-03-02T10:00:00.2Z stdout F ",
        "2026-03-02T10:00:00Z ",
        "<134>Mar  2 10:00:00 cp-1 kube-apiserver[12]: ",
        "<134>1 2026-03-02T10:00:00Z cp-1 audit 12 - [x@1 a=\"b\"] \u{feff}",
        "[pod/kube-apiserver-0/kube-apiserver] ",
        "cp-1 kube-apiserver ",
        "kube-apiserver-1  | ",
    ] {
        check(format!("{lead}{EXEC}"), WHOLE);
        check(
            format!("{lead}{EXEC}\nnoise\n{lead}{EXEC}"),
            "2 events allowed exec metadata switched !not_json",
        );
        check(format!(r#"{{"log":{}}}"#, quoted(&format!("{lead}{EXEC}\n"))), WHOLE);
    }
}

#[test]
fn odd_types_do_not_hide_an_event() {
    for (changes, expected) in [
        (json!({"responseStatus.code": "101"}), WHOLE),
        (json!({"responseStatus.code": 101.0}), WHOLE),
        (
            json!({"responseStatus.code": "fine"}),
            "1 events allowed exec metadata responseStatus.code?",
        ),
        (json!({"responseStatus.code": null}), "1 events allowed exec metadata"),
        (json!({"level": "metadata"}), WHOLE),
        (json!({"level": "METADATA"}), WHOLE),
        (json!({"level": "info", "k8s_audit_level": "Metadata"}), WHOLE),
        (json!({"level": "info"}), "1 events allowed exec switched level?"),
        (json!({"level": 1}), "1 events allowed exec switched level?"),
        (json!({"stage": "response_started"}), WHOLE),
        (json!({"stage": "(absent)"}), WHOLE),
        (json!({"stage": "Later"}), "1 events allowed exec metadata switched stage?"),
        (json!({"verb": "CREATE"}), WHOLE),
        (json!({"verb": 7}), "0 events !no_verb"),
        (json!({"auditID": 17}), WHOLE),
        (json!({"auditID": {}}), "0 events !no_audit_id"),
        (json!({"requestURI": 17}), WHOLE),
        (json!({"requestURI": {}}), "1 events allowed exec metadata switched requestURI?"),
        (json!({"user.username": {}}), "1 events allowed exec metadata switched user.username?"),
        (json!({"user": null, "sourceIPs": null, "user.groups": null}), WHOLE),
        (json!({"stageTimestamp": 1_772_445_600.2}), WHOLE),
        (json!({"stageTimestamp": 1_772_445_600_200_u64}), WHOLE),
        (json!({"stageTimestamp": "1772445600"}), WHOLE),
        (json!({"stageTimestamp": "0001-01-01T00:00:00Z"}), WHOLE),
        (json!({"stageTimestamp": "(absent)"}), WHOLE),
        (json!({"stageTimestamp": null}), WHOLE),
        (
            json!({"stageTimestamp": "noon"}),
            "1 events allowed exec metadata switched stageTimestamp?",
        ),
        (
            json!({"stageTimestamp": "(absent)", "requestReceivedTimestamp": "(absent)", "@timestamp": 1.5e9}),
            WHOLE,
        ),
        (
            json!({"stageTimestamp": "(absent)", "requestReceivedTimestamp": "(absent)"}),
            "0 events !no_time",
        ),
        (json!({"annotations": {"authorization_k8s_io/decision": "allow"}}), WHOLE),
        (
            json!({"sourceIPs": ["::ffff:10.1.2.3"]}),
            "1 events allowed exec inside metadata switched",
        ),
        (
            json!({"sourceIPs": ["10.1.2.3:41234"]}),
            "1 events allowed exec inside metadata switched",
        ),
        (json!({"sourceIPs": "10.1.2.3"}), "1 events allowed exec inside metadata switched"),
    ] {
        check(changed(changes), expected);
    }
    let timeless =
        changed(json!({"stageTimestamp": "(absent)", "requestReceivedTimestamp": "(absent)"}));
    let time = EventTime::parse("2026-03-02T10:00:00Z");
    assert_eq!(outcome_at(timeless.as_bytes(), time), WHOLE);
}

/// A request whose body is padded, as AKS and EKS cut it: bodies stand before times and annotations.
pub(crate) fn cut(length: usize, mark: &str) -> String {
    let body = format!(
        r#""requestObject":{{"metadata":{{"annotations":{{"pad":"{}"}}}}}},"#,
        "x".repeat(20_000)
    );
    let at = EXEC.find("\"requestReceivedTimestamp\"").unwrap();
    let padded = [&EXEC[..at], &body, &EXEC[at..]].concat();
    format!("{}{mark}", &padded[..length])
}

#[test]
fn what_stands_before_a_cut_reaches_the_rules() {
    let time = EventTime::parse("2026-03-02T10:00:00Z");
    for (length, mark) in
        [(16_384, ""), (10_000, "[Truncated...]"), (9_000, "\n"), (9_000, "...TRUNCATED")]
    {
        let cut = cut(length, mark);
        let expected = "1 events cut exec metadata switched !truncated";
        assert_eq!(outcome_at(cut.as_bytes(), time), expected, "{mark}");
        // In an envelope, whose time it has; and with a whole one behind it.
        check(format!(r#"{{"time":"2026-03-02T10:00:00Z","log":{}}}"#, quoted(&cut)), expected);
        let both = format!("{}\n{EXEC}", cut.trim_end());
        let expected = "2 events allowed cut exec metadata switched !truncated";
        assert_eq!(outcome_at(both.as_bytes(), time), expected, "{mark}");
        // Nobody knows when.
        check(&cut, "0 events !truncated");
    }
    let aks = format!(
        r#"{{"records":[{{"category":"kube-audit","properties":{{"log":{}}},"resourceId":"/X/PROD","time":"2026-03-02T10:00:00Z"}}]}}"#,
        quoted(&cut(16_384, ""))
    );
    check(&aks, "1 events cut exec metadata switched !truncated");
    // The envelope itself is cut, too.
    check(&aks[..aks.len() - 3], "1 events cut exec metadata switched !truncated");
    check(
        changed(json!({"annotations.audit.k8s.io/truncated": "true"}))
            .replace(r#""annotations":{"#, r#""annotations":{"audit.k8s.io/truncated":"true","#),
        "1 events allowed cut exec metadata switched",
    );
}

#[test]
fn an_event_is_seen_wherever_it_is_cut_behind_who_did_what() {
    let time = EventTime::parse("2026-03-02T10:00:00Z");
    // What the engine needs is whole from here on.
    let needed = EXEC.find("\"user\"").unwrap();
    for end in needed..EXEC.len() {
        let outcome = outcome_at(&EXEC.as_bytes()[..end], time);
        assert!(
            outcome.starts_with("1 events") && outcome.ends_with("!truncated"),
            "{end}: {outcome}"
        );
        assert!(outcome.contains("cut"), "{end}: {outcome}");
    }
}

/// A request with a body of so many bytes, some of which are half of a character.
fn long(bytes: usize) -> String {
    let at = EXEC.find("\"requestReceivedTimestamp\"").unwrap();
    let body = format!(r#""requestObject":{{"pad":"{}"}},"#, "ö x".repeat(bytes / 4));
    [&EXEC[..at], &body, &EXEC[at..]].concat()
}

/// A line as a container runtime writes it that splits at so many bytes.
fn parts(line: &str, bytes: usize) -> Vec<Vec<u8>> {
    let count = line.len().div_ceil(bytes);
    let tag = |index| if index + 1 == count { "F" } else { "P" };
    let lead = |index| format!("2026-03-02T10:00:00.2Z stdout {} ", tag(index)).into_bytes();
    let chunks = line.as_bytes().chunks(bytes).enumerate();
    chunks.map(|(index, chunk)| [&lead(index), chunk].concat()).collect()
}

#[test]
fn parts_of_lines_are_put_together_or_said_to_be_parts() {
    let line = long(40_000);
    let split = parts(&line, 16_384);
    assert_eq!(split.len(), 3);
    let together = split.join(&b"\n"[..]);
    check(&together, WHOLE);
    check([&together, &b"\n"[..], &together].concat(), "2 events allowed exec metadata switched");
    let klog = b"2026-03-02T10:00:00.2Z stderr F I0302 10:00:00 a.go:1] hello";
    let between = [&split[0][..], klog, &split[1], &split[2]].join(&b"\n"[..]);
    check(between, &format!("{WHOLE} !not_json"));
    // In an envelope, whose text is no longer what it was at the seams.
    let text = quoted(&String::from_utf8_lossy(&together));
    check(format!(r#"{{"log":{text}}}"#), WHOLE);
    // Alone, the first says who did what, and each says what it is.
    let line = line.replace('ö', "oo");
    let split = parts(&line, 16_384);
    let first = "1 events cut exec metadata switched !part_of_line";
    check(&split[0], first);
    check(&split[1], "0 events !part_of_line");
    check(&split[2], "0 events !part_of_line");
    check([&split[0][..], &split[1]].join(&b"\n"[..]), first);
    check(quoted(&String::from_utf8_lossy(&split[0])), first);
    // Whoever wrote the first part was killed, and another began anew.
    let anew = format!("2026-03-02T10:00:00.2Z stdout F {EXEC}");
    let expected = "2 events allowed cut exec metadata switched !truncated";
    check([&split[0][..], anew.as_bytes()].join(&b"\n"[..]), expected);
    // As Fluent Bit sends it, which has the mark of the first part on what it put together, too.
    let sent = |text: &str| {
        let time = "2026-03-02T10:00:00.2Z";
        format!(r#"{{"time":"{time}","stream":"stdout","_p":"P","log":{}}}"#, quoted(text))
    };
    check(sent(&line[..8_000]), first);
    check(sent(&line), WHOLE);
    let taken = take_apart(&split[0]);
    assert!(taken.steps.iter().any(|step| step.what.contains("docs/intake.md")), "{taken:#?}");
}

#[test]
fn protocol_buffers_of_opentelemetry_are_read() {
    let envelope = DECODERS.iter().find(|envelope| envelope.name == "otlp_proto").unwrap();
    let whole = envelope.record(EXEC);
    check(&whole, WHOLE);
    // What stands before a cut is matched; where not even a part of a record is there, nothing is known of it.
    let time = EventTime::parse("2026-03-02T10:00:00Z");
    let needed = whole.windows(6).position(|six| six == b"\"user\"").unwrap();
    for end in needed..whole.len() {
        let outcome = outcome_at(&whole[..end], time);
        assert!(
            outcome.starts_with("1 events") && outcome.ends_with("!truncated"),
            "{end}: {outcome}"
        );
        assert!(outcome.contains("cut"), "{end}: {outcome}");
    }
    // Bytes that are not UTF-8 hide nothing.
    let mut odd = whole.clone();
    let at = odd.windows(5).position(|five| five == b"web-0").unwrap();
    odd[at] = 0xFF;
    check(&odd, &format!("{WHOLE} !invalid_utf8"));
    check(envelope.record("hello"), "0 events !not_an_event");
    let two = [whole.clone(), envelope.record("hello"), whole].concat();
    check(two, "2 events allowed exec metadata switched !not_an_event");
}

#[test]
fn hidden_by_depth_and_cut_by_size_is_seen_all_the_same() {
    let at = EXEC.find("\"requestReceivedTimestamp\"").unwrap();
    let deep = format!("{}\"requestObject\":{}", &EXEC[..at], "[{\"a\":".repeat(3_000));
    let time = EventTime::parse("2026-03-02T10:00:00Z");
    assert_eq!(outcome_at(deep.as_bytes(), time), "1 events cut exec metadata switched !too_deep");
    let nested = format!("{}{}{}", r#"{"a":"#.repeat(1_000), EXEC, "}".repeat(1_000));
    check(&nested, "0 events !too_deep");
}

#[test]
fn gke_is_read_as_it_is() {
    let entry = |more: Value, payload: Value| {
        let mut entry = json!({
            "insertId": "k1",
            "labels": {"authorization.k8s.io/decision": "allow"},
            "protoPayload": {
                "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
                "authenticationInfo": {"principalEmail": "eve"},
                "methodName": "io.k8s.core.v1.pods.exec.create",
                "resourceName": "core/v1/namespaces/shop/pods/web-0/exec",
                "serviceName": "k8s.io",
                "status": {},
            },
            "timestamp": "2026-03-02T10:00:00.2Z",
        });
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        for (key, value) in payload.as_object().unwrap() {
            entry["protoPayload"][key] = value.clone();
        }
        entry.to_string()
    };
    check(entry(json!({}), json!({})), WHOLE);
    check(
        entry(json!({}), json!({"serviceName": "container.googleapis.com"})),
        "0 events other_service=1",
    );
    check(entry(json!({}), json!({"methodName": null})), "0 events !not_an_event");
    // A body deeper than anything hides nothing.
    let deep = entry(json!({}), json!({"request": {"a": 1}}))
        .replace(r#""a":1"#, &format!(r#""a":{}{}"#, "[".repeat(500), "]".repeat(500)));
    check(&deep, "1 events allowed exec switched !too_deep");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What goes in comes out as an event, a control message or a dead letter, however it was damaged.
    #[test]
    fn damaged_envelopes_are_accounted_for(
        which in 0..DECODERS.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize, any::<prop::sample::Index>()), 0..4),
    ) {
        let mut payload = DECODERS[which].record(EXEC);
        for (at, how, with) in damage {
            if payload.is_empty() {
                break;
            }
            let at = at.index(payload.len());
            match how {
                0 => payload.truncate(at),
                1 => drop(payload.remove(at)),
                2 => payload.insert(at, b"{}[]\",:\\\n\0 1tx"[with.index(14)]),
                3 => payload[at] = b"{}[]\",:\\\n\0 1tx"[with.index(14)],
                4 => {
                    let other = DECODERS[with.index(DECODERS.len())].record(EXEC);
                    payload.splice(at..at, other);
                }
                _ => {
                    let end = at + with.index(payload.len() - at);
                    let part = payload[at..end].to_vec();
                    payload.splice(at..at, part);
                }
            }
        }
        record(&payload);
    }

    /// However a line is split, and whatever stands between its parts, it is one event.
    #[test]
    fn a_line_is_one_event_however_it_is_split(
        bytes in 1..2_000_usize,
        between in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let line = long(600);
        let mut split = parts(&line, bytes);
        for at in between {
            let at = at.index(split.len() + 1);
            split.insert(at, b"2026-03-02T10:00:00.2Z stderr F {}".to_vec());
        }
        let noise = split.iter().filter(|line| line.ends_with(b"stderr F {}")).count();
        let taken = take_apart(&split.join(&b"\n"[..]));
        prop_assert_eq!((taken.events, taken.dead_letters), (1, noise), "{:#?}", taken.steps);
    }

    /// Envelopes within envelopes are read as long as there are not too many.
    #[test]
    fn envelopes_within_envelopes_are_read(which in prop::collection::vec(0..DECODERS.len(), 1..5)) {
        let event = wrapped(&which);
        let taken = take_apart(event.as_bytes());
        prop_assert_eq!((taken.events, taken.dead_letters), (1, 0), "{}: {:#?}", event, taken.steps);
    }
}

/// The exec in envelopes, the first innermost; those that cannot hold what is within are left out.
fn wrapped(which: &[usize]) -> String {
    let mut event = EXEC.to_owned();
    for index in which {
        let envelope = &DECODERS[*index];
        // GKE's and flattened events are events of their own; what is no JSON goes into texts only; and
        // some ways in are no text, or lines.
        let carries = envelope.example.contains("@TEXT@")
            || envelope.example.contains("@EVENT@")
                && serde_json::from_str::<Value>(&event).is_ok();
        let Ok(text) = String::from_utf8(envelope.record(&event)) else { continue };
        if carries && !text.contains(['\n', '\0']) {
            event = text;
        }
    }
    event
}

#[test]
fn every_envelope_is_read_within_every_other_and_within_itself() {
    for outer in 0..DECODERS.len() {
        for inner in 0..DECODERS.len() {
            let which = [inner, inner, outer];
            let event = wrapped(&which);
            let taken = take_apart(event.as_bytes());
            let names = which.map(|index| DECODERS[index].name);
            assert_eq!((taken.events, taken.dead_letters), (1, 0), "{names:?}: {:#?}", taken.steps);
        }
    }
}

#[test]
fn lists_within_lists_are_read() {
    let text = json!(EXEC).to_string();
    for around in
        ["[[@]]", "[[[@]]]", "[[[[@]]]]", "[ [ [ @ ] ] ]", "[[[[[[@]]]]]]", "[[[],[[@]]]]"]
    {
        for event in [EXEC, &text] {
            let taken = take_apart(around.replace('@', event).as_bytes());
            assert_eq!((taken.events, taken.dead_letters), (1, 0), "{around}: {:#?}", taken.steps);
        }
    }
    let entry = format!(r#"[["1767651241131000000",{text}]]"#);
    check(entry, "1 events allowed exec metadata switched");
}

#[test]
fn a_bomb_and_an_endless_nest_are_dead_letters() {
    for payload in [
        vec![b'['; 1 << 20],
        br#"{"a":"#.repeat(1 << 18),
        vec![0; 16 << 20],
        b"{\"a\":[".repeat(1_000),
        [b"{\"log\":\"".to_vec(), vec![b'\\'; 1 << 20]].concat(),
    ] {
        record(&payload);
    }
    let taken = take_apart(&vec![b' '; (16 << 20) + 1]);
    assert_eq!((taken.events, taken.dead_letters), (0, 1));
    assert!(taken.steps[0].what.contains(DeadLetterReason::TooLarge.as_str()), "{:?}", taken.steps);
}
