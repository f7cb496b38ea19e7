//! From a record in Kafka to an alert on every kind of receiver.

use std::{
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::Value;

use crate::{
    harness::{
        Service,
        alertmanager::Alertmanager,
        available, eventually,
        hook::Hook,
        kafka::Kafka,
        project_file,
        prometheus::Prometheus,
        service_path,
        smtp::{self, Mail, Smtp},
        tripline::Tripline,
    },
    rules::{SECRET_READ, read, source, users},
};

/// Who reads, and what: values that must not be able to break out of any receiver's form.
const USER: &str = "user-<!channel>&\"eve\"";

/// One route that tells everybody.
fn everybody(hook: &Hook, alertmanager: &Alertmanager, smtp: &Smtp) -> String {
    let mail = |name: &str, port: u16, tls: &str| {
        format!(
            "  - name: {name}
    email:
      to: [oncall@example.org]
      from: 'Tripline <tripline@example.org>'
      smarthost: localhost:{port}
      tls: {tls}
      ca_file: {ca}
      username: {user}
      password_file: ./smtp-password
",
            ca = smtp.ca().display(),
            user = smtp::USER,
        )
    };
    format!(
        "receivers:
  - {{name: alertmanager, alertmanager: {{urls: ['{alertmanager}']}}}}
  - {{name: slack, slack: {{url: '{slack}'}}}}
  - {{name: webhook, webhook: {{url: '{webhook}'}}}}
  - {{name: stdout, stdout: {{}}}}
{starttls}{implicit}route:
  receiver: stdout
  group_wait: 0s
  group_interval: 1s
  routes:
    - {{receiver: alertmanager, continue: true}}
    - {{receiver: slack, continue: true}}
    - {{receiver: webhook, continue: true}}
    - {{receiver: mail, continue: true}}
    - {{receiver: mail-tls, continue: true}}
    - {{receiver: stdout}}
",
        alertmanager = alertmanager.url(),
        slack = hook.url("/slack"),
        webhook = hook.url("/alerts"),
        starttls = mail("mail", smtp.starttls_port, "starttls"),
        implicit = mail("mail-tls", smtp.tls_port, "implicit"),
    )
}

#[test]
fn an_alert_reaches_every_kind_of_receiver() {
    if !available(&[Service::Kafka, Service::Alertmanager, Service::Prometheus, Service::Smtp]) {
        return;
    }
    let kafka = Kafka::shared();
    let (hook, alertmanager, smtp) = (Hook::started(), Alertmanager::started(), Smtp::started());
    kafka.create_topic("delivery", 3);
    let config = source(kafka, "delivery") + &everybody(&hook, &alertmanager, &smtp);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.write("smtp-password", smtp::PASSWORD);
    let prometheus = Prometheus::scraping(&tripline.http_address());
    tripline.start_ready();
    kafka.producer().send("delivery", read(USER, "db-password"));

    let alert = eventually("Alertmanager's API shows it", || alertmanager.alerts().pop());
    check_alertmanager(&alert);
    let firing = "tripline_alerts_firing{rule=\"secret_read\",severity=\"high\"} == 1";
    eventually("Prometheus has scraped it", || prometheus.query(firing).pop());
    let page = "ALERTS{alertname=\"TriplineAlertsFiring\",severity=\"high\"}";
    eventually("the shipped alert rule sees it", || prometheus.query(page).pop());
    let unhealthy: Vec<_> =
        prometheus.rules().into_iter().filter(|(_, health)| health != "ok").collect();
    assert_eq!(unhealthy, [], "shipped alert rules that do not evaluate");

    let mails = eventually("both mails arrive", || {
        let mails = smtp.mails();
        (mails.len() >= 2).then_some(mails)
    });
    mails.iter().for_each(check_mail);
    let mut ways: Vec<&str> = mails.iter().map(|mail| mail.via.as_str()).collect();
    ways.sort_unstable();
    assert_eq!(ways, ["starttls", "tls"]);

    let slack = eventually("Slack gets it", || hook.requests("/slack").pop());
    assert_eq!(hook.violations(), Vec::<String>::new());
    assert!(slack.body["blocks"].to_string().contains("db-password"), "{slack:?}");

    let webhook = eventually("the webhook gets it", || hook.requests("/alerts").pop());
    assert!(webhook.headers.contains_key("idempotency-key"), "{webhook:?}");
    assert_eq!(users(&hook.alerts("/alerts"), "secret_read"), [USER]);
    tripline.stop();
}

fn check_alertmanager(alert: &Value) {
    let labels = &alert["labels"];
    assert_eq!(labels["alertname"], "secret_read");
    assert_eq!(labels["severity"], "high");
    assert_eq!(labels["team"], "security");
    let key: Vec<&Value> = labels.as_object().unwrap().values().collect();
    assert!(key.iter().any(|value| *value == USER), "the key is in the labels: {labels}");
    let summary = alert["annotations"]["summary"].as_str().unwrap_or_default();
    assert_eq!(summary, format!("{USER} read db-password"));
    assert_eq!(alert["status"]["state"], "active");
}

fn check_mail(mail: &Mail) {
    assert_eq!(mail.user.as_deref(), Some(smtp::USER));
    assert_eq!(mail.sender, "tripline@example.org");
    assert_eq!(mail.recipients, ["oncall@example.org"]);
    assert_eq!(mail.content_type, "multipart/alternative");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert!(mail.header("Message-ID").contains('@'), "{mail:?}");
    assert!(mail.header("From").contains("tripline@example.org"), "{mail:?}");
    assert!(mail.header("Subject").to_lowercase().contains("secret"), "{mail:?}");
    for kind in ["text/plain", "text/html"] {
        assert!(mail.part(kind).contains("db-password"), "{kind}: {mail:?}");
    }
    let html = mail.part("text/html");
    assert!(!html.contains("<!channel>"), "a user's name is markup: {html}");
}

#[test]
fn standard_output_in_a_pipe_is_json_lines() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("stdout", 1);
    let config = source(kafka, "stdout")
        + "receivers: [{name: out, stdout: {}}]\nroute: {receiver: out, group_wait: 0s}\n";
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    kafka.producer().send("stdout", read("user-a", "s"));
    let line = eventually("a line comes out", || {
        tripline.process().out().lines().next().map(str::to_owned)
    });
    let alert: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(alert["labels"]["alertname"], "secret_read", "{line}");
    tripline.stop();
}

#[test]
fn alerts_reach_brokers_that_were_put_back_from_an_earlier_copy() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (events, mut alerts) = (Kafka::shared(), Kafka::started());
    events.create_topic("put-back-events", 1);
    alerts.create_topic("put-back-alerts", 1);
    let config = source(events, "put-back-events")
        + &format!(
            "receivers: [{{name: bus, kafka: {{brokers: ['{}'], topic: put-back-alerts, \
             properties: {{delivery.timeout.ms: 8000}}}}}}]\n\
             route: {{receiver: bus, group_wait: 0s}}\n",
            alerts.brokers()
        );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    let is_written = |alerts: &Kafka, user: &str| {
        events.producer().send("put-back-events", read(user, "s"));
        let is_there = || {
            let records = alerts.read("put-back-alerts");
            let of_user =
                |record: &Vec<u8>| memchr::memmem::find(record, user.as_bytes()).is_some();
            records.iter().flatten().any(of_user).then_some(())
        };
        eventually(&format!("the alert about {user} is written"), is_there);
    };
    is_written(&alerts, "user-copied");
    alerts.keep_copy();
    is_written(&alerts, "user-gone");
    alerts.stop();
    alerts.start();
    is_written(&alerts, "user-gone-too");
    // While the broker stops, whoever writes hears that there is no leader.
    let stopping = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            let producer = events.producer();
            let is_stopping = |_: &u32| stopping.load(Ordering::Relaxed);
            for number in (0..20_000).take_while(is_stopping) {
                producer.send("put-back-events", read(&format!("busy-{number}"), "s"));
            }
        });
        alerts.put_back();
        stopping.store(false, Ordering::Relaxed);
    });
    is_written(&alerts, "user-after");
    tripline.stop();
}

/// What the shipped alert rules promise, by Prometheus' own tool.
#[test]
fn shipped_alert_rules_do_what_they_say() {
    if !available(&[Service::Prometheus]) {
        return;
    }
    let tests = project_file("deploy/prometheus/tripline.rules.test.yml");
    assert!(fs::exists(&tests).unwrap());
    let output = Command::new(service_path("bin/promtool"))
        .args(["test", "rules"])
        .arg(tests)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
