//! Sessions that end otherwise than most, and more of them than anybody reads, on what a real process recorded.

use serde_json::Value;
use tempfile::TempDir;

use super::questions::{DAY, ask, event, recorded};

/// A stage of an exec in a pod.
fn exec(id: &str, pod: &str, more: &[(&str, &str)]) -> String {
    let uri = format!("/api/v1/namespaces/payments/pods/{pod}/exec?command=id");
    let of_exec = [
        ("ID", id),
        ("URI", uri.as_str()),
        ("RESOURCE", "pods"),
        ("NAME", pod),
        ("BELOW", "exec"),
        ("VERB", "create"),
        ("CODE", "101"),
    ];
    event(&[more, &of_exec].concat())
}

/// The answer to a question about the day, as JSON, a value an item.
fn items(directory: &TempDir, args: &[&str]) -> Vec<Value> {
    let (code, out, log) = ask(directory, &[args, &["--format=jsonl"], &DAY].concat());
    assert_eq!(code, 0, "{log}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_session_that_a_panic_ends_has_failed() {
    let began = [("STAGE", "ResponseStarted"), ("TIME", "10:01:00.000000")];
    let panicked = [("STAGE", "Panic"), ("CODE", "500"), ("TIME", "10:02:00.000000")];
    let directory = recorded(&[
        exec("1", "web-0", &began),
        exec("1", "web-0", &panicked),
        exec("1", "web-0", &panicked),
        // Of this one the log has the end alone.
        exec("2", "web-1", &panicked),
    ]);
    let sessions = items(&directory, &["sessions"]);
    let told = |session: &Value| {
        ["name", "state", "code", "seconds"].map(|key| session[key].to_string()).join(" ")
    };
    let told: Vec<String> = sessions.iter().map(told).collect();
    assert_eq!(told, ["\"web-0\" \"failed\" 500 120.0", "\"web-1\" \"failed\" 500 120.0"]);
    assert!(items(&directory, &["sessions", "--running"]).is_empty());
    let steps = items(&directory, &["timeline"]);
    let steps: Vec<&str> = steps.iter().filter_map(|row| row["session"].as_str()).collect();
    assert_eq!(steps, ["start", "end", "end"]);
    let visits = items(&directory, &["visits"]);
    assert_eq!((&visits[0]["requests"], &visits[0]["sessions"]), (&2.into(), &2.into()));
}
