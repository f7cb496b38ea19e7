//! `tripline permissions` on what a real process recorded.

use std::{fs, io::Write as _, path::Path, process::Stdio};

use serde_json::Value;
use tripline::engine::time::EventTime;

use super::{EventText, evaluator::Request, imports::cluster};
use crate::{
    binary::{run, tripline},
    running::Running,
};

/// A directory in which a process has read what anna did on two days, and what was refused.
fn recorded() -> tempfile::TempDir {
    recorded_from(&events())
}

/// What anna did on two days, and what was refused: a line each.
fn events() -> String {
    let mut events = String::new();
    let reason =
        r#"RBAC: allowed by RoleBinding \"view/shop\" of ClusterRole \"view\" to User \"anna\""#;
    let everybody = r#"RBAC: allowed by ClusterRoleBinding \"system:discovery\" of ClusterRole \"system:discovery\" to Group \"system:authenticated\""#;
    for (id, (at, verb, resource, name, path, reason, is_allowed)) in [
        ("2026-03-04T10:00:00Z", "list", "pods", "", "", reason, true),
        ("2026-03-04T10:00:01Z", "list", "pods", "", "", reason, true),
        ("2026-03-04T10:00:02Z", "get", "configmaps", "shop", "", reason, true),
        ("2026-03-04T10:00:03Z", "get", "", "", "/apis", everybody, true),
        ("2026-03-04T10:00:04Z", "delete", "pods", "web-0", "", "", false),
        ("2026-03-05T10:00:00Z", "get", "configmaps", "shop", "", reason, true),
    ]
    .into_iter()
    .enumerate()
    {
        let request = Request {
            user: "anna".to_owned(),
            groups: Vec::new(),
            verb: verb.to_owned(),
            group: String::new(),
            resource: resource.to_owned(),
            subresource: String::new(),
            namespace: if resource.is_empty() { String::new() } else { "shop".to_owned() },
            name: name.to_owned(),
            path: path.to_owned(),
        };
        let event = EventText {
            id,
            at: EventTime::parse(at).unwrap(),
            user: "anna",
            groups: &["system:authenticated"],
            request: &request,
            reason,
            is_allowed,
        };
        events.push_str(&format!("{event}\n"));
    }
    events
}

/// A directory in which a process has read these events.
fn recorded_from(events: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("audit.log"), events).unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let config = format!(
        "sources: [{{file: {{paths: [audit.log]}}}}]\nrules: {root}/rules\nstate: state\n\
         http: {{listen: '127.0.0.1:0'}}\n\
         receivers: [{{name: out, stdout: {{format: json}}}}]\nroute: {{receiver: out}}\n"
    );
    fs::write(directory.path().join("tripline.yaml"), config).unwrap();
    read(directory.path());
    directory
}

fn read(directory: &Path) {
    let (code, _, log) = run(tripline(directory).arg("run"));
    assert_eq!(code, 0, "{log}");
}

fn ask(directory: &Path, args: &[&str]) -> (i32, String, String) {
    let days = ["--from=2026-03-04", "--to=2026-03-06"];
    run(tripline(directory).arg("permissions").args(args).args(days))
}

#[test]
fn what_is_imported_is_asked_about_and_the_ledger_stays_sound() {
    let directory = recorded();
    let directory = directory.path();
    fs::write(directory.join("rbac.json"), cluster().to_string()).unwrap();
    let import = || {
        let mut command = tripline(directory);
        command.args(["permissions", "import", "rbac.json", "--by=ann"]);
        run(command.arg("--taken=2026-03-04T00:00:00Z"))
    };
    let (code, out, log) = import();
    assert_eq!(code, 0, "{log}");
    assert!(out.contains("5 roles, 6 bindings"), "{out}");
    let (code, out, log) = ask(directory, &["--subject", "anna"]);
    assert_eq!(code, 0, "{log}");
    let out = out.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "5 roles and 6 bindings of 2026-03-04 00:00:00, brought by ann",
        "used 2026-03-04 anna RoleBinding shop/view ClusterRole view get, list, watch of pods",
        "used 2026-03-05 anna RoleBinding shop/view ClusterRole view get, list of configmaps",
        "unused RoleBinding shop/lost Role shop/gone",
        "ClusterRole system:discovery last for: get /apis; the binding is not there any more",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    // The next process takes over what was put behind its rows, and goes on from there.
    read(directory);
    let (code, out, _) = run(tripline(directory).args(["ledger", "verify"]));
    assert!(code == 0 && out.starts_with("sound: "), "{out}");
    assert_eq!(import().0, 0);
    read(directory);
    let (_, lines, _) = run(tripline(directory).args(["ledger", "export"]));
    let kinds = |wanted: &str| {
        let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.filter(|row| row["kind"] == wanted).count()
    };
    assert_eq!((kinds("rbac_snapshot"), kinds("usage")), (2, 4), "{lines}");
    let (code, out, _) = run(tripline(directory).args(["ledger", "verify"]));
    assert!(code == 0 && out.starts_with("sound: "), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_runs_takes_a_list_and_says_when_it_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    std::os::unix::fs::symlink(rules, directory.join("rules")).unwrap();
    let mut running = Running::start(directory, "");
    running.wait("/readyz", |code, _| code == 200).await;
    fs::write(directory.join("rbac.json"), cluster().to_string()).unwrap();
    let server = format!("http://{}", running.address());
    let import = |more: &[&str]| {
        let mut command = tripline(directory);
        command.args(["permissions", "import", "rbac.json", "--taken=2026-03-04T00:00:00Z"]);
        run(command.args(more))
    };
    // Its files are its own.
    let (code, _, told) = import(&[]);
    assert!(code == 4 && told.contains("--server"), "{told}");
    for _ in 0..2 {
        let (code, out, told) = import(&["--server", &server, "--by=ann"]);
        assert!(code == 0 && out.contains("5 roles, 6 bindings"), "{out}{told}");
    }
    // As soon as it has answered, whatever becomes of the process.
    running.signal("-KILL");
    running.end();
    let (_, lines, _) = run(tripline(directory).args(["ledger", "export"]));
    let kept: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|row: &Value| row["kind"] == "rbac_snapshot")
        .collect();
    assert!(kept.len() == 1 && kept[0]["party"] == "ann", "{kept:?}");
    let (code, out, told) = ask(directory, &["--binding", "shop/view", "--format=json"]);
    assert_eq!(code, 0, "{told}");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["grants"][0]["verdict"], "not observed");
}

#[test]
fn a_role_is_suggested_with_what_it_rests_on() {
    let directory = recorded();
    let (code, out, log) = ask(directory.path(), &["role", "--subject", "anna"]);
    assert_eq!(code, 0, "{log}");
    let expected = "\
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: used-by-anna-NUMBER
  namespace: shop
rules:
  - apiGroups: [\"\"]
    resources: [pods]
    verbs: [list]
  - apiGroups: [\"\"]
    resources: [configmaps]
    resourceNames: [shop]
    verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: used-by-anna-NUMBER
  namespace: shop
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: used-by-anna-NUMBER
subjects:
  - kind: User
    apiGroup: rbac.authorization.k8s.io
    name: anna
";
    let name = out.lines().find_map(|line| line.strip_prefix("  name: ")).unwrap();
    assert_eq!(out[out.find("---").unwrap()..], expected.replace("used-by-anna-NUMBER", name));
    for comment in [
        "# What anna used, and nothing besides.",
        "# Period: 2026-03-04 00:00:00 to 2026-03-06 00:00:00 UTC",
        "# Coverage: ",
        "# Left out, since ClusterRoleBinding system:discovery gives it to everybody:",
        "#   get /apis",
        "# Refused in this period, and left out (1 request):",
        "#   delete pods in shop (1)",
    ] {
        assert!(out.contains(comment), "{comment} is not in\n{out}");
    }
    let (_, json, _) = ask(directory.path(), &["role", "--subject", "anna", "--format=json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["rules"][1]["resourceNames"][0], "shop");
}

#[test]
fn mistakes_are_named_with_what_was_meant() {
    let directory = recorded();
    let directory = directory.path();
    for (args, hint) in [
        (&["--subject", "ana"][..], "did you mean `anna`?"),
        (&["--subject", "group:"][..], "group:NAME"),
        (&["--subject", "serviceaccount:web"][..], "serviceaccount:NAMESPACE/NAME"),
        (&["--binding", "shop/vieww"][..], "did you mean `RoleBinding shop/view`?"),
        (&["--role", "view"][..], "permissions import"),
        (&["role", "--subject", "nobody-knows-me"][..], "nothing is known of `nobody-knows-me`"),
    ] {
        let (code, out, told) = ask(directory, args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {told}");
        assert!(told.contains(hint), "{args:?}: {told}");
    }
    let whole = cluster().to_string();
    for (text, hint) in
        [("{\"kind\": \"Pod\"}", "kind: it is a Pod"), (&whole[..whole.len() / 2], "rbac.json:1:")]
    {
        fs::write(directory.join("rbac.json"), text).unwrap();
        let (code, out, told) =
            run(tripline(directory).args(["permissions", "import", "rbac.json"]));
        assert_eq!((code, out.as_str()), (2, ""), "{told}");
        assert!(told.contains(hint), "{told}");
    }
    let mut command = tripline(directory);
    command.args(["permissions", "import", "-", "--state=nowhere"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(whole.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("--state"), "{told}");
}

/// What a process has read of one who did the same again and again on a day, and once something else.
fn all_day() -> tempfile::TempDir {
    let reason =
        r#"RBAC: allowed by RoleBinding \"view/shop\" of ClusterRole \"view\" to User \"anna\""#;
    // So many that they are read as several batches: hours are complete that were over when the next was read.
    let time = |number: u32| {
        let (hour, minute) = (9 + number / 120, number % 120 / 2);
        format!("{hour:02}:{minute:02}:{:02}", number % 2 * 30)
    };
    let mut events: Vec<(String, &str, &str)> =
        (0..1_400).map(|number| (time(number), "get", "secrets")).collect();
    events.push(("09:10:10".to_owned(), "list", "pods"));
    events.push(("23:59:00".to_owned(), "get", "secrets"));
    events.sort();
    let of = |(id, (at, verb, resource)): (usize, &(String, &str, &str))| {
        let request = Request {
            user: "anna".to_owned(),
            groups: Vec::new(),
            verb: (*verb).to_owned(),
            group: String::new(),
            resource: (*resource).to_owned(),
            subresource: String::new(),
            namespace: "shop".to_owned(),
            name: if *resource == "pods" { "" } else { "shop" }.to_owned(),
            path: String::new(),
        };
        let at = EventTime::parse(&format!("2026-03-04T{at}Z")).unwrap();
        let groups = &["system:authenticated"];
        let (user, request) = ("anna", &request);
        EventText { id, at, user, groups, request, reason, is_allowed: true }.to_string()
    };
    let events: Vec<String> = events.iter().enumerate().map(of).collect();
    recorded_from(&(events.join("\n") + "\n"))
}

/// A list with one binding and the role that it gives.
const ONE_BINDING: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "view"},
   "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
             {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
             {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
   "metadata": {"name": "view", "namespace": "shop"},
   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
   "subjects": [{"kind": "User", "name": "anna", "apiGroup": "rbac.authorization.k8s.io"}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "idle"},
   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "idle"}}]}"#;

#[test]
fn what_was_told_before_a_time_that_begins_within_a_day_is_not_unused_in_it() {
    let directory = all_day();
    let directory = directory.path();
    fs::write(directory.join("rbac.json"), ONE_BINDING).unwrap();
    let mut import = tripline(directory);
    import.args(["permissions", "import", "rbac.json", "--taken=2026-03-04T00:00:00Z"]);
    assert_eq!(run(&mut import).0, 0);
    read(directory);
    let asked = |args: &[&str]| {
        let (code, out, log) = run(tripline(directory).args(args));
        assert_eq!(code, 0, "{log}");
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let afternoon = ["--from=2026-03-04 13:00", "--to=2026-03-04 20:00"];
    let out = asked(&["permissions", afternoon[0], afternoon[1]]);
    for part in [
        "7 of 7 hours are complete",
        "used 2026-03-04 anna RoleBinding shop/view ClusterRole view get of secrets",
        "not observed 2026-03-04 anna RoleBinding shop/view ClusterRole view list of pods",
        "it was used on the first day before this time began (list pods in shop)",
        "unused RoleBinding shop/view ClusterRole view list of nodes",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    let out = asked(&["permissions", "--unused", afternoon[0], afternoon[1]]);
    assert!(!out.contains("get of secrets") && out.contains("list of nodes"), "{out}");
    // Of all of the day all is known.
    let out = asked(&["permissions", "--from=2026-03-04", "--to=2026-03-04 20:00"]);
    assert!(
        out.contains("used 2026-03-04 anna RoleBinding shop/view ClusterRole view list of pods")
    );
    // Whoever is to do the same again in the afternoon needs what may have been used then.
    let role = asked(&["permissions", "role", "--subject=anna", afternoon[0], afternoon[1]]);
    for part in ["[secrets]", "[pods]", "on the first day before the period began"] {
        assert!(role.contains(part), "{part} is not in\n{role}");
    }
    let report = asked(&["report", "access", "--format=csv", afternoon[0], afternoon[1]]);
    assert!(!report.contains(",unused,\"get of secrets"), "{report}");
    let (code, _, log) = run(tripline(directory).args([
        "permissions",
        "role",
        "--subject=anna",
        "--from=2026-03-05",
    ]));
    assert!(code != 0 && log.contains("`anna` used nothing in this time"), "{log}");
    assert!(!log.contains("did you mean"), "{log}");
}

#[test]
fn the_only_cluster_is_meant_where_none_is_named() {
    let in_cluster = |events: &str, name: &str| {
        events.replace(r#""stage":"#, &format!(r#""cluster":"{name}","stage":"#))
    };
    let of = |id: usize, from: [&str; 2], to: [&str; 2]| {
        let events = events();
        let line = events.lines().nth(id).unwrap();
        let line = line.replace(&format!(r#""auditID":"{id}""#), r#""auditID":"more""#);
        format!("{}\n", line.replace(from[0], to[0]).replace(from[1], to[1]))
    };
    // Somebody was refused, and did nothing else; and anna made something by applying it.
    let refused = of(4, ["anna", ""], ["mallory", ""]);
    let applied =
        of(2, [r#""verb":"get""#, r#""code":200"#], [r#""verb":"patch""#, r#""code":201"#]);
    let applied = applied.replace("more", "applied");
    let prod = in_cluster(&(events() + &refused + &applied), "prod");
    let directory = recorded_from(&prod);
    let directory = directory.path();
    fs::write(directory.join("rbac.json"), cluster().to_string()).unwrap();
    let import = |directory: &Path| {
        let args = ["permissions", "import", "rbac.json", "--taken=2026-03-04T00:00:00Z"];
        run(tripline(directory).args(args))
    };
    let (code, _, log) = import(directory);
    assert_eq!(code, 0, "{log}");
    read(directory);
    let (code, out, log) = ask(directory, &["--subject", "anna"]);
    assert!(
        code == 0 && out.contains("cluster prod") && out.contains("5 roles and 6"),
        "{out}{log}"
    );
    // A time of which no hour is told.
    let later = ["permissions", "--subject=anna", "--from=2026-03-06", "--to=2026-03-06 01:00"];
    let (code, out, log) = run(tripline(directory).args(later));
    assert_eq!(code, 0, "{log}");
    assert!(out.contains("not observed") && out.contains("RoleBinding shop/view"), "{out}");
    let (code, out, log) = ask(directory, &["--subject", "mallory"]);
    assert!(code == 0 && out.contains("no binding that is known names them"), "{out}{log}");
    let (_, out, _) = ask(directory, &["role", "--subject", "anna"]);
    assert!(out.contains("verbs: [create, patch]"), "{out}");
    // Nobody knows which of several is meant.
    let several = recorded_from(
        &(prod + &in_cluster(&events().replace("auditID\":\"", "auditID\":\"d"), "dev")),
    );
    fs::copy(directory.join("rbac.json"), several.path().join("rbac.json")).unwrap();
    let (code, _, log) = import(several.path());
    assert!(code == 2 && log.contains("more than one cluster: dev, prod"), "{log}");
}
