//! `tripline.same_element`: fields of one mapping that must belong to one element of an array.
//!
//! Sigma's fields through arrays have any-member meaning: `containers.privileged: true` and
//! `containers.image: x` hold for a pod with two containers of which each has one of the two. With
//! `same_element: [pod_spec.containers]` the fields of a mapping that lie below that array are looked
//! at element by element; those below an array that lies in another one, within one element of each. Without
//! Tripline the file keeps Sigma's meaning.

use std::sync::Arc;

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
    let of_mapping = Mapping { items: mapping, places: &places, arrays };
    let outermost = (0..arrays.len()).filter(|number| array_above(*number, arrays).is_none());
    for number in outermost {
        let element = joined(items, &of_mapping, number);
        parts.extend(element.map(|element| Expression::SameElement(Arc::new(element))));
    }
    Some(all(parts))
}

/// The items of a mapping, and the array that each lies below.
struct Mapping<'m> {
    items: &'m [&'m Search],
    places: &'m [Option<usize>],
    arrays: &'m [Text],
}

impl<'m> Mapping<'m> {
    /// The items that lie below an array, and below none within it.
    fn below(&self, number: usize) -> Vec<&'m Item> {
        let placed = self.items.iter().zip(self.places);
        let of_array = placed.filter(|(_, place)| **place == Some(number));
        let item = |(search, _): (&&'m Search, _)| match *search {
            Search::Item(item) => Some(item),
            Search::All(_) | Search::Any(_) => None,
        };
        of_array.filter_map(item).collect()
    }
}

/// The array that a field lies below: the longest that fits.
fn array_of(item: &Item, arrays: &[Text]) -> Option<usize> {
    longest_above(item.field.as_deref()?, arrays)
}

/// The array that an array lies in, of those that are named.
fn array_above(number: usize, arrays: &[Text]) -> Option<usize> {
    longest_above(&arrays.get(number)?.value, arrays)
}

fn longest_above(path: &str, arrays: &[Text]) -> Option<usize> {
    arrays
        .iter()
        .enumerate()
        .filter(|(_, array)| is_below(path, &array.value))
        .max_by_key(|(_, array)| array.value.len())
        .map(|(number, _)| number)
}

fn is_below(field: &str, array: &str) -> bool {
    field.strip_prefix(array).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
}

/// What must hold of one element of an array: of its own fields, and of one element each of the arrays in it.
/// `None` if nothing is asked of any field below it.
fn joined(
    items: &mut ItemCompiler<'_>,
    mapping: &Mapping<'_>,
    number: usize,
) -> Option<SameElement> {
    let array = mapping.arrays.get(number)?;
    let inner = (0..mapping.arrays.len())
        .filter(|inner| array_above(*inner, mapping.arrays) == Some(number));
    let mut inner: Vec<SameElement> =
        inner.filter_map(|inner| joined(items, mapping, inner)).collect();
    let below = mapping.below(number);
    if below.is_empty() && inner.len() <= 1 {
        // An element of the inner array lies in some element of this one.
        return inner.pop();
    }
    let mut fields = Vec::new();
    let mut add = |field| {
        if !fields.contains(&field) {
            fields.push(field);
        }
    };
    let mut parts = Vec::new();
    let mut negative = inner.is_empty();
    for item in &below {
        check_references(items, array, item);
        negative &= item.negated || item.values.iter().all(|(value, _)| is_absence(value));
        add(items.builder.field(item.field.as_deref().unwrap_or_default()));
        for path in item.values.iter().filter_map(|(value, _)| referenced(value)) {
            add(items.builder.field(path));
        }
        parts.push(items.item(item));
    }
    if negative && let Some(item) = below.first() {
        let place = Place { source: Arc::clone(items.source), span: item.at.clone() };
        let title = format!("nothing says what an element of `{}` has", array.value);
        items.problems.push(
            Diagnostic::error(code::SHAPE_MISMATCH, place, title)
                .label("this also holds where there is no element")
                .help("add a field that every element has, such as `name|exists: true`"),
        );
    }
    for element in inner {
        add(element.of);
        element.fields.iter().copied().for_each(&mut add);
        parts.push(Expression::SameElement(Arc::new(element)));
    }
    let of = items.builder.field(&array.value);
    Some(SameElement { of, fields, condition: all(parts) })
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
        let place = Place { source: Arc::clone(items.source), span: span.clone() };
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
