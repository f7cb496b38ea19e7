//! What we tell people about mistakes in their rule and configuration files.
//!
//! A [`Diagnostic`] has a stable code, a level, a place and help, and is rendered like rustc's. They
//! are collected in [`Problems`], never thrown: all mistakes of all files are shown at once. One
//! constructor function per diagnostic lives beside the code that finds the mistake.

pub mod code;
mod format;
mod render;
mod source;

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    fmt::Write as _,
};

use super::{limits::DIAGNOSTICS_MAX, text::printable, words::words};

pub use format::{Explain, Format, render_all, render_explained};
pub use source::{Place, SourceText};

/// Characters of one message: 400. Of a longer one the middle is left out.
const MESSAGE_CHARS_MAX: usize = 400;
/// Of these, so many stand at its end.
const TAIL_CHARS: usize = 80;

words! {
    /// How bad it is.
    pub enum DiagnosticLevel {
        /// What was loaded works, but probably not as meant.
        Warning = "warning",
        /// The file cannot be used.
        Error = "error",
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
        Diagnostic::new(code, DiagnosticLevel::Error, Some(place), title)
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, place: Place, title: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, DiagnosticLevel::Warning, Some(place), title)
    }

    /// A warning that has no place in any text.
    pub fn warning_nowhere(code: &'static str, title: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, DiagnosticLevel::Warning, None, title)
    }

    /// An error that has no place in any text.
    pub fn error_nowhere(code: &'static str, title: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, DiagnosticLevel::Error, None, title)
    }

    fn new(
        code: &'static str,
        level: DiagnosticLevel,
        place: Option<Place>,
        title: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            code,
            level,
            title: message(title),
            place,
            label: String::new(),
            related: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Sets the text at the underlined place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = message(label);
        self
    }

    /// Adds one sentence of help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(message(help));
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

    /// By file and place; what has none comes first.
    fn order(&self) -> (Option<(&str, usize)>, &str) {
        let place = self.place.as_ref();
        (place.map(|place| (place.source.name.as_str(), place.span.start)), self.code)
    }

    /// Adds a second place.
    #[must_use]
    pub fn related(mut self, place: Place, text: impl Into<String>) -> Diagnostic {
        self.related.push((place, message(text)));
        self
    }

    /// `file:line:column: error[code]: title`, for logs and one-line formats.
    pub fn one_line(&self) -> String {
        let mut line = String::new();
        if let Some(place) = &self.place {
            let _ = write!(line, "{}: ", printable(&place.location()));
        }
        let _ = write!(line, "{}[{}]: {}", self.level.as_str(), self.code, self.title);
        line
    }
}

/// Collects diagnostics. Shared by reference, so that readers of nested sections can all report.
///
/// Of each level [`DIAGNOSTICS_MAX`] are kept; the rest is counted.
#[derive(Debug, Default)]
pub struct Problems {
    list: RefCell<Vec<Diagnostic>>,
    /// How many of each level were added, kept or not.
    errors: Cell<usize>,
    warnings: Cell<usize>,
}

impl Problems {
    /// None so far.
    pub fn new() -> Problems {
        Problems::default()
    }

    /// Adds one.
    pub fn push(&self, diagnostic: Diagnostic) {
        let count = match diagnostic.level {
            DiagnosticLevel::Error => &self.errors,
            DiagnosticLevel::Warning => &self.warnings,
        };
        count.set(count.get() + 1);
        if count.get() <= DIAGNOSTICS_MAX {
            self.list.borrow_mut().push(diagnostic);
        }
    }

    /// Whether anything at [`DiagnosticLevel::Error`] was added.
    pub fn has_errors(&self) -> bool {
        self.error_count() > 0
    }

    /// How many errors were added, kept or not.
    pub fn error_count(&self) -> usize {
        self.errors.get()
    }

    /// Everything kept, by file and place; at the end, how much was not.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut list = self.list.into_inner();
        list.sort_by(|a, b| a.order().cmp(&b.order()));
        list.dedup();
        for (level, count) in
            [(DiagnosticLevel::Error, self.errors), (DiagnosticLevel::Warning, self.warnings)]
        {
            if let Some(more) = count.get().checked_sub(DIAGNOSTICS_MAX).filter(|more| *more > 0) {
                let title = format!("{more} more {}s are not shown", level.as_str());
                list.push(Diagnostic::new(code::TOO_MANY_PROBLEMS, level, None, title));
            }
        }
        list
    }
}

/// A message as it may be shown: on one line, without control characters, of bounded length.
fn message(text: impl Into<String>) -> String {
    let text = text.into();
    let at = |count: usize| text.char_indices().nth(count).map(|(at, _)| at);
    let shorter = if at(MESSAGE_CHARS_MAX).is_some() {
        let head = at(MESSAGE_CHARS_MAX - TAIL_CHARS - 1).unwrap_or(0);
        let tail = text.char_indices().rev().nth(TAIL_CHARS - 1).map_or(0, |(at, _)| at);
        format!("{}…{}", text.get(..head).unwrap_or(""), text.get(tail..).unwrap_or(""))
    } else {
        text
    };
    match printable(&shorter) {
        Cow::Borrowed(_) => shorter,
        Cow::Owned(changed) => changed,
    }
}

/// The known name nearest to `given` by edit distance, if it is near enough to be a typing mistake
/// (at most a third of its length, at least 1), or equal but for case and separators.
pub fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let given = plain(given);
    if given.chars().count() > 200 {
        return None;
    }
    // Two neighbours that changed places are one mistake.
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&given, &plain(name)), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min_by_key(|(distance, name)| (*distance, name.len()))
        .map(|(_, name)| name)
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
    fn long_messages_keep_both_ends() {
        let long = message(format!("`verb` is never `{}`", "é".repeat(1_000_000)));
        assert_eq!(long.chars().count(), MESSAGE_CHARS_MAX);
        assert!(long.starts_with("`verb` is never `é") && long.ends_with("é`"), "{long}");
        let short = "x".repeat(MESSAGE_CHARS_MAX);
        assert_eq!(message(short.clone()), short);
    }
}
