//! Compiles the condition of a detection or a filter: selections to expressions, joined as it says.

use std::{cell::RefCell, collections::BTreeMap};

use super::{
    compiler::Compiler,
    leaf::{Entries, ItemCompiler},
    same_element::{check_arrays, same_element},
};
use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    kubernetes::Stage,
    limits::CONDITION_TESTS_MAX,
    rule::{
        check::{bodies::check_bodies, possible::check_conditions},
        plan::{
            build::{all, any, evaluate},
            expression::Expression,
            outline::Outline,
            rule::{Note, RuleSteps},
        },
        read::{
            document::DetectionSyntax,
            modifier::Operand,
            selection::{Item, Search},
        },
    },
    syntax::{
        code,
        condition::{self, Condition},
        read::Text,
    },
};

/// What a condition was compiled to.
#[derive(Debug)]
pub(in crate::engine) struct Compiled {
    /// To be evaluated.
    pub(in crate::engine) expression: Expression,
    /// The same as it was written.
    pub(in crate::engine) outline: Outline,
    /// What is said of entries of its lists.
    pub(in crate::engine) notes: Vec<Note>,
}

impl Compiler<'_> {
    /// Any of a document's conditions.
    pub(in crate::engine) fn condition_of(
        &mut self,
        detection: &DetectionSyntax,
        arrays: &[Text],
    ) -> Compiled {
        let mut items = ItemCompiler {
            builder: &mut self.builder,
            lists: self.lists,
            entries: Entries::All,
            identity_notes: self.identity_notes,
            problems: self.problems,
            source: &detection.source,
            predicate_count: 0,
            regex_count: 0,
            notes: RefCell::default(),
        };
        let errors_before = items.problems.error_count();
        let selections = selections_of(&mut items, detection, arrays);
        let notes = items.notes.take();
        check_arrays(detection, arrays, self.problems);
        // Without a condition that can be used, the selections were all there was to check.
        let is_usable = !detection.conditions.is_empty() && self.check_size(detection, &selections);
        if !is_usable {
            let expression = Expression::Constant(false);
            return Compiled { outline: Outline::Part(expression.clone()), expression, notes };
        }
        // Mistakes that make a part constant are reported where they are.
        if self.problems.error_count() == errors_before {
            check_conditions(detection, &selections, &self.builder, self.problems);
        }
        let trees = || detection.conditions.iter().map(|(tree, _)| tree);
        let expression = any(trees().map(|tree| evaluate(tree, &selections)));
        check_bodies(detection, &expression, &self.builder, self.problems);
        let outlines = trees().map(|tree| Outline::of(tree, &selections)).collect();
        Compiled { expression, outline: Outline::any(outlines), notes }
    }

    /// A document's conditions as they would be without the entries of a list of which more is said than their
    /// values, and for each of these entries, by its number, what holds of the events that it is about. `None` if
    /// the document does not name the list, or that comes to more than one rule may.
    pub(in crate::engine) fn condition_without(
        &mut self,
        detection: &DetectionSyntax,
        arrays: &[Text],
        list: &str,
    ) -> Option<(Expression, Vec<(usize, Expression)>)> {
        let searches = detection.selections.iter().filter_map(|(_, search)| search.as_ref());
        let names_it = |item: &&Item| item.values.iter().any(|(value, _)| value.names_list(list));
        let naming: Vec<Item> = searches
            .flat_map(Search::items)
            .filter(names_it)
            .map(|item| Item { all: false, negated: false, ..item.clone() })
            .collect();
        if naming.is_empty() {
            return None;
        }
        // All of it was reported before.
        let problems = Problems::new();
        let mut items = ItemCompiler {
            builder: &mut self.builder,
            lists: self.lists,
            entries: Entries::Plain(list),
            identity_notes: self.identity_notes,
            problems: &problems,
            source: &detection.source,
            predicate_count: 0,
            regex_count: 0,
            notes: RefCell::default(),
        };
        let selections = selections_of(&mut items, detection, arrays);
        let trees = detection.conditions.iter().map(|(tree, _)| tree);
        let expression = any(trees.map(|tree| evaluate(tree, &selections)));
        let mut of_entries = Vec::new();
        for (number, entry) in self.lists.get(list)?.entries.iter().enumerate() {
            if entry.exception.is_none() {
                continue;
            }
            items.entries = Entries::One(list, number);
            let tests = naming.iter().map(|item| {
                let mut item = item.clone();
                item.values.retain(|(value, _)| value.names_list(list));
                items.item(&item)
            });
            of_entries.push((number, any(tests)));
        }
        (!problems.has_errors()).then_some((expression, of_entries))
    }

    /// Refuses conditions that name large selections again and again.
    fn check_size(
        &self,
        detection: &DetectionSyntax,
        selections: &BTreeMap<&str, Expression>,
    ) -> bool {
        let sizes: BTreeMap<&str, usize> =
            selections.iter().map(|(name, expression)| (*name, expression.size())).collect();
        let mut sum: usize = 0;
        for (tree, text) in &detection.conditions {
            sum = sum.saturating_add(size_of(tree, &sizes));
            if sum > CONDITION_TESTS_MAX {
                let title = format!("the conditions come to more than {CONDITION_TESTS_MAX} tests");
                let diagnostic = Diagnostic::error(code::TOO_MANY, text.place.clone(), title);
                self.problems.push(diagnostic.help("name each selection once"));
                return false;
            }
        }
        true
    }
}

/// The expression of each selection.
fn selections_of<'d>(
    items: &mut ItemCompiler<'_>,
    detection: &'d DetectionSyntax,
    arrays: &[Text],
) -> BTreeMap<&'d str, Expression> {
    let mut selections: BTreeMap<&str, Expression> = BTreeMap::new();
    for (name, search) in &detection.selections {
        let expression = match search {
            Some(search) => search_expression(items, search, arrays),
            None => Expression::Constant(false),
        };
        selections.insert(&name.text, expression);
    }
    selections
}

fn search_expression(items: &mut ItemCompiler<'_>, search: &Search, arrays: &[Text]) -> Expression {
    match search {
        Search::Item(item) => {
            same_element(items, &[search], arrays).unwrap_or_else(|| items.item(item))
        }
        Search::All(parts) => {
            let refs: Vec<&Search> = parts.iter().collect();
            if let Some(joined) = same_element(items, &refs, arrays) {
                return joined;
            }
            let parts: Vec<_> =
                parts.iter().map(|part| search_expression(items, part, arrays)).collect();
            all(parts)
        }
        Search::Any(parts) => {
            let parts: Vec<_> =
                parts.iter().map(|part| search_expression(items, part, arrays)).collect();
            any(parts)
        }
    }
}

/// How many tests a condition comes to, by those of each selection.
fn size_of(tree: &Condition, sizes: &BTreeMap<&str, usize>) -> usize {
    let sum = |parts: &[Condition]| {
        parts.iter().fold(0_usize, |sum, part| sum.saturating_add(size_of(part, sizes)))
    };
    match tree {
        Condition::Name(name, _) => sizes.get(name.as_str()).copied().unwrap_or(1),
        Condition::Of { pattern, .. } => sizes
            .iter()
            .filter(|(name, _)| condition::fits(pattern, name))
            .map(|(_, size)| size)
            .sum(),
        Condition::Not(inner) => size_of(inner, sizes),
        Condition::All(parts) | Condition::Any(parts) => sum(parts),
    }
}

/// A rule that names `stage` sees every stage; every other one event per request.
pub(in crate::engine) fn steps_of(detection: &DetectionSyntax) -> RuleSteps {
    let searches = detection.selections.iter().filter_map(|(_, search)| search.as_ref());
    let stages: Vec<_> = searches
        .flat_map(Search::items)
        .filter(|item| item.field.as_deref() == Some("stage"))
        .collect();
    let unfinished = |operand: &Operand| match operand {
        Operand::Text { original, .. } => original.eq_ignore_ascii_case(Stage::Unfinished.as_str()),
        _ => false,
    };
    if stages.iter().any(|item| item.values.iter().any(|(operand, _)| unfinished(operand))) {
        RuleSteps::AllAndUnfinished
    } else if stages.is_empty() {
        RuleSteps::Canonical
    } else {
        RuleSteps::All
    }
}
