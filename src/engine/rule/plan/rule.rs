//! One rule of the plan: what it looks for and what it says about itself.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    alert::{AlertSpec, CaptureSlot, Severity},
    expression::Expression,
    record::RecordSpec,
};
use crate::engine::{
    diagnostic::Place,
    event::FieldId,
    kind::{Frame, Kind},
    kubernetes::AuditLevel,
    limits::{self, NOTES_MAX},
    time::EventTime,
};

/// Index of a rule in `RuleSet::rules`. Valid for one rule set only: whatever is stored or sent
/// names the rule by [`RuleMeta::id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleIndex(pub u32);

impl RuleIndex {
    /// For indexing `RuleSet::rules`.
    pub const fn index(self) -> usize {
        self.0 as usize
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

    /// The same, while the plan is made.
    pub(in crate::engine) const fn meta_mut(&mut self) -> &mut RuleMeta {
        match self {
            Rule::Detection(rule) => &mut rule.meta,
            Rule::Correlation(rule) => &mut rule.meta,
        }
    }

    /// Whether what it finds is of one cluster each, if events say which.
    pub const fn is_of_one_cluster(&self) -> bool {
        match self {
            Rule::Detection(_) => true,
            Rule::Correlation(rule) => rule.is_of_one_cluster,
        }
    }

    /// Whether it records what it matches, and does nothing else.
    pub const fn records(&self) -> bool {
        matches!(self, Rule::Detection(DetectionRule { record: Some(_), .. }))
    }

    /// What a finding of this rule carries; see [`CaptureSlot`].
    pub fn capture(&self) -> &[String] {
        match self {
            Rule::Detection(rule) => &rule.capture_names,
            Rule::Correlation(rule) => &rule.capture_names,
        }
    }
}

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A rule file says it.
    #[default]
    Written,
    /// Nobody wrote it: it finds the events of this rule. It makes no alerts, and people hear nothing
    /// of it.
    MadeFor(RuleIndex),
}

/// What people are told of a rule.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    /// Sigma `title`.
    pub title: String,
    /// Sigma `description`.
    pub description: String,
    /// Sigma `status`, if given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Sigma `author`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Sigma `tags`.
    pub tags: Vec<String>,
    /// Sigma `references`.
    pub references: Vec<String>,
    /// Sigma `falsepositives`.
    pub false_positives: Vec<String>,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// Controls of frameworks that it serves: `soc2:CC6.1`.
    pub controls: Vec<String>,
    /// Who answers for what decides it besides its own text; at most [`NOTES_MAX`].
    pub notes: Vec<Note>,
}

/// Who answers for a filter or an entry of a list, and why it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What it is about: `filter "Known readers"`, `alice in list readers`.
    pub on: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Why it is there.
    pub reason: Option<String>,
    /// Of an entry of a list, the regular expression that its value is.
    #[serde(skip)]
    pub value: Option<String>,
}

impl Note {
    /// Whether it says anything.
    pub(in crate::engine) const fn is_said(&self) -> bool {
        self.owner.is_some() || self.reason.is_some()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reason, &self.owner) {
            (Some(reason), Some(owner)) => write!(f, "{reason} (owner {owner})"),
            (Some(reason), None) => f.write_str(reason),
            (None, Some(owner)) => write!(f, "owner {owner}"),
            (None, None) => Ok(()),
        }
    }
}

/// Adds the notes that are not there yet, as far as there is room.
pub(in crate::engine) fn add_notes<'n>(
    notes: &mut Vec<Note>,
    more: impl IntoIterator<Item = &'n Note>,
) {
    for note in more {
        if notes.len() < NOTES_MAX && !notes.contains(note) {
            notes.push(note.clone());
        }
    }
}

/// What a rule says about itself.
#[derive(Clone, Debug, Default)]
pub struct RuleMeta {
    /// Where it comes from.
    pub origin: Origin,
    /// Stable identity: Sigma `id`, else `name`, else the file name and number of the document.
    pub id: String,
    /// Short name: Sigma `name`, else a slug of the title. Label `alertname` of its alerts.
    pub name: String,
    /// What people are told of it.
    pub about: About,
    /// Sigma `level`.
    pub severity: Severity,
    /// The audit level that it needs: what it says, or what its fields are recorded from.
    pub needs: AuditLevel,
    /// Where its document begins.
    pub place: Option<Place>,
    /// Hash of what decides the meaning of its state (kind, key, window), not of its text: state of a
    /// rule whose shape is unchanged survives an edit.
    pub state_shape: u64,
    /// The same, as it was when clusters were not apart, if it means something else by now. Such state is
    /// taken over by the clusters that are heard of.
    pub state_shape_of_all_clusters: Option<u64>,
    /// How its findings become alerts; `None` if it only feeds correlations.
    pub alert: Option<AlertSpec>,
}

impl RuleMeta {
    /// Whether findings become alerts.
    pub const fn alerts(&self) -> bool {
        self.alert.is_some()
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
    /// How it records; it then makes no detections.
    pub record: Option<RecordSpec>,
}

/// Which of a request's events a rule sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleSteps {
    /// One canonical event per request.
    #[default]
    Canonical,
    /// Every event: the rule names `stage` itself.
    All,
    /// Every event, and requests that never ended: the rule names `stage: Unfinished`.
    AllAndUnfinished,
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
    /// Whether what it finds is of one cluster each, if events say which.
    pub is_of_one_cluster: bool,
    /// Its window.
    pub frame: Frame,
    /// From when on findings do not count any more, if that is not the business of its kind or its inputs.
    pub expires: Option<EventTime>,
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
    pub key: Vec<CaptureSlot>,
    /// Where the cluster is, which is part of the key behind the others wherever it is known. `None` if
    /// clusters are not kept apart, or by `key` already.
    pub cluster: Option<CaptureSlot>,
    /// Where the counted fields are (`field`); empty if the kind needs none.
    pub fields: Vec<CaptureSlot>,
    /// Where each of the correlation's `capture_names` is in that rule's findings, if it is.
    pub capture: Vec<Option<CaptureSlot>>,
}
