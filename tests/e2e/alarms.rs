//! Shipped Prometheus alerts, each through the fault that it is for: a real Prometheus scrapes the real binary.
//! Only how long something must last is left out, or the test would take hours. So what holds of every busy
//! process for a moment may fire as well: that alerts are silent while all is well is for promtool's tests.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    ops::Range,
    process::Command,
    thread,
    time::Duration,
};

use axum::http::StatusCode;
use rdkafka::Offset;

use crate::{
    harness::{
        Service, audit, available, eventually, free_port, get, hook::Hook, kafka::Kafka,
        process::Process, project_file, prometheus::Prometheus, service_path, tripline::Tripline,
    },
    rules::{READS_COUNTED, SECRET_READ, read, source_at},
};

/// All of them: each fires here through its fault.
const PROVED: [&str; 34] = [
    "TriplineAccessShed",
    "TriplineAlertsFiring",
    "TriplineAlertsGivenUp",
    "TriplineAlertsOld",
    "TriplineCanaryMissing",
    "TriplineCheckpointFailing",
    "TriplineCheckpointOld",
    "TriplineClientsRefused",
    "TriplineDeadLettersLost",
    "TriplineDecodeFailures",
    "TriplineDown",
    "TriplineEventsElsewhere",
    "TriplineEventsFromFuture",
    "TriplineEventsIncomplete",
    "TriplineEventsLate",
    "TriplineGroupShared",
    "TriplineKeysEvicted",
    "TriplineLagGrowing",
    "TriplineLedgerStalled",
    "TriplineLimitHit",
    "TriplineNoRecords",
    "TriplineNotificationsPending",
    "TriplinePartitionRewound",
    "TriplinePartitionsUnread",
    "TriplineRebuilding",
    "TriplineReceiverFailing",
    "TriplineRecordsLost",
    "TriplineReloadFailed",
    "TriplineRuleErrors",
    "TriplineSourceDown",
    "TriplineSourceTroubles",
    "TriplineWatermarkDelayed",
    "TriplineWindowsClosedWithout",
    "TriplineWindowsMissed",
];

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

/// A rule that one event can give more keys than count.
const MANY_KEYS: (&str, &str) = (
    "many_keys.yaml",
    "title: Pod listed
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a92
name: pod_listed
logsource: {product: kubernetes, service: audit}
detection:
  listed: {objectRef.resource: pods, verb: list}
  condition: listed
level: low
tripline: {group-by: [sourceIPs]}
",
);

/// Whether few secrets are read shows when a minute is over, and not before.
const FEW_READS: (&str, &str) = (
    "few_reads.yaml",
    "title: Secret read, to be counted
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a97
name: counted_read
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets, verb: get}
  condition: read
level: informational
generate: false
---
title: Few secrets read within a minute
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a93
name: few_reads
correlation:
  type: event_count
  rules: [counted_read]
  group-by: [user.username]
  timespan: 1m
  condition: {lt: 2}
level: low
",
);

/// Lists are counted by address, of which there are as many as somebody likes.
const LISTS_BY_ADDRESS: (&str, &str) = (
    "lists_by_address.yaml",
    "title: Pod listed
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a94
name: pod_listed
logsource: {product: kubernetes, service: audit}
detection:
  listed: {objectRef.resource: pods, verb: list}
  condition: listed
level: informational
generate: false
---
title: Many lists from one address
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a95
name: lists_by_address
correlation:
  type: event_count
  rules: [pod_listed]
  group-by: [sourceIPs]
  timespan: 1h
  condition: {gte: 1000}
level: low
",
);

/// What people read is recorded.
const READS_RECORDED: (&str, &str) = (
    "reads_recorded.yaml",
    "title: What is read
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8a96
name: reads_recorded
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: configmaps, verb: get}
  condition: read
tripline: {record: read}
",
);

/// The most that a source may ask for at once and how long a broker waits for more: about a record a second.
const SLOWLY: &str = "properties: {max.partition.fetch.bytes: '1000', fetch.min.bytes: '100000', \
                      fetch.wait.max.ms: '1000'}";

/// Rules that all find the same, so many of them.
fn alike(count: usize) -> String {
    let rule = |number: usize| {
        format!(
            "title: Secret read, {number}
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8b{number:02}
name: secret_read_{number}
logsource: {{product: kubernetes, service: audit}}
detection:
  read: {{objectRef.resource: secrets, verb: get}}
  condition: read
level: low
tripline: {{group-by: [user.username]}}
"
        )
    };
    (0..count).map(rule).collect::<Vec<_>>().join("---\n")
}

/// Many events as one record.
fn list_of(events: impl Iterator<Item = String>) -> String {
    let events: Vec<String> = events.collect();
    let events = events.join(",");
    format!(r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{events}]}}"#)
}

/// Reads of something, each another request, of so many users after another.
fn reads(resource: &str, users: usize, numbers: Range<usize>) -> impl Iterator<Item = String> {
    let mut event = audit::event("USER", "get", resource, "shop", "NAME");
    event["auditID"] = "NAME".into();
    let text = event.to_string();
    numbers.map(move |number| {
        let user = format!("user-{}", number % users);
        text.replace("USER", &user).replace("NAME", &format!("n-{number}"))
    })
}

/// Waits until an alert fires.
fn fires(prometheus: &Prometheus, name: &str) {
    eventually(&format!("{name} fires"), || {
        prometheus.query(&format!("ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}")).pop()
    });
}

/// Waits until Prometheus has seen a counter, so that it sees it grow.
fn scraped(prometheus: &Prometheus, metric: &str) {
    eventually(&format!("{metric} is scraped"), || {
        prometheus.query(&format!("count_over_time({metric}[1m]) > 1")).pop()
    });
}

/// A user read a secret two hours ago.
fn read_long_ago(user: &str) -> String {
    let ago = Duration::from_secs(7_200);
    audit::event_at(user, "get", "secrets", "payments", "s", ago).to_string()
}

/// The most that a process may write into one file.
fn limit_files(process: &Process, bytes: &str) {
    let pid = process.id().to_string();
    let limit = format!("--fsize={bytes}:");
    assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
}

/// Needs no service, so it always runs.
#[test]
fn every_shipped_alert_is_proved_once() {
    let rules = fs::read_to_string(project_file("deploy/prometheus/tripline.rules.yml")).unwrap();
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<&str> = names.collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), distinct.len(), "an alert is there twice: {names:?}");
    assert_eq!(distinct, PROVED.into_iter().collect());
}

#[test]
fn what_is_wrong_with_records_is_an_alert() {
    if !available(&[Service::Kafka, Service::Prometheus]) {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("alarms-records", 1);
    kafka.create_topic("alarms-rogue", 1);
    let webhook = format!("127.0.0.1:{}", free_port());
    let brokers = kafka.brokers();
    let config = format!(
        "sources:
  - {{name: audit, kafka: {{brokers: ['{brokers}'], topics: [alarms-records], group: alarms-records}}}}
  - {{name: rogue, kafka: {{brokers: ['{brokers}'], topics: [alarms-rogue], group: alarms-rogue, cluster: prod}}}}
  - {{name: pushed, truth_for: [prod], webhook: {{listen: '{webhook}', cluster: prod, bearer_token_file: token}}}}
receivers: [{{name: out, stdout: {{}}}}]
route: {{receiver: out}}
engine: {{idle_after: 2s, max_alert_age: 1h}}
"
    );
    let rules = [SECRET_READ, FEW_READS, BROKEN_TEMPLATE, MANY_KEYS];
    let mut tripline = Tripline::new(&config, &rules);
    tripline.write("token", "right");
    tripline.start_ready();
    let prometheus = Prometheus::impatient(&tripline.http_address());
    let producer = kafka.producer();
    let send = |text: &str| producer.send("alarms-records", text);
    scraped(&prometheus, "tripline_alerts_old_total");

    (0..20).for_each(|number| send(&read_long_ago(&format!("old-{number}"))));
    fires(&prometheus, "TriplineAlertsOld");
    fires(&prometheus, "TriplineWatermarkDelayed");
    send(&read("user-a", "s"));
    eventually("event time has come to the present", || {
        prometheus.query("tripline_watermark_delay_seconds < 900").pop()
    });
    (0..20).for_each(|number| send(&read_long_ago(&format!("late-{number}"))));
    fires(&prometheus, "TriplineEventsLate");
    fires(&prometheus, "TriplineWindowsMissed");

    (0..50).for_each(|_| send("no json"));
    fires(&prometheus, "TriplineDecodeFailures");
    let whole = read("user-a", "s");
    send(&whole[..whole.len() - 1]);
    fires(&prometheus, "TriplineEventsIncomplete");
    let mut ahead = audit::event("user-a", "list", "nodes", "", "");
    for key in ["requestReceivedTimestamp", "stageTimestamp"] {
        ahead[key] = "2099-01-01T00:00:00.000000Z".into();
    }
    send(&ahead.to_string());
    fires(&prometheus, "TriplineEventsFromFuture");
    send(&audit::event("user-a", "delete", "pods", "shop", "db").to_string());
    fires(&prometheus, "TriplineRuleErrors");
    let mut from_everywhere = audit::event("user-a", "list", "pods", "shop", "");
    let hosts = (0..1_100).map(|n| format!("10.0.{}.{}", n / 250, n % 250));
    from_everywhere["sourceIPs"] = hosts.collect::<Vec<_>>().into();
    send(&from_everywhere.to_string());
    fires(&prometheus, "TriplineLimitHit");

    producer.send("alarms-rogue", read("user-b", "s"));
    fires(&prometheus, "TriplineEventsElsewhere");
    let mut stranger = TcpStream::connect(&webhook).unwrap();
    stranger.write_all(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    let mut answer = [0; 12];
    stranger.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    fires(&prometheus, "TriplineSourceTroubles");

    // As JSON each is six times as long; they are more than the files for them may hold.
    let garbage = vec![1; 1 << 20];
    let producer = kafka.compressing_producer("gzip");
    (0..32).for_each(|_| producer.send("alarms-records", &garbage));
    fires(&prometheus, "TriplineDeadLettersLost");
    tripline.stop();
}

#[test]
fn what_is_wrong_with_receivers_is_an_alert_and_the_canary_comes_round() {
    if !available(&[Service::Kafka, Service::Prometheus]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("alarms-receivers", 1);
    let config = source_at(&kafka.brokers(), "alarms-receivers")
        + &format!(
            "receivers:
  - {{name: hook, failing_after: 1s, webhook: {{url: '{}'}}}}
  - {{name: out, stdout: {{}}}}
route: {{receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s}}
heartbeat: {{receiver: out, interval: 1s}}
canary: {{topic: alarms-receivers, interval: 1s, within: 30s}}
",
            hook.url("/alerts")
        );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    let prometheus = Prometheus::impatient(&tripline.http_address());
    // Written to the topic, read, matched, made durable, routed, delivered: again and again.
    eventually("the canary comes back, and Prometheus sees how long it took", || {
        prometheus.query("tripline_canary_duration_seconds_count > 2").pop()
    });
    assert!(hook.alerts("/alerts").is_empty(), "others see nothing of the canary");
    eventually("the heartbeat is told again and again", || {
        let beats = ["receiver=\"out\"", "outcome=\"delivered\""];
        let beats = tripline.metric("tripline_delivery_attempts_total", &beats);
        (beats? > 2.0).then_some(())
    });
    hook.refuse_with(Some((StatusCode::INTERNAL_SERVER_ERROR, "1")));
    kafka.producer().send("alarms-receivers", read("user-b", "s"));
    fires(&prometheus, "TriplineAlertsFiring");
    fires(&prometheus, "TriplineNotificationsPending");
    fires(&prometheus, "TriplineReceiverFailing");
    hook.refuse_with(None);
    eventually("the alert arrives after all", || hook.alerts("/alerts").pop());
    tripline.stop();
}

#[test]
fn what_is_wrong_with_the_stream_is_an_alert() {
    if !available(&[Service::Kafka, Service::Prometheus]) {
        return;
    }
    let mut kafka = Kafka::started();
    kafka.create_topic("alarms-stream", 1);
    let (brokers, webhook) = (kafka.brokers(), format!("127.0.0.1:{}", free_port()));
    let config = format!(
        "sources:
  - {{name: audit, kafka: {{brokers: ['{brokers}'], topics: [alarms-stream, alarms-missing], group: alarms-stream}}}}
  - {{name: pushed, webhook: {{listen: '{webhook}', bearer_token_file: token}}}}
receivers: [{{name: out, stdout: {{}}}}]
route: {{receiver: out}}
canary: {{topic: alarms-stream, interval: 1s, within: 5s}}
engine: {{away_max: 1s}}
"
    );
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.write("token", "right");
    tripline.start();
    tripline.wait_answering();
    let prometheus = Prometheus::impatient(&tripline.http_address());
    fires(&prometheus, "TriplinePartitionsUnread");
    let stranger = kafka.stranger("alarms-stream", "alarms-stream");
    fires(&prometheus, "TriplineGroupShared");
    drop(stranger);
    eventually("the canary has come back", || {
        prometheus.query("tripline_canary_duration_seconds_count > 0").pop()
    });
    kafka.make_anew("alarms-stream", 1);
    fires(&prometheus, "TriplinePartitionRewound");

    tripline.kill();
    fires(&prometheus, "TriplineDown");
    let producer = kafka.producer();
    (0..20).for_each(|_| producer.send("alarms-stream", read("user-gone", "s")));
    kafka.delete_records("alarms-stream", Offset::End);
    tripline.start();
    fires(&prometheus, "TriplineRecordsLost");

    kafka.suspend();
    fires(&prometheus, "TriplineSourceDown");
    fires(&prometheus, "TriplineCanaryMissing");
    // Event time goes on without it, since another source can be read.
    fires(&prometheus, "TriplineWindowsClosedWithout");
    kafka.resume();
    tripline.kill();
}

#[test]
fn what_is_wrong_with_the_process_is_an_alert() {
    if !available(&[Service::Kafka, Service::Prometheus]) {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("alarms-process", 1);
    let config = source_at(&kafka.brokers(), "alarms-process")
        + "receivers: [{name: out, stdout: {}}]
route: {receiver: out}
reload: {interval: 1s}
";
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    // Whoever writes too much gets an error, and not a signal.
    tripline.start_by_shell("trap '' XFSZ; exec \"$@\"");
    tripline.wait_ready();
    let prometheus = Prometheus::impatient(&tripline.http_address());
    scraped(&prometheus, "tripline_checkpoint_failures_total");
    tripline.write("rules/wrong.yaml", "title: [\n");
    fires(&prometheus, "TriplineReloadFailed");
    fs::remove_file(tripline.path().join("rules/wrong.yaml")).unwrap();

    let mut held: Vec<TcpStream> = Vec::new();
    // More than the server holds open.
    for _ in 0..600 {
        let mut stream = TcpStream::connect(tripline.http_address()).unwrap();
        // One that is turned away at once is as good.
        drop(stream.write_all(b"GET /"));
        held.push(stream);
    }
    fires(&prometheus, "TriplineClientsRefused");
    drop(held);

    limit_files(tripline.process(), "1");
    kafka.producer().send("alarms-process", read("user-a", "s"));
    fires(&prometheus, "TriplineCheckpointFailing");
    fires(&prometheus, "TriplineCheckpointOld");
    limit_files(tripline.process(), "unlimited");
    eventually("the checkpoint works again", || {
        let at = tripline.metric("tripline_checkpoint_age_seconds", &[]);
        (at? < 2.0).then_some(())
    });
    tripline.stop();
}

#[test]
fn what_is_slow_is_an_alert() {
    if !available(&[Service::Kafka, Service::Prometheus]) {
        return;
    }
    let kafka = Kafka::shared();
    kafka.create_topic("alarms-slow", 1);
    let config = source_at(&kafka.brokers(), "alarms-slow")
        + "receivers: [{name: out, stdout: {}}]\nroute: {receiver: out}\n";
    let mut tripline = Tripline::new(&config, &[READS_COUNTED]);
    tripline.start_ready();
    let producer = kafka.producer();
    (0..10).for_each(|number| producer.send("alarms-slow", read("user-a", &format!("s{number}"))));
    eventually("all of it is durable", || {
        kafka.committed("alarms-slow", "alarms-slow").filter(|offset| *offset == 10)
    });
    tripline.stop();

    fs::remove_dir_all(tripline.path().join("state")).unwrap();
    let group = "group: alarms-slow";
    tripline.configure(&config.replace(group, &format!("{group}, {SLOWLY}")));
    tripline.start();
    tripline.wait_answering();
    let prometheus = Prometheus::impatient(&tripline.http_address());
    fires(&prometheus, "TriplineRebuilding");
    let payload = read("user-b", "s");
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| (0..300).for_each(|_| producer.send("alarms-slow", &payload)));
        }
    });
    fires(&prometheus, "TriplineLagGrowing");
    tripline.kill();
}

#[test]
fn what_is_too_much_is_an_alert() {
    if !available(&[Service::Kafka, Service::Prometheus]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("alarms-floods", 1);
    let config = source_at(&kafka.brokers(), "alarms-floods")
        + &format!(
            "receivers: [{{name: hook, webhook: {{url: '{}'}}}}]
route: {{receiver: hook, group_by: []}}
ledger: {{directory: ./blocked}}
engine: {{memory: 16MiB}}
",
            hook.url("/alerts")
        );
    let alike = alike(6);
    let rules = [LISTS_BY_ADDRESS, READS_RECORDED, ("alike.yaml", alike.as_str())];
    let mut tripline = Tripline::new(&config, &rules);
    tripline.write("blocked", "a file where a directory should be");
    hook.refuse_with(Some((StatusCode::INTERNAL_SERVER_ERROR, "1")));
    tripline.start_ready();
    let prometheus = Prometheus::impatient(&tripline.http_address());
    scraped(&prometheus, "tripline_ledger_shed_total");
    let producer = kafka.compressing_producer("gzip");
    let send = |events: String| producer.send("alarms-floods", events);
    fires(&prometheus, "TriplineLedgerStalled");

    // Of each a thousand alerts, and none of them is taken.
    send(list_of(reads("secrets", 1_000, 0..1_000)));
    fires(&prometheus, "TriplineAlertsGivenUp");
    // More addresses than there is memory for.
    let list = |list: i32| {
        let mut event = audit::event("user-a", "list", "pods", "shop", "");
        let hosts = (0..1_000).map(|host| format!("10.{list}.{}.{}", host / 250, host % 250));
        event["sourceIPs"] = hosts.collect::<Vec<_>>().into();
        event.to_string()
    };
    send(list_of((0..100).map(list)));
    send(list_of((100..200).map(list)));
    fires(&prometheus, "TriplineKeysEvicted");
    // More than may wait for the ledger, by more people than are a flood each.
    (0..10).for_each(|part| {
        send(list_of(reads("configmaps", 100, part * 5_000..(part + 1) * 5_000)));
    });
    fires(&prometheus, "TriplineAccessShed");
    tripline.kill();
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
        .stdin(fs::File::open(tripline.path().join("metrics.txt")).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    tripline.kill();
}
