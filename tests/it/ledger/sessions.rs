//! Sessions that end otherwise than most, and more of them than anybody reads, on what a real process recorded.

use serde_json::Value;
use tempfile::TempDir;
use tripline::engine::limits::{FLOOD_ROWS, FLOOD_SESSIONS};

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

/// A time of the day so many seconds after ten.
fn at(seconds: usize) -> String {
    format!("{:02}:{:02}:{:02}.000000", 10 + seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// The first table of a section of a report of the day, its rows.
fn section(directory: &TempDir, args: &[&str], id: &str) -> Vec<Value> {
    let (code, out, log) = ask(directory, &[&["report"], args, &["--format=json"], &DAY].concat());
    assert_eq!(code, 0, "{log}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let section = sections.iter().find(|section| section["id"] == id).unwrap();
    section["tables"][0]["rows"].as_array().unwrap().clone()
}

#[test]
fn whoever_opens_more_sessions_than_anybody_reads_has_as_many_and_those_behind_are_found() {
    let most = usize::try_from(FLOOD_SESSIONS).unwrap();
    let mut events = Vec::new();
    for number in 0..most + 40 {
        let (id, pod, time) = (number.to_string(), format!("p{number}"), at(number / 4));
        for stage in ["ResponseStarted", "ResponseComplete"] {
            events.push(exec(&id, &pod, &[("STAGE", stage), ("TIME", &time)]));
        }
    }
    let directory = recorded(&events);
    let all = most + 40;
    let sessions = items(&directory, &["sessions"]);
    assert_eq!(sessions.len(), most + 1);
    let counted: u64 = sessions.iter().map(|session| session["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, all as u64);
    let ended = sessions.iter().filter(|session| session["state"] == "ended").count();
    assert_eq!(ended, most);
    let several = sessions.iter().find(|session| session["state"] == "rolled_up").unwrap();
    let told = ["count", "actor", "namespace", "subresource", "source_ip"];
    let told = told.map(|key| several[key].to_string());
    assert_eq!(told, ["40", "\"anna@example.org\"", "\"payments\"", "\"exec\"", "\"10.8.1.24\""]);
    assert!(items(&directory, &["sessions", "--running"]).is_empty());
    // Pods whose names were left out: it may be any.
    let (_, out, _) = ask(&directory, &["sessions", "--pod=p6039", DAY[0], DAY[1]]);
    let words = "[40 sessions, the last at 2026-03-04 10:25:09; names and commands were left out]";
    assert!(out.contains(words) && out.lines().count() == 2, "{out}");
    let asked = ["who-did", "create", "pods/exec", "p6039", "-n", "payments", DAY[0], DAY[1]];
    let (_, out, _) = ask(&directory, &asked);
    assert!(out.contains("kubectl exec … -n payments  [names were left out]"), "{out}");
    assert!(out.contains("[it may be among them]") && !out.contains("covered"), "{out}");

    let visits = items(&directory, &["visits"]);
    let of = |key: &str| visits.iter().map(|visit| visit[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((of("requests"), of("sessions")), (all as u64, all as u64));
    let people = section(&directory, &["access"], "people");
    for key in ["requests", "sessions"] {
        assert_eq!(people[0][key]["number"], all, "{key}");
    }
    let shown = section(&directory, &["access"], "sessions");
    assert!(!shown.is_empty());
    let framework = ["compliance", "--framework=pci-dss"];
    let (_, out, _) =
        ask(&directory, &[&["report"], &framework[..], &["--format=json"], &DAY].concat());
    let report: Value = serde_json::from_str(&out).unwrap();
    let sections = report["sections"].as_array().unwrap();
    let tables = sections.iter().flat_map(|section| section["tables"].as_array().unwrap());
    let rows = tables.flat_map(|table| table["rows"].as_array().unwrap());
    let of_class: Vec<&Value> = rows.filter(|row| row["class"] == "session").collect();
    assert!(!of_class.is_empty());
    assert!(of_class.iter().all(|row| row["requests"]["number"] == all), "{of_class:?}");
}

#[test]
fn secrets_that_are_read_one_by_one_are_no_list_however_many_they_are() {
    let most = usize::try_from(FLOOD_ROWS).unwrap();
    let mut events: Vec<String> = (0..most + 50)
        .map(|number| {
            let (id, name, time) = (number.to_string(), format!("s{number}"), at(number));
            event(&[("ID", &id), ("NAME", &name), ("TIME", &time)])
        })
        .collect();
    // Watches of one secret each are none of all.
    for number in 0..10 {
        let (id, time) = (format!("w{number}"), at(900 + number));
        events.push(event(&[("ID", &id), ("VERB", "watch"), ("TIME", &time)]));
    }
    events.push(event(&[("ID", "l"), ("VERB", "list"), ("NAME", ""), ("TIME", &at(950))]));
    let directory = recorded(&events);
    let secret = ["secrets", "never-touched", "-n", "payments", DAY[0], DAY[1]];
    let (_, out, _) = ask(&directory, &[&["who-did", "get"], &secret[..]].concat());
    let lines: Vec<&str> = out.lines().skip(1).collect();
    assert_eq!(lines.len(), 3, "{out}");
    let of = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(of("kubectl get secrets … -n payments  [names were left out]"), 1, "{out}");
    let watches =
        "kubectl get secrets … --watch --field-selector 'metadata.name=…' -n payments  [names";
    assert_eq!(of(watches), 1, "{out}");
    assert_eq!((of("[it may be among them]"), of("[covered it]")), (2, 1), "{out}");
    let secrets = section(&directory, &["access"], "secrets");
    let read = |name: &str| {
        let row = secrets.iter().find(|row| row["secret"] == name).unwrap();
        row["read"]["number"].clone()
    };
    assert_eq!((read("(names left out)"), read("(all)")), (60.into(), 1.into()));
}
