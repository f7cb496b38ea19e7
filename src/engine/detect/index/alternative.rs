//! Conditions taken apart where they say `or`: each part of one rules out more than the whole.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use crate::engine::rule::{DetectionRule, Expression, LeftOut, RuleIndex, RuleSet, RuleSteps};

/// Alternatives of one rule at most: 32, and of many rules 8 each. A choice that would make more is not taken apart:
/// what is known of every text has a bit for each.
const ALTERNATIVES_MAX: usize = 32;
const ALTERNATIVES_OF_MANY_MAX: usize = 8;

/// Rules that are not many: 256.
const FEW_RULES: usize = 256;

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
        let is_few = rules.rules.len() <= FEW_RULES;
        let most = if is_few { ALTERNATIVES_MAX } else { ALTERNATIVES_OF_MANY_MAX };
        rules
            .detections()
            .map(of_rule)
            .chain(left_out)
            .filter(|(_, expression, _)| expression.can_hold())
            .flat_map(|(rule, expression, steps)| {
                apart(rules, expression, most).into_iter().map(move |condition| Alternative {
                    rule,
                    every_stage: steps != RuleSteps::Canonical,
                    unfinished: steps == RuleSteps::AllAndUnfinished,
                    condition,
                })
            })
            .collect()
    }
}

/// The alternatives of a condition: itself, if it has none. `not (a and b)` is a choice, too: of `not a` and
/// `not b` one field each can rule out one, and none of them the whole.
fn apart<'c>(rules: &RuleSet, condition: &'c Expression, most: usize) -> Vec<Cow<'c, Expression>> {
    let mut parts = Vec::new();
    conjuncts(condition, true, &mut parts);
    // Small choices first: most can then be taken apart.
    let choice_len = |part: &Expression| match part {
        Expression::Any(choices) if is_worth_it(rules, choices) => Some(choices.len()),
        _ => None,
    };
    let mut choices: Vec<(usize, usize)> =
        parts.iter().enumerate().filter_map(|(at, part)| Some((choice_len(part)?, at))).collect();
    choices.sort_unstable();
    let mut alternatives = vec![parts];
    for (length, at) in choices {
        if alternatives.len() * length > most {
            break;
        }
        alternatives = alternatives.iter().flat_map(|parts| chosen(parts, at)).collect();
    }
    match alternatives.as_slice() {
        [_] => vec![Cow::Borrowed(condition)],
        _ => alternatives
            .into_iter()
            .map(|parts| Cow::Owned(Expression::All(parts.into())))
            .collect(),
    }
}

/// What must hold, each choice at one place in turn.
fn chosen(parts: &[Expression], at: usize) -> Vec<Vec<Expression>> {
    let Some(Expression::Any(choices)) = parts.get(at) else { return vec![parts.to_vec()] };
    let with = |choice: &Expression| {
        let mut parts = parts.to_vec();
        if let Some(part) = parts.get_mut(at) {
            part.clone_from(choice);
        }
        parts
    };
    choices.iter().map(with).collect()
}

/// Adds what must hold together so that a condition is `wanted`. Recursion is bounded by the depth of conditions.
fn conjuncts(condition: &Expression, wanted: bool, out: &mut Vec<Expression>) {
    match (condition, wanted) {
        (Expression::Not(inner), _) => conjuncts(inner, !wanted, out),
        (Expression::All(parts), true) | (Expression::Any(parts), false) => {
            for part in parts.iter() {
                conjuncts(part, wanted, out);
            }
        }
        (Expression::Any(parts), true) | (Expression::All(parts), false) => {
            let mut choices = Vec::new();
            for part in parts.iter() {
                disjuncts(part, wanted, &mut choices);
            }
            out.push(Expression::Any(choices.into()));
        }
        (other, true) => out.push(other.clone()),
        (other, false) => out.push(Expression::Not(Arc::new(other.clone()))),
    }
}

/// Adds the things of which one must hold so that a condition is `wanted`.
fn disjuncts(condition: &Expression, wanted: bool, out: &mut Vec<Expression>) {
    let mut parts = Vec::new();
    conjuncts(condition, wanted, &mut parts);
    match <[Expression; 1]>::try_from(parts) {
        Ok([Expression::Any(choices)]) => out.extend(choices.iter().cloned()),
        Ok([part]) => out.push(part),
        Err(parts) => out.push(Expression::All(parts.into())),
    }
}

/// Whether there is something to gain from looking at choices one by one: not if all are about the same field,
/// as in a list of values or patterns.
fn is_worth_it(rules: &RuleSet, choices: &[Expression]) -> bool {
    let mut fields = BTreeSet::new();
    for choice in choices {
        choice.for_each_predicate(&mut |id| {
            fields.extend(rules.predicates.get(id.0 as usize).map(|predicate| predicate.field));
        });
    }
    fields.len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        diagnostic::SourceText,
        rule::{LoadOptions, RuleSources, load},
    };

    /// What the alternatives of a condition are, of selections by one field each.
    #[track_caller]
    fn check(condition: &str, expected: &[&str]) {
        let text = format!(
            "title: a\nlogsource: {{product: kubernetes, service: audit}}\ndetection:\n  \
             a: {{verb: a}}\n  b: {{objectRef.resource: b}}\n  c: {{objectRef.name: c}}\n  \
             d: {{user.username: d}}\n  ab: {{verb: a, objectRef.resource: b}}\n  condition: {condition}\n"
        );
        let rules = vec![SourceText::new("r.yaml", text)];
        let sources = RuleSources { rules, ..RuleSources::default() };
        let rules = load(&sources, &LoadOptions::default()).rules.expect("a rule");
        let mut got: Vec<String> = Alternative::of(&rules)
            .iter()
            .map(|one| rules.describe(&one.condition).replace('\n', " "))
            .collect();
        got.sort();
        assert_eq!(got.len(), expected.len(), "{got:#?}");
        for (got, expected) in got.iter().zip(expected) {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn choices_are_taken_apart_wherever_they_stand() {
        check("a", &[r#"verb is "a""#]);
        check("a or b", &[r#"objectRef.resource is "b""#, r#"verb is "a""#]);
        check(
            "(a or b) and not (c and d)",
            &[
                r#"objectRef.resource is "b" and not objectRef.name is "c""#,
                r#"objectRef.resource is "b" and not user.username is "d""#,
                r#"verb is "a" and not objectRef.name is "c""#,
                r#"verb is "a" and not user.username is "d""#,
            ],
        );
        // Each alternative of a choice may be several things.
        check(
            "c and (ab or d)",
            &[
                r#"objectRef.name is "c" and (verb is "a" and objectRef.resource is "b")"#,
                r#"objectRef.name is "c" and user.username is "d""#,
            ],
        );
        check("not (a or b)", &[r#"not (verb is "a" or objectRef.resource is "b")"#]);
    }
}
