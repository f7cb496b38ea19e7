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

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

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
    /// The rule file that it is about, as the test file calls it.
    pub rule_file: String,
    /// The path of that file, as the user would type it; as the test file calls it if there is none.
    pub rule_path: String,
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
    let known = RulePaths::of(rules);
    let mut results = Vec::new();
    for file in files {
        let rule_path = match known.fitting(file).as_slice() {
            [only] => (*only).to_owned(),
            _ => file.rule_file.clone(),
        };
        for case in &file.tests {
            if !case.name.contains(filter) && !file.rule_file.contains(filter) {
                continue;
            }
            let (played, failures) = match player.play(case, &rule_path) {
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
                rule_path: rule_path.clone(),
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

/// Reports test files about rule files that do not exist, or that could be several.
pub fn check_rule_files(rules: &RuleSet, files: &[TestFile]) -> Vec<Diagnostic> {
    let known = RulePaths::of(rules);
    let report = |file: &TestFile| {
        let fitting = known.fitting(file);
        let [first, _, ..] = fitting.as_slice() else {
            return fitting.is_empty().then(|| {
                error(file, format!("there is no rule file `{}`", file.rule_file))
                    .suggest(&file.rule_file, known.0.values().filter_map(|path| file_name(path)))
                    .help("name it: `rule: FILE`, or give the test the same name")
            });
        };
        let title = format!("there are {} rule files `{}`", fitting.len(), file.rule_file);
        let help = format!("put the test beside the one that is meant, or say `rule: {first}`");
        Some(error(file, title).help(help))
    };
    files.iter().filter_map(report).collect()
}

fn error(file: &TestFile, title: String) -> Diagnostic {
    Diagnostic::error(code::TEST_OF_NO_RULE, file.place.clone(), title)
}

/// The paths of all rule files, as the user would type them, by what they are without `.`.
struct RulePaths<'r>(BTreeMap<PathBuf, &'r str>);

impl<'r> RulePaths<'r> {
    fn of(rules: &'r RuleSet) -> RulePaths<'r> {
        let paths = rules.written().filter_map(|(_, rule)| path_of(rule));
        RulePaths(paths.map(|path| (plain(Path::new(path)), path)).collect())
    }

    /// The rule file that a test file is about: the one beside it, or else all of that name.
    fn fitting(&self, file: &TestFile) -> Vec<&'r str> {
        let beside = plain(&Path::new(&file.source.name).with_file_name(&file.rule_file));
        if let Some(path) = self.0.get(&beside) {
            return vec![*path];
        }
        let fits = |(plain, _): &(&PathBuf, &&str)| plain.ends_with(&file.rule_file);
        self.0.iter().filter(fits).map(|(_, path)| *path).collect()
    }
}

fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

fn file_name(path: &str) -> Option<&str> {
    Path::new(path).file_name()?.to_str()
}

/// The path of the file that a rule stands in, as the user would type it.
fn path_of(rule: &Rule) -> Option<&str> {
    Some(rule.meta().place.as_ref()?.source.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        diagnostic::{Problems, SourceText},
        rule::{LoadOptions, RuleSources, load},
    };

    fn rules(paths: &[&str]) -> Arc<RuleSet> {
        let rule = |(number, path): (usize, &&str)| {
            let text = format!(
                "title: Rule {number}\nlogsource: {{product: kubernetes, service: audit}}\n\
                 detection: {{selection: {{verb: v{number}}}, condition: selection}}\n"
            );
            SourceText::new(*path, text)
        };
        let rules = paths.iter().enumerate().map(rule).collect();
        let loaded =
            load(&RuleSources { rules, ..RuleSources::default() }, &LoadOptions::default());
        Arc::new(loaded.rules.unwrap())
    }

    fn tests_of(path: &str, rule: &str, verb: &str) -> TestFile {
        let text = format!(
            "{rule}tests: [{{name: fires, events: [{{at: 0s, set: {{verb: {verb}}}}}], \
             expect: [{{at: 0s}}]}}]\n"
        );
        let problems = Problems::new();
        let file = read_test_file(&SourceText::new(path, text), &problems);
        assert_eq!(problems.into_sorted(), []);
        file.unwrap()
    }

    #[test]
    fn a_test_is_about_the_rule_file_beside_it_whatever_others_are_called() {
        let rules = rules(&["./rules/a.yaml", "./rules/x/a.yaml", "./rules/y/b.yaml"]);
        for (path, rule, verb, passes) in [
            ("rules/a.test.yaml", "", "v0", true),
            ("./rules/a.test.yaml", "", "v1", false),
            ("./rules/x/a.test.yaml", "", "v1", true),
            ("./rules/x/a.test.yaml", "", "v0", false),
            ("./rules/tests/of-x.test.yaml", "rule: x/a.yaml\n", "v1", true),
            ("./rules/tests/b.test.yaml", "", "v2", true),
        ] {
            let files = [tests_of(path, rule, verb)];
            assert_eq!(check_rule_files(&rules, &files), [], "{path}");
            let results = run(&rules, &files, "");
            assert_eq!(results[0].passed(), passes, "{path} {verb}: {:?}", results[0].failures);
        }
    }

    #[test]
    fn a_test_of_no_file_or_of_one_of_several_is_reported() {
        let rules = rules(&["rules/x/a.yaml", "rules/y/a.yaml"]);
        let files = [
            tests_of("rules/a.test.yaml", "", "v0"),
            tests_of("rules/x/c.test.yaml", "", "v0"),
            tests_of("rules/x/a.test.yaml", "rule: d.yaml\n", "v0"),
        ];
        let lines: Vec<String> =
            check_rule_files(&rules, &files).iter().map(Diagnostic::one_line).collect();
        let expected = [
            "rules/a.test.yaml:1:1: error[T003]: there are 2 rule files `a.yaml`",
            "rules/x/c.test.yaml:1:1: error[T003]: there is no rule file `c.yaml`",
            "rules/x/a.test.yaml:1:7: error[T003]: there is no rule file `d.yaml`",
        ];
        assert_eq!(lines, expected);
    }
}
