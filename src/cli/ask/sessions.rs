//! `tripline sessions`: exec, attach, port-forward and proxy, running and ended.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{
    AskArgs, Format, answered, shown_time,
    words::{csv, json_lines, table},
};
use crate::{
    archive::Filter,
    cli::{exit, output},
    engine::{
        access::{Session, Sessions},
        ledger::hex_of,
        text::span,
    },
};

/// Show sessions: who entered what, with which command, for how long.
///
/// `opened` is what has no end in the log: it runs, or its end was not recorded. A status of 101 says that
/// the stream was opened, not that the command began.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline sessions --since 7d
  tripline sessions -n payments --actor anna@example.org --since 90d --format jsonl")]
pub(in crate::cli) struct SessionsArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Of one actor.
    #[arg(long, value_name = "USER")]
    actor: Option<String>,
    /// In one namespace.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// In one pod.
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,
    /// Only those without an end.
    #[arg(long)]
    running: bool,
}

const COLUMNS: [&str; 8] =
    ["start", "lasted", "state", "actor", "from", "namespace", "object", "command"];

pub(in crate::cli) fn execute(args: &SessionsArgs) -> anyhow::Result<ExitCode> {
    answered(run(args))
}

fn run(args: &SessionsArgs) -> anyhow::Result<ExitCode> {
    let mut asked = args.ask.resolve("24h")?;
    if let Some(actor) = &args.actor {
        asked.check_known("actor", "actor", actor)?;
        asked.filters.insert(0, Filter::Actor(actor.clone()));
    }
    asked.filters.extend(args.namespace.clone().map(Filter::Namespace));
    asked.filters.push(Filter::Accesses);
    let mut sessions = Sessions::default();
    for access in asked.all()?.iter().filter_map(|row| row.access()) {
        sessions.add(access);
    }
    let fits = |session: &Session| {
        let name = session.object.as_ref().and_then(|object| object.name.as_deref());
        (!args.running || session.state() == "opened")
            && args.pod.as_deref().is_none_or(|pod| name == Some(pod))
    };
    let sessions: Vec<Session> = sessions.finish().into_iter().filter(fits).collect();
    let cells: Vec<Vec<String>> = sessions
        .iter()
        .map(|session| {
            let object = session.object.as_ref();
            let text = |text: Option<&std::sync::Arc<str>>| text.map_or("", |text| text).to_owned();
            let name = object.map_or_else(String::new, |object| {
                let below = object.subresource.as_deref().unwrap_or("");
                let name = object.name.as_deref().unwrap_or("");
                format!("{}/{name} {below}", object.resource)
            });
            vec![
                shown_time(session.at(), &asked.zone),
                session.duration.map_or_else(String::new, span),
                session.state().to_owned(),
                text(session.actor.as_ref()),
                text(session.source_ip.as_ref()),
                text(object.and_then(|object| object.namespace.as_ref())),
                name,
                session.command.clone().unwrap_or_default(),
            ]
        })
        .collect();
    match asked.format {
        Format::Text if sessions.is_empty() => {
            output::print_all(
                "no sessions in this time; `tripline coverage` says what was seen\n",
            )?;
        }
        Format::Text => output::print_all(&table(&COLUMNS, &cells))?,
        Format::Csv => output::print_all(&csv(&COLUMNS, &cells))?,
        Format::Jsonl => {
            output::print_all(&json_lines(sessions.iter().map(view)))?;
        }
        Format::Json => {
            let views: Vec<serde_json::Value> = sessions.iter().map(view).collect();
            output::print_all(&format!("{}\n", json!({ "sessions": views })))?;
        }
    }
    Ok(exit::OK)
}

fn view(session: &Session) -> serde_json::Value {
    let object = session.object.as_ref();
    json!({
        "request": hex_of(&session.request), "state": session.state(),
        "actor": session.actor, "on_behalf_of": session.on_behalf_of, "cluster": session.cluster,
        "source_ip": session.source_ip,
        "resource": object.map(|object| &object.resource),
        "subresource": object.and_then(|object| object.subresource.as_ref()),
        "namespace": object.and_then(|object| object.namespace.as_ref()),
        "name": object.and_then(|object| object.name.as_ref()),
        "command": session.command,
        "start": session.start.map(crate::engine::time::EventTime::rfc3339),
        "end": session.end.map(crate::engine::time::EventTime::rfc3339),
        "seconds": session.duration.map(|duration| duration.as_secs_f64()),
        "outcome": session.outcome, "code": session.code, "attempts": session.attempts,
    })
}
