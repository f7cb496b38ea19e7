//! A condition as its author wrote it: selections by name, filters by title.
//!
//! Compiling forgets them, for events are decided faster without. Whoever wants to know why a rule
//! did not match thinks in nothing else.

use std::collections::BTreeMap;

use super::expression::Expression;
use crate::engine::syntax::condition::{self, Condition};

/// The same meaning as the expression that was made of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outline {
    /// A part that has no name of its own.
    Part(Expression),
    /// A selection or a filter, by what people call it.
    Named(String, Box<Outline>),
    /// Not.
    Not(Box<Outline>),
    /// All hold.
    All(Vec<Outline>),
    /// Any holds.
    Any(Vec<Outline>),
}

impl Outline {
    pub(in crate::engine) fn named(name: impl Into<String>, part: Outline) -> Outline {
        Outline::Named(name.into(), Box::new(part))
    }

    /// All of several, or the only one. What is joined by `and` to another `and` is one list.
    pub(in crate::engine) fn all(parts: Vec<Outline>) -> Outline {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Outline::All(inner) => flat.extend(inner),
                one => flat.push(one),
            }
        }
        if flat.len() == 1 { flat.swap_remove(0) } else { Outline::All(flat) }
    }

    /// Any of several, or the only one.
    pub(in crate::engine) fn any(mut parts: Vec<Outline>) -> Outline {
        if parts.len() == 1 { parts.swap_remove(0) } else { Outline::Any(parts) }
    }

    /// A condition over selections. One that is unusable holds never; that is reported elsewhere.
    pub(in crate::engine) fn of(
        tree: &Condition,
        selections: &BTreeMap<&str, Expression>,
    ) -> Outline {
        let named = |name: &str, expression: &Expression| {
            Outline::named(name, Outline::Part(expression.clone()))
        };
        let list =
            |parts: &[Condition]| parts.iter().map(|part| Outline::of(part, selections)).collect();
        match tree {
            Condition::Name(name, _) => match selections.get(name.as_str()) {
                Some(expression) => named(name, expression),
                None => Outline::Part(Expression::Constant(false)),
            },
            Condition::Of { all, pattern, .. } => {
                let fitting = selections
                    .iter()
                    .filter(|(name, _)| condition::fits(pattern, name))
                    .map(|(name, expression)| named(name, expression))
                    .collect();
                if *all { Outline::all(fitting) } else { Outline::any(fitting) }
            }
            Condition::Not(inner) => Outline::Not(Box::new(Outline::of(inner, selections))),
            Condition::All(parts) => Outline::all(list(parts)),
            Condition::Any(parts) => Outline::any(list(parts)),
        }
    }
}
