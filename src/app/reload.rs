//! Changes the rules while Tripline runs: on a changed file, on SIGHUP, on `POST /-/reload`.
//!
//! Files are looked at by content, not by events of the file system: a ConfigMap is swapped by a
//! symbolic link, network file systems send no events, and reading some hundred small files every few
//! seconds costs nothing. A set is taken whole or not at all. A refused one leaves the last good one
//! running, and says so by log, metric and alert.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    config::rules_dir::read_rules_dir,
    engine::{
        alert::AlertState,
        diagnostic::{Diagnostic, DiagnosticLevel},
        rule::{self, LoadOptions, RuleSet, RuleSources},
    },
    server::{Health, Status},
    telemetry::Metrics,
};

use super::{counted, pipeline::Pipeline, self_alert};

/// Rules with the warnings that came with them.
pub struct LoadedRules {
    /// The set.
    pub rules: Arc<RuleSet>,
    /// Warnings only.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and compiles a rule directory.
///
/// # Errors
/// Everything that is wrong, warnings included.
pub fn load_rules(
    directory: &std::path::Path,
    resolve_after: Duration,
) -> Result<LoadedRules, Vec<Diagnostic>> {
    compile(&read_rules_dir(directory)?, resolve_after)
}

fn compile(sources: &RuleSources, resolve_after: Duration) -> Result<LoadedRules, Vec<Diagnostic>> {
    let options = LoadOptions { resolve_after, now: Some(super::pipeline::now()) };
    let loaded = rule::load(sources, &options);
    match loaded.rules {
        Some(rules) => Ok(LoadedRules { rules: Arc::new(rules), warnings: loaded.diagnostics }),
        None => Err(loaded.diagnostics),
    }
}

/// What came of one look at the rule files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// Nothing changed since the last look.
    Unchanged,
    /// A new set runs.
    Loaded {
        /// How many rules.
        rules: usize,
    },
    /// The last good set goes on; this is what is wrong, one line each.
    Refused(Vec<String>),
}

/// Looks at a rule directory for as long as a pipeline runs.
pub struct Reloader {
    directory: PathBuf,
    resolve_after: Duration,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    /// Content that was last tried, whether it was good or not.
    tried: String,
    failing: bool,
}

impl Reloader {
    /// For a pipeline that already runs what is in `directory` now.
    pub fn new(
        directory: PathBuf,
        resolve_after: Duration,
        metrics: Arc<Metrics>,
        status: Arc<Status>,
    ) -> Reloader {
        let tried = content(&read_rules_dir(&directory));
        Reloader { directory, resolve_after, metrics, status, tried, failing: false }
    }

    /// Looks once; with `force`, loads even what has not changed.
    pub fn look(&mut self, pipeline: &Pipeline, force: bool) -> ReloadOutcome {
        let read = read_rules_dir(&self.directory);
        let hash = content(&read);
        if hash == self.tried && !force {
            return ReloadOutcome::Unchanged;
        }
        self.tried = hash;
        match read.and_then(|sources| compile(&sources, self.resolve_after)) {
            Ok(LoadedRules { rules, warnings }) => {
                for warning in &warnings {
                    tracing::warn!("{}", warning.one_line());
                }
                let count = rules.rules.len();
                tracing::info!(rules = count, version = rules.version, "rules reloaded");
                pipeline.replace_rules(rules);
                self.metrics.reload(true);
                self.status.set_component("rules", Health::Ok, &counted(count, "rule"));
                if std::mem::take(&mut self.failing) {
                    tell(pipeline, AlertState::Resolved, "");
                }
                ReloadOutcome::Loaded { rules: count }
            }
            Err(problems) => {
                let lines: Vec<String> = problems
                    .iter()
                    .filter(|problem| problem.level == DiagnosticLevel::Error)
                    .map(Diagnostic::one_line)
                    .collect();
                for line in &lines {
                    tracing::error!("{line}");
                }
                tracing::error!(
                    problems = lines.len(),
                    "rules not reloaded; the last good set goes on"
                );
                self.metrics.reload(false);
                self.status.reload_failed(&lines.join("\n"));
                let detail = "the last edit was refused; the rules before it go on";
                self.status.set_component("rules", Health::Degraded, detail);
                self.failing = true;
                let shown: Vec<&str> = lines.iter().take(10).map(String::as_str).collect();
                tell(pipeline, AlertState::Firing, &shown.join("\n"));
                ReloadOutcome::Refused(lines)
            }
        }
    }
}

fn tell(pipeline: &Pipeline, state: AlertState, detail: &str) {
    pipeline.tell(self_alert::reload_failed(super::pipeline::now(), state, detail));
}

/// A hash of everything that was read, or of what went wrong.
fn content(read: &Result<RuleSources, Vec<Diagnostic>>) -> String {
    match read {
        Ok(sources) => sources.version(),
        Err(problems) => problems.iter().map(Diagnostic::one_line).collect::<Vec<_>>().join("\n"),
    }
}
