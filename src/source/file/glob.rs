//! Which files a path with `*` and `?` means: on a command line, where shells expand no patterns, and in the
//! configuration.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use regex::Regex;

use super::STANDARD_INPUT;

/// Expands `*` and `?` in paths; a directory means the files in it. Each file once, in the order of
/// their names.
///
/// # Errors
/// What names no file, one line each.
pub fn expand(patterns: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for pattern in patterns {
        match expand_one(pattern) {
            Ok(found) => files.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn expand_one(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    if pattern.as_os_str() == STANDARD_INPUT {
        return Ok(vec![pattern.to_owned()]);
    }
    // A file whose name has an asterisk is meant itself.
    let found = if pattern.exists() { vec![pattern.to_owned()] } else { matching(pattern)? };
    let mut files = Vec::new();
    for path in &found {
        if path.is_dir() {
            files.extend(list(path, "*")?.into_iter().filter(|path| !path.is_dir()));
        } else {
            files.push(path.clone());
        }
    }
    match (found.is_empty(), files.is_empty()) {
        (true, _) if !is_pattern(pattern) => Err(format!("{}: no such file", pattern.display())),
        (true, _) => Err(format!("{}: matches no file", pattern.display())),
        (false, true) => Err(format!("{}: no files in this directory", pattern.display())),
        (false, false) => Ok(files),
    }
}

/// Whether a path is a pattern.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?'])
}

/// Everything that a pattern matches, part by part.
pub(super) fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        let is_name = matches!(part, Component::Normal(_)) && name.contains(['*', '?']);
        let mut next = Vec::new();
        for directory in &found {
            if !is_name {
                next.push(directory.join(part));
            } else if directory.as_os_str().is_empty() {
                let here = list(Path::new("."), &name)?;
                next.extend(here.iter().filter_map(|path| path.file_name()).map(PathBuf::from));
            } else if directory.is_dir() {
                next.extend(list(directory, &name)?);
            }
        }
        found = next;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

/// What is in a directory under a name that matches. Hidden files only by a pattern that names them.
fn list(directory: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let error = |error: io::Error| format!("cannot read {}: {error}", directory.display());
    let names = expression(pattern).map_err(|error| format!("{pattern}: {error}"))?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_hidden = name.starts_with('.') && !pattern.starts_with('.');
        if !is_hidden && names.is_match(&name) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A pattern of `*` and `?`; everything else in it, brackets too, stands for itself.
fn expression(pattern: &str) -> Result<Regex, regex::Error> {
    let pattern = regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".");
    Regex::new(&format!(r"(?s)\A{pattern}\z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_a_shell() {
        let matches = |pattern: &str, name: &str| expression(pattern).unwrap().is_match(name);
        assert!(matches("audit-*.log", "audit-2026.log"));
        assert!(matches("a?c*", "abc"));
        assert!(!matches("a?c", "ac"));
        assert!(!matches("*.gz", "a.gz.tmp"));
        assert!(matches("a[1]*", "a[1]\n.log") && !matches("a[1]*", "a1.log"));
    }

    #[test]
    fn patterns_may_stand_in_every_part() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["one/audit.log", "two/audit.log", "two/audit.log.gz", "two/.hidden.log", "x*y"]
        {
            std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            std::fs::write(path(name), "").unwrap();
        }
        let expanded = |pattern: &str| expand(&[path(pattern)]);
        assert_eq!(expanded("*/*.log").unwrap(), [path("one/audit.log"), path("two/audit.log")]);
        assert_eq!(expanded("two").unwrap(), [path("two/audit.log"), path("two/audit.log.gz")]);
        assert_eq!(expanded("t?o/.*").unwrap(), [path("two/.hidden.log")]);
        assert_eq!(expanded("x*y").unwrap(), [path("x*y")]);
        assert_eq!(expand(&[PathBuf::from("-")]).unwrap(), [PathBuf::from("-")]);
    }

    #[test]
    fn everything_that_names_no_file_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let missing = ["no/such.log", "*.log", "."].map(|name| directory.path().join(name));
        let error = expand(&missing).unwrap_err();
        for part in
            ["such.log: no such file", "*.log: matches no file", "no files in this directory"]
        {
            assert!(error.contains(part), "{error}");
        }
    }
}
