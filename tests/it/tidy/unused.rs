//! Nothing public that nobody names. The compiler says so of what is private only, since a library's
//! public items may be named from elsewhere; of ours, nothing is.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{check, files, program_text, sources};

/// What only tests name, and why it is there even so.
const FOR_TESTS: &[(&str, &str)] = &[
    ("ONE_EVENT", "the table of the README is held to it"),
    ("alert_count", "the simulator bounds the dispatcher by it"),
    ("catalogue", "the README is held to it"),
    ("check_arguments", "commands that reports print are held to it"),
    ("group_count", "the simulator bounds the dispatcher by it"),
    ("is_writing", "the simulator looks at it"),
    ("reading_all", "the straight line is held to the scanner by it"),
    ("replace_plan", "scripts of the dispatcher change what is configured"),
    ("set_reachable", "takes the embedded Kafka away"),
];

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// The names of public items and fields, with the line that says so.
fn public_names(program: &str) -> Vec<(usize, &str)> {
    const ITEMS: [&str; 7] = ["fn", "struct", "enum", "trait", "const", "static", "type"];
    let mut names = Vec::new();
    for (number, line) in program.lines().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix("pub") else { continue };
        let rest =
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |r| r.1);
        let Some(rest) = rest.strip_prefix(' ') else { continue };
        let mut parts =
            words(rest).skip_while(|word| matches!(*word, "const" | "async" | "unsafe"));
        let name = match parts.next() {
            Some(item) if ITEMS.contains(&item) => parts.next(),
            Some("mod" | "use") | None => None,
            // A constant, whose `const` was skipped, or a field.
            Some(name) => rest.contains(':').then_some(name),
        };
        names.extend(name.map(|name| (number + 1, name)));
    }
    names
}

#[test]
fn every_public_item_is_named_somewhere() {
    let programs: Vec<(String, String)> = sources()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("/tests.rs"))
        .map(|(path, text)| (path, program_text(&text)))
        .collect();
    let templates = files(&["src"], &["html"]);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, text) in programs.iter().chain(&templates) {
        words(text).for_each(|word| *counts.entry(word).or_default() += 1);
    }
    // To hand a name on is not to use it.
    for (_, text) in &programs {
        for statement in text.split("\npub use ").skip(1) {
            for word in words(statement.split(';').next().unwrap()) {
                *counts.get_mut(word).unwrap() -= 1;
            }
        }
    }
    let mut defined: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, text) in &programs {
        for (line, name) in public_names(text) {
            defined.entry(name).or_default().push(format!("{path}:{line}"));
        }
    }
    let unused: BTreeSet<&str> = defined
        .iter()
        .filter(|(name, places)| counts[*name] <= places.len())
        .map(|(name, _)| *name)
        .collect();
    let known: BTreeSet<&str> = FOR_TESTS.iter().map(|(name, _)| *name).collect();
    let mut errors: Vec<String> = unused
        .difference(&known)
        .map(|name| format!("{}: nobody names `{name}`", defined[*name][0]))
        .collect();
    for name in known.difference(&unused) {
        errors.push(format!("tests/it/tidy/unused.rs: `{name}` is in use, or gone: take it out"));
    }
    check(&errors);
}

#[test]
fn public_names_are_found() {
    let text =
        "pub fn a() {}\n    pub(super) const B: u8 = 1;\n    pub c: u8,\npub mod d;\npub use e;\n";
    let names: Vec<&str> = public_names(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "B", "c"]);
}
