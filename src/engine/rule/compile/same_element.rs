//! `tripline.same_element`: fields of one mapping that must belong to one element of an array.
//!
//! Sigma's fields through arrays have any-member meaning: `containers.privileged: true` and
//! `containers.image: x` hold for a pod with two containers of which each has one of the two. With
//! `same_element: [pod_spec.containers]` the fields of a mapping that lie below that array are looked
//! at element by element. Without Tripline the file keeps Sigma's meaning.

use super::leaf::ItemCompiler;
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems},
    rule::{
        check::fields::check_field,
        plan::{
            build::all,
            expression::{Expression, SameElement},
        },
        read::{
            document::DetectionSyntax,
            modifier::Operand,
            selection::{Item, Search},
        },
    },
    syntax::{code, read::Text},
};

/// The expression of the items of one mapping, if any of them lies below an array.
pub(in crate::engine) fn same_element(
    items: &mut ItemCompiler<'_>,
    mapping: &[&Search],
    arrays: &[Text],
) -> Option<Expression> {
    let of_item = |search: &Search| match search {
        Search::Item(item) => array_of(item, arrays),
        Search::All(_) | Search::Any(_) => None,
    };
    let places: Vec<Option<usize>> = mapping.iter().map(|search| of_item(search)).collect();
    if places.iter().all(Option::is_none) {
        return None;
    }
    // What is cheap comes first.
    let mut parts = Vec::new();
    for (search, place) in mapping.iter().zip(&places) {
        if place.is_none()
            && let Search::Item(item) = search
        {
            parts.push(items.item(item));
        }
    }
    for (number, array) in arrays.iter().enumerate() {
        let below: Vec<&Item> = mapping
            .iter()
            .zip(&places)
            .filter(|(_, place)| **place == Some(number))
            .filter_map(|(search, _)| match search {
                Search::Item(item) => Some(item),
                Search::All(_) | Search::Any(_) => None,
            })
            .collect();
        if !below.is_empty() {
            parts.push(joined(items, array, &below));
        }
    }
    Some(all(parts))
}

/// The array that a field lies below: the longest that fits.
fn array_of(item: &Item, arrays: &[Text]) -> Option<usize> {
    let field = item.field.as_deref()?;
    arrays
        .iter()
        .enumerate()
        .filter(|(_, array)| is_below(field, &array.value))
        .max_by_key(|(_, array)| array.value.len())
        .map(|(number, _)| number)
}

fn is_below(field: &str, array: &str) -> bool {
    field.strip_prefix(array).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
}

fn joined(items: &mut ItemCompiler<'_>, array: &Text, below: &[&Item]) -> Expression {
    let mut fields = Vec::new();
    let mut parts = Vec::new();
    let mut negative = true;
    for item in below {
        check_references(items, array, item);
        negative &= item.negated || item.values.iter().all(|(value, _)| is_absence(value));
        let field = items.builder.field(item.field.as_deref().unwrap_or_default());
        if !fields.contains(&field) {
            fields.push(field);
        }
        for path in item.values.iter().filter_map(|(value, _)| referenced(value)) {
            let other = items.builder.field(path);
            if !fields.contains(&other) {
                fields.push(other);
            }
        }
        parts.push(items.item(item));
    }
    if negative && let Some(item) = below.first() {
        let place = Place { source: std::sync::Arc::clone(items.source), span: item.at.clone() };
        let title = format!("nothing says what an element of `{}` has", array.value);
        items.problems.push(
            Diagnostic::error(code::SHAPE_MISMATCH, place, title)
                .label("this also holds where there is no element")
                .help("add a field that every element has, such as `name|exists: true`"),
        );
    }
    let of = items.builder.field(&array.value);
    Expression::SameElement(Box::new(SameElement { of, fields, condition: all(parts) }))
}

/// Whether a value is found where there is nothing.
fn is_absence(value: &Operand) -> bool {
    match value {
        Operand::Null | Operand::Exists(false) => true,
        Operand::AnyOf(values) => values.iter().any(is_absence),
        _ => false,
    }
}

fn referenced(value: &Operand) -> Option<&str> {
    match value {
        Operand::Field { path, .. } => Some(path),
        _ => None,
    }
}

/// A field below an array is compared with fields of the same element only.
fn check_references(items: &ItemCompiler<'_>, array: &Text, item: &Item) {
    for (value, span) in &item.values {
        let Some(path) = referenced(value) else { continue };
        if is_below(path, &array.value) {
            continue;
        }
        let place = Place { source: std::sync::Arc::clone(items.source), span: span.clone() };
        let title = format!("`{path}` does not lie below `{}`", array.value);
        items.problems.push(
            Diagnostic::error(code::SHAPE_MISMATCH, place, title)
                .help("within one element only its own fields can be compared"),
        );
    }
}

/// Each array must be known and of use.
pub(in crate::engine) fn check_arrays(
    detection: &DetectionSyntax,
    arrays: &[Text],
    problems: &Problems,
) {
    for array in arrays {
        check_field(&array.value, &array.place, problems);
        let used = detection
            .selections
            .iter()
            .filter_map(|(_, search)| search.as_ref())
            .flat_map(Search::items)
            .filter_map(|item| item.field.as_deref())
            .any(|field| is_below(field, &array.value));
        if !used {
            let title = format!("no selection names a field below `{}`", array.value);
            problems.push(
                Diagnostic::error(code::SHAPE_MISMATCH, array.place.clone(), title)
                    .help("remove it, or name the array that the fields lie in"),
            );
        }
    }
}
