//! `tripline demo`: a cluster under attack, watched by the real pipeline. Nothing to install.
//!
//! Kafka is librdkafka's mock cluster inside this process, the cluster is the traffic generator, the
//! rules are the shipped ones. Everything from the Kafka consumer to the receiver is what `run` uses:
//! the same threads, checkpoint, metrics.

mod screen;
mod stage;
mod summary;
mod traffic;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;

use super::{exit, output, signals};
use crate::{
    engine::{duration::parse_duration, time::EventTime},
    generate::Story,
    telemetry::{LogFormat, LogLevel, LogSettings, start_logs},
};
use screen::Screen;
use stage::Stage;
use summary::Report;
use traffic::{STORY_SPAN, TrafficSettings};

/// Partitions of the demo's topic: 6. Windows span them.
const PARTITIONS: u32 = 6;

/// How long the pipeline may take for what was sent, once nothing more comes: 15 s.
const DRAIN_WAIT: Duration = Duration::from_secs(15);

/// Watch a cluster being attacked, and the attacks being noticed.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline demo
  tripline demo --for 60s
  tripline demo --for 60s --fast --seed 7")]
pub(super) struct DemoArgs {
    /// End after so much time, with a summary; at Ctrl-C, if left out.
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    span: Option<Duration>,
    /// What is left to chance in the traffic.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Events a second.
    #[arg(long, value_name = "N", default_value_t = 500.0, value_parser = rate)]
    rate: f64,
    /// Play ten times as fast.
    #[arg(long)]
    fast: bool,
    /// Where the console, metrics and health are served; the next free port if this one is taken.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9464")]
    listen: std::net::SocketAddr,
}

fn span(text: &str) -> Result<Duration, String> {
    let parsed = parse_duration(text).filter(|span| *span >= Duration::from_secs(10));
    parsed.ok_or_else(|| "write at least ten seconds, such as 60s or 5m".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    // The embedded Kafka keeps 5 MiB a partition; beyond this a slow machine could lose records.
    let parsed = text.parse().ok().filter(|rate: &f64| (1.0..=5_000.0).contains(rate));
    parsed.ok_or_else(|| "write a number from 1 to 5000".to_owned())
}

pub(super) fn execute(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let stop = signals::stop_flag()?;
    start_logs(
        LogSettings { level: LogLevel::Error, format: LogFormat::Text },
        output::stderr_colours(),
    );
    let screen = Arc::new(Screen::new());
    let stage = Stage::set(&screen, PARTITIONS, args.listen, &stop)?;
    screen.tell(&format!(
        "A cluster sends its audit events to the Kafka inside this process. On watch: {}.\n\
         {} attacks follow, in the midst of ordinary traffic. Times are UTC.\n\
         Console: {}/{}\n",
        stage.rules(),
        Story::all(false).len(),
        stage.url(),
        if args.span.is_some() { "" } else { "   Ctrl-C ends it with a summary." },
    ));
    let settings = TrafficSettings {
        span: args.span,
        seed: args.seed,
        rate: args.rate,
        is_fast: args.fast,
        partitions: PARTITIONS,
    };
    let sent = traffic::send(&settings, &stage, &screen, &stop)?;
    drain(&stage, sent.events, &stop);
    screen.set_status(String::new());
    let numbers = stage.numbers();
    let ledger = stage.ledger().display().to_string();
    let alerts = stage.close()?;
    let report = Report {
        begun: sent.begun,
        cut_after: Some(sent.end.minus(STORY_SPAN)),
        alerts,
        is_live: !args.fast,
        events_sent: sent.events,
        events_seen: numbers.events,
        took: sent.took,
    };
    let (text, all_caught) = report.render(output::stdout_colours());
    output::print_all(&text)?;
    output::tell(&format!(
        "What was done is recorded, until the next demo. Try:\n  \
         tripline visits --ledger {ledger} --since 24h\n  \
         tripline sessions --ledger {ledger} --since 24h"
    ));
    Ok(if all_caught { exit::OK } else { ExitCode::from(exit::FAILURE) })
}

/// Waits until everything that was sent has come out, and every alert has been told.
fn drain(stage: &Stage, events_sent: u64, stop: &AtomicBool) {
    let was_stopped = stop.swap(false, Ordering::Relaxed);
    let wait = if was_stopped { DRAIN_WAIT / 5 } else { DRAIN_WAIT };
    let deadline = Instant::now() + wait;
    // Events are counted a moment before the alerts that they make are told: look twice.
    let mut looks = 0;
    while looks < 2 && Instant::now() < deadline && !stop.load(Ordering::Relaxed) {
        looks = if stage.is_drained(events_sent) { looks + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// `10:04:08`
fn time_of_day(time: EventTime) -> String {
    time.rfc3339().get(11..19).unwrap_or("").to_owned()
}
