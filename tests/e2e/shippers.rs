//! Shippers that follow an audit log and write to Kafka: each gives the same events.
//!
//! Set up by `tests/run --with shippers`. What they are configured with is what docs/intake.md recommends.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path, process::Command};

use serde_json::json;

use crate::{
    harness::{
        Service, audit, available, eventually, free_port, hook::Hook, kafka::Kafka,
        process::Process, project_file, scratch, service_path, tripline::Tripline,
    },
    rules::{SECRET_READ, source, to_hook, users},
};

/// What a shipper is given.
struct Task<'t> {
    directory: &'t Path,
    log: String,
    brokers: String,
    topic: &'t str,
}

impl Task<'_> {
    /// Writes a file of the shipper's own; its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

/// Reads of secrets with whatever a line of an audit log may have in it; who did them.
fn events() -> (String, BTreeSet<String>) {
    let (mut log, mut people) = (String::new(), BTreeSet::new());
    for (user, body) in [
        ("plain", json!({})),
        ("zoë@example.org", json!({"note": "日本語 – ÿ 😀"})),
        ("o'brien \"quoted\\", json!({"script": "a\tb\n<c> & {\"d\": [%s, %m, $MSG]} \u{2028}"})),
        ("large", json!({"data": "x".repeat(200_000)})),
        ("system:serviceaccount:shop:web", json!([{"op": "add", "path": "/a~1b", "value": null}])),
        ("last", json!(null)),
    ] {
        let mut event = audit::event(user, "get", "secrets", "payments", "s");
        event["requestObject"] = body;
        writeln!(log, "{event}").unwrap();
        people.insert(user.to_owned());
    }
    (log, people)
}

/// Lets a shipper ship a log, and looks at what comes of it.
fn ships(needed: Service, topic: &str, command: impl FnOnce(&Task<'_>) -> Command) {
    if !available(&[Service::Kafka, needed]) {
        return;
    }
    let (kafka, hook, directory) = (Kafka::shared(), Hook::started(), scratch(topic));
    kafka.create_topic(topic, 1);
    let (log, people) = events();
    let task = Task {
        directory: directory.path(),
        log: directory.path().join("audit.log").display().to_string(),
        brokers: kafka.brokers(),
        topic,
    };
    fs::write(&task.log, log).unwrap();
    let mut shipper = Process::start(topic, &mut command(&task), directory.path());
    let mut tripline = Tripline::new(&(source(kafka, topic) + &to_hook(&hook)), &[SECRET_READ]);
    tripline.start_ready();
    eventually("every event of the log is judged", || {
        assert!(shipper.exited().is_none(), "the shipper ended: {}", shipper.err());
        let told = users(&hook.alerts("/alerts"), "secret_read");
        let told: BTreeSet<String> = told.into_iter().collect();
        (told == people).then_some(())
    });
    assert_eq!(tripline.metric("tripline_events_total", &[]), Some(6.0));
    assert_eq!(tripline.metric("tripline_decode_failures_total", &[]).unwrap_or(0.0), 0.0);
    tripline.stop();
}

#[test]
fn rsyslog_ships() {
    ships(Service::Rsyslog, "rsyslog", |task| {
        fs::create_dir(task.path("spool")).unwrap();
        let (log, topic, spool) = (&task.log, task.topic, task.path("spool"));
        let broker = &task.brokers;
        let config = format!(
            r#"module(load="imfile")
module(load="omkafka")
global(maxMessageSize="2m" workDirectory="{spool}")
input(type="imfile" File="{log}" Tag="audit:" ruleset="audit")
template(name="raw" type="string" string="%msg%")
ruleset(name="audit") {{
  action(type="omkafka" broker=["{broker}"] topic="{topic}" template="raw"
         confParam=["message.max.bytes=2000000"]
         queue.type="LinkedList" queue.filename="audit" queue.saveOnShutdown="on" resubmitOnFailure="on")
}}
"#
        );
        let modules = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|system| service_path("unpacked/usr/lib").join(system).join("rsyslog"));
        let mut command = Command::new(service_path("bin/rsyslogd"));
        command.args(["-n", "-i", &task.path("pid"), "-f", &task.write("rsyslog.conf", &config)]);
        command.arg("-M").arg(format!("{}:{}", modules[0].display(), modules[1].display()));
        command
    });
}

#[test]
fn syslog_ng_ships() {
    ships(Service::SyslogNg, "syslog-ng", |task| {
        let (log, topic, broker) = (&task.log, task.topic, &task.brokers);
        let config = format!(
            r#"@version: 3.38
options {{ log-msg-size(2097152); }};
source audit {{ file("{log}" flags(no-parse) follow-freq(1)); }};
destination kafka {{
  kafka-c(
    bootstrap-servers("{broker}") topic("{topic}") message("$ISODATE $HOST $MSGHDR$MSG")
    config(message.max.bytes("2000000"))
  );
}};
log {{ source(audit); destination(kafka); }};
"#
        );
        let mut command = Command::new(service_path("bin/syslog-ng"));
        command.args(["--foreground", "--no-caps", "--stderr"]);
        command.arg(format!("--cfgfile={}", task.write("syslog-ng.conf", &config)));
        command.arg(format!("--persist-file={}", task.path("persist")));
        command.arg(format!("--pidfile={}", task.path("pid")));
        command.arg(format!("--control={}", task.path("control")));
        let modules = service_path("unpacked/usr/lib/syslog-ng/3.38");
        command.arg(format!("--module-path={}", modules.display()));
        command
    });
}

#[test]
fn kafka_connect_ships() {
    ships(Service::KafkaConnect, "kafka-connect", |task| {
        let (log, topic, broker) = (&task.log, task.topic, &task.brokers);
        let (offsets, port) = (task.path("offsets"), free_port());
        let worker = format!(
            "bootstrap.servers={broker}
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
offset.storage.file.filename={offsets}
listeners=http://127.0.0.1:{port}
producer.max.request.size=2000000
"
        );
        let connector = format!(
            "name=audit
connector.class=FileStreamSource
tasks.max=1
file={log}
topic={topic}
"
        );
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        let log4j = project_file("tests/setup/kafka/log4j2.xml");
        command.arg(format!("-Dlog4j2.configurationFile={}", log4j.display()));
        // The broker's directory has what writes logs.
        let jars = ["kafka-connect", "kafka"].map(|jars| service_path(jars).join("*"));
        command.arg("-cp").arg(format!("{}:{}", jars[0].display(), jars[1].display()));
        command.arg("org.apache.kafka.connect.cli.ConnectStandalone");
        command.arg(task.write("worker.properties", &worker));
        command.arg(task.write("connector.properties", &connector));
        command
    });
}

/// In one of the encodings that are read.
fn otel_collector(task: &Task<'_>, encoding: &str) -> Command {
    let (log, topic, broker) = (&task.log, task.topic, &task.brokers);
    let config = format!(
        "receivers:
  filelog:
    include: ['{log}']
    start_at: beginning
    max_log_size: 2MiB
    resource: {{k8s.cluster.name: prod}}
exporters:
  kafka:
    brokers: ['{broker}']
    logs: {{topic: {topic}, encoding: {encoding}}}
    producer: {{max_message_bytes: 2000000}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    logs: {{receivers: [filelog], exporters: [kafka]}}
"
    );
    let mut command = Command::new(service_path("bin/otel-collector"));
    command.arg(format!("--config=file:{}", task.write("collector.yaml", &config)));
    command
}

#[test]
fn an_opentelemetry_collector_ships_otlp_as_json() {
    ships(Service::OtelCollector, "otel-json", |task| otel_collector(task, "otlp_json"));
}

#[test]
fn an_opentelemetry_collector_ships_protocol_buffers() {
    ships(Service::OtelCollector, "otel-proto", |task| otel_collector(task, "otlp_proto"));
}

#[test]
fn an_opentelemetry_collector_ships_raw_lines() {
    ships(Service::OtelCollector, "otel-raw", |task| otel_collector(task, "raw"));
}
