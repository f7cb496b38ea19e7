//! Warnings about rules that look for words in a request's URI.
//!
//! Whoever asks may put any text into a query that nobody looks at, and encode what is looked at: such a
//! rule sees what is not there, and does not see what is.

use std::sync::Arc;

use super::values::items;
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    rule::read::{document::DetectionSyntax, modifier::Operand},
    syntax::code,
};

const REQUEST_URI: &str = "requestURI";

/// Words in such tests, and the field that says what is meant.
const INSTEAD: &[(&str, &str)] = &[
    ("dryrun", "`dry_run: true`"),
    ("labelselector", "`label_selector`"),
    ("fieldselector", "`field_selector`"),
    ("command", "`exec.command`"),
];

/// Warns about each selection that compares the URI as text.
pub(super) fn check_request_text(detection: &DetectionSyntax, problems: &Problems) {
    let of_uri = items(detection).filter(|item| item.field.as_deref() == Some(REQUEST_URI));
    for item in of_uri {
        let texts = || item.values.iter().filter_map(|(operand, _)| text_of(operand));
        if texts().next().is_none() {
            continue;
        }
        let meant = texts().find_map(|text| {
            let text = text.to_ascii_lowercase();
            INSTEAD.iter().find(|(word, _)| text.contains(word)).map(|(_, field)| *field)
        });
        let help = match meant {
            Some(field) => format!("write {field}, which is decoded as the API server does it"),
            None => "write `request.path`, or `request.query.NAME` for a parameter; both are decoded as the \
                 API server does it"
                .to_owned(),
        };
        let place = Place { source: Arc::clone(&detection.source), span: item.at.clone() };
        let title = "whoever asks decides how the text of `requestURI` looks";
        problems.push(
            Diagnostic::warning(code::FORGEABLE_TEXT, place, title)
                .label(
                    "parameters that nobody looks at may be added, and what is looked at encoded",
                )
                .help(help),
        );
    }
}

/// The text that a test looks for.
fn text_of(operand: &Operand) -> Option<String> {
    match operand {
        Operand::Text { original, .. } => Some(original.clone()),
        Operand::Regex(regex) => Some(format!("{:?}", regex.source)),
        Operand::AnyOf(operands) => operands.iter().find_map(text_of),
        _ => None,
    }
}
