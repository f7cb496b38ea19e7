//! What recording rules record in a test, and how it differs from what the test states.

use std::{collections::BTreeMap, time::Duration};

use super::file::{ACCESS_TEXTS, ExpectedAccess};
use crate::engine::{
    access::{Access, Observed},
    duration::written,
    rule::{Rule, RuleSet},
    text::printable,
    time::EventTime,
};

/// What one rule recorded of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The path of the file in which the rule stands.
    pub(super) file: String,
    /// Name of the rule.
    pub rule: String,
    /// Offset of the event.
    pub at: Duration,
    /// The class that the rule gives it.
    pub class: String,
    /// Within which time like ones become one row; zero if each is a row of its own.
    pub every: Duration,
    /// What else is known of it: `actor`, `object`, `outcome` …
    pub texts: BTreeMap<&'static str, String>,
}

impl Recorded {
    /// What each rule recorded of an event.
    pub(super) fn all(rules: &RuleSet, observed: &Observed, start: EventTime) -> Vec<Recorded> {
        let access = observed.access();
        let of_rule = |name: &std::sync::Arc<str>| {
            let (_, rule) = rules.written().find(|(_, rule)| *rule.meta().name == **name)?;
            let Rule::Detection(detection) = rule else { return None };
            let spec = detection.record.as_ref()?;
            Some(Recorded {
                file: super::path_of(rule)?.to_owned(),
                rule: name.to_string(),
                at: access.at.since(start),
                class: spec.class.to_string(),
                every: spec.every.unwrap_or_default(),
                texts: texts(&access),
            })
        };
        access.rules.iter().filter_map(of_rule).collect()
    }
}

fn texts(access: &Access) -> BTreeMap<&'static str, String> {
    let text = |name: &'static str| {
        let value = match name {
            "actor" => access.actor.id.as_deref().map(str::to_owned),
            "command" => access.detail.command.clone(),
            "kind" => Some(access.actor.kind.to_string()),
            "object" => access.object.as_ref().map(|object| {
                let parts = [object.namespace.as_deref(), Some(&*object.resource)];
                let more = [object.name.as_deref(), object.subresource.as_deref()];
                let parts: Vec<&str> = parts.into_iter().chain(more).flatten().collect();
                parts.join("/")
            }),
            "on_behalf_of" => access.on_behalf_of.as_deref().map(str::to_owned),
            "outcome" => access.outcome.map(|outcome| outcome.as_str().to_owned()),
            "permission" => access.permission.as_ref().map(ToString::to_string),
            "verb" => access.verb.as_deref().map(str::to_owned),
            _ => None,
        };
        Some((name, value?))
    };
    ACCESS_TEXTS.into_iter().filter_map(text).collect()
}

/// Compares what was recorded with what a test states; a sentence for each difference.
pub(super) fn compare(expected: &[ExpectedAccess], recorded: &[Recorded]) -> Vec<String> {
    let mut left: Vec<&Recorded> = recorded.iter().collect();
    let mut found = Vec::new();
    for wanted in expected {
        let nearest = (0..left.len())
            .filter_map(|index| Some((differences(wanted, left.get(index)?), index)))
            .min_by_key(|(differences, _)| differences.len());
        match nearest {
            Some((differences, index)) if differences.len() <= 1 => {
                let access = left.remove(index);
                let of = describe(access);
                found.extend(differences.iter().map(|difference| format!("{difference} in {of}")));
            }
            _ => {
                let class = wanted.class.as_deref().unwrap_or("any class");
                let at = written(wanted.at);
                found.push(format!("expected, but was not recorded: {{at: {at}, class: {class}}}"));
            }
        }
    }
    let unexpected =
        |access: &Recorded| format!("recorded, but was not expected: {}", describe(access));
    found.extend(left.into_iter().map(unexpected));
    found
}

fn differences(expected: &ExpectedAccess, access: &Recorded) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |what: &str, wanted: &str, got: &str| {
        if wanted != got {
            found.push(format!("{what}: expected {}, got {}", printable(wanted), printable(got)));
        }
    };
    check("at", &written(expected.at), &written(access.at));
    if let Some(class) = &expected.class {
        check("class", class, &access.class);
    }
    if let Some(every) = expected.every {
        check("every", &written(every), &written(access.every));
    }
    for (name, wanted) in &expected.texts {
        check(name, wanted, access.texts.get(name.as_str()).map_or("nothing", String::as_str));
    }
    found
}

fn describe(access: &Recorded) -> String {
    let at = written(access.at);
    let text = |name: &str| access.texts.get(name).map_or("nothing", String::as_str);
    let (verb, object) = (printable(text("verb")), printable(text("object")));
    format!("{{at: {at}, class: {}, verb: {verb}, object: {object}}}", access.class)
}
