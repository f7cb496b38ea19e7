//! How findings of a rule become alerts.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::engine::words::words;

words! {
    /// Importance of a rule, Sigma `level`.
    #[derive(Default)]
    pub enum Severity {
        /// For context only.
        Informational = "informational",
        /// Worth a look in a report.
        Low = "low",
        /// Worth a look this week. What a rule without `level` has.
        #[default]
        Medium = "medium",
        /// Worth a look today.
        High = "high",
        /// Worth waking somebody.
        Critical = "critical",
    }
}

/// How findings of a rule become alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertSpec {
    /// Captured values that, with the rule, identify an alert: the correlation key. They become
    /// labels, with every character that Prometheus does not allow replaced by `_`.
    pub key: Vec<CaptureSlot>,
    /// The cluster, which is part of the key wherever it is known; `None` if the rule counts across clusters,
    /// or has it in `key` already.
    pub cluster: Option<CaptureSlot>,
    /// How long after the condition last held the alert resolves: `timespan`, or the default.
    pub resolve_after: Duration,
    /// The author's cool-down per key.
    pub suppress: Option<Duration>,
    /// Few and stable: identity and routing.
    pub labels: BTreeMap<String, String>,
    /// Templates by name (minijinja): `summary`, `description` …
    pub annotations: BTreeMap<String, String>,
    /// Captured values that are shown as evidence.
    pub evidence: Vec<CaptureSlot>,
    /// Those of them that say who did it.
    pub doer: DoerSlots,
    /// Severity that follows the value, ascending; empty if it is fixed.
    pub levels: Vec<LevelStep>,
    /// Risk that each finding adds to an entity.
    pub risk: Option<(CaptureSlot, f64)>,
}

/// Which captured values say who did it, of those that are shown as evidence.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoerSlots([Option<CaptureSlot>; DOER_FIELDS.len()]);

/// The fields that say who did it, and in which cluster.
const DOER_FIELDS: [&str; 4] = ["user.username", "source.ip", "actor.id", "cluster"];

impl DoerSlots {
    /// Of a rule whose findings carry these values, some of which are shown as evidence.
    pub(in crate::engine) fn of(captured: &[String], evidence: &[CaptureSlot]) -> DoerSlots {
        let is_of = |slot: &&CaptureSlot, field| {
            captured.get(slot.index()).is_some_and(|name| name == field)
        };
        let find = |field| evidence.iter().find(|slot| is_of(slot, field)).copied();
        DoerSlots(DOER_FIELDS.map(find))
    }

    /// Where the value of a field is.
    pub(in crate::engine) fn slot(&self, field: &str) -> Option<CaptureSlot> {
        let at = DOER_FIELDS.iter().position(|known| *known == field)?;
        *self.0.get(at)?
    }
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

/// Name of a key part as a Prometheus label: short for what everybody knows, else with `_`.
pub(in crate::engine) fn label_name(path: &str) -> String {
    match path {
        "objectRef.namespace" => "namespace".to_owned(),
        "objectRef.name" => "name".to_owned(),
        "objectRef.resource" => "resource".to_owned(),
        "user.username" => "user".to_owned(),
        _ => path
            .chars()
            .enumerate()
            .map(|(at, c)| {
                let fits = c.is_ascii_alphabetic() || c == '_' || (at > 0 && c.is_ascii_digit());
                if fits { c } else { '_' }
            })
            .collect(),
    }
}
