//! A real kube-apiserver, whose audit events come in three ways at once, with a policy that was made for the
//! rules.
//!
//! Set up by `tests/run --with kube-apiserver`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::{
    harness::{
        Service, apiserver::ApiServer, available, eventually, free_port, hook::Hook, kafka::Kafka,
        project_file, tripline::Tripline,
    },
    rules::{to_hook, users},
};

/// Every request is recorded; reads of secrets by people are counted; one rule needs bodies.
const RULES: (&str, &str) = (
    "rules.yaml",
    "title: Everything
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8b01
name: everything
logsource: {product: kubernetes, service: audit}
detection:
  any: {auditID|exists: true}
  condition: any
tripline: {record: request}
---
title: Secret read
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8b02
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets, verb: get, user.username: anna}
  condition: read
level: informational
generate: false
---
title: All reads
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8b03
name: all_reads
correlation:
  type: event_count
  rules: [secret_read]
  group-by: [user.username]
  timespan: 1h
  condition: {gte: 25}
level: high
---
title: More reads than there were
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8b04
name: more_reads
correlation:
  type: event_count
  rules: [secret_read]
  group-by: [user.username]
  timespan: 1h
  condition: {gte: 26}
level: high
---
title: A note
id: 3f0c7e1e-57a0-4d0e-9a7b-3f6f2f3b8b05
name: note
logsource: {product: kubernetes, service: audit}
detection:
  note: {objectRef.resource: configmaps, verb: create, requestObject.data.note: look}
  condition: note
level: high
tripline: {group-by: [user.username]}
",
);

/// What stands where Tripline will, and says that it is not there yet.
struct Unavailable {
    address: SocketAddr,
    refused: Arc<AtomicUsize>,
}

impl Unavailable {
    /// Answers 503 to so many requests, each on a connection of its own, and goes away.
    fn for_requests(count: usize) -> Unavailable {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let listener = TcpListener::bind(address).unwrap();
        let refused = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&refused);
        thread::spawn(move || {
            for connection in listener.incoming().take(count) {
                refuse(connection.unwrap());
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Unavailable { address, refused }
    }

    fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

/// Reads one request to its end, and refuses it.
fn refuse(connection: TcpStream) {
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    drop(std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()));
    let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    drop(reader.get_mut().write_all(answer.as_bytes()));
}

/// Who may do what: Anna enters pods and reads secrets, everybody sees pods.
fn permissions() -> Value {
    let group = "rbac.authorization.k8s.io";
    json!({"kind": "List", "apiVersion": "v1", "items": [
        {
            "kind": "Role",
            "apiVersion": format!("{group}/v1"),
            "metadata": {"name": "dev", "namespace": "default"},
            "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
                {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
            ],
        },
        {
            "kind": "RoleBinding",
            "apiVersion": format!("{group}/v1"),
            "metadata": {"name": "dev-anna", "namespace": "default"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "dev"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": "anna"}],
        },
        {
            "kind": "Role",
            "apiVersion": format!("{group}/v1"),
            "metadata": {"name": "pods", "namespace": "default"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
        },
        {
            "kind": "RoleBinding",
            "apiVersion": format!("{group}/v1"),
            "metadata": {"name": "pods-dev", "namespace": "default"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "pods"},
            "subjects": [{"apiGroup": group, "kind": "Group", "name": "dev"}],
        },
    ]})
}

/// The policy that the rules of a Tripline need.
fn policy_of(tripline: &Tripline) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tripline"));
    let output =
        command.args(["policy", "--rules", "rules"]).current_dir(tripline.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Anna reads five secrets.
fn read_five(server: &ApiServer) {
    let names = ["get", "secret", "a", "b", "c", "d", "e"];
    let output = server.kubectl("anna", &names);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(errors.matches("NotFound").count(), 5, "{errors}");
}

/// The rows of the ledger that are accesses.
fn accesses(tripline: &Tripline) -> Vec<Value> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tripline"));
    command.args(["ledger", "export", "--state", "state"]).current_dir(tripline.path());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.filter(|row| row["kind"] == "access").collect()
}

/// Audit ids of the requests in lines of a log that were answered, with how often each is recorded: once, but
/// for sessions, of which start and end are.
fn answered(lines: &[String]) -> BTreeSet<String> {
    let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|event| event["stage"] != "RequestReceived")
        .map(|event| event["auditID"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_request_counts_once_by_webhook_log_and_kafka_together() {
    if !available(&[Service::Kafka, Service::ApiServer]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("real-cluster", 1);
    let unavailable = Unavailable::for_requests(3);
    let mut tripline = Tripline::new("", &[RULES]);
    let url = format!("http://{}/audit", unavailable.address);
    let server = ApiServer::start(&policy_of(&tripline), &url, "webhook-token");
    tripline.write("token", "webhook-token\n");
    tripline.configure(&format!(
        "sources:
  - {{name: api, webhook: {{listen: '{}', clusters: [{{cluster: real, path: /audit, bearer_token_file: token}}]}}}}
  - {{name: log, file: {{paths: ['{}'], follow: true, cluster: real}}}}
  - {{name: bus, kafka: {{brokers: ['{}'], topics: [real-cluster], group: real-cluster, cluster: real}}}}
{}",
        unavailable.address,
        server.log().display(),
        kafka.brokers(),
        to_hook(&hook)
    ));
    server.create(&permissions());
    read_five(&server);
    eventually("the API server was refused three times", || {
        (unavailable.refused() == 3).then_some(())
    });

    tripline.start_ready();
    read_five(&server);
    read_five(&server);
    // More than the size of a log: it is rotated.
    for number in 0..13 {
        server.create(&json!({
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": format!("large-{number}"), "namespace": "default"},
            "data": {"note": "look", "pad": "x".repeat(100_000)},
        }));
    }
    eventually("the log was rotated", || (server.logs() > 1).then_some(()));
    tripline.kill();
    read_five(&server);
    tripline.start_ready();
    read_five(&server);

    let lines = server.lines();
    let producer = kafka.producer();
    for line in &lines {
        producer.send("real-cluster", line);
    }
    let expected = answered(&lines);
    assert!(expected.len() > 300, "{}", expected.len());
    eventually("all that was logged is recorded", || {
        let rows = accesses(&tripline);
        let known: BTreeSet<&str> =
            rows.iter().filter_map(|row| row["audit_id"].as_str()).collect();
        expected.iter().all(|id| known.contains(id.as_str())).then_some(())
    });
    let told = |rule: &str| users(&hook.alerts("/alerts"), rule);
    eventually("all reads were counted", || told("all_reads").pop());
    assert_eq!(told("note").first().map(String::as_str), Some("admin"), "bodies are logged");

    // Kafka gives all of it once more: nothing of that counts.
    eventually("all of Kafka was read", || {
        (tripline.metric("tripline_source_lag_records", &["bus:real-cluster"]) == Some(0.0))
            .then_some(())
    });
    let mut times: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in accesses(&tripline) {
        let of = |key: &str| row[key].as_str().unwrap_or("").to_owned();
        *times.entry((of("audit_id"), of("session"))).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(told("more_reads"), Vec::<String>::new());
    for source in ["api", "log", "bus"] {
        let label = format!("source=\"{source}\"");
        assert_eq!(tripline.metric("tripline_source_up", &[&label]), Some(1.0), "{source}");
    }
    assert_eq!(tripline.metric("tripline_decode_failures_total", &[]).unwrap_or(0.0), 0.0);
    tripline.stop();
}

/// What people do in the test below.
fn do_things(server: &ApiServer) {
    server.create(&permissions());
    server.create_pod("node-1", "web");
    server.create_pod("lost", "stray");
    let exec = |pod| ["exec", pod, "-c", "main", "--", "id", "-u"];
    // Opened, by clients of today and of before; the process never starts.
    drop(server.kubectl("anna", &exec("web")));
    drop(server.old_kubectl("anna", &exec("web")));
    // The API server opens the stream before it asks the node, which is not there.
    drop(server.kubectl("anna", &exec("stray")));
    // By a client of before it asks first.
    drop(server.old_kubectl("anna", &exec("stray")));
    // Refused, in both ways.
    drop(server.kubectl("bob", &exec("web")));
    drop(server.kubectl("anna", &["get", "secret", "db-password"]));
    drop(server.kubectl("bob", &["get", "secret", "db-password"]));
    // Somebody acts as somebody else: may, and may not.
    drop(server.kubectl("admin", &["get", "pod", "web", "--as", "anna"]));
    drop(server.kubectl("bob", &["get", "pod", "web", "--as", "anna"]));
    // Nobody knows this token.
    drop(server.kubectl("mallory", &["get", "secret", "db-password"]));
    // Without a reason: the group may everything.
    drop(server.kubectl("admin", &["get", "secret", "db-password"]));
}

#[test]
fn what_is_recorded_of_a_real_cluster_is_what_was_done() {
    if !available(&[Service::ApiServer]) {
        return;
    }
    let hook = Hook::started();
    let mut tripline = Tripline::new("", &[]);
    tripline.link_rules(&project_file("rules"));
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let server = ApiServer::start(&policy_of(&tripline), &nobody, "none");
    do_things(&server);
    tripline.configure(&format!(
        "sources: [{{file: {{paths: ['{}'], follow: true, cluster: real}}}}]\n{}",
        server.log().display(),
        to_hook(&hook)
    ));
    tripline.start_ready();
    let count = |rows: &[Value], wanted: &dyn Fn(&Value) -> bool| {
        rows.iter().filter(|row| wanted(row)).count()
    };
    let is = |row: &Value, class: &str, actor: &str| {
        row["classes"].as_array().unwrap().contains(&json!(class)) && row["actor"]["id"] == actor
    };
    let rows = eventually("the last request is recorded", || {
        let rows = accesses(&tripline);
        let last = |row: &Value| is(row, "secret_read", "admin");
        (count(&rows, &last) > 0).then_some(rows)
    });
    let opened =
        |row: &Value| is(row, "session", "anna") && row["code"] == 101 && row["session"] == "start";
    assert_eq!(count(&rows, &opened), 3, "{rows:#?}");
    let refused =
        |row: &Value| is(row, "session", "bob") && row["code"] == 403 && row["session"] == "start";
    assert_eq!(count(&rows, &refused), 2, "{rows:#?}");
    let unknown = |row: &Value| row["code"] == 401 && row["outcome"] == "denied";
    assert!(count(&rows, &unknown) > 0, "{rows:#?}");
    tripline.stop();
}
