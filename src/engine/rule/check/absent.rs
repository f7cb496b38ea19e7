//! Warnings about keys of correlations that the events of a rule do not have.

use super::require::{requirements, requires_field};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    event::{FieldId, known_field},
    kubernetes::{
        fields::Presence, resources::is_cluster_scoped, stages::UNAUTHORIZED, verbs::NAMELESS,
    },
    rule::plan::{build::Builder, rule::DetectionRule},
    syntax::code,
};

/// Warns if a key part (or counted field) of a correlation is absent from most events of a rule.
pub(in crate::engine) fn check_presence(
    rule: &DetectionRule,
    path: &str,
    place: &Place,
    builder: &Builder,
    problems: &Problems,
) {
    let Some(why) = why_absent(rule, path, builder) else { return };
    let title = format!("most events of `{}` have no `{path}`", rule.meta.name);
    problems.push(
        Diagnostic::warning(code::OFTEN_ABSENT, place.clone(), title)
            .label(why)
            .help("events in which it is absent do not count; choose another field"),
    );
}

fn why_absent(rule: &DetectionRule, path: &str, builder: &Builder) -> Option<&'static str> {
    let field: Option<FieldId> = builder.fields.get(path);
    if field.is_some_and(|field| requires_field(&rule.expression, field, builder)) {
        return None;
    }
    if let Some(Presence::Rarely(why)) = known_field(path).map(|known| known.presence) {
        // Fields that follow from others: a command where there is an exec.
        let follows = matches!(path, "exec.command")
            .then(|| builder.fields.get("objectRef.subresource"))
            .flatten()
            .is_some_and(|field| requires_field(&rule.expression, field, builder));
        return (!follows).then_some(why);
    }
    let required = requirements(&rule.expression, builder).ok()?;
    let all = |other: &str, fits: &dyn Fn(&str) -> bool| {
        let values = builder.fields.get(other).and_then(|field| required.get(&field));
        values.is_some_and(|values| values.iter().all(|value| fits(value)))
    };
    match path {
        "objectRef.name" => {
            all("verb", &|verb| NAMELESS.contains(&verb)).then_some("lists have no name")
        }
        "user.username" => all("responseStatus.code", &|code| code == UNAUTHORIZED.to_string())
            .then_some("who failed to log in is not known"),
        "objectRef.namespace" => all("objectRef.resource", &is_cluster_scoped)
            .then_some("these resources are cluster-scoped"),
        _ => None,
    }
}
