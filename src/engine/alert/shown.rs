//! What alerts show of findings: labels, evidence, what templates may name, and what is said without one.

use std::borrow::Cow;

use minijinja::Value;

use super::{Alert, Evidence, template::Context};
use crate::engine::{
    kind::Hit,
    limits::ANNOTATION_BYTES_MAX,
    rule::{AlertSpec, Rule, RuleMeta, Severity, label_name},
    text::{bounded_line, bounded_lines, distinct_line},
    time::EventTime,
    value::{Captured, event_of},
};

/// Bytes of one value in keys, evidence and templates: 1 kB; the rest is cut.
pub(super) const VALUE_BYTES_MAX: usize = 1_024;

/// Severity of a value.
pub(super) fn severity_of(meta: &RuleMeta, spec: &AlertSpec, value: f64) -> Severity {
    spec.levels
        .iter()
        .filter(|step| value >= step.at_least)
        .map(|step| step.severity)
        .next_back()
        .unwrap_or(meta.severity)
}

/// What a value is compared with, for people.
pub(super) fn threshold_of(rule: &Rule) -> String {
    match rule {
        Rule::Detection(_) => String::new(),
        Rule::Correlation(rule) => rule.kind.describe(&rule.frame),
    }
}

/// How an alert shows a value that somebody chose, in its key, its labels and its evidence.
pub fn shown_value(text: &str) -> Cow<'_, str> {
    distinct_line(text, VALUE_BYTES_MAX)
}

/// What shows a finding, or a step to it; `None` if nothing is known of it any more.
pub(super) fn evidence_of(
    rule: &Rule,
    spec: &AlertSpec,
    time: EventTime,
    captured: &[Captured],
) -> Option<Evidence> {
    let fields: Vec<(String, String)> = spec
        .evidence
        .iter()
        .filter_map(|slot| {
            let name = rule.capture().get(slot.index())?;
            let text = captured.get(slot.index())?.joined()?;
            Some((name.clone(), shown_value(&text).into_owned()))
        })
        .collect();
    let event = event_of(captured).cloned();
    let is_known = !fields.is_empty() || event.is_some();
    is_known.then_some(Evidence { time, fields, event })
}

/// Whether [`evidence_of`] these values is something.
pub(super) fn shows_anything(spec: &AlertSpec, captured: &[Captured]) -> bool {
    let mut values = spec.evidence.iter().filter_map(|slot| captured.get(slot.index()));
    event_of(captured).is_some() || values.any(|captured| *captured != Captured::Absent)
}

/// What templates may name.
pub(super) fn context_of<'a>(rule: &'a Rule, hit: &Hit, alert: &Alert) -> Context<'a> {
    let fields = rule
        .capture()
        .iter()
        .zip(&*hit.captured)
        .filter_map(|(name, captured)| {
            Some((name.as_str(), bounded_line(&captured.joined()?, VALUE_BYTES_MAX)))
        })
        .collect();
    let key: Vec<String> = alert.key.iter().map(|(_, value)| value.clone()).collect();
    #[expect(clippy::cast_possible_truncation, reason = "whole values are shown as integers")]
    let value = if alert.value.fract() == 0.0 && alert.value.abs() < 1e15 {
        Value::from(alert.value as i64)
    } else {
        Value::from(alert.value)
    };
    let extra = vec![
        ("count", value.clone()),
        ("value", value),
        ("usual", hit.usual.map_or(Value::UNDEFINED, |usual| Value::from(rounded(usual)))),
        ("threshold", Value::from(alert.threshold.as_str())),
        ("first_seen", Value::from(alert.first_seen.rfc3339())),
        ("last_seen", Value::from(alert.last_seen.rfc3339())),
        ("key", Value::from(key)),
        ("title", Value::from(alert.rule_title.as_str())),
        ("severity", Value::from(alert.severity.as_str())),
        ("rule", Value::from(alert.rule_id.as_str())),
        ("values", hit.values.iter().map(|one| bounded_line(one, VALUE_BYTES_MAX)).collect()),
        ("findings", Value::from(alert.finding_count)),
    ];
    Context { fields, extra }
}

/// With one digit behind the point.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Who, what, where, how often.
pub(super) fn default_summary(alert: &Alert) -> String {
    let key: Vec<String> =
        alert.key.iter().map(|(name, value)| format!("{}={value}", label_name(name))).collect();
    let mut text = alert.rule_title.clone();
    if !key.is_empty() {
        text += &format!(": {}", key.join(" "));
    }
    if !alert.threshold.is_empty() {
        text += &format!(" ({}, {})", alert.value, alert.threshold);
    }
    bounded_lines(&text, ANNOTATION_BYTES_MAX)
}
