//! Rule files: from YAML text to a compiled, immutable [`RuleSet`].
//!
//! The steps have their own modules: documents are read (`document` and what it calls), named and
//! joined (`names`, `graph`), and compiled to the plan in [`set`] (`compile` and what it calls).
//! Everything that is wrong with any file comes back as diagnostics, all at once; a rule set is
//! accepted whole or not at all.

mod absent;
mod alert;
mod build;
mod compile;
mod correlation;
mod correlation_compile;
mod document;
mod extension;
mod fields;
mod graph;
mod header;
mod identities;
mod leaf;
mod lint;
mod list;
mod load;
mod modifier;
mod names;
mod outline;
mod pattern;
mod possible;
mod print;
mod require;
mod risk;
mod same_element;
mod schedule;
mod schema;
mod selection;
pub mod set;
mod state_compile;
pub mod taxonomy;
mod template;
mod timed;

pub use super::syntax::{
    code,
    threshold::{Comparison, Threshold},
};
use super::syntax::{condition, read};
pub use super::value::fold_case;
pub use load::{LoadOptions, Loaded, RuleSources, load};
pub use outline::Outline;
pub use schema::{identities_schema, json_schema};
pub use set::{
    AlertSpec, CaptureSlot, CorrelationInput, CorrelationRule, DetectionRule, Expression, KeySlot,
    LevelStep, Predicate, PredicateId, Rule, RuleIndex, RuleMeta, RuleSet, RuleSteps, SameElement,
    Schedule, ScheduleIndex, Severity, StringKind, Test, TimePart,
};
pub use template::TEMPLATE_WORDS;
pub(in crate::engine) use template::{
    environment as template_environment, render as render_template,
};
