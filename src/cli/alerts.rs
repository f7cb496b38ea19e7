//! `tripline alerts`: what fires in a running Tripline, and ending an alert by hand.

use std::{io::Write as _, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{exit, output};
use crate::engine::{alert::Fingerprint, text::printable};

/// How long the running process may take to answer: 40 s, longer than it waits for its store.
const ANSWER_WAIT: Duration = Duration::from_secs(40);

/// Show the alerts that fire in a running Tripline, or end one by hand.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  shown, or ended and durable
  1  no such alert fires, or Tripline cannot be reached
  2  that is no fingerprint

Examples:
  tripline alerts list
  tripline alerts resolve 3f0c7e1e57a04d0e9a7b3f6f2f3b8a01 --by ann --why 'a test of ours'")]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    action: Action,
    /// Where the running Tripline serves HTTP.
    #[arg(long, global = true, default_value = "http://127.0.0.1:9464", value_name = "URL")]
    #[arg(env = "TRIPLINE_URL")]
    url: String,
    /// File with a bearer token, if it asks for one.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// One line for each alert that fires, the worst first.
    List,
    /// End an alert, whatever its rule says; who and why goes to receivers and into the ledger.
    Resolve {
        /// As `list` and every notification show it.
        fingerprint: String,
        /// Who ends it.
        #[arg(long, value_name = "NAME")]
        by: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        why: String,
    },
}

pub(super) fn execute(args: &AlertsArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(execute_in(args))
}

async fn execute_in(args: &AlertsArgs) -> anyhow::Result<ExitCode> {
    let client = crate::tls::http(Vec::new()).map_err(anyhow::Error::msg)?;
    let client = client.timeout(ANSWER_WAIT).build()?;
    let base = format!("{}/api/v1/alerts", args.url.trim_end_matches('/'));
    let request = match &args.action {
        Action::List => client.get(&base),
        Action::Resolve { fingerprint, by, why } => {
            if fingerprint.parse::<Fingerprint>().is_err() {
                output::complain("a fingerprint has 32 hexadecimal digits");
                return Ok(ExitCode::from(exit::USAGE));
            }
            let body = json!({ "by": by, "why": why });
            client.post(format!("{base}/{fingerprint}/resolve")).json(&body)
        }
    };
    let request = match &args.token_file {
        None => request,
        Some(path) => {
            let token = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            request.bearer_auth(token.trim())
        }
    };
    let answer = request
        .send()
        .await
        .with_context(|| format!("Tripline at {} does not answer", args.url))?;
    let (status, text) = (answer.status(), answer.text().await?);
    if !status.is_success() {
        bail!("{}", printable(text.trim()));
    }
    let mut out = std::io::stdout().lock();
    match args.action {
        Action::List => {
            let body: Value = serde_json::from_str(&text)?;
            for alert in body.get("alerts").and_then(Value::as_array).into_iter().flatten() {
                writeln!(out, "{}", line(alert))?;
            }
        }
        Action::Resolve { .. } => writeln!(out, "{}", printable(text.trim()))?,
    }
    Ok(exit::OK)
}

/// Fingerprint, severity, since when, and what it says.
fn line(alert: &Value) -> String {
    let text = |path: &str| alert.pointer(path).and_then(Value::as_str).unwrap_or_default();
    format!(
        "{}  {:<13} {}  {}",
        text("/fingerprint"),
        text("/severity"),
        text("/starts_at"),
        printable(text("/annotations/summary"))
    )
}
