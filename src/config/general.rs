//! The sections that belong to the whole of Tripline: paths, HTTP, engine, logs, reload.
//!
//! Sources, receivers and routes are not here: the modules that own them read them.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    engine::{
        access::UsageMode,
        diagnostic::{Diagnostic, code},
        duration::written,
        limits::{
            AWAY_MAX_DEFAULT, GRACE_DEFAULT, IDLE_AFTER_DEFAULT, MEMORY_MAX, MEMORY_MIN,
            SKEW_MAX_DEFAULT,
        },
        shard::EngineSettings,
        words::words,
        yaml::Section,
    },
    telemetry::{LogFormat, LogLevel, LogSettings},
    web::{AuthConfig, WAYS_IN, WebConfig},
};

/// Where metrics, health and API are served unless `http.listen` says otherwise: only to this host.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:9464";

const DAY: Duration = Duration::from_secs(86_400);

/// One setting, for documents and for reading environment variables.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Dotted path.
    pub path: &'static str,
    /// What holds without it; `required` if it must be given.
    pub default: &'static str,
    /// One sentence.
    pub summary: &'static str,
}

const fn setting(path: &'static str, default: &'static str, summary: &'static str) -> Setting {
    Setting { path, default, summary }
}

/// Every setting that [`General::parse`] reads, in the order of the example file.
pub const SETTINGS: &[Setting] = &[
    setting("rules", "required", "Directory with rule files."),
    setting("state", "required", "Directory for the checkpoint; made if it is missing."),
    setting("http.listen", LISTEN_DEFAULT, "Address of metrics, health, console and API."),
    setting("http.external_url", "none", "URL under which people reach it; for links in alerts."),
    setting(
        "http.hosts",
        "none",
        "Further names under which it is reached, for requests that change things.",
    ),
    setting(
        "http.tls.cert_file",
        "none",
        "Certificate in PEM, with those that signed it; read again when it changes.",
    ),
    setting("http.tls.key_file", "none", "Key of the certificate, in PEM."),
    setting(
        "http.tls.client_ca_file",
        "none",
        "Authorities in PEM; then every client must show a certificate of theirs.",
    ),
    setting("http.bearer_token", "none", "Tokens of those who may ask, one a line (secret)."),
    setting("http.bearer_token_file", "none", "File with these tokens."),
    setting("http.basic_auth.username", "none", "User who may ask."),
    setting("http.basic_auth.password", "none", "Password of the user (secret)."),
    setting("http.basic_auth.password_file", "none", "File with the password."),
    setting("http.auth.tokens", "none", "Bearer tokens, each with name and roles."),
    setting("http.auth.basic", "none", "Users with passwords and roles."),
    setting(
        "http.auth.slack",
        "none",
        "Users of Slack who may click buttons, with names and roles.",
    ),
    setting("http.auth.proxy", "none", "A proxy that says who asks, known by address and secret."),
    setting("http.auth.certificates", "false", "Client certificates say who asks."),
    setting("http.auth.groups", "none", "What members of groups are: viewer, responder, auditor."),
    setting("http.public", "[health]", "What is shown without credentials: health, metrics."),
    setting(
        "http.insecure",
        "false",
        "Listens for others though nobody is asked: shows health and metrics.",
    ),
    setting("engine.grace", "2m", "How long an event may come after newer ones and still count."),
    setting("engine.idle_after", "1m", "When a silent partition stops holding the others back."),
    setting("engine.skew_max", "5m", "How far ahead of our clock an event may claim to be."),
    setting("engine.away_max", "15m", "How long windows wait for partitions that cannot be read."),
    setting(
        "engine.max_alert_age",
        "none",
        "Alerts about what is older when it is found are recorded and summed up, not told one by one.",
    ),
    setting(
        "engine.resolve_after",
        "5m",
        "How long an alert of a plain rule fires after its event.",
    ),
    setting("engine.checkpoint_interval", "1s", "Longest time between two checkpoints."),
    setting(
        "engine.memory",
        "256MiB",
        "Memory for the keys and windows of all correlations together.",
    ),
    setting("engine.workers", "one per core", "Threads that decode and detect."),
    setting("dead_letter.directory", "<state>/dead-letters", "Where undecodable records are kept."),
    setting("dead_letter.topic", "none", "Kafka topic for them, instead of the directory."),
    setting("ledger.directory", "<state>/ledger", "Where the ledger is kept: a file a month."),
    setting("ledger.months", "13", "Months that are kept, the current one among them."),
    setting("ledger.size_max", "20GiB", "Size beyond which the oldest months are deleted."),
    setting("ledger.free_min", "1GiB", "Room that the ledger leaves free on its disk."),
    setting(
        "ledger.usage",
        "all",
        "Whose use of permissions is recorded, each once a day: all, people or off.",
    ),
    setting(
        "ledger.signing_key_file",
        "none",
        "Ed25519 key by which the ledger's seals are signed.",
    ),
    setting("log.level", "info", "error, warn, info, debug or trace."),
    setting("log.format", "auto", "text, json, or auto: text on a terminal and json elsewhere."),
    setting("reload.interval", "5s", "How often rule files are looked at for changes; 0 is never."),
];

/// Everything in the configuration that belongs to no other module.
#[derive(Clone, Debug, PartialEq)]
pub struct General {
    /// Directory with rule files.
    pub rules: PathBuf,
    /// Directory for the checkpoint.
    pub state: PathBuf,
    /// The server.
    pub http: HttpSettings,
    /// Time and threads.
    pub engine: EngineTuning,
    /// Where undecodable records go.
    pub dead_letter: DeadLetterSettings,
    /// Where accesses and entries are kept, and for how long.
    pub ledger: LedgerSettings,
    /// Logs.
    pub log: LogSettings,
    /// How often rule files are looked at for changes; `None` is never.
    pub reload_interval: Option<Duration>,
}

words! {
    /// What may be shown to everybody.
    pub enum Public {
        /// `/healthz` and `/readyz`, without reasons.
        Health = "health",
        /// `/metrics`.
        Metrics = "metrics",
    }
}

/// The section `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it listens, and who may ask.
    pub web: WebConfig,
    /// Who is who, and what they may; `None`: it is not said.
    pub auth: Option<AuthConfig>,
    /// Without a slash at its end.
    pub external_url: Option<String>,
    /// Names under which it is reached.
    pub hosts: Vec<String>,
    /// What is shown without credentials.
    pub public: Vec<Public>,
}

/// The section `engine`.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineTuning {
    /// What the engine is told about time.
    pub grace: Duration,
    /// See [`EngineSettings::idle_after`].
    pub idle_after: Duration,
    /// See [`EngineSettings::skew_max`].
    pub skew_max: Duration,
    /// See [`EngineSettings::away_max`].
    pub away_max: Duration,
    /// See [`EngineSettings::alert_age_max`].
    pub alert_age_max: Option<Duration>,
    /// See [`EngineSettings::resolve_after`].
    pub resolve_after: Duration,
    /// Longest time between two checkpoints while records come.
    pub checkpoint_interval: Duration,
    /// See [`EngineSettings::memory`].
    pub memory: u64,
    /// Threads that decode and detect; `None`: one per core.
    pub workers: Option<usize>,
}

impl EngineTuning {
    /// What the engine is told.
    pub fn settings(&self) -> EngineSettings {
        EngineSettings {
            grace: self.grace,
            idle_after: self.idle_after,
            skew_max: self.skew_max,
            away_max: self.away_max,
            alert_age_max: self.alert_age_max,
            resolve_after: self.resolve_after,
            memory: self.memory,
            ..EngineSettings::default()
        }
    }
}

/// The section `dead_letter`: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterSettings {
    /// A directory with files of JSON lines.
    Directory(PathBuf),
    /// A topic in the cluster of the first Kafka source.
    Topic(String),
}

/// The section `ledger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// A file a month is in it.
    pub directory: PathBuf,
    /// Months that are kept, the current one among them.
    pub months: u32,
    /// Bytes of all months together.
    pub size_max: u64,
    /// Bytes that stay free on its disk.
    pub free_min: u64,
    /// A key in PKCS #8, as PEM.
    pub signing_key_file: Option<PathBuf>,
    /// A topic in the cluster of the first Kafka source, to which each row is copied.
    pub topic: Option<String>,
    /// Whose use of permissions is recorded.
    pub usage: UsageMode,
}

impl General {
    /// Reads its sections and reports what is wrong with them; `None` if something that is needed is
    /// missing. Relative paths start from `base`. Nothing is opened.
    pub fn parse(root: &Section<'_>, base: &Path) -> Option<General> {
        let rules =
            root.required_string("rules", "name the directory with rule files: `rules: ./rules`");
        let state = root.required_string(
            "state",
            "name a directory that outlives the process: `state: ./state`",
        );
        let http = http(root);
        let engine = engine(root);
        let dead_letter = dead_letter(root, base);
        let ledger = LedgerSection::read(root, base);
        let log = log(root);
        let reload_interval = reload(root);
        let (rules, state) = (resolve(base, &rules?), resolve(base, &state?));
        let dead_letter = dead_letter
            .unwrap_or_else(|| DeadLetterSettings::Directory(state.join("dead-letters")));
        let ledger = ledger.in_state(&state);
        Some(General { rules, state, http, engine, dead_letter, ledger, log, reload_interval })
    }
}

/// A path as the user would type it: `./` before it says nothing.
fn resolve(base: &Path, path: &str) -> PathBuf {
    base.join(path.strip_prefix("./").filter(|rest| !rest.is_empty()).unwrap_or(path))
}

fn http(root: &Section<'_>) -> HttpSettings {
    let mut http = HttpSettings {
        web: WebConfig::local(LISTEN_DEFAULT),
        auth: None,
        external_url: None,
        hosts: Vec::new(),
        public: vec![Public::Health],
    };
    let Some(section) = root.section("http") else { return http };
    let has_auth = section.has("auth");
    http.web = WebConfig::parse_guarded(&section, LISTEN_DEFAULT, has_auth);
    if let Some(auth) = section.section("auth") {
        let is_exposed = http.web.is_reachable() && http.web.certificate.is_none();
        let asks = http.web.asks_for_certificates();
        let (path, place) = (auth.path_of("slack"), auth.place_of("slack"));
        let auth = AuthConfig::parse(auth, asks, is_exposed);
        if !auth.has_way_in() && !auth.slack.is_empty() && http.web.access.is_open() {
            let title = format!("{path} lets people click in Slack, and nobody into the console");
            let warning = Diagnostic::warning(code::DOOR_SHUT, place, title);
            root.report(warning.help(WAYS_IN));
        }
        http.auth = Some(auth);
    }
    http.hosts = section.strings("hosts").unwrap_or_default();
    if let Some(words) = section.strings("public") {
        http.public = words.iter().filter_map(|word| public(&section, word)).collect();
    }
    if let Some(url) = section.string("external_url") {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let is_url = rest.is_some_and(|rest| {
            !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace)
        });
        if is_url {
            http.external_url = Some(url.trim_end_matches('/').to_owned());
        } else {
            section.invalid(
                "external_url",
                format!("{} is not a URL", section.path_of("external_url")),
                "write it whole, such as `https://tripline.example.org`",
            );
        }
    }
    section.finish();
    let authority = http.external_url.as_deref().and_then(|url| url.split('/').nth(2));
    let listened = http.web.listen.rsplit_once(':').map(|(host, _)| host);
    http.hosts.extend(authority.into_iter().chain(listened).map(str::to_owned));
    http
}

fn public(section: &Section<'_>, word: &str) -> Option<Public> {
    let found = Public::parse(word);
    if found.is_none() {
        let title = format!("{} cannot have `{word}`", section.path_of("public"));
        section.invalid("public", title, "it is a list of `health` and `metrics`, or empty");
    }
    found
}

fn engine(root: &Section<'_>) -> EngineTuning {
    let defaults = EngineSettings::default();
    let mut engine = EngineTuning {
        grace: GRACE_DEFAULT,
        idle_after: IDLE_AFTER_DEFAULT,
        skew_max: SKEW_MAX_DEFAULT,
        away_max: AWAY_MAX_DEFAULT,
        alert_age_max: None,
        resolve_after: defaults.resolve_after,
        checkpoint_interval: Duration::from_secs(1),
        memory: defaults.memory,
        workers: None,
    };
    let Some(section) = root.section("engine") else { return engine };
    let (zero, second) = (Duration::ZERO, Duration::from_secs(1));
    for (key, range, to) in [
        ("grace", zero..=DAY, &mut engine.grace),
        ("idle_after", second..=DAY, &mut engine.idle_after),
        ("skew_max", zero..=DAY, &mut engine.skew_max),
        ("away_max", zero..=DAY, &mut engine.away_max),
        ("resolve_after", second..=30 * DAY, &mut engine.resolve_after),
        (
            "checkpoint_interval",
            Duration::from_millis(10)..=Duration::from_secs(60),
            &mut engine.checkpoint_interval,
        ),
    ] {
        if let Some(span) = duration_in(&section, key, &range) {
            *to = span;
        }
    }
    engine.alert_age_max =
        duration_in(&section, "max_alert_age", &(Duration::from_secs(60)..=365 * DAY));
    if let Some(memory) = memory(&section) {
        engine.memory = memory;
    }
    engine.workers = section.integer("workers", 1..=256).and_then(|n| usize::try_from(n).ok());
    section.finish();
    engine
}

fn memory(section: &Section<'_>) -> Option<u64> {
    let bytes = size(section, "memory")?;
    if (MEMORY_MIN..=MEMORY_MAX).contains(&bytes) {
        return Some(bytes);
    }
    let title = format!("{} is out of range", section.path_of("memory"));
    let (least, most) = (MEMORY_MIN >> 20, MEMORY_MAX >> 30);
    section.invalid("memory", title, format!("it may be {least}MiB to {most}GiB"));
    None
}

fn duration_in(
    section: &Section<'_>,
    key: &str,
    range: &RangeInclusive<Duration>,
) -> Option<Duration> {
    let span = section.duration(key)?;
    if range.contains(&span) {
        return Some(span);
    }
    section.invalid(
        key,
        format!("{} is out of range", section.path_of(key)),
        format!("it may be {} to {}", written(*range.start()), written(*range.end())),
    );
    None
}

fn dead_letter(root: &Section<'_>, base: &Path) -> Option<DeadLetterSettings> {
    let section = root.section("dead_letter")?;
    let directory = section.string("directory");
    let topic = section.string("topic");
    let settings = match (directory, topic) {
        (Some(_), Some(_)) => {
            section.invalid(
                "topic",
                "dead_letter has both a directory and a topic",
                "keep `directory` or `topic`, not both",
            );
            None
        }
        (Some(directory), None) => Some(DeadLetterSettings::Directory(resolve(base, &directory))),
        (None, Some(topic)) => Some(DeadLetterSettings::Topic(topic)),
        (None, None) => None,
    };
    section.finish();
    settings
}

/// What the section `ledger` says.
#[derive(Default)]
struct LedgerSection {
    directory: Option<PathBuf>,
    months: Option<u32>,
    size_max: Option<u64>,
    free_min: Option<u64>,
    signing_key_file: Option<PathBuf>,
    topic: Option<String>,
    usage: Option<UsageMode>,
}

impl LedgerSection {
    fn read(root: &Section<'_>, base: &Path) -> LedgerSection {
        let Some(section) = root.section("ledger") else { return LedgerSection::default() };
        let path = |key| section.string(key).map(|path| resolve(base, &path));
        let months = section.integer("months", 1..=1_200);
        let read = LedgerSection {
            directory: path("directory"),
            months: months.and_then(|months| u32::try_from(months).ok()),
            size_max: size(&section, "size_max"),
            free_min: size(&section, "free_min"),
            signing_key_file: path("signing_key_file"),
            topic: section.string("topic"),
            usage: section.one_of("usage", &UsageMode::WORDS),
        };
        section.finish();
        read
    }

    fn in_state(self, state: &Path) -> LedgerSettings {
        LedgerSettings {
            directory: self.directory.unwrap_or_else(|| state.join("ledger")),
            months: self.months.unwrap_or(13),
            size_max: self.size_max.unwrap_or(20 << 30),
            free_min: self.free_min.unwrap_or(1 << 30),
            signing_key_file: self.signing_key_file,
            topic: self.topic,
            usage: self.usage.unwrap_or_default(),
        }
    }
}

/// Bytes: a number and `KiB`, `MiB`, `GiB` or `TiB`.
fn size(section: &Section<'_>, key: &str) -> Option<u64> {
    let text = section.string(key)?;
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let found = units.into_iter().find_map(|(unit, shift)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(1 << shift)
    });
    if found.is_none() {
        let title = format!("{} is not a size", section.path_of(key));
        section.invalid(key, title, "write a number and a unit: `512MiB`, `20GiB`");
    }
    found
}

fn log(root: &Section<'_>) -> LogSettings {
    let mut log = LogSettings::default();
    let Some(section) = root.section("log") else { return log };
    if let Some(level) = section.one_of("level", &LogLevel::WORDS) {
        log.level = level;
    }
    if let Some(format) = section.one_of("format", &LogFormat::WORDS) {
        log.format = format;
    }
    section.finish();
    log
}

fn reload(root: &Section<'_>) -> Option<Duration> {
    let default = Duration::from_secs(5);
    let Some(section) = root.section("reload") else { return Some(default) };
    let interval = duration_in(&section, "interval", &(Duration::ZERO..=DAY));
    section.finish();
    Some(interval.unwrap_or(default)).filter(|span| !span.is_zero())
}
