//! What rules would have said about recorded history.
//!
//! History is read in the order of its events, passes the same detector and shard as
//! live traffic, and ends in a [`Report`]: alerts per rule, by key, over time, and noise per day. The
//! operator's clock follows the events, so that absence and idleness mean what they meant then.

#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod html;
mod read;
mod report;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use crate::{
    engine::{
        alert::{Alert, AlertState},
        detector::{DetectionBatch, Detector},
        record::RecordBatch,
        rule::RuleSet,
        shard::{EngineSettings, Shard},
        time::{EventTime, WallTime},
    },
    source::{History, SourceError},
};

pub use html::page;
pub use read::{Input, expand};
pub use report::{Difference, Report, RuleReport, difference};

/// What a backtest works from.
pub struct BacktestSettings {
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// Time and limits, as in production.
    pub engine: EngineSettings,
    /// Detector threads.
    pub workers: usize,
    /// What the operator's clock says: later events are from the future.
    pub now: WallTime,
}

/// How far a backtest is; may be looked at from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// What was read so far, in the unit of the history.
    pub done: AtomicU64,
    /// Records handled so far.
    pub records: AtomicU64,
    /// Set to end early; what was read until then is reported.
    pub cancel: AtomicBool,
}

/// Batches that wait between two threads: 4.
const QUEUE: usize = 4;

/// Runs the rules over a history. `on_firing` sees each alert once, when it fires.
///
/// # Errors
/// If the history cannot be read to its end; nothing is reported then.
pub fn run(
    settings: &BacktestSettings,
    history: Box<dyn History>,
    progress: &Progress,
    on_firing: &mut dyn FnMut(&Alert),
) -> Result<Report, SourceError> {
    thread::scope(|scope| {
        let workers = settings.workers.max(1);
        let (mut to_workers, mut from_workers) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (to_worker, work) = sync_channel::<RecordBatch>(QUEUE);
            let (result, from_worker) = sync_channel::<DetectionBatch>(QUEUE);
            to_workers.push(to_worker);
            from_workers.push(from_worker);
            scope.spawn(move || detect(settings, &work, &result));
        }
        let reader = scope.spawn(move || feed(history, &to_workers, progress));
        let report = collect(settings, &from_workers, progress, on_firing);
        match reader.join() {
            Ok(Ok(())) => Ok(report),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SourceError::Fatal("the reader stopped unexpectedly".to_owned())),
        }
    })
}

fn feed(
    mut history: Box<dyn History>,
    workers: &[SyncSender<RecordBatch>],
    progress: &Progress,
) -> Result<(), SourceError> {
    for worker in workers.iter().cycle() {
        if progress.cancel.load(Ordering::Relaxed) {
            break;
        }
        let Some(batch) = history.next_batch()? else { break };
        progress.done.store(history.progress().done, Ordering::Relaxed);
        if worker.send(batch).is_err() {
            break;
        }
    }
    Ok(())
}

fn detect(
    settings: &BacktestSettings,
    work: &Receiver<RecordBatch>,
    results: &SyncSender<DetectionBatch>,
) {
    let mut detector = Detector::new(Arc::clone(&settings.rules), 0, &settings.engine);
    while let Ok(batch) = work.recv() {
        if results.send(detector.detect(settings.now, &batch)).is_err() {
            return;
        }
    }
}

/// Takes results from the workers in turn, which is the order in which batches were read.
fn collect(
    settings: &BacktestSettings,
    from_workers: &[Receiver<DetectionBatch>],
    progress: &Progress,
    on_firing: &mut dyn FnMut(&Alert),
) -> Report {
    let mut shard = Shard::new(Arc::clone(&settings.rules), 0, settings.engine.clone());
    let mut report = Report::new(&settings.rules);
    let mut take = |shard: &mut Shard, report: &mut Report| {
        while let Some(alert) = shard.poll_alert() {
            if report.add(&alert) && alert.state == AlertState::Firing {
                on_firing(&alert);
            }
        }
    };
    let mut clock = EventTime::MIN;
    for worker in from_workers.iter().cycle() {
        let Ok(batch) = worker.recv() else { break };
        let newest = batch.progress.iter().filter_map(|partition| partition.time_max).max();
        clock = clock.max(newest.unwrap_or(EventTime::MIN));
        let now = WallTime::from_micros(clock.micros());
        report.count(&batch);
        progress.records.fetch_add(batch.counts.records, Ordering::Relaxed);
        shard.handle_batch(now, &batch);
        if shard.poll_timeout().is_some_and(|due| due <= now) {
            shard.handle_timeout(now);
        }
        take(&mut shard, &mut report);
    }
    shard.flush(WallTime::from_micros(clock.micros()));
    take(&mut shard, &mut report);
    report.finish();
    report
}
