//! Why an event does or does not satisfy a rule: the condition, with the result of every part.
//!
//! Nothing is remembered, indexed or skipped here, so it is also what the fast way is tested against.

use std::fmt;

use serde::Serialize;

use super::{
    capture::FreeText,
    element,
    matcher::Derivations,
    test::{self, Scratch},
};
use crate::engine::{
    dead_letter::DeadLetterReason,
    decode::{Decoder, Sink},
    event::{Event, Stage, well_known},
    rule::{Expression, Rule, RuleIndex, RuleSet, RuleSteps, Test},
    time::EventTime,
    value::Captured,
};

/// A part of a condition with its result for one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether it holds.
    pub holds: bool,
    /// What it says: `all of`, `any of`, `not`, or a test in words.
    pub says: String,
    /// The values of the field that it tests, with secrets redacted; `None` if it tests no field.
    pub values: Option<Vec<String>>,
    /// The parts that it is made of.
    pub parts: Vec<Explanation>,
}

impl fmt::Display for Explanation {
    /// One line a part, indented, each beginning with `✓` or `✗`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Explanation {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let sign = if self.holds { '✓' } else { '✗' };
        write!(f, "{:indent$}{sign} {}", "", self.says, indent = depth * 2)?;
        match self.values.as_deref() {
            None => {}
            Some([]) => write!(f, "  (absent)")?,
            Some([value]) => write!(f, "  ({value})")?,
            Some(values) => write!(f, "  ({} values: {})", values.len(), values.join(", "))?,
        }
        writeln!(f)?;
        self.parts.iter().try_for_each(|part| part.write(f, depth + 1))
    }
}

/// What became of one event of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedEvent {
    /// Its `auditID`.
    pub audit_id: String,
    /// Its stage.
    pub stage: Stage,
    /// When it happened.
    pub time: EventTime,
    /// Whether the rule sees events of this stage at all. If not, it does not match, whatever the
    /// condition says.
    pub seen: bool,
    /// The condition.
    pub condition: Explanation,
}

/// What became of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExplainedRecord {
    /// Its events.
    pub events: Vec<ExplainedEvent>,
    /// What could not be decoded: the reason, and what is wrong.
    pub undecodable: Vec<(DeadLetterReason, String)>,
}

/// Explains what a detection rule makes of an event. `None` for a correlation, which no event alone
/// decides.
pub fn explain(rules: &RuleSet, rule: RuleIndex, event: &mut Event<'_>) -> Option<Explanation> {
    let Some(Rule::Detection(rule)) = rules.rules.get(rule.index()) else { return None };
    let mut explainer = Explainer {
        rules,
        derivations: Derivations::new(&rules.fields),
        free_text: FreeText::new(&rules.fields),
        scratch: Scratch::default(),
    };
    Some(explainer.explain(&rule.expression, event))
}

/// Explains what a detection rule makes of each event of a record. `None` for a correlation.
pub fn explain_record(rules: &RuleSet, rule: RuleIndex, payload: &[u8]) -> Option<ExplainedRecord> {
    let Some(Rule::Detection(_)) = rules.rules.get(rule.index()) else { return None };
    let mut sink = Explained { rules, rule, record: ExplainedRecord::default() };
    Decoder::new(&rules.fields).decode(payload, None, &mut sink);
    Some(sink.record)
}

struct Explained<'r> {
    rules: &'r RuleSet,
    rule: RuleIndex,
    record: ExplainedRecord,
}

impl Sink for Explained<'_> {
    fn event(&mut self, event: &mut Event<'_>) {
        let Some(condition) = explain(self.rules, self.rule, event) else { return };
        let all_stages = match self.rules.rule(self.rule) {
            Rule::Detection(rule) => rule.steps == RuleSteps::All,
            Rule::Correlation(_) => false,
        };
        self.record.events.push(ExplainedEvent {
            audit_id: event.first_str(well_known::AUDIT_ID).unwrap_or("").to_owned(),
            stage: event.stage,
            time: event.time,
            seen: all_stages || event.stage != Stage::RequestReceived,
            condition,
        });
    }

    fn dead_letter(&mut self, reason: DeadLetterReason, detail: String, _bytes: &[u8]) {
        self.record.undecodable.push((reason, detail));
    }
}

struct Explainer<'r> {
    rules: &'r RuleSet,
    derivations: Derivations,
    free_text: FreeText,
    scratch: Scratch,
}

impl Explainer<'_> {
    fn explain(&mut self, expression: &Expression, event: &mut Event<'_>) -> Explanation {
        let leaf = |holds, says| Explanation { holds, says, values: None, parts: Vec::new() };
        match expression {
            Expression::Constant(_) => {
                leaf(*expression == Expression::Constant(true), self.rules.describe(expression))
            }
            Expression::Inside(schedule) => {
                let schedule = self.rules.schedules.get(usize::from(schedule.0));
                let inside = schedule.is_some_and(|schedule| schedule.contains(event.time));
                let says = self.rules.describe(expression);
                leaf(inside, format!("{says}, at {}", event.time))
            }
            Expression::SameElement(same) => {
                let holds = element::holds(self.rules, same, event, &mut self.scratch);
                leaf(holds, self.rules.describe(expression))
            }
            Expression::Before(end) => leaf(event.time < *end, self.rules.describe(expression)),
            Expression::Predicate(id) => {
                let mut explanation = leaf(false, self.rules.describe_predicate(*id));
                let Some(predicate) = self.rules.predicates.get(id.0 as usize) else {
                    return explanation;
                };
                self.derivations.derive(event, predicate.field);
                if let Test::FieldRef { other, .. } = predicate.test {
                    self.derivations.derive(event, other);
                }
                explanation.holds = test::holds(predicate, event, &mut self.scratch);
                explanation.values = Some(match self.free_text.capture(event, predicate.field) {
                    Captured::Absent if event.has(predicate.field) => {
                        vec!["null or an object".to_owned()]
                    }
                    Captured::Absent => Vec::new(),
                    Captured::One(text) => vec![text.into()],
                    Captured::Many(texts) => texts.into_iter().map(String::from).collect(),
                });
                explanation
            }
            Expression::Not(inner) => {
                let part = self.explain(inner, event);
                Explanation {
                    holds: !part.holds,
                    says: "not".to_owned(),
                    values: None,
                    parts: vec![part],
                }
            }
            Expression::All(parts) => {
                let parts: Vec<Explanation> =
                    parts.iter().map(|part| self.explain(part, event)).collect();
                let holds = parts.iter().all(|part| part.holds);
                Explanation { holds, says: "all of".to_owned(), values: None, parts }
            }
            Expression::Any(parts) => {
                let parts: Vec<Explanation> =
                    parts.iter().map(|part| self.explain(part, event)).collect();
                let holds = parts.iter().any(|part| part.holds);
                Explanation { holds, says: "any of".to_owned(), values: None, parts }
            }
        }
    }
}
