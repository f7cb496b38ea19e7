//! Clocks that lie, and alerts that somebody ends by hand.

use std::time::Duration;

use serde_json::Value;

use crate::{
    harness::{
        Service, audit, available, eventually, get_json, hook::Hook, kafka::Kafka,
        tripline::Tripline,
    },
    rules::{SECRET_READ, is_told, read, source, to_hook, users},
};

/// Short spans, so that alerts end while somebody looks.
const QUICK: &str = "engine: {grace: 1s, idle_after: 1s, resolve_after: 3s, skew_max: 1m, checkpoint_interval: 100ms}\n";

/// What was said of a user's secret last.
fn last(hook: &Hook, user: &str) -> Option<Value> {
    let is_meant = |alert: &Value| alert["key"]["user.username"] == user;
    hook.alerts("/alerts").into_iter().rfind(is_meant)
}

#[test]
fn an_event_a_year_ahead_makes_an_alert_that_ends() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("clock-ahead", 1);
    let producer = kafka.producer();
    let config = source(kafka, "clock-ahead") + &to_hook(&hook) + QUICK;
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    let mut event: Value = serde_json::from_str(&read("user-a", "s")).unwrap();
    let claimed = "2999-01-01T00:00:00.000000Z";
    event["stageTimestamp"] = claimed.into();
    event["requestReceivedTimestamp"] = claimed.into();
    producer.send("clock-ahead", event.to_string());
    let alert = eventually("it is told", || last(&hook, "user-a"));
    assert_eq!(alert["annotations"]["claimed_time"], claimed, "{alert}");
    assert!(tripline.metric("tripline_events_from_future_total", &[]) >= Some(1.0));
    producer.send("clock-ahead", read("user-b", "s"));
    eventually("it ends as any other does", || {
        last(&hook, "user-a").filter(|alert| alert["state"] == "resolved")
    });
    tripline.stop();
}

#[test]
fn an_alert_is_ended_by_hand() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("by-hand", 1);
    let config = source(kafka, "by-hand") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    kafka.producer().send("by-hand", read("user-a", "s"));
    eventually("it is told", || users(&hook.alerts("/alerts"), "secret_read").pop());
    let shown = get_json(&tripline.url("/api/v1/alerts")).unwrap();
    let fingerprint = shown["alerts"][0]["fingerprint"].as_str().unwrap().to_owned();
    let resolve = |fingerprint: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tripline"));
        command.args(["alerts", "resolve", fingerprint, "--by", "ann", "--why", "our own test"]);
        command.args(["--url", &tripline.url("")]).output().unwrap()
    };
    assert_eq!(resolve(&fingerprint.replace(|_| true, "0")).status.code(), Some(1));
    assert_eq!(resolve("x").status.code(), Some(2));
    let output = resolve(&fingerprint);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = get_json(&tripline.url("/api/v1/alerts")).unwrap();
    assert_eq!(shown["total"], 0, "{shown}");
    // The answer came after it was durable.
    tripline.kill();
    tripline.start_ready();
    assert_eq!(get_json(&tripline.url("/api/v1/alerts")).unwrap()["total"], 0);
    let alert = eventually("people hear who ended it and why", || {
        last(&hook, "user-a").filter(|alert| alert["state"] == "resolved")
    });
    assert_eq!(alert["annotations"]["resolved_by"], "ann", "{alert}");
    assert_eq!(alert["annotations"]["resolved_because"], "our own test", "{alert}");
    tripline.stop();
}

#[test]
fn old_news_is_summed_up() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("old-news", 1);
    let producer = kafka.producer();
    let old = |user: &str| {
        let day = Duration::from_secs(86_400);
        let event = audit::event_at(user, "get", "secrets", "payments", "s", day);
        producer.send("old-news", event.to_string());
    };
    (0..5).for_each(|number| old(&format!("user-{number}")));
    producer.send("old-news", read("user-now", "s"));
    let config = source(kafka, "old-news") + &to_hook(&hook) + "engine: {max_alert_age: 1h}\n";
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    eventually("news are told", || is_told(&hook, "secret_read", "user-now"));
    let is_sum = |alert: &Value| alert["labels"]["alertname"] == "TriplineOldAlerts";
    eventually("the rest is summed up", || hook.alerts("/alerts").into_iter().find(is_sum));
    assert_eq!(users(&hook.alerts("/alerts"), "secret_read"), ["user-now"]);
    tripline.stop();
}
