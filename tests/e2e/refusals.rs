//! Receivers that say no: what they did not take stays owed, and somebody hears of it.

use std::{fs, time::Duration};

use axum::http::StatusCode;
use serde_json::Value;

use crate::{
    harness::{
        Service,
        alertmanager::Alertmanager,
        available, eventually,
        hook::{self, Hook},
        kafka::Kafka,
        never, project_file,
        smtp::{self, Mail, Smtp},
        tripline::Tripline,
    },
    rules::{SECRET_READ, read, source},
};

/// The words `firing` and `resolved` of alerts for a user, in order.
fn states(alerts: &[Value], user: &str) -> Vec<String> {
    let of_user = alerts.iter().filter(|alert| alert["key"]["user.username"] == user);
    of_user.map(|alert| alert["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_refusal_is_not_a_delivery_and_others_hear_of_it() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, refusing, healthy) = (Kafka::shared(), Hook::started(), Hook::started());
    kafka.create_topic("refused", 1);
    let config = format!(
        "{}engine: {{grace: 1s, idle_after: 1s, resolve_after: 4s}}
receivers:
  - {{name: refusing, failing_after: 3s, webhook: {{url: '{}'}}}}
  - {{name: healthy, webhook: {{url: '{}'}}}}
route: {{receiver: refusing, group_by: ['...'], group_wait: 0s, group_interval: 1s}}
",
        source(kafka, "refused"),
        refusing.url("/alerts"),
        healthy.url("/alerts"),
    );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    refusing.refuse_with(Some((StatusCode::NOT_FOUND, "")));
    kafka.producer().send("refused", read("user-a", "s"));

    // Long after it ended nobody was told of it but of the receiver.
    let told = eventually("the healthy receiver hears of the other one", || {
        healthy.alerts("/alerts").into_iter().find(|alert| {
            alert["labels"]["alertname"] == "TriplineReceiverFailing" && alert["state"] == "firing"
        })
    });
    assert_eq!(told["labels"]["receiver"], "refusing");
    assert!(told["annotations"]["description"].as_str().unwrap().contains("HTTP 404"), "{told}");
    assert_eq!(tripline.metric("tripline_receiver_failing", &["receiver=\"refusing\""]), Some(1.0));
    let (status, readiness) = tripline.readiness().unwrap();
    let line = readiness.lines().find(|line| line.contains("receiver refusing")).unwrap();
    assert!(status == 200 && line.contains("degraded") && line.contains("404"), "{readiness}");

    // What is owed survives a crash, and a start tries it at once.
    tripline.kill();
    refusing.refuse_with(None);
    tripline.start_ready();
    eventually("it is told that it fired, and then that it ended", || {
        (states(&refusing.alerts("/alerts"), "user-a") == ["firing", "resolved"]).then_some(())
    });
    eventually("and the other that all is well again", || {
        let alerts = healthy.alerts("/alerts");
        let about = |alert: &&Value| alert["labels"]["receiver"] == "refusing";
        let last = alerts.iter().rfind(about);
        last.is_some_and(|alert| alert["state"] == "resolved").then_some(())
    });
    tripline.stop();
}

#[test]
fn a_token_that_was_rotated_needs_no_restart() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("rotated", 1);
    let config = format!(
        "{}reload: {{interval: 1s}}
receivers:
  - name: slack
    slack: {{bot_token_file: ./bot-token, channel: C012345, api_url: '{}'}}
route: {{receiver: slack, group_wait: 0s, group_interval: 1h}}
",
        source(kafka, "rotated"),
        hook.url("/api"),
    );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.write("bot-token", "xoxb-of-yesterday");
    tripline.start_ready();
    kafka.producer().send("rotated", read("user-a", "s"));
    eventually("Slack refuses the token", || {
        let labels = ["outcome=\"rejected\"", "reason=\"auth_error\""];
        tripline.metric("tripline_delivery_attempts_total", &labels).filter(|count| *count > 0.0)
    });
    // Long before the pause of an hour is over.
    tripline.write("bot-token", hook::SLACK_TOKEN);
    eventually("the message is posted", || hook.requests("/api/chat.postMessage").pop());
    tripline.stop();
}

#[test]
fn who_has_a_mail_gets_no_second_one_after_a_crash() {
    if !available(&[Service::Kafka, Service::Smtp]) {
        return;
    }
    let (kafka, smtp) = (Kafka::shared(), Smtp::started());
    kafka.create_topic("partly", 1);
    let config = format!(
        "{source}receivers:
  - name: mail
    email:
      to: [oncall@example.org, {refused}, {deferred}]
      from: tripline@example.org
      smarthost: localhost:{port}
      ca_file: {ca}
      username: {user}
      password_file: ./password
route: {{receiver: mail, group_wait: 0s, group_interval: 1s}}
",
        source = source(kafka, "partly"),
        refused = smtp::REFUSED,
        deferred = smtp::DEFERRED,
        port = smtp.starttls_port,
        ca = smtp.ca().display(),
        user = smtp::USER,
    );
    smtp.hold_deferred(true);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.write("password", smtp::PASSWORD);
    tripline.start_ready();
    kafka.producer().send("partly", read("user-a", "s"));
    let of = |recipient: &str| -> Vec<Mail> {
        smtp.mails().into_iter().filter(|mail| mail.recipients == [recipient]).collect()
    };
    let attempts = |tripline: &Tripline, recipient: &str, outcome: &str| {
        let labels = [format!("recipient=\"{recipient}\""), format!("outcome=\"{outcome}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        tripline.metric("tripline_delivery_attempts_total", &labels).filter(|count| *count > 0.0)
    };
    eventually("each recipient has an outcome of his own", || {
        attempts(&tripline, "oncall@example.org", "delivered")?;
        attempts(&tripline, smtp::REFUSED, "rejected")?;
        attempts(&tripline, smtp::DEFERRED, "retry")
    });
    let log = tripline.log();
    for words in ["5.1.1 no such mailbox", "4.7.1 greylisted", "2.0.0 kept"] {
        assert!(log.contains(words), "{words} is not in the log:\n{log}");
    }
    eventually(
        "an attempt later than the mail, so that what became of the mail is durable",
        || attempts(&tripline, smtp::REFUSED, "rejected").filter(|count| *count > 1.0),
    );
    tripline.kill();
    smtp.hold_deferred(false);
    tripline.start_ready();
    eventually("the last recipient has it", || of(smtp::DEFERRED).pop());
    assert_eq!(of("oncall@example.org").len(), 1, "told twice");
    assert_eq!(of(smtp::REFUSED).len(), 0);
    tripline.stop();
}

/// Reads of secrets: one is of low severity, three are critical.
const READS_RISE: (&str, &str) = (
    "reads_rise.yaml",
    "title: Secret read
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a05
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets, verb: get}
  condition: read
level: high
tripline:
  group-by: [user.username]
  levels: [{gte: 3, level: critical}]
  annotations: {runbook-url: 'https://example.org', team.owner: security, 1st: x}
",
);

#[test]
fn an_alert_that_becomes_graver_is_one_alert_to_alertmanager() {
    if !available(&[Service::Kafka, Service::Alertmanager]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    let shipped = fs::read_to_string(project_file("deploy/alertmanager/alertmanager.yml")).unwrap();
    let (_, inhibit) = shipped.split_once("inhibit_rules:").unwrap();
    let alertmanager = Alertmanager::configured(&format!(
        "route: {{receiver: people, group_by: [alertname, severity], group_wait: 1s, \
         group_interval: 1s}}\n\
         receivers: [{{name: people, webhook_configs: [{{url: '{}', send_resolved: true}}]}}]\n\
         inhibit_rules:{inhibit}",
        hook.url("/people"),
    ));
    kafka.create_topic("graver", 1);
    let config = format!(
        "{}receivers: [{{name: pager, alertmanager: {{urls: ['{}'], resend_interval: 1s}}}}]
route: {{receiver: pager}}
",
        source(kafka, "graver"),
        alertmanager.url(),
    );
    let mut tripline = Tripline::new(&config, &[READS_RISE]);
    tripline.start_ready();
    let producer = kafka.producer();
    producer.send("graver", read("user-a", "s1"));
    let severity = |alert: &Value| alert["labels"]["severity"].as_str().unwrap().to_owned();
    let alert = eventually("it fires", || alertmanager.alerts().pop());
    assert_eq!(severity(&alert), "high");
    assert_eq!(alert["annotations"]["runbook_url"], "https://example.org", "{alert}");
    eventually("people are told", || hook.requests("/people").pop());
    producer.send("graver", read("user-a", "s2"));
    producer.send("graver", read("user-a", "s3"));
    eventually("it fires under its new labels only", || {
        let fires: Vec<String> = alertmanager.alerts().iter().map(severity).collect();
        (fires == ["critical"]).then_some(())
    });
    never("people are told that what burns on has resolved", Duration::from_secs(5), || {
        hook.alerts("/people").into_iter().find(|alert| alert["status"] == "resolved")
    });
    tripline.stop();
}
