//! Compares the alerts that came with those that a test states, and says what differs.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::file::Expected;
use crate::engine::{alert::AlertState, duration::written, rule::Severity};

/// An alert that came: its beginning or its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Happened {
    /// Offset of its beginning, or of its end if it resolved.
    pub at: Duration,
    /// Which of them.
    pub state: AlertState,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// Its severity.
    pub severity: Severity,
    /// The value of its condition at that moment.
    pub value: f64,
    /// All its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// One difference between what was stated and what came.
#[derive(Clone, Debug)]
pub enum Difference {
    /// Stated, but nothing like it came.
    Missing(Expected),
    /// Came, but was not stated.
    Unexpected(Happened),
    /// The nearest that came, and what is different about it.
    Unlike(Expected, Happened, Vec<String>),
}

/// Compares. Each stated alert takes the first one that fits; what is left is paired by rule, so that
/// people see the one value that is different instead of two whole alerts.
pub fn compare(expected: &[Expected], happened: &[Happened]) -> Vec<Difference> {
    let mut left: Vec<&Happened> = happened.iter().collect();
    let mut missing = Vec::new();
    for wanted in expected {
        match left.iter().position(|alert| differences(wanted, alert).is_empty()) {
            Some(index) => {
                left.remove(index);
            }
            None => missing.push(wanted),
        }
    }
    let mut result = Vec::new();
    for wanted in missing {
        let nearest = (0..left.len())
            .filter_map(|index| Some((differences(wanted, left.get(index)?), index)))
            .min_by_key(|(differences, _)| differences.len());
        match nearest {
            Some((differences, index)) if differences.len() <= 2 => {
                let alert = left.remove(index).clone();
                result.push(Difference::Unlike(wanted.clone(), alert, differences));
            }
            _ => result.push(Difference::Missing(wanted.clone())),
        }
    }
    result.extend(left.into_iter().cloned().map(Difference::Unexpected));
    result
}

/// What is different, one sentence each: `value: expected 5, got 6`.
fn differences(expected: &Expected, alert: &Happened) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |what: &str, wanted: &str, got: &str| {
        if wanted != got {
            found.push(format!("{what}: expected {wanted}, got {got}"));
        }
    };
    check("at", &written(expected.at), &written(alert.at));
    check("state", expected.state.as_str(), alert.state.as_str());
    if let Some(severity) = expected.severity {
        check("severity", severity.as_str(), alert.severity.as_str());
    }
    if let Some(value) = expected.value {
        check("value", &value.to_string(), &alert.value.to_string());
    }
    let absent = "nothing";
    for (name, wanted) in &expected.labels {
        let got = alert.labels.get(name).map_or(absent, String::as_str);
        check(&format!("label {name}"), wanted, got);
    }
    for (name, wanted) in &expected.annotations {
        let got = alert.annotations.get(name).map_or(absent, String::as_str);
        check(&format!("annotation {name}"), wanted, got);
    }
    found
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Difference::Missing(expected) => {
                write!(f, "expected, but did not come: {}", describe_expected(expected))
            }
            Difference::Unexpected(alert) => {
                write!(f, "came, but was not expected: {}", describe(alert))
            }
            Difference::Unlike(_, alert, differences) => {
                write!(f, "{} in {}", differences.join("; "), describe(alert))
            }
        }
    }
}

fn describe(alert: &Happened) -> String {
    let at = written(alert.at);
    let mut text = format!(
        "{{at: {at}, state: {}, severity: {}",
        alert.state.as_str(),
        alert.severity.as_str()
    );
    let _ = write!(text, ", value: {}", alert.value);
    push_labels(&mut text, &alert.labels);
    text.push('}');
    text
}

fn describe_expected(expected: &Expected) -> String {
    let mut text = format!("{{at: {}, state: {}", written(expected.at), expected.state.as_str());
    if let Some(severity) = expected.severity {
        let _ = write!(text, ", severity: {}", severity.as_str());
    }
    if let Some(value) = expected.value {
        let _ = write!(text, ", value: {value}");
    }
    push_labels(&mut text, &expected.labels);
    text.push('}');
    text
}

fn push_labels(text: &mut String, labels: &BTreeMap<String, String>) {
    let shown: Vec<String> = labels
        .iter()
        .filter(|(name, _)| *name != "severity")
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    if !shown.is_empty() {
        let _ = write!(text, ", labels: {{{}}}", shown.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::diagnostic::{Place, SourceText};

    fn happened(at: u64, user: &str, value: f64) -> Happened {
        Happened {
            at: Duration::from_secs(at),
            state: AlertState::Firing,
            labels: BTreeMap::from([("actor_id".to_owned(), user.to_owned())]),
            severity: Severity::High,
            value,
            annotations: BTreeMap::new(),
        }
    }

    fn expected(at: u64, user: &str, value: Option<f64>) -> Expected {
        Expected {
            place: Place { source: SourceText::new("t", ""), span: 0..0 },
            at: Duration::from_secs(at),
            state: AlertState::Firing,
            labels: BTreeMap::from([("actor_id".to_owned(), user.to_owned())]),
            severity: None,
            value,
            annotations: BTreeMap::new(),
        }
    }

    #[track_caller]
    fn check(expected: &[Expected], happened: &[Happened], wanted: &[&str]) {
        let texts: Vec<String> =
            compare(expected, happened).iter().map(ToString::to_string).collect();
        assert_eq!(texts, wanted);
    }

    #[test]
    fn what_is_stated_must_come_and_nothing_else() {
        check(&[expected(40, "eve", None)], &[happened(40, "eve", 5.0)], &[]);
        check(&[], &[], &[]);
        check(
            &[],
            &[happened(40, "eve", 5.0)],
            &["came, but was not expected: {at: 40s, state: firing, severity: high, value: 5, \
               labels: {actor_id: eve}}"],
        );
        check(
            &[expected(40, "eve", None)],
            &[],
            &["expected, but did not come: {at: 40s, state: firing, labels: {actor_id: eve}}"],
        );
    }

    #[test]
    fn one_alert_answers_for_one_statement() {
        let alerts = [happened(40, "eve", 5.0)];
        assert_eq!(
            compare(&[expected(40, "eve", None), expected(40, "eve", None)], &alerts).len(),
            1
        );
    }

    #[test]
    fn what_is_nearly_right_is_told_apart() {
        check(
            &[expected(40, "eve", Some(5.0))],
            &[happened(120, "eve", 6.0)],
            &["at: expected 40s, got 2m; value: expected 5, got 6 in {at: 2m, state: firing, \
               severity: high, value: 6, labels: {actor_id: eve}}"],
        );
    }
}
