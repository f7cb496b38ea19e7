//! What we tell people about mistakes in their rule and configuration files.
//!
//! A [`Diagnostic`] has a stable code, a level, a place and help, and is rendered like rustc's. They
//! are collected in [`Problems`], never thrown: all mistakes of all files are shown at once. One
//! constructor function per diagnostic lives beside the code that finds the mistake.

mod format;

use std::{cell::RefCell, fmt::Write as _, ops::Range, sync::Arc};

use serde::Serialize;

pub use format::{Format, render_all};

/// One input file, kept for as long as something may point into it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SourceText {
    /// The path as the user would type it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl SourceText {
    /// Wraps a text for sharing.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<SourceText> {
        Arc::new(SourceText { name: name.into(), text: text.into() })
    }

    /// Line and column of a byte offset, both from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let head = self.text.get(..end).unwrap_or("");
        let line_start = head.rfind('\n').map_or(0, |newline| newline + 1);
        let line = head.matches('\n').count() + 1;
        (line, head.get(line_start..).unwrap_or("").chars().count() + 1)
    }
}

/// A place in a source text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file.
    pub source: Arc<SourceText>,
    /// Byte offsets into its text; never past its end.
    pub span: Range<usize>,
}

impl Place {
    /// `file:line:column` of the place's start.
    pub fn location(&self) -> String {
        let (line, column) = self.source.line_column(self.span.start);
        format!("{}:{line}:{column}", self.source.name)
    }

    /// The span to underline: an empty one is widened to the character after it, since the renderer
    /// does not reserve room for the line number of an empty span.
    fn shown_span(&self) -> Range<usize> {
        let next = self.source.text.get(self.span.start..).and_then(|rest| rest.chars().next());
        match next {
            Some(c) if self.span.is_empty() && c != '\n' => {
                self.span.start..self.span.start + c.len_utf8()
            }
            _ => self.span.clone(),
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiagnosticLevel {
    /// What was loaded works, but probably not as meant.
    Warning,
    /// The file cannot be used.
    Error,
}

impl DiagnosticLevel {
    /// `error` or `warning`.
    pub const fn as_str(self) -> &'static str {
        match self {
            DiagnosticLevel::Error => "error",
            DiagnosticLevel::Warning => "warning",
        }
    }
}

/// One mistake, or one suspicion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code: `R…` for rules, `C…` for configuration, `Y…` for YAML itself.
    pub code: &'static str,
    /// How bad it is.
    pub level: DiagnosticLevel,
    /// One line without a full stop: what is wrong.
    pub title: String,
    /// Where. `None` for what has no place, such as a missing file.
    pub place: Option<Place>,
    /// Text at the underlined place; may be empty.
    pub label: String,
    /// Further places with a text each.
    pub related: Vec<(Place, String)>,
    /// What to do about it, one sentence each.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, place: Place, title: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, DiagnosticLevel::Error, Some(place), title.into())
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, place: Place, title: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, DiagnosticLevel::Warning, Some(place), title.into())
    }

    /// An error that has no place in any text.
    pub fn error_nowhere(code: &'static str, title: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, DiagnosticLevel::Error, None, title.into())
    }

    fn new(
        code: &'static str,
        level: DiagnosticLevel,
        place: Option<Place>,
        title: String,
    ) -> Diagnostic {
        Diagnostic {
            code,
            level,
            title,
            place,
            label: String::new(),
            related: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Sets the text at the underlined place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    /// Adds one sentence of help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    /// Adds `did you mean …?` if one of `known` is near to `given`.
    #[must_use]
    pub fn suggest<'k>(self, given: &str, known: impl IntoIterator<Item = &'k str>) -> Diagnostic {
        match nearest(given, known) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Adds a second place.
    #[must_use]
    pub fn related(mut self, place: Place, text: impl Into<String>) -> Diagnostic {
        self.related.push((place, text.into()));
        self
    }

    /// The text for people, like rustc's, with a newline at its end.
    pub fn render(&self, colours: bool) -> String {
        use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
        let level = match self.level {
            DiagnosticLevel::Error => Level::ERROR,
            DiagnosticLevel::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.title.as_str()).id(self.code);
        let context = |place: &Place, text: &str| {
            AnnotationKind::Context.span(place.shown_span()).label(text.to_owned())
        };
        let snippet = |place: &Place| {
            Snippet::source(place.source.text.clone()).path(place.source.name.clone())
        };
        // Places in the same file share one excerpt.
        let (here, elsewhere): (Vec<_>, Vec<_>) = self.related.iter().partition(|(related, _)| {
            self.place.as_ref().is_some_and(|place| Arc::ptr_eq(&place.source, &related.source))
        });
        let mut group = if let Some(place) = &self.place {
            let primary = AnnotationKind::Primary.span(place.shown_span()).label(&self.label);
            let marks = here.into_iter().map(|(place, text)| context(place, text));
            title.element(snippet(place).annotation(primary).annotations(marks))
        } else {
            Group::with_title(title)
        };
        for (place, text) in elsewhere {
            group = group.element(snippet(place).annotation(context(place, text)));
        }
        for help in &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        format!("{}\n", renderer.render(&[group]))
    }

    /// `file:line:column: error[code]: title`, for logs and one-line formats.
    pub fn one_line(&self) -> String {
        let mut line = String::new();
        if let Some(place) = &self.place {
            let _ = write!(line, "{}: ", place.location());
        }
        let _ = write!(line, "{}[{}]: {}", self.level.as_str(), self.code, self.title);
        line
    }
}

/// Collects diagnostics. Shared by reference, so that readers of nested sections can all report.
#[derive(Debug, Default)]
pub struct Problems {
    list: RefCell<Vec<Diagnostic>>,
}

impl Problems {
    /// None so far.
    pub fn new() -> Problems {
        Problems::default()
    }

    /// Adds one.
    pub fn push(&self, diagnostic: Diagnostic) {
        self.list.borrow_mut().push(diagnostic);
    }

    /// Whether anything at [`DiagnosticLevel::Error`] was added.
    pub fn has_errors(&self) -> bool {
        self.list.borrow().iter().any(|problem| problem.level == DiagnosticLevel::Error)
    }

    /// Everything added, by file and place.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut list = self.list.into_inner();
        list.sort_by(|a, b| {
            let key = |d: &Diagnostic| {
                d.place.as_ref().map(|place| (place.source.name.clone(), place.span.start))
            };
            key(a).cmp(&key(b)).then_with(|| a.code.cmp(b.code))
        });
        list.dedup();
        list
    }
}

/// The known name nearest to `given` by edit distance, if it is near enough to be a typing mistake
/// (at most a third of its length, at least 1), or equal but for case and separators.
pub fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect::<Vec<char>>()
    };
    let given = plain(given);
    if given.len() > 200 {
        return None;
    }
    known
        .into_iter()
        .map(|name| (edit_distance(&given, &plain(name)), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min_by_key(|(distance, name)| (*distance, name.len()))
        .map(|(_, name)| name)
}

/// Edit distance in which two neighbours that changed places count as one mistake (optimal string
/// alignment), with three rows of memory: `a.len() × b.len()` steps.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, right) in b.iter().enumerate() {
            let of = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let mut cost = (of(&last, j) + usize::from(left != right))
                .min(of(&last, j + 1) + 1)
                .min(of(&row, j) + 1);
            let swapped =
                i > 0 && j > 0 && a.get(i - 1) == Some(right) && b.get(j - 1) == Some(left);
            if swapped {
                cost = cost.min(of(&before_last, j - 1) + 1);
            }
            row.push(cost);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_name() {
        let known = ["objectRef.resource", "objectRef.name", "verb"];
        assert_eq!(nearest("objectRef.resourse", known), Some("objectRef.resource"));
        assert_eq!(nearest("objectref_name", known), Some("objectRef.name"));
        assert_eq!(nearest("completely.other", known), None);
        assert_eq!(nearest("levle", ["format", "level"]), Some("level"));
        assert_eq!(nearest("vreb", known), Some("verb"));
    }

    #[test]
    fn a_diagnostic_looks_like_rustcs() {
        let source = SourceText::new("rules/a.yaml", "detection:\n  objectRef.resourse: pods\n");
        let place = Place { source, span: 13..31 };
        let text = Diagnostic::error("R012", place, "unknown field")
            .label("audit events have no such field")
            .suggest("objectRef.resourse", ["objectRef.resource"])
            .render(false);
        assert!(text.starts_with("error[R012]: unknown field\n"), "{text}");
        assert!(text.contains("--> rules/a.yaml:2:3"), "{text}");
        assert!(text.contains("did you mean `objectRef.resource`?"), "{text}");
    }

    #[test]
    fn an_empty_place_keeps_the_margin_straight() {
        let source = SourceText::new("t.yaml", format!("{}last: x\n", "a: 1\n".repeat(9)));
        let place = Place { source, span: 45..45 };
        let text = Diagnostic::error("C002", place, "something is missing").render(false);
        assert!(text.contains("\n10 | last: x\n"), "{text}");
    }
}
