//! What an expression requires of single fields, for warnings about combinations that cannot be.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    conflict::{Conflict, words},
    together::{Together, half_of},
};
use crate::engine::{
    event::{FieldId, known_field},
    rule::plan::{
        build::Builder,
        expression::{Expression, Test},
    },
    syntax::threshold::Comparison,
};

/// For each field that must have one of a few values, these values.
pub(in crate::engine) type Requirements = BTreeMap<FieldId, BTreeSet<String>>;

/// The values that each single-valued field must have, as far as conditions on it are lists of values.
pub(in crate::engine) fn requirements(
    expression: &Expression,
    builder: &Builder,
) -> Result<Requirements, Conflict> {
    let parts = match expression {
        Expression::All(parts) => parts,
        one => std::slice::from_ref(one),
    };
    let mut required = Requirements::new();
    for part in parts {
        let Some((field, values)) = values_of(part, builder) else { continue };
        if !is_single(builder.fields.path(field)) {
            continue;
        }
        let Some(before) = required.get_mut(&field) else {
            required.insert(field, values);
            continue;
        };
        let both: BTreeSet<String> = before.intersection(&values).cloned().collect();
        if both.is_empty() {
            let path = builder.fields.path(field);
            let title =
                format!("`{path}` cannot be {} and {} at once", words(before), words(&values));
            return Err(Conflict { title, help: "did you mean `or`?".to_owned() });
        }
        *before = both;
    }
    check_together(&required, builder)?;
    Ok(required)
}

/// What several expressions together leave out of the requests that they plainly mean.
pub(super) fn half_seen(alternatives: &[Expression], builder: &Builder) -> Vec<Conflict> {
    let streams = alternatives.iter().filter_map(|expression| {
        let required = requirements(expression, builder).ok()?;
        together(&required, builder).stream()
    });
    half_of(&streams.collect::<Vec<_>>())
}

fn check_together(required: &Requirements, builder: &Builder) -> Result<(), Conflict> {
    together(required, builder).check()
}

fn together<'r>(required: &'r Requirements, builder: &'r Builder) -> Together<'r> {
    let by_path = required.iter().map(|(field, values)| (builder.fields.path(*field), values));
    Together(by_path.collect())
}

/// Whether a field has at most one value in an event.
fn is_single(path: &str) -> bool {
    known_field(path).is_some_and(|field| !field.is_many)
}

/// The field and the values that a part accepts, if it is a list of values of one field.
pub(super) fn values_of(
    part: &Expression,
    builder: &Builder,
) -> Option<(FieldId, BTreeSet<String>)> {
    match part {
        Expression::Predicate(id) => {
            let predicate = builder.predicates.get(id.0 as usize)?;
            let values = match &predicate.test {
                Test::OneOf { texts, .. } => {
                    let mut values: BTreeSet<String> = BTreeSet::new();
                    values.extend(texts.iter().map(|text| crate::engine::value::fold_case(text)));
                    values
                }
                Test::Number(Comparison::Equal, number) => BTreeSet::from([number.to_string()]),
                Test::Bool(value) => BTreeSet::from([value.to_string()]),
                _ => return None,
            };
            Some((predicate.field, values))
        }
        Expression::Any(parts) => {
            let mut found: Option<(FieldId, BTreeSet<String>)> = None;
            for part in parts.iter() {
                let (field, values) = values_of(part, builder)?;
                match &mut found {
                    None => found = Some((field, values)),
                    Some((known, all)) if *known == field => all.extend(values),
                    Some(_) => return None,
                }
            }
            found
        }
        _ => None,
    }
}

/// Whether an expression can hold only if a field is there.
pub(in crate::engine) fn requires_field(
    expression: &Expression,
    field: FieldId,
    builder: &Builder,
) -> bool {
    match expression {
        Expression::Predicate(id) => {
            builder.predicates.get(id.0 as usize).is_some_and(|predicate| {
                predicate.field == field && !matches!(predicate.test, Test::Null)
            })
        }
        Expression::All(parts) => parts.iter().any(|part| requires_field(part, field, builder)),
        Expression::Any(parts) => parts.iter().all(|part| requires_field(part, field, builder)),
        Expression::Not(inner) => match &**inner {
            // `null: not` means present.
            Expression::Predicate(id) => {
                builder.predicates.get(id.0 as usize).is_some_and(|predicate| {
                    predicate.field == field && matches!(predicate.test, Test::Null)
                })
            }
            _ => false,
        },
        Expression::SameElement(same) => {
            same.of == field || requires_field(&same.condition, field, builder)
        }
        Expression::Constant(_) | Expression::Inside(_) | Expression::Before(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::rule::plan::build::{all, any, not};

    fn one_of(builder: &mut Builder, path: &str, texts: &[&str]) -> Expression {
        let field = builder.field(path);
        let set = Arc::new(texts.iter().map(|text| (*text).to_owned()).collect());
        let key = format!("o{}", texts.join(","));
        builder.predicate(field, Test::OneOf { texts: set, cased: false }, &key)
    }

    #[test]
    fn contradictions_are_found() {
        let mut builder = Builder::default();
        let reads = one_of(&mut builder, "verb", &["get", "list"]);
        let deletes = one_of(&mut builder, "verb", &["delete"]);
        let gets = one_of(&mut builder, "verb", &["get"]);
        let exec = one_of(&mut builder, "objectRef.subresource", &["exec"]);
        let groups = |builder: &mut Builder, name| one_of(builder, "user.groups", &[name]);
        let (a, b) = (groups(&mut builder, "a"), groups(&mut builder, "b"));
        let holds = |expression| requirements(&expression, &builder).is_ok();
        assert!(!holds(all([reads.clone(), deletes.clone()])));
        assert!(holds(all([reads.clone(), gets.clone()])));
        assert!(holds(any([reads, deletes.clone()])));
        assert!(holds(all([a, b])), "a user has many groups");
        assert!(!holds(all([exec.clone(), deletes])));
        assert!(holds(all([exec, gets])));
    }

    #[test]
    fn a_field_that_is_tested_must_be_there() {
        let mut builder = Builder::default();
        let verb = one_of(&mut builder, "verb", &["get"]);
        let name = one_of(&mut builder, "objectRef.name", &["x"]);
        let field = builder.field("verb");
        let needs = |expression: &Expression| requires_field(expression, field, &builder);
        assert!(needs(&all([verb.clone(), name.clone()])));
        assert!(!needs(&any([verb.clone(), name])));
        assert!(!needs(&not(verb)));
    }
}
