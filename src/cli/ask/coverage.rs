//! `tripline coverage`: what was seen, hour by hour, and what may be missing.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use serde_json::json;

use super::{
    AskArgs, Format, answered, shown_time,
    words::{csv, json_lines, shown_number, table},
};
use crate::{
    archive::Filter,
    cli::{exit, output},
    engine::{ledger::EntryKind, time::EventTime},
};

/// Show what was seen of each cluster, hour by hour.
///
/// `complete`: events came, and none was damaged. `degraded`: some could not be read, or were cut. `silent`:
/// the source could be read, and said nothing. `not observed`: nobody looked. What the API server dropped
/// before anybody could see it leaves no trace: its own metrics tell (`apiserver_audit_error_total`).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline coverage --since 7d
  tripline coverage --since 30d --problems --format csv")]
pub(in crate::cli) struct CoverageArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Only hours that are not complete.
    #[arg(long)]
    problems: bool,
}

const COLUMNS: [&str; 7] = ["hour", "cluster", "verdict", "events", "cut", "dead letters", "late"];

const HOUR: i64 = 3_600_000_000;

/// What is known of an hour.
#[derive(Default)]
struct Hour {
    events: u64,
    cut: u64,
    dead_letters: u64,
    late: u64,
    is_told: bool,
}

impl Hour {
    const fn verdict(&self) -> &'static str {
        match (self.is_told, self.events, self.cut + self.dead_letters) {
            (false, ..) => "not observed",
            (true, _, 1..) => "degraded",
            (true, 0, _) => "silent",
            (true, ..) => "complete",
        }
    }
}

pub(in crate::cli) fn execute(args: &CoverageArgs) -> anyhow::Result<ExitCode> {
    answered(run(args))
}

fn run(args: &CoverageArgs) -> anyhow::Result<ExitCode> {
    let mut asked = args.ask.resolve("24h")?;
    // An hour counts if any of it is asked about.
    asked.from = EventTime::from_micros(asked.from.micros().div_euclid(HOUR) * HOUR);
    let cluster = args.ask.cluster.as_deref();
    asked.filters = vec![Filter::Entries(EntryKind::Coverage)];
    let mut hours: BTreeMap<(i64, String), Hour> = BTreeMap::new();
    for row in &asked.all()? {
        let Some(entry) = row.entry() else { continue };
        if cluster.is_some_and(|cluster| cluster != entry.subject) {
            continue;
        }
        let key = (row.at().micros().div_euclid(HOUR), entry.subject.clone());
        let hour = hours.entry(key).or_default();
        hour.is_told = true;
        hour.events += entry.count_of("events");
        hour.cut += entry.count_of("cut");
        hour.dead_letters += entry.count_of("dead_letters");
        if entry.what == "late" {
            hour.late += entry.count_of("events");
        }
    }
    fill(&mut hours, asked.from, asked.to);
    hours.retain(|_, hour| !args.problems || hour.verdict() != "complete");
    let cells: Vec<Vec<String>> = hours
        .iter()
        .map(|((at, cluster), hour)| {
            vec![
                shown_time(EventTime::from_micros(at * HOUR), &asked.zone),
                cluster.clone(),
                hour.verdict().to_owned(),
                shown_number(hour.events),
                shown_number(hour.cut),
                shown_number(hour.dead_letters),
                shown_number(hour.late),
            ]
        })
        .collect();
    let view = |((at, cluster), hour): (&(i64, String), &Hour)| {
        json!({
            "hour": EventTime::from_micros(at * HOUR).rfc3339(), "cluster": cluster,
            "verdict": hour.verdict(), "events": hour.events, "cut": hour.cut,
            "dead_letters": hour.dead_letters, "late": hour.late,
        })
    };
    match asked.format {
        Format::Text if hours.is_empty() => output::print_all("no hour of this time is told\n")?,
        Format::Text => output::print_all(&table(&COLUMNS, &cells))?,
        Format::Csv => output::print_all(&csv(&COLUMNS, &cells))?,
        Format::Jsonl => {
            output::print_all(&json_lines(hours.iter().map(view)))?;
        }
        Format::Json => {
            let views: Vec<serde_json::Value> = hours.iter().map(view).collect();
            output::print_all(&format!("{}\n", json!({ "hours": views })))?;
        }
    }
    Ok(exit::OK)
}

/// Hours of which nothing is told were not observed; the one that runs is not over.
fn fill(hours: &mut BTreeMap<(i64, String), Hour>, from: EventTime, to: EventTime) {
    let mut clusters: Vec<String> = hours.keys().map(|(_, cluster)| cluster.clone()).collect();
    clusters.sort_unstable();
    clusters.dedup();
    let first = hours.keys().next().map_or(i64::MAX, |(hour, _)| *hour);
    let first = first.max(from.micros().div_euclid(HOUR));
    for hour in first..to.micros().div_euclid(HOUR) {
        for cluster in clusters.iter().filter(|cluster| !cluster.is_empty()) {
            hours.entry((hour, cluster.clone())).or_default();
        }
    }
}
