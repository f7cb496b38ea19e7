//! Warnings about keys of correlations that the events of a rule do not have.

use super::require::{requirements, requires_field};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    event::FieldId,
    rule::{
        plan::{build::Builder, rule::DetectionRule},
        taxonomy::{self, Presence},
    },
    syntax::code,
};

/// Fields that are absent when another field has only values of these.
const ABSENT_WITH: &[(&str, &str, &[&str], &str)] = &[
    ("objectRef.name", "verb", &["list", "watch", "deletecollection"], "lists have no name"),
    ("user.username", "responseStatus.code", &["401"], "who failed to log in is not known"),
    (
        "objectRef.namespace",
        "objectRef.resource",
        &[
            "apiservices",
            "certificatesigningrequests",
            "clusterrolebindings",
            "clusterroles",
            "customresourcedefinitions",
            "mutatingwebhookconfigurations",
            "nodes",
            "persistentvolumes",
            "storageclasses",
            "validatingwebhookconfigurations",
        ],
        "these resources are cluster-scoped",
    ),
];

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
    if let Some(Presence::Rarely(why)) = taxonomy::known(path).map(|known| known.presence) {
        // Fields that follow from others: a command where there is an exec.
        let follows = matches!(path, "exec.command")
            .then(|| builder.fields.get("objectRef.subresource"))
            .flatten()
            .is_some_and(|field| requires_field(&rule.expression, field, builder));
        return (!follows).then_some(why);
    }
    let required = requirements(&rule.expression, builder).ok()?;
    ABSENT_WITH.iter().find_map(|(absent, other, values, why)| {
        let others = required.get(&builder.fields.get(other)?)?;
        let fits = *absent == path && others.iter().all(|one| values.contains(&one.as_str()));
        fits.then_some(*why)
    })
}
