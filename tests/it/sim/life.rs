//! One process: a coordinator with its detector, and what its shell holds between two steps.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use tripline::engine::{
    coordinator::{Coordinator, CoordinatorSettings, Effect},
    dead_letter::DeadLetter,
    detector::{DetectionBatch, Detector},
    dispatch::{DispatchPlan, Notification},
    horizon::RunHorizon,
    member::Checkpoint,
    record::RecordBatch,
    time::{EventTime, WallTime},
};

use super::{
    broker::Broker,
    rules::{rule_sets, settings},
};

/// Records that a batch holds, by partition.
pub(super) type Spans = Vec<(usize, Range<usize>)>;

/// How long a stop waits for what is owed.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

/// A batch as the coordinator will see it, and how it was made.
pub(super) struct Detected {
    pub(super) batch: DetectionBatch,
    pub(super) from: Origin,
}

/// How a batch was made.
pub(super) struct Origin {
    pub(super) at: WallTime,
    /// When, in true microseconds.
    pub(super) read_at: i64,
    pub(super) epoch: u64,
    pub(super) rule_set: usize,
    pub(super) spans: Spans,
}

/// What the shell has been told to make durable, and has not answered for.
pub(super) enum Writing {
    DeadLetters(Arc<[DeadLetter]>),
    Commit(Arc<Checkpoint>),
}

/// An attempt under way.
pub(super) struct Flight {
    pub(super) notification: Arc<Notification>,
    /// When the receiver answers if nothing else happens, in true microseconds.
    pub(super) answers_at: i64,
}

/// A process that runs.
pub(super) struct Life {
    pub(super) coordinator: Coordinator,
    pub(super) rule_set: usize,
    pub(super) epoch: u64,
    /// What events are held against, and when it began, in true microseconds.
    horizon: (RunHorizon, i64),
    /// Next record of each partition.
    pub(super) next: Vec<usize>,
    /// Batches that were read.
    pub(super) batches: u64,
    /// Batches on their way to the coordinator.
    pub(super) pipeline: VecDeque<Detected>,
    /// Batches that the coordinator has and that do not count yet, by their true number.
    pub(super) held: BTreeMap<u64, Origin>,
    /// Batches that counted.
    pub(super) counted: u64,
    /// How many of these had counted when tables were last looked at, which grow with nothing else.
    pub(super) bounds_seen: u64,
    /// What the coordinator wants done and the shell has not begun.
    pub(super) effects: VecDeque<Effect>,
    pub(super) is_ready: bool,
    /// The source reads nothing more: it was told to stop, or broke.
    pub(super) is_over: bool,
    /// Decides what of the things under way still happens when it ends.
    pub(super) luck: u64,
    /// When the process was told to end, in true microseconds; later by as much as it was suspended since.
    pub(super) stopped_at: Option<i64>,
    /// When another process took over, if one did; in true microseconds.
    pub(super) fenced_at: Option<i64>,
    /// When its source can be read at the earliest, in true microseconds.
    pub(super) connects_at: i64,
    pub(super) writing: Option<Writing>,
    /// How much of the history the last checkpoint covers, and what it was when it was last tried.
    pub(super) covers: usize,
    pub(super) tried: Option<Arc<Checkpoint>>,
    pub(super) flights: Vec<Flight>,
    pub(super) watermark: Option<EventTime>,
    /// Until when each partition holds the watermark back at least, by the wall clock.
    pub(super) awake_until: Vec<i64>,
    /// Before when a notifier asked not to be tried again, by the wall clock.
    pub(super) not_before: Vec<(Arc<Notification>, i64)>,
}

impl Life {
    pub(super) fn new(
        now: i64,
        wall: WallTime,
        rule_set: usize,
        plan: &DispatchPlan,
        next: Vec<usize>,
        horizon: Option<WallTime>,
    ) -> Life {
        let checkpoint_interval = Duration::from_secs(1);
        let own = CoordinatorSettings { sources: 1, checkpoint_interval, drain: DRAIN };
        let rules = Arc::clone(&rule_sets()[rule_set]);
        Life {
            coordinator: Coordinator::new(wall, rules, settings(), plan, own),
            rule_set,
            epoch: 0,
            horizon: (RunHorizon::new(wall, horizon), now),
            awake_until: vec![i64::MIN; next.len()],
            next,
            batches: 0,
            pipeline: VecDeque::new(),
            held: BTreeMap::new(),
            counted: 0,
            bounds_seen: 0,
            effects: VecDeque::new(),
            is_ready: false,
            is_over: false,
            luck: 0,
            stopped_at: None,
            fenced_at: None,
            connects_at: now + 1_000_000,
            writing: None,
            covers: 0,
            tried: None,
            flights: Vec::new(),
            watermark: None,
            not_before: Vec::new(),
        }
    }
}

impl Life {
    /// What events are held against, at a time of the true and one of the wall clock.
    pub(super) fn horizon(&self, now: i64, wall: WallTime) -> WallTime {
        let (run, began) = self.horizon;
        run.at(wall, Duration::from_micros(u64::try_from(now - began).unwrap()))
    }

    /// Where batches come from that were read and do not count yet.
    pub(super) fn uncounted(&self) -> impl Iterator<Item = &Origin> {
        self.pipeline.iter().map(|detected| &detected.from).chain(self.held.values())
    }
}

/// A detector for each rule set. They keep nothing between batches but which uses of permissions they have told,
/// so all lives share them.
pub(super) struct Detectors(Vec<Option<Detector>>);

impl Detectors {
    pub(super) fn new() -> Detectors {
        Detectors(rule_sets().iter().map(|_| None).collect())
    }

    /// What a rule set detects in some records; the batch's epoch is the number of the set.
    pub(super) fn detect(
        &mut self,
        now: WallTime,
        rule_set: usize,
        broker: &Broker,
        spans: &Spans,
    ) -> DetectionBatch {
        let mut batch = RecordBatch::default();
        for (index, span) in spans {
            let partition = &broker.partitions[*index];
            for (record, offset) in partition.records[span.clone()].iter().zip(span.start..) {
                let offset = i64::try_from(offset).unwrap();
                batch.push(&partition.name, offset, None, Some(&record.payload));
            }
        }
        let epoch = u64::try_from(rule_set).unwrap();
        self.0[rule_set]
            .get_or_insert_with(|| {
                Detector::new(Arc::clone(&rule_sets()[rule_set]), epoch, &settings())
            })
            .detect(now, &batch)
    }
}
