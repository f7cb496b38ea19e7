//! The configuration file with everything laid over it, ready to be read section by section.
//!
//! The tree that sections read has one text behind it: the file, then one line for each override.
//! When the problems are known, each is moved to where the user wrote it: the file, `environment` or
//! `command line`; and secrets in the shown lines are masked.

use std::{
    collections::BTreeSet,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::{
    environment::{self, Meaning, PREFIX},
    overlay::{parse_path, parse_value, set, show_path},
    secret::{SecretReader, mask, secret_spans, secret_spans_by_look, url_secret_spans},
};
use crate::engine::{
    diagnostic::{Diagnostic, DiagnosticLevel, Place, Problems, SourceText, code},
    ledger::hex_of,
    limits,
    yaml::{Node, NodeKind, Section, parse},
};

/// What a configuration is made from.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The file.
    pub path: PathBuf,
    /// Environment variables; all of them, since secrets may be in any.
    pub environment: Vec<(String, String)>,
    /// `--set PATH=VALUE`, in order; a later one wins.
    pub overrides: Vec<(String, String)>,
}

/// A configuration that is YAML, but may be wrong in every other way.
pub struct ConfigDocument {
    source: Arc<SourceText>,
    root: Node,
    parts: Vec<Part>,
    notes: Vec<Diagnostic>,
    base: PathBuf,
    environment: Vec<(String, String)>,
}

/// Where a stretch of the one text was written by the user.
struct Part {
    span: Range<usize>,
    shown: Arc<SourceText>,
    is_environment: bool,
}

impl ConfigDocument {
    /// Reads the file and lays the overrides over it.
    ///
    /// # Errors
    /// The file cannot be read, is not one YAML document, or an override has no place in it.
    pub fn read(input: &Input) -> Result<ConfigDocument, Vec<Diagnostic>> {
        let text = read_file(&input.path).map_err(|problem| vec![*problem])?;
        ConfigDocument::from_text(&text, input)
    }

    /// The same, with the text of the file at hand; `input.path` says where it would be.
    ///
    /// # Errors
    /// As [`ConfigDocument::read`].
    pub fn from_text(text: &str, input: &Input) -> Result<ConfigDocument, Vec<Diagnostic>> {
        let name = input.path.display().to_string();
        let file = SourceText::new(name.clone(), text);
        let mut root = parse_one(&file).map_err(|problem| vec![hide_by_look(*problem)])?;
        let mut combined = format!("{text}\n");
        let mut parts = vec![(0..text.len(), name, false)];
        let mut notes = Vec::new();
        // Appends `head` + `value` as a line of its own, and says where the two stand.
        let mut add = |layer: &str, head: &str, value: &str| {
            let start = combined.len();
            // A line break would look like another setting.
            let line = format!("{head}{value}").replace(['\n', '\r'], " ");
            combined.push_str(&line);
            parts.push((start..combined.len(), layer.to_owned(), layer == ENVIRONMENT));
            combined.push('\n');
            let value = start + head.len();
            (start..value - 1, value)
        };
        let mut wrong = Vec::new();

        // What an override replaces is still shown, but no longer in the tree: so both are looked at.
        let mut secrets = Vec::new();
        secret_spans(&root, &mut secrets);
        let mut referred = BTreeSet::new();
        environment::referred(&root, &mut referred);
        let mut variables: Vec<&(String, String)> =
            input.environment.iter().filter(|(_, value)| !value.is_empty()).collect();
        variables.sort();
        for (name, value) in variables {
            match environment::meaning(name, &root, &referred) {
                Meaning::Nothing => {}
                Meaning::Unknown { meant } => notes.push(unknown_variable(name, meant)),
                Meaning::Setting(path) => {
                    let (name_span, start) = add(ENVIRONMENT, &format!("{name}="), value);
                    let value = parse_value(value, start);
                    if let Err(why) = set(&mut root, &path, value, &name_span) {
                        wrong.push((name_span, format!("{name} is {}: {why}", show_path(&path))));
                    }
                }
            }
        }
        for (key, value) in &input.overrides {
            let (span, start) = add(COMMAND_LINE, &format!("--set {key}="), value);
            let key_span = span.start + "--set ".len()..span.end;
            let outcome = match parse_path(key) {
                Some(path) => set(&mut root, &path, parse_value(value, start), &key_span),
                None => Err("write a path such as `http.listen` or `receivers[0].name`".to_owned()),
            };
            if let Err(why) = outcome {
                wrong.push((key_span, format!("--set {key}: {why}")));
            }
        }

        let base = input.path.parent().unwrap_or(Path::new(""));
        start_paths_from(base, &mut root);
        let document = ConfigDocument::assemble(&combined, parts, root, notes, secrets, input);
        let wrong: Vec<Diagnostic> = wrong
            .into_iter()
            .map(|(span, title)| {
                let place = Place { source: Arc::clone(&document.source), span };
                document.relocate(Diagnostic::error(code::SETTING_WITHOUT_PLACE, place, title))
            })
            .collect();
        if wrong.is_empty() { Ok(document) } else { Err(wrong) }
    }

    fn assemble(
        combined: &str,
        parts: Vec<(Range<usize>, String, bool)>,
        root: Node,
        notes: Vec<Diagnostic>,
        mut secrets: Vec<Range<usize>>,
        input: &Input,
    ) -> ConfigDocument {
        secret_spans(&root, &mut secrets);
        url_secret_spans(combined, &mut secrets);
        let masked = mask(combined, &secrets);
        let parts = parts.into_iter().map(|(span, name, is_environment)| {
            let shown = SourceText::new(name, masked.get(span.clone()).unwrap_or(""));
            Part { span, shown, is_environment }
        });
        let base = input.path.parent().unwrap_or(Path::new("")).to_owned();
        ConfigDocument {
            source: SourceText::new("configuration", combined),
            root,
            parts: parts.collect(),
            notes,
            base,
            environment: input.environment.clone(),
        }
    }

    /// Reads the whole configuration with `read`, reports keys that it did not ask for, and returns
    /// what it made with the warnings.
    ///
    /// # Errors
    /// Everything that is wrong, warnings included, by place. Also if `read` returned `None`.
    pub fn parse<T>(
        &self,
        read: impl FnOnce(&Section<'_>) -> Option<T>,
    ) -> Result<(T, Vec<Diagnostic>), Vec<Diagnostic>> {
        let problems = Problems::new();
        let root = Section::new(&self.source, &problems, &self.root, "");
        let value = read(&root);
        root.finish();
        let mut list: Vec<Diagnostic> = problems.into_sorted();
        list.extend(self.notes.iter().cloned());
        let list: Vec<Diagnostic> = list.into_iter().map(|d| self.relocate(d)).collect();
        let failed = list.iter().any(|problem| problem.level == DiagnosticLevel::Error);
        match value {
            Some(value) if !failed => Ok((value, list)),
            _ => Err(list),
        }
    }

    /// The directory that relative paths in the configuration start from: that of the file. The
    /// values of keys that end in `_file` already do.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// SHA-256 of all that was written, secrets masked: the same exactly if nothing else has changed.
    pub fn hash(&self) -> String {
        let texts = self.parts.iter().map(|part| part.shown.text.as_str());
        let all =
            texts.fold(Sha256::new(), |hash, text| hash.chain_update(text).chain_update("\n"));
        hex_of(&all.finalize())
    }

    /// Follows references to secrets.
    pub fn secrets(&self) -> SecretReader {
        SecretReader::new(&self.environment)
    }

    fn relocate(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        let mut in_environment = false;
        if let Some(place) = diagnostic.place.take() {
            let (moved, is_environment) = self.where_written(place);
            in_environment = is_environment;
            diagnostic.place = Some(moved);
        }
        for (place, _) in &mut diagnostic.related {
            *place = self.where_written(place.clone()).0;
        }
        // The environment belongs to everybody: a variable that means nothing to us stops nobody.
        if in_environment && diagnostic.code == code::UNKNOWN_SETTING {
            diagnostic.level = DiagnosticLevel::Warning;
        }
        diagnostic
    }

    fn where_written(&self, place: Place) -> (Place, bool) {
        if !Arc::ptr_eq(&place.source, &self.source) {
            return (place, false);
        }
        let found = self.parts.iter().rev().find(|part| part.span.start <= place.span.start);
        let Some(part) = found else { return (place, false) };
        let inside = |at: usize| at.min(part.span.end).saturating_sub(part.span.start);
        let span = inside(place.span.start)..inside(place.span.end);
        (Place { source: Arc::clone(&part.shown), span }, part.is_environment)
    }
}

const ENVIRONMENT: &str = "environment";
const COMMAND_LINE: &str = "command line";

fn read_file(path: &Path) -> Result<String, Box<Diagnostic>> {
    let name = path.display();
    let cannot = |why: String| {
        let title = format!("cannot read the configuration {name}: {why}");
        Box::new(Diagnostic::error_nowhere(code::CONFIG_UNREADABLE, title))
    };
    let size = fs::metadata(path).map_err(|error| {
        let problem = cannot(error.to_string());
        if error.kind() == io::ErrorKind::NotFound {
            Box::new(problem.help("name it with `--config`, or by TRIPLINE_CONFIG"))
        } else {
            problem
        }
    })?;
    if size.is_dir() {
        return Err(cannot("it is a directory; name the YAML file in it".to_owned()));
    }
    if size.len() > limits::YAML_FILE_BYTES_MAX as u64 {
        return Err(cannot(format!("it has more than {} bytes", limits::YAML_FILE_BYTES_MAX)));
    }
    let bytes = fs::read(path).map_err(|error| cannot(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| {
        cannot(format!("it is not UTF-8 after {} bytes", error.utf8_error().valid_up_to()))
    })
}

/// The one document of a file. An empty file is an empty mapping, so that what is missing is said.
fn parse_one(source: &Arc<SourceText>) -> Result<Node, Box<Diagnostic>> {
    let mut documents = parse(source)?.into_iter();
    let root = documents.next().unwrap_or(Node { kind: NodeKind::Map(Vec::new()), span: 0..0 });
    let place = |span: &Range<usize>| Place { source: Arc::clone(source), span: span.clone() };
    if let Some(second) = documents.next() {
        let title = "the configuration is one document, not several";
        return Err(Box::new(
            Diagnostic::error(code::SEVERAL_CONFIGS, place(&second.span), title)
                .help("remove the `---` before this one"),
        ));
    }
    if !matches!(root.kind, NodeKind::Map(_)) {
        let title = format!("the configuration must be a mapping, not {}", root.kind_name());
        return Err(Box::new(Diagnostic::error(
            code::WRONG_SETTING_TYPE,
            place(&root.span),
            title,
        )));
    }
    Ok(root)
}

/// Lets the relative paths of a configuration start from its directory, wherever the process was
/// started: `rules`, `state` and `dead_letter.directory` by their reader, and here every key that ends in
/// `_file`, whichever module it belongs to.
fn start_paths_from(base: &Path, node: &mut Node) {
    match &mut node.kind {
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                match &mut value.kind {
                    NodeKind::Str(path) if key.text.ends_with("_file") && !path.is_empty() => {
                        *path = base.join(&*path).display().to_string();
                    }
                    _ => start_paths_from(base, value),
                }
            }
        }
        NodeKind::List(items) => items.iter_mut().for_each(|item| start_paths_from(base, item)),
        _ => {}
    }
}

/// Masks secrets in the lines that a diagnostic about broken YAML shows.
fn hide_by_look(mut diagnostic: Diagnostic) -> Diagnostic {
    if let Some(place) = &mut diagnostic.place {
        let mut spans = Vec::new();
        secret_spans_by_look(&place.source.text, &mut spans);
        url_secret_spans(&place.source.text, &mut spans);
        let masked = mask(&place.source.text, &spans);
        place.source = SourceText::new(place.source.name.clone(), masked);
    }
    diagnostic
}

fn unknown_variable(name: &str, meant: Option<String>) -> Diagnostic {
    let mut diagnostic = Diagnostic::error_nowhere(
        code::UNKNOWN_VARIABLE,
        format!("environment variable {name} names no setting"),
    );
    diagnostic.level = DiagnosticLevel::Warning;
    match meant {
        Some(meant) => diagnostic.help(format!("did you mean {meant}?")),
        None => diagnostic.help(format!(
            "variables that begin with {PREFIX} are settings: {PREFIX}HTTP_LISTEN is `http.listen`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(
        text: &str,
        environment: &[(&str, &str)],
        overrides: &[(&str, &str)],
    ) -> ConfigDocument {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let input = Input {
            path: PathBuf::from("conf/t.yaml"),
            environment: owned(environment),
            overrides: owned(overrides),
        };
        ConfigDocument::from_text(text, &input).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn listen(document: &ConfigDocument) -> Option<String> {
        let (value, _) = document
            .parse(|root| {
                root.has("rules");
                Some(root.section("http")?.string("listen"))
            })
            .unwrap_or_else(|problems| panic!("{problems:?}"));
        value
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "http: {listen: 'file:1'}\nrules: x\n";
        let variable = ("TRIPLINE_HTTP_LISTEN", "environment:1");
        let flag = ("http.listen", "flag:1");
        assert_eq!(listen(&document(file, &[], &[])).as_deref(), Some("file:1"));
        assert_eq!(listen(&document(file, &[variable], &[])).as_deref(), Some("environment:1"));
        assert_eq!(listen(&document(file, &[variable], &[flag])).as_deref(), Some("flag:1"));
        let empty = ("TRIPLINE_HTTP_LISTEN", "");
        assert_eq!(listen(&document(file, &[empty], &[])).as_deref(), Some("file:1"));
        assert_eq!(listen(&document("", &[variable], &[])).as_deref(), Some("environment:1"));
    }

    #[test]
    fn problems_are_where_the_user_wrote_them() {
        let document = document(
            "route: {wait: 5m}\nhttp: {port: a}\n",
            &[("TRIPLINE_ROUTE_REPEAT", "soon"), ("TRIPLINE_ROUTE_TYPO", "x")],
            &[("http.port", "99999")],
        );
        let problems = document
            .parse(|root| {
                let route = root.section("route")?;
                route.duration("wait");
                route.duration("repeat");
                route.finish();
                let http = root.section("http")?;
                http.integer("port", 1..=65_535);
                http.finish();
                Some(())
            })
            .unwrap_err();
        let lines: Vec<String> = problems.iter().map(Diagnostic::one_line).collect();
        assert_eq!(
            lines,
            [
                "environment:1:23: error[C004]: route.repeat is not a duration",
                "environment:1:1: warning[C001]: unknown key `route.typo`",
                "command line:1:17: error[C004]: http.port is 99999",
            ]
        );
    }

    #[test]
    fn relative_paths_start_from_the_directory_of_the_file() {
        let document = document("list: [{ca_file: ca.pem, key_file: /k, file: x}]\n", &[], &[]);
        let (paths, _) = document
            .parse(|root| {
                let item = root.sections("list").remove(0);
                Some(["ca_file", "key_file", "file"].map(|key| item.string(key).unwrap()))
            })
            .unwrap();
        assert_eq!(paths, ["conf/ca.pem", "/k", "x"]);
    }

    #[test]
    fn no_diagnostic_shows_a_secret() {
        let document = document(
            "smtp: {password: [hunter2], api_key: old66, wait: x}\nurl: http://u:pw77@h\n",
            &[("TRIPLINE_ROUTE_TOKEN", "[tok99]")],
            &[("smtp.api_key", "[key55]")],
        );
        let problems = document
            .parse(|root| {
                let smtp = root.section("smtp")?;
                smtp.secret("password");
                smtp.secret("api_key");
                smtp.duration("wait");
                root.section("route")?.secret("token");
                root.duration("url");
                Some(())
            })
            .unwrap_err();
        assert_eq!(problems.len(), 5);
        let text: String = problems.iter().map(|problem| problem.render(false)).collect();
        for secret in ["hunter2", "old66", "pw77", "tok99", "key55"] {
            assert!(!text.contains(secret), "{secret} in\n{text}");
        }
    }

    #[test]
    fn broken_yaml_hides_secrets_too() {
        let text = "a:\n\tpassword: hunter2\n";
        let problems = ConfigDocument::from_text(text, &Input::default()).err().unwrap();
        assert_eq!(problems[0].code, "Y001");
        let shown = problems[0].render(false);
        assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
    }
}
