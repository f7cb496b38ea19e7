//! Receivers that record what they get and answer as they are told: an HTTP server, and an SMTP server
//! without encryption. The real ones are in the end-to-end tests.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the next request gets. Without one it is `{"ok": true}`, which is good for everybody.
pub(crate) enum Reply {
    Now(StatusCode, Vec<(String, String)>, String),
    /// The connection stays open and nothing comes.
    Never,
}

impl Reply {
    pub(crate) fn status(status: StatusCode, headers: &[(&str, &str)]) -> Reply {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let body = if status.is_success() { r#"{"ok": true}"# } else { "no" };
        Reply::Now(status, headers.iter().map(owned).collect(), body.to_owned())
    }

    pub(crate) fn json(value: &Value) -> Reply {
        Reply::Now(StatusCode::OK, Vec::new(), value.to_string())
    }
}

#[derive(Clone, Default)]
struct HttpState {
    requests: Arc<Mutex<Vec<Request>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

pub(crate) struct FakeHttp {
    address: SocketAddr,
    state: HttpState,
    server: JoinHandle<()>,
}

impl FakeHttp {
    pub(crate) async fn start() -> FakeHttp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = HttpState::default();
        let router = Router::new().fallback(handle).with_state(state.clone());
        let server = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        FakeHttp { address, state, server }
    }

    /// From now on connections are refused.
    pub(crate) async fn stop(&self) {
        self.server.abort();
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the next request without an answer gets.
    pub(crate) fn answer(&self, reply: Reply) {
        self.state.replies.lock().unwrap().push_back(reply);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }
}

impl Drop for FakeHttp {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(
    State(state): State<HttpState>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let path = uri.path().to_owned();
    state.requests.lock().unwrap().push(Request { path, headers, body: body.to_vec() });
    let reply = state.replies.lock().unwrap().pop_front();
    let reply = reply.unwrap_or_else(|| Reply::status(StatusCode::OK, &[]));
    let Reply::Now(status, headers, body) = reply else { std::future::pending().await };
    let mut response = (status, body).into_response();
    for (name, value) in headers {
        let name: axum::http::HeaderName = name.parse().unwrap();
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// An HTTP server whose answers begin well, with a head and one byte of the body; then the connection
/// breaks, or nothing more comes.
pub(crate) struct Unfinished {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Unfinished {
    pub(crate) async fn start(status: StatusCode, breaks: bool) -> Unfinished {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 100\r\n\r\nx");
        let server = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                sessions.spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut length = 0;
                    let mut line = String::from("begin");
                    while !line.trim().is_empty() {
                        line.clear();
                        stream.read_line(&mut line).await.unwrap();
                        let lower = line.to_lowercase();
                        if let Some(value) = lower.strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                    }
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).await.unwrap();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    if !breaks {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Unfinished { address, server }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A mail that was taken, with the one recipient of its envelope.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) recipient: String,
    /// Headers and body as sent.
    pub(crate) text: String,
}

#[derive(Clone, Default)]
struct SmtpState {
    mails: Arc<Mutex<Vec<Mail>>>,
    /// By address: what its next RCPT gets instead of 250.
    refusals: Arc<Mutex<BTreeMap<String, String>>>,
    /// What it says behind a mail, instead of `250 kept`.
    taken: Arc<Mutex<Option<Vec<u8>>>>,
    /// At whose RCPT nothing is said.
    hangs: Arc<Mutex<Option<String>>>,
}

pub(crate) struct FakeSmtp {
    address: SocketAddr,
    state: SmtpState,
    server: JoinHandle<()>,
}

impl FakeSmtp {
    pub(crate) async fn start() -> FakeSmtp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = SmtpState::default();
        let shared = state.clone();
        let server = tokio::spawn(async move {
            // Dropped with this task, so that a server that is stopped also hangs up.
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                sessions.spawn(session(stream, shared.clone()));
            }
        });
        FakeSmtp { address, state, server }
    }

    /// From now on connections are refused, and those that were open are closed.
    pub(crate) async fn stop(&self) {
        self.server.abort();
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// What the next mail to an address gets.
    pub(crate) fn refuse(&self, address: &str, line: &str) {
        self.state.refusals.lock().unwrap().insert(address.to_owned(), line.to_owned());
    }

    /// From now on nothing is said to mail for an address.
    pub(crate) fn hang(&self, address: &str) {
        *self.state.hangs.lock().unwrap() = Some(address.to_owned());
    }

    /// What it says behind mails from now on; they are kept all the same.
    pub(crate) fn say_behind_mails(&self, line: &[u8]) {
        *self.state.taken.lock().unwrap() = Some(line.to_owned());
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.state.mails.lock().unwrap().clone()
    }

    /// Of all mails, in the order in which they came.
    pub(crate) fn recipients(&self) -> Vec<String> {
        self.mails().into_iter().map(|mail| mail.recipient).collect()
    }
}

impl Drop for FakeSmtp {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// As much of RFC 5321 as a client needs.
async fn session(stream: TcpStream, state: SmtpState) {
    let mut stream = BufReader::new(stream);
    let mut reply = b"220 fake".to_vec();
    let (mut recipient, mut line) = (String::new(), String::new());
    loop {
        reply.extend(b"\r\n");
        if stream.write_all(&reply).await.is_err() {
            return;
        }
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let command = line.trim_end().to_owned();
        reply = match command.get(..4).unwrap_or("") {
            "RCPT" => {
                recipient = command.split(['<', '>']).nth(1).unwrap_or("").to_owned();
                if state.hangs.lock().unwrap().as_ref() == Some(&recipient) {
                    return std::future::pending().await;
                }
                let refusal = state.refusals.lock().unwrap().remove(&recipient);
                refusal.map_or_else(|| b"250 fine".to_vec(), String::into_bytes)
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.unwrap();
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut text).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                state.mails.lock().unwrap().push(Mail { recipient: recipient.clone(), text });
                let taken = state.taken.lock().unwrap().clone();
                taken.unwrap_or_else(|| b"250 kept".to_vec())
            }
            "QUIT" => return,
            _ => b"250 fine".to_vec(),
        };
    }
}
