//! Warns about control planes that are to be excused by name, and that nothing confirms.

use std::{collections::BTreeSet, sync::Arc};

use super::values::items;
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    event::{Identities, derived::CONFIRMED},
    kubernetes::users::is_unknown_control_plane,
    rule::read::{document::RuleDocument, list::Lists, modifier::Operand, pattern::Part},
    syntax::code,
    value::fold_case,
};

/// Warns where `actor.confirmed` is compared with the name of a control plane that is neither known nor listed in
/// `identities.yaml`; of a list once, however many rules name it. Patterns are not looked at.
pub(in crate::engine) fn check_confirmed(
    documents: &[RuleDocument],
    lists: &Lists,
    identities: &Identities,
    problems: &Problems,
) {
    let listed: BTreeSet<&str> = identities.machines().collect();
    let warn = |name: &str, place: Place| {
        let folded = fold_case(name);
        if !is_unknown_control_plane(&folded) || listed.contains(folded.as_str()) {
            return;
        }
        let title = format!("`{CONFIRMED}` is never `{name}` where groups are recorded");
        problems.push(Diagnostic::warning(code::CANNOT_MATCH, place, title).help(format!(
            "no group confirms such a name; if it is one of your control plane, list it in \
             `identities.yaml`: `- {{users: ['{name}'], human: false}}`"
        )));
    };
    let mut named = BTreeSet::new();
    for document in documents {
        let detection = match document {
            RuleDocument::Detection(detection) => &detection.detection,
            RuleDocument::Filter(filter) => &filter.detection,
            RuleDocument::Correlation(_) => continue,
        };
        for item in items(detection).filter(|item| item.field.as_deref() == Some(CONFIRMED)) {
            for (value, span) in &item.values {
                if let Some(name) = value.plain_text() {
                    let source = Arc::clone(&detection.source);
                    warn(name, Place { source, span: span.clone() });
                }
                if let Operand::Text { pattern, .. } = value
                    && let [Part::Placeholder(list)] = pattern.parts.as_slice()
                {
                    named.insert(list.as_str());
                }
            }
        }
    }
    for (_, list) in lists.iter().filter(|(name, _)| named.contains(name)) {
        for entry in &list.entries {
            if let Some(name) = entry.pattern.plain() {
                warn(name, list.place_of(entry));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{
        diagnostic::SourceText,
        rule::{LoadOptions, RuleSources, load},
    };

    /// Names of a list that are warned about, however many rules name the list.
    fn unconfirmed(list: &str, identities: &str) -> Vec<String> {
        let rule = |name: &str| {
            format!(
                "title: {name}\nname: {name}\nlogsource: {{product: kubernetes, service: audit}}\ndetection:\n  \
                 s: {{verb: get}}\n  k: {{actor.confirmed|expand: '%known%'}}\n  condition: s and not k\n"
            )
        };
        let sources = RuleSources {
            rules: ["a", "b"]
                .map(|name| SourceText::new(format!("{name}.yaml"), rule(name)))
                .into(),
            lists: vec![("known".to_owned(), SourceText::new("lists/known.yaml", list))],
            identities: Some(SourceText::new("identities.yaml", identities)),
            ..RuleSources::default()
        };
        let loaded = load(&sources, &LoadOptions::default());
        let found = loaded.diagnostics.iter().filter(|one| one.title.contains("actor.confirmed"));
        found.map(|one| one.title.split('`').nth(3).unwrap().to_owned()).collect()
    }

    #[test]
    fn entries_that_nothing_confirms_are_named_once() {
        let list = "[alice, 'eks:new', 'System:Other', 'eks:node-manager', 'system:apiserver', aksService, \
                    'system:node:n', 'system:serviceaccount:a:b', 'system:bootstrap:x', 'eks:*', 'system:admin']";
        let nobody =
            "identities: [{users: [bob, 'eks:*'], human: false}, {users: ['eks:new'], team: a}]";
        assert_eq!(unconfirmed(list, nobody), ["eks:new", "System:Other"]);
        let known = "identities: [{users: ['EKS:new', 'system:other'], human: false}]";
        assert_eq!(unconfirmed(list, known), [""; 0]);
    }
}
