//! Reads a rule directory from disk, as text; what it means is the engine's business.
//!
//! Rule files are `*.yml` and `*.yaml` at any depth. Left out are tests (`*.test.yaml`), everything
//! whose name begins with a dot (Kubernetes keeps the versions of a ConfigMap volume in `..data` and
//! its like, and links the visible names to them), `lists/`, `schedules.yaml` and `risk.yaml`, which
//! have their own places in [`RuleSources`].

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::engine::{
    diagnostic::{Diagnostic, DiagnosticLevel, SourceText},
    limits::{RULE_DIRECTORY_DEPTH_MAX, RULES_MAX, YAML_FILE_BYTES_MAX},
    rule::{RuleSources, code},
};

/// Reads all files of a rule directory. `path` may also be a single rule file.
///
/// # Errors
/// Everything that cannot be read, each with what to do: a missing or empty directory, a file that may
/// not be read, is too large, or is not UTF-8.
pub fn read_rules_dir(path: &Path) -> Result<RuleSources, Vec<Diagnostic>> {
    let mut reader = Reader::default();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => reader.directory(path, 0, Part::Rules),
        Ok(_) => reader.rule(path),
        Err(error) => reader.unreadable(path, &error),
    }
    if reader.problems.is_empty() && reader.sources.rules.is_empty() {
        let title = format!("there are no rule files in {}", path.display());
        reader.problems.push(
            Diagnostic::error_nowhere(code::NO_RULES, title)
                .help("rule files are named `*.yaml` or `*.yml`"),
        );
    }
    reader.sources.rules.sort_by(|a, b| a.name.cmp(&b.name));
    reader.sources.lists.sort_by(|a, b| (&a.0, &a.1.name).cmp(&(&b.0, &b.1.name)));
    if reader.problems.is_empty() { Ok(reader.sources) } else { Err(reader.problems) }
}

/// Which part of the directory is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Rules,
    Lists,
}

/// A file at the top of the directory that is there once and is no rule file.
struct Single {
    stem: &'static str,
    place: fn(&mut RuleSources) -> &mut Option<Arc<SourceText>>,
}

impl Single {
    fn is(&self, name: &str) -> bool {
        name.strip_prefix(self.stem).is_some_and(|ending| matches!(ending, ".yaml" | ".yml"))
    }
}

const SINGLES: [Single; 2] = [
    Single { stem: "risk", place: |sources| &mut sources.risk },
    Single { stem: "schedules", place: |sources| &mut sources.schedules },
];

#[derive(Default)]
struct Reader {
    sources: RuleSources,
    problems: Vec<Diagnostic>,
}

impl Reader {
    fn directory(&mut self, path: &Path, depth: usize, part: Part) {
        if depth > RULE_DIRECTORY_DEPTH_MAX {
            let title = format!("{} lies too deep", path.display());
            let help = "a link that leads back to a directory above it has no end";
            self.problem(Diagnostic::error_nowhere(code::TOO_MANY, title).help(help));
            return;
        }
        for (name, entry) in self.entries(path) {
            let kind = match fs::metadata(&entry) {
                Ok(kind) => kind,
                Err(error) => {
                    self.unreadable(&entry, &error);
                    continue;
                }
            };
            let ends_with = |end: &str| name.len() > end.len() && name.ends_with(end);
            let is_yaml = ends_with(".yaml") || ends_with(".yml");
            if kind.is_dir() {
                let part = if depth == 0 && name == "lists" { Part::Lists } else { part };
                self.directory(&entry, depth + 1, part);
            } else if part == Part::Lists {
                if is_yaml || ends_with(".txt") {
                    self.list(&name, &entry);
                }
            } else if let Some(single) =
                SINGLES.iter().find(|single| depth == 0 && single.is(&name))
            {
                self.single(single, &entry);
            } else if is_yaml && !ends_with(".test.yaml") && !ends_with(".test.yml") {
                self.rule(&entry);
            }
        }
    }

    /// Names and paths in a directory, sorted, without dotfiles.
    fn entries(&mut self, path: &Path) -> BTreeMap<String, PathBuf> {
        let mut entries = BTreeMap::new();
        let listing = match fs::read_dir(path) {
            Ok(listing) => listing,
            Err(error) => {
                self.unreadable(path, &error);
                return entries;
            }
        };
        for entry in listing {
            match entry {
                Ok(entry) => {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if !name.starts_with('.') {
                        entries.insert(name, entry.path());
                    }
                }
                Err(error) => self.unreadable(path, &error),
            }
        }
        entries
    }

    fn rule(&mut self, path: &Path) {
        if self.sources.rules.len() == RULES_MAX {
            let title = format!("there are more than {RULES_MAX} rule files");
            self.problem(Diagnostic::error_nowhere(code::TOO_MANY, title));
        }
        if self.sources.rules.len() >= RULES_MAX {
            return;
        }
        if let Some(source) = self.read(path) {
            self.sources.rules.push(source);
        }
    }

    fn list(&mut self, name: &str, path: &Path) {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
        if let Some(source) = self.read(path) {
            self.sources.lists.push((stem, source));
        }
    }

    fn single(&mut self, single: &Single, path: &Path) {
        let Some(source) = self.read(path) else { return };
        let place = (single.place)(&mut self.sources);
        if let Some(first) = place.replace(Arc::clone(&source)) {
            let stem = single.stem;
            let title = format!("{stem} is in {} and in {}", first.name, source.name);
            let diagnostic = Diagnostic::error_nowhere(code::TWICE, title).help("keep one of them");
            self.problem(diagnostic);
        }
    }

    fn read(&mut self, path: &Path) -> Option<Arc<SourceText>> {
        let length = fs::metadata(path).map(|found| found.len());
        if length.is_ok_and(|length| length > YAML_FILE_BYTES_MAX as u64) {
            let title =
                format!("{} has more than {} MiB", path.display(), YAML_FILE_BYTES_MAX >> 20);
            self.problem(Diagnostic::error_nowhere(code::TOO_MANY, title).help("split it"));
            return None;
        }
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.unreadable(path, &error);
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Some(SourceText::new(path.display().to_string(), text)),
            Err(error) => {
                let head = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or(&[]);
                let line = head.split(|byte| *byte == b'\n').count();
                let title = format!("{} is not UTF-8 text, in line {line}", path.display());
                let diagnostic = Diagnostic::error_nowhere(code::UNREADABLE, title);
                self.problem(diagnostic.help("save the file as UTF-8"));
                None
            }
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let title = format!("{} cannot be read: {error}", path.display());
        let help = match error.kind() {
            io::ErrorKind::NotFound => "check the path; `rules:` in the configuration names it",
            io::ErrorKind::PermissionDenied => "let the user that Tripline runs as read it",
            _ => "check the file system",
        };
        self.problem(Diagnostic::error_nowhere(code::UNREADABLE, title).help(help));
    }

    fn problem(&mut self, problem: Diagnostic) {
        debug_assert_eq!(problem.level, DiagnosticLevel::Error, "what cannot be read is an error");
        self.problems.push(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, text: impl AsRef<[u8]>) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn names(root: &Path, sources: &RuleSources) -> Vec<String> {
        let relative = |name: &str| name.replace(&format!("{}/", root.display()), "");
        sources.rules.iter().map(|source| relative(&source.name)).collect()
    }

    #[test]
    fn a_directory_is_read_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for name in
            ["b.yaml", "a/c.yml", "a/c.test.yaml", ".hidden.yaml", "notes.md", ".git/x.yaml"]
        {
            write(root, name, name);
        }
        write(root, "lists/admins.txt", "alice\n");
        write(root, "lists/more.yaml", "- bob\n");
        write(root, "schedules.yaml", "schedules: {}\n");
        let sources = read_rules_dir(root).unwrap();
        assert_eq!(names(root, &sources), ["a/c.yml", "b.yaml"]);
        let lists: Vec<&str> = sources.lists.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(lists, ["admins", "more"]);
        assert!(sources.schedules.is_some());
    }

    #[test]
    fn a_mounted_config_map_is_read_once() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "..2026_01/a.yaml", "a");
        std::os::unix::fs::symlink("..2026_01", root.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        assert_eq!(names(root, &read_rules_dir(root).unwrap()), ["a.yaml"]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let codes = |path: &Path| {
            let problems = read_rules_dir(path).unwrap_err();
            problems.iter().map(|problem| problem.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(&root.join("nowhere")), [code::UNREADABLE]);
        assert_eq!(codes(root), [code::NO_RULES]);
        write(root, "a.yaml", b"title: caf\xe9\n");
        write(root, "b.yaml", vec![b' '; YAML_FILE_BYTES_MAX + 1]);
        std::os::unix::fs::symlink("gone.yaml", root.join("c.yaml")).unwrap();
        assert_eq!(codes(root), [code::UNREADABLE, code::TOO_MANY, code::UNREADABLE]);
        let looped = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(looped.path(), looped.path().join("again")).unwrap();
        assert_eq!(codes(looped.path()), [code::TOO_MANY]);
    }
}
