//! Who refers to whom: inputs of correlations, their order, and the values that rules hand on.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    alert::{evidence_of, own_evidence, template_fields, with_always_shown},
    compiler::{Compiler, Wanted},
};
use crate::engine::{
    diagnostic::Diagnostic,
    kubernetes::fields::CLUSTER,
    rule::read::{
        correlation::CorrelationSyntax,
        document::{CorrelationDocument, RuleDocument},
    },
    syntax::{code, read::Text},
};

/// How rules depend on each other. Indexes are those of the list of documents.
#[derive(Debug, Default)]
pub(in crate::engine) struct Graph {
    /// For each correlation the documents that it refers to, in its order; `None` for a reference to
    /// nothing, which is reported.
    pub(in crate::engine) inputs: BTreeMap<usize, Vec<Option<usize>>>,
    /// Correlations, each after all that it refers to; those in a circle are left out.
    pub(in crate::engine) order: Vec<usize>,
    /// The values that findings of each document must carry.
    pub(in crate::engine) wanted: BTreeMap<usize, Wanted>,
    referenced: BTreeSet<usize>,
    generated: BTreeSet<usize>,
    /// Detection rules that say themselves whether they alert.
    said: BTreeMap<usize, bool>,
}

impl Graph {
    /// Whether findings of a document become alerts. A detection rule may say so itself by
    /// `generate`; otherwise it alerts if nothing refers to it, or a correlation that does says
    /// `generate: true`.
    pub(in crate::engine) fn alerts(&self, document: usize) -> bool {
        let default = || !self.referenced.contains(&document) || self.generated.contains(&document);
        self.said.get(&document).copied().unwrap_or_else(default)
    }
}

/// Resolves all references and reports those that lead nowhere or in a circle.
pub(in crate::engine) fn resolve(compiler: &Compiler<'_>) -> Graph {
    let mut graph = Graph::default();
    for (index, document) in compiler.documents.iter().enumerate() {
        if let RuleDocument::Detection(detection) = document {
            let is_recording = detection.header.extension.record.is_some();
            let said = if is_recording { Some(false) } else { detection.header.generate };
            graph.said.extend(said.map(|said| (index, said)));
        }
        let RuleDocument::Correlation(correlation) = document else { continue };
        let inputs = inputs_of(compiler, correlation);
        let generates = correlation.correlation.generate.or(correlation.header.generate);
        for input in inputs.iter().flatten() {
            graph.referenced.insert(*input);
            if generates == Some(true) {
                graph.generated.insert(*input);
            }
        }
        graph.inputs.insert(index, inputs);
    }
    graph.order = sort(compiler, &graph.inputs);
    want(compiler, &mut graph);
    graph
}

/// Warns about rules that neither alert nor feed a correlation.
pub(in crate::engine) fn check_effect(compiler: &Compiler<'_>, graph: &Graph) {
    for (index, said) in &graph.said {
        if *said || graph.referenced.contains(index) {
            continue;
        }
        let Some(document) = compiler.documents.get(*index) else { continue };
        let extension = &document.header().extension;
        if extension.risk.is_some() || extension.record.is_some() {
            continue;
        }
        let place = document.header().place.clone();
        let title = format!("`{}` has no effect", document.header().about.title);
        compiler.problems.push(
            Diagnostic::warning(code::NO_EFFECT, place, title)
                .help("remove `generate: false`, or refer to it in a correlation"),
        );
    }
}

fn inputs_of(compiler: &Compiler<'_>, document: &CorrelationDocument) -> Vec<Option<usize>> {
    let resolve = |reference: &Text| {
        let found = compiler.names.find(reference, compiler.problems)?;
        if matches!(compiler.documents.get(found), Some(RuleDocument::Filter(_))) {
            let title = format!("`{}` is a filter, not a rule", reference.value);
            let place = reference.place.clone();
            compiler.problems.push(Diagnostic::error(code::UNKNOWN_RULE, place, title));
            return None;
        }
        if compiler.documents.get(found).is_some_and(|one| one.header().extension.record.is_some())
        {
            let title = format!("`{}` records, and feeds no correlation", reference.value);
            let place = reference.place.clone();
            compiler.problems.push(
                Diagnostic::error(code::SHAPE_MISMATCH, place, title)
                    .help("refer to a rule without `record`"),
            );
            return None;
        }
        Some(found)
    };
    let rules = &document.correlation.rules;
    let inputs: Vec<Option<usize>> = rules.iter().map(resolve).collect();
    for (at, (reference, input)) in rules.iter().zip(&inputs).enumerate() {
        let mut before = rules.iter().zip(&inputs).take(at);
        // What is written in the same way was reported when it was read.
        let is_same = |(other, known): &(&Text, &Option<usize>)| {
            input.is_some() && *known == input && other.value != reference.value
        };
        if let Some((first, _)) = before.find(is_same) {
            let title = format!("`{}` and `{}` are one rule", first.value, reference.value);
            compiler.problems.push(
                Diagnostic::error(code::TWICE, reference.place.clone(), title)
                    .related(first.place.clone(), "first here")
                    .help("name it once: its events would count twice"),
            );
        }
    }
    inputs
}

/// Inner ones first. A circle is reported once, at the rule that closes it.
fn sort(compiler: &Compiler<'_>, inputs: &BTreeMap<usize, Vec<Option<usize>>>) -> Vec<usize> {
    /// Depth-first, with the way back on an explicit stack: chains may be thousands long.
    struct Visit {
        document: usize,
        next: usize,
    }
    let mut order = Vec::new();
    let mut done = BTreeSet::new();
    let mut broken = BTreeSet::new();
    for start in inputs.keys().copied() {
        if done.contains(&start) {
            continue;
        }
        let mut stack = vec![Visit { document: start, next: 0 }];
        let mut open = BTreeSet::from([start]);
        while let Some(top) = stack.last_mut() {
            let next = inputs.get(&top.document).and_then(|list| list.get(top.next)).copied();
            top.next += 1;
            match next {
                Some(Some(input)) if inputs.contains_key(&input) && !done.contains(&input) => {
                    if open.insert(input) {
                        stack.push(Visit { document: input, next: 0 });
                    } else {
                        report_cycle(compiler, stack.iter().map(|visit| visit.document), input);
                        broken.extend(stack.iter().map(|visit| visit.document));
                    }
                }
                Some(_) => {}
                None => {
                    let document = top.document;
                    stack.pop();
                    open.remove(&document);
                    done.insert(document);
                    if !broken.contains(&document) {
                        order.push(document);
                    }
                }
            }
        }
    }
    order
}

fn report_cycle(compiler: &Compiler<'_>, path: impl Iterator<Item = usize>, back_to: usize) {
    let name = |index: &usize| {
        compiler.names.of.get(*index).map_or(String::new(), |name| format!("`{}`", name.name))
    };
    let mut circle: Vec<usize> = path.skip_while(|index| *index != back_to).collect();
    circle.push(back_to);
    let Some(RuleDocument::Correlation(last)) =
        circle.iter().rev().nth(1).and_then(|index| compiler.documents.get(*index))
    else {
        return;
    };
    let place = last
        .correlation
        .rules
        .iter()
        .find(|rule| compiler.names.get(&rule.value) == Some(back_to))
        .map_or(last.header.place.clone(), |rule| rule.place.clone());
    let way: Vec<String> = circle.iter().map(name).collect();
    let diagnostic = Diagnostic::error(code::CYCLE, place, "a correlation depends on itself")
        .help(format!("the circle is {}", way.join(" → ")));
    compiler.problems.push(diagnostic);
}

/// What a correlation calls one of its inputs' fields.
pub(in crate::engine) fn field_for<'c>(
    compiler: &Compiler<'_>,
    correlation: &'c CorrelationSyntax,
    input: usize,
    name: &'c str,
) -> &'c str {
    correlation
        .aliases
        .iter()
        .find(|alias| alias.name.value == name)
        .and_then(|alias| {
            alias.fields.iter().find(|(rule, _)| compiler.names.get(&rule.value) == Some(input))
        })
        .map_or(name, |(_, field)| field.value.as_str())
}

/// The evidence of a correlation: its own, else what its inputs show, and what is always shown.
pub(in crate::engine) fn correlation_evidence(
    compiler: &Compiler<'_>,
    document: &CorrelationDocument,
    inputs: &[Option<usize>],
) -> Vec<String> {
    if let Some(own) = own_evidence(&document.header) {
        return with_always_shown(own);
    }
    let mut shown = Wanted::default();
    for input in inputs.iter().flatten().filter_map(|index| compiler.documents.get(*index)) {
        shown.add(own_evidence(input.header()).unwrap_or_default());
    }
    with_always_shown(shown.0)
}

/// Decides from the outermost correlation inwards which values each rule hands on.
fn want(compiler: &Compiler<'_>, graph: &mut Graph) {
    for index in graph.order.iter().rev().copied().collect::<Vec<_>>() {
        let Some(RuleDocument::Correlation(document)) = compiler.documents.get(index) else {
            continue;
        };
        let inputs = graph.inputs.get(&index).cloned().unwrap_or_default();
        let mut wanted = Wanted::default();
        wanted.add(document.correlation.group_by.iter().map(|name| &name.value));
        // Right behind the key, of which it is the last part.
        wanted.add([CLUSTER]);
        let from_outside = graph.wanted.remove(&index).unwrap_or_default();
        wanted.add(from_outside.0);
        wanted.add(correlation_evidence(compiler, document, &inputs));
        wanted.add(template_fields(&document.header, compiler.problems));
        wanted.add(document.header.extension.risk.iter().map(|(entity, _)| &entity.value));
        for input in inputs.iter().flatten().copied() {
            let names = wanted
                .0
                .iter()
                .chain(document.correlation.kind.fields.iter().map(|field| &field.value));
            let fields: Vec<&str> =
                names.map(|name| field_for(compiler, &document.correlation, input, name)).collect();
            let of_input = graph.wanted.entry(input).or_default();
            of_input.add(fields);
        }
        graph.wanted.insert(index, wanted);
    }
    want_states(compiler, graph);
}

/// A detection rule with state hands on its key, what it looks at, and what its alert shows.
fn want_states(compiler: &Compiler<'_>, graph: &mut Graph) {
    for (index, document) in compiler.documents.iter().enumerate() {
        let RuleDocument::Detection(document) = document else { continue };
        let extension = &document.header.extension;
        let Some(state) = &extension.state else { continue };
        let mut wanted = Wanted::default();
        wanted.add(extension.group_by.iter().flatten().map(|name| &name.value));
        wanted.add([CLUSTER]);
        wanted.add(state.fields.iter().map(|name| &name.value));
        let from_outside = graph.wanted.remove(&index).unwrap_or_default();
        wanted.add(from_outside.0);
        wanted.add(evidence_of(&document.header));
        wanted.add(template_fields(&document.header, compiler.problems));
        wanted.add(extension.risk.iter().map(|(entity, _)| &entity.value));
        graph.wanted.insert(index, wanted);
    }
}
