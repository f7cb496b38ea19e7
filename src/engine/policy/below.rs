//! Events that were logged at a lower level than some rule needs to see what it is about.
//!
//! `policy --check` says which requests a policy hides from rules; here is what was really logged. A rule is
//! blind to an event if its level is too low for what the rule names, and all else that is known of the
//! event leaves it possible that the rule holds. What is asked for each sort of request (verb, resource, level)
//! is found once, and remembered.

use std::sync::Arc;

use hashbrown::HashMap;

use super::requests::Fields;
use crate::engine::{
    detect::{Facts, Known, Reach},
    event::{Event, FieldId, well_known},
    kubernetes::{AuditLevel, resources, users::kind_of},
    rule::{Expression, Rule, RuleIndex, RuleSet},
    text::bounded_line,
    value::Value,
};

/// Sorts of request that are remembered: 10,000. At the limit all are forgotten.
const SORTS_MAX: usize = 10_000;

/// Bytes of a verb or of the name of a resource that are shown.
const WORD_BYTES_MAX: usize = 60;

/// Says of events whether rules are blind to them.
#[derive(Debug)]
pub(in crate::engine) struct Below {
    rules: Arc<RuleSet>,
    fields: Fields,
    /// Rules that need more than the lowest level, with what each needs.
    needs: Vec<(RuleIndex, AuditLevel)>,
    highest: AuditLevel,
    /// From which level on each field is recorded.
    levels: Arc<[AuditLevel]>,
    sorts: HashMap<Box<str>, Sort>,
    /// Of the last event, to look it up.
    key: String,
}

/// Requests that an audit policy tells apart, at one level.
#[derive(Clone, Debug)]
struct Sort {
    /// The rules that are blind to some of them.
    blind: Arc<[RuleIndex]>,
    /// `create pods at Metadata: privileged_pod needs Request`.
    text: Arc<str>,
}

impl Below {
    /// For the rules of a set. Cost: some microseconds a rule.
    pub(in crate::engine) fn new(rules: Arc<RuleSet>) -> Below {
        let reach = Reach::new(&rules);
        let needs: Vec<(RuleIndex, AuditLevel)> = rules
            .detections()
            .filter(|(_, rule)| rule.expression != Expression::Constant(false))
            .map(|(index, rule)| (index, reach.level_of(&rule.expression).max(rule.meta.needs)))
            .filter(|(_, level)| *level > AuditLevel::Metadata)
            .collect();
        Below {
            fields: Fields::of(&rules),
            highest: needs.iter().map(|(_, level)| *level).max().unwrap_or_default(),
            needs,
            levels: reach.levels(),
            sorts: HashMap::new(),
            key: String::new(),
            rules,
        }
    }

    /// Whether some rule is blind to an event that has an answer; if so, to what.
    pub(in crate::engine) fn look(&mut self, event: &Event<'_>) -> Option<Arc<str>> {
        let level = event.first_str(well_known::LEVEL).and_then(AuditLevel::parse)?;
        if level >= self.highest {
            return None;
        }
        self.key.clear();
        for field in SORT {
            self.key.push_str(event.first_str(field).unwrap_or(""));
            self.key.push('\0');
        }
        let sort = match self.sorts.get(self.key.as_str()) {
            Some(sort) if sort.blind.is_empty() => return None,
            Some(sort) => sort.clone(),
            None => self.learn_sort(event, level),
        };
        let groups: Vec<String> = event
            .values(well_known::GROUPS)
            .filter_map(|group| match group {
                Value::Str(text) => Some(text.to_string()),
                _ => None,
            })
            .collect();
        let mut facts = self.facts(event);
        self.learn_who(&mut facts, event, &groups);
        let reach = Reach::again(&self.rules, &self.levels);
        let is_blind = |index: &&RuleIndex| self.is_blind(&reach, **index, facts.clone(), level);
        sort.blind.iter().find(is_blind).map(|_| Arc::clone(&sort.text))
    }

    /// Remembers the sort of the event that is being looked up.
    #[cold]
    fn learn_sort(&mut self, event: &Event<'_>, level: AuditLevel) -> Sort {
        if self.sorts.len() >= SORTS_MAX {
            self.sorts.clear();
        }
        let sort = self.sort(event, level);
        self.sorts.insert(self.key.as_str().into(), sort.clone());
        sort
    }

    /// What rules are blind to among requests like this one.
    fn sort(&self, event: &Event<'_>, level: AuditLevel) -> Sort {
        let (facts, reach) = (self.facts(event), Reach::again(&self.rules, &self.levels));
        let is_blind = |index: &RuleIndex| self.is_blind(&reach, *index, facts.clone(), level);
        let needs = self.needs.iter().map(|(index, _)| *index);
        let blind: Arc<[RuleIndex]> = needs.filter(is_blind).collect();
        let word = |field| bounded_line(event.first_str(field).unwrap_or(""), WORD_BYTES_MAX);
        let mut text = format!("{} {}", word(well_known::VERB), word(well_known::RESOURCE));
        if event.has(well_known::SUBRESOURCE) {
            text = format!("{text}/{}", word(well_known::SUBRESOURCE));
        }
        text = format!("{text} at {}", level.as_str());
        if let Some(first) = blind.first() {
            let needed = self.needs.iter().find(|(index, _)| index == first);
            let needed = needed.map_or("more", |(_, level)| level.as_str());
            let name = &self.rules.rule(self.rules.written_for(*first)).meta().name;
            let more = if blind.len() > 1 { ", and others do" } else { "" };
            text = format!("{text}: {name} needs {needed}{more}");
        }
        Sort { blind, text: text.into() }
    }

    /// Whether a rule may hold for such events, and cannot be seen to at the level.
    fn is_blind(
        &self,
        reach: &Reach<'_>,
        index: RuleIndex,
        mut facts: Facts<'_>,
        level: AuditLevel,
    ) -> bool {
        let Some(Rule::Detection(rule)) = self.rules.rules.get(index.index()) else { return false };
        let prospect = reach.prospect(&rule.expression, &facts);
        let declared = Some(rule.meta.needs);
        let declared = declared.filter(|needs| *needs > reach.level_of(&rule.expression));
        if !prospect.is_possible() || prospect.level.max(declared.unwrap_or_default()) <= level {
            return false;
        }
        facts.recorded = level;
        declared.is_some() || !reach.prospect(&rule.expression, &facts).is_possible()
    }

    /// What the sort of a request says.
    fn facts<'e>(&self, event: &'e Event<'_>) -> Facts<'e> {
        let mut facts = Facts::new(&self.rules.fields);
        for field in SORT {
            learn(&mut facts, event, field);
        }
        let text = |field| event.first_str(field).unwrap_or("");
        self.fields.learn_verb(&mut facts, text(well_known::VERB));
        let resource = resources::find(text(well_known::API_GROUP), text(well_known::RESOURCE));
        if let Some(resource) = resource {
            let below = event.first_str(well_known::SUBRESOURCE);
            self.fields.learn_resource(&mut facts, &self.rules.fields, resource, below);
        }
        facts
    }

    /// What the event says of who did it, and where.
    fn learn_who<'e>(&self, facts: &mut Facts<'e>, event: &'e Event<'_>, groups: &'e [String]) {
        for field in [well_known::USERNAME, well_known::NAMESPACE, well_known::NAME] {
            learn(facts, event, field);
        }
        facts.learn(well_known::GROUPS, Known::Has(groups));
        let fields = &self.rules.fields;
        let caller = event.first_str(well_known::USERNAME);
        let acting = event.first_str(well_known::IMPERSONATED_USERNAME);
        if let Some(actor) = acting.or(caller) {
            facts.learn_path(fields, "actor.id", Known::Is(actor));
        }
        if acting.is_none() && caller.is_some() {
            let kind = kind_of(caller, groups.iter().map(String::as_str));
            facts.learn_path(fields, "actor.kind", Known::Is(kind));
        }
    }
}

/// What an audit policy decides by, but for who it was; and the level and the stage.
const SORT: [FieldId; 6] = [
    well_known::LEVEL,
    well_known::STAGE,
    well_known::VERB,
    well_known::API_GROUP,
    well_known::RESOURCE,
    well_known::SUBRESOURCE,
];

fn learn<'e>(facts: &mut Facts<'e>, event: &'e Event<'_>, field: FieldId) {
    facts.learn(field, event.first_str(field).map_or(Known::Absent, Known::Is));
}
