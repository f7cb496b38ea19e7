//! The plan that rules are compiled to: what detection and correlation work from.
//!
//! Everything is resolved here: fields to numbers, names to indexes, lists to sets, patterns to
//! automata. Evaluation never looks at text of a rule file again.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    expression::Predicate,
    outline::Outline,
    rule::{CorrelationRule, DetectionRule, Rule, RuleIndex},
    schedule::Schedule,
};
use crate::engine::event::{FieldTable, Identities};

/// All rules that are loaded, immutable and shared.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// Fields that something needs.
    pub fields: FieldTable,
    /// Each distinct test of a field, once.
    pub predicates: Vec<Predicate>,
    /// Detection rules first, then correlations, each after everything that it refers to.
    pub rules: Vec<Rule>,
    /// Named schedules.
    pub schedules: Vec<Schedule>,
    /// Who is who.
    pub identities: Arc<Identities>,
    /// How the conditions of detection rules were written, for explaining them. Never evaluated
    /// otherwise.
    pub outlines: BTreeMap<RuleIndex, Outline>,
    /// Hash of all files the set was made from; shown by `/-/rules` and in logs.
    pub version: String,
}

impl RuleSet {
    /// The rule at an index.
    ///
    /// # Panics
    /// If the index comes from another rule set.
    pub fn rule(&self, index: RuleIndex) -> &Rule {
        self.rules.get(index.index()).expect("a rule index belongs to this rule set")
    }

    /// The rule with an id.
    pub fn find(&self, id: &str) -> Option<RuleIndex> {
        let index = self.rules.iter().position(|rule| rule.meta().id == id)?;
        u32::try_from(index).ok().map(RuleIndex)
    }

    /// Rules that nobody wrote, each with the correlation that it was made for: the events of a rule
    /// with state, and the inputs of a correlation that has a schedule. Their ids begin with that of
    /// the correlation.
    pub fn hidden(&self) -> BTreeMap<RuleIndex, RuleIndex> {
        let mut hidden = BTreeMap::new();
        for (index, correlation) in self.correlations() {
            for input in &correlation.inputs {
                let id = self.rules.get(input.rule.index()).map(|rule| rule.meta().id.as_str());
                let rest = id.and_then(|id| id.strip_prefix(&correlation.meta.id));
                if rest.is_some_and(|rest| rest.starts_with('#')) {
                    hidden.insert(input.rule, index);
                }
            }
        }
        hidden
    }

    /// The detection rules with their indexes.
    pub fn detections(&self) -> impl Iterator<Item = (RuleIndex, &DetectionRule)> {
        self.rules.iter().enumerate().filter_map(|(index, rule)| match rule {
            Rule::Detection(rule) => Some((RuleIndex(u32::try_from(index).ok()?), rule)),
            Rule::Correlation(_) => None,
        })
    }

    /// The correlations with their indexes.
    pub fn correlations(&self) -> impl Iterator<Item = (RuleIndex, &CorrelationRule)> {
        self.rules.iter().enumerate().filter_map(|(index, rule)| match rule {
            Rule::Correlation(rule) => Some((RuleIndex(u32::try_from(index).ok()?), rule)),
            Rule::Detection(_) => None,
        })
    }
}
