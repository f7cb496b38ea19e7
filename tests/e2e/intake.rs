//! What comes out of Kafka: every compression, topics by pattern, lists, and the stages of a request.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{
        Service, audit, available, eventually, hook::Hook, kafka::Kafka, never, tripline::Tripline,
    },
    rules::{SECRET_READ, is_told, read, source, to_hook, users},
};

#[test]
fn every_compression_is_read() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    let padding = "x".repeat(5_000);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        kafka.create_topic(&topic, 1);
        let mut event = audit::event(codec, "get", "secrets", "payments", "s");
        event["requestObject"] = json!({"data": padding});
        kafka.compressing_producer(codec).send(&topic, event.to_string());
        let is_plain = memchr::memmem::find(&kafka.segment(&topic), padding.as_bytes()).is_some();
        assert_eq!(is_plain, codec == "none", "{codec}: it is not stored as the test means it");
    }
    let config = source(kafka, "'^codec-.*'") + &to_hook(&hook);
    let mut tripline =
        Tripline::new(&config.replace("group: '^codec-.*'", "group: codecs"), &[SECRET_READ]);
    tripline.start_ready();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        eventually(&format!("the record with {codec} is read"), || {
            is_told(&hook, "secret_read", codec)
        });
    }
    tripline.stop();
}

#[test]
fn a_pattern_reads_topics_that_are_there_and_those_that_appear() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    let config = source(kafka, "'^pattern-[0-9]+$', 'pattern-by-name'") + &to_hook(&hook);
    let config =
        config.replacen("group: '^pattern-[0-9]+$', 'pattern-by-name'", "group: pattern", 1);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start();
    let (_, reason) = eventually("/readyz says what is missing", || {
        tripline.readiness().filter(|(status, text)| *status == 503 && text.contains("pattern"))
    });
    assert!(reason.contains("as soon as it exists"), "{reason}");
    let producer = kafka.producer();
    for topic in ["pattern-1", "pattern-x", "pattern-by-name"] {
        kafka.create_topic(topic, 1);
        producer.send(topic, read(topic, "s"));
    }
    let told = || users(&hook.alerts("/alerts"), "secret_read");
    let is_told = |topic: &str| is_told(&hook, "secret_read", topic);
    eventually("the topic that matches is read", || is_told("pattern-1"));
    eventually("so is the one with the name", || is_told("pattern-by-name"));
    tripline.wait_ready();

    // Its first record is there before it is noticed.
    kafka.create_topic("pattern-2", 1);
    producer.send("pattern-2", read("pattern-2", "s"));
    eventually("a topic that appears is read from its beginning", || is_told("pattern-2"));
    assert!(is_told("pattern-x").is_none(), "it does not match: {:?}", told());
    tripline.stop();
}

#[test]
fn latest_passes_over_what_was_there_at_the_first_look_and_nothing_else() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    let config = source(kafka, "'^newest-[0-9]+$', 'newest-by-name'") + &to_hook(&hook);
    let group = "group: '^newest-[0-9]+$', 'newest-by-name'";
    let config = config.replacen(group, "group: newest, start: latest", 1);
    let producer = kafka.producer();
    kafka.create_topic("newest-1", 1);
    producer.send("newest-1", read("before", "s"));
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    // It is not ready before the topic with the name is there.
    tripline.start();
    eventually("the topic that is there is read", || {
        tripline.log().contains("newest-1/0").then_some(())
    });
    let told = || users(&hook.alerts("/alerts"), "secret_read");
    let is_told = |user: &str| is_told(&hook, "secret_read", user);
    producer.send("newest-1", read("after", "s"));
    eventually("what comes after the first look is read", || is_told("after"));
    for topic in ["newest-2", "newest-by-name"] {
        kafka.create_topic(topic, 1);
        producer.send(topic, read(topic, "s"));
        eventually("a topic that appears is read from its beginning", || is_told(topic));
    }
    assert!(is_told("before").is_none(), "{:?}", told());
    tripline.stop();
}

#[test]
fn a_record_may_hold_a_list_and_a_bad_item_spoils_no_other() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("list", 1);
    let item = |user: &str| audit::event(user, "get", "secrets", "payments", "s");
    let list = json!({
        "kind": "EventList",
        "apiVersion": "audit.k8s.io/v1",
        "metadata": {},
        "items": [item("user-a"), {"hello": "world"}, item("user-b"), item("user-c")],
    });
    kafka.producer().send("list", list.to_string());
    assert_eq!(kafka.records("list"), 1);
    let mut tripline = Tripline::new(&(source(kafka, "list") + &to_hook(&hook)), &[SECRET_READ]);
    tripline.start_ready();
    eventually("every event of the list is judged", || {
        let mut told = users(&hook.alerts("/alerts"), "secret_read");
        told.sort();
        (told == ["user-a", "user-b", "user-c"]).then_some(())
    });
    let bad = tripline.metric("tripline_decode_failures_total", &["reason=\"not_an_event\""]);
    assert_eq!(bad, Some(1.0));
    tripline.stop();
}

/// Long-running requests and failed logins at once, and again if the same user does it twice.
const STAGES: (&str, &str) = (
    "stages.yaml",
    "title: Exec
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a11
name: exec
logsource: {product: kubernetes, service: audit}
detection:
  exec: {objectRef.subresource: exec}
  condition: exec
level: medium
tripline: {group-by: [user.username]}
---
title: Secrets watched
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a12
name: watch
logsource: {product: kubernetes, service: audit}
detection:
  watch: {verb: watch, objectRef.resource: secrets}
  condition: watch
level: medium
tripline: {group-by: [user.username]}
---
title: Login failed
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a13
name: login_failed
logsource: {product: kubernetes, service: audit}
detection:
  failed: {responseStatus.code: 401}
  condition: failed
level: medium
---
title: Done
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a14
name: done
logsource: {product: kubernetes, service: audit}
detection:
  done: {verb: delete}
  condition: done
level: medium
tripline: {group-by: [user.username]}
---
title: Any of it twice
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a15
name: twice
correlation:
  type: event_count
  rules: [exec, watch, done]
  group-by: [user.username]
  timespan: 1h
  condition: {gte: 2}
  generate: true
level: high
",
);

/// One stage of a request; `stages_of` the same request share everything else.
fn stage(event: &Value, stage: &str, code: u16) -> String {
    let mut event = event.clone();
    event["stage"] = json!(stage);
    if stage == "RequestReceived" {
        event.as_object_mut().unwrap().remove("responseStatus");
    } else {
        event["responseStatus"]["code"] = json!(code);
    }
    event.to_string()
}

#[test]
fn every_stage_alerts_as_early_as_it_can_and_no_request_counts_twice() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("stages", 1);
    let producer = kafka.producer();
    let mut tripline = Tripline::new(&(source(kafka, "stages") + &to_hook(&hook)), &[STAGES]);
    tripline.start_ready();
    let told = |rule: &str| users(&hook.alerts("/alerts"), rule);
    let exec = |user: &str| {
        let mut event = audit::event(user, "create", "pods", "payments", "web");
        event["objectRef"]["subresource"] = json!("exec");
        event["requestURI"] = json!("/api/v1/namespaces/payments/pods/web/exec?command=sh");
        event
    };

    let first = exec("user-exec");
    for name in ["RequestReceived", "ResponseStarted"] {
        producer.send("stages", stage(&first, name, 101));
    }
    eventually("an exec alerts while its session is open", || told("exec").pop());
    let watch = audit::event("user-watch", "watch", "secrets", "payments", "");
    producer.send("stages", stage(&watch, "ResponseStarted", 200));
    eventually("a watch alerts while it is open", || told("watch").pop());
    let mut login = audit::event("", "get", "secrets", "payments", "s");
    login["user"] = json!({});
    producer.send("stages", stage(&login, "ResponseStarted", 401));
    eventually("a failed login alerts, which has no other stage", || {
        let alerts = hook.alerts("/alerts");
        alerts.iter().any(|alert| alert["labels"]["alertname"] == "login_failed").then_some(())
    });
    let delete = audit::event("user-delete", "delete", "pods", "payments", "web");
    for name in ["RequestReceived", "ResponseComplete"] {
        producer.send("stages", stage(&delete, name, 200));
    }
    eventually("an ordinary request alerts when it is done", || told("done").pop());

    // The sessions end, and a shipper sends everything again.
    for _ in 0..2 {
        producer.send("stages", stage(&first, "ResponseComplete", 101));
        producer.send("stages", stage(&watch, "ResponseComplete", 200));
        producer.send("stages", stage(&delete, "ResponseComplete", 200));
    }
    // This record shows that those before it have been judged.
    producer.send("stages", stage(&exec("user-last"), "ResponseStarted", 101));
    eventually("the last record is judged", || {
        told("exec").contains(&"user-last".to_owned()).then_some(())
    });
    never("a request counts twice", Duration::from_secs(1), || told("twice").pop());
    producer.send("stages", stage(&exec("user-exec"), "ResponseStarted", 101));
    eventually("a second exec does count", || told("twice").pop());
    tripline.stop();
}
