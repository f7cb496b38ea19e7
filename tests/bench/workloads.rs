//! What an event costs from bytes to alerts on one core: quiet traffic, a hot cluster, a storm, and a file
//! of your own (`TRIPLINE_SAMPLE`, JSON lines). `TRIPLINE_KEYS=10000000` adds a flood of so many users, each of whom
//! is counted by a correlation, and what memory that takes.
//!
//! - quiet: generated traffic and the shipped rules.
//! - hot: one event in ten is counted by a correlation over 500 keys, one in fifty is found by a rule that
//!   alerts, for 50 keys.
//! - storm: every event is a finding of one of 1,000 keys, each of which has an alert that fires.
//!
//! Events of hot and storm are those of quiet, with other names of users.

use std::{env, fs, sync::Arc};

use tripline::engine::{
    detector::Detector,
    diagnostic::SourceText,
    record::{PartitionName, RecordBatch},
    rule::{RuleSet, RuleSources},
    shard::{EngineSettings, Shard},
    time::{EventTime, WallTime},
};

use crate::{
    engine::{BATCH_RECORDS, median},
    rules,
};

/// Changes of state are taken after so many batches, as a checkpoint does it.
pub(crate) const BATCHES_PER_CHECKPOINT: usize = 100;

/// Prints a row for each workload.
pub(crate) fn run(now: WallTime, quiet: &[RecordBatch]) {
    let shipped = Arc::new(rules::shipped());
    let quiet_cost = row("quiet", &shipped, now, quiet);
    let hot = renamed(quiet, |number| match number % 50 {
        0 => Some(format!("alarm-{}", number / 50 % 50)),
        5 | 15 | 25 | 35 | 45 => Some(format!("hot-{}", number / 10 % 500)),
        _ => None,
    });
    let hot_cost = row("hot", &Arc::new(hot_rules()), now, &hot);
    let storm = renamed(quiet, |number| Some(format!("storm-{}", number % 1_000)));
    let storm_cost = row("storm", &Arc::new(storm_rules()), now, &storm);
    println!("hot against quiet             {:.2} times", hot_cost / quiet_cost);
    println!("storm against quiet           {:.2} times", storm_cost / quiet_cost);
    if let Some(path) = env::var_os("TRIPLINE_SAMPLE") {
        let bytes = fs::read(path).expect("the sample can be read");
        let later = WallTime::from_micros(i64::MAX / 2);
        row("sample", &shipped, later, &batches(bytes.split(|byte| *byte == b'\n')));
    }
    if let Some(keys) = env::var("TRIPLINE_KEYS").ok().and_then(|keys| keys.parse().ok()) {
        flood(keys, now, quiet);
    }
}

/// Sends events of so many users, each of another one, and prints what memory that takes after each tenth of them.
fn flood(keys: usize, now: WallTime, quiet: &[RecordBatch]) {
    let rules = Arc::new(hot_rules());
    let mut detector = Detector::new(Arc::clone(&rules), 0, &EngineSettings::default());
    let mut shard = Shard::new(rules, 0, EngineSettings::default());
    let first = quiet.first().expect("a batch");
    let payload = first.records.first().and_then(|record| first.payload_of(record));
    let payload = payload.expect("an event");
    let (mut changes, mut alerts, mut detections) = (Vec::new(), 0, 0);
    let tenth = keys.div_ceil(10 * BATCH_RECORDS).max(1);
    for number in 0..keys.div_ceil(BATCH_RECORDS) {
        let users = number * BATCH_RECORDS..(number + 1) * BATCH_RECORDS;
        for batch in batches(users.map(|user| with_user(payload, &format!("hot-{user}")))) {
            let found = detector.detect(now, &batch);
            detections += found.detections.len();
            shard.handle_batch(now, &found);
            alerts += std::iter::from_fn(|| shard.poll_alert()).count();
        }
        if number % BATCHES_PER_CHECKPOINT == 0 {
            changes.clear();
            shard.take_changes(&mut changes);
        }
        if (number + 1) % tenth == 0 {
            let keys = (number + 1) * BATCH_RECORDS;
            println!(
                "{keys:>9} users  {detections} detections, {alerts} changes told, {} MB resident",
                resident_kilobytes() / 1_000
            );
        }
    }
}

pub(crate) fn resident_kilobytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux says what a process takes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Prints what one event costs, and the two halves of it; the whole. The second half takes each batch just after the
/// first, as a pipeline does, so that what it needs is still near: what it costs is what both take longer than one.
fn row(name: &str, rules: &Arc<RuleSet>, now: WallTime, batches: &[RecordBatch]) -> f64 {
    let events: usize = batches.iter().map(|batch| batch.records.len()).sum();
    let (mut findings, mut alerts) = (0, 0);
    let mut detector = Detector::new(Arc::clone(rules), 0, &EngineSettings::default()).of_history();
    let detect = median(|| {
        findings = batches.iter().map(|batch| detector.detect(now, batch).detections.len()).sum();
    });
    let both = median(|| {
        let mut shard = Shard::new(Arc::clone(rules), 0, EngineSettings::default());
        let mut clock = EventTime::MIN;
        let mut changes = Vec::new();
        alerts = 0;
        for (number, batch) in batches.iter().enumerate() {
            let batch = detector.detect(now, batch);
            let newest = batch.progress.iter().filter_map(|progress| progress.time_max).max();
            clock = clock.max(newest.unwrap_or(clock));
            shard.handle_batch(clock.as_wall(), &batch);
            alerts += std::iter::from_fn(|| shard.poll_alert()).count();
            if number % BATCHES_PER_CHECKPOINT == 0 {
                changes.clear();
                shard.take_changes(&mut changes);
            }
        }
    });
    let count = (both - detect).max(0.0);
    let per_event = both / events as f64;
    println!(
        "{name:<8} {per_event:>6.0} ns per event: decode and detect {:.0}, count and alert {:.0} \
         ({:.0} per detection); {:.3} detections an event, {alerts} changes told",
        detect / events as f64,
        count / events as f64,
        count / findings.max(1) as f64,
        findings as f64 / events as f64,
    );
    per_event
}

/// The same events, some of another user.
fn renamed(from: &[RecordBatch], name: impl Fn(usize) -> Option<String>) -> Vec<RecordBatch> {
    let payloads = from.iter().flat_map(|batch| {
        batch.records.iter().map(|record| batch.payload_of(record).unwrap_or_default())
    });
    let payloads = payloads.enumerate().map(|(number, payload)| match name(number) {
        Some(name) => with_user(payload, &name),
        None => payload.to_vec(),
    });
    batches(payloads)
}

fn with_user(payload: &[u8], name: &str) -> Vec<u8> {
    const KEY: &str = "\"username\":\"";
    let text = str::from_utf8(payload).expect("text");
    let Some((head, tail)) = text.split_once(KEY) else { return payload.to_vec() };
    let (_, tail) = tail.split_once('"').expect("a string ends");
    format!("{head}{KEY}{name}\"{tail}").into_bytes()
}

fn batches(payloads: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<RecordBatch> {
    let partition = Arc::new(PartitionName::new("audit", 0));
    let (mut batches, mut batch) = (Vec::new(), RecordBatch::default());
    for (offset, payload) in (0..).zip(payloads) {
        if !payload.as_ref().is_empty() {
            batch.push(&partition, offset, None, Some(payload.as_ref()));
        }
        if batch.records.len() >= BATCH_RECORDS {
            batches.push(std::mem::take(&mut batch));
        }
    }
    batches.push(batch);
    batches
}

const HOT: &str = "
title: Hot
name: hot
logsource: {product: kubernetes, service: audit}
level: low
detection: {hot: {user.username|startswith: hot-}, condition: hot}
";

const MUCH: &str = "
title: Much of one
name: much
level: medium
correlation: {type: event_count, rules: [hot], group-by: [user.username], timespan: 10m, condition: {gte: 1000}}
";

const ALARM: &str = "
title: Alarm
name: alarm
logsource: {product: kubernetes, service: audit}
level: medium
tripline: {group-by: [user.username]}
detection: {alarm: {user.username|startswith: alarm-}, condition: alarm}
";

fn hot_rules() -> RuleSet {
    let shipped = rules::shipped_sources();
    with(shipped, &[HOT, MUCH, ALARM])
}

fn storm_rules() -> RuleSet {
    with(rules::shipped_sources(), &[&ALARM.replace("alarm", "storm")])
}

fn with(mut sources: RuleSources, texts: &[&str]) -> RuleSet {
    let added = texts.iter().enumerate();
    let added = added.map(|(number, text)| SourceText::new(format!("{number}.yaml"), *text));
    sources.rules.extend(added);
    rules::compile(&sources)
}
