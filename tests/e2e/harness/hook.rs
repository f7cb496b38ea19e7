//! A small HTTP server that stands for the receivers' side of webhooks and Slack, and records what
//! it gets. What it does not take from a client is what Slack would not take.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{block_on, free_port, spawn};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

#[derive(Default)]
struct Record {
    /// Accepted ones.
    requests: Vec<Request>,
    /// Requests that were answered with `refuse_with`.
    refused_count: usize,
    refuse_with: Option<(StatusCode, &'static str)>,
    /// Ways in which requests to `/slack` and Slack's API broke Slack's limits.
    violations: Vec<String>,
}

/// The name that Slack's API gives to every message here.
pub(crate) const SLACK_TS: &str = "1795500000.000100";

/// It may be stopped and started again on the same port; it remembers all it got.
pub(crate) struct Hook {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
    server: Option<JoinHandle<()>>,
}

impl Hook {
    /// Nobody listens yet: connections are refused.
    pub(crate) fn stopped() -> Hook {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Hook { address, record: Arc::default(), server: None }
    }

    /// Running.
    pub(crate) fn started() -> Hook {
        let mut hook = Hook::stopped();
        hook.start();
        hook
    }

    /// Listens.
    pub(crate) fn start(&mut self) {
        let router = Router::new().fallback(handle).with_state(Arc::clone(&self.record));
        let listener = block_on(tokio::net::TcpListener::bind(self.address)).unwrap();
        self.server = Some(spawn(async { axum::serve(listener, router).await.unwrap() }));
    }

    /// Answers everything with this status and `Retry-After` from now on, or takes it again.
    pub(crate) fn refuse_with(&self, answer: Option<(StatusCode, &'static str)>) {
        self.record().refuse_with = answer;
    }

    /// URL of a path, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Requests to a path so far, accepted ones only, oldest first.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        self.record().requests.iter().filter(|request| request.path == path).cloned().collect()
    }

    /// How many requests were refused.
    pub(crate) fn refused_count(&self) -> usize {
        self.record().refused_count
    }

    /// Ways in which requests to `/slack` and Slack's API broke Slack's limits.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.record().violations.clone()
    }

    /// Alerts in webhook requests to a path, in the order in which they came.
    pub(crate) fn alerts(&self, path: &str) -> Vec<Value> {
        let requests = self.requests(path).into_iter();
        requests
            .flat_map(|request| request.body["alerts"].as_array().cloned().unwrap_or_default())
            .collect()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

async fn handle(
    State(record): State<Arc<Mutex<Record>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    let mut record = record.lock().unwrap();
    if let Some((status, retry_after)) = record.refuse_with {
        record.refused_count += 1;
        return (status, [("retry-after", retry_after)], "not now".to_owned());
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path = uri.path().to_owned();
    let is_slack_api = path.starts_with("/api/chat.");
    if path == "/slack" || is_slack_api {
        let found = slack_violations(&body);
        record.violations.extend(found);
    }
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    record.requests.push(Request { path, headers, body });
    if is_slack_api {
        let channel = &record.requests[record.requests.len() - 1].body["channel"];
        let answer = json!({"ok": true, "channel": channel, "ts": SLACK_TS});
        return (StatusCode::OK, [("content-type", "application/json")], answer.to_string());
    }
    // Slack's answer to an incoming webhook; others do not look at it.
    (StatusCode::OK, [("content-type", "text/plain")], "ok".to_owned())
}

/// The limits of a message that Slack documents, and the one on the whole that it does not.
fn slack_violations(message: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |is_held: bool, what: String| {
        if !is_held {
            found.push(what);
        }
    };
    let fallback = message["text"].as_str().unwrap_or_default();
    check(!fallback.trim().is_empty(), "`text`, the fallback of notifications, is empty".into());
    // Where Slack reads markup, `<!…>` pings everybody and `<http…>` is a link: nobody but us writes
    // these.
    let mut marked_up = vec![fallback.to_owned()];
    texts_with_markup(message, &mut marked_up);
    check(!marked_up.iter().any(|text| text.contains("<!")), format!("a mention: {marked_up:?}"));
    let attachments = message["attachments"].as_array().cloned().unwrap_or_default();
    let mut total = 0;
    let mut count = 0;
    for holder in std::iter::once(message).chain(&attachments) {
        for block in holder["blocks"].as_array().into_iter().flatten() {
            count += 1;
            let kind = block["type"].as_str().unwrap_or_default();
            let length = |value: &Value| value.as_str().unwrap_or_default().chars().count();
            let main = length(&block["text"]["text"]);
            total += main;
            match kind {
                "header" => {
                    check(block["text"]["type"] == "plain_text", "a header is plain text".into());
                    check((1..=150).contains(&main), format!("a header has {main} characters"));
                }
                "section" => {
                    let fields = block["fields"].as_array().cloned().unwrap_or_default();
                    check(main <= 3_000, format!("a section has {main} characters"));
                    check(main > 0 || !fields.is_empty(), "a section is empty".into());
                    check(fields.len() <= 10, format!("a section has {} fields", fields.len()));
                    for field in &fields {
                        let size = length(&field["text"]);
                        total += size;
                        check(
                            (1..=2_000).contains(&size),
                            format!("a field has {size} characters"),
                        );
                    }
                }
                "context" => {
                    let elements = block["elements"].as_array().cloned().unwrap_or_default();
                    check((1..=10).contains(&elements.len()), "elements of a context".into());
                    total += elements.iter().map(|element| length(&element["text"])).sum::<usize>();
                }
                "actions" => {
                    let elements = block["elements"].as_array().cloned().unwrap_or_default();
                    check((1..=25).contains(&elements.len()), "elements of actions".into());
                    for element in &elements {
                        let size = length(&element["text"]["text"]);
                        check((1..=75).contains(&size), format!("a button has {size} characters"));
                    }
                }
                "divider" => {}
                other => check(false, format!("unknown block {other:?}")),
            }
        }
    }
    check(count <= 50, format!("{count} blocks"));
    check(total <= 12_000, format!("{total} characters in all"));
    found
}

/// Every text below a value that says it is `mrkdwn`.
fn texts_with_markup(value: &Value, found: &mut Vec<String>) {
    if value["type"] == "mrkdwn" {
        found.extend(value["text"].as_str().map(str::to_owned));
    }
    let below: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    for value in below {
        texts_with_markup(value, found);
    }
}

#[test]
fn slack_limits_are_checked() {
    let section =
        |text: String| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
    let message = |blocks: Vec<Value>| json!({"text": "fallback", "blocks": blocks});
    assert_eq!(slack_violations(&message(vec![section("x".repeat(3_000))])), Vec::<String>::new());
    assert_eq!(slack_violations(&message(vec![section("x".repeat(3_001))])).len(), 1);
    assert_eq!(slack_violations(&message(vec![section("x".into()); 51])).len(), 1);
    assert_eq!(slack_violations(&message(vec![section("x".repeat(3_000)); 5])).len(), 1);
    assert_eq!(slack_violations(&json!({"blocks": [section("x".into())]})).len(), 1);
    assert_eq!(slack_violations(&message(vec![section("<!channel>".into())])).len(), 1);
}
