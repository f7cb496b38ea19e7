//! Which detection rules one event satisfies.
//!
//! Each distinct predicate is evaluated at most once per event, and only rules that an index on
//! their required predicates lets through are looked at, so cost follows what matches, not how many
//! rules are loaded.

use serde::{Deserialize, Serialize};

use super::{event::RequestIdentity, event::Stage, rule::RuleIndex, time::EventTime};

/// One event satisfied one detection rule. Small and self-contained: it is what crosses threads, and
/// machines when scaled out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The rule.
    pub rule: RuleIndex,
    /// When it happened.
    pub time: EventTime,
    /// Which request it was.
    pub identity: RequestIdentity,
    /// The stage of the event that matched.
    pub stage: Stage,
    /// Whether the rule sees all stages; then each stage counts on its own.
    pub every_stage: bool,
    /// Values of the rule's `capture` fields, in that order.
    pub captured: Box<[Captured]>,
}

/// Values of one captured field, bounded by [`super::limits::CAPTURED_VALUE_BYTES_MAX`] and
/// [`super::limits::CAPTURED_VALUES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Captured {
    /// Absent, null, or an object.
    #[default]
    Absent,
    /// One value.
    One(Box<str>),
    /// Several, in the order of the document.
    Many(Box<[Box<str>]>),
}

impl Captured {
    /// The value as a key part: the first of several. `None` if absent.
    pub fn first(&self) -> Option<&str> {
        match self {
            Captured::Absent => None,
            Captured::One(text) => Some(text),
            Captured::Many(texts) => texts.first().map(|text| &**text),
        }
    }

    /// All values, joined by a comma and a space, for people.
    pub fn joined(&self) -> Option<String> {
        match self {
            Captured::Absent => None,
            Captured::One(text) => Some(text.to_string()),
            Captured::Many(texts) => Some(texts.join(", ")),
        }
    }
}
