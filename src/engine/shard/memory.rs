//! The memory that all correlations share: what they take together is bounded, and whoever takes most makes room.

use std::cmp::Reverse;

use super::{Finding, Limit, RuleIndex, RuleState, Shard};
use crate::engine::time::{EventTime, WallTime};

/// How much there is, and how much is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    budget: usize,
    /// What all states take: the sum of [`RuleState::bytes`].
    taken: usize,
    /// How many rules have state, when it was last counted.
    rules: usize,
}

impl Memory {
    /// Nothing is taken yet.
    pub(super) fn new(budget: u64) -> Memory {
        Memory { budget: usize::try_from(budget).unwrap_or(usize::MAX), taken: 0, rules: 0 }
    }

    /// Lets a state change, and counts what it takes then.
    pub(super) fn count<T>(
        &mut self,
        state: &mut dyn RuleState,
        change: impl FnOnce(&mut dyn RuleState) -> T,
    ) -> T {
        let before = state.bytes();
        let outcome = change(state);
        self.taken = (self.taken + state.bytes()).saturating_sub(before);
        outcome
    }

    /// What a state may take while one finding is counted: what is left, or its share of all.
    pub(super) fn allowed(&self, state: &dyn RuleState) -> usize {
        let left = self.budget.saturating_sub(self.taken);
        (state.bytes() + left).max(self.budget / self.rules.max(1))
    }

    const fn is_exceeded(&self) -> bool {
        self.taken > self.budget
    }
}

impl Shard {
    /// What the state of each correlation takes in memory, by rule id; see [`RuleState::bytes`].
    pub fn correlation_bytes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.rules.correlations().filter_map(|(index, rule)| {
            let state = self.states.get(index.index())?.as_ref()?;
            Some((rule.meta.id.as_str(), state.bytes()))
        })
    }

    /// What all of them may take together.
    pub const fn memory_budget(&self) -> u64 {
        self.settings.memory
    }

    /// Counts what is taken by all states, after they were put in place.
    pub(super) fn count_memory(&mut self) {
        (self.memory.taken, self.memory.rules) = self.counted_memory();
    }

    /// What is taken by all states, and by how many.
    fn counted_memory(&self) -> (usize, usize) {
        let bytes = || self.states.iter().flatten().map(|state| state.bytes());
        (bytes().sum(), bytes().filter(|bytes| *bytes > 0).count())
    }

    /// Drops keys until there is room again, each time some of the rule that takes most: that one takes more than
    /// its share, so whoever takes less loses nothing. What that brings is appended to `out`.
    pub(super) fn make_room(&mut self, time: EventTime, out: &mut Vec<Finding>) {
        while self.memory.is_exceeded() {
            let correlations = self.rules.correlations().map(|(index, _)| index);
            let bytes = |index: &RuleIndex| {
                self.states.get(index.index()).and_then(Option::as_ref).map(|state| state.bytes())
            };
            // Of several that take as much the first.
            let most = correlations.max_by_key(|index| (bytes(index), Reverse(index.index())));
            let Some(index) = most else { return };
            let Some(Some(state)) = self.states.get_mut(index.index()) else { return };
            let mut hits = Vec::new();
            self.memory.count(&mut **state, |state| state.make_room(time, &mut hits));
            let evicted = state.take_losses().keys_evicted;
            let id = &self.rules.rule(index).meta().id;
            self.counts.hit(Limit::CorrelationKeys, id, evicted);
            out.extend(hits.into_iter().map(|hit| Finding { rule: index, hit }));
            if evicted == 0 {
                return;
            }
        }
    }

    /// Drops keys until there is room again, and follows what that brings.
    pub(super) fn keep_within_memory(&mut self, now: WallTime, watermark: EventTime) {
        let mut found = Vec::new();
        self.make_room(watermark, &mut found);
        for finding in found {
            self.found(now, Some(watermark), finding);
        }
        let counted = self.counted_memory();
        debug_assert_eq!(self.memory.taken, counted.0, "each change was counted");
        self.memory.rules = counted.1;
    }
}
