//! `tripline formats`: the ways in which audit events may come.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{exit, output};
use crate::engine::decode::{DECODERS, Envelope};

/// Characters of a line of the table.
const LINE_WIDTH: usize = 100;

/// The event in an example.
const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"3f1b5cde-6b2c-4e0f-9b1a-2f6f0d3a8b11","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/secrets/db","verb":"get","user":{"username":"alice@example.com","groups":["system:authenticated"]},"sourceIPs":["203.0.113.7"],"userAgent":"kubectl/v1.33.1","objectRef":{"resource":"secrets","namespace":"shop","name":"db","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-01-05T22:14:01.100000Z","stageTimestamp":"2026-01-05T22:14:01.131000Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""}}"#;

/// Print the ways in which audit events may come, or an example of one.
///
/// Records are told apart by what they are, so one topic or file may hold several kinds, and events are
/// found under any key. The table names those that are tested. `tripline explain --record FILE` says how a
/// record of yours is taken apart.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  printed
  2  there is no such format

Examples:
  tripline formats
  tripline formats loki | tripline explain --record -
  tripline formats --format json | jq -r .[].name")]
pub(super) struct FormatsArgs {
    /// Print an example of this one.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// How the table is shown.
    #[arg(
        long,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        conflicts_with = "name"
    )]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON array.
    Json,
    /// A table for documents.
    Markdown,
}

pub(super) fn execute(args: &FormatsArgs) -> anyhow::Result<ExitCode> {
    if let Some(name) = &args.name {
        return example(name);
    }
    output::print_all(&match args.format {
        Format::Text => text(),
        Format::Json => format!("{:#}\n", json_table()),
        Format::Markdown => markdown(),
    })?;
    Ok(exit::OK)
}

fn example(name: &str) -> anyhow::Result<ExitCode> {
    let Some(envelope) = DECODERS.iter().find(|envelope| envelope.name == name) else {
        output::complain(&format!("there is no format `{name}`; `tripline formats` lists them"));
        return Ok(ExitCode::from(exit::USAGE));
    };
    let mut record = envelope.record(EVENT);
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        record.push(b'\n');
    }
    match out.write_all(&record).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(exit::OK),
    }
}

fn text() -> String {
    let width = DECODERS.iter().map(|envelope| envelope.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Envelope { name, summary, .. } in DECODERS {
        let mut line = format!("{name:<width$} ");
        for word in summary.split(' ') {
            if line.chars().count() + 1 + word.chars().count() > LINE_WIDTH {
                text.push_str(&line);
                text.push('\n');
                line = format!("{:width$} ", "");
            }
            line.push(' ');
            line.push_str(word);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn json_table() -> Value {
    let entry = |envelope: &Envelope| json!({"name": envelope.name, "summary": envelope.summary});
    DECODERS.iter().map(entry).collect()
}

/// The table of docs/intake.md.
fn markdown() -> String {
    let mut text = "| format | what it is |\n|---|---|\n".to_owned();
    for Envelope { name, summary, .. } in DECODERS {
        text.push_str(&format!("| `{name}` | {} |\n", summary.replace('|', "\\|")));
    }
    text
}
