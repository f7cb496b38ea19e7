//! `tripline policy`: the audit policy that rules need, or what an existing one hides from them.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{exit, output};
use crate::{
    app::reload::load_rules,
    engine::{policy::generate, settings::EngineSettings},
};

/// Print the Kubernetes audit policy that the rules need, or check an existing one.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline policy --rules rules/ > audit-policy.yaml")]
pub(super) struct PolicyArgs {
    /// Directory with rule files, or one rule file.
    #[arg(long, value_name = "DIR", default_value = "rules")]
    rules: PathBuf,
}

pub(super) fn execute(args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    let rules = match load_rules(&args.rules, EngineSettings::default().resolve_after) {
        Ok(loaded) => loaded.rules,
        Err(problems) => return Ok(output::refuse(&problems, "no policy was made")),
    };
    let policy = generate(&rules);
    for warning in &policy.warnings {
        output::tell(&format!("warning: {warning}"));
    }
    output::print_all(&policy.yaml)?;
    Ok(if policy.is_complete { exit::OK } else { ExitCode::from(exit::FAILURE) })
}
