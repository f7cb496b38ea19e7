//! `tripline coverage`: what was seen, hour by hour, and what may be missing.

use std::process::ExitCode;

use clap::Args;

use super::{AskArgs, flag};
use crate::ask::{Params, coverage::QUESTION};

/// Show what was seen of each cluster, hour by hour.
///
/// `complete`: events came, and none was damaged. `degraded`: some could not be read, were cut, came late or were not
/// counted, or accesses were not recorded. What cannot be read is missing in every hour from what came before it to what
/// comes next: nobody knows of which it is. `lost`: records were deleted before they were read. `silent`:
/// the source could be read, and said nothing. `not observed`: nobody looked. `open`: it is not told yet, since event time
/// has not passed its end. What the API server dropped
/// before anybody could see it leaves no trace: its own metrics tell (`apiserver_audit_error_total`).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline coverage --since 7d
  tripline coverage --since 30d --problems --format csv
  tripline coverage --since 7d --server http://127.0.0.1:9464")]
pub(in crate::cli) struct CoverageArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Only hours that are not complete, and are not open still in their time.
    #[arg(long)]
    problems: bool,
}

pub(in crate::cli) fn execute(args: &CoverageArgs) -> anyhow::Result<ExitCode> {
    args.ask.answer(&QUESTION, Params::default().with("problems", flag(args.problems)))
}
