//! A small HTTP server that stands for the far side of webhooks, Slack and OAuth, and records what it
//! gets. What it does not take from a client is what Slack would not take.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{block_on, free_port, slack, spawn};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) at: Instant,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

#[derive(Default)]
struct Record {
    /// Accepted ones.
    requests: Vec<Request>,
    /// When requests came that were answered with `refuse_with`.
    refused: Vec<Instant>,
    refuse_with: Option<(StatusCode, &'static str)>,
    /// Requests get no answer at all.
    is_silent: bool,
    /// Ways in which requests to `/slack` and Slack's API broke Slack's limits.
    violations: Vec<String>,
    /// Names of the messages in the channel that nobody deleted.
    slack_messages: BTreeSet<String>,
    slack_message_count: u32,
}

/// The bot token that Slack's API takes here.
pub(crate) const SLACK_TOKEN: &str = "xoxb-secret";

/// The name that Slack's API gives to a message here, counted from 0; replies count too.
pub(crate) fn slack_ts(number: u32) -> String {
    format!("1795500000.{:06}", 100 + number)
}

/// The secret of the one client that the token endpoint knows.
pub(crate) const CLIENT_SECRET: &str = "oauth-client-secret";

/// The token that it gives: a JWT that nobody signed, which the test brokers take.
pub(crate) fn access_token() -> String {
    let part = |claims: &Value| URL_SAFE_NO_PAD.encode(claims.to_string());
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    // The same for an hour, so that a test can look for it.
    let begin = since_epoch / 3_600 * 3_600;
    let claims = json!({"sub": "tripline", "iat": begin, "exp": begin + 2 * 3_600});
    format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims))
}

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

    /// Answers nothing from now on, and keeps connections open; or answers again.
    pub(crate) fn set_silent(&self, is_silent: bool) {
        self.record().is_silent = is_silent;
    }

    /// URL of a path, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Requests to a path so far, accepted ones only, oldest first.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        self.record().requests.iter().filter(|request| request.path == path).cloned().collect()
    }

    /// When requests were refused.
    pub(crate) fn refused(&self) -> Vec<Instant> {
        self.record().refused.clone()
    }

    /// Somebody deletes all that was posted by Slack's API so far.
    pub(crate) fn delete_slack_messages(&self) {
        self.record().slack_messages.clear();
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

type Answer = (StatusCode, [(&'static str, &'static str); 1], String);

/// OAuth's client credentials grant (RFC 6749, section 4.4).
fn token(headers: &HeaderMap, body: &[u8]) -> Answer {
    let expected = format!("Basic {}", STANDARD.encode(format!("tripline:{CLIENT_SECRET}")));
    let is_known = headers.get("authorization").is_some_and(|value| value == expected.as_str());
    let is_asked = body == b"grant_type=client_credentials&scope=kafka";
    let (status, answer) = if is_known && is_asked {
        (StatusCode::OK, json!({"access_token": access_token(), "expires_in": 3_600}))
    } else {
        (StatusCode::UNAUTHORIZED, json!({"error": "invalid_client"}))
    };
    (status, [("content-type", "application/json")], answer.to_string())
}

async fn handle(
    State(record): State<Arc<Mutex<Record>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let is_silent = record.lock().unwrap().is_silent;
    if is_silent {
        std::future::pending::<()>().await;
    }
    let mut record = record.lock().unwrap();
    if let Some((status, retry_after)) = record.refuse_with {
        record.refused.push(Instant::now());
        return (status, [("retry-after", retry_after)], "not now".to_owned());
    }
    let path = uri.path().to_owned();
    if path == "/token" {
        return token(&headers, &body);
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let is_slack_api = path.starts_with("/api/chat.") || path == "/api/views.open";
    if path == "/slack" || path.starts_with("/api/chat.") {
        record.violations.extend(slack::violations(&body));
    }
    let answer = is_slack_api.then(|| slack_api(&mut record, &path, &headers, &body));
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    record.requests.push(Request { at: Instant::now(), path, headers, body });
    if let Some(answer) = answer {
        return (StatusCode::OK, [("content-type", "application/json")], answer.to_string());
    }
    // Slack's answer to an incoming webhook; others do not look at it.
    (StatusCode::OK, [("content-type", "text/plain")], "ok".to_owned())
}

/// `chat.postMessage` and `chat.update`: who may, and which message; `views.open`: who may.
fn slack_api(record: &mut Record, path: &str, headers: &HeaderMap, body: &Value) -> Value {
    let expected = format!("Bearer {SLACK_TOKEN}");
    if headers.get("authorization").is_none_or(|value| value != expected.as_str()) {
        return json!({"ok": false, "error": "invalid_auth"});
    }
    if path == "/api/views.open" {
        return json!({"ok": true, "view": body["view"]});
    }
    let ts = if path == "/api/chat.update" {
        let ts = body["ts"].as_str().unwrap_or_default().to_owned();
        if !record.slack_messages.contains(&ts) {
            return json!({"ok": false, "error": "message_not_found"});
        }
        ts
    } else {
        let ts = slack_ts(record.slack_message_count);
        record.slack_message_count += 1;
        record.slack_messages.insert(ts.clone());
        ts
    };
    json!({"ok": true, "channel": body["channel"], "ts": ts})
}
