//! Evaluation of conditions: each distinct predicate at most once an event, and only when asked.

use super::{
    derivations::Derivations,
    element,
    test::{self, Scratch},
    twice::{combined, holds_by},
};
use crate::engine::{
    event::Event,
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

    /// Which fields are derived.
    pub(super) const fn derivations(&self) -> &Derivations {
        &self.derivations
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

    /// Whether a condition holds for the readings of an event, each with what remembers its predicates.
    pub(super) fn either_holds(
        matchers: &mut [Matcher; 2],
        rules: &RuleSet,
        condition: &Expression,
        (every, taken): (&mut Event<'_>, &mut Event<'_>),
    ) -> bool {
        let [of_every, of_taken] = matchers;
        holds_by(condition, true, &mut |test, counts| match test {
            Expression::SameElement(same) => {
                element::holds_read_twice(rules, same, every, counts, &mut of_every.scratch)
            }
            test => combined(counts, of_every.holds(rules, test, every), || {
                of_taken.holds(rules, test, taken)
            }),
        })
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
