//! What rules would have said about recorded history.
//!
//! History is read once, in the order of its events, and passes the same detector and shard as live
//! traffic: one of each for every rule set that is compared. It ends in a [`Report`]: alerts per rule,
//! by key, over time, and noise per day. The operator's clock follows the events, so that absence and
//! idleness mean what they meant then.

#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod difference;
mod html;
mod read;
mod report;
mod text;
mod timeline;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use crate::{
    engine::{
        alert::Alert,
        detector::{DetectionBatch, Detector},
        record::{PartitionName, Progress as PartitionProgress, RecordBatch},
        rule::RuleSet,
        shard::{EngineSettings, Shard},
        time::{EventTime, WallTime},
    },
    source::{RecordReader, SourceError},
};

pub use difference::{Difference, KeyDifference, RuleChange, RuleDifference, difference};
pub use html::page;
pub use read::Input;
pub use report::{AheadReport, DeadLetterReport, Report, RuleReport};
pub use text::{difference_text, report_text};

/// What a backtest works from.
#[derive(Clone)]
pub struct BacktestSettings {
    /// The rules; further sets are run over the same records, to be compared.
    pub rule_sets: Vec<Arc<RuleSet>>,
    /// Time and limits, as in production.
    pub engine: EngineSettings,
    /// Detector threads.
    pub workers: usize,
    /// What the operator's clock says: later events are from the future.
    pub now: WallTime,
    /// How people call the place of a record: a line of a file, an offset.
    pub place: fn(&PartitionName, i64) -> String,
}

/// How far a backtest is; may be looked at from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// What was read so far, in the unit of the history.
    pub done: AtomicU64,
    /// Records handled so far.
    pub records: AtomicU64,
    /// Alerts of the first rule set so far.
    pub alerts: AtomicU64,
    /// Set to end early; what was read until then is reported.
    pub cancel: Arc<AtomicBool>,
}

impl Progress {
    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// Batches that wait between two threads: 4.
const QUEUE: usize = 4;

/// How often somebody who waits looks whether the backtest was cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// Event time that the shard sees in one step: 10 s. A batch of thin history may span hours, in which
/// somebody falls silent and is heard again.
const STEP: Duration = Duration::from_secs(10);

/// Changes of state are forgotten after so many batches: nobody writes them to a store.
const BATCHES_REMEMBERED: u32 = 100;

/// Runs rule sets over a history, and reports on each in their order. `on_firing` sees each alert of
/// the first once, when it fires. What could not be read is in the reports' `problems`.
pub fn run(
    settings: &BacktestSettings,
    history: Box<dyn RecordReader>,
    progress: &Arc<Progress>,
    on_firing: &mut dyn FnMut(&Alert),
) -> Vec<Report> {
    let (mut to_workers, mut from_workers) = (Vec::new(), Vec::new());
    for _ in 0..settings.workers.max(1) {
        let (to_worker, work) = sync_channel::<RecordBatch>(QUEUE);
        let (result, from_worker) = sync_channel::<Detected>(QUEUE);
        to_workers.push(to_worker);
        from_workers.push(from_worker);
        let settings = settings.clone();
        thread::spawn(move || detect(&settings, &work, &result));
    }
    // Threads of their own, not scoped ones: whoever cancels need not wait for a reader that waits
    // for somebody to type.
    let reader = thread::spawn({
        let progress = Arc::clone(progress);
        move || feed(history, &to_workers, &progress)
    });
    let mut reports = collect(settings, &from_workers, progress, on_firing);
    let problems = if progress.is_cancelled() && !reader.is_finished() {
        Vec::new()
    } else {
        reader.join().unwrap_or_else(|_| vec!["the reader stopped unexpectedly".to_owned()])
    };
    for report in &mut reports {
        report.problems.clone_from(&problems);
        report.is_interrupted = progress.is_cancelled();
    }
    reports
}

/// Reads to the end; returns what could not be read.
fn feed(
    mut history: Box<dyn RecordReader>,
    workers: &[SyncSender<RecordBatch>],
    progress: &Progress,
) -> Vec<String> {
    let mut failure = None;
    for worker in workers.iter().cycle() {
        if progress.is_cancelled() {
            break;
        }
        let batch = match history.next_batch() {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(error) => {
                failure = Some(error);
                break;
            }
        };
        progress.done.store(history.progress().done, Ordering::Relaxed);
        if worker.send(batch).is_err() {
            break;
        }
    }
    progress.done.store(history.progress().done, Ordering::Relaxed);
    let mut problems = history.take_problems();
    problems.extend(failure.as_ref().map(SourceError::to_string));
    problems
}

/// What a batch came to, for each rule set.
type Detected = Vec<DetectionBatch>;

fn detect(
    settings: &BacktestSettings,
    work: &Receiver<RecordBatch>,
    results: &SyncSender<Detected>,
) {
    let mut detectors: Vec<Detector> = settings
        .rule_sets
        .iter()
        .map(|rules| Detector::new(Arc::clone(rules), 0, &settings.engine).of_history())
        .collect();
    while let Ok(batch) = work.recv() {
        let detected = |detector: &mut Detector| detector.detect(settings.now, &batch);
        if results.send(detectors.iter_mut().map(detected).collect()).is_err() {
            return;
        }
    }
}

/// Takes results from the workers in turn, which is the order in which batches were read.
fn collect(
    settings: &BacktestSettings,
    from_workers: &[Receiver<Detected>],
    progress: &Progress,
    on_firing: &mut dyn FnMut(&Alert),
) -> Vec<Report> {
    let mut sides: Vec<Side> =
        settings.rule_sets.iter().map(|rules| Side::new(settings, rules)).collect();
    'batches: for worker in from_workers.iter().cycle() {
        let detected = loop {
            match worker.recv_timeout(LOOK) {
                Ok(detected) => break detected,
                Err(RecvTimeoutError::Timeout) if !progress.is_cancelled() => {}
                Err(_) => break 'batches,
            }
        };
        let records = detected.first().map_or(0, |batch| batch.counts.records);
        progress.records.fetch_add(records, Ordering::Relaxed);
        for (index, (side, batch)) in sides.iter_mut().zip(detected).enumerate() {
            side.handle(batch, &mut |alert| {
                if index == 0 {
                    progress.alerts.fetch_add(1, Ordering::Relaxed);
                    on_firing(alert);
                }
            });
        }
    }
    for (index, side) in sides.iter_mut().enumerate() {
        side.flush(&mut |alert| {
            if index == 0 {
                on_firing(alert);
            }
        });
    }
    sides.into_iter().map(Side::finish).collect()
}

/// One rule set's half of the engine, and what comes of it.
struct Side {
    shard: Shard,
    report: Report,
    /// The operator's clock: the latest event.
    clock: EventTime,
    /// Batches since changes of state were forgotten.
    batches: u32,
    place: fn(&PartitionName, i64) -> String,
}

impl Side {
    fn new(settings: &BacktestSettings, rules: &Arc<RuleSet>) -> Side {
        Side {
            shard: Shard::new(Arc::clone(rules), 0, settings.engine.clone()),
            report: Report::new(rules),
            clock: EventTime::MIN,
            batches: 0,
            place: settings.place,
        }
    }

    fn handle(&mut self, batch: DetectionBatch, on_firing: &mut dyn FnMut(&Alert)) {
        self.report.count(&batch, self.place);
        for step in steps(batch) {
            let newest = step.progress.iter().filter_map(|partition| partition.time_max).max();
            self.clock = self.clock.max(newest.unwrap_or(EventTime::MIN));
            let now = self.clock.as_wall();
            self.shard.handle_batch(now, &step);
            if self.shard.poll_timeout().is_some_and(|due| due <= now) {
                self.shard.handle_timeout(now);
            }
            self.take(on_firing);
        }
        self.batches += 1;
        if self.batches >= BATCHES_REMEMBERED {
            self.batches = 0;
            self.shard.take_changes(&mut Vec::new());
        }
    }

    /// The end of history: windows close, as nothing more comes.
    fn flush(&mut self, on_firing: &mut dyn FnMut(&Alert)) {
        self.shard.flush(self.clock.as_wall());
        self.take(on_firing);
    }

    fn take(&mut self, on_firing: &mut dyn FnMut(&Alert)) {
        while let Some(alert) = self.shard.poll_alert() {
            if self.report.add(&alert) {
                on_firing(&alert);
            }
        }
    }

    fn finish(mut self) -> Report {
        let counts = self.shard.counts();
        self.report.events_late = counts.events_late;
        let hit = counts.limits_hit.into_iter();
        self.report.limits_hit = hit.map(|(limit, rules)| (limit.as_str(), rules)).collect();
        self.report.finish();
        self.report
    }
}

/// Cuts a batch wherever [`STEP`] has passed between two detections, so that what happened in between
/// happens in between. The batch is of one partition, as those of every history are; any other stays
/// whole.
fn steps(mut batch: DetectionBatch) -> Vec<DetectionBatch> {
    let Some((partition, end)) = single(&batch.progress) else { return vec![batch] };
    let mut steps = Vec::new();
    // What was received and what ended go ahead of time, which would pass over them.
    let (mut received, mut ended) =
        (std::mem::take(&mut batch.received), std::mem::take(&mut batch.ended));
    let mut from = batch.detections.first().map_or(end, |detection| detection.time);
    while let Some(count) =
        batch.detections.iter().position(|detection| detection.time >= from.plus(STEP))
    {
        let rest = batch.detections.split_off(count);
        // The next detection tells how late it is by now, but never later than the batch's end.
        from = rest.first().map_or(end, |detection| detection.time);
        let progress = PartitionProgress { time_max: Some(from.min(end)), ..partition.clone() };
        steps.push(DetectionBatch {
            sequence: batch.sequence,
            rules_epoch: batch.rules_epoch,
            progress: vec![progress],
            time_first: batch.time_first.take(),
            detections: std::mem::replace(&mut batch.detections, rest),
            received: std::mem::take(&mut received),
            ended: std::mem::take(&mut ended),
            ..DetectionBatch::default()
        });
    }
    steps.push(DetectionBatch { received, ended, ..batch });
    steps
}

/// The only partition of a batch, and how far event time came in it.
fn single(progress: &[PartitionProgress]) -> Option<(PartitionProgress, EventTime)> {
    let [partition] = progress else { return None };
    Some((partition.clone(), partition.time_max?))
}
