//! The source text as the rules about it read it.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) fn root() -> &'static Path {
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
pub(super) fn files(directories: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for directory in directories {
        walk(&root().join(directory), extensions, &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "no files below {directories:?}");
    let name = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

pub(super) fn sources() -> Vec<(String, String)> {
    files(&["src"], &["rs"])
}

/// The lines of a file above its tests, numbered from 1, without comments: what the program is.
pub(super) fn program(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    let numbered = lines.enumerate().map(|(index, line)| (index + 1, line));
    numbered.map(|(number, line)| match line.find("//") {
        Some(at) if !line[..at].ends_with(':') => (number, &line[..at]),
        _ => (number, line),
    })
}

/// The same as one text: a `use` may go over several lines.
pub(super) fn program_text(text: &str) -> String {
    program(text).flat_map(|(_, line)| [line, "\n"]).collect()
}

/// Fails with all complaints at once.
pub(super) fn check(errors: &[String]) {
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
}

/// All paths that a program names by `use`, and those below `crate`, `super` and `self` elsewhere:
/// `use a::{b, c::D};` gives `a::b` and `a::c::D`.
pub(super) fn paths(program: &str) -> Vec<Vec<String>> {
    let mut paths: Vec<_> = uses(program).into_iter().map(|(_, path)| path).collect();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in program.match_indices(start) {
            let goes_on =
                program[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c));
            let rest = &program[at..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || "_:".contains(c)));
            let path = split(&rest[..end.unwrap_or(rest.len())]);
            if !goes_on && path.len() > 1 {
                paths.push(path);
            }
        }
    }
    paths
}

/// The paths of all `use` of a program, and whether each is handed on by `pub use`.
pub(super) fn uses(program: &str) -> Vec<(bool, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in program.match_indices("use ") {
        let line = program[..at].rsplit('\n').next().unwrap().trim();
        if !(line.is_empty() || line.starts_with("pub")) || line.contains(';') {
            continue;
        }
        let tree: String = program[at + 4..].split(';').next().unwrap().to_owned();
        let mut paths = Vec::new();
        expand(&mut tree.as_str(), &[], &mut paths);
        found.extend(paths.into_iter().map(|path| (line.starts_with("pub"), path)));
    }
    found
}

/// Reads one tree of a `use` up to what ends it: `a::{b, c as d}`.
fn expand(rest: &mut &str, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    let end = rest.find(['{', '}', ',']).unwrap_or(rest.len());
    let (head, tail) = rest.split_at(end);
    let name = head.split(" as ").next().unwrap();
    let path: Vec<String> = prefix.iter().cloned().chain(split(name)).collect();
    *rest = tail;
    if let Some(list) = tail.strip_prefix('{') {
        *rest = list;
        while !rest.is_empty() && !rest.starts_with('}') {
            expand(rest, &path, paths);
            *rest = rest.trim_start().trim_start_matches(',').trim_start();
        }
        *rest = rest.strip_prefix('}').unwrap_or(rest);
    } else if path.len() > prefix.len() {
        paths.push(path);
    }
}

fn split(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The module that a file of `src` is: `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`.
pub(super) fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    inner.split('/').map(str::to_owned).collect()
}

#[test]
fn trees_of_uses_are_taken_apart() {
    let text = "use a::{b, c::{D as E, f}};\npub use g::H;\nfn x(y: super::super::z::W) {}\n";
    let found: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["a::b", "a::c::D", "a::c::f", "g::H", "super::super::z::W"]);
    assert!(uses(text).contains(&(true, split("g::H"))));
}
