//! How the rules use each field.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashSet;

use super::{
    alternative::Alternative,
    class::{named_texts, prefix},
    cost::{Cost, cost_of},
};
use crate::engine::{
    event::FieldId,
    rule::{PredicateId, RuleSet, Test},
};

/// How the rules use one field.
pub(super) struct Uses<'r> {
    pub(super) field: FieldId,
    /// By the number of the rule.
    pub(super) by_rule: Vec<(usize, Named<'r>)>,
    /// The prefixes that all of them look for.
    pub(super) prefixes: BTreeSet<&'r str>,
}

/// What one rule says about one field.
#[derive(Default)]
pub(super) struct Named<'r> {
    pub(super) texts: HashSet<&'r str>,
    /// It also has tests that are more than a list of texts.
    pub(super) patterns: bool,
    /// Its tests of the field.
    pub(super) tests: BTreeSet<PredicateId>,
}

impl<'r> Uses<'r> {
    /// Of every field that can be indexed, by field.
    pub(super) fn of(rules: &'r RuleSet, alternatives: &[Alternative<'_>]) -> Vec<Uses<'r>> {
        let mut by_field: BTreeMap<FieldId, Uses<'r>> = BTreeMap::new();
        for (number, one) in alternatives.iter().enumerate() {
            one.condition.for_each_predicate(&mut |id| {
                let Some(predicate) = rules.predicates.get(id.0 as usize) else { return };
                let field = predicate.field;
                if cost_of(rules.fields.path(field)) == Cost::TooMuch {
                    return;
                }
                let uses = by_field.entry(field).or_insert_with(|| Uses {
                    field,
                    by_rule: Vec::new(),
                    prefixes: BTreeSet::new(),
                });
                uses.prefixes.extend(prefix(&predicate.test));
                if uses.by_rule.last().is_none_or(|(last, _)| *last != number) {
                    uses.by_rule.push((number, Named::default()));
                }
                let Some((_, named)) = uses.by_rule.last_mut() else { return };
                named.tests.insert(id);
                match named_texts(&predicate.test) {
                    Some(texts) => named.texts.extend(texts),
                    None => named.patterns |= !matches!(predicate.test, Test::Exists | Test::Null),
                }
            });
        }
        by_field.into_values().collect()
    }
}
