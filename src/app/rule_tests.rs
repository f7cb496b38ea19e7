//! Plays the tests that stand beside rule files, whenever other rules are in use, and tells the status what came
//! of them. On a thread of its own: nobody waits for it, and what breaks in it stays there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::clock::now;
use crate::{
    config::rules_dir::find_tests,
    engine::{
        diagnostic::{DiagnosticLevel, Problems, SourceText},
        limits::YAML_FILE_BYTES_MAX,
        rule::RuleSet,
    },
    file,
    rule_test::{TestFile, read_test_file, run},
    server::{FileTests, RuleTests, Status},
};

/// Failures of one file that are told: 10. `tripline test` has them all.
const FAILURES_TOLD: usize = 10;

/// Begins to play the tests of a directory over rules that were read from it. Without a thread, nothing is told.
pub(super) fn play_tests(directory: PathBuf, rules: Arc<RuleSet>, status: Arc<Status>) {
    let play = move || {
        let version = rules.version.clone();
        let (files, problem) = match read(&directory) {
            Ok(files) => (played(&rules, &files), String::new()),
            Err(problem) => (BTreeMap::new(), problem),
        };
        status.tests_played(RuleTests { version, at: now(), files, problem });
    };
    if let Err(error) = std::thread::Builder::new().name("rule-tests".to_owned()).spawn(play) {
        tracing::warn!("the tests of rules are not played: {error}");
    }
}

/// The test files of a directory.
fn read(directory: &Path) -> Result<Vec<TestFile>, String> {
    let paths = find_tests(directory).map_err(|error| error.to_string())?;
    let problems = Problems::new();
    let mut files = Vec::new();
    for path in paths {
        let failed = |why: String| format!("cannot read {}: {why}", path.display());
        let bytes =
            file::read(&path, YAML_FILE_BYTES_MAX).map_err(|why| failed(why.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?;
        files.extend(read_test_file(&SourceText::new(path.display().to_string(), text), &problems));
    }
    let problems = problems.into_sorted();
    match problems.iter().find(|problem| problem.level == DiagnosticLevel::Error) {
        Some(problem) => Err(problem.one_line()),
        None => Ok(files),
    }
}

/// What came of them, by the path of the rule file.
fn played(rules: &Arc<RuleSet>, files: &[TestFile]) -> BTreeMap<String, FileTests> {
    let mut all: BTreeMap<String, FileTests> = BTreeMap::new();
    for result in run(rules, files, "") {
        let of = all.entry(result.rule_path.clone()).or_default();
        if result.passed() {
            of.passed += 1;
        } else {
            of.failed += 1;
            if of.failures.len() < FAILURES_TOLD {
                of.failures.push(result.name);
            }
        }
    }
    all
}
