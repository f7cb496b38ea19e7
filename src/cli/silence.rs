//! `tripline silence`: alerts that are not told for a time.
#![allow(clippy::indexing_slicing, reason = "JSON answers `null` for what is not there")]

use std::{fmt::Write as _, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::acting::{ByArgs, ServerArgs, items, text_of};

/// Hide alerts of a running Tripline for a time: nobody is told of what matches.
///
/// Matchers are Alertmanager's: label=value, label!=value, label=~regex, label!~regex; all must match. Alerts
/// go on firing, and those that still do when the silence ends are told then. Who was told that an alert fires is told
/// of its end.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  shown, or done and durable
  1  there is no such silence, the id is of another act, Tripline cannot be reached, or its store fails
  2  a matcher or a time is wrong

Examples:
  tripline silence preview alertname=exec_into_pod namespace=~'dev-.*'
  tripline silence add --for 2h --reason 'we test the pods of dev' --by ann alertname=exec_into_pod namespace=~'dev-.*'
  tripline silence list
  tripline silence end 5d41402abc4b2a76b9719d911017c592 --why 'done'")]
pub(super) struct SilenceArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Hide what matches, from now on or later.
    Add {
        /// All must match.
        #[arg(required = true, value_name = "MATCHER")]
        matchers: Vec<String>,
        /// Why, for whoever asks.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// For how long: 30m, 2h, 3d.
        #[arg(long = "for", value_name = "SPAN", required_unless_present = "until")]
        span: Option<String>,
        /// Until when: 2026-11-30T08:00:00Z.
        #[arg(long, value_name = "TIME", conflicts_with = "span")]
        until: Option<String>,
        /// From when; at once if not given.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        #[command(flatten)]
        by: ByArgs,
    },
    /// Those that run, those to come, and those that are over.
    List,
    /// End one before its time: what still fires is told.
    End {
        /// As `list` shows it.
        silence: String,
        /// Why.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        why: String,
        #[command(flatten)]
        by: ByArgs,
    },
    /// What a silence would hide now, and would have hidden in the last 24 hours.
    Preview {
        /// All must match.
        #[arg(required = true, value_name = "MATCHER")]
        matchers: Vec<String>,
    },
}

pub(super) fn execute(args: &SilenceArgs) -> anyhow::Result<ExitCode> {
    let server = &args.server;
    match &args.action {
        Action::Add { matchers, reason, span, until, from, by } => {
            let mut body = json!({ "matchers": matchers, "reason": reason });
            for (name, value) in [("for", span), ("ends_at", until), ("starts_at", from)] {
                if let Some(value) = value {
                    body[name] = value.as_str().into();
                }
            }
            let id = by.put_into(&mut body);
            server.send("/api/v1/silences", &body, Some(&id), told)
        }
        Action::List => server.show(&server.get("/api/v1/silences")?, |answer| {
            items(answer, "/silences").fold(String::new(), |text, one| text + &lines(one))
        }),
        Action::End { silence, why, by } => {
            let mut body = json!({ "why": why });
            let id = by.put_into(&mut body);
            let name: String = silence.chars().filter(char::is_ascii_alphanumeric).collect();
            server.send(&format!("/api/v1/silences/{name}/end"), &body, Some(&id), told)
        }
        Action::Preview { matchers } => {
            let body = json!({ "matchers": matchers });
            server.send("/api/v1/silences/preview", &body, None, preview)
        }
    }
}

fn told(answer: &Value) -> String {
    answer.get("silence").map(lines).unwrap_or_default()
}

/// A silence in two lines: which and what, then who and why.
fn lines(silence: &Value) -> String {
    let part = |pointer: &str| text_of(silence, pointer);
    let count = |name: &str| silence.get(name).and_then(Value::as_u64).unwrap_or(0);
    let matchers: Vec<&str> = items(silence, "/matchers").filter_map(Value::as_str).collect();
    let mut text = format!(
        "{}  {:<7} {} to {}  {{{}}}\n    {}: {}; hides {}, has hidden {}",
        part("/id"),
        part("/state"),
        part("/starts_at"),
        part("/ends_at"),
        crate::engine::text::printable(&matchers.join(",")),
        part("/author/name"),
        part("/reason"),
        count("hiding_count"),
        count("hidden_count")
    );
    if silence.pointer("/ended_by/name").is_some() {
        let _ = write!(text, "; ended by {}", part("/ended_by/name"));
        if !part("/ended_because").is_empty() {
            let _ = write!(text, ": {}", part("/ended_because"));
        }
    }
    text + "\n"
}

fn preview(answer: &Value) -> String {
    let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mut text = format!(
        "{} of {} alerts that fire would be hidden; {} in the last 24 hours\n",
        count("firing_count"),
        count("all_firing_count"),
        count("last_24h_count")
    );
    for alert in items(answer, "/alerts") {
        let part = |pointer: &str| text_of(alert, pointer);
        let state = if alert.get("firing") == Some(&true.into()) { "fires" } else { "ended" };
        let already = alert.get("silenced_already") == Some(&true.into());
        let _ = writeln!(
            text,
            "{}  {:<13} {state} {}  {}{}",
            part("/fingerprint"),
            part("/severity"),
            part("/starts_at"),
            part("/rule_title"),
            if already { "  [silenced already]" } else { "" }
        );
    }
    text
}
