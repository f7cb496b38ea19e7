//! `/api/v1` of a real process: its answers against its document, and against the command line.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    binary::{run, tripline},
    http_server::write_rule,
    running::{self, Running},
};

/// The document, as it is shipped.
fn document() -> Value {
    serde_json::from_str(&fs::read_to_string("deploy/openapi.json").unwrap()).unwrap()
}

/// What is wrong with a value, by the keywords that the document uses.
fn check(root: &Value, schema: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
    let Some(rules) = schema.as_object() else {
        assert_eq!(schema, &Value::Bool(true), "{path}");
        return;
    };
    for (keyword, rule) in rules {
        let list = rule.as_array().map(Vec::as_slice);
        let holds = match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(pointer).unwrap(), value, path, wrong);
                true
            }
            "anyOf" => list.unwrap().iter().any(|option| {
                let mut wrong = Vec::new();
                check(root, option, value, path, &mut wrong);
                wrong.is_empty()
            }),
            "type" => list
                .unwrap_or(std::slice::from_ref(rule))
                .iter()
                .any(|name| is_of_type(value, name.as_str().unwrap())),
            "enum" => list.unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|value| value >= rule.as_f64().unwrap()),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{path}[{index}]"), wrong);
                }
                true
            }
            "required" => {
                list.unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" | "description" => true,
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (name, value) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    match rule {
                        Value::Bool(false) => {
                            wrong.push(format!("{path}.{name} is not documented"));
                        }
                        rule => check(root, rule, value, &format!("{path}.{name}"), wrong),
                    }
                }
                true
            }
            other => panic!("the test does not know {other}"),
        };
        if !holds {
            wrong.push(format!("{path}: {keyword} is {rule}, but there is {value}"));
        }
    }
    for (name, rule) in rules.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = value.get(name) {
            check(root, rule, value, &format!("{path}.{name}"), wrong);
        }
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the test does not know the type {other}"),
    }
}

/// An answer, held to what the document says of its path and status.
async fn asked(running: &Running, document: &Value, path: &str) -> (u16, Value) {
    let (code, text) = running.get(path).await;
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"));
    let plain = path.split('?').next().unwrap();
    let paths = document["paths"].as_object().unwrap();
    let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let fits = |known: &&String| {
        let (known, given) = (parts(known), parts(plain));
        let same = |(known, given): (&String, &String)| known.starts_with('{') || known == given;
        known.len() == given.len() && known.iter().zip(&given).all(same)
    };
    let known = if paths.contains_key(plain) {
        plain.to_owned()
    } else {
        paths.keys().find(fits).unwrap_or_else(|| panic!("{path} is not documented")).clone()
    };
    let answers = &paths[&known]["get"]["responses"][code.to_string()];
    let schema = &answers["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{path}: {code} is not documented: {text}");
    let mut wrong = Vec::new();
    check(document, schema, &body, path, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    (code, body)
}

const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"@ID@","stage":"@STAGE@","requestURI":"@URI@","verb":"@VERB@","user":{"username":"anna@example.org","groups":["system:authenticated"]},"sourceIPs":["10.8.1.24"],"userAgent":"kubectl/v1.34","objectRef":{"resource":"@RESOURCE@","namespace":"payments","name":"@NAME@","subresource":"@BELOW@","apiVersion":"v1"},"responseStatus":{"code":@CODE@},"requestReceivedTimestamp":"2026-03-04T10:00:00.000000Z","stageTimestamp":"2026-03-04T@TIME@Z","cluster":"prod","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"edit/payments\" of Role \"edit\" to User \"anna@example.org\""}}"#;

fn event(id: &str, (stage, code): (&str, &str), time: &str, what: [&str; 5]) -> String {
    let [verb, resource, name, below, uri] = what;
    [
        ("@ID@", id),
        ("@STAGE@", stage),
        ("@CODE@", code),
        ("@TIME@", time),
        ("@VERB@", verb),
        ("@RESOURCE@", resource),
        ("@NAME@", name),
        ("@BELOW@", below),
        ("@URI@", uri),
    ]
    .iter()
    .fold(EVENT.to_owned(), |text, (mark, value)| text.replace(mark, value))
}

fn events() -> Vec<String> {
    let secret = "/api/v1/namespaces/payments/secrets/db-password";
    let exec = "/api/v1/namespaces/payments/pods/web-0/exec?command=sh";
    let read = ["get", "secrets", "db-password", "", secret];
    let entered = ["get", "pods", "web-0", "exec", exec];
    let all = "/api/v1/namespaces/payments/secrets";
    let deleted = ["deletecollection", "secrets", "", "", all];
    vec![
        event("1", ("ResponseComplete", "200"), "10:00:00.100000", read),
        event("2", ("ResponseComplete", "403"), "10:00:30.100000", read),
        event("3", ("ResponseStarted", "101"), "10:01:00.000000", entered),
        // Of this there is an alert.
        event("4", ("ResponseComplete", "200"), "10:01:10.000000", deleted),
        event("3", ("ResponseComplete", "101"), "10:01:35.000000", entered),
    ]
}

/// A process that has recorded the events, and goes on.
async fn recorded(directory: &Path) -> Running {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    std::os::unix::fs::symlink(rules, directory.join("rules")).unwrap();
    let mut running = Running::start(directory, "");
    running.wait("/readyz", |code, _| code == 200).await;
    for event in events() {
        running.write(&event);
    }
    let ended = "/api/v1/sessions?from=2026-03-04&to=2026-03-05";
    running.wait(ended, |_, text| text.contains("\"ended\"")).await;
    running
}

#[test]
fn the_shipped_document_is_the_one_that_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let (code, made, _) = run(tripline(directory.path()).args(["schema", "api"]));
    assert_eq!(code, 0);
    let shipped = fs::read_to_string("deploy/openapi.json").unwrap();
    assert!(made == shipped, "`tripline schema api > deploy/openapi.json` makes it anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_says_the_same_of_files_and_of_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let running = recorded(directory.path()).await;
    let server = format!("http://{}", running.address());
    let questions: &[&[&str]] = &[
        &["timeline", "--actor", "anna@example.org"],
        &["timeline", "--actor", "anna@example.org", "--limit", "2"],
        &["who-did", "get", "secrets", "db-password", "-n", "payments"],
        &["visits"],
        &["visits", "--machines", "--pause", "1m", "--zone", "Europe/Rome"],
        &["sessions", "-n", "payments"],
        &["permissions", "--subject", "anna@example.org"],
        &["permissions", "--subject", "ana@example.org"],
        &["permissions", "role", "--subject", "anna@example.org"],
        &["coverage"],
        &["timeline", "--actor", "ana@example.org"],
        &["timeline", "--zone", "Europe/Rom"],
        &["who-did", "gett", "secrets"],
    ];
    let day = ["--from=2026-03-04", "--to=2026-03-05"];
    for question in questions {
        for format in ["text", "json", "jsonl", "csv"] {
            let ask = |from: &[&str]| {
                let mut command = tripline(directory.path());
                command.args(*question).args(day).args(["--format", format]).args(from);
                run(&mut command)
            };
            let (of_files, of_server) = (ask(&[]), ask(&["--server", &server]));
            assert_eq!(of_files, of_server, "{question:?} as {format}");
        }
    }
    let (code, out, _) = run(tripline(directory.path())
        .args(["visits", "--format", "jsonl", "--server", &server])
        .args(day));
    let visit: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((code, &visit["requests"], &visit["denied"]), (0, &4.into(), &1.into()));
    let nobody = "http://ann:pass@127.0.0.1:1";
    for command in ["visits", "silence list"] {
        let words = command.split(' ').chain(["--server", nobody]);
        let (code, _, told) = run(tripline(directory.path()).args(words));
        assert!(code == 1 && told.contains("http://127.0.0.1:1 does not answer"), "{told}");
        assert!(!told.contains("pass"), "{told}");
        // Nor of what is no URL, wherever it comes from.
        for wrong in ["ann:pass@127.0.0.1:1", "ftp://ann:pass@host", "http://ann:pass@host:99999"] {
            let mut asked = tripline(directory.path());
            let asked = asked.args(command.split(' ')).env("TRIPLINE_SERVER", wrong);
            let (code, _, told) = run(asked);
            assert!(code == 2 && told.contains("write it as http://127.0.0.1:9464"), "{told}");
            assert!(told.contains("--server <URL>") && !told.contains("pass"), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_what_the_document_says() {
    let directory = tempfile::tempdir().unwrap();
    let running = recorded(directory.path()).await;
    let document = document();
    running.wait("/api/v1/alerts", |_, text| !text.contains("\"total\":0")).await;
    let (_, alerts) = asked(&running, &document, "/api/v1/alerts").await;
    let fingerprint = alerts["alerts"][0]["fingerprint"].as_str().unwrap().to_owned();
    let one = format!("/api/v1/alerts/{fingerprint}");
    running.wait(&one, |_, text| text.contains("\"what\":\"delivered\"")).await;
    let (_, life) = asked(&running, &document, &one).await;
    assert_eq!(life["firing"]["fingerprint"], fingerprint);
    assert_eq!(life["episodes"][0]["state"], "firing");
    let day = "from=2026-03-04&to=2026-03-05";
    let mut good = vec![
        format!("/api/v1/alerts/history?{day}"),
        "/api/v1/alerts/acts".to_owned(),
        format!("{one}/acts"),
        "/api/v1/silences".to_owned(),
        "/api/v1/rules".to_owned(),
        "/api/v1/status".to_owned(),
        "/api/v1/ledger".to_owned(),
        "/api/v1/ledger/head".to_owned(),
        "/api/v1/deliveries?since=1h".to_owned(),
        format!("/api/v1/who-did?verb=get&resource=secrets&{day}"),
    ];
    for kind in ["timeline", "visits", "sessions", "coverage"] {
        good.push(format!("/api/v1/{kind}?{day}"));
    }
    for path in &good {
        let (code, body) = asked(&running, &document, path).await;
        assert_eq!(code, 200, "{path}: {body}");
    }
    let history = asked(&running, &document, &format!("/api/v1/alerts/history?{day}")).await.1;
    assert_eq!(history["total"], alerts["total"], "{history}");
    let known = &history["alerts"][0];
    for name in ["rule_id", "rule_name", "rule_title"].map(|name| known[name].as_str().unwrap()) {
        let name = name.replace(' ', "%20");
        for path in [format!("history?{day}&rule={name}"), format!("?rule={name}")] {
            let path = format!("/api/v1/alerts/{path}").replace("/?", "?");
            let answer = asked(&running, &document, &path).await.1;
            assert_eq!(answer["total"], 1, "{path}: {answer}");
        }
    }

    // Page by page is the whole.
    let whole = asked(&running, &document, &format!("/api/v1/timeline?{day}")).await.1;
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/timeline?{day}&limit=1{after}");
        let page = asked(&running, &document, &path).await.1;
        rows.extend(page["rows"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(Value::Array(rows), whole["rows"]);

    for (path, code, word) in [
        ("/api/v1/alerts?rul=a", 400, "unknown_parameter"),
        ("/api/v1/alerts?severity=loud", 400, "bad_parameter"),
        ("/api/v1/alerts?limit=0", 400, "bad_parameter"),
        ("/api/v1/alerts?rule=nosuchrule", 400, "unknown_name"),
        ("/api/v1/alerts/history?rule=nosuchrule", 400, "unknown_name"),
        ("/api/v1/timeline?verb=GET", 400, "unknown_name"),
        ("/api/v1/timeline?resource=po", 400, "unknown_name"),
        ("/api/v1/timeline?resource=pods/exce", 400, "unknown_name"),
        ("/api/v1/who-did?verb=get&resource=exec", 400, "unknown_name"),
        ("/api/v1/stream?form=a", 400, "unknown_parameter"),
        ("/api/v1/alerts/xyz", 400, "bad_parameter"),
        ("/api/v1/alerts/00000000000000000000000000000000", 404, "not_found"),
        ("/api/v1/timeline?since=soon", 400, "bad_parameter"),
        ("/api/v1/timeline?actor=ana@example.org", 400, "unknown_name"),
        ("/api/v1/timeline?limit=0", 400, "bad_parameter"),
        ("/api/v1/timeline?limit=99999999", 400, "bad_parameter"),
        ("/api/v1/timeline?after=x", 400, "bad_parameter"),
        ("/api/v1/timeline?format=xml", 400, "bad_parameter"),
        ("/api/v1/who-did?verb=get", 400, "bad_parameter"),
        ("/api/v1/visits?from=2026-03-05&to=2026-03-04", 400, "bad_parameter"),
        ("/api/v1/visits?zone=Europe/Rom", 400, "bad_parameter"),
        ("/api/v1/deliveries?limit=x", 400, "bad_parameter"),
    ] {
        let (status, body) = asked(&running, &document, path).await;
        assert_eq!((status, body["code"].as_str().unwrap()), (code, word), "{path}: {body}");
    }
    let nobody = format!("{{\"act\":\"acknowledge\",\"alerts\":[\"{}\"]}}", "0".repeat(32));
    let preview = "/api/v1/silences/preview";
    for (path, query, body, code, word) in [
        ("/api/v1/alerts/acts", "", nobody.as_str(), 404, "unknown_alert"),
        ("/api/v1/alerts/acts", "?form=a", &nobody, 400, "unknown_parameter"),
        (preview, "?form=a", "{\"matchers\":[\"a=b\"]}", 400, "unknown_parameter"),
    ] {
        let sent = ("application/json", body);
        let (status, text) = running.post(&format!("{path}{query}"), sent, &[]).await;
        assert!(status == code && text.contains(word), "{path}{query}: {status} {text}");
        let documented = &document["paths"][path]["post"]["responses"][code.to_string()];
        assert!(documented.is_object(), "{path}: {code} is not documented");
    }
    let stream = &document["paths"]["/api/v1/stream"]["get"]["responses"]["200"]["content"];
    assert!(stream["text/event-stream"].is_object(), "{stream}");
    // Ten years are no trouble where little happened.
    let (code, _) = asked(&running, &document, "/api/v1/timeline?since=520w").await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn a_rule_that_was_removed_is_known_by_its_alerts() {
    let directory = tempfile::tempdir().unwrap();
    write_rule(directory.path());
    let mut running = Running::start(directory.path(), "");
    running.wait("/readyz", |code, _| code == 200).await;
    running.write(&running::event("create", "eve", "2026-01-05T22:14:01"));
    let history = "/api/v1/alerts/history?from=2026-01-05&to=2026-01-06";
    running.wait(history, |_, text| text.contains("\"rule_name\":\"exec\"")).await;
    let rule = directory.path().join("rules/exec.yaml");
    let other = fs::read_to_string(&rule).unwrap().replace("0001", "0002");
    let other = other.replace("Exec", "Entered").replace("name: exec", "name: entered");
    fs::write(&rule, other).unwrap();
    assert_eq!(running.reload().await.0, 200);
    let firing: Value = serde_json::from_str(&running.get("/api/v1/alerts").await.1).unwrap();
    let resolve = firing["alerts"][0]["fingerprint"].as_str().unwrap();
    let resolve = format!("/api/v1/alerts/{resolve}/resolve");
    let over = ("application/json", r#"{"by": "ann", "why": "no rule looks for it"}"#);
    assert_eq!(running.post(&resolve, over, &[]).await.0, 200);
    running.wait("/api/v1/alerts", |_, text| text.contains("\"total\":0")).await;
    let removed = ["exec", "Exec", "8b0b2c4e-0000-4000-8000-000000000001"];
    let in_force = ["entered", "Entered", "8b0b2c4e-0000-4000-8000-000000000002"];
    // Of Tripline's own alerts nothing is known before they fire.
    let own = ["TriplineCanaryMissing", "tripline.reload"];
    for name in removed.into_iter().chain(in_force).chain(own) {
        // At that time there was nothing of it.
        let before = format!("/api/v1/alerts/history?from=2026-01-01&to=2026-01-02&rule={name}");
        for path in [before, format!("/api/v1/alerts?rule={name}")] {
            let (code, text) = running.get(&path).await;
            assert!(code == 200 && text.contains("\"total\":0"), "{path}: {code} {text}");
        }
        let (code, page) = running.get(&format!("/alerts?state=all&rule={name}")).await;
        assert_eq!(code, 200, "{page}");
    }
    for path in ["/api/v1/alerts/history?since=400d&rule=", "/api/v1/alerts?rule="] {
        let (code, text) = running.get(&format!("{path}exce")).await;
        assert!(code == 400 && text.contains("nothing is known of the rule `exce`"), "{text}");
        assert!(text.contains("did you mean `Exec`?"), "{text}");
        let (code, text) = running.get(&format!("{path}somethingelse")).await;
        assert!(code == 400 && text.contains("no rule in force has this id"), "{text}");
    }
    // The console shows that there is nothing, as of whatever else may be chosen there.
    assert_eq!(running.get("/alerts?state=all&rule=somethingelse").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looked_is_in_the_ledger_whichever_way_they_took() {
    let directory = tempfile::tempdir().unwrap();
    let running = recorded(directory.path()).await;
    let (code, _, told) = run(tripline(directory.path())
        .args(["timeline", "--actor", "anna@example.org", "--since", "520w"])
        .env("USER", "ben"));
    assert_eq!((code, told.as_str()), (0, ""));
    let (code, _) = running.get("/api/v1/visits?since=520w").await;
    assert_eq!(code, 200);
    let recent = "/api/v1/timeline?since=1h&format=jsonl";
    let lines = running
        .wait(recent, |_, text| text.contains("\"ben\"") && text.contains("\"subject\":\"visits\""))
        .await;
    let views: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|row| row["kind"] == "view")
        .collect();
    let by_ben = views.iter().find(|view| view["party"] == "ben").unwrap();
    assert_eq!(
        (&by_ben["facts"]["way"], &by_ben["subject"]),
        (&"files".into(), &"timeline".into())
    );
    assert!(by_ben["detail"].as_str().unwrap().contains("actor=anna@example.org"), "{by_ben}");
    let by_local = views.iter().find(|view| view["subject"] == "visits").unwrap();
    assert_eq!(
        (&by_local["party"], &by_local["facts"]["way"], &by_local["facts"]["address"]),
        (&"local".into(), &"local".into(), &"127.0.0.1".into())
    );
}
