//! The end of an alert: told to everybody who was told of its beginning.

use crate::{
    harness::{
        Service, alertmanager::Alertmanager, available, eventually, hook::Hook, kafka::Kafka,
        tripline::Tripline,
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
