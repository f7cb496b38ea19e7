//! `tripline report` and `tripline sample`: what the ledger says of a period, for who must account for it.

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{ask as ask_files, exit, output, shipped_rules};
use crate::{
    app::clock::now,
    archive::{Reader, sign::PublicKey},
    ask::{
        self, AskError, Params,
        table::{COLUMNS, cells, csv, table_told_apart},
    },
    config::rules_dir::read_rules_dir,
    engine::{
        diagnostic::{DiagnosticLevel, Problems, SourceText},
        framework::{Framework, read_frameworks},
        ledger::Hash,
        rule::{self, LoadOptions, RuleSources},
        text::{counted, printable, thousands},
    },
    report::{
        self, CheckSignature, Made, Order, ReportFormat, Scope, Verifies, Wanted,
        sample::{SIZE_MAX, Sample, SampleOf, event_hash_of, position_of},
    },
};

/// Write a report on what the ledger says of a period.
///
/// Each begins with what was seen and what was not, and ends with what audit logs cannot show. A number has the
/// command that shows what it counts; where nothing was counted it says `none`, `not observed` or `not applicable`.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  the report was written
  1  the ledger cannot be read, or does not hold: the report says so first
  2  an argument is wrong

Examples:
  tripline report access --from 2026-07-01 --to 2026-10-01 -o access.html
  tripline report alerts --since 30d --format json | jq .sections
  tripline report compliance --framework pci-dss --since 90d -o pci.html
  tripline report incident 3f9c2b1a -o incident.html")]
pub(super) struct ReportArgs {
    #[command(subcommand)]
    command: ReportCommand,
}

#[derive(Subcommand, Debug)]
enum ReportCommand {
    /// Who did what, from where, by which permission; a line for each person to judge and sign.
    Access(FileArgs),
    /// Alerts by rule; how long until people were told and took them; verdicts, silences, what was not delivered.
    Alerts(FileArgs),
    /// Evidence for each control of a framework.
    Compliance(ComplianceArgs),
    /// The facts of one alert with their times, and what may be due when.
    Incident(IncidentArgs),
}

/// Which ledger, and which time.
#[derive(Args, Clone, Debug)]
struct PeriodArgs {
    /// State directory of `tripline run`; it may run meanwhile.
    #[arg(long, value_name = "DIR", env = "TRIPLINE_STATE", default_value = "state")]
    state: PathBuf,
    /// Directory with month files, if it is not in the state directory: a copy, say.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// So long until now: 90m, 24h, 30d; 30d, if nothing else is said.
    #[arg(long, value_name = "SPAN", conflicts_with = "from")]
    since: Option<String>,
    /// Not before this: 2026-11-29, '2026-11-29 14:00' or 2026-11-29T14:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this; now, if it is left out.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Time zone of what is asked, and in which days and hours are counted.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
    /// Only of this cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// How a report is written.
#[derive(Args, Clone, Debug)]
struct FileArgs {
    #[command(flatten)]
    period: PeriodArgs,
    /// html, json or csv.
    #[arg(long, value_name = "FORMAT", default_value = "html", value_parser = report_format)]
    format: ReportFormat,
    /// Write it to this file instead of standard output.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Who makes it; the user's name, if it is left out.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    author: String,
    /// What is verified first: all of the ledger, or the period: months that have rows of it, and the report says so.
    #[arg(long, value_name = "WHAT", default_value = "all", value_parser = verifies)]
    verify: Verifies,
    /// The key that seals must be signed by, as `openssl pkey -pubout` writes it.
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

/// Evidence for each control of a framework.
#[derive(Args, Debug)]
struct ComplianceArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Which one: pci-dss, soc2, gdpr, iso27001, nist-800-53, cis-k8s, or one of --frameworks.
    #[arg(long, value_name = "NAME")]
    framework: String,
    /// Directory with framework files, instead of the shipped ones.
    #[arg(long, value_name = "DIR")]
    frameworks: Option<PathBuf>,
    /// Directory with the rules that record the classes which frameworks name, instead of the shipped ones. Which rules
    /// were in force the ledger says.
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
}

/// The facts of one alert.
#[derive(Args, Debug)]
struct IncidentArgs {
    /// Its fingerprint, or how that begins.
    #[arg(value_name = "FINGERPRINT")]
    fingerprint: String,
    #[command(flatten)]
    file: FileArgs,
}

/// Draw a sample of accesses that can be drawn again.
///
/// The same ledger, class, period, size and seed give the same rows, whoever draws them. Each has the position of
/// its event and the event's SHA-256, by which it can be held against the source. The ledger is verified before: a
/// month in which something is wrong is not drawn from, and named.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  the sample was drawn
  1  the ledger cannot be read, or does not hold: what holds of it was drawn from
  2  an argument is wrong, or no row of the period has the class

Examples:
  tripline sample --class permission_change --size 25 --seed 7 --since 90d
  tripline sample --class session --size 40 --seed 1 --from 2026-07-01 --to 2026-10-01 --format csv")]
pub(super) struct SampleArgs {
    #[command(flatten)]
    period: PeriodArgs,
    /// Accesses of which class.
    #[arg(long, value_name = "CLASS")]
    class: String,
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 25)]
    size: usize,
    /// Another seed draws other rows; write it down with the sample.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// text, json, jsonl or csv.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = answer_format)]
    format: ask::Format,
}

fn answer_format(word: &str) -> Result<ask::Format, String> {
    ask::Format::parse(word).ok_or_else(|| "it is one of: text, json, jsonl, csv".to_owned())
}

pub(super) fn execute(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ReportCommand::Access(args) => args.write(Wanted::Access),
        ReportCommand::Alerts(args) => args.write(Wanted::Alerts),
        ReportCommand::Compliance(args) => {
            let frameworks = match args.read() {
                Ok(read) => read,
                Err(code) => return Ok(code),
            };
            let wanted = frameworks.iter().find(|one| one.id == args.framework);
            let Some(framework) = wanted else {
                let known: Vec<&str> = frameworks.iter().map(|one| one.id.as_str()).collect();
                let given = printable(&args.framework);
                output::complain(&format!(
                    "no framework `{given}`; there are: {}",
                    known.join(", ")
                ));
                return Ok(ExitCode::from(exit::USAGE));
            };
            args.file.write(Wanted::Compliance(framework))
        }
        ReportCommand::Incident(args) => args.file.write(Wanted::Incident(&args.fingerprint)),
    }
}

/// A ledger that is open, and what is asked of it.
struct Open {
    reader: Reader,
    scope: Scope,
    params: Params,
}

impl Open {
    /// Has it recorded that somebody looked, as for questions.
    fn leave_note(&self, state: &Path, what: &str, rows: usize) {
        ask_files::leave_note((state, self.reader.is_copy()), what, &self.params, rows);
    }
}

impl PeriodArgs {
    fn open(&self, span_default: &str) -> Result<Open, AskError> {
        let params = Params::default()
            .with("since", self.since.clone())
            .with("from", self.from.clone())
            .with("to", self.to.clone())
            .with("zone", Some(self.zone.clone()))
            .with("cluster", self.cluster.clone());
        let scope = Scope::read(&params, now().as_event(), span_default)?;
        let reader = Reader::open(&self.state, self.ledger.as_deref())?;
        Ok(Open { reader, scope, params })
    }
}

/// Exit code 2 for a mistake; anything else is the world's.
fn answered(error: AskError) -> anyhow::Result<ExitCode> {
    match error {
        AskError::Mistake(mistake) => {
            output::complain(&mistake.to_string());
            Ok(ExitCode::from(exit::USAGE))
        }
        AskError::Archive(error) => Err(error.into()),
    }
}

impl FileArgs {
    fn write(&self, wanted: Wanted<'_>) -> anyhow::Result<ExitCode> {
        let key = self.public_key.as_deref().map(PublicKey::read).transpose()?;
        let mut open = match self.period.open("30d") {
            Ok(open) => open,
            Err(error) => return answered(error),
        };
        let check = |head: &Hash, signature: &[u8]| {
            key.as_ref().is_some_and(|key| key.signed(head, signature))
        };
        let check: Option<CheckSignature<'_>> = if key.is_some() { Some(&check) } else { None };
        show("verifying the ledger …");
        let (author, now) = (self.author.as_str(), now().as_event());
        let (scope, verifies) = (&open.scope, self.verify);
        let order = Order { wanted, scope, author, now, verifies, check, threads: None };
        let made = report::make(&mut open.reader, &order, &mut progress);
        show("");
        let Made { report, holds } = match made {
            Ok(made) => made,
            Err(error) => return answered(error),
        };
        open.leave_note(
            &self.period.state,
            &format!("report {}", report.kind.as_str()),
            report.rows(),
        );
        let text = report::write(&report, self.format)?;
        match &self.output {
            None => output::print_all(&text)?,
            Some(path) => write_file(path, &text)?,
        }
        for warning in &report.warnings {
            output::tell(&format!("warning: {warning}"));
        }
        Ok(if holds { exit::OK } else { ExitCode::from(exit::FAILURE) })
    }
}

fn verifies(word: &str) -> Result<Verifies, String> {
    Verifies::parse(word).ok_or_else(|| "it is one of: all, period".to_owned())
}

fn report_format(word: &str) -> Result<ReportFormat, String> {
    ReportFormat::parse(word).ok_or_else(|| "it is one of: html, json, csv".to_owned())
}

fn progress(rows: u64) {
    show(&format!("{} read", counted(rows, "row")));
}

/// Progress, where somebody sees it.
fn show(line: &str) {
    if std::io::stderr().is_terminal() {
        output::show_status(line);
    }
}

fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut whole = output::WholeFile::begin(path)?;
    let failed = || format!("cannot write {}", path.display());
    whole.file.write_all(text.as_bytes()).with_context(failed)?;
    whole.finish()
}

impl ComplianceArgs {
    /// The frameworks; all that is wrong with them, and with the rules, is said.
    fn read(&self) -> Result<Vec<Framework>, ExitCode> {
        let refuse = |problems: &[_], what| output::refuse(problems, what);
        let sources: RuleSources = match &self.rules {
            Some(directory) => {
                read_rules_dir(directory).map_err(|problems| refuse(&problems, "the rules"))?
            }
            None => shipped_rules(),
        };
        let loaded = rule::load(&sources, &LoadOptions::default());
        let Some(rules) = loaded.rules else {
            return Err(refuse(&loaded.diagnostics, "the rules"));
        };
        let files: Vec<std::sync::Arc<SourceText>> = match &self.frameworks {
            Some(directory) => {
                let read = read_rules_dir(directory);
                read.map_err(|problems| refuse(&problems, "the frameworks"))?.rules
            }
            None => report::shipped_frameworks(),
        };
        let problems = Problems::new();
        let frameworks = read_frameworks(&files, &rules.classes(), &problems);
        let problems = problems.into_sorted();
        if problems.iter().any(|problem| problem.level == DiagnosticLevel::Error) {
            return Err(refuse(&problems, "the frameworks"));
        }
        Ok(frameworks)
    }
}

pub(super) fn execute_sample(args: &SampleArgs) -> anyhow::Result<ExitCode> {
    if !(1..=SIZE_MAX).contains(&args.size) {
        output::complain(&format!("--size is a number from 1 to {}", thousands(SIZE_MAX as u64)));
        return Ok(ExitCode::from(exit::USAGE));
    }
    let mut open = match args.period.open("30d") {
        Ok(open) => open,
        Err(error) => return answered(error),
    };
    let of = SampleOf { class: args.class.clone(), size: args.size, seed: args.seed };
    show("verifying the ledger …");
    let drawn = report::sample::sample(&mut open.reader, &open.scope, &of, &mut progress);
    show("");
    let sample = match drawn {
        Ok(sample) => sample,
        Err(error) => return answered(error),
    };
    open.params = open.params.with("class", Some(args.class.clone()));
    open.leave_note(&args.period.state, "sample", sample.rows.len());
    output::print_all(&written(args, &of, &open.scope, &sample))?;
    if sample.holds() {
        return Ok(exit::OK);
    }
    for line in sample.verified_words() {
        output::tell(&format!("warning: {line}"));
    }
    Ok(ExitCode::from(exit::FAILURE))
}

/// The sample in the format that was asked for.
fn written(args: &SampleArgs, of: &SampleOf, scope: &Scope, sample: &Sample) -> String {
    let rows = sample.rows.iter();
    let item = |row: &crate::engine::ledger::Row| {
        let line: serde_json::Value = serde_json::from_str(&row.line()).unwrap_or_default();
        serde_json::json!({
            "id": row.id, "position": position_of(row), "event_hash": event_hash_of(row), "row": line,
        })
    };
    match args.format {
        ask::Format::Json => {
            let (first, last) = sample.ids.unwrap_or_default();
            let document = serde_json::json!({
                "class": of.class, "from": scope.period.from.rfc3339(), "to": scope.period.to.rfc3339(),
                "cluster": scope.cluster, "population": sample.population, "requests": sample.requests,
                "first_id": first, "last_id": last, "size": sample.rows.len(), "seed": of.seed,
                "method": Sample::method(of), "holds": sample.holds(),
                "verified": sample.verified_words(), "left_out": sample.left_out, "rows": rows.map(item).collect::<Vec<_>>(),
            });
            format!("{document:#}\n")
        }
        ask::Format::Jsonl => rows.map(|row| item(row).to_string() + "\n").collect(),
        ask::Format::Csv | ask::Format::Text => {
            let mut columns = vec!["id", "position", "event hash"];
            columns.extend(COLUMNS);
            let lines: Vec<Vec<String>> = rows
                .map(|row| {
                    let mut line = vec![row.id.to_string(), position_of(row), event_hash_of(row)];
                    line.extend(cells(row, &scope.period.zone));
                    line
                })
                .collect();
            if args.format == ask::Format::Csv {
                return csv(&columns, &lines);
            }
            format!(
                "{} of {} with the class {}, which stand for {}\n{}\n{}\n\n{}",
                counted(sample.rows.len(), "row"),
                thousands(sample.population),
                printable(&of.class),
                counted(sample.requests, "request"),
                Sample::method(of),
                sample.verified_words().join("\n"),
                table_told_apart(&columns, &lines),
            )
        }
    }
}
