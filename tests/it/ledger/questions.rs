//! The commands that ask, on what a real process recorded.

use std::fs;

use serde_json::Value;

use crate::binary::{run, tripline};

const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"@ID@","stage":"@STAGE@","requestURI":"@URI@","verb":"@VERB@","user":{"username":"@USER@","groups":["system:authenticated"]},"sourceIPs":["10.8.1.24"],"userAgent":"kubectl/v1.34","objectRef":{"resource":"@RESOURCE@","namespace":"payments","name":"@NAME@","subresource":"@BELOW@","apiVersion":"v1"},"responseStatus":{"code":@CODE@},"requestReceivedTimestamp":"@RECEIVED@","stageTimestamp":"2026-03-04T@TIME@Z","cluster":"prod","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"edit/payments\" of Role \"edit\" to User \"anna@example.org\""}}"#;

/// An event from `key=value` pairs.
fn event(pairs: &[(&str, &str)]) -> String {
    let usual = [
        ("ID", "1"),
        ("STAGE", "ResponseComplete"),
        ("URI", "/api/v1/namespaces/payments/secrets/db-password"),
        ("VERB", "get"),
        ("USER", "anna@example.org"),
        ("RESOURCE", "secrets"),
        ("NAME", "db-password"),
        ("BELOW", ""),
        ("CODE", "200"),
        ("RECEIVED", "2026-03-04T10:00:00.000000Z"),
        ("TIME", "10:00:00.100000"),
    ];
    let mut text = EVENT.to_owned();
    for (key, value) in pairs.iter().chain(&usual) {
        text = text.replace(&format!("@{key}@"), value);
    }
    text
}

/// A directory in which `tripline run` has read these events.
fn recorded(events: &[String]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("audit.log"), events.join("\n") + "\n").unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let config = format!(
        "sources: [{{file: {{paths: [audit.log]}}}}]\nrules: {root}/rules\nstate: state\n\
         http: {{listen: '127.0.0.1:0'}}\n\
         receivers: [{{name: out, stdout: {{format: json}}}}]\nroute: {{receiver: out}}\n"
    );
    fs::write(directory.path().join("tripline.yaml"), config).unwrap();
    let (code, _, log) = run(tripline(directory.path()).arg("run"));
    assert_eq!(code, 0, "{log}");
    directory
}

fn ask(directory: &tempfile::TempDir, args: &[&str]) -> (i32, String, String) {
    run(tripline(directory.path()).args(args))
}

const DAY: [&str; 2] = ["--from=2026-03-04", "--to=2026-03-05"];

fn world() -> tempfile::TempDir {
    let exec = "/api/v1/namespaces/payments/pods/web-0/exec?command=sh&command=-c&command=id";
    recorded(&[
        event(&[]),
        event(&[]),
        event(&[("ID", "2"), ("VERB", "list"), ("NAME", ""), ("TIME", "10:00:05.000000")]),
        event(&[
            ("ID", "3"),
            ("STAGE", "ResponseStarted"),
            ("URI", exec),
            ("RESOURCE", "pods"),
            ("NAME", "web-0"),
            ("BELOW", "exec"),
            ("CODE", "101"),
            ("TIME", "10:01:00.000000"),
        ]),
        event(&[
            ("ID", "3"),
            ("URI", exec),
            ("RESOURCE", "pods"),
            ("NAME", "web-0"),
            ("BELOW", "exec"),
            ("CODE", "101"),
            ("TIME", "10:01:35.000000"),
        ]),
        event(&[("ID", "4"), ("USER", "eve"), ("CODE", "403"), ("TIME", "11:00:00.000000")]),
    ])
}

#[test]
fn a_responder_and_an_auditor_get_their_answers() {
    let directory = world();
    let (code, out, log) =
        ask(&directory, &["timeline", "--actor", "anna@example.org", DAY[0], DAY[1]]);
    assert_eq!(code, 0, "{log}");
    for part in [
        "RoleBinding payments/edit → Role payments/edit",
        "kubectl get secrets db-password -n payments",
        "kubectl exec web-0 -n payments -- sh -c id  [session start]",
        "[session end after 1 min 35 s]",
        "10.8.1.24",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    assert!(!out.contains("eve"), "{out}");
    let reads = out.lines().filter(|line| line.contains("db-password")).count();
    assert_eq!(reads, 1, "a copy counts once\n{out}");

    let (_, out, _) = ask(
        &directory,
        &["who-did", "get", "secrets", "db-password", "-n", "payments", DAY[0], DAY[1]],
    );
    assert!(out.contains("[covered it]") && out.contains("eve"), "{out}");
    assert_eq!(out.lines().count(), 4, "{out}");

    let (_, out, _) = ask(&directory, &["sessions", "--format=jsonl", DAY[0], DAY[1]]);
    let session: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((&session["state"], &session["command"]), (&"ended".into(), &"sh -c id".into()));
    assert_eq!(session["seconds"], 95.0);

    let (_, out, _) = ask(&directory, &["visits", "--format=jsonl", DAY[0], DAY[1]]);
    let visits: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(visits.len(), 2, "{out}");
    assert_eq!((&visits[0]["requests"], &visits[1]["denied"]), (&3.into(), &1.into()));

    let (code, out, log) = ask(&directory, &["ledger", "verify"]);
    assert_eq!(code, 0, "{out}{log}");
    assert!(out.starts_with("sound: "), "{out}");
    let (_, lines, _) = ask(&directory, &["ledger", "export"]);
    let (code, out_of_file, _) = ask(&directory, &["ledger", "export", "--output", "all.jsonl"]);
    assert_eq!((code, out_of_file.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(directory.path().join("all.jsonl")).unwrap(), lines);
    let (code, exported, _) = ask(&directory, &["ledger", "verify", "--file", "all.jsonl"]);
    assert_eq!((code, exported), (0, out), "the export has the same chain");
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        assert!(row["kind"].is_string() && row["recorded"].is_string(), "{line}");
    }
    let (code, out, _) = ask(&directory, &["ledger", "status"]);
    assert!(code == 0 && out.contains("secret_read"), "{out}");
    let (code, out, _) = ask(&directory, &["coverage", DAY[0], DAY[1]]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn mistakes_are_named_with_what_was_meant() {
    let directory = world();
    for (args, hint) in [
        (&["timeline", "--actor", "ana@example.org"][..], "did you mean `anna@example.org`?"),
        (&["timeline", "--from=2026-03-05", "--to=2026-03-04"][..], "nothing lies between"),
        (&["timeline", "--zone", "Europe/Rom"][..], "did you mean Europe/Rome?"),
        (&["timeline", "--since", "soon"][..], "is not a span of time"),
        (&["timeline", "--from", "yesterday"][..], "is not a time"),
        (&["timeline", "--after", "x"][..], "is no cursor"),
        (&["who-did", "gett", "secrets"][..], "did you mean `get`?"),
        (&["who-did", "get", "secret"][..], "did you mean `secrets`?"),
        (&["ledger", "export", "--format=parquet", "-o", "x"][..], "--features parquet"),
        (&["ledger", "verify", "--seal", "abc"][..], "64 hexadecimal digits"),
        (&["ledger", "export", "--month", "2026-13"][..], "there are: 20"),
        (&["ledger", "export", "--month", "2020-01", "-o", "x"][..], "there are: 20"),
        (&["timeline", "--server", "127.0.0.1:9464"][..], "write it as http://127.0.0.1:9464"),
        (&["timeline", "--server", "localhost:9464"][..], "write it as http://127.0.0.1:9464"),
        (&["alerts", "list", "--server", "127.0.0.1:9464"][..], "write it as http://"),
        (&["silence", "list", "--server", "ftp://x"][..], "write it as http://"),
    ] {
        if cfg!(feature = "parquet") && args.contains(&"--format=parquet") {
            continue;
        }
        let (code, out, told) = ask(&directory, args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(told.contains(hint), "{args:?}: {told}");
    }
    let (code, _, told) = ask(&directory, &["timeline", "--state", "nowhere"]);
    assert!(code == 1 && told.contains("there is no ledger here"), "{told}");
}
