//! Rules about the source text itself: who may name whom, what the engine may not touch, and what no
//! file may leave behind. Each failure names file and line.

mod circles;
mod documents;
mod registries;
mod source;
mod unused;

use std::{collections::BTreeMap, fs};

use source::{check, files, paths, program, program_text, root, sources};

/// Which top-level modules each one may name beside itself. `telemetry` is open to the whole shell.
/// The architecture is this table: a new edge in it is a change of ARCHITECTURE.md too.
const MAY_NAME: &[(&str, &[&str])] = &[
    (
        "app",
        &[
            "archive",
            "backtest",
            "config",
            "engine",
            "file",
            "generate",
            "kafka",
            "notify",
            "rule_test",
            "server",
            "source",
            "store",
            "telemetry",
            "web",
        ],
    ),
    ("archive", &["engine", "store", "telemetry"]),
    ("ask", &["archive", "engine"]),
    ("backtest", &["engine", "html", "source"]),
    (
        "cli",
        &[
            "app",
            "archive",
            "ask",
            "backtest",
            "config",
            "engine",
            "evidence",
            "generate",
            "kafka",
            "notify",
            "report",
            "rule_test",
            "server",
            "source",
            "store",
            "telemetry",
            "tls",
            "web",
        ],
    ),
    ("config", &["engine", "file", "telemetry", "web"]),
    ("engine", &[]),
    ("evidence", &["archive", "engine"]),
    ("file", &[]),
    ("generate", &["engine"]),
    ("html", &["engine"]),
    ("kafka", &["engine", "file", "telemetry", "tls", "web"]),
    ("main", &["cli"]),
    ("notify", &["engine", "html", "kafka", "telemetry", "tls", "web"]),
    ("report", &["archive", "ask", "engine", "html"]),
    ("rule_test", &["engine"]),
    // The server makes reports by the code of the command line, so that both say the same.
    ("server", &["archive", "ask", "engine", "html", "report", "telemetry", "tls", "web"]),
    ("source", &["engine", "file", "kafka", "telemetry", "web"]),
    ("store", &["engine", "kafka", "telemetry"]),
    ("telemetry", &["engine"]),
    ("tls", &[]),
    ("web", &["engine", "file", "telemetry", "tls"]),
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

/// `src/notify/slack.rs` → `notify`; `src/main.rs` → `main`.
fn top_module(path: &str) -> &str {
    let rest = path.strip_prefix("src/").unwrap();
    rest.split(['/', '.']).next().unwrap()
}

fn line_of(text: &str, part: &str) -> usize {
    let at = text.find(part).unwrap_or(0);
    text[..at].matches('\n').count() + 1
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
    for path_named in paths(&program) {
        let [root, name, ..] = path_named.as_slice() else { continue };
        let is_module =
            matches!(root.as_str(), "crate" | "tripline") && may.contains_key(name.as_str());
        if is_module && name != module && !allowed.contains(&name.as_str()) {
            let line = line_of(&program, name);
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
        for path_named in paths(&text) {
            let name = match path_named.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["crate", "engine", name, ..] => name,
                ["super", name, ..] if is_root => name,
                _ => continue,
            };
            if rank(name).is_none_or(|other| other <= own) {
                continue;
            }
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

#[test]
fn codes_of_mistakes_come_from_their_table() {
    let is_code = |word: &str| {
        word.len() == 4
            && word.starts_with(['C', 'P', 'R', 'T', 'Y'])
            && word[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut errors = Errors::new();
    for (path, text) in sources().iter().filter(|(path, _)| !path.ends_with("diagnostic/code.rs")) {
        for (number, line) in program(text) {
            for word in line.split('"').skip(1).step_by(2).filter(|word| is_code(word)) {
                errors.push(format!("{path}:{number}: name `{word}` by its constant"));
            }
        }
    }
    check(&errors);
}
