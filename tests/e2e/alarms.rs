//! The shipped Prometheus alerts, each through the fault that it is for: a real Prometheus scrapes the real
//! binary. Only how long a condition must hold is left out, or the test would take hours.

use std::{io::Write as _, net::TcpStream, process::Command};

use crate::{
    harness::{
        Service, audit, available, eventually, get, hook::Hook, kafka::Kafka, never,
        process::Process, prometheus::Prometheus, service_path, tripline::Tripline,
    },
    rules::{SECRET_READ, read, source_at},
};

use axum::http::StatusCode;
use rdkafka::Offset;
use std::time::Duration;

/// An alert whose summary cannot be made: its template divides by 0.
const BROKEN_TEMPLATE: (&str, &str) = (
    "broken_template.yaml",
    "title: Pod deleted
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a91
name: pod_deleted
logsource: {product: kubernetes, service: audit}
detection:
  deleted: {objectRef.resource: pods, verb: delete}
  condition: deleted
level: low
tripline:
  annotations: {summary: '{{ 1 // (count - 1) }}'}
",
);

/// Waits until an alert fires.
fn fires(prometheus: &Prometheus, name: &str) {
    eventually(&format!("{name} fires"), || {
        prometheus.query(&format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}")).pop()
    });
}

fn firing(prometheus: &Prometheus) -> Vec<String> {
    let alerts = prometheus.query("ALERTS{alertname=~\"Tripline.*\",alertstate=\"firing\"}");
    let name = |alert: serde_json::Value| Some(alert["metric"]["alertname"].as_str()?.to_owned());
    alerts.into_iter().filter_map(name).collect()
}

/// The most that a process may write into one file.
fn limit_files(process: &Process, bytes: &str) {
    let pid = process.id().to_string();
    let status =
        Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
    assert!(status.unwrap().success());
}

#[test]
fn each_shipped_alert_fires_through_its_fault() {
    if !available(&[Service::Kafka, Service::Prometheus]) {
        return;
    }
    let (mut kafka, hook) = (Kafka::started(), Hook::started());
    kafka.create_topic("alarms", 1);
    let config = source_at(&kafka.brokers(), "alarms")
        + &format!(
            "receivers: [{{name: hook, failing_after: 1s, webhook: {{url: '{}'}}}}, {{name: out, stdout: {{}}}}]
route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s}}
heartbeat: {{receiver: out, interval: 1s}}
canary: {{topic: alarms, interval: 1s, within: 10s}}
reload: {{interval: 1s}}
",
            hook.url("/alerts")
        );
    let mut tripline = Tripline::new(&config, &[SECRET_READ, BROKEN_TEMPLATE]);
    tripline.start_by_shell("trap '' XFSZ; exec \"$@\"");
    tripline.wait_ready();
    let prometheus = Prometheus::impatient(&tripline.http_address());
    let producer = kafka.producer();
    let send = |text: &str| producer.send("alarms", text);
    eventually("the canary comes back, and Prometheus sees it", || {
        prometheus.query("tripline_canary_duration_seconds_count > 2").pop()
    });
    eventually("the heartbeat is told again and again", || {
        let beats = tripline.metric(
            "tripline_delivery_attempts_total",
            &["receiver=\"out\"", "outcome=\"delivered\""],
        );
        (beats? > 2.0).then_some(())
    });
    // What holds for a moment of every busy process; as shipped it has to hold for minutes.
    let holds_at_times = ["TriplineDown", "TriplineNotificationsPending"];
    never("an alert fires while all is well", Duration::from_secs(3), || {
        firing(&prometheus).into_iter().find(|name| !holds_at_times.contains(&name.as_str()))
    });

    (0..50).for_each(|_| send("no json"));
    fires(&prometheus, "TriplineDecodeFailures");
    let whole = read("user-a", "s");
    send(&whole[..whole.len() - 1]);
    fires(&prometheus, "TriplineEventsIncomplete");
    let mut ahead = audit::event("user-a", "list", "pods", "shop", "");
    for key in ["requestReceivedTimestamp", "stageTimestamp"] {
        ahead[key] = "2099-01-01T00:00:00.000000Z".into();
    }
    send(&ahead.to_string());
    fires(&prometheus, "TriplineEventsFromFuture");
    send(&audit::event("user-a", "delete", "pods", "shop", "db").to_string());
    fires(&prometheus, "TriplineRuleErrors");

    tripline.write("rules/wrong.yaml", "title: [\n");
    fires(&prometheus, "TriplineReloadFailed");
    std::fs::remove_file(tripline.path().join("rules/wrong.yaml")).unwrap();

    hook.refuse_with(Some((StatusCode::INTERNAL_SERVER_ERROR, "1")));
    send(&read("user-b", "s"));
    fires(&prometheus, "TriplineReceiverFailing");
    fires(&prometheus, "TriplineNotificationsPending");
    hook.refuse_with(None);
    fires(&prometheus, "TriplineAlertsFiring");

    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(tripline.http_address()).unwrap();
        stream.write_all(b"GET /").unwrap();
        held.push(stream);
    }
    fires(&prometheus, "TriplineClientsRefused");
    drop(held);

    limit_files(tripline.process(), "1");
    fires(&prometheus, "TriplineCheckpointFailing");
    limit_files(tripline.process(), "unlimited");

    kafka.suspend();
    fires(&prometheus, "TriplineSourceDown");
    fires(&prometheus, "TriplineCanaryMissing");
    kafka.resume();
    tripline.wait_ready();

    tripline.kill();
    fires(&prometheus, "TriplineDown");
    (0..20).for_each(|_| send("gone before it is read"));
    kafka.delete_records("alarms", Offset::End);
    tripline.start_ready();
    fires(&prometheus, "TriplineRecordsLost");
    tripline.stop();
}

#[test]
fn silence_of_a_source_that_can_be_read_is_an_alert() {
    if !available(&[Service::Kafka, Service::Prometheus]) {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("alarms-silent", 1);
    let config = source_at(&kafka.brokers(), "alarms-silent")
        + "receivers: [{name: out, stdout: {}}]\nroute: {receiver: out}\n";
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    let prometheus = Prometheus::impatient(&tripline.http_address());
    fires(&prometheus, "TriplineNoRecords");
    tripline.stop();
}

#[test]
fn metrics_are_written_as_prometheus_wants_them() {
    if !available(&[Service::Prometheus]) {
        return;
    }
    let config = "sources: [{kafka: {brokers: ['127.0.0.1:1'], topics: [t], group: t}}]
receivers: [{name: out, stdout: {}}]
route: {receiver: out}
";
    let mut tripline = Tripline::new(config, &[SECRET_READ]);
    tripline.start();
    tripline.wait_answering();
    let metrics = get(&tripline.url("/metrics")).unwrap();
    tripline.write("metrics.txt", &metrics);
    let output = Command::new(service_path("bin/promtool"))
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(tripline.path().join("metrics.txt")).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    tripline.kill();
}
