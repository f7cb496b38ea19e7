//! `cargo bench --bench pipeline`: CPU per event of the whole Kafka pipeline, as a multiple of a consumer
//! that only counts records, on the same broker in the same run. Needs the services that `tests/run`
//! sets up, in the directory that `TRIPLINE_E2E` names. A benchmark for people, not a test. With `TRIPLINE_RATE`, events
//! a second, only how long alerts take while so many others come.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    dead_code,
    missing_docs,
    reason = "a benchmark measures, starts processes and prints; the harness has more than it needs"
)]

#[path = "../e2e/harness/mod.rs"]
mod harness;
mod latency;

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use harness::{Service, available, eventually, kafka::Kafka, scratch, tripline::Tripline};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};

/// Events that are measured.
const EVENTS: u64 = 800_000;

/// Each side is run so often, in turn; the median ratio is printed.
const RUNS: usize = 5;

/// Set in the child process that counts: the brokers, and how many records there are.
const COUNT: &str = "TRIPLINE_BENCH_COUNT";

fn main() {
    if let Ok(task) = std::env::var(COUNT) {
        let (brokers, records) = task.split_once(' ').unwrap();
        count(brokers, records.parse().unwrap());
        return;
    }
    if !available(&[Service::Kafka]) {
        return;
    }
    let kafka = Kafka::started();
    if let Some(rate) = std::env::var("TRIPLINE_RATE").ok().and_then(|rate| rate.parse().ok()) {
        return latency::run(&kafka, rate);
    }
    kafka.create_topic("bench", 4);
    let directory = scratch("bench");
    let generated = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(["generate", "--topic", "bench", "--seed", "7", "--rate", "500"])
        .args(["--count", &EVENTS.to_string(), "--brokers", &kafka.brokers()])
        .args(["--property", "compression.type=lz4"])
        .status()
        .unwrap();
    assert!(generated.success(), "the topic was not filled");
    let (mut ratios, mut counting, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    let mut rates = Vec::new();
    for run in 0..RUNS {
        let counted = counting_consumer(&kafka);
        let (piped, rate) = pipeline(&kafka, run);
        rates.push(rate);
        println!("run {run}: counting {counted:.2} µs, pipeline {piped:.2} µs per event");
        ratios.push(piped / counted);
        counting.push(counted);
        whole.push(piped);
    }
    drop(directory);
    println!("counting consumer             {:.2} µs of CPU per event", median(&mut counting));
    println!("whole pipeline                {:.2} µs of CPU per event", median(&mut whole));
    println!("ratio, median of {RUNS}            {:.2}", median(&mut ratios));
    let rate = median(&mut rates);
    println!("events a second, at most      {rate:.0}");
    latency::run(&kafka, rate / 2.0);
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU seconds of a process so far: of all threads that it has now, to the nanosecond. What
/// `/proc/PID/stat` says is rounded to hundredths, of which counting takes some twenty.
fn cpu_seconds(process: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("Linux lists threads");
    let nanos = threads.map(|thread| {
        let path = thread.unwrap().path().join("schedstat");
        let text = fs::read_to_string(path).expect("Linux counts CPU time");
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    nanos.sum::<u64>() as f64 / 1e9
}

/// CPU seconds of a process so far, in hundredths: of threads that have ended, too.
fn cpu_ticks(process: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux counts CPU time");
    // Behind its name: user and system time are the fourteenth and fifteenth field of all.
    let (_, fields) = text.rsplit_once(')').unwrap();
    let ticks =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    ticks.sum::<u64>() as f64 / 100.0
}

/// Microseconds of CPU per event of a process of its own that reads all records and counts them.
fn counting_consumer(kafka: &Kafka) -> f64 {
    // Some records are EventLists, so there are fewer of them than events.
    let records = kafka.records("bench");
    let output = Command::new(std::env::current_exe().unwrap())
        .env(COUNT, format!("{} {records}", kafka.brokers()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let seconds: f64 = text.trim().parse().unwrap_or_else(|_| panic!("no number: {text}"));
    seconds * 1e6 / EVENTS as f64
}

fn count(brokers: &str, records: u64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "counter")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .create()
        .unwrap();
    consumer.subscribe(&["bench"]).unwrap();
    let mut read = 0;
    while read < records {
        if let Some(Ok(_)) = consumer.poll(Duration::from_millis(100)) {
            read += 1;
        }
    }
    println!("{}", cpu_seconds("self"));
}

/// Microseconds of CPU per event of `tripline run` with the shipped rules, to the last record's checkpoint; and how many
/// events a second it took from its start on. CPU is counted from a checkpoint that covers half of the records: until then the process
/// has started and has played the tests of its rules, which it does once, however many events come.
fn pipeline(kafka: &Kafka, run: usize) -> (f64, f64) {
    let records = kafka.records("bench");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/rules");
    let config = format!(
        "sources: [{{kafka: {{brokers: ['{}'], topics: [bench], group: bench-{run}}}}}]\n\
         engine: {{workers: 1}}\n\
         receivers: [{{name: console, stdout: {{}}}}]\nroute: {{receiver: console}}\n",
        kafka.brokers()
    );
    let mut tripline = Tripline::new(&config, &[]);
    fs::remove_dir(tripline.path().join("rules")).unwrap();
    std::os::unix::fs::symlink(rules, tripline.path().join("rules")).unwrap();
    let began = Instant::now();
    tripline.start();
    // Asked of the checkpoint, not of the process, which would have to answer.
    let database = tripline.path().join("state/tripline.db");
    let covers = |least: u64| {
        eventually("the checkpoint covers so many records", || {
            let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
            let database = rusqlite::Connection::open_with_flags(&database, flags).ok()?;
            let covered: Option<i64> = database
                .query_row("SELECT sum(next_offset) FROM position", [], |row| row.get(0))
                .ok()?;
            let covered = u64::try_from(covered?).unwrap();
            (covered >= least).then_some(covered)
        })
    };
    let process = tripline.process().id();
    let first = covers(records / 2);
    let before = cpu_ticks(process);
    let read = covers(records) - first;
    let seconds = cpu_ticks(process) - before;
    let rate = EVENTS as f64 / began.elapsed().as_secs_f64();
    tripline.kill();
    let events = EVENTS as f64 * read as f64 / records as f64;
    (seconds * 1e6 / events, rate)
}
