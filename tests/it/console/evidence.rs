//! The page of an alert that is over, of an event of it, and of its rule as it was, of the real binary.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tripline::kafka::{EmbeddedKafka, Producer, Record};

use crate::{
    http_server::write_rule,
    running::{Running, event},
};

/// An event with a secret in it, and a key twice.
fn telling(user: &str, time: &str) -> String {
    let secret = "\"requestObject\":{\"kind\":\"Secret\",\"data\":{\"a\":\"aHVudGVyMg==\"}}";
    event("create", user, time).replacen("\"verb\"", &format!("{secret},\"verb\""), 1)
}

/// The only alert: its fingerprint, and its page.
async fn alert(running: &Running) -> (String, String) {
    let text = running.wait("/api/v1/alerts", |_, text| text.contains("\"fingerprint\"")).await;
    let all: Value = serde_json::from_str(&text).unwrap();
    let text = |name: &str| all["alerts"][0][name].as_str().unwrap().to_owned();
    let page = format!("/alerts/{}/{}", text("fingerprint"), text("starts_at"));
    // What the page says of rules and of what was comes from the ledger.
    let history = format!("/api/v1/alerts/history?since=400d&fingerprint={}", text("fingerprint"));
    running.wait(&history, |_, answer| answer.contains(&text("fingerprint"))).await;
    (text("fingerprint"), page)
}

/// Where the page of an alert leads for its event.
async fn event_page(running: &Running, alert: &str) -> String {
    let (code, text) = running.get(alert).await;
    assert_eq!(code, 200, "{text}");
    let begin = text.find("/events/").unwrap_or_else(|| panic!("no event in {text}"));
    let hash = text[begin + 8..].split('"').next().unwrap();
    format!("{alert}/events/{hash}")
}

/// A process that has read a file with one event; standard input keeps it from its end.
async fn reading(directory: &Path) -> Running {
    write_rule(directory);
    let log = directory.join("audit.log");
    fs::write(&log, telling("eve", "2026-01-05T22:14:01") + "\n").unwrap();
    let sources = format!(
        "[{{name: log, file: {{paths: ['{}']}}}}, {{name: in, file: {{paths: ['-']}}}}]",
        log.display()
    );
    let running = Running::over(&sources, directory, "");
    running.wait("/healthz", |code, _| code == 200).await;
    running
}

#[tokio::test]
async fn an_event_is_shown_as_it_was_read_with_what_held_of_the_rule() {
    let directory = tempfile::tempdir().unwrap();
    let running = reading(directory.path()).await;
    let (_, page) = alert(&running).await;
    let event = event_page(&running, &page).await;
    let (code, text) = running.get(&event).await;
    assert_eq!(code, 200, "{text}");
    for shown in [
        "byte for byte as it was read",
        "The rule holds for it",
        "✓",
        "objectRef.subresource",
        "eve",
    ] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    assert!(!text.contains("aHVudGVyMg"), "a secret is shown");
    let (code, json) = running.get(&format!("{event}?as=json")).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["user"]["username"]), (200, &json!("eve")));
    // Whoever looks is in the ledger.
    let view = |_: u16, text: &str| text.contains("view") && text.contains("/events/");
    running.wait("/ledger?kind=view", view).await;
    let other = format!("{page}/events/{}", "0".repeat(64));
    assert_eq!(running.get(&other).await.0, 404);
    assert_eq!(running.get(&format!("{page}/events/x")).await.0, 404);
}

#[tokio::test]
async fn an_event_that_is_another_one_or_gone_is_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let running = reading(directory.path()).await;
    let (_, page) = alert(&running).await;
    let event = event_page(&running, &page).await;
    let log = directory.path().join("audit.log");
    let changed = fs::read_to_string(&log).unwrap().replacen("\"eve\"", "\"bob\"", 1);
    fs::write(&log, changed).unwrap();
    let (_, text) = running.get(&event).await;
    assert!(text.contains("is another event"), "{text}");
    assert!(!text.contains("The rule holds for it"), "{text}");
    fs::write(&log, "").unwrap();
    let (code, text) = running.get(&event).await;
    assert_eq!(code, 200);
    assert!(text.contains("past retention"), "{text}");
    fs::remove_file(&log).unwrap();
    let (_, text) = running.get(&event).await;
    assert!(text.contains("cannot be had now"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_broker_that_is_away_is_waited_for_a_moment() {
    let directory = tempfile::tempdir().unwrap();
    write_rule(directory.path());
    let kafka = EmbeddedKafka::start().unwrap();
    kafka.create_topic("audit", 1).unwrap();
    let producer = Producer::new(kafka.connection(), "audit").unwrap();
    let payload = telling("eve", "2026-01-05T22:14:01");
    let record = Record { payload: Some(payload.as_bytes()), ..Record::default() };
    producer.deliver(&record).unwrap().await.unwrap().unwrap();
    let sources = format!(
        "[{{kafka: {{brokers: ['{}'], topics: [audit], group: t, start: earliest}}}}]",
        kafka.brokers().join("','")
    );
    let running = Running::over(&sources, directory.path(), "");
    let (_, page) = alert(&running).await;
    let event = event_page(&running, &page).await;
    let (_, text) = running.get(&event).await;
    assert!(text.contains("byte for byte") && text.contains("audit/0@0"), "{text}");
    kafka.set_reachable(false).unwrap();
    let began = std::time::Instant::now();
    let (code, text) = running.get(&event).await;
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    assert_eq!(code, 200, "{text}");
    assert!(text.contains("has not answered") || text.contains("cannot be had now"), "{text}");
}

#[tokio::test]
async fn the_rule_is_shown_as_it_was_when_the_alert_began() {
    let directory = tempfile::tempdir().unwrap();
    let running = reading(directory.path()).await;
    let (_, page) = alert(&running).await;
    let event = event_page(&running, &page).await;
    let (code, text) = running.get(&format!("{page}/rule")).await;
    assert_eq!(code, 200, "{text}");
    assert!(text.contains("says the same") && text.contains("title: Exec"), "{text}");
    let file = directory.path().join("rules/exec.yaml");
    let rule = fs::read_to_string(&file).unwrap();
    let other = rule.replace("title: Exec", "title: Shell").replace(
        "{a: {objectRef.subresource: exec}, condition: a}",
        "{a: {objectRef.subresource: attach}, condition: a}",
    );
    assert_ne!(other, rule);
    fs::write(&file, other).unwrap();
    assert_eq!(running.reload().await.0, 200);
    running.wait("/api/v1/rules", |_, text| text.contains("Shell")).await;
    let (_, text) = running.get(&format!("{page}/rule")).await;
    assert!(text.contains("is another one") && text.contains("title: Exec"), "{text}");
    // What held is told by the rule as it was, though the one in force would not hold.
    let (_, text) = running.get(&event).await;
    assert!(text.contains("The rule holds for it"), "{text}");
    assert!(text.contains("as they were when the alert began"), "{text}");
    // And the page of the rule says what took the place of what.
    let id = "/rule?id=8b0b2c4e-0000-4000-8000-000000000001";
    let changed = |_: u16, text: &str| text.contains("it was changed: rule set");
    let text = running.wait(id, changed).await;
    for shown in ["it came: rule set", "precision", "not known", "needs Metadata"] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
}

#[tokio::test]
async fn an_alert_that_is_over_still_says_who_what_when_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let running = reading(directory.path()).await;
    let (fingerprint, page) = alert(&running).await;
    let act =
        json!({"act": "verdict", "verdict": "benign", "alerts": [fingerprint], "text": "a drill"});
    let act = act.to_string();
    let json = "application/json";
    let (code, text) = running.post("/api/v1/alerts/acts", (json, &act), &[]).await;
    assert_eq!(code, 200, "{text}");
    let end = format!("/api/v1/alerts/{fingerprint}/resolve");
    let body = json!({"by": "anna", "why": "done"}).to_string();
    assert_eq!(running.post(&end, (json, &body), &[]).await.0, 200);
    running.wait("/api/v1/alerts", |_, text| text.contains("\"total\":0")).await;
    let text = running.wait(&page, |_, text| text.contains("It is over")).await;
    for shown in
        ["resolved", "Exec", "eve", "2026-01-05", "a drill", "benign", "/events/", "10.0.0.1"]
    {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    assert!(!text.contains("without what it showed"), "{text}");
    let event = event_page(&running, &page).await;
    assert!(running.get(&event).await.1.contains("The rule holds for it"));
    // A judgement counts for the rule.
    let (_, rules) = running.get("/rules?since=400d").await;
    assert!(rules.contains("of 1 that were judged"), "{rules}");
}

#[tokio::test]
async fn tests_beside_rules_are_played_and_what_fails_is_named() {
    let directory = tempfile::tempdir().unwrap();
    write_rule(directory.path());
    let test = |name: &str, user: &str| {
        format!(
            "  - name: {name}\n    events: [{{at: 0s, set: {{verb: create, user.username: {user}, \
             objectRef.subresource: exec}}}}]\n    expect: []\n"
        )
    };
    let quiet =
        "  - name: a read is quiet\n    events: [{at: 0s, set: {verb: get}}]\n    expect: []\n";
    let file = format!("tests:\n{}{quiet}", test("an exec is quiet", "eve"));
    fs::write(directory.path().join("rules/exec.test.yaml"), file).unwrap();
    let running = Running::start(directory.path(), "");
    let page = "/rule?id=8b0b2c4e-0000-4000-8000-000000000001";
    let played = |_: u16, text: &str| text.contains("2 tests of exec.yaml, 1 failed");
    let text = running.wait(page, played).await;
    assert!(text.contains("failed: an exec is quiet"), "{text}");
    let (_, list) = running.get("/rules").await;
    assert!(list.contains("1 of 2 failed"), "{list}");
    fs::remove_file(directory.path().join("rules/exec.test.yaml")).unwrap();
    assert_eq!(running.reload().await.0, 200);
    running.wait(page, |_, text| text.contains("none stands beside exec.yaml")).await;
}
