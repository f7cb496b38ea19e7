//! A backtest of a file: CPU per event of the whole, beside decode and detect alone.

use std::{fs, path::Path, sync::Arc};

use tripline::{
    backtest::{BacktestSettings, Input, Progress, run as backtest},
    engine::{record::RecordBatch, shard::EngineSettings, time::WallTime},
};

use crate::{engine::EVENTS, rules};

/// The median of so many runs is printed.
const RUNS: usize = 5;

/// Prints what one event of a file costs, with all threads, when as many detect as there are cores.
pub(crate) fn run(now: WallTime, batches: &[RecordBatch]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("events.jsonl");
    write(&path, batches);
    let settings = BacktestSettings {
        rule_sets: vec![Arc::new(rules::shipped())],
        engine: EngineSettings::default(),
        workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        now,
        place: |_, _| String::new(),
    };
    let mut times: Vec<u64> = (0..RUNS)
        .map(|_| {
            let start = cpu_millis();
            let input = Input::open(std::slice::from_ref(&path), None).expect("the file");
            let reports =
                backtest(&settings, Box::new(input), &Arc::new(Progress::default()), &mut |_| {});
            assert_eq!(reports.first().map(|report| report.events >= EVENTS), Some(true));
            cpu_millis() - start
        })
        .collect();
    times.sort_unstable();
    let median = times.get(RUNS / 2).copied().unwrap_or(0) as f64 * 1e6;
    println!("backtest of a file            {:.0} ns of CPU per event", median / EVENTS as f64);
}

fn write(path: &Path, batches: &[RecordBatch]) {
    let mut lines = Vec::new();
    for batch in batches {
        for record in &batch.records {
            lines.extend_from_slice(batch.payload_of(record).unwrap_or_default());
            lines.push(b'\n');
        }
    }
    fs::write(path, lines).expect("the file can be written");
}

/// Milliseconds that all threads of this process have been on a CPU, user and system, to ten.
fn cpu_millis() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux counts CPU time");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    // `sysconf(_SC_CLK_TCK)` is 100 on every Linux that runs here.
    [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum::<u64>() * 10
}
