//! Evidence of an alert whose events are in Kafka, and the ledger as a topic.

use std::{collections::BTreeSet, process::Output};

use rdkafka::Offset;
use serde_json::Value;

use crate::{
    harness::{Service, available, eventually, hook::Hook, kafka::Kafka, tripline::Tripline},
    rules::{READS_COUNTED, read, source, to_hook, users},
};

/// A rule that records, so that the ledger has accesses.
const RECORD: (&str, &str) = (
    "record.yaml",
    "title: Reads\nname: reads\nlogsource: {product: kubernetes, service: audit}\n\
     detection: {read: {objectRef.resource: secrets}, condition: read}\n\
     tripline: {record: secret_read}\n",
);

fn text(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn events_are_fetched_again_by_position_and_past_retention_is_said() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("evidence", 1);
    let config = source(kafka, "evidence") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[READS_COUNTED, RECORD]);
    tripline.start_ready();
    let producer = kafka.producer();
    for number in 0..5 {
        producer.send("evidence", read("eve", &format!("s{number}")));
        producer.send("evidence", read("bob", &format!("s{number}")));
    }
    let alerts = eventually("both are told of", || {
        let alerts = hook.alerts("/alerts");
        (users(&alerts, "five_reads").len() >= 2).then_some(alerts)
    });
    let of_eve = alerts.iter().find(|alert| {
        alert["labels"]["alertname"] == "five_reads" && alert["key"]["user.username"] == "eve"
    });
    let of_eve = of_eve.unwrap();
    let shown = &of_eve["evidence"][0];
    assert_eq!(shown["position"]["topic"], "evidence", "{shown:#}");
    assert_eq!(shown["event_hash"].as_str().map(str::len), Some(64), "{shown:#}");
    let fingerprint = of_eve["fingerprint"].as_str().unwrap().to_owned();
    let make = |tripline: &Tripline| {
        let args = [fingerprint.as_str(), "--output", "case.tar.zst"];
        let output = tripline.command("evidence").args(args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    // While it runs, and from the broker alone: the five that counted, none of bob's.
    let said = eventually("its rows are in the ledger", || {
        let said = make(&tripline);
        said.contains("byte for byte").then_some(said)
    });
    assert!(said.contains("5 events, 1 of them shown by the alert, 5 byte for byte"), "{said}");
    for verb in ["verify", "replay"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tripline"));
        command.current_dir(tripline.path()).args(["evidence", verb, "case.tar.zst"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{verb}: {}", text(&output));
    }
    kafka.delete_records("evidence", Offset::End);
    let said = make(&tripline);
    assert!(said.contains("0 byte for byte"), "{said}");
    tripline.stop();
}

#[test]
fn each_row_of_the_ledger_is_a_record_through_every_kill() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("recorded", 2);
    kafka.create_topic("ledger-rows", 2);
    let hook = Hook::started();
    let config = source(kafka, "recorded") + &to_hook(&hook) + "ledger: {topic: ledger-rows}\n";
    let mut tripline = Tripline::new(&config, &[READS_COUNTED, RECORD]);
    let producer = kafka.producer();
    for round in 0..3 {
        tripline.start_ready();
        for number in 0..40 {
            producer.send("recorded", read(&format!("user-{round}"), &format!("s{number}")));
        }
        eventually("rows are copied", || {
            let copied = tripline.metric("tripline_ledger_topic_row", &[])?;
            (copied >= f64::from(40 * (round + 1))).then_some(())
        });
        tripline.kill();
    }
    tripline.start_ready();
    tripline.stop();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tripline"));
    command.current_dir(tripline.path()).args(["ledger", "export"]);
    let export = text(&command.output().unwrap());
    let lines: BTreeSet<&str> = export.lines().collect();
    let records = kafka.read("ledger-rows");
    let copied: BTreeSet<String> =
        records.into_iter().flatten().map(|line| String::from_utf8(line).unwrap()).collect();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap();
    let missing: Vec<u64> =
        lines.iter().filter(|line| !copied.contains(**line)).map(|line| id(line)).collect();
    assert!(missing.is_empty(), "rows {missing:?} are not in the topic");
    assert!(copied.iter().all(|line| lines.contains(line.as_str())), "what is copied is a row");
}
