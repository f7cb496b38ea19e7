//! Reports from the server against those of the command line, over one ledger.

use std::path::Path;

use serde_json::Value;

use crate::{
    binary::tripline,
    http_server::write_rule,
    running::{Running, event},
};

async fn with_a_ledger(directory: &Path) -> Running {
    write_rule(directory);
    let mut running = Running::start(directory, "");
    running.wait("/readyz", |code, _| code == 200).await;
    running.write(&event("create", "eve", "2026-01-05T22:14:01"));
    let history = "/api/v1/alerts/history?since=400d";
    running.wait(history, |_, text| text.contains("\"fingerprint\"")).await;
    running
}

/// A report without what differs from one making to the next: when, by whom, and where the ledger has come to.
fn comparable(text: &str) -> Value {
    let mut report: Value = serde_json::from_str(text).unwrap();
    for fact in ["Made", "Hash of its head", "Verified", "Rows of the ledger"] {
        assert!(report["facts"].as_object_mut().unwrap().remove(fact).is_some(), "{fact}");
    }
    report
}

#[tokio::test]
async fn the_server_says_what_the_command_line_says() {
    let directory = tempfile::tempdir().unwrap();
    let running = with_a_ledger(directory.path()).await;
    let alert = running.get("/api/v1/alerts").await.1;
    let alert: Value = serde_json::from_str(&alert).unwrap();
    let fingerprint = alert["alerts"][0]["fingerprint"].as_str().unwrap();
    let period = ["--from", "2026-01-01", "--to", "2026-02-01"];
    for (path, arguments) in [
        ("access?", vec!["access"]),
        ("alerts?", vec!["alerts"]),
        (
            "compliance?framework=soc2&",
            vec!["compliance", "--framework", "soc2", "--rules", "rules"],
        ),
        (&format!("incident?fingerprint={fingerprint}&"), vec!["incident", fingerprint]),
    ] {
        let path = format!("/api/v1/reports/{path}from=2026-01-01&to=2026-02-01");
        let (code, text) = running.get(&path).await;
        let mut command = tripline(directory.path());
        command.arg("report").args(&arguments).args(period).args(["--format", "json"]);
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        if arguments[0] == "compliance" && code == 400 {
            // The rules of this test record nothing that a framework needs: both say so.
            assert!(text.contains("class"), "{text}");
            assert!(!output.status.success(), "{error}");
            continue;
        }
        assert_eq!(code, 200, "{path}: {text}");
        assert!(output.status.success(), "{arguments:?}: {error}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(comparable(&text), comparable(&said), "{path}");
    }
    for (format, sign) in [("html", "<!doctype html>"), ("csv", "section,title,table")] {
        let path = format!("/api/v1/reports/alerts?from=2026-01-01&to=2026-02-01&format={format}");
        let (code, text) = running.get(&path).await;
        assert_eq!(code, 200, "{text}");
        assert!(text.starts_with(sign), "{format}: {text}");
    }
    let view = |_: u16, text: &str| text.contains("report alerts");
    running.wait("/ledger?kind=view", view).await;
}

#[tokio::test]
async fn what_cannot_be_reported_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let running = with_a_ledger(directory.path()).await;
    for (path, code, said) in [
        ("nonsense", 404, "there are: access, alerts, compliance, incident"),
        ("access?from=2026-01-02&to=2026-01-01", 400, "nothing lies between"),
        ("access?format=pdf", 400, "html, json, csv"),
        ("access?clutser=a", 400, "did you mean `cluster`"),
        ("incident", 400, "`fingerprint` is missing"),
        ("access?framework=soc2", 400, "`framework` is of the report `compliance`"),
        (
            "compliance?framework=soc2&fingerprint=00",
            400,
            "`fingerprint` is of the report `incident`",
        ),
        ("incident?fingerprint=00&since=400d", 400, "00"),
    ] {
        let (found, text) = running.get(&format!("/api/v1/reports/{path}")).await;
        assert_eq!(found, code, "{path}: {text}");
        assert!(text.contains(said), "{path}: {said} in {text}");
    }
    let (code, text) = running.get("/reports?fingerprint=ab%22%3E%3Cscript%3Ealert(1)%27").await;
    assert_eq!(code, 200);
    assert!(text.contains("/api/v1/reports/incident?fingerprint="), "{text}");
    assert!(!text.contains("<script>alert"), "{text}");
}
