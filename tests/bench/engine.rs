//! Decode and detect: events per CPU-second with the shipped rules, and what a thousand rules cost
//! compared with ten.

use std::{fs, sync::Arc, time::Duration};

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
const RUNS: usize = 5;

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

    let all = measure("shipped rules", rules::shipped(), UsageMode::All, now, &batches);
    println!("decode+detect, shipped rules  {:.0} events per CPU-second", 1e9 / all);
    println!("decode+detect against UTF-8   {:.1} times", all * EVENTS as f64 / scan);
    let recording = measure("recording too", rules::recording(), UsageMode::All, now, &batches);
    println!("recording too, against UTF-8  {:.1} times", recording * EVENTS as f64 / scan);
    let off = UsageMode::Off;
    let shipped = measure("without usage", rules::shipped(), off, now, &batches);
    println!(
        "use of permissions            {:.1} % of decode+detect",
        100.0 * (all / shipped - 1.0)
    );
    let none = measure("no rules", RuleSet::default(), off, now, &batches);
    let ten = measure("10 rules", rules::generated(10), off, now, &batches);
    let thousand = measure("1,000 rules", rules::generated(1_000), off, now, &batches);
    println!("1,000 rules against 10        {:.2} times", thousand / ten);
    println!("detect alone, shipped rules   {:.0} ns per event", shipped - none);
    workloads::run(now, &batches);
    backtest::run(now, &batches);
}

/// Nanoseconds of CPU per event.
fn measure(
    name: &str,
    rules: RuleSet,
    usage: UsageMode,
    now: WallTime,
    batches: &[RecordBatch],
) -> f64 {
    let count = rules.detections().count();
    let settings = EngineSettings { usage, ..EngineSettings::default() };
    let mut detector = Detector::new(Arc::new(rules), 0, &settings);
    let mut counts = DetectCounts::default();
    let (mut detections, mut dead_letters) = (0, 0);
    let per_event = median(|| {
        counts = DetectCounts::default();
        (detections, dead_letters) = (0, 0);
        for batch in batches {
            let out = detector.detect(now, batch);
            detections += out.detections.len();
            dead_letters += out.dead_letters.len();
            counts.events += out.counts.events;
            counts.rules_evaluated += out.counts.rules_evaluated;
        }
    }) / EVENTS as f64;
    println!(
        "{name:<14} {count:>5} detections  {per_event:>6.0} ns per event  {:.2} rules looked at, \
         {:.4} matched per event, {dead_letters} dead letters",
        counts.rules_evaluated as f64 / counts.events as f64,
        detections as f64 / counts.events as f64,
    );
    per_event
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

/// Nanoseconds that this thread has been on a CPU.
fn cpu_nanos() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts CPU time");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}
