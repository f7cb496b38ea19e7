//! `tripline sessions`: exec, attach, port-forward and proxy, running and ended.

use std::process::ExitCode;

use clap::Args;

use super::{AskArgs, flag};
use crate::ask::{Params, sessions::QUESTION};

/// Show sessions: who entered what, with which command, for how long.
///
/// Those that were open at some moment of the time, as far as they began in it or in the 12 hours before, or ended in it.
/// `opened` is what has no end in the log, be it behind that time: it runs, or its end was not recorded. A status of 101 says that the stream was opened, not that the command began.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline sessions --since 7d
  tripline sessions -n payments --actor anna@example.org --since 90d --format jsonl
  tripline sessions --running --server http://127.0.0.1:9464")]
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

pub(in crate::cli) fn execute(args: &SessionsArgs) -> anyhow::Result<ExitCode> {
    let params = Params::default()
        .with("actor", args.actor.clone())
        .with("namespace", args.namespace.clone())
        .with("pod", args.pod.clone())
        .with("running", flag(args.running));
    args.ask.answer(&QUESTION, params)
}
