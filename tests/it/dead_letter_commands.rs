//! `tripline dead-letters` by the real binary, over what a run left behind.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    binary::tripline,
    http_server::write_rule,
    running::{Running, event},
};

/// Exit code and output of `tripline dead-letters …`; the errors come behind.
fn dead_letters(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = tripline(directory).arg("dead-letters").args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn json_of(directory: &Path, arguments: &[&str]) -> Value {
    let (_, text) = dead_letters(directory, arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn letters_are_listed_shown_and_sent_again_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write_rule(path);
    let mut running = Running::start(path, "");
    running.write(r#"{"password":"hunter2","user":{"username":"ann"}, nope"#);
    assert_eq!(running.end(), Some(0), "{}", running.logged());

    let kept = std::fs::read_to_string(path.join("state/dead-letters/dead-letter-000001.jsonl"));
    assert!(!kept.unwrap().contains("hunter2"), "nothing leaves with a secret");
    let listed = json_of(path, &["list", "--format", "json"]);
    assert_eq!(listed["total"], 1, "{listed}");
    let id = listed["dead_letters"][0]["id"].as_str().unwrap().to_owned();
    let reason = listed["dead_letters"][0]["reason"].as_str().unwrap().to_owned();
    let (code, text) = dead_letters(path, &["list", "--limit", "1"]);
    assert!(code == Some(0) && text.contains("1 of 1 dead letter"), "{text}");
    let (code, text) = dead_letters(path, &["list", "--reason", &reason]);
    assert!(code == Some(0) && text.contains(&id), "{text}");
    assert_eq!(dead_letters(path, &["list", "--reason", "loud"]).0, Some(2));

    let (code, text) = dead_letters(path, &["show", &id]);
    assert!(code == Some(0) && text.contains("[redacted]") && text.contains("ann"), "{text}");
    let shown = json_of(path, &["show", &id, "--format", "json"]);
    let payload = shown["dead_letters"][0]["payload"].as_str().unwrap();
    assert!(payload.contains(r#""password":"[redacted]""#), "{payload}");
    let (code, text) = dead_letters(path, &["show", "audit/9@9"]);
    assert!(code == Some(1) && text.contains("there is no dead letter"), "{text}");

    let (code, text) = dead_letters(path, &["replay", "--dry-run"]);
    assert!(code == Some(1) && text.contains("still not be decoded"), "{text}");
    // As one that an earlier version could not decode.
    let letter = json!({
        "time": "2026-01-05T22:14:01.000000Z", "topic": "audit", "partition": 2, "offset": 7,
        "reason": "not_an_event", "detail": "", "payload": event("get", "eve", "2026-01-05T22:14:01"),
    });
    let file = path.join("state/dead-letters/dead-letter-000002.jsonl");
    std::fs::write(file, format!("{letter}\n")).unwrap();
    let (code, text) = dead_letters(path, &["replay", "audit/2@7", "--output", "again.jsonl"]);
    assert!(code == Some(0) && text.contains("1 dead letter sent again"), "{text}");
    let again = std::fs::read_to_string(path.join("again.jsonl")).unwrap();
    assert!(again.lines().count() == 1 && again.contains("eve"), "{again}");
    // Nothing is sent, and nothing that is there is lost.
    let (code, text) = dead_letters(path, &["replay", "--dry-run", "--output", "again.jsonl"]);
    assert!(code == Some(1) && text.contains("1 dead letter would be sent again"), "{text}");
    assert_eq!(std::fs::read_to_string(path.join("again.jsonl")).unwrap(), again);
    let (code, text) = dead_letters(path, &["replay", "audit/2@7"]);
    assert!(code == Some(1) && text.contains("--output"), "no topic of ours: {text}");
    let replayed = json_of(path, &["replay", "--dry-run", "--format", "json"]);
    assert_eq!(replayed["sent"], json!([{"id": "audit/2@7", "from": "kept"}]), "{replayed}");
    assert_eq!(replayed["left"].as_array().unwrap().len(), 1);
}
