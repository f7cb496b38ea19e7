//! Rule files: from YAML text to a compiled, immutable [`RuleSet`].
//!
//! The steps have their own modules: documents are read (`yaml`), turned into syntax, checked
//! against each other, and compiled to the plan in [`set`]. Everything that is wrong with any file
//! comes back as diagnostics, all at once; a rule set is accepted whole or not at all.

pub mod set;

pub use set::{
    AlertSpec, CaptureSlot, Comparison, CorrelationInput, CorrelationKind, CorrelationRule,
    DetectionRule, Expression, KeySlot, LevelStep, Predicate, PredicateId, Rule, RuleIndex,
    RuleMeta, RuleSet, RuleSteps, Schedule, ScheduleIndex, Severity, StringKind, TemporalCondition,
    Test, Threshold, TimePart, WindowShape,
};
