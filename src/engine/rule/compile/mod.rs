//! From documents to the plan: filters joined to rules, references resolved, captures decided.
//!
//! Correlations are looked at from the outermost inwards to learn which values each rule must hand
//! on, and then all rules are made from the innermost outwards.

mod alert;
pub(in crate::engine) mod compiler;
mod condition;
mod correlation;
mod detection;
mod filter;
mod graph;
mod leaf;
mod risk;
mod same_element;
mod state;
mod timed;

use std::collections::BTreeMap;

use self::{
    compiler::Compiler, correlation::compile_correlation, risk::risk_rules, state::compile_state,
    timed::timed_inputs,
};
use crate::engine::{
    diagnostic::Diagnostic,
    limits::FIELDS_MAX,
    rule::{
        plan::{
            rule::{Rule, RuleIndex},
            set::RuleSet,
        },
        read::document::Document,
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
    let mut rules: Vec<Rule> = Vec::new();
    // Where the rule of each document is; a rule with state is the second of two.
    let mut index_of: BTreeMap<usize, RuleIndex> = BTreeMap::new();
    let mut states = Vec::new();
    let mut outlines = BTreeMap::new();
    for (index, document) in documents.iter().enumerate() {
        let Document::Detection(detection) = document else { continue };
        let wanted = graph.wanted.get(&index).cloned().unwrap_or_default();
        let alerts = graph.alerts(index);
        let own_filters = filters.get(&index).map_or(&[][..], Vec::as_slice);
        let own_filters = own_filters.iter().filter_map(|filter| compiled_filters.get(filter));
        let (rule, outline) =
            compiler.detection(index, detection, own_filters.collect(), wanted, alerts);
        let rule_index = next_index(&rules);
        outlines.insert(rule_index, outline);
        if detection.header.extension.state.is_some() {
            states.push((index, rule_index));
        } else {
            index_of.insert(index, rule_index);
        }
        rules.push(Rule::Detection(rule));
    }
    let timed = timed_inputs(&compiler, &graph, &index_of, &mut rules, &mut outlines);
    for (index, input) in states {
        if let Some(Document::Detection(detection)) = documents.get(index)
            && let Some(rule) = compile_state(&compiler, index, detection, input, &rules, &graph)
        {
            index_of.insert(index, next_index(&rules));
            rules.push(Rule::Correlation(rule));
        }
    }
    for index in graph.order.iter().copied() {
        if let Some(Document::Correlation(correlation)) = documents.get(index)
            && let Some(rule) = compile_correlation(
                &compiler,
                index,
                correlation,
                &index_of,
                &timed,
                &rules,
                &graph,
            )
        {
            index_of.insert(index, next_index(&rules));
            rules.push(Rule::Correlation(rule));
        }
    }
    let risk = risk_rules(&compiler, compiler.risk, &index_of, &rules);
    rules.extend(risk.into_iter().map(Rule::Correlation));
    if compiler.builder.too_many_fields {
        let title = format!("all rules together name more than {FIELDS_MAX} fields");
        compiler.problems.push(Diagnostic::error_nowhere(code::TOO_MANY, title));
    }
    RuleSet {
        fields: compiler.builder.fields,
        predicates: compiler.builder.predicates,
        rules,
        schedules: compiler.schedules.to_vec(),
        identities: compiler.identities,
        outlines,
        version,
    }
}

fn next_index(rules: &[Rule]) -> RuleIndex {
    RuleIndex(u32::try_from(rules.len()).expect("rules are bounded"))
}
