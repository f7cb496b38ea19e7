//! `tripline explain`: what it says about events and rules, and that it says what the engine does.

use std::{collections::BTreeSet, fs, sync::Arc};

use serde_json::Value;
use tripline::{
    cli::shipped_rules,
    engine::{
        detect::explain_record,
        detector::Detector,
        record::{PartitionName, RecordBatch},
        rule::{LoadOptions, RuleIndex, load},
        settings::EngineSettings,
        time::EventTime,
    },
    generate::{GenerateSettings, Generator, Story, StoryPlan},
};

use crate::binary::{run, run_with_input, tripline};

const RULES: &str = "\
title: Secret read
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets, verb: [get, list]}
  nodes: {user.username|startswith: 'system:node:'}
  condition: read and not nodes
level: high
tripline: {outside: office}
---
title: Known readers
logsource: {product: kubernetes, service: audit}
filter:
  rules: [secret_read]
  known: {user.username: backup}
  condition: not known
---
title: Many secrets
name: secret_burst
correlation:
  type: value_count
  rules: [secret_read]
  group-by: [user.uid]
  timespan: 1h30m
  condition: {field: objectRef.name, gte: 5}
---
title: Burst and exec
name: burst_and_exec
correlation:
  type: temporal
  rules: [secret_burst, first_exec]
  group-by: [user.uid]
  timespan: 1h
---
title: First exec
name: first_exec
logsource: {product: kubernetes, service: audit}
detection:
  exec: {objectRef.subresource: exec}
  condition: exec
tripline: {first_seen: {of: [user.uid, exec.command]}}
---
title: One evil container
name: evil
logsource: {product: kubernetes, service: audit}
detection:
  container:
    pod_spec.containers.securityContext.privileged: true
    pod_spec.containers.image|startswith: evil/
  condition: container
tripline: {same_element: pod_spec.containers, needs: {level: Request}}
---
title: Panics
name: panics
logsource: {product: kubernetes, service: audit}
detection: {panic: {stage: RequestReceived}, condition: panic}
";

/// A directory with the rules, and an event in it.
fn directory(event: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::write(rules.join("rules.yaml"), RULES).unwrap();
    let schedules = "schedules: {office: {zone: UTC, hours: mon-fri 08:00-18:00}}\n";
    fs::write(rules.join("schedules.yaml"), schedules).unwrap();
    fs::write(directory.path().join("event.json"), event).unwrap();
    directory
}

/// An event at night, with more fields.
fn event(more: &str) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a-1","stage":"ResponseComplete","requestReceivedTimestamp":"2026-01-05T22:14:01.000000Z","stageTimestamp":"2026-01-05T22:14:01.140000Z","responseStatus":{{"code":200}},{more}}}"#
    )
}

const READ: &str = r#""verb":"get","user":{"username":"eve"},"objectRef":{"resource":"secrets","namespace":"shop","name":"db"}"#;

fn explain(event: &str, args: &[&str]) -> (i32, String) {
    let directory = directory(event);
    let mut command = tripline(directory.path());
    let (code, out, err) = run(command.arg("explain").args(args).arg("event.json"));
    assert_eq!(err, "", "{out}");
    (code, out)
}

#[test]
fn every_part_is_shown_by_the_name_that_its_author_gave_it() {
    let (code, out) = explain(&event(READ), &["--rule", "secret_read"]);
    assert_eq!(
        out,
        "secret_read: Secret read (high)\n  --> rules/rules.yaml:1:1\n\n\
2026-01-05T22:14:01.140000Z eve: get secrets shop/db: 200 (ResponseComplete, a-1)
  ✓ all of
    ✓ read: all of
      ✓ objectRef.resource is \"secrets\"  (secrets)
      ✓ verb is one of \"get\", \"list\"  (get)
    ✓ not
      ✗ nodes: user.username starts with \"system:node:\"  (eve)
    ✓ filter \"Known readers\": not
      ✗ known: user.username is \"backup\"  (eve)
    ✓ not
      ✗ inside office, at 2026-01-05T22:14:01.140000Z

1 event: match
"
    );
    assert_eq!(code, 0);
    let by_day = event(READ).replace("05T22", "05T12");
    let (code, out) = explain(&by_day, &["--rule", "Secret_Read"]);
    assert!(code == 1 && out.contains("  ✗ not\n      ✓ inside office"), "{out}");
    let filtered = event(READ).replace("eve", "backup");
    let (code, out) = explain(&filtered, &["--rule", "secret_read"]);
    assert!(code == 1 && out.contains("✗ filter \"Known readers\""), "{out}");
}

#[test]
fn a_correlation_says_under_which_key_an_event_counts_or_what_is_absent() {
    let (code, out) = explain(&event(READ), &["--rule", "secret_burst"]);
    assert!(out.contains("  value_count: ≥ 5 different values in 1h30m, by user.uid\n"), "{out}");
    assert!(out.contains("  ✗ secret_read: matches, but does not count, for user.uid is absent\n"));
    assert!(code == 1 && out.ends_with("1 event: does not count\n"), "{out}");

    let named = event(READ).replace(r#""username":"eve""#, r#""username":"eve","uid":"7""#);
    let (code, out) = explain(&named, &["--rule", "burst_and_exec"]);
    assert!(out.contains("\n  ✓ secret_burst: counts under user.uid=7\n"), "{out}");
    let inner = "    ✓ secret_read: counts under user.uid=7 with objectRef.name=db\n";
    assert!(out.contains(inner), "{out}");
    assert!(
        out.contains("\n  ✗ first_exec: no match\n    ✗ first_exec_events: no match\n"),
        "{out}"
    );
    assert!(code == 0 && out.ends_with("1 event: counts\n"), "{out}");
}

#[test]
fn of_many_inputs_those_that_match_are_explained() {
    let names: Vec<String> = (0..8).map(|number| format!("rule_{number}")).collect();
    let rules: Vec<String> = names
        .iter()
        .map(|name| {
            let verb = if name == "rule_3" { "get" } else { "delete" };
            format!(
                "title: {name}\nname: {name}\nlogsource: {{product: kubernetes, service: audit}}\n\
                 detection: {{it: {{verb: {verb}}}, condition: it}}\n---\n"
            )
        })
        .collect();
    let correlation = format!(
        "title: All\nname: all\ncorrelation: {{type: temporal, rules: [{}], timespan: 1h}}\n",
        names.join(", ")
    );
    let directory = directory(&event(READ));
    fs::write(directory.path().join("rules/rules.yaml"), rules.concat() + &correlation).unwrap();
    let (_, out, _) =
        run(tripline(directory.path()).args(["explain", "--rule", "all", "event.json"]));
    assert!(out.contains("  ✓ rule_3: counts\n    ✓ it: verb is \"get\"  (get)\n"), "{out}");
    assert!(out.contains("  ✗ no match: rule_0, rule_1, rule_2, rule_4, rule_5,"), "{out}");
}

#[test]
fn a_rule_with_state_says_what_it_remembers_and_secrets_stay_secret() {
    let exec = event(
        r#""verb":"create","user":{"username":"eve","uid":"7"},"requestURI":"/api/v1/namespaces/a/pods/b/exec?command=mysql&command=--password%3Dhunter2","objectRef":{"resource":"pods","subresource":"exec"}"#,
    );
    let (code, out) = explain(&exec, &["--rule", "first_exec"]);
    let counts = "✓ first_exec_events: counts with user.uid=7, exec.command=mysql --password=";
    assert!(code == 0 && out.contains(counts) && !out.contains("hunter2"), "{out}");
    assert!(out.contains("note: the second answer of a request that runs long"), "{out}");
    let first = exec.replace("ResponseComplete", "ResponseStarted");
    assert!(!explain(&first, &["--rule", "first_exec"]).1.contains("note:"));
}

#[test]
fn elements_of_an_array_are_told_apart() {
    let pod = event(
        r#""verb":"create","requestObject":{"kind":"Pod","spec":{"containers":[{"image":"good/a","securityContext":{"privileged":true}},{"image":"evil/b"}]}}"#,
    );
    let (code, out) = explain(&pod, &["--rule", "evil"]);
    assert!(
        out.contains(
            "  ✗ container: one element of pod_spec.containers has
    ✗ element 1: all of
      ✓ pod_spec.containers.securityContext.privileged is true  (true)
      ✗ pod_spec.containers.image starts with \"evil/\"  (good/a)
    ✗ element 2: all of
      ✗ pod_spec.containers.securityContext.privileged is true  (absent)
      ✓ pod_spec.containers.image starts with \"evil/\"  (evil/b)
"
        ),
        "{out}"
    );
    assert_eq!(code, 1);
    let (code, out) = explain(&pod.replace("good/a", "evil/a"), &["--rule", "evil"]);
    assert!(
        code == 0 && out.contains("✓ element 1: all of") && !out.contains("element 2"),
        "{out}"
    );
}

#[test]
fn an_event_that_the_rule_never_sees_says_so() {
    let received = event(READ).replace("ResponseComplete", "RequestReceived");
    let (code, out) = explain(&received, &["--rule", "secret_read"]);
    assert!(code == 1 && out.contains("  ✗ not seen: an event of stage RequestReceived"), "{out}");
    let (code, out) = explain(&received, &["--rule", "panics"]);
    assert!(code == 0 && !out.contains("not seen"), "a rule that names `stage`: {out}");
}

/// A rule whose author, filter and list say why they are there.
const SAID: &str = "\
title: Secret read
name: secret_read
author: Ann
references: ['https://example.com/secrets']
falsepositives: [A backup]
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets}
  known: {user.username|expand: '%readers%', actor.human: true}
  condition: read and known
tripline: {owner: platform, controls: ['soc2:CC6.1', 'pci-dss:10.2']}
---
title: Not the night
logsource: {product: kubernetes, service: audit}
filter:
  rules: any
  known: {user.username: backup}
  condition: not known
tripline: {owner: ops, reason: It copies all of them, expires: 2030-01-31}
";

#[test]
fn whoever_wrote_a_rule_a_filter_or_an_entry_of_a_file_is_heard() {
    let directory = directory(&event(READ));
    let rules = directory.path().join("rules");
    fs::write(rules.join("rules.yaml"), SAID).unwrap();
    fs::create_dir(rules.join("lists")).unwrap();
    let list = "- {value: 'e*e', owner: iam, reason: Reads them by hand}\n";
    fs::write(rules.join("lists/readers.yaml"), list).unwrap();
    let identities =
        "identities:\n  - {users: ['e*e'], human: true, owner: hr, reason: Hired in May}\n";
    fs::write(rules.join("identities.yaml"), identities).unwrap();
    let ask = |format: &str| {
        let mut command = tripline(directory.path());
        let asked = ["explain", "--rule", "secret_read", "--format", format, "event.json"];
        run(command.args(asked)).1
    };
    let out = ask("text");
    for line in [
        "  author: Ann",
        "  owner: platform",
        "  controls: soc2:CC6.1, pci-dss:10.2",
        "  reference: https://example.com/secrets",
        "  false positives: A backup",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\n{out}");
    }
    for part in [
        "note on filter \"Not the night\": It copies all of them (owner ops)\n",
        "lists/readers.yaml: Reads them by hand (owner iam)\n",
        "note on `e*e` in identities.yaml: Hired in May (owner hr)\n",
        " note: `e*e` in ",
        " note: It copies all of them (owner ops)\n",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let json: Value = serde_json::from_str(&ask("json")).unwrap();
    let about = &json["rule"]["about"];
    assert_eq!(about["author"], "Ann", "{json:#}");
    assert_eq!(about["false_positives"][0], "A backup");
    assert_eq!(about["notes"][1]["owner"], "hr");
    assert_eq!(about["notes"][2]["owner"], "ops");
    assert_eq!(about["notes"][0]["reason"], "Reads them by hand");
}

#[test]
fn without_a_rule_all_that_match_are_named() {
    let (code, out) = explain(&event(READ), &[]);
    assert!(
        code == 0
            && out.contains(
                "(ResponseComplete, a-1)\n  ✓ secret_read, which only feeds correlations\n"
            ),
        "{out}"
    );
    let (code, out) = explain(&event(r#""verb":"get""#), &[]);
    assert!(code == 1 && out.contains("  ✗ no rule matches\n"), "{out}");
}

#[test]
fn whatever_run_reads_is_read_from_files_and_pipes() {
    let one = event(READ);
    let pretty = format!("{:#}", serde_json::from_str::<Value>(&one).unwrap());
    let list = format!(r#"{{"kind":"EventList","items":[{one},{one}]}}"#);
    let wrapped = Value::from_iter([("log", one.clone()), ("@timestamp", "1".to_owned())]);
    let lines = format!("{one}\n\nnot json\n{}\n", one.replace("a-1", "a-2"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, lines.as_bytes()).unwrap();
    let directory = directory("");
    for (input, events) in [
        (one.clone().into_bytes(), 1),
        (pretty.into_bytes(), 1),
        (list.into_bytes(), 2),
        (wrapped.to_string().into_bytes(), 1),
        (lines.into_bytes(), 2),
        (gzip.finish().unwrap(), 2),
    ] {
        for file in [&[][..], &["-"]] {
            let mut command = tripline(directory.path());
            command.args(["explain", "--rule", "secret_read", "--format", "json"]).args(file);
            let (code, out, err) = run_with_input(&mut command, &input);
            let text = String::from_utf8_lossy(&input).into_owned();
            assert_eq!((code, err.as_str()), (0, ""), "{text}");
            let json: Value = serde_json::from_str(&out).unwrap();
            assert_eq!(
                (&json["event_count"], &json["matching_count"]),
                (&events.into(), &events.into())
            );
            let rule = &json["events"][0]["rules"][0];
            assert_eq!(rule["condition"]["parts"][0]["name"], "read", "{out}");
            if !json["undecodable"].as_array().unwrap().is_empty() {
                assert_eq!(json["undecodable"][0]["line"], 3);
            }
        }
    }
}

#[test]
fn a_long_log_is_cut_and_can_be_narrowed() {
    let lines: String = (0..50)
        .map(|n| {
            let line = event(READ).replace("a-1", &format!("a-{n}"));
            let verb = if n % 10 == 0 { "get" } else { "delete" };
            line.replace("\"get\"", &format!("\"{verb}\"")) + "\n"
        })
        .collect();
    let rule = ["--rule", "secret_read"];
    let count = |args: &[&str]| {
        let (_, out) = explain(&lines, &[&rule[..], args].concat());
        (out.matches("(ResponseComplete").count(), out)
    };
    let (shown, out) = count(&[]);
    assert!(shown == 20 && out.contains("… and 30 more events; --all"), "{out}");
    assert!(out.ends_with("50 events: 5 match\n"), "{out}");
    assert_eq!((count(&["--all"]).0, count(&["--matching"]).0), (50, 5));
    let (shown, out) = count(&["--audit-id", "a-3"]);
    assert!(
        shown == 1 && out.contains("eve: delete secrets") && out.ends_with("1 event: no match\n")
    );
}

#[test]
fn what_cannot_be_explained_ends_with_2_and_says_why() {
    let directory = directory(&event(READ));
    let explain = |line: &str| {
        let mut command = tripline(directory.path());
        let (code, out, err) = run(command.arg("explain").args(line.split_whitespace()));
        assert_eq!(out, "", "{line}");
        (code, err)
    };
    for (line, says) in [
        ("--rule secret_reed event.json", "did you mean `secret_read`?"),
        ("--rule secret event.json", "did you mean one of `secret_read`, `secret_burst`?"),
        (
            "--rule nothing-like-it event.json",
            "there is no rule `nothing-like-it` in rules; it has 6 rules",
        ),
        ("--rule evil --audit-id b event.json", "no event with the audit id `b`"),
        ("--rule evil rules/rules.yaml", "there is no audit event in the input"),
        ("--rule evil --rules nowhere event.json", "nothing was explained"),
    ] {
        let (code, err) = explain(line);
        assert!(code == 2 && err.contains(says), "{line}: {code} {err}");
    }
    for (line, says) in
        [("--rule evil gone.json", "gone.json"), ("--rule evil .", "is a directory")]
    {
        let (code, err) = explain(line);
        assert!(code == 1 && err.contains(says), "{line}: {code} {err}");
    }
    let mut command = tripline(directory.path());
    let cut = event(READ).into_bytes();
    let (code, _, err) = run_with_input(command.args(["explain", "--rule", "evil"]), &cut[..60]);
    assert!(code == 2 && err.contains("not an event: truncated"), "{err}");
}

#[test]
fn of_an_event_that_was_cut_it_is_said_what_nobody_can_know() {
    let whole = event(&format!(r#"{READ},"requestObject":{{"spec":{{"containers":[]}}}}"#));
    let cut = &whole[..whole.find("\"requestObject").unwrap()];
    for (rule, says) in [
        ("evil", "note: the event is not whole; not to be seen: pod_spec.containers"),
        ("first_exec", "objectRef.subresource is \"exec\"  (cut off: nobody knows)"),
    ] {
        let (code, out) = explain(cut, &["--rule", rule]);
        assert!(code == 1 && out.contains(says), "{out}");
        assert!(out.contains("not an event: truncated: cut off at byte"), "{out}");
        let (_, out) = explain(&whole, &["--rule", rule]);
        assert!(!out.contains("cut off") && !out.contains("not whole"), "{out}");
    }
}

#[test]
fn a_record_is_taken_apart_step_by_step() {
    let record = |record: &str| {
        let directory = directory(record);
        let (code, out, err) =
            run(tripline(directory.path()).args(["explain", "--record", "event.json"]));
        assert_eq!(err, "");
        (code, out)
    };
    let inner = Value::from(event(READ)).to_string();
    let (code, out) = record(&format!(r#"{{"payload":{{"line":{inner}}}}}"#));
    let expected = "an envelope of no known kind\nunder payload.line:\n  an event: \
                    ResponseComplete of a-1 at 2026-01-05T22:14:01.140000Z\n1 event\n";
    assert_eq!((code, out.as_str()), (0, expected));
    let (code, out) = record("{\"hello\":\"world\"}\n[]");
    let expected = "not decoded: not_an_event: no audit event, and none was found inside\nan empty \
                    list\nknown to hold no events: empty\n0 events, 1 part known to hold none, 1 \
                    dead letter\n";
    assert_eq!((code, out.as_str()), (1, expected));
}

#[test]
fn what_stands_in_an_event_cannot_steer_a_terminal() {
    let nasty = event(READ).replace("\"eve\"", r#""ev\u001b[2J\u202ee\nx""#);
    let (_, out) = explain(&nasty, &["--rule", "secret_read"]);
    assert!(
        !out.contains(['\u{1b}', '\u{202e}']) && out.contains("ev\u{fffd}[2J\u{fffd}e x"),
        "{out}"
    );
    let directory = directory(&event(READ));
    let mut command = tripline(directory.path());
    command.args(["--color", "always", "explain", "--rule", "secret_read", "event.json"]);
    assert!(run(&mut command).1.contains("\u{1b}[32m✓\u{1b}[0m"));
}

/// Of how many rules that an event does not satisfy one is explained.
const EXPLAINED_PART: usize = 8;

/// What people are told must be what happens. Of each event all rules are explained that it satisfies, and one in
/// [`EXPLAINED_PART`] of the others, another one each time.
#[test]
fn explained_is_what_the_engine_decides() {
    let rules = Arc::new(load(&shipped_rules(), &LoadOptions::default()).rules.unwrap());
    let detections: Vec<RuleIndex> = rules.detections().map(|(index, _)| index).collect();
    let mut detector = Detector::new(Arc::clone(&rules), 0, &EngineSettings::default());
    let partition = Arc::new(PartitionName::new("audit", 0));
    let start = EventTime::parse("2026-03-04T20:00:00Z").unwrap();
    let minute = std::time::Duration::from_secs(60);
    let settings = GenerateSettings {
        start,
        received_stage: true,
        rate: 10.0,
        stories: StoryPlan::within(Story::all(false), std::time::Duration::ZERO, minute),
        ..GenerateSettings::default()
    };
    let mut held = BTreeSet::new();
    let records: Vec<_> = Generator::new(settings)
        .take_while(|record| record.time < start.plus(minute * 2))
        .collect();
    for (number, record) in records.iter().enumerate() {
        let mut batch = RecordBatch::default();
        batch.push(&partition, 0, None, Some(&record.payload));
        let decided = detector.detect(start.as_wall(), &batch);
        let detected = decided.detections.iter().map(|detection| (detection.rule, detection.time));
        // Rules that record make no detections.
        let recorded = decided.accesses.iter().flat_map(|observed| {
            let access = observed.access();
            let times =
                access.rules.iter().map(|name| (rules.find_written(name).unwrap(), access.at));
            times.collect::<Vec<_>>()
        });
        let detected: BTreeSet<(RuleIndex, EventTime)> = detected.chain(recorded).collect();
        let is_asked = |(at, rule): &(usize, &RuleIndex)| {
            at % EXPLAINED_PART == number % EXPLAINED_PART
                || detected.iter().any(|(detected, _)| detected == *rule)
        };
        let asked: Vec<RuleIndex> =
            detections.iter().enumerate().filter(is_asked).map(|(_, rule)| *rule).collect();
        let mut explained = BTreeSet::new();
        for event in explain_record(&rules, &asked, &record.payload).events {
            let holding = asked.iter().zip(&event.rules).filter(|(_, rule)| rule.holds);
            explained.extend(holding.map(|(index, _)| (*index, event.time)));
        }
        assert_eq!(detected, explained);
        held.extend(detected.iter().map(|(rule, _)| *rule));
    }
    assert!(held.len() > 20, "only {} rules were ever satisfied", held.len());
}
