//! Puts the plan together: numbers fields, shares equal predicates, simplifies expressions.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::{HashMap, hash_map::Entry};

use super::expression::{Expression, Predicate, PredicateId, Test};
use crate::engine::{
    digest::Digest,
    event::{FieldId, FieldTable},
    limits::FIELDS_MAX,
    syntax::condition::{self, Condition},
};

/// Fields and predicates of a rule set that is being made.
#[derive(Debug, Default)]
pub(in crate::engine) struct Builder {
    /// Fields so far.
    pub(in crate::engine) fields: FieldTable,
    /// Predicates so far.
    pub(in crate::engine) predicates: Vec<Predicate>,
    /// Predicates by field and test, as short as any, whatever the size of the list.
    by_digest: HashMap<[u8; 16], PredicateId>,
    /// Whether [`FIELDS_MAX`] was passed.
    pub(in crate::engine) too_many_fields: bool,
}

impl Builder {
    /// The number of a field. Past the limit every new field is the first one; loading fails anyhow.
    pub(in crate::engine) fn field(&mut self, path: &str) -> FieldId {
        if let Some(id) = self.fields.get(path) {
            return id;
        }
        if self.fields.len() >= FIELDS_MAX {
            self.too_many_fields = true;
            return FieldId(0);
        }
        self.fields.intern(path)
    }

    /// A predicate, shared with every other that tests the same. `key` tells tests apart.
    pub(in crate::engine) fn predicate(
        &mut self,
        field: FieldId,
        test: Test,
        key: &str,
    ) -> Expression {
        let digest = Digest::default().bytes(field.0.to_le_bytes()).bytes(key);
        let id = match self.by_digest.entry(digest.first()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                let id = PredicateId(
                    u32::try_from(self.predicates.len()).expect("predicates are bounded per rule"),
                );
                self.predicates.push(Predicate { field, test });
                *free.insert(id)
            }
        };
        Expression::Predicate(id)
    }
}

/// All of these hold. Constants and nesting are simplified away.
pub(in crate::engine) fn all(parts: impl IntoIterator<Item = Expression>) -> Expression {
    let mut flat: Vec<Expression> = Vec::new();
    for part in parts {
        match part {
            Expression::Constant(true) => {}
            Expression::Constant(false) => return Expression::Constant(false),
            Expression::All(inner) => inner.iter().for_each(|one| add(&mut flat, one.clone())),
            one => add(&mut flat, one),
        }
    }
    if contradicts(&flat) {
        return Expression::Constant(false);
    }
    match flat.len() {
        0 => Expression::Constant(true),
        1 => flat.swap_remove(0),
        _ => Expression::All(flat.into()),
    }
}

/// Any of these holds. Constants and nesting are simplified away.
pub(in crate::engine) fn any(parts: impl IntoIterator<Item = Expression>) -> Expression {
    let mut flat: Vec<Expression> = Vec::new();
    for part in parts {
        match part {
            Expression::Constant(false) => {}
            Expression::Constant(true) => return Expression::Constant(true),
            Expression::Any(inner) => inner.iter().for_each(|one| add(&mut flat, one.clone())),
            one => add(&mut flat, one),
        }
    }
    if contradicts(&flat) {
        return Expression::Constant(true);
    }
    match flat.len() {
        0 => Expression::Constant(false),
        1 => flat.swap_remove(0),
        _ => Expression::Any(flat.into()),
    }
}

/// Whether something stands beside its own negation.
fn contradicts(parts: &[Expression]) -> bool {
    parts.len() <= 64
        && parts.iter().any(|part| match part {
            Expression::Not(inner) => parts.contains(inner),
            _ => false,
        })
}

/// Adds what is not there yet. Long lists are not searched: they are made of distinct tests.
fn add(parts: &mut Vec<Expression>, part: Expression) {
    if parts.len() > 64 || !parts.contains(&part) {
        parts.push(part);
    }
}

/// This does not hold.
pub(in crate::engine) fn not(part: Expression) -> Expression {
    match part {
        Expression::Constant(value) => Expression::Constant(!value),
        Expression::Not(inner) => Arc::unwrap_or_clone(inner),
        one => Expression::Not(Arc::new(one)),
    }
}

/// A condition over selections. One that names none never holds; that is reported elsewhere.
pub(in crate::engine) fn evaluate(
    tree: &Condition,
    selections: &BTreeMap<&str, Expression>,
) -> Expression {
    match tree {
        Condition::Name(name, _) => {
            selections.get(name.as_str()).cloned().unwrap_or(Expression::Constant(false))
        }
        Condition::Of { all: every, pattern, .. } => {
            let fitting = selections
                .iter()
                .filter(|(name, _)| condition::fits(pattern, name))
                .map(|(_, expression)| expression.clone());
            if *every { all(fitting) } else { any(fitting) }
        }
        Condition::Not(inner) => not(evaluate(inner, selections)),
        Condition::All(parts) => all(parts.iter().map(|part| evaluate(part, selections))),
        Condition::Any(parts) => any(parts.iter().map(|part| evaluate(part, selections))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_predicates_are_one() {
        let mut builder = Builder::default();
        let (verb, name) = (builder.field("verb"), builder.field("objectRef.name"));
        let first = builder.predicate(verb, Test::Exists, "e");
        assert_eq!(builder.predicate(verb, Test::Exists, "e"), first);
        assert_ne!(builder.predicate(name, Test::Exists, "e"), first);
        assert_ne!(builder.predicate(verb, Test::Null, "n"), first);
        assert_eq!(builder.predicates.len(), 3);
    }

    #[test]
    fn constants_remain_only_at_the_root() {
        let one = || Expression::Predicate(PredicateId(1));
        let two = || Expression::Predicate(PredicateId(2));
        assert_eq!(all([Expression::Constant(true), one()]), one());
        assert_eq!(all([Expression::Constant(false), one()]), Expression::Constant(false));
        assert_eq!(any([one(), Expression::Constant(true)]), Expression::Constant(true));
        assert_eq!(any([]), Expression::Constant(false));
        assert_eq!(not(not(one())), one());
        assert_eq!(all([one(), two(), not(one())]), Expression::Constant(false));
        assert_eq!(any([one(), not(one())]), Expression::Constant(true));
        assert_eq!(all([one(), all([two(), one()])]), Expression::All([one(), two()].into()));
    }
}
