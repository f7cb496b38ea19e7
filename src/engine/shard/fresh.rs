//! What a shard that has seen nothing makes of a rule set.

use std::time::Duration;

use super::{EngineSettings, Identities};
use crate::engine::{
    kind::RuleState,
    limits::IDENTITIES_PER_RULE_MAX,
    rule::{Rule, RuleIndex, RuleSet},
};

/// No state yet, of correlations; by index.
pub(super) fn fresh_states(rules: &RuleSet) -> Vec<Option<Box<dyn RuleState>>> {
    let fresh = |rule: &Rule| match rule {
        Rule::Detection(_) => None,
        Rule::Correlation(rule) => Some(rule.kind.fresh(rule.frame)),
    };
    rules.rules.iter().map(fresh).collect()
}

/// Who is told of the findings of each rule: correlation and its input.
pub(super) fn listeners(rules: &RuleSet) -> Vec<Vec<(RuleIndex, usize)>> {
    let mut listeners = vec![Vec::new(); rules.rules.len()];
    for (index, rule) in rules.correlations() {
        for (input_index, input) in rule.inputs.iter().enumerate() {
            if let Some(list) = listeners.get_mut(input.rule.index()) {
                list.push((index, input_index));
            }
        }
    }
    listeners
}

/// No identities yet, of rules for which a copy of an event makes a difference. Each is to be known as long
/// as the event may count in any correlation above the rule, and in its own alert.
pub(super) fn fresh_identities(
    rules: &RuleSet,
    settings: &EngineSettings,
) -> Vec<Option<Identities>> {
    let of_alert = |rule: &Rule| rule.meta().alert.as_ref().map(|_| settings.resolve_after);
    let mut spans: Vec<Option<Duration>> = rules.rules.iter().map(of_alert).collect();
    let correlations: Vec<_> = rules.correlations().collect();
    // Rules stand behind those that they refer to.
    for (index, rule) in correlations.into_iter().rev() {
        if !rule.kind.minds_copies() {
            continue;
        }
        let above = spans.get(index.index()).copied().flatten();
        let span = Some(rule.identity_span()).max(above);
        for input in &rule.inputs {
            if let Some(below) = spans.get_mut(input.rule.index()) {
                *below = span.max(*below);
            }
        }
    }
    let fresh = |span: Duration| {
        Identities::new(span.saturating_add(settings.grace), IDENTITIES_PER_RULE_MAX)
    };
    spans.into_iter().map(|span| span.map(fresh)).collect()
}
