//! `tripline generate` and `tripline test` through the real binary: output, errors, exit codes.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tripline::kafka::{EmbeddedKafka, Producer, Record};

fn tripline(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
    command.current_dir(directory).env_remove("NO_COLOR");
    command
}

fn run(directory: &Path, line: &str) -> (i32, String, String) {
    let output = tripline(directory).args(line.split_whitespace()).output().unwrap();
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

const RULE: &str = "\
title: Secret read
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets, verb: get}
  condition: read
level: high
tripline: {group-by: [actor.id]}
";

const TESTS: &str = "\
base: {verb: get, objectRef.resource: secrets}
tests:
  - name: a read fires
    events: [{at: 0s, set: {user.username: eve}}]
    expect: [{at: 0s, state: firing, labels: {actor_id: eve}, severity: high}]
  - name: a list does not
    events: [{at: 0s, set: {verb: list}}]
    expect: []
";

/// A rule directory with one rule and these tests.
fn rules(tests: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::write(rules.join("secret_read.yaml"), RULE).unwrap();
    fs::write(rules.join("secret_read.test.yaml"), tests).unwrap();
    directory
}

#[test]
fn tests_that_pass_are_counted() {
    let directory = rules(TESTS);
    let (code, out, err) = run(directory.path(), "test");
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(out, "2 tests in 1 file: all passed\n");
    let (_, out, _) = run(directory.path(), "test rules/secret_read.test.yaml --verbose");
    assert!(out.starts_with("ok    secret_read.yaml: a read fires\n"), "{out}");
    let (code, out, _) = run(directory.path(), "test --filter list");
    assert_eq!((code, out.as_str()), (0, "1 test in 1 file: all passed\n"));
}

#[test]
fn a_test_that_fails_says_what_was_different_and_where() {
    let directory =
        rules(&TESTS.replace("severity: high", "severity: low").replace("list}}", "get}}"));
    let (code, out, _) = run(directory.path(), "test");
    assert_eq!(code, 1);
    assert!(out.contains("FAIL  secret_read.yaml: a read fires\n"), "{out}");
    assert!(out.contains("--> rules/secret_read.test.yaml:3:5\n"), "{out}");
    assert!(out.contains("severity: expected low, got high in {at: 0s, state: firing"), "{out}");
    assert!(out.contains("came, but was not expected: {at: 0s"), "{out}");
    assert!(out.ends_with("2 tests in 1 file: 2 failed\n"), "{out}");

    let (code, out, _) = run(directory.path(), "test --format json");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 1);
    assert_eq!((&report["passed"], &report["failed"]), (&0.into(), &2.into()));
    assert_eq!(report["tests"][0]["location"], "rules/secret_read.test.yaml:3:5");
}

#[test]
fn time_goes_on_after_the_last_event_if_asked() {
    let tests = "base: {verb: get, objectRef.resource: secrets}\ntests:\n  - name: it ends\n    \
                 events: [{at: 1m}]\n    until: 30m\n    \
                 expect: [{at: 1m}, {at: 6m, state: resolved}]\n";
    let directory = rules(tests);
    let (code, out, _) = run(directory.path(), "test");
    assert_eq!((code, out.as_str()), (0, "1 test in 1 file: all passed\n"));
}

#[test]
fn mistakes_in_rules_and_tests_stop_before_anything_runs() {
    let directory = rules(&TESTS.replace("set: {verb", "sett: {verb"));
    let (code, out, err) = run(directory.path(), "test");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("unknown key `tests[1].events[0].sett`"), "{err}");
    assert!(err.contains("did you mean `set`?"), "{err}");

    let directory = rules(&format!("rule: secrets_read.yaml\n{TESTS}"));
    let (code, _, err) = run(directory.path(), "test");
    assert_eq!(code, 2);
    assert!(err.contains("there is no rule file `secrets_read.yaml`"), "{err}");
    assert!(err.contains("did you mean `secret_read.yaml`?"), "{err}");

    fs::write(directory.path().join("rules/secret_read.yaml"), "title: x\n").unwrap();
    let (code, _, err) = run(directory.path(), "test");
    assert_eq!(code, 2);
    assert!(err.contains("no test was run"), "{err}");

    let (code, _, err) = run(directory.path(), "test nowhere");
    assert_eq!(code, 2, "{err}");
}

#[test]
fn an_empty_run_is_no_success() {
    let directory = rules(TESTS);
    let (code, _, err) = run(directory.path(), "test --filter nothing-is-called-so");
    assert_eq!(code, 2);
    assert!(err.contains("no test to run"), "{err}");
}

#[test]
fn generated_events_go_to_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let line = "generate --count 1000 --rate 100 --stories all --start 2026-03-04T08:00:00Z";
    let (code, out, err) = run(directory.path(), &format!("{line} --output events.jsonl"));
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    let text = fs::read_to_string(directory.path().join("events.jsonl")).unwrap();
    let events: usize = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|record| record["items"].as_array().map_or(1, Vec::len))
        .sum();
    assert!((1_000..1_006).contains(&events), "{events} events");
    assert!(err.contains("secret-burst"), "{err}");

    let (_, again, _) = run(directory.path(), line);
    assert_eq!(text, again);
}

#[test]
fn generated_events_go_to_a_topic() {
    let kafka = EmbeddedKafka::start().unwrap();
    kafka.create_topic("audit", 2).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let brokers = kafka.brokers().join(",");
    let line = format!("generate --count 400 --brokers {brokers} --topic audit");
    let (code, out, err) = run(directory.path(), &line);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    // The place of one more record in each partition tells how many were there before.
    let producer = Producer::new(kafka.connection(), "audit").unwrap();
    let records: i64 = (0..2)
        .map(|partition| {
            let record =
                Record { payload: Some(b"x"), partition: Some(partition), ..Record::default() };
            producer.deliver(&record).unwrap().blocking_recv().unwrap().unwrap().1
        })
        .sum();
    // Some records are lists of events.
    assert!((380..=400).contains(&records), "{records} records");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = tripline(directory.path());
    command.args(["generate", "--for", "24h"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with('{'));
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn events_that_are_fewer_than_were_asked_for_are_no_success() {
    let directory = tempfile::tempdir().unwrap();
    for (line, ends) in [("--live --rate 50", 0), ("--live --rate 50 --for 1h", 130)] {
        let mut command = tripline(directory.path());
        command.arg("generate").args(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with('{'));
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        assert!(lines.all(|line| line.unwrap().ends_with('}')), "whole events to the end");
        assert_eq!(child.wait().unwrap().code(), Some(ends), "{line}");
    }
}

#[test]
fn a_wrong_story_names_the_right_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, err) = run(directory.path(), "generate --count 1 --stories nothing");
    assert_eq!(code, 2);
    assert!(err.contains("there is no story `nothing`"), "{err}");
    let (_, help, _) = run(directory.path(), "generate --help");
    assert!(help.contains("night-exec"), "{help}");
}

#[test]
fn schemas_are_printed_and_what_has_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for what in ["rules", "tests", "identities", "framework", "alert", "config"] {
        let (code, out, err) = run(directory.path(), &format!("schema {what}"));
        assert_eq!((code, err.as_str()), (0, ""), "{what}");
        let schema: Value = serde_json::from_str(&out).unwrap();
        assert!(schema["$schema"].as_str().unwrap().contains("2020-12"), "{what}");
        assert!(schema["properties"].is_object(), "{what}");
    }
    let shipped = fs::read_to_string("deploy/alert.schema.json").unwrap();
    assert_eq!(run(directory.path(), "schema alert").1, shipped);
    let (code, _, err) = run(directory.path(), "schema rule");
    assert!(
        code == 2 && err.contains("rules, tests, identities, framework, alert, api, config"),
        "{err}"
    );
}

#[test]
fn the_demo_catches_every_attack() {
    let directory = tempfile::tempdir().unwrap();
    let line = "demo --for 60s --fast --rate 40 --listen 127.0.0.1:0";
    let (code, out, err) = run(directory.path(), line);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(out.contains("exec_outside_business_hours"), "{out}");
    assert!(out.contains("17 of 17 attacks caught"), "{out}");
    assert!(out.contains("no false alarms"), "{out}");
    assert!(!out.contains("never came out"), "{out}");
    assert!(err.contains("Console: http://127.0.0.1:"), "{err}");
}
