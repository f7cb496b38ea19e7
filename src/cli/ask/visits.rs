//! `tripline visits`: who was there, from when to when, and how much they did.

use std::process::ExitCode;

use clap::Args;

use super::{AskArgs, flag};
use crate::ask::{Params, visits::QUESTION};

/// Show visits: what one actor did in one cluster without a long pause.
///
/// Those that needed the power of an administrator come first.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline visits --since 7d
  tripline visits --actor anna@example.org --since 30d --pause 1h --format csv
  tripline visits --since 7d --server http://127.0.0.1:9464")]
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
    let params = Params::default()
        .with("actor", args.actor.clone())
        .with("pause", args.pause.clone())
        .with("machines", flag(args.machines));
    args.ask.answer(&QUESTION, params)
}
