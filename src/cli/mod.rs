//! The command line: one file per command, each with its arguments and an `execute`.
//!
//! Standard output carries what a command was asked for and nothing else; everything else goes to
//! standard error. Exit codes are those of [`exit`], the same for every command.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod acting;
mod alerts;
mod ask;
mod backtest;
mod check;
mod dead_letters;
mod demo;
mod evidence;
mod explain;
mod formats;
mod generate;
mod ledger;
mod output;
mod policy;
mod remote;
mod report;
mod run;
mod schema;
mod shipped;
mod signals;
mod silence;
mod test;
mod version;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::config::{Input, variables};

pub use crate::{report::shipped_frameworks, rule_test};
pub use output::Colour;
pub use shipped::shipped_rules;

/// Exit codes. They are a contract: scripts and unit files rely on them.
pub mod exit {
    use std::process::ExitCode;

    /// All went well.
    pub const OK: ExitCode = ExitCode::SUCCESS;
    /// The command did its work and the answer is no, such as a test that failed; or the world
    /// failed in a way that a restart may fix.
    pub const FAILURE: u8 = 1;
    /// Command line, configuration or rules are wrong. A restart does not help.
    pub const USAGE: u8 = 2;
    /// Another process has taken over the stream.
    pub const FENCED: u8 = 3;
    /// The state cannot be used: another process has it open, or a newer version wrote it.
    pub const STATE: u8 = 4;
    /// The command did its work, and what it has does not show the answer.
    pub const UNDECIDED: u8 = 5;
    /// Ended early by Ctrl-C or SIGTERM, with part of the answer.
    pub const INTERRUPTED: u8 = 130;
}

const EXIT_CODES: &str = "Exit codes:
  0  all went well
  1  the answer is no (a test failed, …), or something outside failed and a restart may help
  2  command line, configuration or rules are wrong; nothing was consumed
  3  another Tripline process has taken over the stream; this one stopped and delivers nothing more
  4  the state directory or the ledger is in use by another process, or the state was written by a newer version
  5  what there is does not show the answer: evidence of a rule that compares with what came before
  130  ended by Ctrl-C before all was done; a backtest shows what it had found";

/// Watches Kubernetes audit events and tells people about abnormal access.
#[derive(Parser, Debug)]
#[command(name = "tripline", version, after_help = EXIT_CODES, arg_required_else_help = true)]
#[command(propagate_version = false, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Use colours: auto (on terminals, unless NO_COLOR is set; CLICOLOR_FORCE wins elsewhere), always or never.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    #[arg(hide_possible_values = true, display_order = 900)]
    color: Colour,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(run::RunArgs),
    Alerts(alerts::AlertsArgs),
    Backtest(backtest::BacktestArgs),
    Check(check::CheckArgs),
    Coverage(ask::coverage::CoverageArgs),
    DeadLetters(dead_letters::DeadLettersArgs),
    Demo(demo::DemoArgs),
    Evidence(evidence::EvidenceArgs),
    Explain(explain::ExplainArgs),
    Formats(formats::FormatsArgs),
    Generate(generate::GenerateArgs),
    Ledger(ledger::LedgerArgs),
    Permissions(ask::permissions::PermissionsArgs),
    Policy(policy::PolicyArgs),
    Report(report::ReportArgs),
    Sample(report::SampleArgs),
    Schema(schema::SchemaArgs),
    Sessions(ask::sessions::SessionsArgs),
    Silence(silence::SilenceArgs),
    Test(test::TestArgs),
    Timeline(ask::timeline::TimelineArgs),
    Version(version::VersionArgs),
    Visits(ask::visits::VisitsArgs),
    WhoDid(ask::who_did::WhoDidArgs),
}

/// Runs the command that this process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    output::choose(cli.color);
    let outcome = match &cli.command {
        Command::Run(args) => run::execute(args),
        Command::Alerts(args) => alerts::execute(args),
        Command::Backtest(args) => backtest::execute(args),
        Command::Check(args) => check::execute(args),
        Command::Coverage(args) => ask::coverage::execute(args),
        Command::DeadLetters(args) => dead_letters::execute(args),
        Command::Demo(args) => demo::execute(args),
        Command::Evidence(args) => evidence::execute(args),
        Command::Explain(args) => explain::execute(args),
        Command::Formats(args) => formats::execute(args),
        Command::Generate(args) => generate::execute(args),
        Command::Ledger(args) => ledger::execute(args),
        Command::Permissions(args) => ask::permissions::execute(args),
        Command::Policy(args) => policy::execute(args),
        Command::Report(args) => report::execute(args),
        Command::Sample(args) => report::execute_sample(args),
        Command::Schema(args) => schema::execute(args),
        Command::Sessions(args) => ask::sessions::execute(args),
        Command::Silence(args) => silence::execute(args),
        Command::Test(args) => test::execute(args),
        Command::Timeline(args) => ask::timeline::execute(args),
        Command::Version(args) => version::execute(args),
        Command::Visits(args) => ask::visits::execute(args),
        Command::WhoDid(args) => ask::who_did::execute(args),
    };
    outcome.unwrap_or_else(|error| {
        if output::is_broken_pipe(&error) {
            // Whoever read our output has seen enough, as `head` has.
            return exit::OK;
        }
        output::complain(&format!("{error:#}"));
        ExitCode::from(exit::FAILURE)
    })
}

/// Whether there is such a command with such arguments: what reports print is held to it.
///
/// # Errors
/// Why not, as it would be said.
pub fn check_arguments<S: Into<std::ffi::OsString> + Clone>(
    words: impl IntoIterator<Item = S>,
) -> Result<(), String> {
    Cli::try_parse_from(words).map(drop).map_err(|error| error.to_string())
}

/// The arguments of every command that reads the configuration.
#[derive(Args, Clone, Debug)]
struct ConfigArgs {
    /// Configuration file; `tripline.yaml` if not given.
    #[arg(long = "config", short = 'c', value_name = "FILE", env = "TRIPLINE_CONFIG")]
    path: Option<PathBuf>,
    /// Set one value of the configuration, over file and environment; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    overrides: Vec<(String, String)>,
}

impl ConfigArgs {
    /// Whether the command line says nothing about the configuration.
    fn is_default(&self) -> bool {
        self.path.is_none() && self.overrides.is_empty()
    }

    fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("tripline.yaml"))
    }

    /// File, environment and overrides.
    fn input(&self) -> Input {
        Input {
            path: self.path().to_owned(),
            environment: variables(),
            overrides: self.overrides.clone(),
        }
    }
}

/// Splits `PATH=VALUE`, for `--set`.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("write PATH=VALUE, such as log.level=debug")?;
    Ok((path.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_says_what_it_does() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands_mut() {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "{}: no summary", sub.get_name());
            let help = sub.render_long_help().to_string();
            assert!(help.contains("tripline "), "{}: no example", sub.get_name());
        }
    }
}
