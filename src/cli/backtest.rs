//! `tripline backtest`: what would have fired on this history.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};

use super::{ConfigArgs, exit, output, signals};
use crate::{
    app::{clock::now, configuration::Configuration, reload::load_rules},
    backtest::{
        BacktestSettings, Difference, Input, Progress, Report, difference, difference_text, page,
        report_text, run,
    },
    engine::{
        alert::Alert,
        diagnostic::Diagnostic,
        duration::parse_duration,
        record::PartitionName,
        rule::RuleSet,
        shard::EngineSettings,
        text,
        time::{EventTime, WallTime},
    },
    notify::alert_line,
    source::{RecordReader, file::expand},
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
///
/// Files may overlap, one for each API server: they are merged by time. A record that cannot be decoded,
/// and a file that breaks off, is counted and told, and the rest is read. Ctrl-C ends early and shows
/// what was found until then; a second one ends at once.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline backtest --rules rules/ audit-*.log.gz
  tripline backtest --rules rules/ --against old-rules/ --html report.html /var/log/audit/
  tripline backtest --rules rules/ --format jsonl audit.log | jq .labels.alertname
  zcat audit.log.gz | grep shop | tripline backtest -
  tripline backtest --rules rules/ --kafka --config tripline.yaml --from 24h

Exit codes:
  0    all of history was read, whatever was found in it
  1    something could not be read, or no record could be decoded; what could is in the report
  2    command line, configuration or rules are wrong; nothing was read
  130  ended early by Ctrl-C; what was found until then is in the report")]
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
    /// Show no progress, which is shown on terminals only.
    #[arg(long, short)]
    quiet: bool,
    /// Files or directories, plain, gzip or zstd: one event or EventList a line, or JSON over many lines.
    /// `*` and `?` work, `-` is standard input.
    #[arg(required_unless_present = "kafka", conflicts_with = "kafka", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Name of the cluster that all files come from, if the events do not say.
    #[arg(long, value_name = "NAME", conflicts_with = "kafka")]
    cluster: Option<String>,
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

/// Runs the command; its help says what the exit codes mean.
///
/// # Errors
/// What went wrong, for people.
pub(super) fn execute(args: &BacktestArgs) -> anyhow::Result<ExitCode> {
    if args.from.zip(args.until).is_some_and(|(from, until)| from >= until) {
        output::complain("--from is not before --until: there is nothing between them");
        return Ok(ExitCode::from(exit::USAGE));
    }
    let engine = EngineSettings { grace: args.grace, ..EngineSettings::default() };
    let rule_sets = match rule_sets(args, &engine) {
        Ok(rule_sets) => rule_sets,
        Err(problems) => return Ok(refuse(&problems)),
    };
    let history: Box<dyn RecordReader> = if args.kafka {
        let configuration = match Configuration::read(&args.config.input()) {
            Ok((configuration, _)) => configuration,
            Err(problems) => return Ok(refuse(&problems)),
        };
        let name = args.source.as_deref();
        configuration.history(name, args.from, args.until).map_err(|why| anyhow!(why))?
    } else {
        let files = expand(&args.files).map_err(|error| anyhow!(error))?;
        Box::new(Input::open(&files, args.cluster.as_deref())?)
    };
    let settings = BacktestSettings {
        rule_sets,
        engine,
        workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        now: now(),
        place: if args.kafka { offset } else { line },
    };
    let reports = watched_run(&settings, history, args)?;
    let report = reports.first().context("one report was made")?;
    let changes = reports.get(1).map(|old| difference(report, old));
    print(report, changes.as_ref(), args.format)?;
    if let Some(path) = &args.html {
        std::fs::write(path, page(report, changes.as_ref()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.format != Format::Text {
        // Text has them in it.
        for problem in &report.problems {
            output::complain(problem);
        }
    }
    Ok(match () {
        () if report.is_interrupted => ExitCode::from(exit::INTERRUPTED),
        () if !report.is_usable() => ExitCode::from(exit::FAILURE),
        () => exit::OK,
    })
}

/// The rules, then those that they are compared with.
fn rule_sets(
    args: &BacktestArgs,
    engine: &EngineSettings,
) -> Result<Vec<Arc<RuleSet>>, Vec<Diagnostic>> {
    let (mut sets, mut problems) = (Vec::new(), Vec::new());
    for directory in std::iter::once(&args.rules).chain(&args.against) {
        match load_rules(directory, engine.resolve_after) {
            Ok(loaded) => sets.push(loaded.rules),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(sets) } else { Err(problems) }
}

fn refuse(problems: &[Diagnostic]) -> ExitCode {
    for problem in problems {
        output::tell(&problem.render(output::stderr_colours()));
    }
    ExitCode::from(exit::USAGE)
}

/// A line of a file, as editors count them.
fn line(partition: &PartitionName, number: i64) -> String {
    format!("{}:{}", partition.topic, number + 1)
}

fn offset(partition: &PartitionName, offset: i64) -> String {
    format!("{partition} offset {offset}")
}

fn print(report: &Report, changes: Option<&Difference>, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text => {
            let changes = changes.map(difference_text).unwrap_or_default();
            output::print_all(&(report_text(report) + &changes))
        }
        Format::Json => {
            let document = serde_json::json!({ "report": report, "against": changes });
            output::print_all(&(serde_json::to_string_pretty(&document)? + "\n"))
        }
        Format::Jsonl => Ok(()),
    }
}

/// Runs it with progress on the terminal, and alerts as they fire on standard output if they are wanted.
fn watched_run(
    settings: &BacktestSettings,
    history: Box<dyn RecordReader>,
    args: &BacktestArgs,
) -> anyhow::Result<Vec<Report>> {
    let progress = Arc::new(Progress { cancel: signals::stop_flag()?, ..Progress::default() });
    let total = history.progress().total;
    let stream = args.format == Format::Jsonl;
    // On one terminal with the alerts, progress would only be in their way.
    let is_shown =
        !args.quiet && io::stderr().is_terminal() && !(stream && io::stdout().is_terminal());
    let mut write_error = None;
    let reports = std::thread::scope(|scope| {
        let (done, finished) = mpsc::channel::<()>();
        if is_shown {
            let progress = &progress;
            scope.spawn(move || watch(progress, total, &finished));
        }
        let mut on_firing = |alert: &Alert| {
            if stream && write_error.is_none() {
                write_error = write_line(alert).err();
                if write_error.is_some() {
                    progress.cancel.store(true, Ordering::Relaxed);
                }
            }
        };
        let reports = run(settings, history, &progress, &mut on_firing);
        drop(done);
        reports
    });
    match write_error {
        // A broken pipe among them: whoever read our lines has seen enough.
        Some(error) => Err(anyhow!(error).context("cannot write to standard output")),
        None => Ok(reports),
    }
}

fn write_line(alert: &Alert) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(&alert_line(alert))?;
    out.flush()
}

/// How often progress is written over.
const REDRAW: Duration = Duration::from_millis(250);

/// Shows progress until the other end of `finished` is dropped.
fn watch(progress: &Progress, total: Option<u64>, finished: &mpsc::Receiver<()>) {
    let begun = Instant::now();
    while finished.recv_timeout(REDRAW) == Err(mpsc::RecvTimeoutError::Timeout) {
        output::show_status(&progress_line(progress, total, begun.elapsed()));
    }
    output::show_status("");
}

fn progress_line(progress: &Progress, total: Option<u64>, elapsed: Duration) -> String {
    let records = progress.records.load(Ordering::Relaxed);
    let alerts = progress.alerts.load(Ordering::Relaxed);
    let done = progress.done.load(Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    let (share, rate) = (
        total.map(|total| (done as f64 / total.max(1) as f64).min(1.0)),
        records as f64 / elapsed.as_secs_f64().max(0.001),
    );
    let ahead = match share {
        Some(share) if share > 0.005 => {
            let left = elapsed.mul_f64((1.0 - share) / share);
            format!(
                "{:.0}% · about {} left · ",
                share * 100.0,
                text::span(left + Duration::from_secs(1))
            )
        }
        Some(_) => "0% · ".to_owned(),
        None => String::new(),
    };
    format!("{ahead}{records} records · {rate:.0}/s · {alerts} alerts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_how_long_it_will_take() {
        let progress = Progress::default();
        progress.done.store(250, Ordering::Relaxed);
        progress.records.store(5_000, Ordering::Relaxed);
        progress.alerts.store(3, Ordering::Relaxed);
        let line = |total| progress_line(&progress, total, Duration::from_secs(50));
        let expected = "25% · about 2 min 31 s left · 5000 records · 100/s · 3 alerts";
        assert_eq!(line(Some(1_000)), expected);
        assert_eq!(line(None), "5000 records · 100/s · 3 alerts");
        assert_eq!(line(Some(1_000_000)), "0% · 5000 records · 100/s · 3 alerts");
    }
}
