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
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    coordinator::{Coordinator, Feed, Input},
    delivery::Delivery,
    feed::{CurrentRules, FeedSink, InFlight, Spares, Work, qualified_topic, run_detector},
};
use crate::{
    engine::{
        alert::Alert,
        dispatch::DispatchPlan,
        record::{PartitionName, Position},
        rule::RuleSet,
        shard::EngineSettings,
        time::WallTime,
    },
    notify::Receivers,
    server::Status,
    source::{Source, SourceContext, SourceError},
    store::{Store, StoreError, dead_letter::DeadLetterSink},
    telemetry::Metrics,
};

/// What the operator's clock says now. The only place of the pipeline that asks it.
pub fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A source with the name that the operator gave it.
pub struct NamedSource {
    /// Needed when there are several.
    pub name: Option<String>,
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
    /// Where records go that could not be decoded.
    pub dead_letters: Box<dyn DeadLetterSink>,
    /// How often progress is made durable while nothing fires.
    pub checkpoint_interval: Duration,
    /// Detector threads.
    pub workers: usize,
    /// How long a stop waits for notifications that are owed.
    pub drain: Duration,
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

/// How a pipeline ended.
#[derive(Debug)]
pub enum PipelineEnd {
    /// It was told to stop, and finished what it held. So many notifications are still owed; they are
    /// in the checkpoint.
    Stopped {
        /// Notifications that no receiver has taken yet.
        pending_count: usize,
    },
    /// All sources came to their end.
    Finished,
    /// A source failed for good.
    Failed(SourceError),
}

/// A pipeline that runs.
pub struct Pipeline {
    control: Sender<Input>,
    stop: CancellationToken,
    rules: Arc<CurrentRules>,
    coordinator: JoinHandle<PipelineEnd>,
}

impl Pipeline {
    /// Restores the checkpoint and starts all threads. Attempts run on `runtime`.
    ///
    /// # Errors
    /// If the checkpoint cannot be read; nothing was started then.
    pub fn start(
        mut settings: PipelineSettings,
        runtime: tokio::runtime::Handle,
    ) -> Result<Pipeline, StartError> {
        let loaded = settings.store.load()?;
        let (control, inputs) = channel();
        let stop = CancellationToken::new();
        let rules = Arc::new(CurrentRules::new(Arc::clone(&settings.rules)));
        let in_flight = Arc::new(InFlight::default());
        let workers = start_detectors(settings.workers, &rules, &settings.engine, &control, &stop)?;

        let sources = std::mem::take(&mut settings.sources);
        let mut feeds = Vec::new();
        for (source_index, NamedSource { name, component, source }) in
            sources.into_iter().enumerate()
        {
            let positions = positions_of(&loaded.positions, name.as_deref());
            let (publish, watch) = tokio::sync::watch::channel(Vec::new());
            feeds.push(Feed { name: name.clone(), component, committed: publish });
            let events = control.clone();
            let context = SourceContext {
                sink: Box::new(FeedSink {
                    source_index,
                    source_name: name,
                    renamed: BTreeMap::new(),
                    in_flight: Arc::clone(&in_flight),
                    workers: workers.clone(),
                    spares: Spares::default(),
                }),
                positions,
                committed: watch,
                events: Box::new(move |event| {
                    drop(events.send(Input::Source { source_index, event }));
                }),
                stop: stop.clone(),
            };
            let (ended, failed) = (control.clone(), stop.clone());
            let body = move || {
                let result = source.run(context);
                if result.is_err() {
                    // Seen even by a coordinator that waits for its store, which reads no input.
                    failed.cancel();
                }
                drop(ended.send(Input::SourceEnded { source_index, result }));
            };
            let thread = format!("source-{source_index}");
            let alarm = Alarm::new(&thread, &control, &stop);
            spawn(&thread, move || alarm.over(body))?;
        }
        drop(workers);

        let receivers = std::mem::take(&mut settings.receivers);
        let delivery = Delivery::new(runtime.clone(), receivers, control.clone());
        let coordinator = Coordinator::new(
            settings,
            loaded,
            delivery,
            feeds,
            in_flight,
            Arc::clone(&rules),
            stop.clone(),
        );
        let coordinator = spawn("coordinator", move || {
            // Notifiers are dropped on this thread; some hand their connections back to the runtime.
            let _entered = runtime.enter();
            coordinator.run(&inputs)
        })?;
        Ok(Pipeline { control, stop, rules, coordinator })
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
        drop(self.control.send(Input::Tell(Box::new(alert))));
    }

    /// The rule set in force.
    pub fn rules(&self) -> Arc<RuleSet> {
        self.rules.get().1
    }

    /// Tells sources to stop; the pipeline finishes what it holds and ends.
    pub fn stop(&self) {
        self.stop.cancel();
        drop(self.control.send(Input::Stop));
    }

    /// A handle that stops the pipeline from another thread.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let (control, stop) = (self.control.clone(), self.stop.clone());
        move || {
            stop.cancel();
            drop(control.send(Input::Stop));
        }
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

/// Tells the coordinator that a thread panicked. A broken invariant ends the process, which starts again
/// from its checkpoint; without this it would go on with a part missing, and call itself ready.
struct Alarm {
    thread: String,
    control: Sender<Input>,
    stop: CancellationToken,
}

impl Alarm {
    fn new(thread: &str, control: &Sender<Input>, stop: &CancellationToken) -> Alarm {
        Alarm { thread: thread.to_owned(), control: control.clone(), stop: stop.clone() }
    }

    /// Runs the body of the thread, and lives as long.
    fn over(self, body: impl FnOnce()) {
        body();
        drop(self);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.stop.cancel();
            drop(self.control.send(Input::Broken { thread: std::mem::take(&mut self.thread) }));
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

fn start_detectors(
    count: usize,
    rules: &Arc<CurrentRules>,
    settings: &EngineSettings,
    out: &Sender<Input>,
    stop: &CancellationToken,
) -> std::io::Result<Vec<Sender<Work>>> {
    let mut workers = Vec::new();
    for index in 0..count.max(1) {
        let (sender, receiver) = channel();
        let thread = format!("detect-{index}");
        let alarm = Alarm::new(&thread, out, stop);
        let (rules, settings, out) = (Arc::clone(rules), settings.clone(), out.clone());
        let receiver = Mutex::new(receiver);
        spawn(&thread, move || alarm.over(|| run_detector(&receiver, &rules, &settings, &out)))?;
        workers.push(sender);
    }
    Ok(workers)
}

/// The checkpoint's positions that belong to a source, under the names that the source knows.
pub(super) fn positions_of(all: &[Position], source_name: Option<&str>) -> Vec<Position> {
    let own = |position: &Position| {
        let topic = match source_name {
            None => position.partition.topic.clone(),
            Some(name) => {
                let prefix = qualified_topic(name, "");
                position.partition.topic.strip_prefix(&prefix)?.to_owned()
            }
        };
        let partition = PartitionName { topic, partition: position.partition.partition };
        Some(Position { partition: Arc::new(partition), next_offset: position.next_offset })
    };
    all.iter().filter_map(own).collect()
}
