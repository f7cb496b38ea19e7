//! A ledger that cannot be written holds up no alert, and catches up when it can be again.

use std::fs;

use serde_json::Value;

use crate::{
    binary::{run, tripline},
    running::{Running, event},
};

const RULES: &str = "\
title: Shell in a pod
name: shell
logsource: {product: kubernetes, service: audit}
detection: {exec: {objectRef.resource: pods, objectRef.subresource: exec}, condition: exec}
level: high
tripline: {group-by: [user.username]}
---
title: Sessions
name: sessions
logsource: {product: kubernetes, service: audit}
detection: {exec: {objectRef.subresource: exec}, condition: exec}
tripline: {record: session}
";

#[tokio::test]
async fn alerts_go_on_and_what_was_recorded_meanwhile_is_there_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let (rules, state) = (directory.path().join("rules"), directory.path().join("state"));
    fs::create_dir(&rules).unwrap();
    fs::create_dir(&state).unwrap();
    fs::write(rules.join("rules.yaml"), RULES).unwrap();
    // A file where the directory of the ledger should be.
    fs::write(state.join("ledger"), "in the way").unwrap();

    let mut running = Running::start(directory.path(), "");
    running.write(&event("get", "eve", "2026-03-04T10:00:00"));
    running.until("the alert is told", |running| running.told().contains("eve")).await;
    let degraded = |code: u16, text: &str| code == 200 && text.contains("degraded");
    let ready = running.wait("/readyz", degraded).await;
    assert!(ready.lines().any(|line| line.starts_with("ledger") && line.contains("degraded")));
    running.signal("-KILL");
    drop(running);

    fs::remove_file(state.join("ledger")).unwrap();
    let mut running = Running::start(directory.path(), "");
    let newest = || fs::read_dir(state.join("ledger")).is_ok_and(|files| files.count() > 0);
    running.until("months are made", |_| newest()).await;
    assert_eq!(running.end(), Some(0), "{}", running.logged());

    let (code, out, log) = run(tripline(directory.path()).args(["ledger", "verify"]));
    assert_eq!(code, 0, "{out}{log}");
    let (_, lines, _) = run(tripline(directory.path()).args(["ledger", "export"]));
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<u64> = rows.iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "no row is missing, none is twice");
    let of = |kind: &str| rows.iter().filter(|row| row["kind"] == kind).count();
    assert_eq!((of("access"), of("start"), of("stop")), (1, 2, 1));
    assert!(of("alert") >= 1 && of("delivery") >= 1, "{lines}");
}
