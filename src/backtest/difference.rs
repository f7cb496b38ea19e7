//! What another rule set says differently about the same history.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::report::{KeyCount, Report, RuleReport};
use crate::engine::{rule::Severity, words::words};

/// Keys of one rule that a difference shows: the 10 that changed most.
const KEYS_SHOWN: usize = 10;

/// What changed from one rule set to another.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Alerts of the old rules.
    pub alerts_before: u64,
    /// Alerts of the new rules.
    pub alerts_now: u64,
    /// Rules that say the same.
    pub rules_unchanged: usize,
    /// The other rules; those first that changed most.
    pub rules: Vec<RuleDifference>,
}

/// One rule that says something else, or is new or gone.
#[derive(Clone, Debug, Serialize)]
pub struct RuleDifference {
    /// Stable id: rules with the same id are the same rule, whatever else changed.
    pub id: String,
    /// Name.
    pub name: String,
    /// Title.
    pub title: String,
    /// What became of it.
    pub change: RuleChange,
    /// Severity under the old rules, if it was there.
    pub severity_before: Option<Severity>,
    /// Severity under the new rules, if it is there.
    pub severity_now: Option<Severity>,
    /// Alerts of the old rules.
    pub alerts_before: u64,
    /// Alerts of the new rules.
    pub alerts_now: u64,
    /// Keys that changed.
    pub keys_changed: usize,
    /// Those of them that changed most.
    pub keys: Vec<KeyDifference>,
}

words! {
    /// What became of a rule.
    pub enum RuleChange {
        /// Only the new rules have it.
        New = "new",
        /// Only the old rules have it.
        Gone = "gone",
        /// Both have it, and it says something else.
        Changed = "changed",
    }
}

/// One key of a [`RuleDifference`]. With as many alerts before as now, they are at other times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyDifference {
    /// Names and values.
    pub key: String,
    /// Alerts of the old rules.
    pub alerts_before: u64,
    /// Alerts of the new rules.
    pub alerts_now: u64,
}

/// Compares what `new` rules say with what `old` rules said.
pub fn difference(new: &Report, old: &Report) -> Difference {
    let by_id = |report: &'_ Report| -> BTreeMap<String, RuleReport> {
        report.rules.iter().map(|rule| (rule.id.clone(), rule.clone())).collect()
    };
    let (new_rules, old_rules) = (by_id(new), by_id(old));
    let ids: BTreeSet<&String> = new_rules.keys().chain(old_rules.keys()).collect();
    let mut rules: Vec<RuleDifference> =
        ids.iter().filter_map(|id| compare(old_rules.get(*id), new_rules.get(*id))).collect();
    rules.sort_by_key(|rule| {
        let changed = rule.keys.iter().map(changed_by).sum::<u64>();
        (std::cmp::Reverse(changed), rule.title.clone())
    });
    Difference {
        alerts_before: old.alerts,
        alerts_now: new.alerts,
        rules_unchanged: ids.len() - rules.len(),
        rules,
    }
}

fn changed_by(key: &KeyDifference) -> u64 {
    key.alerts_before.abs_diff(key.alerts_now)
}

/// `None` if both say the same.
fn compare(old: Option<&RuleReport>, new: Option<&RuleReport>) -> Option<RuleDifference> {
    let either = new.or(old)?;
    let change = match (old, new) {
        (None, _) => RuleChange::New,
        (_, None) => RuleChange::Gone,
        _ => RuleChange::Changed,
    };
    let none = BTreeMap::new();
    let before = old.map_or(&none, |rule| &rule.all_keys);
    let now = new.map_or(&none, |rule| &rule.all_keys);
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let mut keys: Vec<KeyDifference> = keys
        .into_iter()
        .filter(|key| before.get(*key) != now.get(*key))
        .map(|key| {
            let alerts =
                |keys: &BTreeMap<String, KeyCount>| keys.get(key).map_or(0, |one| one.alerts);
            KeyDifference {
                key: key.clone(),
                alerts_before: alerts(before),
                alerts_now: alerts(now),
            }
        })
        .collect();
    let severity_before = old.map(|rule| rule.severity);
    let severity_now = new.map(|rule| rule.severity);
    if change == RuleChange::Changed && keys.is_empty() && severity_before == severity_now {
        return None;
    }
    keys.sort_by(|a, b| changed_by(b).cmp(&changed_by(a)).then_with(|| a.key.cmp(&b.key)));
    let keys_changed = keys.len();
    keys.truncate(KEYS_SHOWN);
    Some(RuleDifference {
        id: either.id.clone(),
        name: either.name.clone(),
        title: either.title.clone(),
        change,
        severity_before,
        severity_now,
        alerts_before: old.map_or(0, |rule| rule.alerts),
        alerts_now: new.map_or(0, |rule| rule.alerts),
        keys_changed,
        keys,
    })
}
