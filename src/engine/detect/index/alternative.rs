//! Conditions taken apart where they say `or`: each part of one rules out more than the whole.

use std::borrow::Cow;

use crate::engine::rule::{DetectionRule, Expression, LeftOut, RuleIndex, RuleSet, RuleSteps};

/// Alternatives of one rule at most: 8. A condition with more is looked at as a whole.
const ALTERNATIVES_MAX: usize = 8;

/// One way in which a rule can hold.
pub(super) struct Alternative<'r> {
    pub(super) rule: RuleIndex,
    pub(super) every_stage: bool,
    pub(super) unfinished: bool,
    pub(super) condition: Cow<'r, Expression>,
}

impl<'r> Alternative<'r> {
    /// Those of all detection rules, in their order, and behind them, numbered behind all rules, those of events
    /// that are left out of them. A rule holds if any of its alternatives does.
    pub(super) fn of(rules: &'r RuleSet) -> Vec<Alternative<'r>> {
        let of_rule =
            |(index, rule): (RuleIndex, &'r DetectionRule)| (index, &rule.expression, rule.steps);
        let behind = (rules.rules.len()..).filter_map(|number| u32::try_from(number).ok());
        let of_left_out = |(index, left_out): (u32, &'r LeftOut)| {
            (RuleIndex(index), &left_out.expression, left_out.steps)
        };
        let left_out = behind.zip(&rules.left_out).map(of_left_out);
        rules
            .detections()
            .map(of_rule)
            .chain(left_out)
            .filter(|(_, expression, _)| expression.can_hold())
            .flat_map(|(rule, expression, steps)| {
                apart(expression).into_iter().map(move |condition| Alternative {
                    rule,
                    every_stage: steps != RuleSteps::Canonical,
                    unfinished: steps == RuleSteps::AllAndUnfinished,
                    condition,
                })
            })
            .collect()
    }
}

/// The alternatives of a condition: itself, if it has none.
fn apart(condition: &Expression) -> Vec<Cow<'_, Expression>> {
    match condition {
        Expression::Any(parts) if is_worth_it(condition) => {
            parts.iter().map(Cow::Borrowed).collect()
        }
        Expression::All(parts) => {
            let Some(at) = parts.iter().position(is_worth_it) else {
                return vec![Cow::Borrowed(condition)];
            };
            let Some(Expression::Any(choices)) = parts.get(at) else {
                return vec![Cow::Borrowed(condition)];
            };
            choices
                .iter()
                .map(|choice| {
                    let mut parts = parts.clone();
                    if let Some(part) = parts.get_mut(at) {
                        part.clone_from(choice);
                    }
                    Cow::Owned(Expression::All(parts))
                })
                .collect()
        }
        _ => vec![Cow::Borrowed(condition)],
    }
}

/// Whether a condition is a choice between things that themselves ask for more than one thing. In lists
/// of values or patterns of one field there is nothing to gain.
fn is_worth_it(condition: &Expression) -> bool {
    match condition {
        Expression::Any(parts) => {
            parts.len() <= ALTERNATIVES_MAX
                && parts.iter().any(|part| matches!(part, Expression::All(_)))
        }
        _ => false,
    }
}
