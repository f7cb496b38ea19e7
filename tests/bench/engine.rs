//! Decode and detect: events per CPU-second with the shipped rules, and what a thousand rules cost
//! compared with ten.

use std::{sync::Arc, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use tripline::{
    engine::{
        access::UsageMode,
        detector::{DetectCounts, Detector},
        record::{PartitionName, RecordBatch},
        rule::RuleSet,
        shard::EngineSettings,
        time::{EventTime, WallTime},
    },
    generate::{GenerateSettings, Generator, StoryPlan},
};

use crate::{backtest, rules, workloads};

/// Events that are measured.
pub(crate) const EVENTS: u64 = 200_000;

/// Records of one batch, as a source hands them on.
pub(crate) const BATCH_RECORDS: usize = 500;

/// The median of so many runs is printed.
const RUNS: usize = 9;

/// Prints what this half of the engine does on one core.
pub(crate) fn run() {
    let (now, batches) = traffic();
    let bytes: usize = batches.iter().map(|batch| batch.payload.len()).sum();
    println!("events                        {EVENTS}");
    println!("bytes per event, mean         {:.0}", bytes as f64 / EVENTS as f64);
    let scan = median(|| {
        for batch in &batches {
            std::hint::black_box(simdutf8::basic::from_utf8(&batch.payload)).expect("text");
        }
    });
    println!("UTF-8 validation alone        {:.0} ns per event", scan / EVENTS as f64);

    let off = UsageMode::Off;
    let [all, shipped] = in_turn(
        [
            Run::new("shipped rules", rules::shipped(), UsageMode::All),
            Run::new("without usage", rules::shipped(), off),
        ],
        now,
        &batches,
    );
    println!("decode+detect, shipped rules  {:.0} events per CPU-second", 1e9 / all);
    println!("decode+detect against UTF-8   {:.1} times", all * EVENTS as f64 / scan);
    println!("use of permissions            {:.1} % of decode+detect", more(all, shipped));
    let recording = measure("recording too", rules::recording(), UsageMode::All, now, &batches);
    println!("recording too, against UTF-8  {:.1} times", recording * EVENTS as f64 / scan);
    let others = not_recorded(now, &batches);
    let [recording, without] = in_turn(
        [
            Run::new("recording others", rules::recording(), off),
            Run::new("the same without", rules::shipped(), off),
        ],
        now,
        &others,
    );
    println!("recording what is not         {:.1} % of decode+detect", more(recording, without));
    let none = measure("no rules", RuleSet::default(), off, now, &batches);
    let ten = measure("10 rules", rules::generated(10), off, now, &batches);
    let thousand = measure("1,000 rules", rules::generated(1_000), off, now, &batches);
    println!("1,000 rules against 10        {:.2} times", thousand / ten);
    println!("detect alone, shipped rules   {:.0} ns per event", shipped - none);
    workloads::run(now, &batches);
    backtest::run(now, &batches);
}

/// How much more one costs than the other, in percent.
fn more(one: f64, other: f64) -> f64 {
    100.0 * (one / other - 1.0)
}

/// A detector that is measured.
struct Run {
    name: &'static str,
    rules: usize,
    detector: Detector,
    times: Vec<u64>,
    counts: DetectCounts,
    detections: usize,
    dead_letters: usize,
}

impl Run {
    fn new(name: &'static str, rules: RuleSet, usage: UsageMode) -> Run {
        let settings = EngineSettings { usage, ..EngineSettings::default() };
        Run {
            name,
            rules: rules.detections().count(),
            detector: Detector::new(Arc::new(rules), 0, &settings),
            times: Vec::new(),
            counts: DetectCounts::default(),
            detections: 0,
            dead_letters: 0,
        }
    }

    fn once(&mut self, now: WallTime, batches: &[RecordBatch]) {
        (self.counts, self.detections, self.dead_letters) = (DetectCounts::default(), 0, 0);
        let start = cpu_nanos();
        for batch in batches {
            let out = self.detector.detect(now, batch);
            self.detections += out.detections.len();
            self.dead_letters += out.dead_letters.len();
            self.counts.events += out.counts.events;
            self.counts.rules_evaluated += out.counts.rules_evaluated;
        }
        self.times.push(cpu_nanos() - start);
    }

    /// Prints the median, and returns it: nanoseconds of CPU per event.
    fn told(mut self) -> f64 {
        self.times.sort_unstable();
        let events = self.counts.events as f64;
        let median = self.times.get(self.times.len() / 2).copied().unwrap_or(0);
        let per_event = median as f64 / events;
        println!(
            "{:<16} {:>5} detections  {per_event:>6.0} ns per event  {:.2} rules looked at, \
             {:.4} matched per event, {} dead letters",
            self.name,
            self.rules,
            self.counts.rules_evaluated as f64 / events,
            self.detections as f64 / events,
            self.dead_letters,
        );
        per_event
    }
}

/// Nanoseconds of CPU per event of each, one run of each after the other, so that what disturbs one disturbs all.
fn in_turn<const N: usize>(mut runs: [Run; N], now: WallTime, batches: &[RecordBatch]) -> [f64; N] {
    for _ in 0..RUNS {
        for run in &mut runs {
            run.once(now, batches);
        }
    }
    runs.map(Run::told)
}

/// Nanoseconds of CPU per event.
fn measure(
    name: &'static str,
    rules: RuleSet,
    usage: UsageMode,
    now: WallTime,
    batches: &[RecordBatch],
) -> f64 {
    let [per_event] = in_turn([Run::new(name, rules, usage)], now, batches);
    per_event
}

/// The events that no recording rule matches.
fn not_recorded(now: WallTime, batches: &[RecordBatch]) -> Vec<RecordBatch> {
    let mut detector = Detector::new(Arc::new(rules::recording()), 0, &EngineSettings::default());
    let partition = Arc::new(PartitionName::new("audit", 0));
    let mut left = vec![RecordBatch::default()];
    let records =
        batches.iter().flat_map(|batch| batch.records.iter().map(move |one| (batch, one)));
    for ((batch, record), offset) in records.zip(0..) {
        let payload = batch.payload_of(record);
        let mut alone = RecordBatch::default();
        alone.push(&partition, offset, None, payload);
        if !detector.detect(now, &alone).accesses.is_empty() {
            continue;
        }
        if left.last().is_none_or(|batch| batch.records.len() >= BATCH_RECORDS) {
            left.push(RecordBatch::default());
        }
        if let Some(batch) = left.last_mut() {
            batch.push(&partition, offset, None, payload);
        }
    }
    left
}

/// A morning in a cluster with attacks in it.
fn traffic() -> (WallTime, Vec<RecordBatch>) {
    let start = EventTime::parse("2026-03-04T08:00:00Z").expect("a time");
    let minute = Duration::from_secs(60);
    let settings = GenerateSettings {
        start,
        rate: 500.0,
        stories: StoryPlan { repeat: true, ..StoryPlan::all_within(minute, 10 * minute) },
        ..GenerateSettings::default()
    };
    let partition = Arc::new(PartitionName::new("audit", 0));
    let mut batches = Vec::new();
    let mut batch = RecordBatch::default();
    let mut events = 0;
    let mut last = start;
    for (offset, record) in (0..).zip(Generator::new(settings)) {
        batch.push(&partition, offset, None, Some(&record.payload));
        events += u64::from(record.events);
        last = record.time;
        let done = events >= EVENTS;
        if done || batch.records.len() >= BATCH_RECORDS {
            batches.push(std::mem::take(&mut batch));
        }
        if done {
            break;
        }
    }
    (WallTime::from_micros(last.micros()), batches)
}

/// Nanoseconds of CPU that the median run took.
pub(crate) fn median(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<u64> = (0..RUNS)
        .map(|_| {
            let start = cpu_nanos();
            work();
            cpu_nanos() - start
        })
        .collect();
    times.sort_unstable();
    times.get(RUNS / 2).copied().unwrap_or(0) as f64
}

/// Nanoseconds that this thread has been on a CPU. What `/proc` says of it goes on with the system's ticks alone: by
/// a hundredth of what is measured here.
pub(crate) fn cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec))
        .expect("a time")
}
