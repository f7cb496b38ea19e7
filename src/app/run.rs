//! `tripline run`: the process that people leave running.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    archiver,
    canary::{Canary, News},
    clock::now,
    configuration::Configuration,
    ledger_topic::{self, LedgerTopic},
    pages,
    pipeline::{Pipeline, PipelineEnd, PipelineSettings, StartError},
    reload::{LoadedRules, Look, ReloadOutcome, Reloader},
    self_alert::{canary_missing, end_of},
};
use crate::{
    archive::{Archive, ArchiveError, DIRECTORY_NAME, Limits, notes, sign::SigningKey},
    config::LedgerSettings,
    engine::{
        alert::{Alert, AlertState},
        diagnostic::Diagnostic,
        duration::written,
        ledger::Entry,
        recorder::Sign,
        text::counted,
    },
    notify::{Printer, Receivers},
    server::{
        self, ActRequest, Desk, Events, FetchEvent, Health, ReloadRequest, ServerContext, Status,
    },
    source::SourceError,
    store::{StoreError, sqlite::SqliteStore},
    telemetry::Metrics,
    web::{self, ListenError},
};

/// How long a stop waits for notifications that are owed: 10 s. Kubernetes kills after 30.
const DRAIN: Duration = Duration::from_secs(10);

/// How long a start waits for the state directory, or that of the ledger, that another process still holds: 30 s. A
/// process that was fenced, or told to stop, lets go of them sooner.
const STATE_WAIT: Duration = Duration::from_secs(30);

/// How often it looks whether it is free: 200 ms.
const STATE_LOOK: Duration = Duration::from_millis(200);

/// How often a start looks whether a full disk has room: every second.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// Entries of the server that wait for the pipeline: 256. Beyond it nobody is shown what must be recorded.
const ENTRIES_WAITING_MAX: usize = 256;

/// How soon rule files are looked at again after a change was seen: 500 ms.
const SETTLE: Duration = Duration::from_millis(500);

/// How often notes of commands are taken that looked into the ledger: every second.
const VIEWS_LOOK: Duration = Duration::from_secs(1);

/// How often it is looked whether the end-to-end canary has come back: 500 ms.
const CANARY_LOOK: Duration = Duration::from_millis(500);

/// Secrets that are named at once of those that cannot be read: 10.
const SECRETS_TOLD: usize = 10;

/// Why `run` came to its end.
#[derive(Debug)]
pub enum RunEnd {
    /// It was told to stop. So many notifications are still owed and will be sent by the next start.
    Stopped {
        /// Notifications that no receiver has taken yet.
        pending_count: usize,
    },
    /// All (finite) sources came to their end.
    Finished,
}

/// Why `run` could not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Something is wrong that only shows when it is used: a secret, a certificate.
    #[error("the configuration cannot be used")]
    Configuration(Vec<Diagnostic>),
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger is in use by another process.
    #[error(transparent)]
    Ledger(ArchiveError),
    /// The port.
    #[error(transparent)]
    Server(#[from] ListenError),
    /// The source.
    #[error(transparent)]
    Source(SourceError),
    /// A thread panicked.
    #[error("thread {thread} broke down; its panic is in the log")]
    Broken {
        /// Its name.
        thread: String,
    },
    /// The key that signs the ledger's seals cannot be used.
    #[error("ledger.signing_key_file: {0}")]
    SigningKey(ArchiveError),
    /// The operating system refused something.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

impl From<StartError> for RunError {
    fn from(error: StartError) -> RunError {
        match error {
            StartError::Store(error) => RunError::Store(error),
            StartError::Thread(error) => RunError::System(error),
        }
    }
}

/// Runs until a signal, the end of all sources, or an error that no retry can mend.
///
/// # Errors
/// See [`RunError`].
pub fn run(
    configuration: Configuration,
    rules: LoadedRules,
    printer: Printer,
) -> Result<RunEnd, RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let pages = pages::runtime()?;
    let result = runtime.block_on(run_in(configuration, rules, printer, pages.handle()));
    pages.shutdown_background();
    // Attempts that are still under way have a copy in the checkpoint.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

async fn run_in(
    configuration: Configuration,
    rules: LoadedRules,
    printer: Printer,
    pages: &Handle,
) -> Result<RunEnd, RunError> {
    let general = &configuration.general;
    let metrics = Arc::new(Metrics::new());
    let names = configuration.component_names();
    let mut components: Vec<&str> = names.iter().map(String::as_str).collect();
    components.extend(["rules", "store", archiver::COMPONENT]);
    components.extend(general.ledger.topic.iter().map(|_| ledger_topic::COMPONENT));
    let status = Arc::new(Status::new(&components));
    status.set_component("rules", Health::Ok, &rules.rules.written_counted());

    let (reload, reload_requests) = mpsc::channel(1);
    let (acts, act_requests) = mpsc::channel(16);
    let (entries, entry_requests) = mpsc::channel(ENTRIES_WAITING_MAX);
    let settings = configuration.build_server().map_err(RunError::Configuration)?;
    let web = general.http.web.clone();
    let listen = web.listen.clone();
    let bound = pages.spawn(async move { web::bind(&web.listen, web.may_be_reached()).await });
    let listener = bound.await.expect("whoever binds does not panic")?;
    let stop_server = CancellationToken::new();
    let desk = Desk::new(&general.state, &general.ledger.directory, Some(entries));
    let context = ServerContext {
        status: Arc::clone(&status),
        metrics: Arc::clone(&metrics),
        reload,
        acts,
        desk: desk.clone(),
        events: Events::new(fetch_event(&configuration)),
        slack: configuration.build_slack(),
    };
    tracing::info!(listen, "serving metrics, health and API");
    let server = pages.spawn(server::serve(listener, context, settings, stop_server.clone()));

    // From now on the signal does not end the process: it may come while the state is waited for.
    let hangup = signal(SignalKind::hangup())?;
    let started = start(&configuration, &rules, printer, &metrics, &status).await;
    let result = match started {
        Ok((pipeline, receivers)) => {
            let topic = start_ledger_topic(&configuration, &metrics, &status)?;
            configuration.rule_files().play_tests(&rules.rules, &status);
            let reloader = Reloader::new(
                configuration.rule_files(),
                &rules.rules,
                general.engine.resolve_after,
                Arc::clone(&metrics),
                Arc::clone(&status),
            );
            let canary = configuration.build_canary(&metrics).map_err(RunError::Configuration)?;
            let (status, state) = (Arc::clone(&status), general.state.clone());
            if let Err(why) = notes::prepare(&state) {
                tracing::warn!("who looks into the ledger by commands is not recorded: {why}");
            }
            let missing = None;
            let watched = Watched {
                pipeline,
                reloader,
                configuration: &configuration,
                unreadable: BTreeSet::new(),
                receivers,
                canary,
                missing,
                status,
                state,
                desk,
            };
            let requests = (reload_requests, act_requests, entry_requests);
            let end = watch(watched, general.reload_interval, requests, hangup).await;
            tokio::task::block_in_place(|| topic.map(LedgerTopic::finish));
            end
        }
        Err(error) => Err(error),
    };
    stop_server.cancel();
    drop(server.await);
    result
}

/// Fetches events again for whoever looks at an alert.
fn fetch_event(configuration: &Configuration) -> FetchEvent {
    let fetcher = configuration.event_fetcher();
    Arc::new(move |event| fetcher.fetch(event))
}

async fn start(
    configuration: &Configuration,
    rules: &LoadedRules,
    printer: Printer,
    metrics: &Arc<Metrics>,
    status: &Arc<Status>,
) -> Result<(Pipeline, Receivers), RunError> {
    let general = &configuration.general;
    let plan = configuration.dispatch_plan();
    metrics.set_receivers(&plan.receivers);
    metrics.watch_store(&general.state);
    let receivers = configuration.build_receivers(printer).map_err(RunError::Configuration)?;
    let sources = configuration.build_sources().map_err(RunError::Configuration)?;
    let mut store = open_store(&general.state, configuration, status).await?;
    let months = &general.ledger.directory;
    let is_elsewhere = *months != general.state.join(DIRECTORY_NAME);
    let elsewhere = is_elsewhere.then(|| std::path::absolute(months)).transpose()?;
    store.remember_ledger(elsewhere.as_deref())?;
    // Only now that no other process writes them.
    let (archive, signer) = open_ledger(&general.ledger, status).await?;
    let dead_letters = configuration
        .build_dead_letters()
        .map_err(|problem| RunError::Configuration(vec![*problem]))?;
    let workers = general
        .engine
        .workers
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let settings = PipelineSettings {
        rules: Arc::clone(&rules.rules),
        engine: configuration.engine_settings(),
        plan,
        receivers: receivers.clone(),
        sources,
        store: Box::new(store),
        archive: Some(archive),
        signer,
        configuration: configuration.hash.clone(),
        dead_letters,
        checkpoint_interval: general.engine.checkpoint_interval,
        workers,
        drain: DRAIN,
        has_heartbeat: configuration.has_heartbeat,
        metrics: Arc::clone(metrics),
        status: Arc::clone(status),
        on_alert: Box::new(|_| ()),
    };
    let runtime = Handle::current();
    Ok((Pipeline::start(settings, runtime)?, receivers))
}

/// Starts what copies the ledger to its topic, if it has one.
fn start_ledger_topic(
    configuration: &Configuration,
    metrics: &Arc<Metrics>,
    status: &Arc<Status>,
) -> Result<Option<LedgerTopic>, RunError> {
    let producer = configuration.build_ledger_topic().map_err(RunError::Configuration)?;
    let Some(producer) = producer else { return Ok(None) };
    let directory = configuration.general.ledger.directory.clone();
    Ok(Some(LedgerTopic::start(directory, producer, Arc::clone(status), Arc::clone(metrics))?))
}

/// Opens the ledger, with who signs its seals. If another process writes it, that one is waited for.
async fn open_ledger(
    settings: &LedgerSettings,
    status: &Status,
) -> Result<(Archive, Option<Arc<dyn Sign>>), RunError> {
    let limits = Limits {
        free_min: settings.free_min,
        size_max: settings.size_max,
        months: settings.months,
    };
    let mut archive = Archive::new(&settings.directory, limits);
    let deadline = tokio::time::Instant::now() + STATE_WAIT;
    // Whatever else is wrong with it, its rows wait, and alerts do not.
    while let Err(error @ ArchiveError::Locked { .. }) = archive.open() {
        if tokio::time::Instant::now() >= deadline {
            return Err(RunError::Ledger(error));
        }
        let detail = format!("{error}; the start waits for it");
        status.set_component(archiver::COMPONENT, Health::Starting, &detail);
        tokio::time::sleep(STATE_LOOK).await;
    }
    let Some(path) = &settings.signing_key_file else { return Ok((archive, None)) };
    let key = SigningKey::read(path).map_err(RunError::SigningKey)?;
    Ok((archive, Some(Arc::new(key))))
}

/// Opens the state directory. If another process holds it, that process is asked to go by fencing it
/// at the source, and the directory is waited for. A full disk is waited for until it has room.
async fn open_store(
    directory: &std::path::Path,
    configuration: &Configuration,
    status: &Status,
) -> Result<SqliteStore, RunError> {
    let deadline = tokio::time::Instant::now() + STATE_WAIT;
    let mut asked = false;
    loop {
        match SqliteStore::open(directory) {
            Ok(store) => return Ok(store),
            Err(error @ StoreError::Locked { .. }) => {
                if tokio::time::Instant::now() >= deadline {
                    return Err(error.into());
                }
                let detail = format!("{error}; taking over");
                status.set_component("store", Health::Starting, &detail);
                if !std::mem::replace(&mut asked, true) {
                    tokio::task::block_in_place(|| configuration.take_over(STATE_WAIT / 2))
                        .map_err(RunError::Configuration)?;
                }
                tokio::time::sleep(STATE_LOOK).await;
            }
            // What is told until then is told from the log, of which nothing is lost meanwhile.
            Err(error @ StoreError::Full { .. }) => {
                let detail = format!("{error}; the start waits for it");
                status.set_component("store", Health::Down, &detail);
                tokio::time::sleep(ROOM_WAIT).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What runs, and what is looked at while it does.
struct Watched<'a> {
    pipeline: Pipeline,
    reloader: Reloader,
    configuration: &'a Configuration,
    /// Secrets that could not be read at the last look.
    unreadable: BTreeSet<String>,
    receivers: Receivers,
    canary: Option<Canary>,
    /// What was told of a canary that is missing.
    missing: Option<Alert>,
    status: Arc<Status>,
    state: PathBuf,
    desk: Desk,
}

impl Watched<'_> {
    /// Sends the canary when it is time to, and tells of one that does not come back.
    fn look_for_canary(&mut self) {
        let Some(canary) = &mut self.canary else { return };
        let within = written(canary.within());
        let topic = canary.topic().to_owned();
        let detail = format!("sent to topic {topic}, its alert is due within {within}");
        match canary.look(now()) {
            Some(News::Missing) => {
                let detail = match canary.unwritten() {
                    Some(why) => format!("could not be written to topic {topic}: {why}"),
                    None => detail,
                };
                self.status.set_component("canary", Health::Degraded, &detail);
                let alert = canary_missing(now(), AlertState::Firing, &detail);
                self.missing = Some(alert.clone());
                self.pipeline.tell(alert);
            }
            Some(News::Back) => {
                self.status.set_component("canary", Health::Ok, "it came back");
                let over = canary_missing(now(), AlertState::Resolved, &detail);
                if let Some(told) = self.missing.take() {
                    self.pipeline.tell(end_of(&told, over));
                }
            }
            None => {}
        }
    }

    /// Looks at rules, secrets and certificates. Blocks the thread.
    fn look(&mut self, why: Look) -> ReloadOutcome {
        let have_changed = self.receivers.look();
        if have_changed || why == Look::Asked {
            self.pipeline.retry_now();
        }
        self.look_for_secrets();
        self.reloader.look(&self.pipeline, why)
    }

    /// Says which secrets cannot be read by now. Whoever needs them goes on with what was there before.
    fn look_for_secrets(&mut self) {
        let unreadable = self.configuration.unreadable();
        if unreadable == self.unreadable {
            return;
        }
        self.unreadable = unreadable;
        let mut named: Vec<&str> =
            self.unreadable.iter().take(SECRETS_TOLD).map(String::as_str).collect();
        if named.is_empty() {
            return self.status.set_component("secrets", Health::Ok, "all of them can be read");
        }
        let more = self.unreadable.len().saturating_sub(SECRETS_TOLD);
        let more = format!("and {more} more");
        if self.unreadable.len() > SECRETS_TOLD {
            named.push(&more);
        }
        let detail = format!("going on with what was there before: {}", named.join("; "));
        self.status.set_component("secrets", Health::Degraded, &detail);
    }
}

/// What people ask for over HTTP.
type Requests = (mpsc::Receiver<ReloadRequest>, mpsc::Receiver<ActRequest>, mpsc::Receiver<Entry>);

/// Waits for signals, reload requests and changed files, until the pipeline ends.
async fn watch(
    mut watched: Watched<'_>,
    reload_interval: Option<Duration>,
    (mut reload_requests, mut act_requests, mut entries): Requests,
    mut hangup: Signal,
) -> Result<RunEnd, RunError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut look = tokio::time::interval(reload_interval.unwrap_or(Duration::MAX / 4));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ended = tokio::time::interval(Duration::from_millis(100));
    let mut canary = tokio::time::interval(CANARY_LOOK);
    canary.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut views = tokio::time::interval(VIEWS_LOOK);
    views.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stopping = false;
    loop {
        tokio::select! {
            _ = canary.tick(), if !stopping => {
                tokio::task::block_in_place(|| watched.look_for_canary());
            }
            _ = ended.tick() => {
                if watched.pipeline.is_finished() {
                    break;
                }
            }
            _ = look.tick(), if reload_interval.is_some() && !stopping => {
                let outcome = tokio::task::block_in_place(|| watched.look(Look::ByTime));
                if let (ReloadOutcome::Changing, Some(interval)) = (outcome, reload_interval) {
                    look.reset_after(interval.min(SETTLE));
                }
            }
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: reloading rules and secrets");
                tokio::task::block_in_place(|| watched.look(Look::Asked));
            }
            Some(request) = reload_requests.recv() => {
                let outcome = tokio::task::block_in_place(|| watched.look(Look::Asked));
                answer(request, outcome);
            }
            Some(request) = act_requests.recv() => watched.pipeline.act(request),
            Some(entry) = entries.recv() => watched.pipeline.record(entry),
            _ = views.tick(), if !stopping => {
                let looks = tokio::task::block_in_place(|| notes::take(&watched.state));
                for entry in looks.into_iter().chain(watched.desk.left_out(false)) {
                    watched.pipeline.record(entry);
                }
            }
            _ = terminate.recv() => {
                stop(&watched, &mut stopping, "SIGTERM");
            }
            _ = interrupt.recv() => {
                if stopping {
                    tracing::warn!("second interrupt: ending at once; what is owed is in the checkpoint");
                    return Ok(RunEnd::Stopped { pending_count: 0 });
                }
                stop(&watched, &mut stopping, "interrupt");
            }
        }
    }
    match tokio::task::block_in_place(|| watched.pipeline.wait()) {
        PipelineEnd::Stopped { pending_count } => Ok(RunEnd::Stopped { pending_count }),
        PipelineEnd::Finished => Ok(RunEnd::Finished),
        PipelineEnd::Failed(error) => Err(RunError::Source(error)),
        PipelineEnd::Broken { thread } => Err(RunError::Broken { thread }),
    }
}

/// Answers a request to reload: with success only once the rules are in force.
fn answer(request: ReloadRequest, outcome: ReloadOutcome) {
    match outcome {
        ReloadOutcome::Refused(problems) => drop(request.reply.send(Err(problems))),
        ReloadOutcome::Unchanged | ReloadOutcome::Changing => {
            drop(request.reply.send(Ok("nothing changed".to_owned())));
        }
        ReloadOutcome::Loaded { rules, in_force } => {
            tokio::spawn(async move {
                // If the pipeline ends first, so does the server.
                if in_force.await.is_ok() {
                    drop(request.reply.send(Ok(format!("{} loaded", counted(rules, "rule")))));
                }
            });
        }
    }
}

fn stop(watched: &Watched<'_>, stopping: &mut bool, why: &str) {
    tracing::info!("{why}: stopping; finishing what is held");
    *stopping = true;
    for entry in watched.desk.left_out(true) {
        watched.pipeline.record(entry);
    }
    watched.pipeline.stop();
}
