//! Rules about the source text itself: who may name whom, what the engine may not touch, and what no
//! file may leave behind. Each failure names file and line.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Which top-level modules each one may name beside itself. `telemetry` is open to the whole shell.
/// The architecture is this table: a new edge in it is a change of ARCHITECTURE.md too.
const MAY_NAME: &[(&str, &[&str])] = &[
    (
        "app",
        &[
            "backtest",
            "config",
            "engine",
            "generate",
            "kafka",
            "notify",
            "server",
            "source",
            "store",
            "telemetry",
        ],
    ),
    ("backtest", &["engine", "source"]),
    (
        "cli",
        &[
            "app",
            "backtest",
            "config",
            "engine",
            "generate",
            "kafka",
            "notify",
            "server",
            "source",
            "store",
            "telemetry",
        ],
    ),
    ("backtest", &["engine", "source"]),
    ("config", &["engine", "telemetry"]),
    ("engine", &[]),
    ("generate", &["engine"]),
    ("kafka", &["engine", "telemetry", "tls"]),
    ("main", &["cli"]),
    ("notify", &["engine", "kafka", "telemetry", "tls"]),
    ("server", &["engine", "telemetry", "tls"]),
    ("source", &["engine", "kafka", "telemetry"]),
    ("store", &["engine", "kafka", "telemetry"]),
    ("telemetry", &["engine"]),
    ("tls", &[]),
];

/// What the engine may not name: time, disk, environment, threads, network, async, logs, chance.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "Timestamp::now",
    "ToSocketAddrs",
    "UdpSocket",
    "Zoned::now",
    "axum::",
    "println!",
    "rand::",
    "rdkafka",
    "reqwest",
    "rusqlite",
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "tokio",
    "tracing",
];

/// Lines a file may have; a longer one is split.
const LINES_MAX: usize = 700;

/// Complaints, each `path:line: what`.
type Errors = Vec<String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(directory: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            walk(&path, extensions, found);
        } else if extensions.contains(&extension.unwrap_or("")) {
            found.push(path);
        }
    }
}

/// Path from the root of the repository, and text, of all files below these directories.
fn files(directories: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for directory in directories {
        walk(&root().join(directory), extensions, &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "no files below {directories:?}");
    let name = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn sources() -> Vec<(String, String)> {
    files(&["src"], &["rs"])
}

/// The lines of a file above its tests, numbered from 1, without comments: what the program is.
fn program(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    let numbered = lines.enumerate().map(|(index, line)| (index + 1, line));
    numbered.map(|(number, line)| match line.find("//") {
        Some(at) if !line[..at].ends_with(':') => (number, &line[..at]),
        _ => (number, line),
    })
}

/// The same as one text: a `use` may go over several lines.
fn program_text(text: &str) -> String {
    program(text).flat_map(|(_, line)| [line, "\n"]).collect()
}

/// `src/notify/slack.rs` → `notify`; `src/main.rs` → `main`.
fn top_module(path: &str) -> &str {
    let rest = path.strip_prefix("src/").unwrap();
    rest.split(['/', '.']).next().unwrap()
}

/// Names that follow each of `prefixes` in a text, braces included: `use crate::{a::B, c};` gives `a`
/// and `c`.
fn named_after(prefixes: &[&str], text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for prefix in prefixes {
        for (at, _) in text.match_indices(prefix) {
            // `crate::a` anywhere, but not in `subcrate::a`, nor `super::a` in `super::super::a`.
            if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = text[at + prefix.len()..].trim_start();
            match rest.strip_prefix('{') {
                Some(list) => names.extend(first_names_of_list(list)),
                None => names.push(first_name(rest)),
            }
        }
    }
    names.retain(|name| name.starts_with(|c: char| c.is_lowercase()));
    names
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn first_names_of_list(list: &str) -> Vec<String> {
    let mut names = vec![first_name(list)];
    let mut depth = 0;
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(first_name(&list[at + 1..])),
            _ => {}
        }
    }
    names
}

fn line_of(text: &str, part: &str) -> usize {
    let at = text.find(part).unwrap_or(0);
    text[..at].matches('\n').count() + 1
}

fn check(errors: &[String]) {
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
}

/// Modules that a file names but may not.
fn layering_errors(path: &str, text: &str, may: &BTreeMap<&str, &[&str]>) -> Errors {
    let module = top_module(path);
    if module == "lib" {
        return Vec::new();
    }
    let Some(allowed) = may.get(module) else {
        return vec![format!("{path}:1: `{module}` is not in the table of tests/it/tidy.rs")];
    };
    let program = program_text(text);
    let mut errors = Vec::new();
    for name in named_after(&["crate::", "tripline::"], &program) {
        let is_module = may.contains_key(name.as_str());
        if is_module && name != module && !allowed.contains(&name.as_str()) {
            let line = line_of(&program, &name);
            errors.push(format!("{path}:{line}: `{module}` must not name `{name}`"));
        }
    }
    errors
}

#[test]
fn modules_name_only_what_they_may() {
    let may: BTreeMap<_, _> = MAY_NAME.iter().copied().collect();
    let errors: Errors =
        sources().iter().flat_map(|(path, text)| layering_errors(path, text, &may)).collect();
    check(&errors);
}

#[test]
fn forbidden_names_are_seen() {
    let may: BTreeMap<_, _> = MAY_NAME.iter().copied().collect();
    let text = "use crate::{\n    engine::time::{A, B},\n    source::Source,\n};\n";
    let errors = layering_errors("src/notify/slack.rs", text, &may);
    assert_eq!(errors, ["src/notify/slack.rs:3: `notify` must not name `source`"]);
    let errors = layering_errors("src/engine/shard.rs", "fn a(b: crate::store::Store) {}", &may);
    assert_eq!(errors, ["src/engine/shard.rs:1: `engine` must not name `store`"]);
    assert_eq!(
        layering_errors("src/store/sqlite.rs", "//! Not crate::source.", &may),
        Errors::new()
    );
}

#[test]
fn engine_modules_name_only_what_comes_before_them() {
    // `engine/mod.rs` declares them in the order in which data flows; that order is the rule.
    let declared = fs::read_to_string(root().join("src/engine/mod.rs")).unwrap();
    let order: Vec<&str> = declared
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert!(order.contains(&"detect"), "{order:?}");
    let rank = |name: &str| order.iter().position(|module| *module == name);
    let mut errors = Errors::new();
    for (path, text) in sources() {
        let Some(inner) = path.strip_prefix("src/engine/") else { continue };
        let Some(own) = rank(inner.split(['/', '.']).next().unwrap()) else { continue };
        let is_root = !inner.contains('/') || inner.ends_with("/mod.rs");
        let is_test = inner.ends_with("/tests.rs");
        let text = if is_test { String::new() } else { program_text(&text) };
        let mut names = named_after(&["crate::engine::"], &text);
        if is_root {
            names.extend(named_after(&["super::"], &text));
        }
        for name in names.iter().filter(|name| rank(name).is_some_and(|other| other > own)) {
            let line = line_of(&text, name);
            errors.push(format!("{path}:{line}: `{}` must not name `{name}`", order[own]));
        }
    }
    check(&errors);
}

#[test]
fn engine_is_pure() {
    let mut errors = Errors::new();
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("src/engine/")) {
        for (number, line) in program(text) {
            // `Operand::` is not `rand::`: the word begins where no other name goes on.
            let named = |word: &str| {
                line.match_indices(word)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            };
            for word in IMPURE.iter().filter(|word| named(word)) {
                errors.push(format!("{path}:{number}: the engine must not name `{word}`"));
            }
        }
    }
    check(&errors);
}

#[test]
fn files_say_what_they_are_for_and_are_short() {
    let mut errors = Errors::new();
    for (path, text) in files(&["src", "tests"], &["rs"]) {
        if !text.starts_with("//!") {
            errors.push(format!("{path}:1: no module documentation"));
        }
        let count = text.lines().count();
        if count > LINES_MAX {
            errors.push(format!("{path}:{count}: longer than {LINES_MAX} lines, split it"));
        }
    }
    check(&errors);
}

#[test]
fn nothing_is_left_to_do_and_tests_can_fail() {
    // Put together, so that this file is not found itself.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
        ["#[ign", "ore"].concat(),
        ["assert!(t", "rue)"].concat(),
    ];
    let mut errors = Errors::new();
    for (path, text) in
        files(&["src", "tests", "deploy", "rules"], &["rs", "sh", "py", "yml", "yaml"])
    {
        for (index, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(*word)) {
                errors.push(format!("{path}:{}: leftover {word}", index + 1));
            }
        }
    }
    check(&errors);
}

#[test]
fn tests_wait_by_polling() {
    // The helpers that poll with a deadline, and nothing else, may sleep.
    const MAY_SLEEP: &[&str] =
        &["tests/e2e/harness/mod.rs", "tests/it/pipeline.rs", "tests/it/running.rs"];
    let sleep = ["sl", "eep("].concat();
    let mut errors = Errors::new();
    for (path, text) in files(&["tests"], &["rs"]) {
        for (number, line) in program(&text) {
            if line.contains(&sleep) && !MAY_SLEEP.contains(&path.as_str()) {
                errors
                    .push(format!("{path}:{number}: wait for what you wait for, with a deadline"));
            }
        }
    }
    check(&errors);
}

/// The entries of each `pub const NAME: &[&dyn …] = &[…];` of a file.
fn registries(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("pub const ") {
        let declaration = &text[at + "pub const ".len()..];
        let Some((head, rest)) = declaration.split_once('=') else { continue };
        if !head.contains("&[&dyn") {
            continue;
        }
        let Some(list) = rest.trim_start().strip_prefix("&[") else { continue };
        let list = list.split("];").next().unwrap();
        let entries = list.split(',').map(|entry| entry.trim().trim_start_matches('&').to_owned());
        found.push((first_name(head), entries.filter(|entry| !entry.is_empty()).collect()));
    }
    found
}

#[test]
fn registries_are_sorted() {
    let mut errors = Errors::new();
    for (path, text) in sources() {
        for (name, entries) in registries(&text) {
            if !entries.is_sorted() {
                let line = line_of(&text, &format!("pub const {name}"));
                errors.push(format!("{path}:{line}: {name} is not sorted"));
            }
        }
    }
    check(&errors);
}
