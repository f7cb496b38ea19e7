//! The plan in words: what a rule was compiled to, for people and for golden files.

use std::fmt::Write as _;

use super::{
    alert::CaptureSlot,
    expression::{Expression, PredicateId, Test},
    rule::{Rule, RuleSteps},
    set::RuleSet,
};
use crate::engine::kind::Frame;

/// Values of a list that are shown before the rest is counted.
const VALUES_SHOWN: usize = 8;

impl RuleSet {
    /// One predicate in words: `verb is one of create, get`. Empty for an unknown one.
    pub fn describe_predicate(&self, id: PredicateId) -> String {
        let Some(predicate) = self.predicates.get(id.0 as usize) else { return String::new() };
        let field = self.fields.path(predicate.field);
        format!("{field} {}", self.describe_test(&predicate.test))
    }

    fn describe_test(&self, test: &Test) -> String {
        let exactly = |cased: bool| if cased { " (exact case)" } else { "" };
        match test {
            Test::Exists => "is there".to_owned(),
            Test::Null => "is absent or null".to_owned(),
            Test::OneOf { texts, cased } => {
                let mut sorted: Vec<&String> = texts.iter().collect();
                sorted.sort_unstable();
                let verb = if sorted.len() == 1 { "is" } else { "is one of" };
                format!("{verb} {}{}", shown(&sorted), exactly(*cased))
            }
            Test::Text { kind, pattern, cased } => {
                format!("{} {pattern:?}{}", kind.words(), exactly(*cased))
            }
            Test::Regex(regex) => format!("matches /{regex}/"),
            Test::ContainsAny { texts, cased, .. } => {
                let texts: Vec<&String> = texts.iter().collect();
                format!("contains any of {}{}", shown(&texts), exactly(*cased))
            }
            Test::Number(comparison, number) => format!("{} {number}", comparison.sign()),
            Test::Bool(value) => format!("is {value}"),
            Test::Cidr(network) => format!("is in {network}"),
            Test::FieldRef { other, kind, cased } => {
                format!(
                    "{} the value of {}{}",
                    kind.words(),
                    self.fields.path(*other),
                    exactly(*cased)
                )
            }
            Test::TimePart(part, comparison, number) => {
                format!("has {} {} {number}", format!("{part:?}").to_lowercase(), comparison.sign())
            }
        }
    }

    /// An expression in words, with as few parentheses as it needs.
    pub fn describe(&self, expression: &Expression) -> String {
        self.describe_within(expression, false)
    }

    fn describe_within(&self, expression: &Expression, nested: bool) -> String {
        let joined = |parts: &[Expression], word: &str| {
            let parts: Vec<String> =
                parts.iter().map(|part| self.describe_within(part, true)).collect();
            let text = parts.join(word);
            if nested { format!("({text})") } else { text }
        };
        match expression {
            Expression::Constant(true) => "always".to_owned(),
            Expression::Constant(false) => "never".to_owned(),
            Expression::Predicate(id) => self.describe_predicate(*id),
            Expression::Inside(schedule) => {
                let schedule = self.schedules.get(usize::from(schedule.0));
                format!("inside {}", schedule.map_or("", |schedule| &schedule.name))
            }
            Expression::Before(time) => format!("before {time}"),
            Expression::SameElement(same) => format!(
                "one element of {} has ({})",
                self.fields.path(same.of),
                self.describe(&same.condition)
            ),
            Expression::Not(inner) => format!("not {}", self.describe_within(inner, true)),
            Expression::All(parts) => joined(parts, " and "),
            Expression::Any(parts) => joined(parts, " or "),
        }
    }

    /// The whole plan of one rule as lines of text.
    pub fn describe_rule(&self, rule: &Rule) -> String {
        let mut text = String::new();
        let meta = rule.meta();
        let line = |text: &mut String, name: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(text, "  {name}: {value}");
            }
        };
        let _ = writeln!(text, "{} ({})", meta.name, meta.id);
        line(&mut text, "severity", meta.severity.as_str());
        match rule {
            Rule::Detection(rule) => {
                line(&mut text, "when", &self.describe(&rule.expression));
                if rule.steps != RuleSteps::Canonical {
                    line(&mut text, "stages", "all");
                }
            }
            Rule::Correlation(rule) => {
                line(&mut text, "kind", rule.kind.entry().name);
                line(&mut text, "holds", &rule.kind.describe(&rule.frame));
                let Frame { timespan, window } = rule.frame;
                line(&mut text, "window", &format!("{window:?} of {timespan:?}"));
                line(&mut text, "group by", &rule.group_by.join(", "));
                let across = if rule.is_of_one_cluster { "" } else { "across" };
                line(&mut text, "clusters", across);
                for input in &rule.inputs {
                    let captured = self.rule(input.rule).capture();
                    let name =
                        |slot: &CaptureSlot| captured.get(slot.index()).map_or("?", String::as_str);
                    let key: Vec<&str> = input.key.iter().map(name).collect();
                    let fields: Vec<&str> = input.fields.iter().map(name).collect();
                    let value = format!(
                        "{} by [{}] of [{}]",
                        input.name,
                        key.join(", "),
                        fields.join(", ")
                    );
                    line(&mut text, "input", &value);
                }
            }
        }
        line(&mut text, "captures", &rule.capture().join(", "));
        let names = |slots: &[CaptureSlot]| {
            let names: Vec<&str> = slots
                .iter()
                .map(|slot| rule.capture().get(slot.index()).map_or("?", String::as_str))
                .collect();
            names.join(", ")
        };
        match &meta.alert {
            Some(alert) => {
                line(&mut text, "alert by", &format!("[{}]", names(&alert.key)));
                line(&mut text, "resolves after", &format!("{:?}", alert.resolve_after));
                line(&mut text, "evidence", &names(&alert.evidence));
                let suppress = alert.suppress.map_or(String::new(), |span| format!("{span:?}"));
                line(&mut text, "suppress", &suppress);
            }
            None => line(&mut text, "alert", "none of its own"),
        }
        text
    }
}

fn shown(texts: &[&String]) -> String {
    let mut parts: Vec<String> =
        texts.iter().take(VALUES_SHOWN).map(|text| format!("{text:?}")).collect();
    if texts.len() > VALUES_SHOWN {
        parts.push(format!("{} more", texts.len() - VALUES_SHOWN));
    }
    parts.join(", ")
}
