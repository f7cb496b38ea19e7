//! `tripline timeline`: what happened, in the order of time.

use std::process::ExitCode;

use clap::Args;

use super::{AskArgs, PageArgs};
use crate::ask::{Params, timeline::QUESTION};

/// Show what somebody did, or what was done to something, with alerts between.
///
/// Times are those of the events. Each access has the address it came from, the permission that allowed
/// it, and a line that reads like the kubectl command by which it may have been done.
///
/// Like requests are rolled up: one row stands for them, where the first was, and is shown if the first or the last lies in
/// the time or it lies between them. It comes when its time is over: with the shipped rules at the end of the hour.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  the answer was printed, be it that there is nothing
  1  the ledger cannot be read
  2  a time, a zone or a name is wrong; the nearest ones are shown

Examples:
  tripline timeline --actor anna@example.org --since 24h
  tripline timeline --resource secrets --name db-password -n payments --since 90d
  tripline timeline --alert 3f9c2b1a… --around 30m
  tripline timeline --source 10.8.1.24 --from '2026-11-29 09:00' --to '2026-11-29 10:00' --zone Europe/Rome
  tripline timeline --actor anna@example.org --format jsonl | jq .object
  tripline timeline --actor anna@example.org --server https://tripline.example.org --token-file token")]
pub(in crate::cli) struct TimelineArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Who acted, or on whose behalf.
    #[arg(long, value_name = "USER")]
    actor: Option<String>,
    /// To what: `secrets`, `pods/exec`, `deployments.apps`.
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// To which one.
    #[arg(long, value_name = "NAME", requires = "resource")]
    name: Option<String>,
    /// In which namespace.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// From which address.
    #[arg(long, value_name = "IP")]
    source: Option<String>,
    /// With which credential.
    #[arg(long, value_name = "ID")]
    credential: Option<String>,
    /// By which permission: `RoleBinding shop/edit`, `system:masters`.
    #[arg(long, value_name = "BINDING")]
    permission: Option<String>,
    /// Of which class.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// With which verb: `get`, `list`, `create`.
    #[arg(long, value_name = "VERB")]
    verb: Option<String>,
    /// With which outcome: `success`, `denied`, `error`.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Around the alert with this fingerprint.
    #[arg(long, value_name = "FINGERPRINT", conflicts_with_all = ["since", "from", "to"])]
    alert: Option<String>,
    /// How long before and after the alert; 30m, if it is left out.
    #[arg(long, value_name = "SPAN", requires = "alert")]
    around: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

pub(in crate::cli) fn execute(args: &TimelineArgs) -> anyhow::Result<ExitCode> {
    let params = Params::default()
        .with("actor", args.actor.clone())
        .with("resource", args.resource.clone())
        .with("name", args.name.clone())
        .with("namespace", args.namespace.clone())
        .with("source", args.source.clone())
        .with("credential", args.credential.clone())
        .with("permission", args.permission.clone())
        .with("class", args.class.clone())
        .with("verb", args.verb.clone())
        .with("outcome", args.outcome.clone())
        .with("alert", args.alert.clone())
        .with("around", args.around.clone());
    args.ask.answer(&QUESTION, args.page.params(params))
}
