//! One process: a member with its detector, and what its driver holds between two steps.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use tripline::engine::{
    detector::{DetectionBatch, Detector},
    dispatch::{DispatchPlan, Notification},
    member::{Checkpoint, Member},
    record::RecordBatch,
    time::{EventTime, WallTime},
};

use super::{
    broker::Broker,
    rules::{rule_sets, settings},
};

/// Records that a batch holds, by partition.
pub(super) type Spans = Vec<(usize, Range<usize>)>;

/// A batch as the member will see it, and how it was made.
pub(super) struct Detected {
    pub(super) batch: DetectionBatch,
    pub(super) at: WallTime,
    pub(super) rule_set: usize,
    pub(super) spans: Spans,
}

/// An attempt under way.
pub(super) struct Flight {
    pub(super) notification: Arc<Notification>,
    /// When the receiver answers if nothing else happens, in true microseconds.
    pub(super) answers_at: i64,
}

/// A process that runs.
pub(super) struct Life {
    pub(super) member: Member,
    pub(super) rule_set: usize,
    pub(super) epoch: u64,
    /// Next record of each partition.
    pub(super) next: Vec<usize>,
    pub(super) pipeline: VecDeque<Detected>,
    pub(super) is_ready: bool,
    /// When another process took over, if one did; in true microseconds.
    pub(super) fenced_at: Option<i64>,
    /// When its source can be read at the earliest, in true microseconds.
    pub(super) connects_at: i64,
    /// What is being written, and how much of the history it covers.
    pub(super) writing: Option<(Checkpoint, usize)>,
    pub(super) checkpoint_at: i64,
    /// When its driver last looked at anything, in true microseconds and by the wall clock.
    pub(super) looked_at: (i64, i64),
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
    ) -> Life {
        Life {
            member: Member::new(Arc::clone(&rule_sets()[rule_set]), settings(), plan),
            rule_set,
            epoch: 0,
            awake_until: vec![i64::MIN; next.len()],
            next,
            pipeline: VecDeque::new(),
            is_ready: false,
            fenced_at: None,
            connects_at: now + 1_000_000,
            writing: None,
            checkpoint_at: now,
            looked_at: (now, wall.micros()),
            flights: Vec::new(),
            watermark: None,
            not_before: Vec::new(),
        }
    }
}

/// A detector for each rule set. They keep nothing between batches, so all lives share them.
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
