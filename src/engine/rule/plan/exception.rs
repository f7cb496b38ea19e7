//! Exceptions: what somebody decided that rules leave out, and how its uses are counted.
//!
//! An exception was used if a rule would have held for an event without it, and did not hold with it. That is
//! a condition like any other: it is made when rules are loaded, stands in the index, and is evaluated for those
//! events alone that it can hold for.

use std::sync::Arc;

use super::{
    expression::Expression,
    rule::{RuleIndex, RuleSteps},
};
use crate::engine::time::EventTime;

/// A filter, or an entry of a list of which more is said than its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    /// `filter "Known readers" in rules/filters.yaml`, `` `alice` in lists/readers.yaml``.
    pub name: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Why it is there.
    pub reason: Option<String>,
    /// The first moment at which it does not count any more.
    pub expires: Option<EventTime>,
    /// Names of the rules in which its uses are counted, in the order of the rules. Empty: how often it is used
    /// cannot be said.
    pub counted_in: Vec<String>,
}

/// Index of an exception in `RuleSet::exceptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExceptionIndex(pub u32);

impl ExceptionIndex {
    /// For indexing `RuleSet::exceptions`.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Events that one rule leaves out because of exceptions.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// The rule.
    pub rule: RuleIndex,
    /// What holds of these events: the rule's condition without the exceptions, and not with them.
    pub expression: Expression,
    /// Which events the rule sees.
    pub steps: RuleSteps,
    /// The exceptions, each with what holds of the events that it is about.
    pub by: Vec<(ExceptionIndex, Expression)>,
}

/// Exceptions of a rule set, as they are shared.
pub type Exceptions = Vec<Arc<Exception>>;
