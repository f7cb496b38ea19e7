//! What is not YAML, in words for people who write it.
//!
//! The library speaks to programmers who use it. What it says of a file's mistakes is said in our
//! words here; what we do not know yet is passed on as it is.

use std::{ops::Range, sync::Arc};

use serde_saphyr::{Error, budget::BudgetBreach};

use crate::engine::diagnostic::{Diagnostic, Place, SourceText, code};

/// The diagnostic of an error of the library.
pub(super) fn not_yaml(source: &Arc<SourceText>, error: &Error) -> Diagnostic {
    let span = span_of(source, error);
    let tab = at_tab(source, span.start);
    let Mistake { code, title, help } = explain(error);
    let mut diagnostic = Diagnostic::error(code, Place { source: Arc::clone(source), span }, title);
    diagnostic.help.extend(help.map(str::to_owned));
    if tab {
        diagnostic = diagnostic.help("indent with spaces: YAML does not allow tabs there");
    }
    diagnostic
}

/// The diagnostic of a key that its mapping has already.
pub(super) fn repeated(place: Place, key: &str) -> Diagnostic {
    Diagnostic::error(code::NOT_YAML, place, repeated_key(key)).help(KEEP_ONE)
}

fn repeated_key(key: &str) -> String {
    format!("the key `{key}` is here a second time")
}

const KEEP_ONE: &str = "keep one of them";

struct Mistake {
    code: &'static str,
    title: String,
    help: Option<&'static str>,
}

fn mistake(title: impl Into<String>, help: &'static str) -> Mistake {
    Mistake { code: code::NOT_YAML, title: title.into(), help: (!help.is_empty()).then_some(help) }
}

fn explain(error: &Error) -> Mistake {
    const SPLIT: &str = "split the file";
    const ALIASES: &str = "write out what the aliases stand for; a file needs few of them, if any";
    let too_many = |title: &str, help| Mistake {
        code: code::YAML_TOO_MUCH,
        title: format!("the file {title}"),
        help: Some(help),
    };
    match error {
        Error::AliasError { error, .. } => explain(error),
        Error::NullIntoString { .. } => mistake("a key must be text, not nothing", ""),
        Error::Unexpected { expected: "string scalar", .. } => {
            mistake("a key must be text, not a list or a mapping", "put keys in quotes")
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => mistake(repeated_key(key), KEEP_ONE),
        Error::DuplicateMappingKey { key: None, .. } => {
            mistake("this key is here a second time", KEEP_ONE)
        }
        Error::NonFiniteFloat { value, .. } => mistake(
            format!("`{value}` is not a number that anything could be compared with"),
            "put it in quotes if it is text",
        ),
        Error::UnknownAnchor { .. } => mistake(
            "there is no anchor of this name before it",
            "put text that begins with `*` in quotes",
        ),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            mistake("`<<` takes a mapping, or a list of mappings", "")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            mistake("an alias must not stand inside of what it stands for", "")
        }
        Error::InvalidBinaryBase64 { .. } | Error::BinaryNotUtf8 { .. } => {
            mistake("`!!binary` is not the Base64 of a text", "write the text itself")
        }
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => too_many("has aliases for too much", ALIASES),
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => {
                too_many("is nested too deep", "put less into each other")
            }
            BudgetBreach::Documents { .. } => too_many("has too many documents", SPLIT),
            BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => too_many(
                "has too many values",
                "split it; an alias counts as all that it stands for",
            ),
            BudgetBreach::ScalarBytes { .. } => too_many("has too much text", SPLIT),
            BudgetBreach::MergeKeys { .. } => too_many("has too many `<<`", SPLIT),
            _ => too_many("has too many aliases", ALIASES),
        },
        other => {
            let message = other.to_string();
            let message = message.split(" at line ").next().unwrap_or("").trim_end_matches('.');
            if message.starts_with("recursion limit") {
                return too_many("is nested too deep", "put less into each other");
            }
            mistake(message, "")
        }
    }
}

/// The character at which an error lies; nothing at the end of the file or of a line.
fn span_of(source: &SourceText, error: &Error) -> Range<usize> {
    let start = error.location().map_or(0, |location| byte_offset(&source.text, &location));
    let next = source.text.get(start..).and_then(|rest| rest.chars().next());
    start..next.map_or(start, |c| start + if c == '\n' { 0 } else { c.len_utf8() })
}

/// Whether there is a tab at a place, or before it on its line.
fn at_tab(source: &SourceText, at: usize) -> bool {
    let before = source.text.get(..at).and_then(|head| head.rsplit('\n').next()).unwrap_or("");
    before.contains('\t') || source.text.get(at..).is_some_and(|rest| rest.starts_with('\t'))
}

fn byte_offset(text: &str, location: &serde_saphyr::Location) -> usize {
    if let Some(offset) = location.span().byte_offset() {
        return usize::try_from(offset).unwrap_or(0).min(text.len());
    }
    let line = usize::try_from(location.line()).unwrap_or(1).max(1);
    let column = usize::try_from(location.column()).unwrap_or(1).max(1);
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = text.get(start..).unwrap_or("");
    start + rest.char_indices().nth(column - 1).map_or(rest.len(), |(index, _)| index)
}
