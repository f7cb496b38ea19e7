//! `tripline version`: what runs here.

use std::process::ExitCode;

use clap::Args;

use super::{exit, output};

/// Print the version.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  tripline version")]
pub(super) struct VersionArgs {}

pub(super) fn execute(_args: &VersionArgs) -> anyhow::Result<ExitCode> {
    output::print_all(&format!("tripline {}\n", env!("CARGO_PKG_VERSION")))?;
    Ok(exit::OK)
}
