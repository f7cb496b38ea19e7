//! `tripline check`: everything that is wrong with configuration and rules, without running.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{exit, output};
use crate::{
    config::{Document, General, Input, variables},
    engine::diagnostic::{Diagnostic, DiagnosticLevel},
};

/// Show everything that is wrong with configuration and rules.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tripline check
  tripline check --config /etc/tripline/tripline.yaml --strict")]
pub(super) struct CheckArgs {
    /// Configuration file.
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "TRIPLINE_CONFIG",
        default_value = "tripline.yaml"
    )]
    config: PathBuf,
    /// Set one value of the configuration, over file and environment.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = super::assignment)]
    overrides: Vec<(String, String)>,
    /// Let warnings count as errors.
    #[arg(long)]
    strict: bool,
}

pub(super) fn execute(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let input = Input {
        path: args.config.clone(),
        environment: variables(),
        overrides: args.overrides.clone(),
    };
    let problems = match check(&input) {
        Ok(warnings) => warnings,
        Err(problems) => problems,
    };
    let colours = output::stdout_colours();
    let mut text = String::new();
    for problem in &problems {
        text.push_str(&problem.render(colours));
        text.push('\n');
    }
    let failed = problems.iter().any(|p| args.strict || p.level == DiagnosticLevel::Error);
    let word = if failed { "failed" } else { "ok" };
    let counts = output::count_problems(&problems);
    text.push_str(&format!("{}: {word}, {counts}\n", args.config.display()));
    output::print_all(&text)?;
    Ok(if failed { ExitCode::from(exit::USAGE) } else { exit::OK })
}

fn check(input: &Input) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let document = Document::read(input)?;
    let read = document.parse(|root| {
        for open in ["sources", "receivers", "route"] {
            root.has(open);
        }
        General::parse(root, document.base())
    });
    read.map(|(_, warnings)| warnings)
}
