//! A receiver of webhooks that takes a notification, refuses it in each way there is, breaks the
//! connection, or never answers, by turns; and only from whoever has the present token. What it has taken it
//! knows by its id, and takes again.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{block_on, free_port, spawn};

/// What it does, by turns.
const TURNS: [Turn; 6] = [
    Turn::Answer("200 OK"),
    Turn::Answer("404 Not Found"),
    Turn::Answer("429 Too Many Requests"),
    Turn::Answer("500 Internal Server Error"),
    Turn::Reset,
    Turn::Hang,
];

#[derive(Clone, Copy)]
enum Turn {
    Answer(&'static str),
    Reset,
    Hang,
}

/// One notification that it was offered.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    /// `webhook-id`.
    pub(crate) id: String,
    pub(crate) body: Value,
    /// Answered with 200.
    pub(crate) is_taken: bool,
    /// Answered with 404, which is not tried again as it is.
    pub(crate) is_refused: bool,
}

#[derive(Default)]
struct State {
    token: String,
    is_kind: bool,
    count: usize,
    offered: Vec<Offered>,
    strangers: usize,
}

/// Runs until the test process ends.
pub(crate) struct MoodyHook {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl MoodyHook {
    pub(crate) fn started(token: &str) -> MoodyHook {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let state = Arc::new(Mutex::new(State { token: token.to_owned(), ..State::default() }));
        let listener = block_on(TcpListener::bind(address)).unwrap();
        let served = Arc::clone(&state);
        drop(spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(tokio::spawn(serve(stream, Arc::clone(&served))));
            }
        }));
        MoodyHook { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Takes only this token from now on.
    pub(crate) fn rotate(&self, token: &str) {
        token.clone_into(&mut self.state.lock().unwrap().token);
    }

    /// Takes everything from now on.
    pub(crate) fn be_kind(&self) {
        self.state.lock().unwrap().is_kind = true;
    }

    /// Everything that it was offered with a right token, in order.
    pub(crate) fn offered(&self) -> Vec<Offered> {
        self.state.lock().unwrap().offered.clone()
    }

    /// The alerts that it took.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let taken = self.offered().into_iter().filter(|one| one.is_taken);
        taken.flat_map(|one| one.body["alerts"].as_array().cloned().unwrap_or_default()).collect()
    }

    /// How often somebody came with a token that is not, or no longer, right.
    pub(crate) fn strangers(&self) -> usize {
        self.state.lock().unwrap().strangers
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    loop {
        let (head, body) = request(&mut stream).await?;
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let turn = {
            let mut state = state.lock().unwrap();
            if header("authorization") == format!("Bearer {}", state.token) {
                let id = header("webhook-id");
                let knows = state.offered.iter().any(|one| one.is_taken && one.id == id);
                let turn = if state.is_kind || knows { 0 } else { state.count % TURNS.len() };
                let turn = TURNS[turn];
                state.count += 1;
                state.offered.push(Offered {
                    id,
                    body: serde_json::from_slice(&body).unwrap(),
                    is_taken: matches!(turn, Turn::Answer("200 OK")),
                    is_refused: matches!(turn, Turn::Answer(status) if status.starts_with("404")),
                });
                turn
            } else {
                state.strangers += 1;
                Turn::Answer("401 Unauthorized")
            }
        };
        match turn {
            Turn::Answer(status) => {
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                stream.write_all(answer.as_bytes()).await.ok()?;
            }
            Turn::Reset => {
                stream.set_zero_linger().unwrap();
                return None;
            }
            Turn::Hang => {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Head and body of the next request.
async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let length = length.unwrap_or(0);
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, bytes[end..end + length].to_vec()))
}
