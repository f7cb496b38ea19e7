//! Tests that rule authors write beside their rules, and what plays them.
//!
//! [`read_test_file`] reads `<name>.test.yaml`, [`run`] plays its tests through the engine that also
//! runs in production, and says for each which stated alert did not come and which came unstated.
//! It reads no files: `tripline test` and the project's own tests do.

mod access;
mod event;
mod file;
mod play;
mod schema;
mod verdict;

use std::sync::Arc;

pub use access::Recorded;
pub use file::{Expected, ExpectedAccess, TestCase, TestFile, read_test_file};
pub use schema::json_schema;
pub use verdict::{Difference, Happened, compare};

use crate::engine::{
    diagnostic::{Diagnostic, Place, code},
    rule::{Rule, RuleSet},
};

/// What one test came to.
#[derive(Debug)]
pub struct TestResult {
    /// The test file, as the user would type it.
    pub file: String,
    /// The rule file that it is about.
    pub rule_file: String,
    /// What must hold, in words.
    pub name: String,
    /// Where the test stands.
    pub place: Place,
    /// The alerts that came.
    pub happened: Vec<Happened>,
    /// The accesses that were recorded.
    pub recorded: Vec<Recorded>,
    /// What is different from what must hold; none if it passed.
    pub failures: Vec<String>,
}

impl TestResult {
    /// Whether everything came as stated.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Plays the tests whose name, or whose rule's name, contains `filter`.
pub fn run(rules: &Arc<RuleSet>, files: &[TestFile], filter: &str) -> Vec<TestResult> {
    let mut player = play::Player::new(Arc::clone(rules));
    let mut results = Vec::new();
    for file in files {
        for case in &file.tests {
            if !case.name.contains(filter) && !file.rule_file.contains(filter) {
                continue;
            }
            let (played, failures) = match player.play(case, &file.rule_file) {
                Ok(played) => {
                    let differences = compare(&case.expect, &played.alerts);
                    let mut failures: Vec<String> =
                        differences.iter().map(ToString::to_string).collect();
                    failures.extend(access::compare(&case.accesses, &played.accesses));
                    (played, failures)
                }
                Err(problem) => (play::Played::default(), vec![problem]),
            };
            results.push(TestResult {
                file: file.source.name.clone(),
                rule_file: file.rule_file.clone(),
                name: case.name.clone(),
                place: case.place.clone(),
                happened: played.alerts,
                recorded: played.accesses,
                failures,
            });
        }
    }
    results
}

/// Reports test files about rule files that do not exist.
pub fn check_rule_files(rules: &RuleSet, files: &[TestFile]) -> Vec<Diagnostic> {
    let mut known: Vec<&str> = rules.written().filter_map(|(_, rule)| file_name(rule)).collect();
    known.sort_unstable();
    known.dedup();
    files
        .iter()
        .filter(|file| !known.contains(&file.rule_file.as_str()))
        .map(|file| {
            let place = Place { source: Arc::clone(&file.source), span: 0..0 };
            let title = format!("there is no rule file `{}`", file.rule_file);
            Diagnostic::error(code::TEST_OF_NO_RULE, place, title)
                .suggest(&file.rule_file, known.iter().copied())
                .help("name it: `rule: FILE`, or give the test the same name")
        })
        .collect()
}

/// Name of the file that a rule stands in, without directories.
fn file_name(rule: &Rule) -> Option<&str> {
    let place = rule.meta().place.as_ref()?;
    place.source.name.rsplit(['/', '\\']).next()
}
