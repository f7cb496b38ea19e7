//! What correlations keep of a million users: memory a key at rest, what a detection of such a key costs, and how long it
//! takes to put all of it back.

use std::{env, fmt::Write as _, process::Command, sync::Arc};

use tripline::engine::{
    detector::Detector,
    diagnostic::SourceText,
    kind::{CorrelationKey, Sample},
    record::{PartitionName, RecordBatch},
    rule::{RuleSet, RuleSources},
    shard::{EngineSettings, Shard, StateEntry},
    time::{EventTime, WallTime},
    value::Captured,
};

use crate::{
    engine::{BATCH_RECORDS, cpu_nanos},
    rules,
    workloads::{BATCHES_PER_CHECKPOINT, resident_kilobytes},
};

/// Users, each of whom is a key.
const USERS: usize = 1_000_000;

/// Users who come once more, each of another part of memory.
const COME_AGAIN: usize = 200_000;

/// In a process where this is set memory is measured, and nothing else.
const ALONE: &str = "TRIPLINE_BENCH_MEMORY";

const RULES: &str = "
title: Reads
name: reads
logsource: {product: kubernetes, service: audit}
generate: false
detection: {read: {verb: get}, condition: read}
---
title: Much of one
name: much
correlation: {type: event_count, rules: [reads], group-by: [user.username], timespan: 1h, condition: {gte: 1000}}
";

const START: i64 = 1_772_445_600_000_000;

/// Whether this process measures memory alone; then it has done so.
pub(crate) fn is_alone() -> bool {
    let Some(events) = env::var(ALONE).ok().and_then(|events| events.parse().ok()) else {
        return false;
    };
    let mut world = World::new(EngineSettings::default());
    // What the engine takes by itself is there by then, and of requests as many are known as may be.
    world.come(0..USERS / 4, 1);
    let (before, keys_before) = (resident_kilobytes(), USERS / 4);
    world.come(keys_before..keys_before + USERS, events);
    let bytes = (resident_kilobytes() - before) * 1_024;
    let told: usize = world.shard.correlation_bytes().map(|(_, bytes)| bytes).sum();
    let keys: usize = world.shard.correlation_keys().map(|(_, keys)| keys).sum();
    println!(
        "keys at rest     {keys:>9} of {events} events: {:.0} B resident a key, {:.0} by the formula",
        bytes as f64 / (keys - keys_before) as f64,
        told as f64 / keys as f64
    );
    true
}

/// Prints a row for each figure.
pub(crate) fn run() {
    // Memory that is free goes back at once, so that what is resident is what is used.
    let alone = Command::new(env::current_exe().expect("this program"))
        .env(ALONE, "3")
        .env("MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
        .status();
    assert!(alone.expect("it can run").success());
    let mut world = World::new(EngineSettings::default());
    let new = world.come(0..USERS, 1);
    println!(
        "key that is new  {:>6.0} ns a detection to count, {:.0} with its share of the checkpoint",
        new.count, new.whole
    );
    let stored = std::mem::take(&mut world.stored);
    let again = world.come((0..COME_AGAIN).map(come_again), 1);
    println!(
        "key at rest      {:>6.0} ns a detection to count, {:.0} with its share of the checkpoint",
        again.count, again.whole
    );
    let small = EngineSettings { memory: 8 << 20, ..EngineSettings::default() };
    let flood = World::new(small).come(0..USERS / 4, 1);
    println!(
        "key without room {:>6.0} ns a detection to count, {:.0} with its share of the checkpoint",
        flood.count, flood.whole
    );
    window_alone(&world.rules);
    let World { shard, rules, .. } = world;
    let mut other = Shard::new(rules, 0, EngineSettings::default());
    let rows = stored.len();
    let start = cpu_nanos();
    let report = other.restore(&mut stored.into_iter());
    let nanos = cpu_nanos() - start;
    assert_eq!((report.outdated, report.unusable), (0, 0));
    let keys = |shard: &Shard| shard.correlation_keys().map(|(_, keys)| keys).sum::<usize>();
    assert_eq!(keys(&shard), keys(&other));
    println!(
        "restored         {:>6.2} s for {rows} rows, {} keys",
        nanos as f64 / 1e9,
        keys(&other)
    );
}

/// The window alone: what a correlation makes of samples of users who are there, without identities, findings and
/// alerts around it.
fn window_alone(rules: &RuleSet) {
    let (_, rule) = rules.correlations().next().expect("there is one");
    let mut state = rule.kind.fresh(rule.frame);
    let key = |user: usize| -> CorrelationKey { [Arc::from(user_name(user))].into() };
    let (mut hits, mut changes) = (Vec::new(), Vec::new());
    let mut count = |users: &mut dyn Iterator<Item = usize>, micros: i64| {
        let keys: Vec<CorrelationKey> = users.map(key).collect();
        let time = EventTime::from_micros(START + micros);
        let captured: Arc<[Captured]> = Arc::default();
        let start = cpu_nanos();
        for key in keys {
            let captured = Arc::clone(&captured);
            let sample = Sample { time, claimed: None, input: 0, values: &[], fields: 0, captured };
            state.handle(key, sample, None, &mut hits);
        }
        let counted = cpu_nanos();
        state.take_changed(&mut changes);
        changes.clear();
        (counted - start, cpu_nanos() - counted)
    };
    count(&mut (0..USERS), 0);
    let at_once = BATCHES_PER_CHECKPOINT * BATCH_RECORDS;
    let (mut counted, mut stored) = (0, 0);
    for part in 0..COME_AGAIN / at_once {
        let users = part * at_once..(part + 1) * at_once;
        let took = count(&mut users.map(come_again), 30_000_000);
        (counted, stored) = (counted + took.0, stored + took.1);
    }
    let each = |nanos: u64| nanos as f64 / COME_AGAIN as f64;
    println!(
        "window alone     {:>6.0} ns a sample of a key at rest, {:.0} with its share of what is stored",
        each(counted),
        each(counted + stored)
    );
}

/// The user who comes again as number so and so: in an order in which none is near the one before.
const fn come_again(number: usize) -> usize {
    number * 999_983 % USERS
}

fn user_name(user: usize) -> String {
    format!("system:serviceaccount:shop:u{user}")
}

/// An engine, and what its checkpoints stored.
struct World {
    rules: Arc<RuleSet>,
    detector: Detector,
    shard: Shard,
    stored: Vec<StateEntry>,
    at: i64,
    number: u64,
}

/// Nanoseconds a detection.
struct Cost {
    count: f64,
    whole: f64,
}

impl World {
    fn new(settings: EngineSettings) -> World {
        let mut sources = RuleSources::default();
        sources.rules.push(SourceText::new("reads.yaml", RULES));
        let rules = Arc::new(rules::compile(&sources));
        World {
            detector: Detector::new(Arc::clone(&rules), 0, &settings),
            shard: Shard::new(Arc::clone(&rules), 0, settings),
            rules,
            stored: Vec::new(),
            at: 0,
            number: 0,
        }
    }

    /// Each of these users does something so many times, at intervals of half a minute.
    fn come(&mut self, users: impl Iterator<Item = usize>, times: usize) -> Cost {
        let partition = Arc::new(PartitionName::new("audit", 0));
        let users: Vec<usize> = users.flat_map(|user| std::iter::repeat_n(user, times)).collect();
        let times_as_number = i64::try_from(times).expect("few");
        let keeps = env::var_os(ALONE).is_none();
        let (mut count, mut commit, mut changes) = (0, 0, Vec::new());
        for (batch_number, users) in (1..).zip(users.chunks(BATCH_RECORDS)) {
            let mut batch = RecordBatch::default();
            for user in users {
                (self.at, self.number) = (self.at + 1, self.number + 1);
                let nth = i64::try_from(self.number).expect("few") % times_as_number;
                let event = event(self.number, *user, self.at + nth * 30_000_000);
                batch.push(&partition, 0, None, Some(event.as_bytes()));
            }
            let now = WallTime::from_micros(START + self.at);
            let found = self.detector.detect(now, &batch);
            assert_eq!(found.detections.len(), users.len());
            let start = cpu_nanos();
            self.shard.handle_batch(now, &found);
            let counted = cpu_nanos();
            count += counted - start;
            if batch_number % BATCHES_PER_CHECKPOINT == 0 {
                self.shard.take_changes(&mut changes);
                commit += cpu_nanos() - counted;
                let rows = changes.drain(..).filter_map(|change| {
                    let (key, value) = (change.key.clone(), change.value?.clone());
                    Some(StateEntry { table: change.table, key, value })
                });
                self.stored.extend(rows.filter(|_| keeps));
            }
        }
        self.shard.take_changes(&mut changes);
        let each = |nanos: u64| nanos as f64 / users.len() as f64;
        Cost { count: each(count), whole: each(count + commit) }
    }
}

fn event(number: u64, user: usize, micros: i64) -> String {
    let time = EventTime::from_micros(START + micros).rfc3339();
    let mut event = String::new();
    write!(
        event,
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{number}","stage":"ResponseComplete","requestURI":"/x","verb":"get","user":{{"username":"{}"}},"objectRef":{{"resource":"pods","namespace":"shop","name":"x"}},"responseStatus":{{"code":200}},"requestReceivedTimestamp":"{time}","stageTimestamp":"{time}"}}"#,
        user_name(user)
    )
    .expect("a text");
    event
}
