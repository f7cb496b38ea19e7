//! The end of an alert: told to everybody who was told of its beginning.

use std::time::{Duration, SystemTime};

use crate::{
    harness::{
        Service, alertmanager::Alertmanager, audit, available, eventually, hook::Hook,
        kafka::Kafka, tripline::Tripline,
    },
    rules::{SECRET_READ, read, source},
};

#[test]
fn an_alert_that_resolves_is_told_to_those_who_know_of_it() {
    if !available(&[Service::Kafka, Service::Alertmanager]) {
        return;
    }
    let (kafka, hook, alertmanager) = (Kafka::shared(), Hook::started(), Alertmanager::started());
    kafka.create_topic("resolved", 1);
    let config = format!(
        "{}engine: {{grace: 1s, idle_after: 1s, resolve_after: 3s}}
receivers:
  - {{name: alertmanager, alertmanager: {{urls: ['{alertmanager}'], resend_interval: 1s}}}}
  - {{name: webhook, webhook: {{url: '{webhook}'}}}}
route:
  receiver: webhook
  group_wait: 0s
  group_interval: 1s
  routes:
    - {{receiver: alertmanager, continue: true}}
    - {{receiver: webhook}}
",
        source(kafka, "resolved"),
        alertmanager = alertmanager.url(),
        webhook = hook.url("/alerts"),
    );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    kafka.producer().send("resolved", read("user-a", "s"));
    eventually("Alertmanager's API shows it", || alertmanager.alerts().pop());
    eventually("Alertmanager's API no longer shows it", || {
        alertmanager.alerts().is_empty().then_some(())
    });
    let states = eventually("the webhook is told of its beginning and its end", || {
        let alerts = hook.alerts("/alerts");
        let states: Vec<String> =
            alerts.iter().map(|alert| alert["state"].as_str().unwrap().to_owned()).collect();
        states.contains(&"resolved".to_owned()).then_some(states)
    });
    assert_eq!(states.first().map(String::as_str), Some("firing"));
    assert_eq!(states.last().map(String::as_str), Some("resolved"));
    tripline.stop();
}

#[test]
fn an_alert_of_a_clock_that_runs_ahead_reaches_alertmanager() {
    if !available(&[Service::Kafka, Service::Alertmanager]) {
        return;
    }
    let (kafka, alertmanager) = (Kafka::shared(), Alertmanager::started());
    kafka.create_topic("ahead", 1);
    let config = format!(
        "{}receivers:
  - {{name: pager, alertmanager: {{urls: ['{}'], resend_interval: 1m}}}}
route: {{receiver: pager}}
",
        source(kafka, "ahead"),
        alertmanager.url(),
    );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    let mut event = audit::event("user-a", "get", "secrets", "payments", "s");
    let ahead = jiff::Timestamp::try_from(SystemTime::now() + Duration::from_secs(3_600)).unwrap();
    event["stageTimestamp"] = format!("{ahead:.6}").into();
    kafka.producer().send("ahead", event.to_string());
    let alert = eventually("Alertmanager takes it", || alertmanager.alerts().pop());
    let time = |name: &str| alert[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time("startsAt") < ahead, "{alert}");
    // Four times the interval in which it is sent again: two lost requests do not end it.
    let life = time("endsAt").duration_since(time("updatedAt")).as_secs();
    assert!((180..=240).contains(&life), "{life} s: {alert}");
    tripline.stop();
}
