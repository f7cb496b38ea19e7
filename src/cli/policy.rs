//! `tripline policy`: the audit policy that rules need, or what an existing one hides from them.

use std::{fs, path::Path, path::PathBuf, process::ExitCode};

use clap::Args;

use super::{
    check::{explain, format},
    exit, output,
};
use crate::{
    app::reload::load_rules,
    engine::{
        diagnostic::{DiagnosticLevel, Format, SourceText, render_explained},
        policy::{check, generate},
        rule::RuleSet,
        settings::EngineSettings,
        text::counted,
    },
};

/// Print the Kubernetes audit policy that the rules need, or check an existing one.
///
/// The policy is generated from the compiled rules: it records every request that could satisfy one of
/// them, at the level that the rule's condition needs, and nothing else.
///
/// With --check, each rule is held against an existing policy, as the API server reads it: the first
/// entry that fits decides. A rule is blind if nothing that it names is recorded as it needs it. It may
/// be blind if that depends on the data, such as on who asks.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  the policy was printed; or no rule is blind
  1  a rule is blind; or the policy cannot record everything, and standard error says why
  2  rules or policy are wrong, or cannot be read

Examples:
  tripline policy --rules rules/ > audit-policy.yaml
  tripline policy --rules rules/ --check /etc/kubernetes/audit-policy.yaml
  tripline policy --check audit-policy.yaml --format github")]
pub(super) struct PolicyArgs {
    /// Directory with rule files, or one rule file.
    #[arg(long, value_name = "DIR", default_value = "rules")]
    rules: PathBuf,
    /// Show what this policy hides from the rules.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// How to write what was found: text, json, sarif or github.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = format)]
    #[arg(requires = "check")]
    format: Format,
    /// Let what may be blind count as blind.
    #[arg(long, requires = "check")]
    strict: bool,
}

pub(super) fn execute(args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    let rules = match load_rules(&args.rules, EngineSettings::default().resolve_after) {
        Ok(loaded) => loaded.rules,
        Err(problems) => return Ok(output::refuse(&problems, "nothing was done")),
    };
    if let Some(path) = &args.check {
        return check_policy(args, &rules, path);
    }
    let policy = generate(&rules);
    for warning in &policy.warnings {
        output::tell(&format!("warning: {warning}"));
    }
    output::print_all(&policy.yaml)?;
    Ok(if policy.is_complete { exit::OK } else { ExitCode::from(exit::FAILURE) })
}

fn check_policy(args: &PolicyArgs, rules: &RuleSet, path: &Path) -> anyhow::Result<ExitCode> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            output::complain(&format!("cannot read {}: {error}", path.display()));
            return Ok(ExitCode::from(exit::USAGE));
        }
    };
    let checked = check(rules, &SourceText::new(path.display().to_string(), text));
    let mut text =
        render_explained(&checked.diagnostics, args.format, output::stdout_colours(), explain);
    let failed = checked
        .diagnostics
        .iter()
        .any(|found| args.strict || found.level == DiagnosticLevel::Error);
    if args.format == Format::Text && checked.is_usable {
        let rules = counted(checked.rule_count, "rule");
        text.push_str(&match checked.blind_count {
            0 => {
                let known = if checked.is_whole { "" } else { "known to be " };
                format!(
                    "{}: of {rules} that look at events, none is {known}blind\n",
                    path.display()
                )
            }
            blind => format!(
                "{}: of {rules} that look at events, {blind} blind; `tripline policy` prints a \
                 policy that suffices\n",
                path.display()
            ),
        });
    }
    output::print_all(&text)?;
    Ok(match (checked.is_usable, failed) {
        (false, _) => ExitCode::from(exit::USAGE),
        (true, true) => ExitCode::from(exit::FAILURE),
        (true, false) => exit::OK,
    })
}
