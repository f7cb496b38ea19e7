//! No bound hides anything: what stands behind more values than anybody has, deeper than anybody nests, in a
//! second copy of a key or behind a cut is seen, or it is told that it is not. And none of it takes more
//! than linear time: were it the product of what somebody may write, these tests would not end.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use serde_json::json;
use tripline::engine::{
    detector::{DeadLetterReason, DetectionBatch, Detector},
    diagnostic::SourceText,
    limits,
    record::{PartitionName, RecordBatch},
    rule::{LoadOptions, RuleIndex, RuleSet, RuleSources, load},
    shard::EngineSettings,
    time::{EventTime, WallTime},
};

use super::rule_pack::shipped;

/// A change by a person, with such a body.
fn event(verb: &str, resource: &str, body: &str) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a","stage":"ResponseComplete","requestURI":"/x","verb":"{verb}","user":{{"username":"eve@example.com"}},"sourceIPs":["10.0.0.1"],"objectRef":{{"resource":"{resource}","namespace":"shop","name":"n"}},"responseStatus":{{"code":201}},"requestObject":{body},"requestReceivedTimestamp":"2026-03-04T12:00:00Z","stageTimestamp":"2026-03-04T12:00:00Z"}}"#
    )
}

fn detect(rules: &Arc<RuleSet>, payload: &str) -> DetectionBatch {
    let partition = Arc::new(PartitionName::new("audit", 0));
    let mut batch = RecordBatch::default();
    let time = EventTime::parse("2026-03-04T12:00:00Z");
    batch.push_at(&partition, 0, None, time, Some(payload.as_bytes()));
    let mut detector = Detector::new(Arc::clone(rules), 0, &EngineSettings::default());
    detector.detect(WallTime::from_micros(0), &batch)
}

fn names(rules: &RuleSet, found: &DetectionBatch) -> BTreeSet<String> {
    found.detections.iter().map(|one| rules.rule(one.rule).meta().name.clone()).collect()
}

#[track_caller]
fn check(payload: &str, wanted: &[&str]) -> DetectionBatch {
    let rules = shipped();
    let found = detect(&rules, payload);
    let names = names(&rules, &found);
    for name in wanted {
        assert!(names.contains(*name), "{name} is not among {names:?}");
    }
    found
}

fn many(element: &str, count: usize) -> String {
    vec![element; count].join(",")
}

#[test]
fn a_hundred_thousand_harmless_elements_hide_none() {
    let subjects = many(r#"{"kind":"User","name":"bob"}"#, 100_000);
    let binding = |before: &str, behind: &str| {
        let subjects = format!(r#"[{before}{{"kind":"User","name":"system:anonymous"}}{behind}]"#);
        let role = r#"{"kind":"ClusterRole","name":"cluster-admin"}"#;
        let body = format!(r#"{{"subjects":{subjects},"roleRef":{role}}}"#);
        event("create", "clusterrolebindings", &body)
    };
    check(&binding(&format!("{subjects},"), ""), &["binding_to_anonymous"]);
    check(&binding("", &format!(",{subjects}")), &["binding_to_anonymous"]);

    let harmless = r#"{"verbs":["get"],"resources":["pods"],"apiGroups":[""]}"#;
    let role = |bad: &str| {
        let body = format!(r#"{{"rules":[{},{bad}]}}"#, many(harmless, 100_000));
        event("create", "clusterroles", &body)
    };
    let all = r#"{"verbs":["*"],"resources":["*"],"apiGroups":["*"]}"#;
    check(&role(all), &["wildcard_role"]);
    let texts = many("\"get\"", 500_000);
    check(
        &role(&format!(r#"{{"verbs":[{texts},"*"],"resources":["*"],"apiGroups":["*"]}}"#)),
        &["wildcard_role"],
    );

    let containers = many(r#"{"name":"a","image":"web:1"}"#, 100_000);
    let bad = r#"{"name":"b","image":"web:1","securityContext":{"privileged":true}}"#;
    let body = format!(r#"{{"spec":{{"containers":[{containers},{bad}]}}}}"#);
    check(&event("create", "pods", &body), &["privileged_pod"]);
}

#[test]
fn what_let_a_rule_hold_is_shown_however_much_stands_before_it() {
    let rules = rules(&json!({"bad": {"requestObject.subjects.name": "eve"}, "condition": "bad"}));
    let subjects = many(r#"{"name":"bob"}"#, 2_000);
    let body = format!(r#"{{"subjects":[{subjects},{{"name":"eve"}},{{"name":"carol"}}]}}"#);
    let found = detect(&rules, &event("create", "rolebindings", &body));
    let [detection] = found.detections.as_slice() else { panic!("{found:?}") };
    let capture = rules.rule(RuleIndex(0)).capture();
    let at = capture.iter().position(|field| field == "requestObject.subjects.name").unwrap();
    let shown = detection.captured[at].joined().unwrap();
    assert!(shown.starts_with("eve, bob, bob"), "{shown}");
}

#[test]
fn what_no_rule_can_see_is_told() {
    // More values than memory is given for.
    let values = "1,".repeat(limits::VALUES_PER_EVENT_MAX as usize + 10);
    let body = format!(r#"{{"spec":{{"containers":[{{"image":[{values}"x"]}}]}}}}"#);
    let found = check(&event("create", "pods", &body), &["change_hidden_from_rules"]);
    assert!(found.counts.values_dropped > 0);
    // A record that is cut since it is too large.
    let bad = r#"{"name":"b","securityContext":{"privileged":true}}"#;
    let long = "x".repeat(limits::RECORD_BYTES_MAX);
    let body = format!(r#"{{"spec":{{"containers":[{bad}]}},"pad":"{long}"}}"#);
    let found = check(&event("create", "pods", &body), &["privileged_pod", "change_cut_off"]);
    let reasons: Vec<_> = found.dead_letters.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [DeadLetterReason::TooLarge]);
    assert_eq!(found.counts.events_cut, 1);
    // The last of a list is cut, the others are whole.
    let small = event("get", "secrets", "null");
    let list = format!("[{small},{small},{}]", event("create", "pods", &body));
    let found = check(&list, &["privileged_pod", "change_cut_off"]);
    assert_eq!((found.counts.events, found.counts.events_cut), (3, 1));
    // Elsewhere too: in a text that takes all bytes that may be made of one.
    let wrapped = json!({"log": event("create", "pods", &body)}).to_string();
    check(&wrapped, &["privileged_pod", "change_cut_off"]);
}

#[test]
fn what_a_shipper_wrote_into_one_object_hides_nothing_by_its_number_of_keys() {
    let mut members = String::new();
    for number in 0..20_000 {
        let _ = write!(members, r#""k8s.requestObject.metadata.labels.l{number}":"x","#);
    }
    for (key, value) in [
        ("stage", "ResponseComplete"),
        ("verb", "create"),
        ("requestURI", "/x"),
        ("user.username", "eve@example.com"),
        ("objectRef.resource", "pods"),
        ("objectRef.namespace", "shop"),
        ("stageTimestamp", "2026-03-04T12:00:00Z"),
        ("auditID", "a"),
    ] {
        let _ = write!(members, r#""k8s.{key}":"{value}","#);
    }
    let rest = r#""k8s.responseStatus.code":201,"k8s.requestObject.spec.hostNetwork":true"#;
    let found = check(&format!("{{{members}{rest}}}"), &["host_namespaces"]);
    assert_eq!(found.dead_letters, []);
}

#[test]
fn what_is_too_much_to_be_searched_is_told() {
    let small = event("get", "secrets", "null");
    let payload = format!(r#"{{"a":{small},"b":[{}],"c":{small}}}"#, many("[1]", 100_000));
    let found = detect(&shipped(), &payload);
    let reasons: Vec<_> = found.dead_letters.iter().map(|letter| letter.reason).collect();
    // The list beside an event is accounted for, and so is what stands behind it.
    let told = vec![DeadLetterReason::NotAnEvent, DeadLetterReason::TooManyEvents];
    assert_eq!((found.counts.events, reasons), (1, told));
}

fn rules(detection: &serde_json::Value) -> Arc<RuleSet> {
    let arrays = json!(["requestObject.containers"]);
    let in_elements = detection.to_string().contains("requestObject.containers.");
    let rule = json!({
        "title": "rule",
        "logsource": {"product": "kubernetes", "service": "audit"},
        "detection": detection,
        "tripline": {
            "needs": {"level": "Request"},
            "evidence": ["requestObject.subjects.name"],
            "same_element": if in_elements { arrays } else { json!([]) },
        },
    });
    let sources = RuleSources {
        rules: vec![SourceText::new("rule.yaml", rule.to_string())],
        ..RuleSources::default()
    };
    let loaded = load(&sources, &LoadOptions::default());
    let words: String = loaded.diagnostics.iter().map(|problem| problem.render(false)).collect();
    Arc::new(loaded.rules.unwrap_or_else(|| panic!("{words}")))
}

#[test]
fn of_two_copies_of_a_key_the_last_one_counts_and_no_other_excuses_it() {
    let plain = json!({
        "open": {"requestObject.open": true},
        "trusted": {"requestObject.image": "trusted"},
        "condition": "open and not trusted",
    });
    let without = json!({
        "open": {"requestObject.open": true, "requestObject.user": null},
        "condition": "open",
    });
    let within = json!({
        "open": {
            "requestObject.containers.open": true,
            "requestObject.containers.image|neq": "trusted",
        },
        "condition": "open",
    });
    let not_within = json!({
        "change": {"verb": "patch"},
        "good": {
            "requestObject.containers.open": false,
            "requestObject.containers.image": "trusted",
        },
        "condition": "change and not good",
    });
    for (detection, body, expected) in [
        (&plain, r#"{"open":true,"image":"trusted","image":"evil"}"#, true),
        (&plain, r#"{"open":true,"image":"evil","image":"trusted"}"#, false),
        (&plain, r#"{"open":true,"image":"trusted"}"#, false),
        (&plain, r#"{"open":true,"open":false,"image":"evil"}"#, true),
        (&plain, r#"{"open":true,"image":"trusted","image":null}"#, true),
        (&plain, r#"{"open":true,"im\u0061ge":"trusted","image":"evil"}"#, true),
        (&without, r#"{"open":true,"user":7}"#, false),
        (&without, r#"{"open":true,"user":7,"user":null}"#, true),
        (&without, r#"{"open":true,"user":null,"user":7}"#, true),
        (&within, r#"{"containers":[{"open":true,"image":"trusted","image":"evil"}]}"#, true),
        (&within, r#"{"containers":[{"open":true,"image":"evil","image":"trusted"}]}"#, false),
        (
            &within,
            r#"{"containers":[{"open":true,"image":"trusted"}],"containers":[{"open":true,"image":"evil"}]}"#,
            true,
        ),
        (
            &within,
            r#"{"containers":[{"open":true,"image":"evil"}],"containers":[{"image":"trusted"}]}"#,
            true,
        ),
        (
            &within,
            r#"{"containers":[{"open":true,"image":"trusted"}],"containers":[{"image":"trusted"}]}"#,
            false,
        ),
        // What no object has excuses nothing either.
        (
            &within,
            r#"{"containers":[{"open":true,"image":"evil"}],"containers.image":"trusted"}"#,
            true,
        ),
        (&not_within, r#"{"containers":[{"open":false,"image":"trusted"}]}"#, false),
        (
            &not_within,
            r#"{"containers":[{"open":false,"image":"trusted"}],"containers":[{"open":true}]}"#,
            true,
        ),
        (&not_within, r#"{"containers":[{"open":false,"open":true,"image":"trusted"}]}"#, true),
    ] {
        let rules = rules(detection);
        let payload = event("patch", "pods", body);
        let found = detect(&rules, &payload);
        assert_eq!(!found.detections.is_empty(), expected, "{detection} {body}");
        let explained =
            tripline::engine::detect::explain_record(&rules, &[RuleIndex(0)], payload.as_bytes());
        assert_eq!(explained.events[0].rules[0].holds, expected, "explained: {detection} {body}");
    }
}

#[test]
fn steps_of_a_patch_hide_none() {
    let privileged = rules(&json!({
        "bad": {"pod_spec.containers.securityContext.privileged": true},
        "condition": "bad",
    }));
    let harmless = r#"{"op":"add","path":"/metadata/annotations/a","value":"x"}"#;
    let steps = |copies: usize| {
        format!(
            r#"[{{"op":"add","path":"/x","value":{{"privileged":true}}}},{},{}]"#,
            many(harmless, 9_000),
            many(
                r#"{"op":"copy","from":"/x","path":"/spec/containers/0/securityContext"}"#,
                copies
            )
        )
    };
    let found = detect(&privileged, &event("patch", "pods", &steps(1)));
    assert_eq!((found.detections.len(), found.counts.values_dropped), (1, 0));
    // What would take too long, or too deep, is told.
    let told = "change_hidden_from_rules";
    let mut chain = r#"[{"op":"add","path":"/0","value":{}}"#.to_owned();
    for number in 0..20_000 {
        let _ = write!(chain, r#",{{"op":"move","from":"/{number}","path":"/{}"}}"#, number + 1);
    }
    check(&event("patch", "pods", &format!("{chain}]")), &[told]);
    let found = check(&event("patch", "pods", &steps(900)), &[told]);
    assert!(found.counts.values_dropped > 0);

    let subjects = rules(&json!({"bad": {"subject.id": "eve@example.com"}, "condition": "bad"}));
    let name =
        |value: &str| format!(r#"{{"op":"replace","path":"/subjects/0/name","value":"{value}"}}"#);
    let steps =
        |count: usize| format!("[{},{}]", many(&name("bob"), count), name("eve@example.com"));
    let found = detect(&subjects, &event("patch", "rolebindings", &steps(600)));
    assert_eq!((found.detections.len(), found.counts.values_dropped), (1, 0));
    check(&event("patch", "rolebindings", &steps(1_000)), &[told]);
}

#[test]
fn every_index_that_an_api_server_takes_leads_into_a_list() {
    for index in ["0", "00", "-", "-1", "-0", "+0"] {
        let container = r#"{"securityContext":{"privileged":true}}"#;
        for body in [
            format!(
                r#"[{{"op":"add","path":"/spec/containers/{index}/securityContext","value":{{"privileged":true}}}}]"#
            ),
            format!(r#"[{{"op":"add","path":"/spec/containers/{index}","value":{container}}}]"#),
            format!(
                r#"[{{"op":"add","path":"/x","value":[{container}]}},{{"op":"copy","from":"/x/{index}","path":"/spec/containers/0"}}]"#
            ),
            format!(
                r#"[{{"op":"add","path":"/x/{index}","value":{container}}},{{"op":"copy","from":"/x/3","path":"/spec/containers/0"}}]"#
            ),
        ] {
            check(&event("patch", "pods", &body), &["privileged_pod"]);
        }
    }
}

#[test]
fn what_a_patch_takes_from_where_nobody_sees_it_is_told() {
    let told = "change_hidden_from_rules";
    let privileged = "/spec/containers/0/securityContext/privileged";
    let copy = |from: &str, to: &str| format!(r#"{{"op":"copy","from":"{from}","path":"{to}"}}"#);
    let add = |to: &str| format!(r#"{{"op":"add","path":"{to}","value":false}}"#);
    let chain = |from: &str, to: &str| [copy(from, "/x"), copy("/x", to)].join(",");
    for (steps, is_told) in [
        // Of the object.
        (copy("/spec/containers/0/stdin", privileged), true),
        (copy("/spec/containers/0/stdin", privileged).replace("copy", "move"), true),
        (copy("/metadata/annotations/p", "/spec/volumes/0/hostPath/path"), true),
        (copy("/metadata/annotations", "/spec"), true),
        (chain("/metadata/annotations/p", privileged), true),
        // In part.
        ([add("/x/y"), copy("/x", "/spec")].join(","), true),
        ([add("/x"), copy("/spec/hostNetwork", "/x/y"), copy("/x", "/spec")].join(","), true),
        // Of an element that may be another.
        (
            [add("/spec/containers/0/tty"), copy("/spec/containers/1/tty", privileged)].join(","),
            true,
        ),
        ([add("/x/0"), copy("/x/-1", privileged)].join(","), true),
        // Below a list, by what is no index.
        (add("/spec/containers/{'name':'a'}/securityContext/privileged"), true),
        // Of steps before.
        ([add("/x"), copy("/x", privileged)].join(","), false),
        ([add("/x"), copy("/x", "/y"), copy("/y", privileged)].join(","), false),
        // To where no rule looks.
        (copy("/spec/containers/0/stdin", "/spec/containers/0/tty"), false),
        (chain("/spec/dnsPolicy", "/spec/restartPolicy"), false),
        (add("/spec/containers/0/resources/limits"), false),
        (add("/spec/nodeSelector/a"), false),
    ] {
        let rules = shipped();
        let payload = event("patch", "pods", &format!("[{steps}]"));
        let names = names(&rules, &detect(&rules, &payload));
        assert_eq!(names.contains(told), is_told, "{steps}: {names:?}");
    }
}

#[test]
fn a_hostile_record_takes_time_by_its_length() {
    let numbers = |from: usize, count: usize| {
        (from..from + count).fold(String::new(), |mut out, number| {
            let _ = write!(out, "\"{number:07}\",");
            out
        })
    };
    let (ours, others) = (numbers(0, 400_000), numbers(1_000_000, 400_000));
    let two_lists = format!(r#"{{"a":[{ours}"x1z1y"],"b":[{others}"1z1"]}}"#);
    let fields = |how: &str| json!({"s": {format!("requestObject.a|fieldref{how}"): "requestObject.b"}, "condition": "s"});
    let elements = json!({
        "s": {
            "requestObject.containers.open": true,
            "requestObject.containers.image|neq": "trusted",
        },
        "condition": "s",
    });
    let any = json!({"s": {"requestObject.a|contains": "no such text"}, "condition": "s"});
    let pods = json!({"s": {"pod_spec.containers.image": "no such text"}, "condition": "s"});
    let copies = format!(
        r#"[{{"op":"add","path":"/x","value":[{}]}},{}]"#,
        many(r#"{"image":"x"}"#, 100_000),
        many(r#"{"op":"copy","from":"/x","path":"/spec/containers"}"#, 100_000)
    );
    let half = 5 << 20;
    for (name, detection, body) in [
        ("one of many", fields(""), two_lists.clone()),
        ("begins", fields("|startswith"), two_lists.clone()),
        ("ends", fields("|endswith"), two_lists.clone()),
        ("has in it", fields("|contains"), two_lists),
        (
            "elements with copies of keys",
            elements.clone(),
            format!(
                r#"{{"containers":[{}]}}"#,
                many(r#"{"open":false,"image":"x","open":false}"#, 250_000)
            ),
        ),
        (
            "copies of one key",
            elements,
            format!("{{{}}}", many(r#""containers":[{"open":false}]"#, 330_000)),
        ),
        ("brackets", any.clone(), format!(r#"{{"a":{}{}}}"#, "[".repeat(half), "]".repeat(half))),
        ("objects", any.clone(), format!("{}1{}", r#"{"a":"#.repeat(1 << 20), "}".repeat(1 << 20))),
        ("escapes", any.clone(), format!(r#"{{"a":[{}]}}"#, many(r#""\n""#, 2 << 20))),
        ("keys", any.clone(), format!("{{{}}}", many(r#""a":1,"a.a":1"#, 700_000))),
        ("copies in a patch", pods, copies),
        ("lists of nothing", any, format!(r#"{{"items":[{}]}}"#, many("{}", 3 << 20))),
    ] {
        let rules = rules(&detection);
        let found = detect(&rules, &event("patch", "pods", &body));
        assert_eq!(found.counts.events, 1, "{name}");
        let holds = name == "has in it";
        assert_eq!(!found.detections.is_empty(), holds, "{name}");
    }
}
