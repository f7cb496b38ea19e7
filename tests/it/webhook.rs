//! The webhook source under what API servers, and others, send it.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use reqwest::{Client, Response};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tripline::{
    engine::{
        diagnostic::{Problems, SourceText},
        record::{PartitionName, Position, RecordBatch},
        yaml::{SecretRef, Section, parse},
    },
    source::{BatchSink, SOURCES, SourceContext, SourceError, SourceEvent},
    web::SecretSource,
};

use crate::{
    certificates::sign,
    running::{Running as Process, event, pause},
};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a running source gave out.
#[derive(Default)]
struct Seen {
    batches: Mutex<Vec<RecordBatch>>,
    troubles: Mutex<BTreeMap<&'static str, (u64, String)>>,
    is_ready: AtomicBool,
    is_full: AtomicBool,
}

struct Sink(Arc<Seen>);

impl BatchSink for Sink {
    fn offer(&mut self, batch: RecordBatch) -> Result<(), RecordBatch> {
        if self.0.is_full.load(Ordering::SeqCst) {
            return Err(batch);
        }
        self.0.batches.lock().unwrap().push(batch);
        Ok(())
    }
}

struct Webhook {
    seen: Arc<Seen>,
    address: SocketAddr,
    stop: CancellationToken,
    committed: watch::Sender<Vec<Position>>,
    thread: Option<thread::JoinHandle<Result<(), SourceError>>>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop.cancel();
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

/// A free port of this host.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts a source by its section, without `listen`.
async fn start(section: &str, positions: Vec<Position>) -> Webhook {
    let address = free();
    let text = SourceText::new("webhook.yaml", format!("listen: '{address}'\n{section}"));
    let problems = Problems::new();
    let document = parse(&text).unwrap().remove(0);
    let section = Section::new(&text, &problems, &document, "webhook");
    let kind = SOURCES.iter().find(|kind| kind.name() == "webhook").unwrap();
    let settings = kind.parse(&section);
    section.finish();
    let problems: String = problems.into_sorted().iter().map(|p| p.render(false)).collect();
    assert!(problems.is_empty(), "{problems}");
    let read: SecretSource = Arc::new(|secret: &SecretRef| match secret {
        SecretRef::File(path) => fs::read_to_string(path).map_err(|error| error.to_string()),
        _ => Err("no such secret".to_owned()),
    });
    let source = settings.unwrap().build(&read).unwrap();
    let (seen, stop) = (Arc::new(Seen::default()), CancellationToken::new());
    let (committed, receiver) = watch::channel(Vec::new());
    let events = Arc::clone(&seen);
    let context = SourceContext {
        claim: Arc::default(),
        name: Some("api".into()),
        sink: Box::new(Sink(Arc::clone(&seen))),
        positions,
        rebuild: Duration::ZERO,
        notes: Vec::new(),
        committed: receiver,
        events: Box::new(move |event| match event {
            SourceEvent::Ready { .. } => events.is_ready.store(true, Ordering::SeqCst),
            SourceEvent::Trouble { what, count, detail } => {
                let mut troubles = events.troubles.lock().unwrap();
                let trouble = troubles.entry(what).or_default();
                *trouble = (trouble.0 + count, detail);
            }
            _ => {}
        }),
        stop: stop.clone(),
    };
    let thread = Some(thread::spawn(move || source.run(context)));
    let webhook = Webhook { seen, address, stop, committed, thread };
    webhook.until("it listens", |seen| seen.is_ready.load(Ordering::SeqCst)).await;
    webhook
}

fn client() -> Client {
    tripline::tls::http(Vec::new()).unwrap().no_proxy().build().unwrap()
}

fn list(user: &str) -> String {
    let event = event("get", user, "2026-01-05T10:00:00");
    format!(r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{event}]}}"#)
}

impl Webhook {
    async fn until(&self, what: &str, good: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !good(&self.seen) {
            let troubles = self.seen.troubles.lock().unwrap().clone();
            assert!(Instant::now() < deadline, "{what}; troubles: {troubles:?}");
            pause().await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that comes is durable at once.
    fn keep_all(&self, partition: &str) {
        let name = PartitionName { source: Some("api".into()), ..PartitionName::new(partition, 0) };
        let position = Position::new(Arc::new(name), i64::MAX);
        self.committed.send_modify(|positions| positions.push(position));
    }

    async fn post(&self, path: &str, token: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = client().post(self.url(path)).body(body);
        request.bearer_auth(token).send().await.unwrap()
    }

    fn batches(&self) -> usize {
        self.seen.batches.lock().unwrap().len()
    }

    async fn troubled(&self, what: &'static str) -> (u64, String) {
        self.until(what, |seen| seen.troubles.lock().unwrap().contains_key(what)).await;
        self.seen.troubles.lock().unwrap()[what].clone()
    }
}

#[tokio::test]
async fn a_batch_is_answered_only_when_what_it_caused_is_durable() {
    let partition =
        Arc::new(PartitionName { source: Some("api".into()), ..PartitionName::new("prod", 0) });
    let at = |next_offset| vec![Position::new(Arc::clone(&partition), next_offset)];
    let webhook = Arc::new(start("cluster: prod", at(7)).await);
    let posted = {
        let webhook = Arc::clone(&webhook);
        tokio::spawn(async move { webhook.post("/", "", list("eve")).await.status().as_u16() })
    };
    webhook.until("the batch", |seen| !seen.batches.lock().unwrap().is_empty()).await;
    {
        let batches = webhook.seen.batches.lock().unwrap();
        let (batch, record) = (&batches[0], &batches[0].records[0]);
        assert_eq!((batch.sequence, record.offset), (0, 7), "numbers go on where they were");
        assert_eq!(batch.cluster_of(record).map(AsRef::as_ref), Some("prod"));
        assert_eq!(batch.partition_of(record), Some(&partition));
        assert!(record.time.is_some());
    }
    webhook.committed.send(at(7)).unwrap();
    tokio::task::yield_now().await;
    assert!(!posted.is_finished(), "its own position is not durable yet");
    webhook.committed.send(at(8)).unwrap();
    assert_eq!(posted.await.unwrap(), 200);

    // Full: the client is told to come back, and nothing is taken.
    webhook.seen.is_full.store(true, Ordering::SeqCst);
    let full = webhook.post("/", "", list("eve")).await;
    assert_eq!(
        (full.status().as_u16(), &full.headers()["retry-after"]),
        (503, &"5".parse().unwrap())
    );
    assert_eq!((webhook.troubled("full").await.0, webhook.batches()), (1, 1));
    webhook.seen.is_full.store(false, Ordering::SeqCst);

    // It stops: what is not durable is still the client's.
    let posted = {
        let webhook = Arc::clone(&webhook);
        tokio::spawn(async move { webhook.post("/", "", list("eve")).await.status().as_u16() })
    };
    webhook.until("the batch", |seen| seen.batches.lock().unwrap().len() == 2).await;
    webhook.stop.cancel();
    assert_eq!(posted.await.unwrap(), 503);
}

#[tokio::test]
async fn clusters_are_told_apart_by_path_and_token() {
    let dir = tempfile::tempdir().unwrap();
    let token = |name: &str| {
        let path = dir.path().join(name);
        fs::write(&path, format!("{name}-token\n")).unwrap();
        path.display().to_string()
    };
    let (prod, dev, all) = (token("prod"), token("dev"), token("all"));
    let webhook = start(
        &format!(
            "bearer_token_file: {all}\nclusters:\n\
             - {{cluster: prod, path: /audit, bearer_token_file: {prod}}}\n\
             - {{cluster: dev, path: /audit, bearer_token_file: {dev}}}\n\
             - {{cluster: lab, path: /lab}}\n"
        ),
        Vec::new(),
    )
    .await;
    for cluster in ["prod", "dev", "lab"] {
        webhook.keep_all(cluster);
    }
    for (path, token, status, cluster) in [
        ("/audit", "prod-token", 200, "prod"),
        ("/audit", "dev-token", 200, "dev"),
        ("/lab", "all-token", 200, "lab"),
        ("/audit", "all-token", 401, ""),
        ("/lab", "prod-token", 401, ""),
        ("/audit", "", 401, ""),
        ("/", "all-token", 404, ""),
        ("/audit/", "prod-token", 404, ""),
    ] {
        let before = webhook.batches();
        let answer = webhook.post(path, token, list("eve")).await;
        assert_eq!(answer.status().as_u16(), status, "{path} {token}");
        let batches = webhook.seen.batches.lock().unwrap();
        if status == 200 {
            let batch = &batches[before];
            assert_eq!(batch.cluster_of(&batch.records[0]).map(AsRef::as_ref), Some(cluster));
        } else {
            assert_eq!(batches.len(), before);
        }
    }
    assert_eq!(webhook.troubled("unauthorized").await.0, 3);
    assert_eq!(webhook.troubled("unknown_path").await.0, 2);
    let answer = client().get(webhook.url("/lab")).bearer_auth("all-token").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 405);
}

#[tokio::test]
async fn bad_bodies_are_refused_with_a_reason_and_counted() {
    let webhook = start("body_bytes_max: 4000", Vec::new()).await;
    webhook.keep_all("/");
    let long = list(&"x".repeat(5_000));
    for (body, status, what, why) in [
        (String::new(), 400, "no_events", "empty"),
        ("{}".to_owned(), 400, "no_events", "no EventList"),
        ("{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}".to_owned(), 400, "no_events", "no EventList"),
        (list("eve").replace("]}", "]"), 400, "no_events", "not whole"),
        (long.clone(), 413, "too_large", "larger than 4000 bytes"),
    ] {
        let answer = webhook.post("/", "", body).await;
        let (code, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert!(code == status && text.contains(why), "{code} {text}");
        let is_told = |seen: &Seen| {
            let troubles = seen.troubles.lock().unwrap();
            troubles.get(what).is_some_and(|(_, latest)| latest.contains(why))
        };
        webhook.until(why, is_told).await;
    }
    // One whose length is not said, either.
    let mut stream = TcpStream::connect(webhook.address).unwrap();
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    write!(stream, "{head}{:x}\r\n{long}\r\n0\r\n\r\n", long.len()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_eq!(webhook.batches(), 0);
    assert_eq!(webhook.post("/", "", list("eve")).await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_body_is_taken_with_all_that_is_in_it_or_not_at_all() {
    let webhook = start("requests_per_second: 100000", Vec::new()).await;
    webhook.keep_all("/");
    let one = list("eve");
    let lines = format!("{one}\nI0302 10:00:00.1 1 a.go:1] \"a {{\n{one}\n");
    let many = format!("[{}]", vec!["{}"; 10_001].join(","));
    for (body, status, why) in [
        (lines, 200, ""),
        (many, 413, "more than 10000 events"),
        (one[..200].into(), 400, "not whole"),
    ] {
        let answer = webhook.post("/", "", body).await;
        let (code, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert!(code == status && text.contains(why), "{code} {text}");
    }
    assert_eq!(webhook.troubled("too_many_events").await.0, 1);
    assert_eq!(webhook.batches(), 1);
}

#[tokio::test]
async fn slow_and_many_clients_keep_nobody_out() {
    let webhook = start("requests_per_second: 1", Vec::new()).await;
    webhook.keep_all("/");
    let connect = || TcpStream::connect(webhook.address).unwrap();
    let silent: Vec<TcpStream> = (0..1_000).map(|_| connect()).collect();
    let mut slow = connect();
    let body = list("eve");
    write!(slow, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len())
        .unwrap();
    // Others come through meanwhile, but no more of them than may.
    let mut limited = 0;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = webhook.post("/", "", list("eve")).await;
        match answer.status().as_u16() {
            200 => break,
            429 => {
                assert_eq!(&answer.headers()["retry-after"], "1");
                limited += 1;
            }
            other => panic!("{other}"),
        }
        assert!(Instant::now() < deadline, "nobody comes through; {limited} were told to wait");
        pause().await;
    }
    // A byte at a time is not fast enough.
    slow.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (mut answer, mut bytes) = (Vec::new(), body.bytes());
    loop {
        let mut buffer = [0; 512];
        match slow.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(_) => drop(slow.write_all(&[bytes.next().unwrap()])),
        }
        assert!(Instant::now() < deadline, "it is never closed");
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(webhook.troubled("slow").await.0 >= 1);
    assert!(webhook.troubled("full").await.1.contains("connection"));
    drop(silent);
    assert_eq!(webhook.batches(), 1);
}

#[tokio::test]
async fn client_certificates_open_the_door() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    sign(dir.path(), &[("ca", "server"), ("ca", "client"), ("other", "stranger")]);
    let section = format!(
        "tls: {{cert_file: {}, key_file: {}, client_ca_file: {}}}",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    );
    let webhook = start(&section, Vec::new()).await;
    webhook.keep_all("/");
    // A client of its own: those of the program show no certificates.
    let body = list("eve");
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let connect = |name: Option<&str>, options: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-verify_quiet", "-CAfile", &path("ca.pem"), "-connect"]);
        command.arg(webhook.address.to_string()).args(options);
        if let Some(name) = name {
            let (cert, key) = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
            command.args(["-cert", &cert, "-key", &key]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().expect("the openssl command is installed")
    };
    let answered = |child: Child| {
        let answer = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&answer.stdout).into_owned()
    };
    for (name, may) in [(Some("client"), true), (None, false), (Some("stranger"), false)] {
        let mut child = connect(name, &["-quiet"]);
        // Whoever is refused may be gone already.
        drop(child.stdin.as_mut().unwrap().write_all(request.as_bytes()));
        let answer = answered(child);
        assert_eq!(answer.starts_with("HTTP/1.1 200"), may, "{name:?}: {answer}");
    }
    // No connection goes on with an earlier one: its certificate may have ended since.
    let session = path("session");
    let mut child = connect(Some("client"), &["-quiet", "-sess_out", &session]);
    child.stdin.as_mut().unwrap().write_all(request.as_bytes()).unwrap();
    assert!(answered(child).starts_with("HTTP/1.1 200"));
    assert!(!Path::new(&session).exists(), "a session was given");
    let mut child = connect(Some("client"), &["-tls1_2", "-reconnect"]);
    drop(child.stdin.take());
    let answer = answered(child);
    assert!(answer.contains("New, ") && !answer.contains("Reused, "), "{answer}");
    // One that is open is closed once its authority is taken away.
    let mut child = connect(Some("client"), &["-quiet"]);
    let request = request.replace("Connection: close\r\n", "");
    child.stdin.as_mut().unwrap().write_all(request.as_bytes()).unwrap();
    let mut begin = [0; 12];
    child.stdout.as_mut().unwrap().read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let refused = webhook.troubled("handshake").await.0;
    assert!(refused >= 2, "{refused}");
    fs::copy(path("other.pem"), path("ca.pem")).unwrap();
    let more = |seen: &Seen| seen.troubles.lock().unwrap()["handshake"].0 > refused;
    webhook.until("it is closed", more).await;
    child.stdout.as_mut().unwrap().read_to_end(&mut Vec::new()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(webhook.batches(), 3);
}

/// The process dies and begins anew; what was sent twice, by two ways, counts once.
#[tokio::test]
async fn a_request_counts_once_whatever_carries_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("rules")).unwrap();
    let rule = "title: exec\nlogsource: {product: kubernetes, service: audit}\n\
                detection: {e: {objectRef.subresource: exec}, condition: e}\nlevel: high\n\
                tripline: {group-by: [user.username]}\n";
    fs::write(dir.path().join("rules/exec.yaml"), rule).unwrap();
    let log = dir.path().join("audit.log");
    fs::write(&log, "").unwrap();
    let address = free();
    let sources = format!(
        "[{{name: api, webhook: {{listen: '{address}', cluster: prod}}}}, \
          {{name: log, file: {{paths: ['{}'], follow: true, cluster: prod}}}}]",
        log.display()
    );
    let post = |user: &'static str| async move {
        let body = list(user);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sent = client().post(format!("http://{address}/")).body(body.clone()).send().await;
            match sent.map(|answer| answer.status().as_u16()) {
                Ok(200) => break,
                other => assert!(Instant::now() < deadline, "{other:?}"),
            }
            pause().await;
        }
    };
    let mut running = Process::over(&sources, dir.path(), "");
    for user in ["ann", "ann", "bob"] {
        post(user).await;
    }
    running
        .until("both", |running| {
            ["ann", "bob"].iter().all(|user| running.told().contains(&format!("\"{user}\"")))
        })
        .await;
    // Answered means durable.
    running.signal("-KILL");
    running.end();
    let mut running = Process::over(&sources, dir.path(), "");
    post("ann").await;
    fs::write(
        &log,
        format!(
            "{}\n{}\n",
            event("get", "bob", "2026-01-05T10:00:00"),
            event("get", "cyd", "2026-01-05T10:00:00")
        ),
    )
    .unwrap();
    running.until("cyd", |running| running.told().contains("\"cyd\"")).await;
    for _ in 0..2 {
        post("cyd").await;
    }
    let duplicates = running.metric("tripline_events_duplicate_total").await;
    assert_eq!(duplicates, Some(4.0), "ann, bob and cyd twice");
    running.signal("-TERM");
    assert_eq!(running.end(), Some(0), "{}", running.logged());
}
