//! What one event must be like: boolean expressions over tests of single fields.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::engine::{
    event::FieldId, syntax::threshold::Comparison, time::EventTime, value::Number,
};

/// Index of a predicate in `RuleSet::predicates`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PredicateId(pub u32);

/// Index of a schedule in `RuleSet::schedules`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleIndex(pub u16);

/// A boolean expression over predicates. Constants appear only at the root. A copy shares all that is below it: the
/// index keeps each condition in many forms that differ in a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// Always, or never.
    Constant(bool),
    /// A predicate holds.
    Predicate(PredicateId),
    /// The event time lies inside a schedule.
    Inside(ScheduleIndex),
    /// The event time lies before this: list entries and filters that expire.
    Before(EventTime),
    /// Not.
    Not(Arc<Expression>),
    /// All hold; at least two.
    All(Arc<[Expression]>),
    /// Any holds; at least two.
    Any(Arc<[Expression]>),
    /// Holds within one element of an array.
    SameElement(Arc<SameElement>),
}

impl Expression {
    /// How many tests it is made of, each as often as it is there.
    pub fn size(&self) -> usize {
        match self {
            Expression::Not(inner) => inner.size(),
            Expression::All(parts) | Expression::Any(parts) => {
                parts.iter().map(Expression::size).sum()
            }
            Expression::SameElement(same) => same.condition.size(),
            Expression::Predicate(_)
            | Expression::Constant(_)
            | Expression::Inside(_)
            | Expression::Before(_) => 1,
        }
    }

    /// Whether it is not known beforehand that nothing is like it.
    pub(in crate::engine) fn can_hold(&self) -> bool {
        *self != Expression::Constant(false)
    }

    /// Calls `see` with each predicate that decides the condition, but for those within
    /// [`SameElement`].
    pub fn for_each_predicate(&self, see: &mut impl FnMut(PredicateId)) {
        match self {
            Expression::Predicate(id) => see(*id),
            Expression::Not(inner) => inner.for_each_predicate(see),
            Expression::All(parts) | Expression::Any(parts) => {
                for part in parts.iter() {
                    part.for_each_predicate(see);
                }
            }
            Expression::Constant(_)
            | Expression::Inside(_)
            | Expression::Before(_)
            | Expression::SameElement(_) => {}
        }
    }
}

/// A condition on one and the same element of an array, `tripline.same_element`.
#[derive(Clone, Debug, PartialEq)]
pub struct SameElement {
    /// The array.
    pub of: FieldId,
    /// The fields below it that the condition names.
    pub fields: Vec<FieldId>,
    /// What must hold of the values of these fields in some element. Their other values are as if
    /// they were not there.
    pub condition: Expression,
}

/// A test of one field: true if any of its values passes. False if the field is absent, but for
/// [`Test::Null`].
#[derive(Clone, Debug)]
pub struct Predicate {
    /// The field.
    pub field: FieldId,
    /// The test.
    pub test: Test,
}

/// How one value is tested. Text is compared without regard to (Unicode simple) case unless `cased`;
/// then patterns are already lower-case.
#[derive(Clone, Debug)]
pub enum Test {
    /// The field is there, whatever its value.
    Exists,
    /// The field is absent or null.
    Null,
    /// Equal to one of a set of texts; numbers and booleans are compared by their text too.
    OneOf {
        /// Lower-case unless `cased`.
        texts: Arc<HashSet<String>>,
        /// Compare exactly.
        cased: bool,
    },
    /// The text relates to a pattern without wildcards in this way.
    Text {
        /// How.
        kind: StringKind,
        /// Lower-case unless `cased`.
        pattern: String,
        /// Compare exactly.
        cased: bool,
    },
    /// The text matches a pattern with wildcards (or, if made by `re`, a regular expression).
    Regex(Arc<regex::Regex>),
    /// The text contains any of many patterns.
    ContainsAny {
        /// The patterns, sorted; ASCII and lower-case unless `cased`.
        texts: Arc<[String]>,
        /// Compare exactly.
        cased: bool,
        /// All of them at once, made without regard to ASCII case unless `cased`.
        automaton: Arc<aho_corasick::AhoCorasick>,
    },
    /// The value, as a number, compares so.
    Number(Comparison, Number),
    /// The value is this boolean, or its text.
    Bool(bool),
    /// The value is an address inside this network.
    Cidr(ipnet::IpNet),
    /// The value relates in this way to any value of another field.
    FieldRef {
        /// The other field.
        other: FieldId,
        /// How.
        kind: StringKind,
        /// Compare exactly.
        cased: bool,
    },
    /// A part of the value, read as a time in UTC, compares so.
    TimePart(TimePart, Comparison, i64),
}

/// How a text relates to a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StringKind {
    /// The same.
    Equals,
    /// Begins with it.
    StartsWith,
    /// Ends with it.
    EndsWith,
    /// Has it somewhere.
    Contains,
}

impl StringKind {
    /// `equals`, `starts with` …
    pub const fn words(self) -> &'static str {
        match self {
            StringKind::Equals => "equals",
            StringKind::StartsWith => "starts with",
            StringKind::EndsWith => "ends with",
            StringKind::Contains => "contains",
        }
    }
}

/// Sigma's time modifiers; always UTC, as the specification has no zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimePart {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    Day,
    /// ISO week, 1 to 53.
    Week,
    /// 1 to 12.
    Month,
    /// Four digits.
    Year,
}
