//! Warnings about rules that what is new in Kubernetes slips past.

use std::sync::Arc;

use super::values::{items, text_occurs};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    kubernetes::fields::FieldKind,
    rule::read::{document::DetectionSyntax, modifier::Operand},
    syntax::code,
};

/// The verbs of a role that is being made.
const ROLE_VERBS: &str = "requestObject.rules.verbs";

/// The permission to act as anybody.
const IMPERSONATE: &str = "impersonate";

/// Examples of the permission to act as some, in some ways.
const LIMITED: FieldKind =
    FieldKind::Words(&["impersonate:user-info", "impersonate-on:user-info:list"]);

/// Warns about a rule that looks for roles which let somebody impersonate, and knows the old verb only:
/// since Kubernetes 1.35 (KEP-5284) others do so within limits.
pub(super) fn check_impersonation(detection: &DetectionSyntax, problems: &Problems) {
    let values = || {
        let items = items(detection).filter(|item| item.field.as_deref() == Some(ROLE_VERBS));
        items.flat_map(|item| &item.values)
    };
    let knows_limited = values().any(|(operand, _)| match operand {
        Operand::Text { pattern, .. } => text_occurs(LIMITED, pattern),
        operand => !matches!(operand, Operand::Null | Operand::Exists(_)),
    });
    let plain = values().find(|(operand, _)| operand.plain_text() == Some(IMPERSONATE));
    let Some((_, span)) = plain.filter(|_| !knows_limited) else { return };
    let place = Place { source: Arc::clone(&detection.source), span: span.clone() };
    let title = "roles that let somebody impersonate within limits are not seen";
    problems.push(
        Diagnostic::warning(code::PART_BLIND, place, title).label("the verb without limits").help(
            "since Kubernetes 1.35 there are `impersonate:…` and `impersonate-on:…`: add \
             `requestObject.rules.verbs|startswith: impersonate`",
        ),
    );
}
