//! `tripline backtest`: what would have fired on this history.

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};

use super::{ConfigArgs, exit, output};
use crate::{
    app::{configuration::Configuration, pipeline::now, reload::load_rules},
    backtest::{BacktestSettings, Input, Progress, difference, expand, page, run},
    engine::{
        alert::Alert,
        shard::EngineSettings,
        time::{EventTime, WallTime},
        yaml::parse_duration,
    },
    source::History,
};

/// What comes out on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people.
    Text,
    /// The whole report as one JSON document.
    Json,
    /// One alert a line, as it fires, and nothing else.
    Jsonl,
}

/// Run rules over recorded audit events and show what would have fired.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline backtest --rules rules/ audit-*.log.gz
  tripline backtest --rules rules/ --against old-rules/ --html report.html /var/log/audit/
  tripline backtest --rules rules/ --format jsonl audit.log | jq .labels.alertname
  tripline backtest --rules rules/ --kafka --config tripline.yaml --from 24h")]
pub(super) struct BacktestArgs {
    /// Directory with rule files.
    #[arg(long, value_name = "DIR", default_value = "rules")]
    rules: PathBuf,
    /// Another rule directory; show what changed from it to --rules.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Also write a self-contained HTML page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// How long an event may come after newer ones and still count.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    grace: Duration,
    /// Show no progress.
    #[arg(long, short)]
    quiet: bool,
    /// Files or directories: plain, gzip or zstd, one event or EventList a line; `*` and `?` work.
    #[arg(required_unless_present = "kafka", conflicts_with = "kafka", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Read the Kafka source of the configuration instead of files. Joins no group and commits
    /// nothing, so a running Tripline is not disturbed.
    #[arg(long)]
    kafka: bool,
    /// Begin with the first record at this time: RFC 3339, or a duration before now such as 24h.
    /// Without it, begin with the oldest record.
    #[arg(long, requires = "kafka", value_name = "TIME", value_parser = time)]
    from: Option<WallTime>,
    /// End before this time, written as --from. Without it, end at what is there now.
    #[arg(long, requires = "kafka", value_name = "TIME", value_parser = time)]
    until: Option<WallTime>,
    /// Name of the source, if the configuration has several.
    #[arg(long, requires = "kafka", value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a number and a unit, such as 30s, 5m, 1h".to_owned())
}

fn time(text: &str) -> Result<WallTime, String> {
    let before_now = parse_duration(text).map(|span| now().minus(span));
    let wrong = || "write a time such as 2026-01-05T09:00:00Z, or a duration before now".to_owned();
    before_now.or_else(|| EventTime::parse(text).map(EventTime::as_wall)).ok_or_else(wrong)
}

/// Runs the command. Exit code 0, 1 if history cannot be read, 2 if rules are wrong.
///
/// # Errors
/// What went wrong, for people.
pub(super) fn execute(args: &BacktestArgs) -> anyhow::Result<ExitCode> {
    let engine = EngineSettings { grace: args.grace, ..EngineSettings::default() };
    let mut sets = Vec::new();
    for directory in std::iter::once(&args.rules).chain(&args.against) {
        match load_rules(directory, engine.resolve_after) {
            Ok(loaded) => sets.push(loaded.rules),
            Err(problems) => {
                for problem in &problems {
                    output::tell(&problem.render(output::stderr_colours()));
                }
                return Ok(ExitCode::from(exit::USAGE));
            }
        }
    }
    let configuration = if args.kafka {
        match Configuration::read(&args.config.input()) {
            Ok((configuration, _)) => Some(configuration),
            Err(problems) => {
                for problem in &problems {
                    output::tell(&problem.render(output::stderr_colours()));
                }
                return Ok(ExitCode::from(exit::USAGE));
            }
        }
    } else {
        None
    };
    let files = expand(&args.files).map_err(|error| anyhow!(error))?;
    let mut reports = Vec::new();
    for (index, rules) in sets.into_iter().enumerate() {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let settings = BacktestSettings { rules, engine: engine.clone(), workers, now: now() };
        let stream = args.format == Format::Jsonl && index == 0;
        let label =
            if index == 0 { &args.rules } else { args.against.as_ref().unwrap_or(&args.rules) };
        let quiet = args.quiet || stream;
        let history: Box<dyn History> = match &configuration {
            Some(configuration) => {
                let name = args.source.as_deref();
                configuration.history(name, args.from, args.until).map_err(|why| anyhow!(why))?
            }
            None => Box::new(Input::open(&files)?),
        };
        reports.push(one_run(&settings, history, stream, quiet, label)?);
    }
    let changes = reports.get(1).zip(reports.first()).map(|(old, new)| difference(new, old));
    let report = reports.first().context("one report was made")?;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Text => {
            out.write_all(report.text().as_bytes())?;
            if let Some(changes) = &changes {
                out.write_all(changes.text().as_bytes())?;
            }
        }
        Format::Json => {
            let document = serde_json::json!({ "report": report, "against": changes });
            serde_json::to_writer_pretty(&mut out, &document)?;
            out.write_all(b"\n")?;
        }
        Format::Jsonl => {}
    }
    if let Some(path) = &args.html {
        std::fs::write(path, page(report, changes.as_ref()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn one_run(
    settings: &BacktestSettings,
    history: Box<dyn History>,
    stream: bool,
    quiet: bool,
    label: &Path,
) -> anyhow::Result<crate::backtest::Report> {
    let progress = Progress::default();
    let total = history.progress().total.unwrap_or(0);
    let mut write_error = None;
    let (done, finished) = std::sync::mpsc::channel::<()>();
    let report = std::thread::scope(|scope| {
        if !quiet {
            let progress = &progress;
            scope.spawn(move || watch(progress, total, label, &finished));
        }
        let mut on_firing = |alert: &Alert| {
            if stream && write_error.is_none() {
                write_error = write_line(alert).err();
                if write_error.is_some() {
                    progress.cancel.store(true, Ordering::Relaxed);
                }
            }
        };
        let report = run(settings, history, &progress, &mut on_firing);
        drop(done);
        report
    });
    match write_error {
        // Whoever read our lines has seen enough.
        Some(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Some(error) => return Err(error).context("cannot write to standard output"),
        None => {}
    }
    Ok(report?)
}

fn write_line(alert: &Alert) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(alert)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// Shows progress until the other end of `finished` is dropped: twice a second on a terminal, every
/// ten seconds elsewhere.
fn watch(progress: &Progress, total: u64, label: &Path, finished: &std::sync::mpsc::Receiver<()>) {
    let terminal = std::io::stderr().is_terminal();
    let interval = if terminal { Duration::from_millis(500) } else { Duration::from_secs(10) };
    let begun = Instant::now();
    while finished.recv_timeout(interval) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        let read = progress.done.load(Ordering::Relaxed);
        let records = progress.records.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
        let share = (read as f64 / total.max(1) as f64).min(1.0);
        let elapsed = begun.elapsed();
        let left = if share > 0.01 {
            let left = elapsed.mul_f64((1.0 - share) / share);
            format!(", about {} s left", left.as_secs() + 1)
        } else {
            String::new()
        };
        let line = format!("{}: {:.0}%, {records} records{left}", label.display(), share * 100.0);
        let mut err = std::io::stderr().lock();
        drop(if terminal { write!(err, "\r\x1b[K{line}") } else { writeln!(err, "{line}") });
    }
    if terminal {
        drop(write!(std::io::stderr().lock(), "\r\x1b[K"));
    }
}
