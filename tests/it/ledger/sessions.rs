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
    section_of(directory, &[args, &DAY].concat(), id)
}

/// The same of a report of another time, which the arguments say.
fn section_of(directory: &TempDir, args: &[&str], id: &str) -> Vec<Value> {
    let (code, out, log) = ask(directory, &[&["report"], args, &["--format=json"]].concat());
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

/// A stage of an exec on some day of March; it was asked for on another one.
fn stage(pod: &str, asked_for: &str, (stage, code): (&str, &str), at: &str) -> String {
    let received = format!("2026-03-{asked_for}.000000Z");
    let of_stage = [("STAGE", stage), ("CODE", code), ("RECEIVED", received.as_str())];
    let (day, time) = at.split_once('T').unwrap();
    let time = format!("{time}.000000");
    let event = exec(pod, pod, &[&of_stage[..], &[("TIME", time.as_str())]].concat());
    let stamped = |day: &str| format!("\"stageTimestamp\":\"2026-03-{day}T");
    event.replace(&stamped("04"), &stamped(day))
}

/// Reports tell of sessions what `tripline sessions` tells: how each ended, be it behind the period, and what was open when
/// the period began.
#[test]
fn sessions_in_reports_are_those_that_the_question_tells_of() {
    const OPENED: (&str, &str) = ("ResponseStarted", "101");
    const CLOSED: (&str, &str) = ("ResponseComplete", "101");
    const PANICKED: (&str, &str) = ("Panic", "500");
    let directory = recorded(&[
        stage("long", "01T09:00:00", OPENED, "01T09:00:00"),
        stage("failed", "04T10:00:00", OPENED, "04T10:00:00"),
        stage("failed", "04T10:00:00", PANICKED, "04T10:40:00"),
        stage("open", "04T11:00:00", OPENED, "04T11:00:00"),
        stage("refused", "04T12:00:00", ("ResponseStarted", "403"), "04T12:00:00"),
        stage("refused", "04T12:00:00", ("ResponseComplete", "403"), "04T12:00:00"),
        stage("over", "04T23:30:00", OPENED, "04T23:30:00"),
        stage("failed-behind", "04T23:40:00", OPENED, "04T23:40:00"),
        stage("over", "04T23:30:00", CLOSED, "05T00:10:00"),
        stage("failed-behind", "04T23:40:00", PANICKED, "05T00:20:00"),
        stage("long", "01T09:00:00", CLOSED, "05T09:00:00"),
        stage("late", "05T10:00:00", CLOSED, "05T10:30:00"),
    ]);
    let fourth = ["--from=2026-03-04", "--to=2026-03-05"];
    let fifth = ["--from=2026-03-05", "--to=2026-03-06"];
    let both = ["--from=2026-03-04", "--to=2026-03-06"];
    let told = |days: &[&str; 2]| -> Vec<String> {
        let rows = section_of(&directory, &[&["access"], &days[..]].concat(), "sessions");
        let cell = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let line = |row: &Value| {
            let what = cell(row, "what");
            let pod = what.split(' ').nth(2).unwrap().to_owned();
            format!("{pod}: {}, {}", cell(row, "outcome"), cell(row, "duration"))
        };
        rows.iter().map(line).collect()
    };
    let never = "its end was not seen";
    let open = format!("open: success 101, {never}");
    let behind = "ended after the period";
    assert_eq!(
        told(&fourth),
        [
            "failed: error 500, 40 min 0 s".to_owned(),
            open.clone(),
            "refused: denied 403, 0 s".to_owned(),
            format!("over: success 101, 40 min 0 s, {behind}"),
            format!("failed-behind: error 500, 40 min 0 s, {behind}"),
        ]
    );
    // What began in the 12 hours before, or is ended in it.
    assert_eq!(
        told(&fifth),
        [
            "long: success 101, 4 d 0 h",
            "over: success 101, 40 min 0 s",
            "failed-behind: error 500, 40 min 0 s",
            "late: success 101, 30 min 0 s",
        ]
    );
    // The question has the same ones, in whatever order, and says the same of each.
    for days in [&fourth, &fifth, &both] {
        let asked = [&["sessions", "--format=jsonl"], &days[..]].concat();
        let (_, out, log) = ask(&directory, &asked);
        let mut questioned: Vec<String> = out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|one| {
                let (pod, outcome) =
                    (one["name"].as_str().unwrap(), one["outcome"].as_str().unwrap());
                format!("{pod}: {outcome} {}, ended {}", one["code"], !one["end"].is_null())
            })
            .collect();
        let mut reported: Vec<String> = told(days)
            .iter()
            .map(|line| {
                let (what, _) = line.split_once(", ").unwrap();
                format!("{what}, ended {}", !line.contains(never))
            })
            .collect();
        questioned.sort();
        reported.sort();
        assert_eq!(reported, questioned, "{days:?} {log}");
    }
    // A request is of the time in which it began, and counts there as what its end says.
    for (days, expected) in [(&fourth, [5, 1, 2]), (&fifth, [1, 0, 0]), (&both, [6, 1, 2])] {
        for verifies in ["--verify=all", "--verify=period"] {
            let framework = ["compliance", "--framework=pci-dss", verifies];
            let rows = section_of(&directory, &[&framework[..], &days[..]].concat(), "10.2.1.2");
            let row = rows.iter().find(|row| row["class"] == "session").unwrap();
            let counts = ["requests", "of these refused", "failed"];
            let counts = counts.map(|key| row[key]["number"].as_u64().unwrap_or(0));
            assert_eq!(counts, expected, "{days:?} {verifies}");
        }
    }
}
