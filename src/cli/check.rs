//! `tripline check`: everything that is wrong with configuration and rules, without running.
//!
//! The output is what the command was asked for, so it goes to standard output in every format.
//! Nothing is connected to and nothing is written.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{ConfigArgs, exit, output};
use crate::{
    app::{clock::now, configuration::Configuration},
    config::{
        ConfigDocument,
        rules_dir::{read_rules_dir, read_what_can_be_read},
    },
    engine::{
        diagnostic::{Diagnostic, DiagnosticLevel, Format, Problems, code, render_explained},
        framework::read_frameworks,
        rule::{self, LoadOptions, RuleSet},
        text::{counted, printable},
    },
};

/// Show everything that is wrong with configuration and rules.
///
/// With --rules alone, only that directory (or file) is looked at. Otherwise the configuration is,
/// and the rules that it names, or those of --rules.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes:
  0  nothing is wrong; there may be warnings
  2  there are errors; or warnings, with --strict

Examples:
  tripline check
  tripline check --config /etc/tripline/tripline.yaml --strict
  tripline check --rules rules/ --format github
  tripline check --rules rules/ --frameworks frameworks/
  tripline check --explain R012")]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Directory with rule files, or one rule file.
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// Directory with framework files, whose classes the rules must record; or one such file.
    #[arg(long, value_name = "DIR")]
    frameworks: Option<PathBuf>,
    /// How to write what was found: text, json, sarif or github.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = format)]
    format: Format,
    /// Let warnings count as errors.
    #[arg(long)]
    strict: bool,
    /// Do not try to read secrets, for places that do not have them.
    #[arg(long)]
    no_secrets: bool,
    /// Say what the code of an error or a warning means, and do nothing else.
    #[arg(long, value_name = "CODE", value_parser = known_code, exclusive = true)]
    explain: Option<String>,
}

/// What a code means, in a few words and in a sentence or two.
pub(super) fn explain(code: &str) -> Option<(&'static str, &'static str)> {
    code::explained(code).map(|code| (code.title, code.explanation))
}

fn known_code(word: &str) -> Result<String, String> {
    let code = word.to_ascii_uppercase();
    let known = explain(&code).is_some();
    known.then_some(code).ok_or_else(|| {
        "there is no such code; codes are those such as R012 in what is said".to_owned()
    })
}

pub(super) fn format(word: &str) -> Result<Format, String> {
    let words: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
    Format::parse(word).ok_or_else(|| format!("it is one of: {}", words.join(", ")))
}

pub(super) fn execute(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    if let Some((code, (title, text))) =
        args.explain.as_ref().and_then(|code| Some((code, explain(code)?)))
    {
        output::print_all(&format!("{code}: {title}\n\n{text}\n"))?;
        return Ok(exit::OK);
    }
    let mut found = Found::default();
    let only_rules = args.rules.is_some() && args.config.is_default();
    if !only_rules {
        found.configuration(&args.config, !args.no_secrets);
    }
    if let Some(directory) = args.rules.as_ref().or(found.rules_directory.as_ref()) {
        found.rules(&directory.clone());
    }
    if let Some(directory) = &args.frameworks {
        found.frameworks(directory);
    }
    let failed = found.problems.iter().any(|p| args.strict || p.level == DiagnosticLevel::Error);
    let colours = output::stdout_colours();
    let mut text = render_explained(&found.problems, args.format, colours, explain);
    if args.format == Format::Text {
        let word = if failed { "failed" } else { "ok" };
        text.push_str(&format!("{}: {word}\n", printable(&found.looked_at.join(", "))));
    }
    output::print_all(&text)?;
    Ok(if failed { ExitCode::from(exit::USAGE) } else { exit::OK })
}

/// Everything that is to be said about a configuration and the rules that it names, in one go.
pub(super) fn everything_found(args: &ConfigArgs) -> Vec<Diagnostic> {
    let mut found = Found::default();
    found.configuration(args, true);
    if let Some(directory) = found.rules_directory.clone() {
        found.rules(&directory);
    }
    found.problems
}

/// What is missing, or not used, may be in a file that cannot be read, or be used there.
const MAY_BE_ELSEWHERE: [&str; 5] = [
    code::UNKNOWN_RULE,
    code::UNKNOWN_LIST,
    code::UNKNOWN_SCHEDULE,
    code::NOT_USED,
    code::NO_RULES,
];

/// What was found, so far.
#[derive(Default)]
struct Found {
    problems: Vec<Diagnostic>,
    /// For the last line.
    looked_at: Vec<String>,
    rules_directory: Option<PathBuf>,
    resolve_after: Option<std::time::Duration>,
    /// What the rules record.
    classes: BTreeSet<String>,
}

impl Found {
    fn configuration(&mut self, args: &ConfigArgs, with_secrets: bool) {
        self.looked_at.push(args.path().display().to_string());
        let document = match ConfigDocument::read(&args.input()) {
            Ok(document) => document,
            Err(problems) => return self.problems.extend(problems),
        };
        let mut configuration = None;
        let read = document.parse(|root| {
            configuration = Configuration::parse(root, &document, document.secrets());
            Some(())
        });
        let failed = read.is_err();
        self.problems.extend(read.map_or_else(|problems| problems, |((), warnings)| warnings));
        // Whatever else is wrong, the rules can be looked at.
        if let Some(configuration) = configuration {
            self.resolve_after = Some(configuration.general.engine.resolve_after);
            self.rules_directory = Some(configuration.general.rules.clone());
            if with_secrets && !failed {
                self.problems.extend(configuration.check_secrets().err().unwrap_or_default());
                self.problems.extend(configuration.weak_secrets());
            }
        }
    }

    fn rules(&mut self, directory: &Path) {
        let (sources, unreadable) = read_what_can_be_read(directory);
        let mut options = LoadOptions { now: Some(now()), ..LoadOptions::default() };
        options.resolve_after = self.resolve_after.unwrap_or(options.resolve_after);
        let loaded = rule::load(&sources, &options);
        let is_all = unreadable.is_empty();
        self.classes = loaded.rules.as_ref().map(RuleSet::classes).unwrap_or_default();
        let rules = loaded.rules.filter(|_| is_all).map(|rules| rules.written_counted());
        let what = rules.unwrap_or_else(|| "rules".to_owned());
        self.looked_at.push(format!("{what} in {}", directory.display()));
        self.problems.extend(unreadable);
        let read = loaded.diagnostics.into_iter();
        self.problems.extend(read.filter(|one| is_all || !MAY_BE_ELSEWHERE.contains(&one.code)));
    }

    fn frameworks(&mut self, directory: &Path) {
        let files = match read_rules_dir(directory) {
            Err(problems) => return self.problems.extend(problems),
            Ok(sources) => sources.rules,
        };
        let problems = Problems::new();
        let frameworks = read_frameworks(&files, &self.classes, &problems);
        let what = counted(frameworks.len(), "framework");
        self.looked_at.push(format!("{what} in {}", directory.display()));
        self.problems.extend(problems.into_sorted());
    }
}
