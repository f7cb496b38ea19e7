//! The stage of the demo: an embedded Kafka, the pipeline that `run` uses, its metrics.

use std::{
    collections::BTreeSet,
    fs, io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{screen::Screen, summary::Seen};
use crate::{
    app::{
        clock::now as wall_now,
        pipeline::{NamedSource, Pipeline, PipelineEnd, PipelineSettings},
    },
    archive::{Archive, Limits},
    cli::{output, shipped_rules},
    engine::{
        alert::{Alert, AlertState},
        decode::{Again, event_again},
        diagnostic::{Diagnostic, Problems, SourceText},
        dispatch::DispatchPlan,
        rule::{LoadOptions, RuleSet, load},
        shard::EngineSettings,
        time::EventTime,
        yaml::{self, Section},
    },
    kafka::{Connection, EmbeddedKafka, read_record},
    notify::{self, BuildContext, Printer, Receivers},
    server::{
        self, ActRequest, Desk, Events, FetchEvent, Health, ServerContext, ServerSettings, Slack,
        Status,
    },
    source::kafka::{KafkaSettings, KafkaSource},
    store::{dead_letter::DeadLetterFiles, sqlite::SqliteStore},
    telemetry::Metrics,
    web::{self, ListenError},
};

/// The topic that is written and read.
pub(super) const TOPIC: &str = "audit";

/// How the pipeline's source is called in `/readyz`.
const SOURCE: &str = "kafka";

/// How long the consumer may take to get its partitions: 30 s; the embedded Kafka takes about 3 s.
const READY_WAIT: Duration = Duration::from_secs(30);

/// Ports that are tried, from the wanted one on.
const PORTS_TRIED: u16 = 20;

/// Alerts that the summary knows: 10,000. Further ones are printed, but not judged.
const ALERTS_MAX: usize = 10_000;

/// The demo's receivers and route, in the words of a configuration file: each alert once, at once, in
/// few words.
const RECEIVERS: &str = "\
receivers:
  - name: terminal
    stdout: {format: brief, send_resolved: false}
route: {receiver: terminal, group_by: ['...'], group_wait: 0s, group_interval: 1d}
";

/// What the operator's clock says, as the time of an event.
pub(super) fn now() -> EventTime {
    wall_now().as_event()
}

/// Numbers of the pipeline, as its metrics have them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    /// Events that were decoded.
    pub(super) events: u64,
    /// Records behind the end of the topic.
    pub(super) lag: u64,
    /// Alerts that fire.
    pub(super) firing: u64,
    /// Notifications that were tried.
    pub(super) attempts: u64,
}

/// Everything that runs. Dropped in this order: the pipeline before the Kafka that it reads.
pub(super) struct Stage {
    pipeline: Pipeline,
    stop_server: CancellationToken,
    runtime: Runtime,
    pub(super) kafka: EmbeddedKafka,
    metrics: Arc<Metrics>,
    alerts: Arc<Mutex<Vec<Seen>>>,
    rules: String,
    address: SocketAddr,
    ledger: PathBuf,
    _directory: TemporaryDirectory,
}

/// Of the demo's ledger, which is small.
const LIMITS: Limits = Limits { free_min: 0, size_max: 1 << 30, months: 13 };

impl Stage {
    /// Starts everything, and waits until the consumer has its partitions.
    ///
    /// # Errors
    /// If a port, a thread or the temporary directory cannot be had.
    pub(super) fn set(
        screen: &Arc<Screen>,
        partitions: u32,
        listen: SocketAddr,
        stop: &Arc<AtomicBool>,
    ) -> anyhow::Result<Stage> {
        let rules = rules()?;
        let kafka = EmbeddedKafka::start().map_err(anyhow::Error::msg)?;
        kafka.create_topic(TOPIC, i32::try_from(partitions)?).map_err(anyhow::Error::msg)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let metrics = Arc::new(Metrics::new());
        let status = Arc::new(Status::new(&["rules", "store", SOURCE]));
        status.set_component("rules", Health::Ok, "the shipped rules");
        let stop_server = CancellationToken::new();
        let (acts, act_requests) = mpsc::channel(16);
        let directory = TemporaryDirectory::new()?;
        let ledger = TemporaryDirectory::kept()?;
        // Who looks at what is made up is not recorded.
        let desk = Desk::new(&directory.path, &ledger, None);
        let events = Events::new(fetch_event(kafka.brokers()));
        let context = (Arc::clone(&status), Arc::clone(&metrics), acts, desk, events);
        let address = serve(&runtime, listen, context, &stop_server)?;
        let (plan, receivers) = receivers(screen, stop)?;
        metrics.set_receivers(&plan.receivers);
        let settings = KafkaSettings::new(kafka.brokers(), vec![TOPIC.to_owned()], "tripline-demo");
        let source = KafkaSource::new(settings, kafka.connection());
        let alerts = Arc::new(Mutex::new(Vec::new()));
        let pipeline = PipelineSettings {
            rules: Arc::clone(&rules),
            engine: EngineSettings::default(),
            plan,
            receivers,
            sources: vec![NamedSource {
                name: None,
                component: SOURCE.to_owned(),
                source: Box::new(source),
            }],
            store: Box::new(SqliteStore::open(&directory.path)?),
            archive: Some(Archive::new(&ledger, LIMITS)),
            signer: None,
            configuration: String::new(),
            dead_letters: Box::new(DeadLetterFiles::open(&directory.path)?),
            checkpoint_interval: Duration::from_secs(5),
            workers: 1,
            // What the demo waits for it waits for itself; the rest is news of alerts long told.
            drain: Duration::ZERO,
            has_heartbeat: false,
            metrics: Arc::clone(&metrics),
            status: Arc::clone(&status),
            on_alert: collect(Arc::clone(&alerts)),
        };
        let pipeline = Pipeline::start(pipeline, runtime.handle().clone())?;
        pipeline.follow_acts(act_requests, runtime.handle());
        wait_until_ready(&pipeline, &status)?;
        Ok(Stage {
            pipeline,
            stop_server,
            runtime,
            kafka,
            metrics,
            alerts,
            rules: rules.written_counted(),
            address,
            ledger,
            _directory: directory,
        })
    }

    /// How many rules watch, and how many record.
    pub(super) fn rules(&self) -> &str {
        &self.rules
    }

    /// Where the ledger stays, until the next demo.
    pub(super) fn ledger(&self) -> &std::path::Path {
        &self.ledger
    }

    /// Where metrics and health are served.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How it goes: read from the same text that Prometheus would get.
    pub(super) fn numbers(&self) -> Numbers {
        let text = self.metrics.render();
        Numbers {
            events: sum(&text, "tripline_events_total"),
            lag: sum(&text, "tripline_source_lag_records"),
            firing: sum(&text, "tripline_alerts_firing"),
            attempts: sum(&text, "tripline_delivery_attempts_total"),
        }
    }

    /// Whether everything that was sent has come out, and every alert has been told. Each alert is a
    /// notification of its own.
    pub(super) fn is_drained(&self, events_sent: u64) -> bool {
        let numbers = self.numbers();
        let alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        numbers.events >= events_sent && numbers.attempts >= alerts
    }

    /// Ends everything in good order, and hands out the alerts that began.
    ///
    /// # Errors
    /// If the pipeline had failed.
    pub(super) fn close(self) -> anyhow::Result<Vec<Seen>> {
        self.pipeline.stop();
        let end = self.pipeline.wait();
        self.stop_server.cancel();
        self.runtime.shutdown_timeout(Duration::from_millis(500));
        match end {
            PipelineEnd::Stopped { .. } | PipelineEnd::Finished => {}
            PipelineEnd::Failed(error) => {
                return Err(anyhow!(error).context("the pipeline failed"));
            }
            PipelineEnd::Broken { thread } => {
                return Err(anyhow!("the pipeline failed: thread {thread} broke down"));
            }
        }
        let mut alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut alerts))
    }
}

/// Fetches events again from the embedded Kafka.
fn fetch_event(brokers: Vec<String>) -> FetchEvent {
    let no_secret = |_: &_| Err("the embedded Kafka has no secrets".to_owned());
    Arc::new(move |event| {
        let position = &event.position;
        let open = Connection::new(brokers.clone()).open(&no_secret);
        let record = open.and_then(|connection| {
            read_record(connection, &position.topic, position.partition, position.offset)
        });
        match record.map(|record| record.and_then(|record| record.payload)) {
            Ok(Some(payload)) => event_again(&payload, position.index, &event.event_hash.get()),
            Ok(None) => Again::PastRetention,
            Err(why) => Again::Unreadable(why),
        }
    })
}

fn rules() -> anyhow::Result<Arc<RuleSet>> {
    let loaded = load(&shipped_rules(), &LoadOptions::default());
    if let Some(rules) = loaded.rules {
        return Ok(Arc::new(rules));
    }
    for problem in &loaded.diagnostics {
        output::tell(&problem.render(output::stderr_colours()));
    }
    Err(anyhow!("the shipped rules cannot be loaded"))
}

/// The plan and the notifiers that [`RECEIVERS`] means, printing through the screen. When nobody reads
/// any more, as after `| head`, the demo is asked to stop.
fn receivers(
    screen: &Arc<Screen>,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<(DispatchPlan, Receivers)> {
    let source = SourceText::new("demo", RECEIVERS);
    let nodes = yaml::parse(&source).map_err(|problem| anyhow!(problem.one_line()))?;
    let problems = Problems::new();
    let node = nodes.first().context("the demo's receivers are empty")?;
    let root = Section::new(&source, &problems, node, "");
    let configs = notify::parse_receivers(&root);
    let route = notify::parse_route(&root, &configs).context("the demo's route is wrong")?;
    root.finish();
    let colours = output::stdout_colours();
    let (screen, stop) = (Arc::clone(screen), Arc::clone(stop));
    let context = BuildContext {
        secret: Arc::new(|_| Err("the demo has no secrets".to_owned())),
        external_url: None,
        printer: Printer {
            print: Arc::new(move |text| {
                let printed = screen.print(text);
                let gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
                if printed.as_ref().is_err_and(gone) {
                    stop.store(true, Ordering::Relaxed);
                }
                printed
            }),
            is_terminal: true,
            has_colours: colours,
        },
    };
    let built = notify::build(&configs, context);
    let built = built.map_err(|problems| {
        anyhow!(problems.iter().map(Diagnostic::one_line).collect::<Vec<_>>().join("\n"))
    })?;
    Ok((notify::plan(&configs, route), built))
}

/// What the server shows and tells.
type Shared = (Arc<Status>, Arc<Metrics>, mpsc::Sender<ActRequest>, Desk, Events);

/// Opens the wanted port, or the next one that is free, and serves there.
fn serve(
    runtime: &Runtime,
    listen: SocketAddr,
    (status, metrics, acts, desk, events): Shared,
    stop: &CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let ports = (listen.port()..=u16::MAX).take(usize::from(PORTS_TRIED));
    let mut refused = None;
    for port in ports {
        let address = SocketAddr::new(listen.ip(), port);
        // What it shows is made up, so anybody may see it whom it is bound for.
        match runtime.block_on(web::bind(&address.to_string(), true)) {
            Ok(listener) => {
                let address = listener.local_addr()?;
                // Nobody reloads the demo's rules: the channel is closed.
                let (reload, _) = mpsc::channel(1);
                let slack = Slack::none();
                let context = ServerContext { status, metrics, reload, acts, desk, events, slack };
                let settings = ServerSettings::open();
                runtime.spawn(server::serve(listener, context, settings, stop.clone()));
                return Ok(address);
            }
            Err(error @ ListenError::InUse { .. }) => refused = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(refused.map_or_else(|| anyhow!("no port to listen on"), anyhow::Error::from))
}

/// Keeps the beginning of each alert.
fn collect(alerts: Arc<Mutex<Vec<Seen>>>) -> Box<dyn FnMut(&Alert) + Send> {
    let mut begun = BTreeSet::new();
    Box::new(move |alert| {
        let is_new = begun.len() < ALERTS_MAX
            && alert.state == AlertState::Firing
            && begun.insert((alert.fingerprint, alert.starts_at));
        if !is_new {
            return;
        }
        let key: Vec<String> =
            alert.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
        alerts.lock().unwrap_or_else(PoisonError::into_inner).push(Seen {
            rule: alert.labels.get("alertname").cloned().unwrap_or_default(),
            starts_at: alert.starts_at,
            told_at: wall_now(),
            labels: format!("{{{}}}", key.join(", ")),
        });
    })
}

fn wait_until_ready(pipeline: &Pipeline, status: &Status) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_WAIT;
    while status.components().get(SOURCE).is_none_or(|source| source.health != Health::Ok) {
        if Instant::now() > deadline || pipeline.is_finished() {
            return Err(anyhow!("the consumer got no partitions of the embedded Kafka"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Sum of all series of a metric in the text that Prometheus reads.
fn sum(text: &str, metric: &str) -> u64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(metric)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are whole, not negative and far below 2^53"
    )]
    let total = values.sum::<f64>().max(0.0) as u64;
    total
}

/// A directory of our own that goes when the demo ends.
struct TemporaryDirectory {
    path: PathBuf,
}

impl TemporaryDirectory {
    const PREFIX: &str = "tripline-demo-";

    /// Of what stays after the demo, until the next one.
    const KEPT_PREFIX: &str = "tripline-ledger-";

    fn new() -> anyhow::Result<TemporaryDirectory> {
        Self::sweep();
        Ok(TemporaryDirectory { path: Self::make(Self::PREFIX)? })
    }

    /// A directory that stays.
    fn kept() -> anyhow::Result<PathBuf> {
        Self::make(Self::KEPT_PREFIX)
    }

    fn make(prefix: &str) -> anyhow::Result<PathBuf> {
        let path = std::env::temp_dir().join(format!("{prefix}{}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Removes what a demo left behind that was ended at once, by a second Ctrl-C for example.
    fn sweep() {
        let processes = std::path::Path::new("/proc");
        let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let prefixes = [Self::PREFIX, Self::KEPT_PREFIX];
            let id = name
                .to_str()
                .and_then(|name| prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)));
            let runs = |id: u32| processes.join(id.to_string()).exists();
            if processes.join("self").exists()
                && id.and_then(|id| id.parse().ok()).is_some_and(|id| !runs(id))
            {
                // What cannot be removed belongs to somebody else.
                drop(fs::remove_dir_all(entry.path()));
            }
        }
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // What cannot be removed is the temporary directory's to clean.
        drop(fs::remove_dir_all(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_add_up() {
        let text = "# HELP a_total x\na_total 3\na_total_other 9\nb{x=\"1 2\"} 1\nb{x=\"2\"} 2.0\n";
        assert_eq!(sum(text, "a_total"), 3);
        assert_eq!(sum(text, "b"), 3);
        assert_eq!(sum(text, "c"), 0);
    }

    #[test]
    fn the_receivers_of_the_demo_are_correct() {
        let (plan, _) = receivers(&Arc::new(Screen::new()), &Arc::default()).unwrap();
        assert_eq!(plan.receivers.len(), 1);
    }

    #[test]
    fn the_shipped_rules_load() {
        assert!(rules().unwrap().written_count() > 40);
    }
}
