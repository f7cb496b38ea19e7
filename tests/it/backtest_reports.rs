//! What `tripline backtest` makes of odd input, and what it tells people: through the real binary.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

fn tripline(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tripline"));
    command.current_dir(directory).env_remove("NO_COLOR");
    command
}

fn run(directory: &Path, line: &str) -> (i32, String, String) {
    let output = tripline(directory).args(line.split_whitespace()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn rules(level: &str) -> String {
    format!(
        "title: Secret read\nname: secret_read\nlogsource: {{product: kubernetes, service: audit}}\n\
         id: 2c9c44f8-3a7b-4d1d-9c3a-0f6a3a1d2e51\n\
         detection:\n  read: {{objectRef.resource: secrets, verb: get}}\n  condition: read\n\
         level: {level}\ntripline: {{group-by: [user.username]}}\n"
    )
}

/// A directory with a rule in `rules`.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("rules")).unwrap();
    fs::write(directory.path().join("rules/secrets.yaml"), rules("high")).unwrap();
    directory
}

/// Somebody reads a secret at this second of a day.
fn read(user: &str, second: u32) -> String {
    let time =
        format!("2026-03-04T{:02}:{:02}:{:02}.5Z", second / 3600, second / 60 % 60, second % 60);
    format!(
        "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\
         \"{user}-{second}\",\"stage\":\"ResponseComplete\",\"requestURI\":\"/\",\"verb\":\"get\",\
         \"user\":{{\"username\":\"{user}\"}},\"objectRef\":{{\"resource\":\"secrets\"}},\
         \"responseStatus\":{{\"code\":200}},\"stageTimestamp\":\"{time}\"}}\n"
    )
}

fn report(directory: &Path, line: &str) -> Value {
    let (code, out, err) = run(directory, line);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn alerts_begin_and_end_as_they_did_however_thin_history_is() {
    // All of this is one batch, and two attacks.
    let directory = directory();
    let path = directory.path();
    let events: String = [10, 20, 30, 50_000, 50_010].map(|second| read("eve", second)).concat();
    fs::write(path.join("events.jsonl"), events).unwrap();
    let document = report(path, "backtest --format json events.jsonl");
    let report = &document["report"];
    assert_eq!(report["alerts"], 2);
    assert_eq!(report["from"], "2026-03-04T00:00:10.500000Z");
    assert_eq!(report["to"], "2026-03-04T13:53:30.500000Z");
    let rule = &report["rules"][0];
    assert_eq!(rule["name"], "secret_read");
    assert_eq!(rule["top_keys"][0], serde_json::json!({"key": "user.username=eve", "alerts": 2}));
    let plot: Vec<u64> =
        rule["over_time"].as_array().unwrap().iter().map(|bin| bin.as_u64().unwrap()).collect();
    assert_eq!((plot[0], plot[plot.len() - 1], plot.iter().sum()), (1, 1, 2_u64));
    assert!(rule["alerts_per_day"].as_f64().unwrap() > 2.0);
}

#[test]
fn silence_is_heard_for_each_cluster_even_within_one_batch() {
    let directory = directory();
    let path = directory.path();
    let rule = rules("high")
        .replace("group-by: [user.username]", "absence: {group-by: [cluster], timespan: 10m}");
    fs::write(path.join("rules/secrets.yaml"), rule).unwrap();
    let events: String =
        (0..40).filter(|n| !(10..25).contains(n)).map(|n| read("eve", n * 60)).collect();
    fs::write(path.join("events.jsonl"), events).unwrap();
    let nameless = report(path, "backtest --format json events.jsonl");
    assert_eq!(nameless["report"]["alerts"], 0);
    let named = report(path, "backtest --format json --cluster prod events.jsonl");
    assert_eq!(named["report"]["alerts"], 1);
    let rule = &named["report"]["rules"][0];
    assert_eq!(rule["top_keys"][0]["key"], "cluster=prod");
    // Ten minutes after the last event before the silence.
    assert_eq!(rule["first"], "2026-03-04T00:19:00.500000Z");
}

#[test]
fn too_little_history_has_no_rate() {
    let directory = directory();
    fs::write(directory.path().join("events.jsonl"), read("eve", 1) + &read("eve", 9)).unwrap();
    let document = report(directory.path(), "backtest --format json events.jsonl");
    assert_eq!(document["report"]["alerts_per_day"], Value::Null);
    let (_, out, _) = run(directory.path(), "backtest events.jsonl");
    assert!(out.contains("1       –  high          Secret read "), "{out}");
}

#[test]
fn what_cannot_be_decoded_is_counted_with_its_first_place() {
    let directory = directory();
    let path = directory.path();
    let bad = format!("{}oops\n\n{{\"a\":1}}\nmore\n{}", read("eve", 1), read("eve", 2));
    fs::write(path.join("bad.jsonl"), bad).unwrap();
    let (code, out, err) = run(path, "backtest bad.jsonl");
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("3 could not be decoded:"), "{out}");
    assert!(out.contains("2  not_json        first at bad.jsonl:2:"), "{out}");
    assert!(out.contains("1  not_an_event    first at bad.jsonl:4:"), "{out}");
    assert!(out.contains("1 alert; 0 of 1 rules"), "{out}");

    // Nothing but such is no history at all.
    fs::write(path.join("bad.jsonl"), "oops\n").unwrap();
    let (code, out, _) = run(path, "backtest bad.jsonl");
    assert!(code == 1 && out.contains("no audit event in it"), "{code} {out}");
    fs::write(path.join("bad.jsonl"), "").unwrap();
    let (code, out, _) = run(path, "backtest bad.jsonl");
    assert!(code == 0 && out.contains("no audit event in it"), "{code} {out}");
}

#[test]
fn a_file_that_breaks_off_fails_and_the_rest_is_reported() {
    let directory = directory();
    let path = directory.path();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for second in 0..5_000 {
        encoder.write_all(read("eve", second).as_bytes()).unwrap();
    }
    let bytes = encoder.finish().unwrap();
    fs::write(path.join("a.gz"), &bytes[..bytes.len() - 9]).unwrap();
    fs::write(path.join("b.jsonl"), read("mallory", 9_000)).unwrap();
    let (code, out, _) = run(path, "backtest a.gz b.jsonl");
    assert_eq!(code, 1);
    assert!(out.starts_with("INCOMPLETE: cannot read a.gz after line"), "{out}");
    assert!(out.contains("user.username=eve") && out.contains("user.username=mallory"), "{out}");
    let (code, out, err) = run(path, "backtest --format json a.gz");
    assert_eq!(code, 1);
    assert!(err.contains("error: cannot read a.gz after line"), "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["report"]["problems"].as_array().unwrap().len(), 1);

    let (code, out, err) = run(path, "backtest gone.log *.none a.gz");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("gone.log: no such file\n*.none: matches no file"), "{err}");
}

#[test]
fn standard_input_pipes_and_documents_are_history_too() {
    let directory = directory();
    let path = directory.path();
    let items = [read("eve", 1), read("mallory", 2)].map(|event| event.trim().to_owned());
    let pretty =
        format!("{{\n  \"kind\": \"EventList\",\n  \"items\": [\n{}\n]\n}}", items.join(",\n"));
    fs::write(path.join("list.json"), pretty).unwrap();
    let from_file = report(path, "backtest --format json list.json");
    assert_eq!(
        (&from_file["report"]["events"], &from_file["report"]["alerts"]),
        (&2.into(), &2.into())
    );
    let shell = format!(
        "cat list.json | {0} backtest --format json - >piped && {0} backtest --format json <(cat list.json) >substituted",
        env!("CARGO_BIN_EXE_tripline")
    );
    let status = Command::new("bash").current_dir(path).args(["-c", &shell]).status().unwrap();
    assert!(status.success());
    for output in ["piped", "substituted"] {
        let document: Value =
            serde_json::from_str(&fs::read_to_string(path.join(output)).unwrap()).unwrap();
        assert_eq!(document, from_file, "{output}");
    }
}

#[test]
fn lines_of_alerts_come_as_they_fire_and_an_interrupt_reports_what_was_found() {
    let directory = directory();
    let mut child = tripline(directory.path())
        .args(["backtest", "--format", "jsonl", "--html", "report.html", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    stdin.write_all(read("eve", 1).as_bytes()).unwrap();
    let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(line["labels"]["alertname"], "secret_read");
    assert_eq!(line["fingerprint"].as_str().unwrap().len(), 32);
    // Nothing more comes, and the pipe stays open.
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(lines.next().is_none(), "alerts and nothing else");
    drop(stdin);
    let page = fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert!(page.contains("Interrupted") && page.contains("user.username=eve"), "{page}");
}

#[test]
fn two_rule_sets_are_compared_by_rule_and_key() {
    let directory = directory();
    let path = directory.path();
    fs::create_dir(path.join("old")).unwrap();
    let old = rules("low").replace("verb: get}", "verb: get, user.username|contains: 'e'}");
    fs::write(path.join("old/secrets.yaml"), old).unwrap();
    let other = rules("low")
        .replace("Secret read", "Anything read")
        .replace("secret_read", "anything")
        .replace("2c9c44f8", "3c9c44f8");
    fs::write(path.join("old/anything.yaml"), &other).unwrap();
    let events: String =
        [("eve", 1), ("bob", 2), ("eve", 9_000)].map(|(user, second)| read(user, second)).concat();
    fs::write(path.join("events.jsonl"), events).unwrap();

    let document = report(path, "backtest --format json --against old events.jsonl");
    let against = &document["against"];
    assert_eq!((&against["alerts_before"], &against["alerts_now"]), (&5.into(), &3.into()));
    let rules = against["rules"].as_array().unwrap();
    assert_eq!((&rules[0]["change"], &rules[0]["name"]), (&"gone".into(), &"anything".into()));
    assert_eq!(
        (&rules[1]["change"], &rules[1]["name"]),
        (&"changed".into(), &"secret_read".into())
    );
    assert_eq!(
        rules[1]["keys"],
        serde_json::json!([{"key": "user.username=bob", "alerts_before": 0, "alerts_now": 1}])
    );
    let (_, out, _) = run(path, "backtest --against old --html report.html events.jsonl");
    assert!(
        out.contains("Against the other rules: 5 alerts before, 3 now; 0 rules say the same"),
        "{out}"
    );
    assert!(out.contains("changed  Secret read (secret_read): 2 → 3 alerts, low → high"), "{out}");
    assert!(out.contains("0 → 1  user.username=bob"), "{out}");
    let page = fs::read_to_string(path.join("report.html")).unwrap();
    assert!(page.contains("Against the other rules") && !page.contains("http"), "{page}");
    let same = report(path, "backtest --format json --against rules events.jsonl");
    assert_eq!(same["against"]["rules"], serde_json::json!([]));
    assert_eq!(same["against"]["rules_unchanged"], 1);
}
