//! Shipped Prometheus alerts through the fault that they are for: a real Prometheus scrapes the real binary. Only
//! how long a condition must hold is left out, or the test would take hours.

use std::process::Command;

use crate::{
    harness::{
        Service, available, eventually, get, kafka::Kafka, prometheus::Prometheus, service_path,
        tripline::Tripline,
    },
    rules::{SECRET_READ, source_at},
};

/// Waits until an alert fires.
fn fires(prometheus: &Prometheus, name: &str) {
    eventually(&format!("{name} fires"), || {
        prometheus.query(&format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}")).pop()
    });
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
