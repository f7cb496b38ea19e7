//! `tripline explain`: which part of a rule held for an event, which did not, and the values.

mod show;

use std::{
    fs::File,
    io::{IsTerminal as _, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde::de::IgnoredAny;

use super::{exit, output};
use crate::{
    app::reload::load_rules,
    engine::{
        decode::take_apart,
        detect::{ExplainedEvent, ExplainedRecord, RecordExplainer},
        diagnostic::nearest,
        limits::RECORD_BYTES_MAX,
        record::RecordBatch,
        rule::{RuleIndex, RuleSet},
        settings::EngineSettings,
        text::counted,
    },
    source::file::LineFile,
};

/// Events that are shown unless `--all` is given.
const EVENTS_SHOWN: usize = 20;

/// Names that an unknown rule is told to be near to.
const NAMES_SHOWN: usize = 5;

/// Lines that are read at once.
const LINES_PER_BATCH: usize = 512;

/// Show why an event does, or does not, match a rule.
///
/// Every part of the condition is shown with its result and the values that it saw, with secrets
/// redacted. For a correlation, and for a rule with state, each input is explained, with the key under
/// which the event would count. Without --rule, all rules that the event matches are named.
///
/// The event is one audit event, an EventList, JSON lines, or any envelope of a shipper that `run`
/// reads (`tripline formats`); plain, gzip or zstd.
///
/// With --record, no rule is explained, but how one record, such as the value of a Kafka message, is taken
/// apart: what it was found to be, from the outside to the inside, and why not more of it.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  some event matches (of a correlation: counts)
  1  none does, or the input cannot be read; with --record: there is no event in it
  2  there is no such rule, the rules are wrong, or there is no event in the input

Examples:
  tripline explain --rule exec_reverse_shell event.json
  grep 4b2d1f0e audit.log | tripline explain --rule secret_read_burst
  tripline explain event.json
  tripline explain --rule privileged_pod --matching audit.log --format json | jq .events[].request
  kcat -C -t audit -c 1 -e > value; tripline explain --record value")]
pub(super) struct ExplainArgs {
    /// Directory with rule files, or one rule file.
    #[arg(long, value_name = "DIR", default_value = "rules")]
    rules: PathBuf,
    /// The rule, by its name or id; all that match, if left out.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// File with events; `-`, or nothing in a pipe, is standard input.
    #[arg(value_name = "EVENT-FILE")]
    file: Option<PathBuf>,
    /// Show how this file, taken as one record, is taken apart; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rule", "file", "audit_id", "matching", "all"])]
    record: Option<PathBuf>,
    /// Only the event with this audit id.
    #[arg(long, value_name = "ID")]
    audit_id: Option<String>,
    /// Only events that match.
    #[arg(long)]
    matching: bool,
    /// Show all events, not the first 20.
    #[arg(long)]
    all: bool,
    /// How it is shown.
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

pub(super) fn execute(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.record {
        return explain_record_file(path, args.format);
    }
    let usage = || Ok(ExitCode::from(exit::USAGE));
    let input = match &args.file {
        Some(path) => path.as_path(),
        None if std::io::stdin().is_terminal() => {
            output::complain("no event: name a file, or write events to standard input");
            output::tell("  tripline explain --rule NAME event.json");
            return usage();
        }
        None => Path::new("-"),
    };
    let rules = match load_rules(&args.rules, EngineSettings::default().resolve_after) {
        Ok(loaded) => loaded.rules,
        Err(problems) => return Ok(output::refuse(&problems, "nothing was explained")),
    };
    let asked: Vec<RuleIndex> = match &args.rule {
        Some(name) => rules.find_written(name).into_iter().collect(),
        None => rules.written().map(|(index, _)| index).collect(),
    };
    if let (Some(name), []) = (&args.rule, asked.as_slice()) {
        output::complain(&unknown(&rules, name, &args.rules));
        return usage();
    }
    let mut result = Explained {
        args,
        rules: &rules,
        explainer: RecordExplainer::new(&rules),
        asked,
        counts: Counts::default(),
        kept: Vec::new(),
    };
    read(input, &mut |line, record| result.add(line, record))?;
    if result.counts.events == 0 {
        for (line, reason, detail) in &result.counts.undecodable {
            output::tell(&format!("  {}", show::undecodable(*line, reason, detail)));
        }
        output::complain(&match &args.audit_id {
            Some(id) => format!("there is no event with the audit id `{id}` in the input"),
            None => "there is no audit event in the input".to_owned(),
        });
        return usage();
    }
    output::print_all(&match args.format {
        Format::Text => show::text(&result, output::stdout_colours()),
        Format::Json => format!("{:#}\n", show::json(&result)),
    })?;
    Ok(if result.counts.matching > 0 { exit::OK } else { ExitCode::from(exit::FAILURE) })
}

/// Shows how the bytes of one record are taken apart.
fn explain_record_file(path: &Path, format: Format) -> anyhow::Result<ExitCode> {
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Box::new(file)
    };
    let mut bytes = Vec::new();
    let bytes_max = RECORD_BYTES_MAX as u64 + 1;
    let read = input.take(bytes_max).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    let taken = take_apart(&bytes);
    output::print_all(&match format {
        Format::Text => show::taken_apart(&taken),
        Format::Json => format!("{:#}\n", serde_json::to_value(&taken)?),
    })?;
    Ok(if taken.events > 0 { exit::OK } else { ExitCode::from(exit::FAILURE) })
}

/// What came of the whole input.
struct Explained<'a> {
    args: &'a ExplainArgs,
    rules: &'a Arc<RuleSet>,
    explainer: RecordExplainer<'a>,
    asked: Vec<RuleIndex>,
    counts: Counts,
    /// The events that are shown.
    kept: Vec<ExplainedEvent>,
}

#[derive(Default)]
struct Counts {
    events: usize,
    matching: usize,
    /// Events that `--matching` would show.
    wanted: usize,
    /// What could not be decoded: its line, if lines count, the reason and the detail.
    undecodable: Vec<(Option<i64>, &'static str, String)>,
}

impl Explained<'_> {
    fn add(&mut self, line: Option<i64>, payload: &[u8]) {
        let ExplainedRecord { events, undecodable } = self.explainer.explain(&self.asked, payload);
        let undecodable = undecodable.into_iter();
        let undecodable = undecodable.map(|(reason, detail)| (line, reason.as_str(), detail));
        self.counts.undecodable.extend(undecodable.take(EVENTS_SHOWN));
        for mut event in events {
            if self.args.audit_id.as_ref().is_some_and(|id| *id != event.audit_id) {
                continue;
            }
            let matches = event.rules.iter().any(|rule| rule.holds);
            self.counts.events += 1;
            self.counts.matching += usize::from(matches);
            if self.args.matching && !matches {
                continue;
            }
            self.counts.wanted += 1;
            if self.args.all || self.kept.len() < EVENTS_SHOWN {
                if self.args.rule.is_none() {
                    event.rules.retain(|rule| rule.holds);
                }
                self.kept.push(event);
            }
        }
    }
}

/// Calls `each` with every record: a line, with its number, if the first line is a whole document;
/// otherwise all of the input.
fn read(path: &Path, each: &mut dyn FnMut(Option<i64>, &[u8])) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("{} is a directory", path.display());
    }
    let mut file = LineFile::open(path, 0, &Arc::default())?;
    let mut batch = RecordBatch::default();
    let mut more = file.read(&mut batch, None, 1)?;
    let first = batch.records.first().and_then(|record| batch.payload_of(record)).unwrap_or(b"");
    let by_line = serde_json::from_slice::<IgnoredAny>(first).is_ok();
    let mut whole = Vec::new();
    loop {
        for record in &batch.records {
            let Some(payload) = batch.payload_of(record) else { continue };
            if by_line {
                each(Some(record.offset + 1), payload);
            } else {
                if !whole.is_empty() {
                    whole.push(b'\n');
                }
                whole.extend_from_slice(payload);
            }
            if whole.len() > RECORD_BYTES_MAX {
                bail!(
                    "{} is one document of more than {} MiB; pick the event out of it first",
                    path.display(),
                    RECORD_BYTES_MAX >> 20
                );
            }
        }
        if !more {
            break;
        }
        batch = RecordBatch::default();
        more = file.read(&mut batch, None, LINES_PER_BATCH)?;
    }
    if !by_line && !whole.is_empty() {
        each(None, &whole);
    }
    Ok(())
}

/// What to say when there is no such rule: names like it.
fn unknown(rules: &RuleSet, name: &str, directory: &Path) -> String {
    let names: Vec<&str> = rules.written().map(|(_, rule)| rule.meta().name.as_str()).collect();
    let folded = name.to_lowercase();
    let near = nearest(name, names.iter().copied());
    let mut like: Vec<&str> = near.into_iter().collect();
    for known in &names {
        let is_part = folded.len() > 2 && known.to_lowercase().contains(&folded);
        let title_has_it = || {
            let index = rules.find_written(known);
            let title = index.map(|index| rules.rule(index).meta().about.title.to_lowercase());
            folded.len() > 2 && title.is_some_and(|title| title.contains(&folded))
        };
        if !like.contains(known) && (is_part || title_has_it()) {
            like.push(known);
        }
    }
    if like.is_empty() && names.len() <= NAMES_SHOWN {
        like.clone_from(&names);
    }
    like.truncate(NAMES_SHOWN);
    let quoted: Vec<String> = like.iter().map(|name| format!("`{name}`")).collect();
    let mut text = format!("there is no rule `{name}` in {}", directory.display());
    match quoted.as_slice() {
        [] => text.push_str(&format!("; it has {}", counted(names.len(), "rule"))),
        [one] => text.push_str(&format!("; did you mean {one}?")),
        several => text.push_str(&format!("; did you mean one of {}?", several.join(", "))),
    }
    text
}
