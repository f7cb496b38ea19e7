//! Records that are no audit events: each is kept with its reason and position, and the next record
//! is processed.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    harness::{
        Service, audit, available, eventually, hook::Hook, kafka::Kafka, tripline::Tripline,
    },
    rules::{SECRET_READ, read, source, to_hook, users},
};

/// Each bad record with the reason that it is kept with; a tombstone has no payload.
fn bad_records() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let good = audit::event("user-bad", "get", "secrets", "payments", "bad");
    let without = |key: &str| {
        let mut event = good.clone();
        event.as_object_mut().unwrap().remove(key);
        Some(event.to_string().into_bytes())
    };
    let with = |key: &str, value: Value| {
        let mut event = good.clone();
        event[key] = value;
        Some(event.to_string().into_bytes())
    };
    let text = good.to_string();
    let nested = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep = text.replacen("\"level\"", &format!("\"extra\":{nested},\"level\""), 1);
    let mut not_utf8 = text.clone().into_bytes();
    let at = text.find("user-bad").unwrap();
    not_utf8[at] = 0xff;
    vec![
        ("empty", Some(Vec::new())),
        ("invalid_utf8", Some(not_utf8)),
        ("no_audit_id", without("auditID")),
        ("no_verb", without("verb")),
        ("not_an_event", Some(br#"{"hello": "world"}"#.to_vec())),
        ("not_json", Some(b"hello".to_vec())),
        ("tombstone", None),
        ("too_deep", Some(deep.into_bytes())),
        ("too_large", with("requestObject", json!({"data": "x".repeat(17 << 20)}))),
        ("truncated", Some(text.as_bytes()[..text.len() / 2].to_vec())),
        ("other_format", Some(b"\x28\xb5\x2f\xfd compressed".to_vec())),
    ]
}

#[test]
fn bad_records_are_kept_with_reason_and_position_and_the_next_one_is_processed() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("bad", 1);
    let producer = kafka.producer();
    let mut tripline = Tripline::new(&(source(kafka, "bad") + &to_hook(&hook)), &[SECRET_READ]);
    tripline.start_ready();
    let mut expected = Vec::new();
    for (reason, payload) in bad_records() {
        let offset = producer.send_to("bad", Some(0), payload.as_deref());
        expected.push((offset, reason.to_owned()));
        let next = read(&format!("user-{offset}"), "next");
        producer.send_to("bad", Some(0), Some(next.as_bytes()));
        eventually(&format!("the record after {reason} is processed"), || {
            users(&hook.alerts("/alerts"), "secret_read")
                .contains(&format!("user-{offset}"))
                .then_some(())
        });
    }
    // No real event has 10 MiB: somebody should look at it, but it must not hide from the rules.
    let mut large = audit::event("user-large", "get", "secrets", "payments", "large");
    large["requestObject"] = json!({"data": "x".repeat(10 << 20)});
    let offset = producer.send_to("bad", Some(0), Some(large.to_string().as_bytes()));
    expected.push((offset, "too_large".to_owned()));
    eventually("an event of 10 MiB is seen by the rules", || {
        users(&hook.alerts("/alerts"), "secret_read")
            .contains(&"user-large".to_owned())
            .then_some(())
    });

    let kept = dead_letters(&tripline.path().join("state/dead-letters"));
    assert_eq!(kept, expected);
    for (_, reason) in &expected {
        let label = format!("reason=\"{reason}\"");
        let counted = tripline.metric("tripline_decode_failures_total", &[&label]);
        let kept = expected.iter().filter(|(_, other)| other == reason).count();
        assert_eq!(counted, Some(f64::from(u32::try_from(kept).unwrap())), "{reason}");
    }
    tripline.stop();
}

#[test]
fn alerts_and_dead_letters_can_go_to_kafka() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let kafka = Kafka::shared();
    for topic in ["topics", "topics-alerts", "topics-dead"] {
        kafka.create_topic(topic, 1);
    }
    let config = format!(
        "{}dead_letter: {{topic: topics-dead}}
receivers: [{{name: kafka, kafka: {{brokers: ['{}'], topic: topics-alerts}}}}]
route: {{receiver: kafka, group_wait: 0s}}
",
        source(kafka, "topics"),
        kafka.brokers(),
    );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    let producer = kafka.producer();
    producer.send("topics", "hello");
    producer.send("topics", read("user-a", "s"));
    let alert = eventually("the alert is in its topic", || kafka.read("topics-alerts").pop());
    let alert: Value = serde_json::from_slice(&alert.unwrap()).unwrap();
    assert_eq!(alert["labels"]["alertname"], "secret_read", "{alert}");
    let dead = eventually("the dead letter is in its topic", || kafka.read("topics-dead").pop());
    assert_eq!(dead.unwrap(), b"hello", "the payload, as it came");
    tripline.stop();
}

/// Offset and reason of each dead letter in a directory.
fn dead_letters(directory: &Path) -> Vec<(i64, String)> {
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let letters = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    letters
        .map(|letter| {
            assert_eq!((&letter["topic"], &letter["partition"]), (&json!("bad"), &json!(0)));
            (letter["offset"].as_i64().unwrap(), letter["reason"].as_str().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn a_dead_letter_is_sent_again_from_its_topic() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("replayed", 1);
    let event = read("user-a", "s");
    kafka.producer().send("replayed", &event);
    let tripline = Tripline::new(&(source(kafka, "replayed") + &to_hook(&hook)), &[SECRET_READ]);
    // As one that an earlier version could not decode.
    let letter = json!({
        "time": "2026-01-05T22:14:01.000000Z", "topic": "replayed", "partition": 0, "offset": 0,
        "reason": "not_an_event", "detail": "", "payload": event,
    });
    fs::create_dir_all(tripline.path().join("state/dead-letters")).unwrap();
    tripline.write("state/dead-letters/dead-letter-000001.jsonl", &format!("{letter}\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
    command.args(["dead-letters", "replay", "--config", "tripline.yaml", "--format", "json"]);
    command.current_dir(tripline.path()).env_remove("TRIPLINE_E2E");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("\"from\": \"topic\""), "{said}");
    assert_eq!(kafka.records("replayed"), 2);
    assert_eq!(kafka.read("replayed")[1].as_deref(), Some(event.as_bytes()));
}
