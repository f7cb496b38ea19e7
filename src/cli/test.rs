//! `tripline test`: the tests that stand beside the rules.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{exit, output};
use crate::{
    config::rules_dir::{above, find_tests, read_rules_dir},
    engine::{
        diagnostic::{Problems, SourceText},
        rule::{LoadOptions, load},
        text::{
            counted,
            paint::{BAD, GOOD, paint},
        },
    },
    rule_test::{TestFile, TestResult, check_rule_files, read_test_file, run},
};

/// Run the tests that stand beside rules: what must fire, and what must not.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  all tests passed
  1  some failed
  2  rules or tests are wrong, or there is no test to run

Examples:
  tripline test
  tripline test rules/ --filter exec --verbose
  tripline test rules/secret_read_burst.test.yaml")]
pub(super) struct TestArgs {
    /// A rule directory with `*.test.yaml` beside its rules, or one such file.
    #[arg(value_name = "PATH", default_value = "rules")]
    path: PathBuf,
    /// Only tests whose name, or whose rule file's name, contains this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,
    /// List the tests that passed, too.
    #[arg(long, short)]
    verbose: bool,
    /// How results are shown.
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// What to say after what is wrong with rules or tests.
const NOTHING_RAN: &str = "no test was run";

pub(super) fn execute(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let is_file = args.path.is_file();
    let directory = if is_file {
        let parent = args.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        above(&args.path).unwrap_or_else(|| parent.unwrap_or(Path::new(".")).to_owned())
    } else {
        args.path.clone()
    };
    let sources = match read_rules_dir(&directory) {
        Ok(sources) => sources,
        Err(problems) => return Ok(output::refuse(&problems, NOTHING_RAN)),
    };
    let loaded = load(&sources, &LoadOptions::default());
    let Some(rules) = loaded.rules.map(Arc::new) else {
        return Ok(output::refuse(&loaded.diagnostics, NOTHING_RAN));
    };
    let paths = if is_file { vec![args.path.clone()] } else { find_tests(&directory)? };
    let problems = Problems::new();
    let mut files = Vec::new();
    for path in &paths {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        files.extend(read_test_file(&SourceText::new(path.display().to_string(), text), &problems));
    }
    for problem in check_rule_files(&rules, &files) {
        problems.push(problem);
    }
    if problems.has_errors() {
        return Ok(output::refuse(&problems.into_sorted(), NOTHING_RAN));
    }
    let results = run(&rules, &files, &args.filter);
    if results.is_empty() {
        output::complain(&format!("no test to run in {}", args.path.display()));
        return Ok(ExitCode::from(exit::USAGE));
    }
    output::print_all(&match args.format {
        Format::Text => text(&results, &files, args.verbose, output::stdout_colours()),
        Format::Json => format!("{:#}\n", json_of(&results)),
    })?;
    let passed = results.iter().all(TestResult::passed);
    Ok(if passed { exit::OK } else { ExitCode::from(exit::FAILURE) })
}

fn text(results: &[TestResult], files: &[TestFile], verbose: bool, colours: bool) -> String {
    let mut text = String::new();
    for result in results {
        if result.passed() {
            if verbose {
                text.push_str(&format!(
                    "{}    {}: {}\n",
                    paint("ok", GOOD, colours),
                    result.rule_file,
                    result.name
                ));
            }
            continue;
        }
        text.push_str(&format!(
            "{}  {}: {}\n",
            paint("FAIL", BAD, colours),
            result.rule_file,
            result.name
        ));
        text.push_str(&format!("  --> {}\n", result.place.location()));
        for failure in &result.failures {
            text.push_str(&format!("      {failure}\n"));
        }
    }
    let failed = results.iter().filter(|result| !result.passed()).count();
    let tests = counted(results.len(), "test");
    let files = counted(files.len(), "file");
    let verdict = if failed == 0 {
        paint("all passed", GOOD, colours)
    } else {
        paint(&format!("{failed} failed"), BAD, colours)
    };
    text.push_str(&format!("{tests} in {files}: {verdict}\n"));
    text
}

fn json_of(results: &[TestResult]) -> serde_json::Value {
    let tests: Vec<serde_json::Value> = results
        .iter()
        .map(|result| {
            json!({
                "file": result.file,
                "rule_file": result.rule_file,
                "name": result.name,
                "location": result.place.location(),
                "passed": result.passed(),
                "failures": result.failures,
            })
        })
        .collect();
    let failed = results.iter().filter(|result| !result.passed()).count();
    json!({"passed": results.len() - failed, "failed": failed, "tests": tests})
}
