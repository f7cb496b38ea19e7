//! Real services around the real binary: what the scenarios are made of.
//!
//! Services come from the directory that `TRIPLINE_E2E` names, filled by `tests/setup/services`.
//! Without it, or without a service, a scenario says `SKIPPED: …` on standard error and returns;
//! `tests/run` counts these lines. Every process listens on loopback only and dies with this one.

pub(crate) mod alertmanager;
pub(crate) mod apiserver;
pub(crate) mod audit;
pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod hook;
pub(crate) mod kafka;
pub(crate) mod moody;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod slack;
pub(crate) mod smtp;
pub(crate) mod tls;
pub(crate) mod tripline;

use std::{
    env, fs,
    future::Future,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::task::JoinHandle;

/// How long a scenario waits for something that must happen. Far above what it takes, since it
/// costs time only when the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// Runs a future to its end on the runtime that all scenarios share.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// Runs a future beside the scenario, on the same runtime.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    RUNTIME.spawn(future)
}

/// What a scenario needs; each is a file or directory below the directory of services.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    Kafka,
    Alertmanager,
    Prometheus,
    Smtp,
    Browser,
    Axe,
    // These are only if they were asked for.
    ApiServer,
    KafkaConnect,
    OtelCollector,
    Rsyslog,
    SyslogNg,
}

impl Service {
    fn path(self) -> &'static str {
        match self {
            Service::Kafka => "kafka/pom.xml",
            Service::Alertmanager => alertmanager_path(),
            Service::Prometheus => "bin/prometheus",
            Service::Smtp => "python/aiosmtpd",
            Service::Browser => "bin/chromedriver",
            Service::Axe => "axe/package/axe.min.js",
            Service::ApiServer => "kube-apiserver/built.mod",
            Service::KafkaConnect => "kafka-connect/pom.xml",
            Service::OtelCollector => "otel-collector/built.mod",
            Service::Rsyslog => "bin/rsyslogd",
            Service::SyslogNg => "bin/syslog-ng",
        }
    }
}

impl Service {
    /// What `tests/run --with` must be given for it.
    fn how(self) -> Option<&'static str> {
        match self {
            Service::ApiServer => Some("kube-apiserver"),
            Service::KafkaConnect
            | Service::OtelCollector
            | Service::Rsyslog
            | Service::SyslogNg => Some("shippers"),
            Service::Kafka
            | Service::Alertmanager
            | Service::Prometheus
            | Service::Smtp
            | Service::Browser
            | Service::Axe => None,
        }
    }
}

/// Debian's Alertmanager, or the newest that could be built if `TRIPLINE_ALERTMANAGER` says so.
pub(crate) fn alertmanager_path() -> &'static str {
    match env::var("TRIPLINE_ALERTMANAGER").as_deref() {
        Ok("newest") => "bin/alertmanager-newest",
        _ => "bin/alertmanager",
    }
}

/// The directory of services; `None` says that this run is without them.
fn services() -> Option<PathBuf> {
    env::var_os("TRIPLINE_E2E").map(PathBuf::from)
}

/// A path below the directory of services. Only for scenarios that asked [`available`].
pub(crate) fn service_path(name: &str) -> PathBuf {
    services().expect("the scenario asked whether its services are available").join(name)
}

/// Whether all these services are here. If not, says so, so that nobody takes the scenario for
/// passed; the scenario then returns.
pub(crate) fn available(needed: &[Service]) -> bool {
    let Some(root) = services() else {
        skipped("TRIPLINE_E2E names no directory of services; tests/run sets it up");
        return false;
    };
    for service in needed {
        if !root.join(service.path()).exists() {
            let hint = service.how().map(|with| format!("; `tests/run --with {with}` sets it up"));
            let hint = hint.unwrap_or_default();
            skipped(&format!("{service:?} is not in {}{hint}", root.display()));
            return false;
        }
    }
    true
}

/// Written past the test runner's capture, which would hide it for a test that passes.
fn skipped(reason: &str) {
    let test = thread::current().name().unwrap_or("a scenario").to_owned();
    let line = format!("SKIPPED: e2e {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
}

/// A new, empty directory that is removed at the end.
pub(crate) fn scratch(name: &str) -> TempDir {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(root).unwrap();
    tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(root).unwrap()
}

/// A file of this repository.
pub(crate) fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A port that nobody listens on. It lies below the range from which the system takes ports of
/// outgoing connections, so that it stays free until the service that it is for has started.
pub(crate) fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> =
        LazyLock::new(|| AtomicU16::new(u16::try_from(std::process::id() % 1_000).unwrap() * 10));
    loop {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// After [`PATIENCE`], saying what did not happen.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "it did not happen within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Checks again and again for the whole of `duration` that something does not happen.
///
/// # Panics
/// As soon as it happens.
pub(crate) fn never<T: std::fmt::Debug>(
    what: &str,
    duration: Duration,
    mut ask: impl FnMut() -> Option<T>,
) {
    let start = Instant::now();
    while start.elapsed() < duration {
        if let Some(answer) = ask() {
            panic!("it must not happen: {what}: {answer:?}");
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// `GET`; `None` unless the answer is 2xx.
pub(crate) fn get(url: &str) -> Option<String> {
    let (status, body) = get_any(url)?;
    (200..300).contains(&status).then_some(body)
}

/// `GET`, whatever the status; `None` if nobody answers.
pub(crate) fn get_any(url: &str) -> Option<(u16, String)> {
    block_on(async {
        let answer = ::tripline::tls::http(Vec::new())
            .ok()?
            .build()
            .ok()?
            .get(url)
            .timeout(Duration::from_secs(10))
            .send()
            .await
            .ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.ok()?))
    })
}

/// `GET` of JSON.
pub(crate) fn get_json(url: &str) -> Option<serde_json::Value> {
    serde_json::from_str(&get(url)?).ok()
}
