//! What documents say about the tree, and under which licences our dependencies may be used.

use std::{collections::BTreeSet, fs, process::Command};

use super::source::{check, root};

/// Licences under which a dependency may be part of the binary: none asks for more than to be named.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The modules of the first column of the code map: `engine/time.rs` and `value.rs` in one cell are
/// both of the engine.
fn mapped(architecture: &str) -> BTreeSet<String> {
    let map = architecture.split("\n## Code map").nth(1).unwrap().split("\n## ").next().unwrap();
    let cells = map
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_start_matches('|').split('|').next().unwrap());
    let mut modules = BTreeSet::new();
    for cell in cells {
        let mut folder = "";
        for name in cell.split('`').skip(1).step_by(2) {
            let name = name.trim_end_matches('/').trim_end_matches(".rs");
            let (inside, name) = name.rsplit_once('/').unwrap_or((folder, name));
            folder = inside;
            modules.insert([inside, name].join("/").trim_start_matches('/').to_owned());
        }
    }
    modules
}

/// The top-level modules and those of the engine, as files and folders say.
fn modules() -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (folder, prefix) in [("src", ""), ("src/engine", "engine/")] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let name = name.trim_end_matches(".rs");
            // What only names or starts the others, and what is shown by its parts.
            if !["lib", "main", "mod", "engine"].contains(&name) {
                modules.insert(format!("{prefix}{name}"));
            }
        }
    }
    modules
}

#[test]
fn the_code_map_is_that_of_the_tree() {
    let (mapped, modules) = (mapped(&read("ARCHITECTURE.md")), modules());
    // A module may be shown by its parts.
    let is_mapped = |module: &&String| {
        let parts = format!("{module}/");
        mapped.iter().any(|name| name == *module || name.starts_with(&parts))
    };
    let exists = |name: &&String| {
        [(*name).clone(), format!("{name}.rs")]
            .iter()
            .any(|name| root().join("src").join(name).exists())
    };
    let missing = modules.iter().filter(|name| !is_mapped(name));
    let missing = missing.map(|name| format!("the code map misses `{name}`"));
    let gone = mapped.iter().filter(|name| !exists(name));
    let gone = gone.map(|name| format!("the code map has `{name}`, the tree has not"));
    check(&missing.chain(gone).collect::<Vec<_>>());
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read("Cargo.toml");
    let mut is_list = false;
    let mut errors = Vec::new();
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            is_list = line.ends_with("dependencies]");
        } else if is_list && line.contains('=') && !line.contains(" # ") {
            errors.push(format!("Cargo.toml:{}: say what it is for: {line}", number + 1));
        }
    }
    check(&errors);
}

/// Whether an expression such as `(MIT OR Apache-2.0) AND Unicode-3.0` leaves us a choice that we may
/// take. `OR` binds closer than `AND` here, which is how
/// they are written; `/` is an old `OR`.
fn may_be_used(expression: &str) -> bool {
    expression.replace('/', " OR ").split(" AND ").all(|part| {
        let choices = part.trim_matches(|c| "() ".contains(c)).split(" OR ");
        choices.map(str::trim).any(|licence| LICENCES.contains(&licence))
    })
}

/// The output of a tool, if it is here and does what it is asked.
fn output(command: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(command).args(arguments).current_dir(root()).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
#[expect(clippy::print_stderr, reason = "whoever looks must see that it was skipped")]
fn dependencies_may_be_used() {
    let host = output("rustc", &["-vV"]).and_then(|text| {
        Some(text.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned())
    });
    // Of this platform only: what others need was never downloaded.
    let metadata = host.and_then(|host| {
        let platform = ["--filter-platform", &host];
        output(
            "cargo",
            &[&["metadata", "--format-version", "1", "--offline"], &platform[..]].concat(),
        )
    });
    let Some(metadata) = metadata else {
        eprintln!(
            "SKIPPED: `cargo metadata --offline` does not work here; licences were not looked at"
        );
        return;
    };
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{} packages", packages.len());
    let licence =
        |package: &serde_json::Value| package["license"].as_str().unwrap_or("none").to_owned();
    let refused = packages.iter().filter(|package| !may_be_used(&licence(package)));
    let errors =
        refused.map(|package| format!("{}: licence {}", package["name"], licence(package)));
    check(&errors.collect::<Vec<_>>());
}

#[test]
fn licences_are_understood() {
    for good in ["MIT", "MIT/Apache-2.0", "(MIT OR GPL-3.0) AND Unicode-3.0", "Unlicense OR MIT"] {
        assert!(may_be_used(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(GPL-2.0 OR GPL-3.0) AND MIT", "none"] {
        assert!(!may_be_used(bad), "{bad}");
    }
}
