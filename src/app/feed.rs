//! From sources to detector threads and on to the coordinator, in order and within bounds.
//!
//! A source offers batches to its [`FeedSink`]. The sink refuses them while too many records are in
//! flight anywhere between source and checkpoint; the source then pauses. So one bound holds for the
//! whole pipeline, and none of its channels needs one of its own.

use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
    mpsc::{Receiver, Sender, channel},
};

use super::{clock::HorizonClock, input::Input};
use crate::{
    engine::{
        coordinator, detector::Detector, record::RecordBatch, rule::RuleSet, shard::EngineSettings,
    },
    source::BatchSink,
};

/// Batches in flight between sources and the checkpoint: 64. At the limit sources pause.
const BATCHES_IN_FLIGHT_MAX: usize = 64;

/// Bytes in flight between sources and the coordinator: 32 MiB. At the limit sources pause; one batch
/// is always let through, whatever its size.
const BYTES_IN_FLIGHT_MAX: u64 = 32 << 20;

/// Bytes of a batch's memory that are kept for the next one: 1 MiB. A batch that one large record made
/// longer gives its memory back.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// How much is under way.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    batches: AtomicUsize,
    bytes: AtomicU64,
}

impl InFlight {
    fn has_room(&self, bytes: u64) -> bool {
        let batches = self.batches.load(Ordering::Acquire);
        let total = self.bytes.load(Ordering::Acquire).saturating_add(bytes);
        batches == 0 || (batches < BATCHES_IN_FLIGHT_MAX && total <= BYTES_IN_FLIGHT_MAX)
    }

    fn add(&self, bytes: u64) {
        self.batches.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// A batch left the pipeline.
    pub(super) fn remove(&self, bytes: u64) {
        self.batches.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Batches under way now.
    pub(super) fn batches(&self) -> usize {
        self.batches.load(Ordering::Acquire)
    }
}

/// The rule set that detectors use, with its epoch.
#[derive(Debug)]
pub(super) struct CurrentRules {
    epoch: AtomicU64,
    rules: RwLock<Arc<RuleSet>>,
}

impl CurrentRules {
    pub(super) fn new(rules: Arc<RuleSet>) -> CurrentRules {
        CurrentRules { epoch: AtomicU64::new(0), rules: RwLock::new(rules) }
    }

    /// The set in force, with its epoch; the two always belong together.
    pub(super) fn get(&self) -> (u64, Arc<RuleSet>) {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        (self.epoch.load(Ordering::Acquire), Arc::clone(&rules))
    }

    /// Puts another set in force from the next batch of every detector on.
    pub(super) fn replace(&self, epoch: u64, rules: Arc<RuleSet>) {
        let mut current = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        *current = rules;
        self.epoch.store(epoch, Ordering::Release);
    }
}

/// A batch on its way to a detector.
pub(super) struct Work {
    /// Which source it comes from.
    pub(super) source_index: usize,
    /// The batch.
    pub(super) batch: RecordBatch,
    /// Where its memory goes afterwards.
    pub(super) spares: Sender<RecordBatch>,
}

/// The sink of one source.
pub(super) struct FeedSink {
    pub(super) source_index: usize,
    /// How many batches it has taken.
    pub(super) taken: Arc<AtomicU64>,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) workers: Vec<Sender<Work>>,
    pub(super) spares: Spares,
}

/// Batches that were worked off, on their way back. No more than may be in flight.
pub(super) struct Spares {
    sender: Sender<RecordBatch>,
    receiver: Receiver<RecordBatch>,
}

impl Default for Spares {
    fn default() -> Spares {
        let (sender, receiver) = channel();
        Spares { sender, receiver }
    }
}

impl BatchSink for FeedSink {
    fn offer(&mut self, batch: RecordBatch) -> Result<(), RecordBatch> {
        let bytes = batch.payload.len() as u64;
        if !self.in_flight.has_room(bytes) {
            return Err(batch);
        }
        self.in_flight.add(bytes);
        self.taken.fetch_add(1, Ordering::AcqRel);
        let turn = usize::try_from(batch.sequence).unwrap_or(0) % self.workers.len().max(1);
        let Some(worker) = self.workers.get(turn) else { return Ok(()) };
        let spares = self.spares.sender.clone();
        // A detector thread ends only when the pipeline does; then the batch is read again later.
        drop(worker.send(Work { source_index: self.source_index, batch, spares }));
        Ok(())
    }

    fn spare(&mut self) -> Option<RecordBatch> {
        self.spares.receiver.try_recv().ok()
    }
}

/// Body of one detector thread: until its channel closes.
pub(super) fn run_detector(
    work: &Mutex<Receiver<Work>>,
    current: &CurrentRules,
    settings: &EngineSettings,
    horizon: HorizonClock,
    out: &Sender<Input>,
) {
    let work = work.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut epoch, rules) = current.get();
    let mut detector = Detector::new(rules, epoch, settings);
    while let Ok(Work { source_index, mut batch, spares }) = work.recv() {
        let (epoch_now, rules) = current.get();
        if epoch_now != epoch {
            detector.replace_rules(rules, epoch_now);
            epoch = epoch_now;
        }
        let detections = detector.detect(horizon.now(), &batch);
        let input = coordinator::Input::Batch { source: source_index, detections };
        if out.send(Input::Engine(input)).is_err() {
            return;
        }
        if batch.payload.capacity() <= SPARE_BYTES_MAX {
            batch.clear();
            // A source that has ended needs none.
            drop(spares.send(batch));
        }
    }
}
