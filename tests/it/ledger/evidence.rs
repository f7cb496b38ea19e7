//! Evidence of alerts: made of what a real process recorded, checked and replayed by the binary alone, and every
//! part of it changed in turn.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tripline::{
    archive::verify::Asked,
    engine::ledger::hex_of,
    evidence::{Package, verify},
};

use crate::binary::{run, tripline};

const RULES: &str = "
title: Secret read
name: secret_read
id: 3a1b8f52-6a1d-4c58-9d0e-0f1c7a0e0001
logsource: {product: kubernetes, service: audit}
detection:
  read: {verb: get, objectRef.resource: secrets}
  known: {user.username|expand: '%readers%'}
  condition: read and not known
level: low
---
title: Burst
name: burst
id: 3a1b8f52-6a1d-4c58-9d0e-0f1c7a0e0002
correlation:
  type: event_count
  rules: [secret_read]
  group-by: [user.username]
  timespan: 5m
  condition: {gte: 5}
level: high
---
title: Reads
name: reads
logsource: {product: kubernetes, service: audit}
detection: {read: {objectRef.resource: secrets}, condition: read}
tripline: {record: secret_read}
";

pub(super) fn event(user: &str, second: u32) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{user}-{second}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/secrets/s{second}","verb":"get","user":{{"username":"{user}"}},"sourceIPs":["10.0.0.1"],"userAgent":"kubectl","objectRef":{{"resource":"secrets","namespace":"shop","name":"s{second}","apiVersion":"v1"}},"responseStatus":{{"code":200}},"requestReceivedTimestamp":"2026-03-04T10:00:{second:02}.000000Z","stageTimestamp":"2026-03-04T10:00:{second:02}.100000Z","cluster":"prod"}}"#
    )
}

/// A directory in which `tripline run` has seen eve read seven secrets, among others.
fn world() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write_world(directory.path(), "");
    directory
}

/// The same in a directory that is there, with more configuration.
pub(super) fn write_world(directory: &Path, more: &str) {
    let path = |name: &str| directory.join(name);
    let mut events: Vec<String> = (0..7).map(|second| event("eve", second)).collect();
    events.extend((0..3).map(|second| event("bob", 10 + second)));
    events.extend((0..9).map(|second| event("backup", 20 + second)));
    fs::write(path("audit.log"), events.join("\n") + "\n").unwrap();
    fs::create_dir_all(path("rules/lists")).unwrap();
    fs::write(path("rules/burst.yaml"), RULES).unwrap();
    fs::write(path("rules/lists/readers.txt"), "backup\n").unwrap();
    let config = "sources: [{file: {paths: [audit.log]}}]\nrules: rules\nstate: state\n\
                  http: {listen: '127.0.0.1:0'}\n\
                  receivers: [{name: out, stdout: {format: json}}]\nroute: {receiver: out}\n";
    fs::write(path("tripline.yaml"), format!("{config}{more}")).unwrap();
    let (code, _, log) = run(tripline(directory).arg("run"));
    assert_eq!(code, 0, "{log}");
}

/// Fingerprint of the only alert that rules made.
fn fingerprint(directory: &Path) -> String {
    let (code, out, log) = run(tripline(directory).args(["ledger", "export"]));
    assert_eq!(code, 0, "{log}");
    let rows = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let alerts = rows.filter(|row| row["kind"] == "alert" && row["detail"] == "Burst");
    let names: Vec<String> =
        alerts.map(|row| row["subject"].as_str().unwrap().to_owned()).collect();
    assert!(!names.is_empty(), "{out}");
    names[0].clone()
}

/// Makes the evidence; what was said.
pub(super) fn make(directory: &Path, more: &[&str]) -> (PathBuf, String) {
    let name = fingerprint(directory);
    let args = ["evidence", &name[..12], "--output", "case.tar.zst"];
    let (code, out, log) = run(tripline(directory).args(args).args(more));
    assert_eq!(code, 0, "{out}{log}");
    (directory.join("case.tar.zst"), out)
}

#[test]
fn evidence_is_checked_and_replayed_elsewhere() {
    let directory = world();
    let (file, said) = make(directory.path(), &[]);
    assert!(said.contains("5 events, 1 of them shown by the alert, 5 byte for byte"), "{said}");
    assert!(!said.contains("not in it"), "{said}");
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy.tar.zst");
    fs::copy(file, &copy).unwrap();
    let (code, out, log) =
        run(tripline(elsewhere.path()).args(["evidence", "verify", "copy.tar.zst"]));
    assert_eq!(code, 0, "{out}{log}");
    assert!(out.ends_with("sound\n") && out.contains("5 events, 5 of them byte for byte"), "{out}");
    let (code, out, log) =
        run(tripline(elsewhere.path()).args(["evidence", "replay", "copy.tar.zst"]));
    assert_eq!(code, 0, "{out}{log}");
    assert!(out.starts_with("the same alert: ") && out.contains("value 5, from 5 events"), "{out}");
    // What it tells is what the chain has, and any program can take it apart.
    let package = Package::read(&copy).unwrap();
    let manifest = package.manifest().unwrap();
    let files: Vec<&str> = manifest.rules.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(files, ["rules/lists/readers.txt", "rules/burst.yaml"]);
    assert_eq!(manifest.cluster.as_deref(), Some("prod"));
    let first = package.text("events/00001.json").unwrap();
    assert_eq!(first, event("eve", 0), "byte for byte");
}

#[test]
fn what_was_changed_is_named() {
    let directory = world();
    let (file, _) = make(directory.path(), &[]);
    let package = Package::read(&file).unwrap();
    let is_sound = |package: &Package| verify(package, Asked::default()).map(|one| one.is_sound());
    assert_eq!(is_sound(&package), Ok(true));
    for (name, bytes) in &package.files {
        // Of the manifest some words are for people only.
        let middle = (name != "manifest.json").then_some(bytes.len() / 2);
        for at in [0, bytes.len() - 1].into_iter().chain(middle) {
            let mut changed = package.clone();
            changed.files.get_mut(name).unwrap()[at] ^= 1;
            assert_ne!(is_sound(&changed), Ok(true), "{name} at {at}");
        }
        let mut without = package.clone();
        without.files.remove(name);
        assert_ne!(is_sound(&without), Ok(true), "without {name}");
    }
    let mut more = package.clone();
    more.files.insert("events/99999.json".to_owned(), Vec::new());
    assert_eq!(is_sound(&more), Ok(false));
    // A seal from elsewhere must be in it.
    let sealed = verify(&package, Asked::default()).unwrap().seals[0].1.clone();
    let check = |seal: &str| {
        run(tripline(directory.path()).args(["evidence", "verify", "case.tar.zst", "--seal", seal]))
            .0
    };
    assert_eq!((check(&sealed), check(&"0".repeat(64)), check("abc")), (0, 1, 2));
    fs::write(&file, b"no evidence").unwrap();
    assert_eq!(run(tripline(directory.path()).args(["evidence", "verify", "case.tar.zst"])).0, 1);
}

/// Changes parts of a package, and its manifest.
type Change = Box<dyn Fn(&mut BTreeMap<String, String>, &mut Value)>;

/// A package with some parts changed, and the manifest made to fit.
fn fitted(
    package: &Package,
    change: &dyn Fn(&mut BTreeMap<String, String>, &mut Value),
) -> Package {
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
    let mut files: BTreeMap<String, String> =
        package.files.iter().map(|(name, bytes)| (name.clone(), text(bytes))).collect();
    let mut manifest: Value =
        serde_json::from_str(&files.remove("manifest.json").unwrap()).unwrap();
    change(&mut files, &mut manifest);
    for (name, text) in &files {
        manifest["files"][name] = hex_of(&Sha256::digest(text)).into();
    }
    let listed = manifest["files"].as_object_mut().unwrap();
    listed.retain(|name, _| files.contains_key(name));
    files.insert("manifest.json".to_owned(), format!("{manifest:#}\n"));
    Package { files: files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect() }
}

#[test]
fn what_was_left_out_or_added_is_named_though_the_manifest_fits() {
    let directory = world();
    let (file, _) = make(directory.path(), &[]);
    let package = Package::read(&file).unwrap();
    let faults = |package: &Package| verify(package, Asked::default()).unwrap().faults;
    assert_eq!(faults(&fitted(&package, &|_, _| {})), Vec::<String>::new());
    let without = |name: &'static str, at: fn(usize) -> usize| {
        move |files: &mut BTreeMap<String, String>, _: &mut Value| {
            let mut lines: Vec<String> = files[name].lines().map(str::to_owned).collect();
            assert!(lines.len() > 1, "{name}");
            lines.remove(at(lines.len()));
            files.insert(name.to_owned(), lines.join("\n") + "\n");
        }
    };
    let changes: Vec<(&str, Change)> = vec![
        ("is missing", Box::new(without("timeline.jsonl", |_| 1))),
        ("is missing", Box::new(without("life.jsonl", |_| 0))),
        ("is missing", Box::new(without("life.jsonl", |rows| rows - 1))),
        (
            "does not belong there",
            Box::new(|files, _| {
                let first = files["chain/0001.jsonl"].lines().next().unwrap().to_owned() + "\n";
                files.get_mut("life.jsonl").unwrap().insert_str(0, &first);
            }),
        ),
        (
            "not in the order",
            Box::new(|files, _| {
                let mut lines: Vec<_> =
                    files["timeline.jsonl"].lines().map(str::to_owned).collect();
                lines.swap(0, 1);
                files.insert("timeline.jsonl".to_owned(), lines.join("\n") + "\n");
            }),
        ),
        (
            "README.txt",
            Box::new(|files, _| {
                files.get_mut("README.txt").unwrap().push_str("The accused is guilty\n");
            }),
        ),
        (
            "`starts_at`",
            Box::new(|_, manifest| manifest["starts_at"] = "2026-01-01T00:00:00Z".into()),
        ),
        ("`rule`", Box::new(|_, manifest| manifest["rule"] = "other".into())),
        ("`cluster`", Box::new(|_, manifest| manifest["cluster"] = "other".into())),
        (
            "was in force, and is not listed",
            Box::new(|files, manifest| {
                let gone = manifest["rules"].as_array_mut().unwrap().pop().unwrap();
                files.remove(gone["file"].as_str().unwrap());
            }),
        ),
        (
            "the alert shows one that is not listed",
            Box::new(|files, manifest| {
                let events = manifest["events"].as_array_mut().unwrap();
                let shown = events.iter().position(|event| event["is_shown"] == true).unwrap();
                files.remove(events.remove(shown)["file"].as_str().unwrap());
            }),
        ),
        (
            "the ledger has another event at",
            Box::new(|files, manifest| {
                let mut events = manifest["events"].as_array_mut().unwrap().iter_mut();
                let counted = events.find(|event| event["is_shown"] == false).unwrap();
                let file = counted["file"].as_str().unwrap().to_owned();
                let other = files[&file].replace("eve", "abe");
                counted["event_hash"] = hex_of(&Sha256::digest(&other)).into();
                files.insert(file, other);
            }),
        ),
    ];
    for (expected, change) in changes {
        let found = faults(&fitted(&package, &change));
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:?}");
    }
    // What nobody can check is said.
    let checked = verify(&package, Asked::default()).unwrap();
    let said = checked.unproven.join("\n");
    assert!(said.contains("--public-key") && said.contains(" s after its last event"), "{said}");
}

#[test]
fn events_that_are_gone_or_changed_are_said_to_be() {
    let directory = world();
    let log = directory.path().join("audit.log");
    let whole = fs::read_to_string(&log).unwrap();
    fs::write(&log, whole.replace("\"10.0.0.1\"", "\"10.0.0.2\"")).unwrap();
    let (file, said) = make(directory.path(), &[]);
    let expected = "5 events, 1 of them shown by the alert, 4 byte for byte";
    assert!(said.contains(expected), "{said}");
    let outcomes = |file: &Path| -> Vec<String> {
        let manifest = Package::read(file).unwrap().manifest().unwrap();
        let shown = manifest.events.into_iter().filter(|event| event.is_shown);
        shown.map(|event| event.outcome).collect()
    };
    assert!(outcomes(&file).iter().all(|text| text.starts_with("changed")), "{said}");
    let (code, out, _) =
        run(tripline(directory.path()).args(["evidence", "replay", "case.tar.zst"]));
    assert_eq!(code, 1, "{out}");
    fs::write(&log, "").unwrap();
    let (file, _) = make(directory.path(), &[]);
    assert!(outcomes(&file).iter().all(|text| text.starts_with("past retention")));
    // A file that somebody kept has them.
    fs::write(directory.path().join("kept.log"), &whole).unwrap();
    let (_, said) = make(directory.path(), &["--events", "kept.log"]);
    assert!(said.contains("5 byte for byte"), "{said}");
    for (args, expected) in [
        (&["evidence", "ffffffffffff", "-o", "x.tar.zst"][..], 2),
        (&["evidence", "0", "-o", "x.tar.zst", "--around", "soon"], 2),
        (&["evidence"], 2),
    ] {
        assert_eq!(run(tripline(directory.path()).args(args)).0, expected, "{args:?}");
    }
}

/// The script of the README, which anybody can read, comes to the same hash as we do.
#[test]
fn a_few_lines_of_python_agree() {
    let readme = fs::read_to_string("README.md").unwrap();
    let script = readme.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(script.lines().count() <= 20, "{script}");
    let python = |lines: &str| {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("check.py"), script).unwrap();
        fs::write(directory.path().join("rows.jsonl"), lines).unwrap();
        let mut command = Command::new("python3");
        command.current_dir(directory.path()).args(["check.py", "rows.jsonl"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()
    };
    if python("").is_err() {
        writeln!(std::io::stderr(), "skipped: there is no python3").unwrap();
        return;
    }
    let directory = world();
    let (_, export, _) = run(tripline(directory.path()).args(["ledger", "export"]));
    let whole = python(&export).unwrap();
    let head = String::from_utf8(whole.stdout).unwrap();
    assert!(whole.status.success() && head.trim().len() == 64);
    let (code, out, _) = run(tripline(directory.path()).args(["ledger", "verify"]));
    assert!(code == 0 && out.contains(head.trim()), "{out}\n{head}");
    // Every line before the last seal, changed in turn: both find it.
    let lines: Vec<&str> = export.lines().collect();
    let sealed = lines.iter().rposition(|line| line.contains("\"kind\":\"seal\"")).unwrap();
    for at in 0..sealed {
        let mut changed = lines.clone();
        let other = changed[at].replacen("\"recorded\":\"2", "\"recorded\":\"1", 1);
        assert_ne!(other, changed[at]);
        changed[at] = &other;
        let text = changed.join("\n") + "\n";
        assert!(!python(&text).unwrap().status.success(), "line {at}");
        fs::write(directory.path().join("changed.jsonl"), &text).unwrap();
        let args = ["ledger", "verify", "--file", "changed.jsonl"];
        assert_eq!(run(tripline(directory.path()).args(args)).0, 1, "line {at}");
    }
}

#[test]
fn an_alert_by_what_was_before_is_not_said_to_be_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write_world(path, "");
    let rule = "title: Burst\nname: first_read\nlogsource: {product: kubernetes, service: audit}\n\
                detection: {s: {objectRef.resource: secrets}, condition: s}\nlevel: high\n\
                tripline: {first_seen: {of: [user.username], history: 2d, learn: 5s}}\n";
    fs::write(path.join("rules/burst.yaml"), rule).unwrap();
    fs::remove_dir_all(path.join("state")).unwrap();
    let (code, _, log) = run(tripline(path).arg("run"));
    assert_eq!(code, 0, "{log}");
    make(path, &[]);
    let (code, out, _) = run(tripline(path).args(["evidence", "verify", "case.tar.zst"]));
    assert!(code == 0 && out.ends_with("sound\n"), "{out}");
    let (code, out, log) = run(tripline(path).args(["evidence", "replay", "case.tar.zst"]));
    assert_eq!(code, 5, "{out}{log}");
    let expected = "cannot be replayed: `first_read` compares with up to 2 d 0 h before, which are not in the file; 1 event in it may count";
    assert!(out.contains(expected), "{out}");
    let args = ["evidence", "replay", "--json", "case.tar.zst"];
    let json: Value = serde_json::from_str(&run(tripline(path).args(args)).1).unwrap();
    assert!(json["same"] == false && json["undecided"].is_string(), "{json}");
}

/// A roll-up stands where its first request was: it belongs to each time into which it lasts.
#[test]
fn roll_ups_over_the_edges_of_the_time_around_an_alert_belong_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write_world(path, "");
    let rule = "---\ntitle: Lists\nname: lists\nlogsource: {product: kubernetes, service: audit}\n\
                detection: {list: {verb: list}, condition: list}\n\
                tripline: {record: {class: list, every: 10m, key: [actor, verb, resource]}}\n";
    let rules = path.join("rules/burst.yaml");
    fs::write(&rules, format!("{RULES}{rule}")).unwrap();
    // What eve lists, and in which minutes of nine and ten; she is told of at ten.
    let lists = [
        ("configmaps", ["09:41", "09:44"]),
        ("pods", ["09:51", "09:54"]),
        ("services", ["09:52", "09:56"]),
        ("nodes", ["09:57", "09:58"]),
        ("events", ["10:03", "10:08"]),
        ("leases", ["10:17", "10:19"]),
    ];
    let mut events: Vec<(String, String)> = Vec::new();
    for (resource, times) in lists {
        for time in times {
            let list = event("eve", 0).replace("secrets", resource).replace("\"get\"", "\"list\"");
            let list = list.replace("eve-0", &format!("{resource}-{time}"));
            events.push((time.to_owned(), list.replace("T10:00", &format!("T{time}"))));
        }
    }
    let log = fs::read_to_string(path.join("audit.log")).unwrap();
    events.extend(log.lines().map(|line| ("10:00".to_owned(), line.to_owned())));
    events.sort_by(|(one, _), (other, _)| one.cmp(other));
    let lines: Vec<String> = events.into_iter().map(|(_, line)| line).collect();
    fs::write(path.join("audit.log"), lines.join("\n") + "\n").unwrap();
    fs::remove_dir_all(path.join("state")).unwrap();
    let (code, _, log) = run(tripline(path).arg("run"));
    assert_eq!(code, 0, "{log}");
    let (file, _) = make(path, &["--around=5m"]);
    let package = Package::read(&file).unwrap();
    let told = package.text("timeline.jsonl").unwrap().lines();
    let told = told.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lists: Vec<String> = told
        .filter(|row| row["verb"] == "list")
        .map(|row| row["object"]["resource"].as_str().unwrap().to_owned())
        .collect();
    let checked = verify(&package, Asked::default()).unwrap();
    assert_eq!(checked.faults, Vec::<String>::new(), "{lists:?}");
    let lists: std::collections::BTreeSet<&str> = lists.iter().map(String::as_str).collect();
    assert_eq!(lists, ["events", "nodes", "services"].into());
    // One that is left out is missed.
    let without = fitted(&package, &|files, _| {
        let lines = files["timeline.jsonl"].lines().filter(|line| !line.contains("\"services\""));
        let lines: Vec<&str> = lines.collect();
        let text = lines.join("\n") + "\n";
        files.insert("timeline.jsonl".to_owned(), text);
    });
    let faults = verify(&without, Asked::default()).unwrap().faults;
    assert!(faults.len() == 1 && faults[0].contains("is missing"), "{faults:?}");
}
