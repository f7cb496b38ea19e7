//! Reads a rule directory from disk, as text; what it means is the engine's business.
//!
//! Rule files are `*.yml` and `*.yaml` at any depth. Left out are tests (`*.test.yaml`), everything
//! whose name begins with a dot (Kubernetes keeps the versions of a ConfigMap volume in `..data` and
//! its like, and links the visible names to them), `lists/`, `schedules.yaml`, `identities.yaml` and
//! `risk.yaml`, which have their own places in [`RuleSources`].

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    engine::{
        diagnostic::{Diagnostic, DiagnosticLevel, Place, SourceText, code},
        limits::{LIST_FILE_BYTES_MAX, RULE_DIRECTORY_DEPTH_MAX, RULES_MAX, YAML_FILE_BYTES_MAX},
        rule::RuleSources,
    },
    file,
};

/// Reads all files of a rule directory. `path` may also be a single rule file: it is read with the lists, schedules,
/// identities and risk of the [rule directory that it lies in](above).
///
/// # Errors
/// Everything that cannot be read, each with what to do: a missing or empty directory, a file that may
/// not be read, is too large, is not UTF-8, or is no file at all but a pipe or a device.
pub fn read_rules_dir(path: &Path) -> Result<RuleSources, Vec<Diagnostic>> {
    let (sources, problems) = read_what_can_be_read(path);
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

/// All files of a rule directory that can be read, and everything that cannot; see [`read_rules_dir`].
pub fn read_what_can_be_read(path: &Path) -> (RuleSources, Vec<Diagnostic>) {
    let mut reader = Reader::default();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => reader.directory(path, 0, Part::Rules),
        Ok(_) => {
            reader.rule(path);
            if let Some(directory) = above(path) {
                reader.but_rules(&directory);
            }
        }
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
    (reader.sources, reader.problems)
}

/// The rule directory that a file lies in: the nearest above it with lists, schedules, identities or risk; `None` if
/// there is none as far up as rule directories are deep.
pub fn above(file: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(file).ok()?;
    let mut directories = real.ancestors().skip(1).take(RULE_DIRECTORY_DEPTH_MAX + 1);
    let found = directories.find(|directory| {
        let has = |stem: &str, ending: &str| directory.join(format!("{stem}{ending}")).is_file();
        directory.join("lists").is_dir()
            || SINGLES.iter().any(|single| has(single.stem, ".yaml") || has(single.stem, ".yml"))
    })?;
    // As the user calls it, if the file's name has it.
    let called = file.ancestors().skip(1).filter(|name| !name.as_os_str().is_empty());
    let mut same = called.filter(|name| fs::canonicalize(name).is_ok_and(|name| name == found));
    Some(same.next().unwrap_or(found).to_owned())
}

/// All test files (`*.test.yaml`) below a directory, sorted; of a single rule file, those beside it.
///
/// # Errors
/// A directory that cannot be read; says which.
pub fn find_tests(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let directory = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    add_tests(directory, 0, &mut found)?;
    Ok(found)
}

fn add_tests(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot read {}: {error}", directory.display()))
    };
    let listing = fs::read_dir(directory).map_err(named)?;
    let entries = listing.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut entries = entries.map_err(named)?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        if entry.is_dir() && depth < RULE_DIRECTORY_DEPTH_MAX {
            add_tests(&entry, depth + 1, found)?;
        } else if name.ends_with(".test.yaml") || name.ends_with(".test.yml") {
            found.push(entry);
        }
    }
    Ok(())
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

const SINGLES: [Single; 3] = [
    Single { stem: "identities", place: |sources| &mut sources.identities },
    Single { stem: "risk", place: |sources| &mut sources.risk },
    Single { stem: "schedules", place: |sources| &mut sources.schedules },
];

#[derive(Default)]
struct Reader {
    sources: RuleSources,
    problems: Vec<Diagnostic>,
    /// The directories that are being read, from the outermost inwards, as they really are.
    above: Vec<PathBuf>,
}

impl Reader {
    fn directory(&mut self, path: &Path, depth: usize, part: Part) {
        if depth > RULE_DIRECTORY_DEPTH_MAX {
            let title = format!("directories lie in each other {depth} deep");
            let help = format!("at most {RULE_DIRECTORY_DEPTH_MAX} levels are read");
            self.problem(Diagnostic::error(code::TOO_MANY, place(path), title).help(help));
            return;
        }
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.above.contains(&real) {
            let title = "this link leads back to a directory that it lies in";
            let help = "remove it: what is there is read anyhow";
            self.problem(Diagnostic::error(code::UNREADABLE, place(path), title).help(help));
            return;
        }
        self.above.push(real);
        self.entries_of(path, depth, part);
        self.above.pop();
    }

    fn entries_of(&mut self, path: &Path, depth: usize, part: Part) {
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

    /// What a rule directory has besides rules.
    fn but_rules(&mut self, path: &Path) {
        for (name, entry) in self.entries(path) {
            if name == "lists" && entry.is_dir() {
                self.directory(&entry, 1, Part::Lists);
            } else if let Some(single) = SINGLES.iter().find(|single| single.is(&name)) {
                self.single(single, &entry);
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
        if let Some(source) = self.read(path, YAML_FILE_BYTES_MAX) {
            self.sources.rules.push(source);
        }
    }

    fn list(&mut self, name: &str, path: &Path) {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
        if let Some(source) = self.read(path, LIST_FILE_BYTES_MAX) {
            self.sources.lists.push((stem, source));
        }
    }

    fn single(&mut self, single: &Single, path: &Path) {
        let Some(source) = self.read(path, YAML_FILE_BYTES_MAX) else { return };
        let file = (single.place)(&mut self.sources);
        if let Some(first) = file.replace(Arc::clone(&source)) {
            let title = format!("there are two files of {}", single.stem);
            let place = Place { source, span: 0..0 };
            let first = Place { source: first, span: 0..0 };
            let diagnostic = Diagnostic::error(code::TWICE, place, title)
                .related(first, "the other one")
                .help("keep one of them");
            self.problem(diagnostic);
        }
    }

    fn read(&mut self, path: &Path, bytes_max: usize) -> Option<Arc<SourceText>> {
        let bytes = match file::read(path, bytes_max) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let title = format!("the file has more than {} MiB", bytes_max >> 20);
                let problem = Diagnostic::error(code::TOO_MANY, place(path), title);
                self.problem(problem.help("split it"));
                return None;
            }
            Err(error) => {
                self.unreadable(path, &error);
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Some(SourceText::new(path.display().to_string(), text)),
            Err(error) => {
                // Up to the first wrong byte the text is as it was, and then comes the mark of it.
                let start = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let source = SourceText::new(path.display().to_string(), text);
                let place = Place { source, span: start..start + '\u{fffd}'.len_utf8() };
                let title = "the file is not UTF-8 text";
                let diagnostic = Diagnostic::error(code::UNREADABLE, place, title);
                self.problem(diagnostic.help("save the file as UTF-8"));
                None
            }
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let title = format!("this cannot be read: {error}");
        let help = match error.kind() {
            io::ErrorKind::NotFound => {
                "check the path; `--rules`, or `rules:` in the configuration, names it"
            }
            io::ErrorKind::PermissionDenied => "let the user that Tripline runs as read it",
            io::ErrorKind::InvalidInput => "only files and directories are read; remove it",
            _ => "check the file system",
        };
        self.problem(Diagnostic::error(code::UNREADABLE, place(path), title).help(help));
    }

    fn problem(&mut self, problem: Diagnostic) {
        debug_assert_eq!(problem.level, DiagnosticLevel::Error, "what cannot be read is an error");
        self.problems.push(problem);
    }
}

fn place(path: &Path) -> Place {
    Place::of_file(path.display().to_string())
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
    fn a_file_is_read_with_what_its_directory_has_for_all() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let files = ["lists/admins.txt", "team/lists.yaml", "team/a/x.yaml", "identities.yml"];
        for name in files.iter().chain(&["team/a/y.yaml", "z.yaml"]) {
            write(root.path(), name, "x");
        }
        for name in ["team/a/x.yaml", "z.yaml"] {
            let sources = read_rules_dir(&root.path().join(name)).expect("it can be read");
            assert_eq!(names(root.path(), &sources), [name]);
            assert_eq!(sources.lists.first().map(|(name, _)| &**name), Some("admins"));
            assert!(sources.identities.is_some() && sources.risk.is_none());
        }
        assert_eq!(above(&root.path().join("team/a/x.yaml")).as_deref(), Some(root.path()));
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        write(elsewhere.path(), "x.yaml", "x");
        let sources = read_rules_dir(&elsewhere.path().join("x.yaml")).expect("it can be read");
        assert!(sources.lists.is_empty() && sources.identities.is_none());
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
        assert_eq!(codes(looped.path()), [code::UNREADABLE]);
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "a.yaml", "a");
        fs::create_dir(root.join("directory.yaml")).unwrap();
        assert_eq!(names(root, &read_rules_dir(root).unwrap()), ["a.yaml"]);
        let made = std::process::Command::new("mkfifo").arg(root.join("pipe.yaml")).status();
        assert!(made.unwrap().success(), "mkfifo is part of every Unix");
        std::os::unix::fs::symlink("/dev/zero", root.join("zero.yaml")).unwrap();
        let problems = read_rules_dir(root).unwrap_err();
        let named: Vec<String> = problems.iter().map(Diagnostic::one_line).collect();
        assert_eq!(problems.len(), 2, "{named:?}");
        for (line, name) in named.iter().zip(["pipe.yaml", "zero.yaml"]) {
            assert!(line.contains(name) && line.ends_with("not a file"), "{line}");
        }
    }

    #[test]
    fn the_place_of_the_first_wrong_byte_is_shown() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a.yaml", b"title: x\nauthor: Ren\xe9\n");
        let problems = read_rules_dir(root.path()).unwrap_err();
        let line = problems[0].one_line();
        assert!(line.ends_with("a.yaml:2:12: error[R010]: the file is not UTF-8 text"), "{line}");
        assert!(problems[0].render(false).contains("Ren\u{fffd}"));
    }
}
