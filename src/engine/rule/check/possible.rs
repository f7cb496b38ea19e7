//! Warns about conditions that no event can satisfy, or that every event satisfies.
//!
//! What is wrong with a single field or value is said where it stands; here it is said what follows
//! from it for the rule as a whole. A rule that cannot match looks like one that has nothing to report.

use std::collections::BTreeMap;

use super::{
    conflict::Conflict,
    require::{half_seen, requirements},
};
use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    event::known_field,
    kubernetes::fields::FieldKind,
    rule::{
        plan::{
            build::{Builder, all, any, evaluate, not},
            expression::{Expression, PredicateId, Test},
        },
        read::document::DetectionSyntax,
    },
    syntax::{
        code,
        condition::{Condition, fits},
        read::Text,
    },
    value::fold_case,
};

/// What can be said of an expression before any event is seen.
enum Verdict {
    Open,
    Always,
    /// The expression contradicts itself.
    Never,
    /// Two of its parts exclude each other.
    Conflict(Conflict),
    /// It asks for what no event has: these fields.
    Dead(Vec<String>),
}

/// Warns if the conditions of a document, or one of several alternatives, can never hold, or always do.
pub(in crate::engine) fn check_conditions(
    detection: &DetectionSyntax,
    selections: &BTreeMap<&str, Expression>,
    builder: &Builder,
    problems: &Problems,
) {
    if detection.selections.iter().any(|(_, search)| search.is_none()) {
        return;
    }
    let alternatives: Vec<(Condition, &Text)> = detection
        .conditions
        .iter()
        .flat_map(|(tree, text)| {
            choices(tree, selections).into_iter().map(move |choice| (choice, text))
        })
        .collect();
    let verdicts: Vec<Verdict> = alternatives
        .iter()
        .map(|(tree, _)| verdict(&evaluate(tree, selections), builder))
        .collect();
    let whole = any(alternatives.iter().map(|(tree, _)| evaluate(tree, selections)));
    let Some((_, place)) = detection.conditions.first().map(|(tree, text)| (tree, &text.place))
    else {
        return;
    };
    let warn =
        |code, text: &Text, title: String| Diagnostic::warning(code, text.place.clone(), title);
    if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Always))
        || matches!(verdict(&whole, builder), Verdict::Always)
    {
        let title = "the condition is always true";
        problems.push(Diagnostic::warning(code::CONSTANT_CONDITION, place.clone(), title));
        return;
    }
    let open: Vec<Expression> = alternatives
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| matches!(verdict, Verdict::Open))
        .map(|((tree, _), _)| evaluate(tree, selections))
        .collect();
    for half in half_seen(&open, builder) {
        let warning = Diagnostic::warning(code::PART_BLIND, place.clone(), half.title);
        problems.push(warning.help(half.help));
    }
    let every = verdicts.iter().all(|verdict| !matches!(verdict, Verdict::Open));
    for ((tree, text), verdict) in alternatives.iter().zip(verdicts) {
        let what = if every { "the condition".to_owned() } else { format!("`{tree}`") };
        problems.push(match verdict {
            Verdict::Open | Verdict::Always => continue,
            Verdict::Never => warn(code::CONSTANT_CONDITION, text, format!("{what} is never true")),
            Verdict::Conflict(conflict) => {
                let label = if every { String::new() } else { format!("in `{tree}`") };
                warn(code::CANNOT_MATCH, text, conflict.title).label(label).help(conflict.help)
            }
            // Where another alternative is left, the word about the field is enough.
            Verdict::Dead(_) if !every => continue,
            Verdict::Dead(fields) => {
                let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
                warn(code::CANNOT_MATCH, text, "the condition can never hold".to_owned())
                    .help(format!("because of {}", fields.join(" and ")))
            }
        });
        if every {
            break;
        }
    }
}

/// The alternatives of a condition: what `or` stands between, and the selections of which `1 of` takes one.
fn choices(tree: &Condition, selections: &BTreeMap<&str, Expression>) -> Vec<Condition> {
    let choices: Vec<Condition> = match tree {
        Condition::Any(parts) => parts.iter().flat_map(|part| choices(part, selections)).collect(),
        Condition::Of { all: false, pattern, at } => {
            let fitting = selections.keys().filter(|name| fits(pattern, name));
            fitting.map(|name| Condition::Name((*name).to_owned(), at.clone())).collect()
        }
        _ => Vec::new(),
    };
    if choices.is_empty() { vec![tree.clone()] } else { choices }
}

fn verdict(expression: &Expression, builder: &Builder) -> Verdict {
    match expression {
        Expression::Constant(true) => return Verdict::Always,
        Expression::Constant(false) => return Verdict::Never,
        _ => {}
    }
    if let Err(conflict) = requirements(expression, builder) {
        return Verdict::Conflict(conflict);
    }
    let mut dead = Vec::new();
    match without_dead(expression, builder, &mut dead) {
        Expression::Constant(true) => Verdict::Always,
        Expression::Constant(false) => Verdict::Dead(dead),
        _ => Verdict::Open,
    }
}

/// The expression with what can never hold taken as false.
fn without_dead(expression: &Expression, builder: &Builder, dead: &mut Vec<String>) -> Expression {
    match expression {
        Expression::Predicate(id) => match truth(*id, builder) {
            Some(value) => {
                if let Some(predicate) = builder.predicates.get(id.0 as usize) {
                    let path = builder.fields.path(predicate.field);
                    if !dead.iter().any(|known| known == path) {
                        dead.push(path.to_owned());
                    }
                }
                Expression::Constant(value)
            }
            None => expression.clone(),
        },
        Expression::Not(inner) => not(without_dead(inner, builder, dead)),
        Expression::All(parts) => {
            all(parts.iter().map(|part| without_dead(part, builder, dead)).collect::<Vec<_>>())
        }
        Expression::Any(parts) => {
            any(parts.iter().map(|part| without_dead(part, builder, dead)).collect::<Vec<_>>())
        }
        Expression::SameElement(same) => match without_dead(&same.condition, builder, dead) {
            Expression::Constant(false) => Expression::Constant(false),
            _ => expression.clone(),
        },
        Expression::Constant(_) | Expression::Inside(_) | Expression::Before(_) => {
            expression.clone()
        }
    }
}

/// What a predicate is for every event, if that is known.
fn truth(id: PredicateId, builder: &Builder) -> Option<bool> {
    let predicate = builder.predicates.get(id.0 as usize)?;
    let Some(field) = known_field(builder.fields.path(predicate.field)) else {
        return Some(matches!(predicate.test, Test::Null));
    };
    let Test::OneOf { texts, .. } = &predicate.test else { return None };
    let mut texts = texts.iter();
    let occurs = match field.kind {
        FieldKind::Words(words) => {
            texts.any(|text| words.iter().any(|word| fold_case(word) == fold_case(text)))
        }
        FieldKind::Number => texts.any(|text| text.trim().parse::<f64>().is_ok()),
        FieldKind::Bool => texts.any(|text| matches!(fold_case(text).as_str(), "true" | "false")),
        _ => true,
    };
    (!occurs).then_some(false)
}
