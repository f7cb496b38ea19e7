//! `tripline who-did`: who did something to something.

use std::process::ExitCode;

use clap::Args;

use super::{AskArgs, PageArgs};
use crate::ask::{Params, who_did::QUESTION};

/// Show who did something to something: who read a secret, who deleted a deployment.
///
/// Lists and watches that covered the object count, and are marked; so does a deletion of all. What is rolled up comes
/// when its time is over: with the shipped rules at the end of the hour.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline who-did get secrets db-password -n payments --since 90d
  tripline who-did delete deployments -n shop --since 7d
  tripline who-did create pods/exec -n shop --since 7d
  tripline who-did '*' clusterrolebindings --since 30d --format jsonl
  tripline who-did get secrets -n payments --server http://127.0.0.1:9464")]
pub(in crate::cli) struct WhoDidArgs {
    /// What was done: get, list, watch, create, update, patch, delete; '*' for anything.
    #[arg(value_name = "VERB")]
    verb: String,
    /// To what: `secrets`, `pods/exec`, `deployments.apps`.
    #[arg(value_name = "RESOURCE")]
    resource: String,
    /// To which one.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// In which namespace.
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    page: PageArgs,
}

pub(in crate::cli) fn execute(args: &WhoDidArgs) -> anyhow::Result<ExitCode> {
    let params = Params::default()
        .with("verb", Some(&args.verb))
        .with("resource", Some(&args.resource))
        .with("name", args.name.clone())
        .with("namespace", args.namespace.clone());
    args.ask.answer(&QUESTION, args.page.params(params))
}
