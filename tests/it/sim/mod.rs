//! The simulator: never lost, never twice, never early.
//!
//! A world in one thread, made from a seed: a broker, a process with the engine's own coordinator inside
//! of it, its disk, receivers, clocks. Actions happen to it in an order that the seed decides, among them every
//! kind of fault, between any two steps of the process. After each of them some things must hold; at
//! the end, when the faults are over, receivers must have been told what a world without faults
//! would have told them.
//!
//! What may go wrong, and what may not:
//!
//! - **The broker** never loses a record that it took, and gives the records of a partition in their
//!   order. It may be away. A partition may give nothing for a while; if that is longer than a
//!   partition may be silent, its records are late, and windows may miss them.
//! - **Events** are data: their times do not change with any clock. A request is recorded within
//!   `grace` after it happened, perhaps twice, perhaps in two partitions; one that runs long is
//!   recorded when it begins and when it ends.
//! - **The disk** keeps everything before its last sync. A commit is there whole or not at all. It may
//!   fail, and it may report a failure although it is there. What is being written when the process
//!   dies is there or not. Where dead letters go may fail likewise.
//! - **The process** may die between any two steps, and be stopped for a while, which is no time in which it
//!   could do anything. It may be told to end, lose a thread, or its source for good. Another one may take over its group; it hears of that within seconds, and ends without another checkpoint. The next
//!   one starts when the state directory is free, that is, when the one before is gone.
//! - **Receivers** may take a notification and lose the answer, ask for patience, fail, refuse what they
//!   do not have, or be away. What a process sent before it died arrives before its successor sends.
//! - **The wall clock** may be set forwards and backwards, and runs a little wrong. If it is far behind when the
//!   first process of all starts, events come from the future by all that can be known, and happen when they
//!   are read; so they do in the world without faults.
//! - **Somebody** may flood the log with requests, so that quotas of alerts are full.
//! - **The shell** around the coordinator takes its turn within two seconds of what is due, unless it is
//!   stopped, and hands records over within six seconds, unless their partition is stalled or the disk is
//!   away. Detectors may overtake each other.
//!
//! `SIM_SEEDS=20000` runs more seeds than usual, from `SIM_FROM` on, and `SIM_SEED=17` runs that one. A
//! seed that fails prints its trace, made as short as it can be; kept in `tests/data/seeds/`, it is
//! done again for ever: seeds go stale when code changes, traces do not. `SIM_TRACE=FILE` does one trace
//! again, and `SIM_TELL=1` prints what happens. Most of its time is the disk's: `TMPDIR=/dev/shm` makes it
//! several times as fast.

mod action;
mod acts;
mod broker;
mod checkers;
mod disk;
mod driver;
mod life;
mod model;
mod receivers;
mod replicas;
mod rng;
mod rules;
mod silence;
mod trace;
mod verdict;
mod world;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use trace::{Trace, run_seed};
use world::Driver;

/// Seeds that are run each time.
const SEEDS: u64 = 200;

#[expect(clippy::print_stderr, reason = "asked for by somebody who watches")]
/// Says what happens, in the order in which it does, to whoever looks for what went wrong.
fn narrate(text: impl FnOnce() -> String) {
    if std::env::var_os("SIM_TELL").is_some() {
        eprintln!("{}", text());
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// What to show of a trace that fails.
fn report(trace: &Trace, check: &str) -> String {
    let last = trace.actions.len().saturating_sub(40);
    let actions: Vec<String> =
        trace.actions[last..].iter().map(|action| format!("  {action:?}")).collect();
    let short = trace.clone().minimise(check);
    let detail = short.run().err().map_or_else(String::new, |failure| failure.detail);
    format!(
        "seed {} fails: {check}\n{detail}\nlast actions:\n{}\nshortest trace, for \
         tests/data/seeds/:\n{}",
        trace.config.seed,
        actions.join("\n"),
        short.to_text()
    )
}

#[test]
fn whatever_happens_nothing_is_lost_or_told_twice_or_early() {
    let (from, seeds) = match number("SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (number("SIM_FROM").unwrap_or(0), number("SIM_SEEDS").unwrap_or(SEEDS)),
    };
    let mut failures: BTreeMap<String, Vec<Trace>> = BTreeMap::new();
    for seed in from..from + seeds {
        let (trace, outcome) = run_seed(seed, Driver::Right);
        if let Err(failure) = outcome {
            narrate(|| format!("seed {seed} fails: {}\n{}", failure.check, failure.detail));
            failures.entry(failure.check).or_default().push(trace);
        }
    }
    // One of each sort is enough to begin with.
    let reports: Vec<String> = failures
        .iter()
        .map(|(check, traces)| {
            let seeds: Vec<u64> = traces.iter().map(|trace| trace.config.seed).collect();
            format!("{check}: {} seeds: {seeds:?}\n{}", seeds.len(), report(&traces[0], check))
        })
        .collect();
    assert!(reports.is_empty(), "{}", reports.join("\n\n"));
}

#[test]
fn a_driver_that_does_it_wrong_is_caught() {
    // An order that decides something is rare: among seeds, and within one.
    let wrong = [
        (Driver::EffectsFirst, SEEDS),
        (Driver::OffsetsFirst, SEEDS),
        (Driver::TornCommit, SEEDS),
        (Driver::Hopeful, SEEDS),
        (Driver::LettersLost, SEEDS),
        (Driver::Renumbered, 3 * SEEDS),
    ];
    for (driver, seeds) in wrong {
        let caught = (0..seeds).find(|seed| run_seed(*seed, driver).1.is_err());
        assert!(caught.is_some(), "{driver:?} is not caught within {seeds} seeds");
    }
}

#[test]
fn what_failed_once_holds_now() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/seeds");
    let files = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    let paths: Vec<PathBuf> = match std::env::var_os("SIM_TRACE") {
        Some(path) => vec![path.into()],
        None => files.collect(),
    };
    let mut errors = Vec::new();
    for path in paths {
        let trace = Trace::from_text(&fs::read_to_string(&path).unwrap());
        if let Err(failure) = trace.run() {
            errors.push(format!("{}: {}\n{}", path.display(), failure.check, failure.detail));
        }
    }
    assert!(errors.is_empty(), "{}", errors.join("\n\n"));
}
