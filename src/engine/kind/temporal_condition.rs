//! What the two temporal kinds have in common: which rules must be seen, as a number or as a boolean
//! expression (SEP-198).

use serde_json::{Value, json};

use super::{KindSyntax, ResolveContext};
use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    syntax::{
        code,
        condition::{Condition, parse_condition},
        read::{Text, text},
        threshold::{CONDITION, Comparison, Numbers, Threshold, schema_of_numbers},
    },
    yaml::{NodeKind, Section},
};

/// When a temporal kind holds, over which inputs were seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TemporalCondition {
    /// How many different inputs; without a condition, all of them.
    Count(Threshold),
    /// One input was seen, by its index.
    Seen(usize),
    /// SEP-198.
    Not(Box<TemporalCondition>),
    /// SEP-198.
    All(Vec<TemporalCondition>),
    /// SEP-198.
    Any(Vec<TemporalCondition>),
}

impl TemporalCondition {
    /// Whether more events can only make it truer.
    pub(super) fn fires_at_once(&self) -> bool {
        match self {
            TemporalCondition::Count(threshold) => threshold.fires_at_once(),
            TemporalCondition::Seen(_) => true,
            TemporalCondition::Not(_) => false,
            TemporalCondition::All(parts) | TemporalCondition::Any(parts) => {
                parts.iter().all(TemporalCondition::fires_at_once)
            }
        }
    }

    /// Whether it holds of the inputs that were seen, `count` of them.
    pub(super) fn holds(&self, seen: &[bool], count: f64) -> bool {
        match self {
            TemporalCondition::Count(threshold) => threshold.holds(count),
            TemporalCondition::Seen(input) => seen.get(*input).copied().unwrap_or(false),
            TemporalCondition::Not(inner) => !inner.holds(seen, count),
            TemporalCondition::All(parts) => parts.iter().all(|part| part.holds(seen, count)),
            TemporalCondition::Any(parts) => parts.iter().any(|part| part.holds(seen, count)),
        }
    }

    /// Whether seeing an input can make it hold: the input stands below an even number of `not`.
    pub(super) fn asks_for(&self, input: usize) -> bool {
        fn asks(condition: &TemporalCondition, input: usize, wanted: bool) -> bool {
            match condition {
                TemporalCondition::Count(_) => wanted,
                TemporalCondition::Seen(seen) => wanted && *seen == input,
                TemporalCondition::Not(inner) => asks(inner, input, !wanted),
                TemporalCondition::All(parts) | TemporalCondition::Any(parts) => {
                    parts.iter().any(|part| asks(part, input, wanted))
                }
            }
        }
        asks(self, input, true)
    }

    /// The inputs that it asks to be seen, sorted: all that stand neither below `not` nor below `or`.
    pub(super) fn required(&self, inputs: usize) -> Vec<usize> {
        fn collect(condition: &TemporalCondition, out: &mut Vec<usize>) {
            match condition {
                TemporalCondition::Seen(input) => out.push(*input),
                TemporalCondition::All(parts) => parts.iter().for_each(|part| collect(part, out)),
                TemporalCondition::Count(_)
                | TemporalCondition::Not(_)
                | TemporalCondition::Any(_) => {}
            }
        }
        if matches!(self, TemporalCondition::Count(_)) {
            return (0..inputs).collect();
        }
        let mut required = Vec::new();
        collect(self, &mut required);
        required.sort_unstable();
        required.dedup();
        required
    }
}

/// The condition as it is written.
#[derive(Debug)]
pub(super) enum TemporalSyntax {
    /// None: all rules.
    Everything,
    /// How many.
    Count(Threshold),
    /// SEP-198.
    Expression(Condition, Text),
}

/// JSON Schema of the condition.
pub(super) fn schema() -> Value {
    json!({"anyOf": [{"type": "string"}, schema_of_numbers()]})
}

/// Reads `condition`, which may be left out.
pub(super) fn read(section: &Section<'_>) -> Option<TemporalSyntax> {
    let Some(node) = section.node(CONDITION) else { return Some(TemporalSyntax::Everything) };
    if matches!(node.kind, NodeKind::Map(_)) {
        let mut numbers = Numbers::open(section)?;
        numbers.no_fields();
        return numbers.threshold(None).map(TemporalSyntax::Count);
    }
    let words = text(section, CONDITION)?;
    let problems = Problems::new();
    let tree = parse_condition(&problems, &words, false);
    for mut problem in problems.into_sorted() {
        problem.code = code::CORRELATION_CONDITION;
        section.report(problem);
    }
    Some(TemporalSyntax::Expression(tree?, words))
}

/// A temporal kind as it is written.
pub(super) fn syntax_of(
    condition: TemporalSyntax,
    parameters: impl FnOnce(TemporalSyntax) -> Box<dyn super::Parameters>,
) -> KindSyntax {
    let mut named_rules = Vec::new();
    if let TemporalSyntax::Expression(tree, text) = &condition {
        for (name, at) in tree.names() {
            if named_rules.iter().all(|known: &Text| known.value != name) {
                named_rules.push(Text { value: name.to_owned(), place: text.place_of(at.clone()) });
            }
        }
    }
    KindSyntax { named_rules, ..KindSyntax::new(parameters(condition)) }
}

impl TemporalSyntax {
    /// For people: `a and b`, `≥ 2 of 3 rules`, `all 3 rules`.
    pub(super) fn describe(&self, rules: usize) -> String {
        match self {
            TemporalSyntax::Everything => format!("all {rules} rules"),
            TemporalSyntax::Count(threshold) => {
                format!("{} of {rules} rules", threshold.describe())
            }
            TemporalSyntax::Expression(tree, _) => tree.to_string(),
        }
    }

    /// Checks it against the rules of the correlation. `None` if it is unusable; that is reported.
    pub(super) fn resolve(&self, context: &ResolveContext<'_>) -> Option<TemporalCondition> {
        match self {
            TemporalSyntax::Everything => {
                let all = super::window::count(context.rules.len());
                let comparisons = vec![(Comparison::GreaterOrEqual, all)];
                Some(TemporalCondition::Count(Threshold { comparisons }))
            }
            TemporalSyntax::Count(threshold) => {
                check_count(threshold, context);
                Some(TemporalCondition::Count(threshold.clone()))
            }
            TemporalSyntax::Expression(tree, text) => {
                check_names(tree, text, context);
                let condition = condition_of(tree, context.rules)?;
                if condition.holds(&[], 0.0) {
                    let title = "the condition holds when none of the rules does";
                    let place = text.place.clone();
                    let diagnostic = Diagnostic::error(code::CORRELATION_CONDITION, place, title);
                    context.problems.push(diagnostic.help("join it to a rule with `and`"));
                }
                Some(condition)
            }
        }
    }
}

/// A count of rules must lie between one and all of them.
fn check_count(threshold: &Threshold, context: &ResolveContext<'_>) {
    let rules = context.rules.len();
    if (1..=rules).any(|number| threshold.holds(super::window::count(number))) {
        return;
    }
    let title = format!("the number of rules is never {}: there are {rules}", threshold.describe());
    let place = context.place.clone();
    context.problems.push(Diagnostic::error(code::THRESHOLD_TOO_LARGE, place, title));
}

/// Reports rules that the condition does not mention, and names that are no rules.
fn check_names(tree: &Condition, text: &Text, context: &ResolveContext<'_>) {
    let rules = || context.rules.iter().map(|rule| rule.value.as_str());
    for rule in context.rules {
        if tree.names().iter().all(|(name, _)| *name != rule.value) {
            let title = format!("the condition does not mention `{}`", rule.value);
            context.problems.push(
                Diagnostic::error(code::RULES_DIFFER, rule.place.clone(), title)
                    .related(text.place.clone(), "this condition"),
            );
        }
    }
    for (name, at) in tree.names() {
        if rules().all(|rule| rule != name) {
            let title = format!("`{name}` is not among `rules`");
            context.problems.push(
                Diagnostic::error(code::RULES_DIFFER, text.place_of(at.clone()), title)
                    .suggest(name, rules()),
            );
        }
    }
}

fn condition_of(tree: &Condition, rules: &[Text]) -> Option<TemporalCondition> {
    let all = |parts: &[Condition]| {
        parts.iter().map(|part| condition_of(part, rules)).collect::<Option<Vec<_>>>()
    };
    Some(match tree {
        Condition::Name(name, _) => {
            TemporalCondition::Seen(rules.iter().position(|rule| rule.value == *name)?)
        }
        Condition::Of { .. } => return None,
        Condition::Not(inner) => TemporalCondition::Not(Box::new(condition_of(inner, rules)?)),
        Condition::All(parts) => TemporalCondition::All(all(parts)?),
        Condition::Any(parts) => TemporalCondition::Any(all(parts)?),
    })
}
