//! `tripline report` on what a real process recorded: what it says of permissions and exceptions, and what it is
//! given that it cannot use.

use std::{fs, path::Path, time::Duration};

use rusqlite::Connection;
use serde_json::Value;
use tripline::engine::time::EventTime;

use super::levels::event;
use crate::binary::{run, tripline};

const RULES: &str = "\
title: Secrets are read
name: reads
logsource: {product: kubernetes, service: audit}
detection:
  read: {verb: get, objectRef.resource: secrets}
  known: {user.username|expand: '%readers%'}
  condition: read and not known
level: low
---
title: Reads
name: record_reads
logsource: {product: kubernetes, service: audit}
detection: {read: {objectRef.resource: secrets}, condition: read}
tripline: {record: secret_read}
";

const LIST: &str = "\
- {value: ann, owner: dev, reason: she made them, expires: 2099-01-01}
- {value: bob, reason: nobody knows}
";

fn now() -> EventTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    EventTime::from_micros(i64::try_from(since.as_micros()).unwrap())
}

/// A directory in which a process has read what was done in the last three hours: ann reads six secrets.
fn recorded() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir_all(path.join("rules/lists")).unwrap();
    fs::write(path.join("rules/r.yaml"), RULES).unwrap();
    fs::write(path.join("rules/lists/readers.yaml"), LIST).unwrap();
    let mut log = String::new();
    for step in 0..36 {
        let at = now().minus(Duration::from_secs(10_800 - step * 300));
        let user = if step % 6 == 0 { "ann" } else { "eve" };
        let resource = if user == "ann" { "secrets" } else { "pods" };
        let of = (user, "get", resource, "");
        log.push_str(&event(&format!("e-{step}"), at, of, ("Metadata", "ResponseComplete")));
        log.push('\n');
    }
    fs::write(path.join("audit.log"), log).unwrap();
    let config = "sources: [{file: {paths: [audit.log]}}]\nrules: rules\nstate: state\n\
                  http: {listen: '127.0.0.1:0'}\n\
                  receivers: [{name: out, stdout: {format: json}}]\nroute: {receiver: out}\n";
    fs::write(path.join("tripline.yaml"), config).unwrap();
    let (code, _, log) = run(tripline(path).arg("run"));
    assert_eq!(code, 0, "{log}");
    directory
}

fn report(directory: &Path, args: &[&str]) -> (i32, Value, String) {
    let (code, out, told) =
        run(tripline(directory).arg("report").args(args).args(["--format", "json"]));
    (code, serde_json::from_str(&out).unwrap_or(Value::Null), told)
}

fn sample(directory: &Path) -> (i32, Value, String) {
    let (code, out, told) = run(tripline(directory).args([
        "sample",
        "--class",
        "secret_read",
        "--since",
        "1d",
        "--format",
        "json",
    ]));
    (code, serde_json::from_str(&out).unwrap_or(Value::Null), told)
}

fn tables<'v>(report: &'v Value, id: &str) -> &'v [Value] {
    let sections = report["sections"].as_array().unwrap();
    let section = sections.iter().find(|section| section["id"] == id);
    section.unwrap_or_else(|| panic!("no section {id}"))["tables"].as_array().unwrap()
}

fn warnings(report: &Value) -> String {
    let all = report["warnings"].as_array().unwrap().iter();
    all.flat_map(|one| [one.as_str().unwrap(), "\n"]).collect()
}

#[test]
fn a_report_says_how_often_exceptions_were_used_and_who_answers_for_them() {
    let directory = recorded();
    for args in [
        &["access", "--since=1d"][..],
        &["alerts", "--since=1d"],
        &["compliance", "--framework=soc2", "--since=1d"],
    ] {
        let (code, report, told) = report(directory.path(), args);
        assert_eq!(code, 0, "{args:?}: {told}");
        let rows = tables(&report, "exceptions")[0]["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2, "{args:?}: {rows:#?}");
        assert_eq!(rows[0]["exception"], "`ann` in rules/lists/readers.yaml", "{args:?}");
        assert_eq!((&rows[0]["owner"], &rows[0]["is"]), (&"dev".into(), &"in force".into()));
        // The hour that runs is not told yet.
        let uses = rows[0]["used"]["number"].as_u64().unwrap();
        assert!((3..=6).contains(&uses), "{uses}");
        assert_eq!((&rows[1]["owner"], &rows[1]["ends"]), (&"nobody".into(), &"never".into()));
        // Nobody has used it, but not all of the day was observed.
        assert_eq!(rows[1]["used"]["absent"], "not observed");
    }
}

#[test]
fn a_report_holds_what_is_granted_against_what_was_used() {
    let directory = recorded();
    let path = directory.path();
    let (_, before, _) = report(path, &["access", "--since=1d"]);
    let [summary, rules] = tables(&before, "permissions") else { panic!("two tables") };
    assert!(summary["rows"][0]["roles and bindings"].as_str().unwrap().contains("import FILE"));
    assert!(rules["empty"].as_str().unwrap().contains("permissions import"), "{rules}");
    fs::write(path.join("rbac.json"), crate::permissions::cluster().to_string()).unwrap();
    let import = ["permissions", "import", "rbac.json"];
    let (code, out, told) = run(tripline(path).args(import));
    assert_eq!(code, 0, "{out}{told}");
    // A process has to read it into the ledger.
    let (code, _, log) = run(tripline(path).arg("run"));
    assert_eq!(code, 0, "{log}");
    for args in
        [&["access", "--since=1d"][..], &["compliance", "--framework=pci-dss", "--since=1d"]]
    {
        let (_, after, told) = report(path, args);
        let [summary, rules] = tables(&after, "permissions") else { panic!("two tables") };
        let counted = |verdict: &str| summary["rows"][0][verdict]["number"].as_u64().unwrap();
        let verdicts = ["unused", "not observed", "cannot tell", "used"].map(counted);
        let rows = rules["rows"].as_array().unwrap();
        assert_eq!(verdicts.iter().sum::<u64>(), rows.len() as u64, "{told}");
        assert!(rows.len() >= 6, "{rows:#?}");
        for row in rows {
            let verdict = row["verdict"].as_str().unwrap();
            assert!(matches!(verdict, "unused" | "not observed" | "cannot tell" | "used"));
            // Only some hours of the day were seen; but what gives nothing cannot be used.
            let gives_nothing = row["why"].as_str().unwrap().contains("gives nothing");
            assert_eq!(verdict == "unused", gives_nothing, "{row}");
            assert!(!row["why"].as_str().unwrap().is_empty(), "{row}");
        }
    }
}

#[test]
fn a_time_of_which_little_is_known_is_told_in_words() {
    let directory = recorded();
    let path = directory.path();
    // Before the ledger began.
    let (code, early, told) = report(path, &["access", "--since=10d"]);
    assert_eq!(code, 0, "{told}");
    assert!(warnings(&early).contains(" of the 241 of the period are told of, the first from "));
    assert!(told.contains("the rest was not observed"), "{told}");
    // Without anything.
    let (code, empty, told) = report(path, &["access", "--from=2020-01-01", "--to=2020-01-02"]);
    assert_eq!(code, 0, "{told}");
    assert!(warnings(&empty).contains("No full hour of this period is told of"), "{empty}");
    assert_eq!(tables(&empty, "people")[0]["empty"]["absent"], "not observed");
    // Backwards.
    let (code, _, told) = report(path, &["access", "--from=2020-01-02", "--to=2020-01-01"]);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("nothing lies between"), "{told}");
}

#[test]
fn who_takes_a_report_or_a_sample_is_noted_and_who_names_another_cluster_is_told() {
    let directory = recorded();
    let path = directory.path();
    let notes = || fs::read_dir(path.join("state/views")).map_or(0, Iterator::count);
    let before = notes();
    let (code, _, told) = report(path, &["access", "--since=1d"]);
    assert!(code == 0 && notes() == before + 1, "{told}");
    let (code, _, told) = sample(path);
    assert!(code == 0 && notes() == before + 2, "{told}");
    let (code, _, told) = report(path, &["access", "--since=1d", "--cluster=lap"]);
    assert!(code == 2 && told.contains("nothing is known of the cluster `lap`"), "{told}");
    assert_eq!(notes(), before + 2, "nothing was shown");
}

/// The rules record nothing but reads of secrets.
#[test]
fn a_question_that_finds_nothing_says_what_no_rule_recorded() {
    let directory = recorded();
    for (question, missing) in [
        (&["sessions"][..], "no rule that records session:"),
        (&["who-did", "create", "roles"], "permission_change"),
        (&["timeline", "--actor=ann", "--class=session"], "no rule that records session:"),
    ] {
        let asked = [question, &["--since=1d"]].concat();
        let (code, out, told) = run(tripline(directory.path()).args(asked));
        assert_eq!(code, 0, "{question:?}: {told}");
        assert!(told.contains(missing), "{question:?}: {out}{told}");
    }
    let found = ["who-did", "get", "secrets", "--since=1d"];
    let (_, _, told) = run(tripline(directory.path()).args(found));
    assert!(!told.contains("no rule"), "{told}");
}

#[test]
fn a_framework_with_a_typo_is_refused_with_place_and_hint() {
    let directory = recorded();
    let path = directory.path();
    fs::create_dir(path.join("frameworks")).unwrap();
    let text = "framework: ours\ntitle: Ours\nversion: '1'\ncontrols:\n  - {id: A.1, title: One, classes: [secret_reed]}\n";
    fs::write(path.join("frameworks/ours.yaml"), text).unwrap();
    let compliance = ["compliance", "--framework=ours", "--frameworks=frameworks", "--rules=rules"];
    let (code, out, told) = report(path, &compliance);
    assert_eq!((code, out), (2, Value::Null), "{told}");
    assert!(told.contains("ours.yaml:5:") && told.contains("secret_reed"), "{told}");
    assert!(told.contains("did you mean `secret_read`?"), "{told}");
    let unknown = ["compliance", "--framework=pci"];
    let (code, _, told) = report(path, &unknown);
    assert!(code == 2 && told.contains("no framework `pci`") && told.contains("pci-dss"), "{told}");
}

#[test]
fn a_month_that_does_not_hold_is_named_first_and_not_counted() {
    let directory = recorded();
    let path = directory.path();
    let (_, before, _) = report(path, &["access", "--since=1d"]);
    assert_eq!(tables(&before, "people")[0]["rows"][0]["person"], "ann", "{before}");
    let mut files = fs::read_dir(path.join("state/ledger")).unwrap();
    let file = files
        .find_map(|entry| {
            let path = entry.unwrap().path();
            path.extension().is_some_and(|extension| extension == "db").then_some(path)
        })
        .unwrap();
    let month = file.file_stem().unwrap().to_str().unwrap().to_owned();
    let (code, drawn, told) = sample(path);
    assert_eq!((code, &drawn["holds"]), (0, &Value::Bool(true)), "{told}");
    assert!(drawn["verified"][0].as_str().unwrap().starts_with("verified before"), "{drawn}");
    let connection = Connection::open(&file).unwrap();
    let changed =
        connection.execute("UPDATE text SET text = 'nan' WHERE text = 'ann'", []).unwrap();
    assert_eq!(changed, 1);
    drop(connection);
    let (code, after, told) = report(path, &["access", "--since=1d"]);
    assert_eq!(code, 1, "{told}");
    let warnings = warnings(&after);
    let first = warnings.lines().next().unwrap();
    assert!(
        first.starts_with(&format!("the ledger does not hold in {month}, rows ")),
        "{warnings}"
    );
    assert!(warnings.contains(&format!("not counted: {month}, rows 1 to ")), "{warnings}");
    assert_eq!(tables(&after, "people")[0]["rows"].as_array().unwrap().len(), 0, "{after}");
    // Nor is anything drawn from it: nobody knows which of its rows are sound.
    let (code, drawn, told) = sample(path);
    assert_eq!((code, drawn), (2, Value::Null), "{told}");
    assert!(told.contains(&format!("was not drawn from: {month}, rows 1 to ")), "{told}");
}
