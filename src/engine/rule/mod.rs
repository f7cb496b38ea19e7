//! Rule files: from YAML text to a compiled, immutable [`RuleSet`].
//!
//! Each step has a folder: documents are read, what hardly means what it says is warned about in
//! `check`, names are resolved and rules compiled in `compile`, and the result is the `plan`; [`load`]
//! calls them. Everything that is wrong with any file comes back as diagnostics, all at once; a rule
//! set is accepted whole or not at all.

mod check;
mod compile;
mod load;
mod plan;
mod read;
pub(in crate::engine) mod schema;
mod sources;
mod template;

pub use super::syntax::threshold::{Comparison, Threshold};
pub use super::value::fold_case;
pub use load::{LoadOptions, Loaded, load};
pub use sources::{RuleSources, SourceFile, SourcePart};

pub(in crate::engine) use plan::alert::label_name;
pub use plan::{
    alert::{AlertSpec, CaptureSlot, LevelStep, Severity},
    exception::{Exception, ExceptionIndex, Exceptions, LeftOut},
    expression::{
        Expression, Predicate, PredicateId, SameElement, ScheduleIndex, StringKind, Test, TimePart,
    },
    outline::Outline,
    record::{CLASSES, KeyPart, KeyParts, RecordSpec, SESSION},
    rule::{
        About, CorrelationInput, CorrelationRule, DetectionRule, Note, Origin, Rule, RuleIndex,
        RuleMeta, RuleSteps,
    },
    schedule::Schedule,
    set::RuleSet,
};
pub use schema::{identities_schema, json_schema};
pub use template::TEMPLATE_WORDS;
pub(in crate::engine) use template::{
    environment as template_environment, render as render_template,
};
