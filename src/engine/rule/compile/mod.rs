//! From documents to the plan: filters joined to rules, references resolved, captures decided.
//!
//! Correlations are looked at from the outermost inwards to learn which values each rule must hand
//! on, and then all rules are made from the innermost outwards.

mod alert;
mod clusters;
pub(in crate::engine) mod compiler;
mod condition;
mod correlation;
mod detection;
mod exception;
mod filter;
mod graph;
mod leaf;
mod made;
mod risk;
mod same_element;
mod state;
mod timed;

use self::{
    compiler::Compiler, correlation::compile_correlation, detection::CompiledDetection,
    exception::Excepted, made::Made, risk::risk_rules, state::compile_state, timed::timed_inputs,
};
use crate::engine::{
    diagnostic::Diagnostic,
    limits::FIELDS_MAX,
    rule::{
        plan::{
            rule::{Rule, RuleIndex},
            set::RuleSet,
        },
        read::document::RuleDocument,
    },
    syntax::code,
};

/// Compiles all documents. The result is of use only if no error was reported.
pub(in crate::engine) fn compile(mut compiler: Compiler<'_>, version: String) -> RuleSet {
    let documents = compiler.documents;
    let graph = graph::resolve(&compiler);
    graph::check_effect(&compiler, &graph);
    let filters = compiler.filters_by_rule();
    let compiled_filters = compiler.all_filters();
    let mut excepted = Excepted::of(&compiler);
    let (mut made, mut states) = (Made::default(), Vec::new());
    for (index, document) in documents.iter().enumerate() {
        let RuleDocument::Detection(detection) = document else { continue };
        let wanted = graph.wanted.get(&index).cloned().unwrap_or_default();
        let own_filters = filters.get(&index).map_or(&[][..], Vec::as_slice);
        let own_filters: Vec<_> = own_filters
            .iter()
            .filter_map(|filter| Some((*filter, compiled_filters.get(filter)?)))
            .collect();
        let alerts = graph.alerts(index);
        let filters = own_filters.iter().map(|(_, filter)| *filter).collect();
        let compiled = compiler.detection(index, detection, filters, wanted, alerts);
        let next = RuleIndex(u32::try_from(made.rules.len()).expect("rules are bounded"));
        excepted.add_rule(&mut compiler, (next, detection), &own_filters, &compiled);
        let CompiledDetection { rule, outline, .. } = compiled;
        // Of a rule with state the events come first; what it makes of them follows below.
        let rule_index = if detection.header.extension.state.is_some() {
            let part = made.add_part(index, Rule::Detection(rule));
            states.push((index, part));
            part
        } else {
            made.add(index, Rule::Detection(rule))
        };
        made.outlines.insert(rule_index, outline);
    }
    let timed = timed_inputs(&compiler, &graph, &mut made);
    for (index, input) in states {
        if let Some(RuleDocument::Detection(detection)) = documents.get(index)
            && let Some(rule) = compile_state(&compiler, &graph, &made, index, detection, input)
        {
            made.add(index, Rule::Correlation(rule));
        }
    }
    for index in graph.order.iter().copied() {
        if let Some(RuleDocument::Correlation(correlation)) = documents.get(index)
            && let Some(rule) =
                compile_correlation(&compiler, &graph, &made, &timed, index, correlation)
        {
            made.add(index, Rule::Correlation(rule));
        }
    }
    for rule in risk_rules(&compiler, &made) {
        made.push(Rule::Correlation(rule));
    }
    made.finish(compiler.problems);
    if compiler.builder.too_many_fields {
        let title = format!("all rules together name more than {FIELDS_MAX} fields");
        compiler.problems.push(Diagnostic::error_nowhere(code::TOO_MANY, title));
    }
    let (exceptions, left_out) = excepted.finish();
    RuleSet {
        exceptions,
        left_out,
        fields: compiler.builder.fields,
        predicates: compiler.builder.predicates,
        schedules: compiler.schedules.to_vec(),
        identities: compiler.identities,
        outlines: made.outlines,
        version,
        ..RuleSet::new(made.rules)
    }
}
