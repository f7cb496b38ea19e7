//! Warnings about fields that do not exist.

use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    rule::taxonomy,
    syntax::code,
};

/// Warns about a field that neither audit events nor Tripline have.
pub(in crate::engine) fn check_field(path: &str, place: &Place, problems: &Problems) {
    if taxonomy::known(path).is_some() {
        return;
    }
    let mut diagnostic =
        Diagnostic::warning(code::UNKNOWN_FIELD, place.clone(), format!("unknown field `{path}`"))
            .label("audit events have no such field");
    if let Some(near) = taxonomy::suggestion(path) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    problems.push(diagnostic);
}
