//! The running pipeline: threads and channels around the engine.
//!
//! ```text
//! source threads ─Work─► detector threads ─Batch─► coordinator ─attempts─► delivery tasks
//!       ▲                                            │  ▲                      │
//!       └───────── committed positions ──────────────┘  └────── outcomes ──────┘
//! ```
//!
//! The coordinator alone owns shard, dispatcher and store, so a checkpoint is consistent without a
//! lock. Records in flight are bounded in one place, `feed`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::Ordering,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

pub use super::coordinator::PipelineEnd;
use super::{
    archiver,
    clock::{HorizonClock, now},
    coordinator::{CoordinatorThread, Feed, Progress},
    delivery::Delivery,
    feed::{CurrentRules, FeedSink, InFlight, Spares, Work, run_detector},
    input::Input,
    self_alert, take_over,
};
use crate::{
    archive::Archive,
    engine::{
        alert::{Alert, AlertState},
        coordinator::{self, Coordinator, CoordinatorSettings},
        dispatch::{Addresses, DispatchPlan},
        ledger::{Chain, Entry, EntryKind, Row},
        member::LedgerInput,
        record::Position,
        recorder::Sign,
        rule::RuleSet,
        shard::EngineSettings,
        state::{SourceNote, StateEntry},
    },
    notify::Receivers,
    server::{ActRequest, Status},
    source::{Claim, Source, SourceContext},
    store::{Loaded, Store, StoreError, dead_letter::DeadLetterSink},
    telemetry::Metrics,
};

/// How much of the log is read again at most to rebuild windows whose state was lost: 1 day. What rules
/// remember for longer begins anew.
const REBUILD_SPAN_MAX: Duration = Duration::from_secs(86_400);

/// A source with the name that the operator gave it.
pub struct NamedSource {
    /// Needed when there are several.
    pub name: Option<Arc<str>>,
    /// Its name in `/readyz`.
    pub component: String,
    /// The source.
    pub source: Box<dyn Source>,
}

/// Everything a pipeline is made of, already built.
pub struct PipelineSettings {
    /// The rules to begin with.
    pub rules: Arc<RuleSet>,
    /// Time and limits of the engine.
    pub engine: EngineSettings,
    /// Routes and receivers.
    pub plan: DispatchPlan,
    /// The notifiers of the plan.
    pub receivers: Receivers,
    /// Where records come from.
    pub sources: Vec<NamedSource>,
    /// Where the checkpoint is.
    pub store: Box<dyn Store>,
    /// Where rows of the ledger stay; without one they are forgotten.
    pub archive: Option<Archive>,
    /// Who signs the seals of the ledger.
    pub signer: Option<Arc<dyn Sign>>,
    /// SHA-256 of the configuration, for the ledger; empty if there is none.
    pub configuration: String,
    /// Where records go that could not be decoded.
    pub dead_letters: Box<dyn DeadLetterSink>,
    /// How often progress is made durable while nothing fires.
    pub checkpoint_interval: Duration,
    /// Detector threads.
    pub workers: usize,
    /// How long a stop waits for notifications that are owed.
    pub drain: Duration,
    /// Whether an alert always fires, for somebody who is told when it no longer comes.
    pub has_heartbeat: bool,
    /// Counters and gauges.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` and the API show. Components: `store`, and one for each source.
    pub status: Arc<Status>,
    /// Sees every change of an alert, after the checkpoint that holds it; it must be quick.
    pub on_alert: Box<dyn FnMut(&Alert) + Send>,
}

/// Why a pipeline could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system refused a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// A pipeline that runs.
pub struct Pipeline {
    control: Sender<Input>,
    rules: Arc<CurrentRules>,
    receivers: Receivers,
    coordinator: JoinHandle<PipelineEnd>,
}

impl Pipeline {
    /// Restores the checkpoint and starts all threads. Attempts run on `runtime`.
    ///
    /// # Errors
    /// If the checkpoint cannot be read; nothing was started then.
    pub fn start(settings: PipelineSettings, runtime: Handle) -> Result<Pipeline, StartError> {
        let PipelineSettings {
            rules, engine, mut plan, sources, metrics, status, mut store, ..
        } = settings;
        let receivers = settings.receivers;
        plan.addresses = receivers.addresses();
        let loaded = store.load()?;
        let (control, inputs) = channel();
        let stop = CancellationToken::new();
        let current_rules = Arc::new(CurrentRules::new(Arc::clone(&rules)));
        let in_flight = Arc::new(InFlight::default());
        let reach = rules.longest_window().saturating_add(engine.grace);
        let rebuild = reach.saturating_add(engine.resolve_after).min(REBUILD_SPAN_MAX);
        let threads = Threads { control: control.clone(), stop: stop.clone(), rebuild };
        let horizon = HorizonClock::start(&loaded.entries);
        let workers =
            threads.start_detectors(settings.workers, &current_rules, &engine, horizon)?;
        let mut feeds = Vec::new();
        for (source_index, source) in sources.into_iter().enumerate() {
            let sink = FeedSink {
                source_index,
                taken: Arc::default(),
                in_flight: Arc::clone(&in_flight),
                workers: workers.clone(),
                spares: Spares::default(),
            };
            feeds.push(threads.start_source(source, sink, &loaded)?);
        }
        drop(workers);

        metrics.rules_loaded(&rules);
        status.rules_loaded(Arc::clone(&rules));
        let coordinator_settings = CoordinatorSettings {
            sources: feeds.len(),
            checkpoint_interval: settings.checkpoint_interval,
            drain: settings.drain,
        };
        let began = start_entry(&rules, &settings.configuration);
        let mut coordinator = Coordinator::new(now(), rules, engine, &plan, coordinator_settings);
        if let Some(signer) = settings.signer {
            coordinator.sign_with(signer);
        }
        let mut archive = settings.archive;
        let has_spool = !loaded.spool.is_empty();
        restore(&mut coordinator, loaded, archive.as_mut(), &feeds, settings.has_heartbeat);
        let has_ledger = has_spool || archive.as_ref().is_some_and(|archive| archive.last().id > 0);
        if let Some(input) = take_over::begin(&coordinator, &mut *store, has_ledger) {
            coordinator.handle(now(), coordinator::Input::Ledger(input));
        }
        coordinator.handle(now(), coordinator::Input::Entry(Box::new(began)));
        let rules = LedgerInput::Rules { trigger: "started" };
        coordinator.handle(now(), coordinator::Input::Ledger(rules));
        let start_archiver = |archive| {
            archiver::start(archive, control.clone(), Arc::clone(&status), Arc::clone(&metrics))
        };
        let archiver = archive.map(start_archiver).transpose()?;
        let firing = || {
            let member = coordinator.member();
            member.shard().alerts_firing().chain(member.dispatcher().troubles())
        };
        metrics.alerts_restored(firing());
        for alert in firing() {
            status.alert_changed(alert);
        }
        status.acts_restored(coordinator.member().dispatcher().acts());
        let mut progress = Progress::default();
        progress.troubles.restore(now(), coordinator.member().dispatcher());
        let thread = CoordinatorThread {
            coordinator,
            store,
            dead_letters: settings.dead_letters,
            delivery: Delivery::new(
                runtime.clone(),
                receivers.clone(),
                feeds.iter().map(|feed| Arc::clone(&feed.claim)).collect(),
                control.clone(),
            ),
            archiver,
            feeds,
            in_flight,
            rules: Arc::clone(&current_rules),
            stop,
            metrics,
            status,
            configuration: settings.configuration,
            on_alert: settings.on_alert,
            progress,
        };
        let coordinator = start_coordinator(thread, inputs, runtime)?;
        Ok(Pipeline { control, rules: current_rules, receivers, coordinator })
    }

    /// Puts another rule set in force; state of unchanged rules is kept. What comes back tells when it
    /// is.
    pub fn replace_rules(&self, rules: Arc<RuleSet>) -> oneshot::Receiver<()> {
        let (done, in_force) = oneshot::channel();
        drop(self.control.send(Input::Rules(rules, done)));
        in_force
    }

    /// Tells receivers something about Tripline itself.
    pub fn tell(&self, alert: Alert) {
        drop(self.control.send(Input::Engine(coordinator::Input::Alert(Box::new(alert)))));
    }

    /// Somebody may have fixed receivers, or where they are: what they did not take is tried now.
    pub fn retry_now(&self) {
        let retry = coordinator::Input::RetryNow(self.receivers.addresses());
        drop(self.control.send(Input::Engine(retry)));
    }

    /// Carries out what somebody does; the answer comes once that is durable.
    pub fn act(&self, request: ActRequest) {
        drop(self.control.send(Input::Act(request)));
    }

    /// Carries out whatever comes from there, as long as the pipeline runs.
    pub fn follow_acts(&self, mut requests: mpsc::Receiver<ActRequest>, runtime: &Handle) {
        let control = self.control.clone();
        runtime.spawn(async move {
            while let Some(request) = requests.recv().await {
                if control.send(Input::Act(request)).is_err() {
                    break;
                }
            }
        });
    }

    /// Puts an entry into the ledger. It is durable with the next checkpoint.
    pub fn record(&self, entry: Entry) {
        let entry = coordinator::Input::Entry(Box::new(entry));
        drop(self.control.send(Input::Engine(entry)));
    }

    /// The rule set in force.
    pub fn rules(&self) -> Arc<RuleSet> {
        self.rules.get().1
    }

    /// Tells sources to stop; the pipeline finishes what it holds and ends.
    pub fn stop(&self) {
        stop(&self.control);
    }

    /// Whether it has ended by itself.
    pub fn is_finished(&self) -> bool {
        self.coordinator.is_finished()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If the coordinator panicked: a broken invariant, after which the process must not go on.
    pub fn wait(self) -> PipelineEnd {
        self.coordinator.join().expect("the coordinator does not panic")
    }
}

fn stop(control: &Sender<Input>) {
    drop(control.send(Input::Engine(coordinator::Input::Stop)));
}

/// What every thread of a pipeline is given.
struct Threads {
    control: Sender<Input>,
    stop: CancellationToken,
    /// How far windows reach back.
    rebuild: Duration,
}

impl Threads {
    /// Starts a thread that may be missed: if it panics, the coordinator is told.
    fn start(&self, name: String, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let alarm = Alarm { thread: name.clone(), control: self.control.clone() };
        std::thread::Builder::new().name(name).spawn(move || alarm.over(body))?;
        Ok(())
    }

    fn start_detectors(
        &self,
        count: usize,
        rules: &Arc<CurrentRules>,
        settings: &EngineSettings,
        horizon: HorizonClock,
    ) -> std::io::Result<Vec<Sender<Work>>> {
        let mut workers = Vec::new();
        for index in 0..count.max(1) {
            let (sender, receiver) = channel();
            let (rules, settings, out) =
                (Arc::clone(rules), settings.clone(), self.control.clone());
            let receiver = Mutex::new(receiver);
            let body = move || run_detector(&receiver, &rules, &settings, horizon, &out);
            self.start(format!("detect-{index}"), body)?;
            workers.push(sender);
        }
        Ok(workers)
    }

    /// Starts a source where the checkpoint has left it.
    fn start_source(
        &self,
        source: NamedSource,
        sink: FeedSink,
        loaded: &Loaded,
    ) -> std::io::Result<Feed> {
        let NamedSource { name, component, source } = source;
        let FeedSink { source_index, .. } = sink;
        let taken = Arc::clone(&sink.taken);
        let (publish, watch) = tokio::sync::watch::channel(Vec::new());
        let events = self.control.clone();
        let claim = Arc::new(Claim::default());
        let context = SourceContext {
            rebuild: self.rebuild,
            positions: positions_of(&loaded.positions, name.as_ref()),
            notes: notes_of(&loaded.entries, name.as_ref()),
            name: name.clone(),
            sink: Box::new(sink),
            committed: watch,
            claim: Arc::clone(&claim),
            events: Box::new(move |event| {
                drop(events.send(Input::Source { source_index, event }));
            }),
            stop: self.stop.clone(),
        };
        let ended = self.control.clone();
        let body = move || {
            let result = source.run(context);
            let batches = taken.load(Ordering::Acquire);
            drop(ended.send(Input::SourceEnded { source_index, batches, result }));
        };
        self.start(format!("source-{source_index}"), body)?;
        Ok(Feed { name, component, committed: publish, claim })
    }
}

/// The checkpoint's positions that belong to a source.
fn positions_of(all: &[Position], source: Option<&Arc<str>>) -> Vec<Position> {
    let names: Vec<Arc<str>> = source.into_iter().cloned().collect();
    let resolved = all.iter().map(|position| Position {
        partition: Arc::new((*position.partition).clone().resolved(&names)),
        ..position.clone()
    });
    resolved.filter(|position| position.partition.source.as_ref() == source).collect()
}

/// That the process began, and with what.
fn start_entry(rules: &RuleSet, configuration: &str) -> Entry {
    Entry::new(EntryKind::Start, env!("CARGO_PKG_VERSION"), "started")
        .fact("rule_set", &rules.version)
        .fact("configuration", configuration)
        .count("rules", rules.written_count() as u64)
}

/// What the source has kept in the checkpoint.
fn notes_of(all: &[StateEntry], source: Option<&Arc<str>>) -> Vec<SourceNote> {
    let notes = all.iter().filter_map(SourceNote::read);
    notes.filter(|note| note.source.as_ref() == source).collect()
}

/// Opens the ledger. Returns the rows of the spool that it does not have, and where it has come to; of no row, if it cannot
/// be read: alerts do not wait for that, its rows do.
fn waiting_rows(archive: &mut Archive, spool: Vec<Arc<Row>>) -> (Vec<Arc<Row>>, Chain) {
    let opened = archive.open().and_then(|()| archive.not_there(spool.clone()));
    match opened {
        Ok(waiting) => (waiting, archive.last()),
        Err(error) => {
            tracing::error!("the ledger cannot be opened: {error}");
            (spool, Chain::default())
        }
    }
}

/// Goes on behind what the ledger has; whatever it is by now.
fn restore_ledger(
    coordinator: &mut Coordinator,
    archive: Option<&mut Archive>,
    spool: Vec<Arc<Row>>,
) {
    let Some(archive) = archive else { return coordinator.restore_ledger(spool, Chain::default()) };
    let before = coordinator.member().recorder().chain();
    let (waiting, last) = waiting_rows(archive, spool);
    coordinator.restore_ledger(waiting, last);
    let chain = coordinator.member().recorder().chain();
    if chain != before {
        tracing::warn!(
            checkpoint = before.id,
            ledger = last.id,
            "the ledger has rows that the state does not lead to: the state is new or older, or it is another ledger; what is \
             recorded goes on behind them, and what was recorded behind the state may be there twice"
        );
    }
    // If it cannot be opened before it is another one.
    archive.expect(chain);
}

fn restore(
    coordinator: &mut Coordinator,
    loaded: Loaded,
    archive: Option<&mut Archive>,
    feeds: &[Feed],
    has_heartbeat: bool,
) {
    let names: Vec<Arc<str>> = feeds.iter().filter_map(|feed| feed.name.clone()).collect();
    let (report, groups_unusable) = coordinator.restore(loaded.positions, loaded.entries, &names);
    restore_ledger(coordinator, archive, loaded.spool);
    // The rules that this process began with were accepted, whatever an earlier one was told; its canary is
    // yet to be sent, and its rows are yet to be written. What is still so is told again.
    let mut over = vec![
        self_alert::reload_failed(now(), AlertState::Resolved, ""),
        self_alert::canary_missing(now(), AlertState::Resolved, ""),
        self_alert::ledger_stalled(now(), AlertState::Resolved, ""),
        self_alert::access_shed(now(), AlertState::Resolved, ""),
    ];
    let heartbeat = self_alert::heartbeat(now(), AlertState::Firing);
    if !has_heartbeat {
        over.push(self_alert::heartbeat(now(), AlertState::Resolved));
    } else if coordinator.member().dispatcher().told_of(heartbeat.fingerprint).is_none() {
        coordinator.handle(now(), coordinator::Input::Alert(Box::new(heartbeat)));
    }
    for over in over {
        let told = coordinator.member().dispatcher().told_of(over.fingerprint);
        if let Some(over) = told.map(|told| self_alert::end_of(told, over)) {
            coordinator.handle(now(), coordinator::Input::Alert(Box::new(over)));
        }
    }
    let counts = &coordinator.member().dispatcher().counts().notifiers;
    for ((receiver, kind), counts) in counts.iter().filter(|(_, of)| of.alerts_dropped > 0) {
        let alerts = counts.alerts_dropped;
        tracing::warn!(receiver, kind, alerts, "what was owed was dropped: its receiver is gone");
    }
    // Whoever starts it may have fixed receivers.
    coordinator.handle(now(), coordinator::Input::RetryNow(Addresses::new()));
    tracing::info!(?report, groups_unusable, "checkpoint restored");
}

fn start_coordinator(
    thread: CoordinatorThread,
    inputs: Receiver<Input>,
    runtime: Handle,
) -> std::io::Result<JoinHandle<PipelineEnd>> {
    std::thread::Builder::new().name("coordinator".to_owned()).spawn(move || {
        // Notifiers are dropped on this thread; some hand their connections back to the runtime.
        let _entered = runtime.enter();
        thread.run(&inputs)
    })
}

/// Tells the coordinator that a thread panicked. A broken invariant ends the process, which starts again
/// from its checkpoint; without this it would go on with a part missing, and call itself ready.
struct Alarm {
    thread: String,
    control: Sender<Input>,
}

impl Alarm {
    /// Runs the body of the thread, and lives as long.
    fn over(self, body: impl FnOnce()) {
        body();
        drop(self);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::mem::take(&mut self.thread);
            drop(self.control.send(Input::Engine(coordinator::Input::Broken { thread })));
        }
    }
}
