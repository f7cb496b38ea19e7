//! `tripline run`: the process that people leave running.

use std::process::ExitCode;

use clap::Args;

use super::{ConfigArgs, check::everything_found, exit, output};
use crate::{
    app::{
        configuration::Configuration,
        run::{RunEnd, RunError, run},
    },
    engine::{
        diagnostic::{Diagnostic, DiagnosticLevel},
        text::counted,
    },
    notify::print_to_stdout,
    source::SourceError,
    store::StoreError,
    telemetry::start_logs,
};

/// Read audit events, apply the rules, tell people.
///
/// Everything that is wrong with configuration and rules is shown before anything is read. SIGTERM or
/// Ctrl-C stops it: it finishes what it holds, and what receivers have not taken yet is sent by the next
/// start. SIGHUP and `POST /-/reload` load the rules again, as does any change of their files.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  it was told to stop, or all files were read to their end
  1  something outside failed, such as a port in use; a restart may help
  2  configuration or rules are wrong; nothing was read
  3  another process has taken over the stream
  4  the state or the ledger is in use by another process, or the state was written by a newer version

Examples:
  tripline run
  tripline run --config /etc/tripline/tripline.yaml
  tripline run --set log.level=debug --set http.listen=127.0.0.1:9999")]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

#[expect(clippy::unnecessary_wraps, reason = "every command has this form")]
pub(super) fn execute(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let Ok((configuration, mut warnings)) = Configuration::read(&args.config.input()) else {
        // With what is wrong in the rules, so that nobody mends one thing only to be told the next.
        return Ok(refuse(&everything_found(&args.config)));
    };
    let general = &configuration.general;
    let rules = match configuration.rule_files().load(general.engine.resolve_after) {
        Ok(rules) => rules,
        Err(problems) => {
            warnings.extend(problems);
            return Ok(refuse(&warnings));
        }
    };
    start_logs(general.log, output::stderr_colours());
    for warning in warnings.iter().chain(&rules.warnings) {
        tracing::warn!("{}", warning.one_line());
    }
    Ok(match run(configuration, rules, print_to_stdout(output::stdout_colours())) {
        Ok(RunEnd::Stopped { pending_count: 0 } | RunEnd::Finished) => exit::OK,
        Ok(RunEnd::Stopped { pending_count }) => {
            tracing::warn!(pending_count, "stopped; what is owed will be sent by the next start");
            exit::OK
        }
        Err(RunError::Configuration(problems)) => refuse(&problems),
        Err(error) => {
            output::complain(&error.to_string());
            ExitCode::from(match error {
                RunError::Source(SourceError::Fenced { .. }) => exit::FENCED,
                RunError::Source(SourceError::Config(_))
                | RunError::Configuration(_)
                | RunError::SigningKey(_) => exit::USAGE,
                RunError::Ledger(_)
                | RunError::Store(StoreError::Newer { .. } | StoreError::Locked { .. }) => {
                    exit::STATE
                }
                RunError::Source(SourceError::Fatal(_))
                | RunError::Broken { .. }
                | RunError::Store(
                    StoreError::Io { .. } | StoreError::Full { .. } | StoreError::Gone { .. },
                )
                | RunError::Server(_)
                | RunError::System(_) => exit::FAILURE,
            })
        }
    })
}

/// Shows what is wrong; nothing was consumed.
fn refuse(problems: &[Diagnostic]) -> ExitCode {
    let colours = output::stderr_colours();
    for problem in problems {
        output::tell(&problem.render(colours));
    }
    let errors = problems.iter().filter(|p| p.level == DiagnosticLevel::Error).count();
    output::complain(&format!("not started: {}", counted(errors, "error")));
    ExitCode::from(exit::USAGE)
}
