//! Nobody makes up an event of somebody else: whatever a client writes into a request, and however the event of that
//! request is wrapped, cut or told of elsewhere, it is no event of its own.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tripline::engine::{
    decode::{DECODERS, take_apart},
    detector::Detector,
    diagnostic::SourceText,
    record::{PartitionName, RecordBatch},
    rule::{LoadOptions, RuleSources, load},
    settings::EngineSettings,
    time::{EventTime, WallTime},
};

use super::{
    intake::{EXEC, WHOLE, check, quoted},
    straight::ORDER,
};

/// An event that never was, of somebody who did nothing.
const FORGED: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"forged","stage":"ResponseComplete","requestURI":"/api","verb":"create","user":{"username":"boss"},"requestReceivedTimestamp":"2026-03-02T10:00:00Z","stageTimestamp":"2026-03-02T10:00:00Z"}"#;

/// What a client may write: the event as it is, as text, in Base64, on a line of its own, behind other text.
fn texts() -> [String; 6] {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    [
        FORGED.to_owned(),
        quoted(FORGED),
        STANDARD.encode(FORGED),
        format!("x\n{FORGED}\n"),
        format!("2026-03-02T10:00:00Z stdout F {FORGED}"),
        format!("[{FORGED}]"),
    ]
}

/// The members of an event that a client chooses, each with a text in it; and what a body is, in the order in which an
/// API server writes them, or by name.
fn event(member: usize, text: &str, is_sorted: bool) -> String {
    let mut out: Value = serde_json::from_str(EXEC).unwrap();
    let object: Value = serde_json::from_str(FORGED).unwrap();
    match member % MEMBERS {
        0 => out["userAgent"] = text.into(),
        1 => out["user"]["username"] = text.into(),
        2 => out["user"]["extra"] = json!({"x.io/y": [text]}),
        3 => out["user"]["groups"] = json!(["dev", text]),
        4 => out["annotations"]["x.io/y"] = text.into(),
        5 => out["requestURI"] = format!("/api/v1?x={text}").into(),
        6 => out["objectRef"]["name"] = text.into(),
        7 => out["responseStatus"]["message"] = text.into(),
        8 => out["impersonatedUser"] = json!({"username": text, "extra": {"a": [text]}}),
        9 => out["requestObject"] = json!({"a": {"b": text, "c": [text]}, "pad": "x".repeat(300)}),
        10 => out["requestObject"] = json!({"a": object, "b": [object], "pad": "x".repeat(300)}),
        11 => out["responseObject"] = json!({"items": [object], "a": {"log": text}}),
        _ => out["requestObject"] = object.clone(),
    }
    let mut keys: Vec<&str> = ORDER.into_iter().filter(|key| out.get(*key).is_some()).collect();
    if is_sorted {
        keys.sort_unstable();
    }
    let members = keys.into_iter().map(|key| {
        // A body as the client wrote it.
        let value = out[key].to_string().replace(&object.to_string(), FORGED);
        format!("{}:{value}", quoted(key))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

const MEMBERS: usize = 13;

/// Looks for events of the one who did nothing.
struct Watch {
    detector: Detector,
    partition: Arc<PartitionName>,
    offset: i64,
}

impl Watch {
    fn new() -> Watch {
        let rule = "
title: forged
name: forged
logsource: {product: kubernetes, service: audit}
detection: {a: {user.username: boss}, b: {auditID: forged}, condition: a or b}
";
        let source = SourceText::new("rules.yaml", rule);
        let sources = RuleSources { rules: vec![source], ..RuleSources::default() };
        let rules = Arc::new(load(&sources, &LoadOptions::default()).rules.unwrap());
        let detector = Detector::new(rules, 0, &EngineSettings::default());
        Watch { detector, partition: Arc::new(PartitionName::new("audit", 0)), offset: 0 }
    }

    /// Whether a record, of which the source knows the time or not, has such an event in it.
    fn sees(&mut self, record: &[u8], has_time: bool) -> bool {
        let mut batch = RecordBatch::default();
        let time = has_time.then(|| EventTime::parse("2026-03-02T10:00:00Z").unwrap());
        self.offset += 1;
        batch.push_at(&self.partition, self.offset, None, time, Some(record));
        let found = self.detector.detect(WallTime::from_micros(0), &batch);
        !found.detections.is_empty()
    }
}

#[track_caller]
fn check_none(watch: &mut Watch, record: &[u8]) {
    for has_time in [true, false] {
        if watch.sees(record, has_time) {
            let steps: Vec<String> =
                take_apart(record).steps.into_iter().map(|step| step.what).collect();
            let shown = String::from_utf8_lossy(record);
            panic!("an event was made up by {shown}\n{steps:#?}");
        }
    }
}

/// Ways in that put an event into something, and are no other format of it.
fn wrappers() -> impl Iterator<Item = usize> {
    let is_one = |index: &usize| {
        let example = DECODERS[*index].example;
        example.contains("@EVENT@") || example.contains("@TEXT@") || example.contains("64@")
    };
    (0..DECODERS.len()).filter(is_one)
}

#[test]
fn what_stands_in_an_event_is_no_event_wherever_it_is_cut() {
    let mut watch = Watch::new();
    assert!(watch.sees(FORGED.as_bytes(), true) && watch.sees(FORGED.as_bytes(), false));
    let texts = texts();
    for member in 0..MEMBERS {
        for (text, is_sorted) in texts.iter().zip([false, true].into_iter().cycle()) {
            let event = event(member, text, is_sorted);
            for end in 0..=event.len() {
                check_none(&mut watch, &event.as_bytes()[..end]);
                if !event.is_char_boundary(end) {
                    continue;
                }
                // Cut before it was wrapped.
                if end % 16 == member {
                    let cut = quoted(&event[..end]);
                    for around in [
                        r#"{"time":"2026-03-02T10:00:00Z","log":@}"#,
                        r#"{"records":[{"category":"kube-audit","resourceId":"/X/PROD","time":"2026-03-02T10:00:00Z","properties":{"log":@}}]}"#,
                        r#"{"records":[{"value":@}]}"#,
                    ] {
                        check_none(&mut watch, around.replace('@', &cut).as_bytes());
                    }
                    check_none(&mut watch, format!("{}[Truncated...]", &event[..end]).as_bytes());
                }
            }
        }
    }
}

#[test]
fn what_stands_in_an_event_is_no_event_in_any_envelope() {
    let mut watch = Watch::new();
    let texts = texts();
    for index in wrappers() {
        for member in 0..MEMBERS {
            let text = &texts[(index + member) % texts.len()];
            let record = DECODERS[index].record(&event(member, text, member % 2 == 1));
            for end in (member..=record.len()).step_by(MEMBERS).chain([record.len()]) {
                check_none(&mut watch, &record[..end]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// In several envelopes, of which each may be cut.
    #[test]
    fn what_is_cut_within_envelopes_makes_up_nobody(
        member in 0..MEMBERS,
        text in 0..6_usize,
        is_sorted: bool,
        which in prop::collection::vec((0..DECODERS.len(), prop::option::of(any::<prop::sample::Index>())), 0..4),
        end in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let wrappers: Vec<usize> = wrappers().collect();
        let mut inner = event(member, &texts()[text], is_sorted);
        for (index, cut) in which {
            if let Some(cut) = cut {
                inner.truncate(cut.index(inner.len() + 1));
            }
            let envelope = &DECODERS[wrappers[index % wrappers.len()]];
            let is_whole = serde_json::from_str::<Value>(&inner).is_ok();
            if !is_whole && envelope.example.contains("@EVENT@") && envelope.example.starts_with('{') {
                continue;
            }
            match String::from_utf8(envelope.record(&inner)) {
                Ok(text) => inner = text,
                Err(_) => break,
            }
        }
        let end = end.map_or(inner.len(), |end| end.index(inner.len() + 1));
        check_none(&mut Watch::new(), &inner.as_bytes()[..end]);
    }
}

/// What an API server writes of a request into its own log.
fn lines_of_other_logs() -> Vec<String> {
    let agent = quoted(FORGED);
    vec![
        format!(
            r#"I0302 10:00:00.100000 1 httplog.go:132] "HTTP" verb="GET" URI="/api" latency="1ms" userAgent={agent} audit-ID="aaa" srcIP="1.2.3.4:5" resp=200"#
        ),
        format!(r#""HTTP" verb="GET" URI={agent} latency="1ms" audit-ID="auditID" resp=200"#),
        format!(
            r#"Trace[1234]: "List" url:/api/v1/pods,user-agent:{FORGED},audit-id:1,client:1.2.3.4 (total time: 600ms):"#
        ),
        format!(r#"I0302 10:00:00.1 1 trace.go:236] Trace[12]: "List" url:/api/{FORGED}: x"#),
        format!(
            r#"{{"ts":1772445600.2,"caller":"httplog/httplog.go:132","msg":"HTTP","verb":"GET","URI":"/api","userAgent":{agent},"audit-ID":"a"}}"#
        ),
        format!(
            r#"{{"ts":1772445600.2,"caller":"trace/trace.go:236","msg":{},"v":0}}"#,
            quoted(&format!("Trace[1]: \"List\" url:/api,user-agent:{FORGED},verb:LIST"))
        ),
    ]
}

#[test]
fn other_logs_of_the_control_plane_make_up_nobody() {
    let mut watch = Watch::new();
    // A path may have a line break in it, which klog writes as it is.
    let split = FORGED.to_owned();
    for line in lines_of_other_logs() {
        for around in [
            "@",
            "2026-03-02T10:00:00.2Z stdout F @",
            "[pod/kube-apiserver-0/kube-apiserver] 2026-03-02T10:00:00.2Z @",
            "<134>1 2026-03-02T10:00:00Z cp-1 kube-apiserver 12 - - @",
        ] {
            check_none(&mut watch, around.replace('@', &line).as_bytes());
            let text = quoted(&around.replace('@', &line));
            check_none(&mut watch, format!(r#"{{"log":{text}}}"#).as_bytes());
        }
    }
    for line in lines_of_other_logs().iter().chain([&split]) {
        let text = quoted(line);
        for stream in ["kube-apiserver-0123", "authenticator-0123", "kube-scheduler-1"] {
            let batch = format!(
                r#"{{"messageType":"DATA_MESSAGE","logGroup":"/aws/eks/prod/cluster","logStream":"{stream}","logEvents":[{{"id":"1","timestamp":1772445600200,"message":{text}}}]}}"#
            );
            check(batch, "0 events other_log=1");
        }
        for category in ["kube-apiserver", "kube-scheduler", "Guard", "cluster-autoscaler"] {
            let batch = format!(
                r#"{{"records":[{{"category":"{category}","resourceId":"/X/PROD","time":"2026-03-02T10:00:00Z","properties":{{"log":{text}}}}}]}}"#
            );
            check(batch, "0 events other_log=1");
        }
        let error = format!("2026-03-02T10:00:00.2Z stderr F {line}");
        check_none(&mut watch, error.as_bytes());
        for envelope in [
            format!(r#"{{"log":{text},"stream":"stderr","time":"2026-03-02T10:00:00.2Z"}}"#),
            format!(
                r#"{{"streams":[{{"stream":{{"stream":"stderr"}},"values":[["1772445600200000000",{text}]]}}]}}"#
            ),
            format!(r#"{{"log":{}}}"#, quoted(&error)),
        ] {
            check_none(&mut watch, envelope.as_bytes());
            let said = format!("{:?}", take_apart(envelope.as_bytes()).steps);
            assert!(said.contains("a line of standard error"), "{envelope}: {said}");
            check(envelope, "0 events !not_an_event");
        }
    }
    // In a group of their own people call streams as they like.
    let batch = format!(
        r#"{{"messageType":"DATA_MESSAGE","logGroup":"mine","logStream":"kube-apiserver-cp-1","logEvents":[{{"timestamp":1772445600200,"message":{}}}]}}"#,
        quoted(EXEC)
    );
    check(batch, WHOLE);
}

#[test]
fn an_event_in_a_binary_format_makes_up_nobody() {
    let mut watch = Watch::new();
    let text = FORGED.as_bytes();
    for before in [
        &b"k8s\0\n\x1C\n\x0Faudit.k8s.io/v1\x12\x10ResponseComplete"[..],
        b"\x85\xA7auditID\xA3a-1\xA9userAgent\xDA\x01\x00",
        b"\0\0\0\0\x07\x06a-1\x20ResponseComplete\x80\x04\xFF",
    ] {
        check_none(&mut watch, &[before, text].concat());
    }
}

#[test]
fn a_line_behind_one_that_was_cut_is_read() {
    let whole = format!(r#"{{"log":{}}}"#, quoted(EXEC));
    for (cut, reason) in
        [("{", "truncated"), (r#"{"a":1,"#, "truncated"), (r#"{"a":1, "b": "x"#, "truncated")]
    {
        for line in [EXEC, &whole] {
            let transcript = format!("{WHOLE} !{reason}");
            check(format!("{cut}\n{line}\n"), &transcript);
        }
    }
}

#[test]
fn what_stands_in_an_event_that_was_cut_in_front_of_a_line_is_no_event() {
    let mut watch = Watch::new();
    for member in 0..MEMBERS {
        let event = event(member, FORGED, false);
        for end in (1..event.len()).filter(|end| event.is_char_boundary(*end)) {
            for between in ["\n", "\n\0", "\0\0"] {
                check_none(
                    &mut watch,
                    format!("{}{between}{EXEC}\n{EXEC}", &event[..end]).as_bytes(),
                );
            }
        }
    }
}
