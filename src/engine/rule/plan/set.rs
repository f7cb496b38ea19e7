//! The plan that rules are compiled to: what detection and correlation work from.
//!
//! Everything is resolved here: fields to numbers, names to indexes, lists to sets, patterns to
//! automata. Evaluation never looks at text of a rule file again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;

use super::{
    exception::{Exceptions, LeftOut},
    expression::Predicate,
    outline::Outline,
    rule::{CorrelationInput, CorrelationRule, DetectionRule, Origin, Rule, RuleIndex},
    schedule::Schedule,
};
use crate::engine::{
    decode::Projections,
    event::{FieldTable, Identities},
    rule::sources::RuleSources,
    text::counted,
};

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
    /// Filters, and entries of lists of which more is said than their values: filters first, in the order of the
    /// files.
    pub exceptions: Exceptions,
    /// What tells how often exceptions are used, by rules.
    pub left_out: Vec<LeftOut>,
    /// Where these fields stand in events, and those that decoders add.
    pub(in crate::engine) projections: Projections,
    /// Hash of all files the set was made from; shown by `/-/rules` and in logs.
    pub version: String,
    /// The files that it was made from.
    pub sources: RuleSources,
    /// All rules by their exact id.
    pub(in crate::engine) by_id: HashMap<String, RuleIndex>,
    /// Written rules by name and id in lower case; a name comes before the same id of another.
    pub(in crate::engine) by_name: HashMap<String, RuleIndex>,
}

impl RuleSet {
    /// A set of these rules, in this order, that can be found. All else is empty.
    pub fn new(rules: Vec<Rule>) -> RuleSet {
        let mut set = RuleSet { rules, ..RuleSet::default() };
        for (index, rule) in indexed(&set.rules) {
            set.by_id.insert(rule.meta().id.clone(), index);
        }
        let metas = || indexed(&set.rules).map(|(index, rule)| (index, rule.meta()));
        let written = || metas().filter(|(_, meta)| meta.origin == Origin::Written);
        let ids = written().map(|(index, meta)| (meta.id.to_lowercase(), index));
        let names = written().map(|(index, meta)| (meta.name.to_lowercase(), index));
        set.by_name = ids.chain(names).collect();
        set
    }

    /// The rule at an index.
    ///
    /// # Panics
    /// If the index comes from another rule set.
    pub fn rule(&self, index: RuleIndex) -> &Rule {
        self.rules.get(index.index()).expect("a rule index belongs to this rule set")
    }

    /// What is left out of rules, by its number behind theirs: so both stand in one index.
    pub(in crate::engine) fn left_out_at(&self, index: RuleIndex) -> Option<&LeftOut> {
        self.left_out.get(index.index().checked_sub(self.rules.len())?)
    }

    /// The rule with an id, exactly as it is stored.
    pub fn find(&self, id: &str) -> Option<RuleIndex> {
        self.by_id.get(id).copied()
    }

    /// The rule that people mean by a name or an id: somebody wrote it, and case makes no difference.
    pub fn find_written(&self, name: &str) -> Option<RuleIndex> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    /// The rules that somebody wrote, with their indexes.
    pub fn written(&self) -> impl Iterator<Item = (RuleIndex, &Rule)> {
        indexed(&self.rules).filter(|(_, rule)| rule.meta().origin == Origin::Written)
    }

    /// How many rules somebody wrote: what people are told.
    pub fn written_count(&self) -> usize {
        self.written().count()
    }

    /// How many of them record, and make no alert.
    pub fn recording_count(&self) -> usize {
        self.written().filter(|(_, rule)| rule.records()).count()
    }

    /// The classes that rules record.
    pub fn classes(&self) -> BTreeSet<String> {
        let records = self.detections().filter_map(|(_, rule)| rule.record.as_ref());
        records.map(|record| record.class.to_string()).collect()
    }

    /// How many rules somebody wrote, for people: `57 rules, 15 of them record`.
    pub fn written_counted(&self) -> String {
        let all = counted(self.written_count(), "rule");
        match self.recording_count() {
            0 => all,
            recording => format!("{all}, {recording} of them for the ledger"),
        }
    }

    /// The written rule behind a rule: itself, or the one that it was made for.
    pub fn written_for(&self, index: RuleIndex) -> RuleIndex {
        match self.rule(index).meta().origin {
            Origin::Written => index,
            Origin::MadeFor(written) => written,
        }
    }

    /// How far back an event may lie that matters to some correlation: the longest window, with those of
    /// the correlations below it.
    pub fn longest_window(&self) -> Duration {
        let mut spans: Vec<Duration> = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            // Rules stand behind those that they refer to.
            let span = match rule {
                Rule::Detection(_) => Duration::ZERO,
                Rule::Correlation(rule) => {
                    let below = |input: &CorrelationInput| spans.get(input.rule.index()).copied();
                    let below = rule.inputs.iter().filter_map(below).max().unwrap_or_default();
                    rule.frame.timespan.saturating_add(below)
                }
            };
            spans.push(span);
        }
        spans.into_iter().max().unwrap_or_default()
    }

    /// The detection rules with their indexes.
    pub fn detections(&self) -> impl Iterator<Item = (RuleIndex, &DetectionRule)> {
        indexed(&self.rules).filter_map(|(index, rule)| match rule {
            Rule::Detection(rule) => Some((index, rule)),
            Rule::Correlation(_) => None,
        })
    }

    /// The correlations with their indexes.
    pub fn correlations(&self) -> impl Iterator<Item = (RuleIndex, &CorrelationRule)> {
        indexed(&self.rules).filter_map(|(index, rule)| match rule {
            Rule::Correlation(rule) => Some((index, rule)),
            Rule::Detection(_) => None,
        })
    }
}

fn indexed(rules: &[Rule]) -> impl Iterator<Item = (RuleIndex, &Rule)> {
    (0..).map(RuleIndex).zip(rules)
}
