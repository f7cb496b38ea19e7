//! Names in a question to which there is no answer: those that nothing of the ledger has may be mistyped. Where there is an
//! answer nobody doubts them: a list of all secrets was about those of a namespace, too, that no row names.

use std::collections::BTreeSet;

use super::{AskError, Mistake, Params, Target, check_known, is_in_spool};
use crate::{
    archive::{Filter, Reader},
    engine::{
        diagnostic::nearest,
        ledger::{EntryKind, RULE_NAME},
        rule::{CLASSES, RuleSet, SESSION},
        text::printable,
    },
};

/// Refuses the first name that nothing has, and says which one may have been meant.
///
/// # Errors
/// There is such a name, or the ledger cannot be read.
pub fn check(reader: &Reader, params: &Params) -> Result<(), AskError> {
    if let Some(class) = params.text("class") {
        check_class(reader, class)?;
    }
    if let Some(cluster) = params.text("cluster") {
        check_cluster(reader, cluster)?;
    }
    if let Some(resource) = params.text("resource") {
        Target::read(resource).check()?;
    }
    if let Some(namespace) = params.text("namespace") {
        check_known(reader, &["namespace"], "namespace", namespace)?;
    }
    Ok(())
}

/// Refuses a verb that is none of these.
///
/// # Errors
/// Which one may have been meant.
pub(super) fn check_verb(verb: &str, known: &[&'static str]) -> Result<(), Mistake> {
    if known.contains(&verb) {
        return Ok(());
    }
    let near = nearest(verb, known.iter().copied());
    let hint = near.map_or_else(
        || format!("they are: {}", known.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    let message = format!("there is no verb `{}`", printable(verb));
    Err(Mistake { code: "unknown_name", message, hint })
}

/// Classes are those of the shipped rules, and those that rows have.
fn check_class(reader: &Reader, class: &str) -> Result<(), AskError> {
    let mut known: BTreeSet<String> =
        CLASSES.iter().chain([&SESSION]).map(ToString::to_string).collect();
    for month in reader.heads() {
        // Those of a month of an earlier version are not known.
        let Some(rows) = month.rows else { return Ok(()) };
        known.extend(rows.into_keys().filter(|name| EntryKind::parse(name).is_none()));
    }
    if known.contains(class) || is_in_spool(reader, class) {
        return Ok(());
    }
    Err(unknown("class", class, &known))
}

/// Refuses a cluster that nothing of the ledger is about: they stand in accesses, and in what is told of coverage and
/// grants. Cost: a look into an index of each month, and for one that stands in no access a pass over hours.
///
/// # Errors
/// It is one, or the ledger cannot be read.
pub fn check_cluster(reader: &Reader, cluster: &str) -> Result<(), AskError> {
    if reader.may_have(cluster)? || is_in_spool(reader, cluster) {
        return Ok(());
    }
    let mut known = BTreeSet::new();
    for kind in [EntryKind::Coverage, EntryKind::RbacSnapshot] {
        reader.each_of(&[Filter::Entries(kind)], |row| {
            if let Some(entry) = row.entry().filter(|entry| !known.contains(&entry.subject)) {
                known.insert(entry.subject.clone());
            }
        })?;
    }
    if known.contains(cluster) { Ok(()) } else { Err(unknown("cluster", cluster, &known)) }
}

/// Id, name and title of each rule in force.
fn in_force(rules: &RuleSet) -> impl Iterator<Item = &str> {
    rules.rules.iter().flat_map(|rule| {
        let meta = rule.meta();
        [&meta.id, &meta.name, &meta.about.title].map(String::as_str)
    })
}

/// Whether alerts may come of what has this id, name or title: a rule in force, or Tripline itself, of whose alerts there is
/// no list.
pub fn may_fire(rules: &RuleSet, rule: &str) -> bool {
    rule.to_lowercase().starts_with("tripline") || in_force(rules).any(|name| name == rule)
}

/// Refuses a rule that is not in force, and of which the ledger has no alert. Cost: a pass over the entries on alerts, if it
/// is not in force.
///
/// # Errors
/// It is one, or the ledger cannot be read.
pub fn check_rule(reader: &Reader, rules: &RuleSet, rule: &str) -> Result<(), AskError> {
    if may_fire(rules, rule) {
        return Ok(());
    }
    let mut known: BTreeSet<String> = in_force(rules).map(str::to_owned).collect();
    reader.each_of(&[Filter::Entries(EntryKind::Alert)], |row| {
        let Some(entry) = row.entry() else { return };
        let names = [&entry.party, &entry.detail].map(String::as_str);
        for name in names.into_iter().chain(entry.fact_of(RULE_NAME)) {
            if !known.contains(name) {
                known.insert(name.to_owned());
            }
        }
    })?;
    if known.contains(rule) {
        return Ok(());
    }
    let near = nearest(rule, known.iter().map(String::as_str));
    let hint = near.map_or_else(
        || {
            "no rule in force has this id, name or title, and no alert of the ledger is of it"
                .to_owned()
        },
        |near| format!("did you mean `{}`?", printable(near)),
    );
    let message = format!("nothing is known of the rule `{}`", printable(rule));
    Err(Mistake { code: "unknown_name", message, hint }.into())
}

fn unknown(what: &str, text: &str, known: &BTreeSet<String>) -> AskError {
    let near = nearest(text, known.iter().map(String::as_str));
    let list = || {
        let list: Vec<&str> =
            known.iter().map(String::as_str).filter(|name| !name.is_empty()).take(10).collect();
        format!("there are: {}", printable(&list.join(", ")))
    };
    let hint = near.map_or_else(list, |near| format!("did you mean `{}`?", printable(near)));
    let message = format!("nothing is known of the {what} `{}`", printable(text));
    Mistake { code: "unknown_name", message, hint }.into()
}
