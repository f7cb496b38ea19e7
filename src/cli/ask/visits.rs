//! `tripline visits`: who was there, from when to when, and how much they did.

use std::{process::ExitCode, sync::Arc};

use clap::Args;
use serde_json::json;

use super::{
    AskArgs, Format, Mistake, answered, shown_time,
    words::{csv, json_lines, shown_number, table},
};
use crate::{
    archive::Filter,
    cli::{exit, output},
    engine::{
        access::{VISIT_PAUSE, Visit, Visits},
        duration::parse_duration,
        text::span,
    },
};

/// Show visits: what one actor did in one cluster without a long pause.
///
/// Those that needed the power of an administrator come first.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline visits --since 7d
  tripline visits --actor anna@example.org --since 30d --pause 1h --format csv")]
pub(in crate::cli) struct VisitsArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Of one actor.
    #[arg(long, value_name = "USER")]
    actor: Option<String>,
    /// The pause that ends a visit; 15m, if it is left out.
    #[arg(long, value_name = "SPAN")]
    pause: Option<String>,
    /// Of machines, too.
    #[arg(long)]
    machines: bool,
}

pub(in crate::cli) fn execute(args: &VisitsArgs) -> anyhow::Result<ExitCode> {
    answered(run(args))
}

fn run(args: &VisitsArgs) -> anyhow::Result<ExitCode> {
    let pause = match &args.pause {
        None => VISIT_PAUSE,
        Some(text) => parse_duration(text)
            .ok_or_else(|| Mistake(format!("`{text}` is not a span of time: write 15m")))?,
    };
    let mut asked = args.ask.resolve("24h")?;
    asked.filters.push(Filter::Accesses);
    if let Some(actor) = &args.actor {
        asked.check_known("actor", "actor", actor)?;
        asked.filters.insert(0, Filter::Actor(actor.clone()));
    }
    let mut visits = Visits::new(pause);
    for access in asked.all()?.iter().filter_map(|row| row.access()) {
        let is_machine = matches!(&*access.actor.kind, "serviceaccount" | "node" | "system");
        if args.machines || args.actor.is_some() || access.actor.human || !is_machine {
            visits.add(access);
        }
    }
    let mut visits = visits.finish();
    visits.sort_by_key(|visit| !visit.is_privileged);
    let cells: Vec<Vec<String>> = visits
        .iter()
        .map(|visit| {
            vec![
                shown_time(visit.start, &asked.zone),
                span(visit.end.since(visit.start)),
                visit.actor.as_deref().unwrap_or("(unknown)").to_owned(),
                visit.cluster.as_deref().unwrap_or("").to_owned(),
                shown_number(visit.requests),
                shown_number(visit.denied),
                shown_number(visit.sessions),
                if visit.is_privileged { "yes" } else { "" }.to_owned(),
                joined(&visit.sources),
                joined(&visit.namespaces),
            ]
        })
        .collect();
    match asked.format {
        Format::Text if visits.is_empty() => {
            output::print_all("no visits in this time; `tripline coverage` says what was seen\n")?;
        }
        Format::Text => output::print_all(&table(&COLUMNS, &cells))?,
        Format::Csv => output::print_all(&csv(&COLUMNS, &cells))?,
        Format::Jsonl => {
            output::print_all(&json_lines(visits.iter().map(view)))?;
        }
        Format::Json => {
            let views: Vec<serde_json::Value> = visits.iter().map(view).collect();
            output::print_all(&format!("{}\n", json!({ "visits": views })))?;
        }
    }
    Ok(exit::OK)
}

const COLUMNS: [&str; 10] = [
    "start",
    "lasted",
    "actor",
    "cluster",
    "requests",
    "denied",
    "sessions",
    "privileged",
    "from",
    "namespaces",
];

fn joined(texts: &std::collections::BTreeSet<Arc<str>>) -> String {
    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
    texts.join(", ")
}

fn view(visit: &Visit) -> serde_json::Value {
    json!({
        "actor": visit.actor, "cluster": visit.cluster,
        "start": visit.start.rfc3339(), "end": visit.end.rfc3339(),
        "accesses": visit.accesses, "requests": visit.requests, "denied": visit.denied,
        "sessions": visit.sessions, "privileged": visit.is_privileged,
        "sources": visit.sources, "namespaces": visit.namespaces,
        "credentials": visit.credentials, "classes": visit.classes,
    })
}
