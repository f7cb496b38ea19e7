//! `tripline backtest` through the real binary: the same history gives the same alerts, whether it
//! lies in one file, in a file for each API server, or in a topic with several partitions.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use tripline::{
    engine::time::EventTime,
    kafka::{EmbeddedKafka, Producer, Record},
};

fn tripline(directory: &Path, line: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .current_dir(directory)
        .args(line.split_whitespace())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const RULES: &str = "\
title: Secret read
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets, verb: [get, list]}
  condition: read
level: high
---
title: Many secrets read
name: secret_burst
correlation:
  type: event_count
  rules: [secret_read]
  group-by: [user.username]
  timespan: 5m
  condition: {gte: 5}
level: high
";

fn config(brokers: &str) -> String {
    format!(
        "sources:
  - kafka: {{brokers: [{brokers}], topics: [audit], group: tripline}}
rules: ./rules
state: ./state
receivers:
  - name: out
    stdout: {{}}
route: {{receiver: out}}
"
    )
}

/// Alerts by rule and key.
fn alerts(directory: &Path, line: &str) -> Vec<(String, Value)> {
    let (code, out, err) = tripline(directory, line);
    assert_eq!(code, 0, "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    let rules = document["report"]["rules"].as_array().unwrap();
    rules
        .iter()
        .map(|rule| (rule["title"].as_str().unwrap().to_owned(), rule["top_keys"].clone()))
        .collect()
}

#[test]
fn a_history_in_pieces_gives_the_alerts_of_the_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("rules")).unwrap();
    fs::write(path.join("rules/secrets.yaml"), RULES).unwrap();
    let generate = "generate --for 20m --rate 10 --stories secret-burst -o events.jsonl";
    let (code, _, err) = tripline(path, generate);
    assert_eq!(code, 0, "{err}");

    let kafka = EmbeddedKafka::start().unwrap();
    kafka.create_topic("audit", 3).unwrap();
    fs::write(path.join("tripline.yaml"), config(&kafka.brokers()[0])).unwrap();
    let producer = Producer::new(kafka.connection(), "audit").unwrap();
    let events = fs::read_to_string(path.join("events.jsonl")).unwrap();
    let mut pieces = [String::new(), String::new(), String::new()];
    for (line, partition) in events.lines().zip((0..3).cycle()) {
        pieces[usize::try_from(partition).unwrap()].push_str(&format!("{line}\n"));
        let (payload, partition) = (Some(line.as_bytes()), Some(partition));
        // Partitions are merged by the times of records, which shippers set soon after the event.
        let (_, rest) = line.split_once("\"stageTimestamp\":\"").unwrap();
        let time = EventTime::parse(rest.split('"').next().unwrap());
        producer.produce(&Record { payload, partition, time, ..Record::default() }).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();

    let from_file = alerts(path, "backtest -q --format json events.jsonl");
    for (piece, number) in pieces.iter().zip(0..) {
        fs::write(path.join(format!("piece-{number}.jsonl")), piece).unwrap();
    }
    let from_pieces = alerts(path, "backtest -q --format json piece-*.jsonl");
    let from_kafka = alerts(path, "backtest -q --format json --kafka");
    assert!(!from_file.is_empty(), "the story must be seen");
    assert_eq!(from_pieces, from_file, "pieces");
    assert_eq!(from_kafka, from_file, "topic");
}

#[test]
fn what_cannot_be_read_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("rules")).unwrap();
    fs::write(path.join("rules/secrets.yaml"), RULES).unwrap();
    let kafka = EmbeddedKafka::start().unwrap();
    fs::write(path.join("tripline.yaml"), config(&kafka.brokers()[0])).unwrap();
    let (code, _, err) = tripline(path, "backtest -q --kafka");
    assert_eq!(code, 1);
    assert!(err.contains("there is no Kafka topic audit"), "{err}");
    let (code, _, err) = tripline(path, "backtest -q --kafka --from yesterday");
    assert_eq!(code, 2);
    assert!(err.contains("2026-01-05T09:00:00Z"), "{err}");
    let (code, _, err) = tripline(path, "backtest -q --kafka --from 1h --until 2h");
    assert_eq!(code, 2);
    assert!(err.contains("--from is not before --until"), "{err}");
}

#[test]
fn an_event_that_claims_a_time_beyond_all_around_it_moves_no_time_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("rules")).unwrap();
    fs::write(path.join("rules/secrets.yaml"), RULES).unwrap();
    let event = |number: u32, time: &str| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-{number}","stage":"ResponseComplete","requestURI":"/","verb":"get","user":{{"username":"eve"}},"objectRef":{{"resource":"secrets","name":"s{number}"}},"responseStatus":{{"code":200}},"stageTimestamp":"{time}"}}
"#
        )
    };
    // The fourth claims to be of some months later, which is before now; five are within five minutes.
    let mut lines: Vec<String> =
        (0..6).map(|number| event(number, &format!("2026-01-05T10:00:0{number}Z"))).collect();
    lines[3] = event(3, "2026-04-05T10:00:03Z");
    fs::write(path.join("events.jsonl"), lines.concat()).unwrap();
    let (code, out, err) = tripline(path, "backtest -q --rules rules --format json events.jsonl");
    assert_eq!(code, 0, "{err}");
    let report = &serde_json::from_str::<Value>(&out).unwrap()["report"];
    assert_eq!(report["events_from_future"], 1, "{report}");
    let named = &report["from_future"][0];
    assert_eq!(named["claimed"], "2026-04-05T10:00:03.000000Z");
    assert_eq!(named["taken_as"], "2026-01-05T10:00:02.000000Z");
    assert!(named["place"].as_str().unwrap().contains("events.jsonl:4"), "{named}");
    assert!(report["to"].as_str().unwrap().starts_with("2026-01-05"), "{report}");
    let fired =
        |title: &str| report["rules"].as_array().unwrap().iter().any(|rule| rule["title"] == title);
    assert!(fired("Many secrets read"), "six within five minutes: {report}");
    let (_, text, _) = tripline(path, "backtest -q --rules rules events.jsonl");
    assert!(text.contains("claim a time that cannot be theirs"), "{text}");
}

const GHOST: &str = "\
title: Ghost
logsource: {product: kubernetes, service: audit}
detection:
  create: {verb: create}
  condition: create
tripline: {absence: {group-by: [user.username], timespan: 5m, expect: [ghost]}}
";

/// Events by seconds since ten o'clock, verb and user, as lines.
fn lines_of(events: impl IntoIterator<Item = (u32, &'static str, &'static str)>) -> String {
    let line = |(number, (seconds, verb, user)): (usize, (u32, &str, &str))| {
        let (hours, minutes, seconds) = (10 + seconds / 3600, seconds / 60 % 60, seconds % 60);
        let at = format!("2026-03-02T{hours:02}:{minutes:02}:{seconds:02}.000000Z");
        format!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\
             \"auditID\":\"{number}\",\"stage\":\"ResponseComplete\",\"requestURI\":\"/\",\
             \"verb\":\"{verb}\",\"user\":{{\"username\":\"{user}\"}},\
             \"requestReceivedTimestamp\":\"{at}\",\"stageTimestamp\":\"{at}\"}}\n"
        )
    };
    events.into_iter().enumerate().map(line).collect()
}

/// When alerts began.
fn beginnings(directory: &Path, line: &str) -> Vec<String> {
    let (code, out, err) = tripline(directory, line);
    assert_eq!(code, 0, "{err}");
    let begun = |line: &str| {
        let alert: Value = serde_json::from_str(line).unwrap();
        alert["starts_at"].as_str().unwrap().to_owned()
    };
    out.lines().map(begun).collect()
}

/// The same ten hours, of which a rule sees little or much: its batches are cut elsewhere.
#[test]
fn whoever_is_expected_is_waited_for_from_the_first_event_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir(path.join("rules")).unwrap();
    fs::write(path.join("rules/ghost.yaml"), GHOST).unwrap();
    for (name, other, every) in
        [("thin", "get", 3600), ("seen", "create", 3600), ("dense", "create", 7)]
    {
        let others = (0..=36_000).step_by(every).map(|at| (at, other, "alice"));
        let history = others.chain([(36_000, "create", "ghost"), (36_060, "create", "ghost")]);
        fs::write(path.join("silent.jsonl"), lines_of(history)).unwrap();
        for grace in ["0s", "1m", "10m"] {
            let line = format!("backtest -q --format jsonl --grace {grace} silent.jsonl");
            let begun = beginnings(path, &line);
            assert_eq!(begun, ["2026-03-02T10:05:00.000000Z"], "{name} {grace}");
        }
    }
    // Heard in time, of those before as of those after.
    for (other, grace) in [("get", "1m"), ("create", "1m"), ("create", "10m")] {
        let others = [(0, other, "alice"), (60, other, "bob")];
        let ghost = [(270, "create", "ghost"), (500, "create", "ghost")];
        fs::write(path.join("heard.jsonl"), lines_of(others.into_iter().chain(ghost))).unwrap();
        let line = format!("backtest -q --format jsonl --grace {grace} heard.jsonl");
        assert_eq!(beginnings(path, &line), [""; 0], "{other} {grace}");
    }
}
