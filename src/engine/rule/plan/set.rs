//! The plan that rules are compiled to: what detection and correlation work from.
//!
//! Everything is resolved here: fields to numbers, names to indexes, lists to sets, patterns to
//! automata. Evaluation never looks at text of a rule file again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hashbrown::HashSet;
use serde::{Deserialize, Serialize};

use super::outline::Outline;
use crate::engine::{
    diagnostic::Place,
    event::{FieldId, FieldTable, Identities},
    kind::{Frame, Kind},
    limits,
    rule::taxonomy::AuditLevel,
    syntax::threshold::Comparison,
    time::EventTime,
};

/// Index of a rule in [`RuleSet::rules`]. Valid for one rule set only: whatever is stored or sent
/// names the rule by [`RuleMeta::id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleIndex(pub u32);

impl RuleIndex {
    /// For indexing [`RuleSet::rules`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of a predicate in [`RuleSet::predicates`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PredicateId(pub u32);

/// Index of a schedule in [`RuleSet::schedules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleIndex(pub u16);

/// All rules that are loaded, immutable and shared.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// Fields that something needs.
    pub fields: FieldTable,
    /// Each distinct test of a field, once.
    pub predicates: Vec<Predicate>,
    /// Detection rules first, then correlations, each after everything that it refers to.
    pub rules: Vec<Rule>,
    /// Named schedules.
    pub schedules: Vec<Schedule>,
    /// Who is who.
    pub identities: Arc<Identities>,
    /// How the conditions of detection rules were written, for explaining them. Never evaluated
    /// otherwise.
    pub outlines: BTreeMap<RuleIndex, Outline>,
    /// Hash of all files the set was made from; shown by `/-/rules` and in logs.
    pub version: String,
}

impl RuleSet {
    /// The rule at an index.
    ///
    /// # Panics
    /// If the index comes from another rule set.
    pub fn rule(&self, index: RuleIndex) -> &Rule {
        self.rules.get(index.index()).expect("a rule index belongs to this rule set")
    }

    /// The rule with an id.
    pub fn find(&self, id: &str) -> Option<RuleIndex> {
        let index = self.rules.iter().position(|rule| rule.meta().id == id)?;
        u32::try_from(index).ok().map(RuleIndex)
    }

    /// Rules that nobody wrote, each with the correlation that it was made for: the events of a rule
    /// with state, and the inputs of a correlation that has a schedule. Their ids begin with that of
    /// the correlation.
    pub fn hidden(&self) -> BTreeMap<RuleIndex, RuleIndex> {
        let mut hidden = BTreeMap::new();
        for (index, correlation) in self.correlations() {
            for input in &correlation.inputs {
                let id = self.rules.get(input.rule.index()).map(|rule| rule.meta().id.as_str());
                let rest = id.and_then(|id| id.strip_prefix(&correlation.meta.id));
                if rest.is_some_and(|rest| rest.starts_with('#')) {
                    hidden.insert(input.rule, index);
                }
            }
        }
        hidden
    }

    /// The detection rules with their indexes.
    pub fn detections(&self) -> impl Iterator<Item = (RuleIndex, &DetectionRule)> {
        self.rules.iter().enumerate().filter_map(|(index, rule)| match rule {
            Rule::Detection(rule) => Some((RuleIndex(u32::try_from(index).ok()?), rule)),
            Rule::Correlation(_) => None,
        })
    }

    /// The correlations with their indexes.
    pub fn correlations(&self) -> impl Iterator<Item = (RuleIndex, &CorrelationRule)> {
        self.rules.iter().enumerate().filter_map(|(index, rule)| match rule {
            Rule::Correlation(rule) => Some((RuleIndex(u32::try_from(index).ok()?), rule)),
            Rule::Detection(_) => None,
        })
    }
}

/// One rule of either sort.
#[derive(Debug)]
pub enum Rule {
    /// Decided by one event alone.
    Detection(DetectionRule),
    /// Decided by findings of other rules over time.
    Correlation(CorrelationRule),
}

impl Rule {
    /// What both sorts have.
    pub const fn meta(&self) -> &RuleMeta {
        match self {
            Rule::Detection(rule) => &rule.meta,
            Rule::Correlation(rule) => &rule.meta,
        }
    }

    /// What a finding of this rule carries; see [`CaptureSlot`].
    pub fn capture(&self) -> &[String] {
        match self {
            Rule::Detection(rule) => &rule.capture_names,
            Rule::Correlation(rule) => &rule.capture_names,
        }
    }
}

/// Importance of a rule, Sigma `level`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For context only.
    Informational,
    /// Worth a look in a report.
    Low,
    /// Worth a look this week. What a rule without `level` has.
    #[default]
    Medium,
    /// Worth a look today.
    High,
    /// Worth waking somebody.
    Critical,
}

impl Severity {
    /// All, in order.
    pub const ALL: [Severity; 5] = [
        Severity::Informational,
        Severity::Low,
        Severity::Medium,
        Severity::High,
        Severity::Critical,
    ];

    /// The word in rule files and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Informational => "informational",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// From the word.
    pub fn parse(text: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.as_str() == text)
    }
}

/// What a rule says about itself.
#[derive(Clone, Debug, Default)]
pub struct RuleMeta {
    /// Stable identity: Sigma `id`, else `name`, else the file name and number of the document.
    pub id: String,
    /// Short name: Sigma `name`, else a slug of the title. Label `alertname` of its alerts.
    pub name: String,
    /// Sigma `title`.
    pub title: String,
    /// Sigma `description`.
    pub description: String,
    /// Sigma `status`, if given.
    pub status: Option<String>,
    /// Sigma `level`.
    pub severity: Severity,
    /// Sigma `author`.
    pub author: Option<String>,
    /// Sigma `tags`.
    pub tags: Vec<String>,
    /// Sigma `references`.
    pub references: Vec<String>,
    /// Sigma `falsepositives`.
    pub false_positives: Vec<String>,
    /// The audit level that it needs: what it says, or what its fields are recorded from.
    pub needs: AuditLevel,
    /// Where its document begins.
    pub place: Option<Place>,
    /// Hash of what decides the meaning of its state (kind, key, window), not of its text: state of a
    /// rule whose shape is unchanged survives an edit.
    pub state_shape: u64,
    /// How its findings become alerts; `None` if it only feeds correlations.
    pub alert: Option<AlertSpec>,
}

/// How findings of a rule become alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertSpec {
    /// Captured values that, with the rule, identify an alert: the correlation key. They become
    /// labels, with every character that Prometheus does not allow replaced by `_`.
    pub key: Vec<CaptureSlot>,
    /// How long after the condition last held the alert resolves: `timespan`, or the default.
    pub resolve_after: Duration,
    /// The author's cool-down per key.
    pub suppress: Option<Duration>,
    /// Few and stable: identity and routing.
    pub labels: BTreeMap<String, String>,
    /// Templates by name (minijinja): `summary`, `description` …
    pub annotations: BTreeMap<String, String>,
    /// What to do, for people.
    pub runbook: Option<String>,
    /// Who answers for the rule.
    pub owner: Option<String>,
    /// Frameworks and controls.
    pub controls: Vec<String>,
    /// Captured values that are shown as evidence.
    pub evidence: Vec<CaptureSlot>,
    /// Severity that follows the value, ascending; empty if it is fixed.
    pub levels: Vec<LevelStep>,
    /// Risk that each finding adds to an entity.
    pub risk: Option<(CaptureSlot, f64)>,
}

/// From this value on, this severity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LevelStep {
    /// Inclusive.
    pub at_least: f64,
    /// The severity from there on.
    pub severity: Severity,
}

/// Index into what a finding of a rule captured (`capture_names`, `capture`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CaptureSlot(pub u16);

impl CaptureSlot {
    /// For indexing.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A rule that one event decides.
#[derive(Debug)]
pub struct DetectionRule {
    /// What it says about itself.
    pub meta: RuleMeta,
    /// Its condition, filters included, over predicates.
    pub expression: Expression,
    /// Which stages it sees.
    pub steps: RuleSteps,
    /// Fields whose values its detections carry: keys, counted fields, evidence, template variables.
    pub capture: Vec<FieldId>,
    /// Their paths, in the same order.
    pub capture_names: Vec<String>,
}

/// Which of a request's events a rule sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleSteps {
    /// One canonical event per request.
    #[default]
    Canonical,
    /// Every event: the rule names `stage` itself.
    All,
}

/// A boolean expression over predicates. Constants appear only at the root.
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
    Not(Box<Expression>),
    /// All hold; at least two.
    All(Vec<Expression>),
    /// Any holds; at least two.
    Any(Vec<Expression>),
    /// Holds within one element of an array.
    SameElement(Box<SameElement>),
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

    /// Calls `see` with each predicate that decides the condition, but for those within
    /// [`SameElement`].
    pub fn for_each_predicate(&self, see: &mut impl FnMut(PredicateId)) {
        match self {
            Expression::Predicate(id) => see(*id),
            Expression::Not(inner) => inner.for_each_predicate(see),
            Expression::All(parts) | Expression::Any(parts) => {
                for part in parts {
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
    Number(Comparison, f64),
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

/// A named weekly schedule in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Its name in `schedules.yaml`.
    pub name: String,
    /// The zone in which its ranges are meant.
    pub zone: jiff::tz::TimeZone,
    /// Minutes of the week (Monday 00:00 = 0), half-open, sorted, disjoint; a range past midnight or
    /// past Sunday is split when it is loaded.
    pub minutes: Vec<(u16, u16)>,
    /// Dates on which nothing is inside (holidays), sorted.
    pub except: Vec<jiff::civil::Date>,
}

impl Schedule {
    /// Whether a time lies inside. Cost: one zone conversion, about 100 ns.
    pub fn contains(&self, time: EventTime) -> bool {
        let Ok(timestamp) = jiff::Timestamp::from_microsecond(time.micros()) else { return false };
        let local = self.zone.to_datetime(timestamp);
        if self.except.binary_search(&local.date()).is_ok() {
            return false;
        }
        let day = i32::from(local.weekday().to_monday_zero_offset());
        let minute = day * 1_440 + i32::from(local.hour()) * 60 + i32::from(local.minute());
        self.minutes
            .iter()
            .any(|(start, end)| (i32::from(*start)..i32::from(*end)).contains(&minute))
    }
}

/// A rule that findings of other rules decide.
#[derive(Debug)]
pub struct CorrelationRule {
    /// What it says about itself.
    pub meta: RuleMeta,
    /// What it looks for.
    pub kind: Arc<dyn Kind>,
    /// The rules whose findings it sees, in the order in which it names them.
    pub inputs: Vec<CorrelationInput>,
    /// Names of the key parts, in order; empty for one group over the whole stream.
    pub group_by: Vec<String>,
    /// Its window.
    pub frame: Frame,
    /// What its own findings carry: the key parts first, then further captured values that all of its
    /// inputs have. The values are those of the finding that completed it.
    pub capture_names: Vec<String>,
}

impl CorrelationRule {
    /// How long an event may count after its time: so long must a copy of it be known as one.
    pub fn identity_span(&self) -> Duration {
        self.frame.timespan.min(limits::IDENTITY_SPAN_MAX)
    }
}

/// One rule that a correlation refers to.
#[derive(Clone, Debug)]
pub struct CorrelationInput {
    /// The rule.
    pub rule: RuleIndex,
    /// Its name in conditions.
    pub name: String,
    /// Where the key parts are in that rule's findings, in the order of `group_by`.
    pub key: Vec<KeySlot>,
    /// Where the counted fields are (`field`); empty if the kind needs none.
    pub fields: Vec<CaptureSlot>,
    /// Where each of the correlation's `capture_names` is in that rule's findings, if it is.
    pub capture: Vec<Option<CaptureSlot>>,
}

/// Where one part of a correlation key comes from.
pub type KeySlot = CaptureSlot;
