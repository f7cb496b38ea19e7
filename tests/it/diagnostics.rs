//! What is said about rule files: `tests/data/diagnostics/*.yaml`, one mistake each, and the plans that
//! `tests/data/rules/*.yaml` are compiled to.
//!
//! A file whose first line is `# list NAME`, `# schedules`, `# identities` or `# risk` is that, beside a
//! rule without mistakes. One whose first line is `# also R…` has a mistake from which another follows.
//! All others are rule files beside a list `admins` and a schedule `office-hours`. `UPDATE=1` writes
//! the `.out` files anew; look at the difference before you keep it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tripline::engine::{
    diagnostic::{Format, SourceText, code, render_all},
    rule::{LoadOptions, Loaded, RuleSources, load},
    time::{EventTime, WallTime},
};

const DIAGNOSTICS: &str = "tests/data/diagnostics";
const RULES: &str = "tests/data/rules";

const RULE: &str = "title: Pods deleted\nlogsource: {product: kubernetes, service: audit}\n\
                    detection: {selection: {verb: delete, user.username|expand: '%admins%'}, \
                    condition: selection}\ntripline: {outside: office-hours}\n";
const ADMINS: &str = "- alice\n- {value: 'admin-*', owner: ops, until: 2026-12-31}\n";
const SCHEDULES: &str =
    "schedules: {office-hours: {zone: Europe/Berlin, hours: mon-fri 08:00-18:00}}\n";

fn yaml_files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn loaded(path: &Path) -> Loaded {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let about_use = name.starts_with(code::NOT_USED);
    let source = SourceText::new(name, text.clone());
    let mut sources = RuleSources {
        rules: vec![SourceText::new("rule.yaml", RULE)],
        lists: vec![("admins".to_owned(), SourceText::new("lists/admins.yaml", ADMINS))],
        schedules: Some(SourceText::new("schedules.yaml", SCHEDULES)),
        risk: None,
        identities: None,
    };
    let first = text.lines().next().unwrap_or("");
    if let Some(list) = first.strip_prefix("# list ") {
        sources.lists.push((list.to_owned(), source));
    } else if first == "# risk" {
        sources.risk = Some(source);
    } else if first == "# identities" {
        sources.identities = Some(source);
    } else if first == "# schedules" {
        sources.schedules = Some(source);
    } else {
        sources.rules = vec![source];
    }
    let now = EventTime::parse("2026-06-01T00:00:00Z").unwrap().micros();
    let options = LoadOptions { now: Some(WallTime::from_micros(now)), ..LoadOptions::default() };
    let mut loaded = load(&sources, &options);
    // Most files have no use for the list and the schedule beside them.
    loaded.diagnostics.retain(|one| about_use || one.code != code::NOT_USED);
    loaded
}

/// Compares with the `.out` file beside a file, or writes it.
pub(crate) fn differs(path: &Path, actual: &str) -> Option<String> {
    let golden = path.with_extension("out");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&golden, actual).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    (actual != expected)
        .then(|| format!("=== {}\n--- expected\n{expected}--- got\n{actual}", path.display()))
}

#[test]
fn every_mistake_is_explained_as_its_golden_file_says() {
    let mut different = Vec::new();
    for path in yaml_files(DIAGNOSTICS) {
        let loaded = loaded(&path);
        let mut codes: BTreeSet<&str> = loaded.diagnostics.iter().map(|one| one.code).collect();
        let text = fs::read_to_string(&path).unwrap();
        let also = text.lines().next().and_then(|line| line.strip_prefix("# also "));
        for also in also.into_iter().flat_map(|also| also.split(", ")) {
            assert!(codes.remove(also), "{} has no {also}", path.display());
        }
        let name = path.file_name().unwrap().to_string_lossy();
        let code = name.split('_').next().unwrap();
        let text = render_all(&loaded.diagnostics, Format::Text, false);
        if codes != BTreeSet::from([code]) {
            different.push(format!("=== {name}: {codes:?}\n{text}"));
        }
        different.extend(differs(&path, &text));
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn every_code_has_a_golden_file() {
    // Directories, files that are no text, and rule sets as a whole have tests of their own.
    let elsewhere = [code::UNREADABLE, code::NO_RULES];
    let names: Vec<String> = yaml_files(DIAGNOSTICS)
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let missing: Vec<&str> = code::CODES
        .iter()
        .map(|code| code.id)
        .filter(|id| id.starts_with('R') && !elsewhere.contains(id))
        .filter(|id| !names.iter().any(|name| name.starts_with(&format!("{id}_"))))
        .collect();
    assert!(missing.is_empty(), "no golden file for {missing:?}");
}

#[test]
fn every_place_lies_in_its_file() {
    for path in yaml_files(DIAGNOSTICS) {
        for diagnostic in loaded(&path).diagnostics {
            let places = diagnostic.place.iter().chain(diagnostic.related.iter().map(|(p, _)| p));
            for place in places {
                let text = place.source.text.get(place.span.clone());
                assert!(text.is_some(), "{}: {:?}", path.display(), place.span);
            }
        }
    }
}

#[test]
fn rules_compile_to_the_plans_that_are_meant() {
    let mut different = Vec::new();
    for path in yaml_files(RULES) {
        let loaded = loaded(&path);
        let mut text = render_all(&loaded.diagnostics, Format::Text, false);
        for rule in
            loaded.rules.iter().flat_map(|set| set.rules.iter().map(move |rule| (set, rule)))
        {
            text.push_str(&rule.0.describe_rule(rule.1));
        }
        different.extend(differs(&path, &text));
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
