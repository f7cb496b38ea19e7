//! The HTTP server of `tripline run` under clients that hold connections, by plain sockets.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use crate::running::Running;

/// More connections than are held open at once.
const CLIENTS: usize = 200;

fn start(directory: &Path) -> Running {
    write_rule(directory);
    Running::start(directory, "")
}

/// The directory `rules`, with one rule.
pub(crate) fn write_rule(directory: &Path) {
    std::fs::create_dir(directory.join("rules")).unwrap();
    let rule = "title: Exec\nid: 8b0b2c4e-0000-4000-8000-000000000001\nname: exec\nlevel: low\n\
                logsource: {product: kubernetes, service: audit}\n\
                detection: {a: {objectRef.subresource: exec}, condition: a}\n";
    std::fs::write(directory.join("rules/exec.yaml"), rule).unwrap();
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// What a newcomer is answered, as a probe is: on a connection of its own.
fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = connect(address);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn assert_served(address: SocketAddr, what: &str) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = ask(address, path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {path}: {answer}");
    }
}

/// Whether the server closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test]
async fn clients_that_hold_connections_keep_nobody_from_health_and_metrics() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path());
    running.wait("/readyz", |code, _| code == 200).await;
    let address = running.address();
    let mut held = Vec::new();
    for (what, begin) in [
        ("silent", ""),
        ("half a head", "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-A: "),
        (
            "half a body",
            "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{",
        ),
        ("no TLS", "\u{16}\u{3}\u{1}"),
    ] {
        for _ in 0..CLIENTS {
            let mut stream = connect(address);
            stream.write_all(begin.as_bytes()).unwrap();
            held.push(stream);
        }
        assert_served(address, what);
    }
    let open = held.iter_mut().map(is_closed).filter(|closed| !closed).count();
    assert!(open <= 512, "{open} connections are held open");
    // Never reads: asks for more than the system's buffers hold.
    for _ in 0..CLIENTS {
        let mut stream = connect(address);
        stream.set_nonblocking(true).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
        // It takes what it takes.
        drop(stream.write(request.as_bytes()));
        held.push(stream);
    }
    assert_served(address, "never reads");
    let full = "tripline_http_refused_total{reason=\"full\",server=\"http\"} ";
    let metrics = ask(address, "/metrics");
    let count = metrics.lines().find_map(|line| line.strip_prefix(full)).unwrap();
    let count: f64 = count.parse().unwrap();
    assert!(count >= 200.0, "{count}");
}

/// Begins to send a body, and waits until the server asks for it.
fn half_a_body(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = connect(address);
    let head = "Host: localhost\r\nContent-Length: 60000\r\nExpect: 100-continue";
    stream.write_all(format!("POST {path} HTTP/1.1\r\n{head}\r\n\r\n").as_bytes()).unwrap();
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    assert!(line.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&line));
    stream.write_all(b"x").unwrap();
    stream
}

/// How many were neither answered nor closed.
fn still_held(streams: &[TcpStream]) -> usize {
    let is_held = |stream: &&TcpStream| {
        stream.set_nonblocking(true).unwrap();
        stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    streams.iter().filter(is_held).count()
}

#[tokio::test]
async fn bodies_that_take_their_time_keep_nobody_from_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path());
    running.wait("/readyz", |code, _| code == 200).await;
    let address = running.address();
    let answered = |asked: &str| {
        let mut stream = connect(address);
        stream.write_all(asked.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let seen = "GET /api/v1/alerts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let act = r#"{"act": "comment", "text": "x", "alerts": ["00000000000000000000000000000000"]}"#;
    let done = format!(
        "POST /api/v1/alerts/acts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/json\r\n\r\n{act}",
        act.len()
    );
    // Three times as many as are answered at once.
    let mut held: Vec<TcpStream> = (0..96).map(|_| half_a_body(address, "/login")).collect();
    assert!(answered(seen).starts_with("HTTP/1.1 200 "));
    assert!(answered(&done).starts_with("HTTP/1.1 404 "), "there is no such alert");
    assert_eq!(still_held(&held), 96, "they are answered while all of these are sent");
    // More than may come at once: the first of them give way.
    held.extend((0..CLIENTS).map(|_| half_a_body(address, "/login")));
    assert!(answered(seen).starts_with("HTTP/1.1 200 "));
    assert!(answered(&done).starts_with("HTTP/1.1 404 "));
    assert_eq!(still_held(&held[..96]), 0);
    assert!(still_held(&held) <= 128);
    let busy = "tripline_http_refused_total{reason=\"busy\",server=\"http\"}";
    assert!(running.metric(busy).await >= Some(168.0));
}

#[tokio::test]
async fn a_slow_head_a_slow_body_a_long_head_and_many_headers_are_ended() {
    let directory = tempfile::tempdir().unwrap();
    let running = start(directory.path());
    running.wait("/readyz", |code, _| code == 200).await;
    let answer = |request: String| {
        let mut stream = connect(running.address());
        // The server may have closed before all was sent.
        drop(stream.write_all(request.as_bytes()));
        let mut text = String::new();
        drop(stream.read_to_string(&mut text));
        text
    };
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(40 << 10));
    assert!(answer(long).contains(" 431 "));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(65));
    assert!(answer(many).contains(" 431 "));
    let mut slow_body = half_a_body(running.address(), "/login");
    assert_eq!(answer("GET / HTTP/1.1\r\nHost: localhost\r\n".to_owned()), "", "closed after 10 s");
    let mut text = String::new();
    slow_body.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("took too long"), "{text}");
    let slow = "tripline_http_refused_total{reason=\"slow\",server=\"http\"}";
    assert_eq!(running.metric(slow).await, Some(2.0));
}

#[test]
fn it_does_not_listen_for_others_unless_told() {
    let directory = tempfile::tempdir().unwrap();
    write_rule(directory.path());
    let config = "sources: [{file: {paths: ['/dev/null']}}]\nrules: rules\nstate: state\n\
                  receivers: [{name: out, stdout: {}}]\nroute: {receiver: out}\n";
    std::fs::write(directory.path().join("tripline.yaml"), config).unwrap();
    let run = |sets: &[&str]| {
        let mut command: Command = crate::binary::tripline(directory.path());
        command.arg("run");
        for set in sets {
            command.args(["--set", set]);
        }
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&["http.listen=0.0.0.0:0"]);
    assert!(code == Some(2) && text.contains("insecure: true"), "{code:?} {text}");
    let (code, text) = run(&["http.listen=0.0.0.0:0", "http.insecure=true"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(&["http.listen=0.0.0.0:0", "http.bearer_token=sesame"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(&["http.listen=0.0.0.0:0", "http.bearer_token_file=gone"]);
    assert!(
        code == Some(2) && text.contains("http.bearer_token: secret file gone"),
        "{code:?} {text}"
    );
}
