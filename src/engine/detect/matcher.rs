//! Evaluation of conditions: each distinct predicate at most once an event, and only when asked.

use std::sync::Arc;

use super::{
    element,
    test::{self, Scratch},
};
use crate::engine::{
    event::{Event, FieldId, Sources, derived},
    rule::{Expression, PredicateId, RuleSet, Test},
};

/// What is remembered of the predicates of one rule set.
#[derive(Debug)]
pub(super) struct Matcher {
    /// For each predicate: the event for which it was evaluated, twice, plus its result.
    memo: Vec<u64>,
    /// Number of the event, from 1.
    event_number: u64,
    derivations: Derivations,
    scratch: Scratch,
}

impl Matcher {
    pub(super) fn new(rules: &RuleSet) -> Matcher {
        Matcher {
            memo: vec![0; rules.predicates.len()],
            event_number: 0,
            derivations: Derivations::new(rules),
            scratch: Scratch::default(),
        }
    }

    /// Forgets the results of the event before.
    pub(super) fn next_event(&mut self) {
        self.event_number += 1;
    }

    /// Computes a field of the event if it is derived.
    #[inline]
    pub(super) fn derive(&self, event: &mut Event<'_>, field: FieldId) {
        self.derivations.derive(event, field);
    }

    /// Whether a condition holds for the event. Recursion is bounded by the depth of conditions.
    pub(super) fn holds(
        &mut self,
        rules: &RuleSet,
        expression: &Expression,
        event: &mut Event<'_>,
    ) -> bool {
        match expression {
            Expression::Constant(value) => *value,
            Expression::Predicate(id) => self.predicate(rules, *id, event),
            Expression::Inside(schedule) => rules
                .schedules
                .get(usize::from(schedule.0))
                .is_some_and(|schedule| schedule.contains(event.time)),
            Expression::Before(end) => event.time < *end,
            Expression::Not(inner) => !self.holds(rules, inner, event),
            Expression::All(parts) => parts.iter().all(|part| self.holds(rules, part, event)),
            Expression::Any(parts) => parts.iter().any(|part| self.holds(rules, part, event)),
            Expression::SameElement(same) => element::holds(rules, same, event, &mut self.scratch),
        }
    }

    /// The same for an event in whose body a key stands twice, and what the API server takes of it. Every
    /// value counts towards a condition, but only what is taken counts against one: a value that nobody
    /// takes must not excuse the other.
    pub(super) fn holds_both(
        &mut self,
        rules: &RuleSet,
        expression: &Expression,
        (event, taken): (&mut Event<'_>, &mut Event<'_>),
    ) -> bool {
        match expression {
            Expression::Not(inner) => !self.holds_both(rules, inner, (taken, event)),
            Expression::All(parts) => {
                parts.iter().all(|part| self.holds_both(rules, part, (event, taken)))
            }
            Expression::Any(parts) => {
                parts.iter().any(|part| self.holds_both(rules, part, (event, taken)))
            }
            leaf => {
                // Which of the two it is about, nothing remembers.
                self.next_event();
                let holds = self.holds(rules, leaf, event);
                self.next_event();
                holds
            }
        }
    }

    #[inline]
    fn predicate(&mut self, rules: &RuleSet, id: PredicateId, event: &mut Event<'_>) -> bool {
        let index = id.0 as usize;
        let known = self.memo.get(index).copied().unwrap_or(0);
        if known >> 1 == self.event_number {
            return known & 1 == 1;
        }
        let Some(predicate) = rules.predicates.get(index) else { return false };
        self.derivations.derive(event, predicate.field);
        if let Test::FieldRef { other, .. } = predicate.test {
            self.derivations.derive(event, other);
        }
        let result = test::holds(predicate, event, &mut self.scratch);
        if let Some(memo) = self.memo.get_mut(index) {
            *memo = self.event_number << 1 | u64::from(result);
        }
        result
    }
}

/// Which fields of a rule set are derived, and what they are derived from beside the event.
#[derive(Debug)]
pub(super) struct Derivations {
    /// For each field, the number of its derivation plus one; 0 for none.
    numbers: Vec<u8>,
    sources: Sources,
}

impl Derivations {
    pub(super) fn new(rules: &RuleSet) -> Derivations {
        let number = |path: &String| derived::index_of(path).map_or(0, |index| index + 1);
        let numbers = rules.fields.paths().iter().map(number).collect();
        let sources = Sources::new(&rules.fields, Arc::clone(&rules.identities));
        Derivations { numbers, sources }
    }

    #[inline]
    pub(super) fn derive(&self, event: &mut Event<'_>, field: FieldId) {
        if let Some(number @ 1..) = self.numbers.get(field.index()) {
            derived::derive(event, number - 1, field, &self.sources);
        }
    }
}
