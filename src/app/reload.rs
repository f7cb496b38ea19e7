//! Changes the rules while Tripline runs: on a changed file, on SIGHUP, on `POST /-/reload`.
//!
//! Files are looked at by content, not by events of the file system: a ConfigMap is swapped by a
//! symbolic link, network file systems send no events, and reading some hundred small files every few
//! seconds costs nothing. A change is taken once it has come to rest, since files are copied one by one.
//! A set is taken whole or not at all. A refused one leaves the last good one
//! running, and says so by log, metric and alert.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::oneshot;

use crate::{
    config::rules_dir::read_rules_dir,
    engine::{
        diagnostic::{Diagnostic, DiagnosticLevel, Format, render_all},
        rule::{self, LoadOptions, RuleSet, RuleSources},
    },
    server::{Health, Status},
    telemetry::Metrics,
};

use super::{
    canary, clock::now, pipeline::Pipeline, rule_tests::play_tests, self_alert::RefusedEdits,
};

/// Problems that the alert about a refused edit shows: 10. The log has all of them.
const PROBLEMS_TOLD: usize = 10;

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
    RuleFiles { directory: directory.to_owned(), has_canary: false }.load(resolve_after)
}

/// Where the rules are that a process runs.
#[derive(Clone, Debug)]
pub struct RuleFiles {
    /// The directory.
    pub directory: PathBuf,
    /// The rule of the end-to-end canary goes with them.
    pub has_canary: bool,
}

impl RuleFiles {
    fn read(&self) -> Result<RuleSources, Vec<Diagnostic>> {
        let mut sources = read_rules_dir(&self.directory)?;
        if self.has_canary {
            sources.rules.push(canary::rule());
        }
        Ok(sources)
    }

    /// Plays the tests that stand beside them, and tells the status; does not wait for it.
    pub fn play_tests(&self, rules: &Arc<RuleSet>, status: &Arc<Status>) {
        play_tests(self.directory.clone(), Arc::clone(rules), Arc::clone(status));
    }

    /// Reads and compiles them.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included.
    pub fn load(&self, resolve_after: Duration) -> Result<LoadedRules, Vec<Diagnostic>> {
        compile(&self.read()?, resolve_after)
    }
}

fn compile(sources: &RuleSources, resolve_after: Duration) -> Result<LoadedRules, Vec<Diagnostic>> {
    let options = LoadOptions { resolve_after, now: Some(now()) };
    let loaded = rule::load(sources, &options);
    match loaded.rules {
        Some(rules) => Ok(LoadedRules { rules: Arc::new(rules), warnings: loaded.diagnostics }),
        None => Err(loaded.diagnostics),
    }
}

/// Looks at a changing directory after which it is taken as it is: 20.
const LOOKS_UNSETTLED_MAX: u32 = 20;

/// Why the rule files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is time to. A change is taken once two looks in a row have seen the same: whoever copies
    /// files does not do so at once.
    ByTime,
    /// Somebody asks: what is there is loaded, changed or not.
    Asked,
}

/// What came of one look at the rule files.
#[derive(Debug)]
pub enum ReloadOutcome {
    /// Nothing changed since the last look.
    Unchanged,
    /// Something changed; look again soon.
    Changing,
    /// A new set was taken.
    Loaded {
        /// How many rules somebody wrote.
        rules: usize,
        /// Comes when it is in force.
        in_force: oneshot::Receiver<()>,
    },
    /// The last good set goes on; this is what is wrong, for people.
    Refused(String),
}

/// Looks at a rule directory for as long as a pipeline runs.
pub struct Reloader {
    files: RuleFiles,
    resolve_after: Duration,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    /// Content that was last tried, whether it was good or not.
    tried: String,
    /// Content that was seen last, and how often another one was seen in a row.
    seen: (String, u32),
    refused: RefusedEdits,
}

impl Reloader {
    /// For a pipeline that runs `rules`, which were read from `files` some time ago.
    pub fn new(
        files: RuleFiles,
        rules: &RuleSet,
        resolve_after: Duration,
        metrics: Arc<Metrics>,
        status: Arc<Status>,
    ) -> Reloader {
        let tried = rules.version.clone();
        let seen = (tried.clone(), 0);
        let refused = RefusedEdits::default();
        Reloader { files, resolve_after, metrics, status, tried, seen, refused }
    }

    /// Looks once.
    pub fn look(&mut self, pipeline: &Pipeline, why: Look) -> ReloadOutcome {
        let read = self.files.read();
        let content = content(&read);
        if why == Look::ByTime {
            if content == self.tried {
                self.seen = (content, 0);
                return ReloadOutcome::Unchanged;
            }
            let (seen, changes) = &mut self.seen;
            if content != *seen && *changes < LOOKS_UNSETTLED_MAX {
                tracing::debug!("rule files change; looking again soon");
                self.seen = (content, *changes + 1);
                return ReloadOutcome::Changing;
            }
        }
        self.seen = (content.clone(), 0);
        self.tried = content;
        match read.and_then(|sources| compile(&sources, self.resolve_after)) {
            Ok(loaded) => self.take(pipeline, loaded),
            Err(problems) => self.refuse(pipeline, &problems),
        }
    }

    fn take(&mut self, pipeline: &Pipeline, loaded: LoadedRules) -> ReloadOutcome {
        let LoadedRules { rules, warnings } = loaded;
        for warning in &warnings {
            tracing::warn!("{}", warning.one_line());
        }
        let count = rules.written_count();
        tracing::info!(rules = count, version = rules.version, "rules reloaded");
        let said = rules.written_counted();
        self.files.play_tests(&rules, &self.status);
        let in_force = pipeline.replace_rules(rules);
        self.metrics.reload(true);
        self.status.set_component("rules", Health::Ok, &said);
        if let Some(alert) = self.refused.taken(now()) {
            pipeline.tell(alert);
        }
        ReloadOutcome::Loaded { rules: count, in_force }
    }

    fn refuse(&mut self, pipeline: &Pipeline, problems: &[Diagnostic]) -> ReloadOutcome {
        let errors: Vec<Diagnostic> = problems
            .iter()
            .filter(|problem| problem.level == DiagnosticLevel::Error)
            .cloned()
            .collect();
        let lines: Vec<String> = errors.iter().map(Diagnostic::one_line).collect();
        for line in &lines {
            tracing::error!("{line}");
        }
        tracing::error!(problems = lines.len(), "rules not reloaded; the last good set goes on");
        self.metrics.reload(false);
        self.status.reload_failed(&lines.join("\n"));
        let detail = "the last edit was refused; the rules before it go on";
        self.status.set_component("rules", Health::Degraded, detail);
        let shown: Vec<&str> = lines.iter().take(PROBLEMS_TOLD).map(String::as_str).collect();
        if let Some(alert) = self.refused.refused(now(), &shown.join("\n")) {
            pipeline.tell(alert);
        }
        ReloadOutcome::Refused(render_all(&errors, Format::Text, false))
    }
}

/// A hash of everything that was read, or of what went wrong.
fn content(read: &Result<RuleSources, Vec<Diagnostic>>) -> String {
    match read {
        Ok(sources) => sources.version(),
        Err(problems) => problems.iter().map(Diagnostic::one_line).collect::<Vec<_>>().join("\n"),
    }
}
