//! Compiles detection rules that fire by what happens over time (`first_seen`, `spike` …): a hidden
//! detection rule that alerts on nothing, and a correlation over it that carries the rule's name.
//! Without Tripline the file is still the plain Sigma rule.

use super::{
    alert::{alert_spec, check_labels, evidence_of, meta_of, slot, slots},
    clusters::Clusters,
    compiler::{Compiler, shapes},
    graph::Graph,
    made::Made,
};
use crate::engine::{
    kind::{Frame, WindowShape},
    rule::{
        check::fields::check_key_field,
        plan::rule::{CorrelationInput, CorrelationRule, RuleIndex, add_notes},
        read::document::DetectionDocument,
    },
    syntax::read::Text,
};

/// Compiles the correlation half of such a rule; `input` is its hidden other half.
pub(in crate::engine) fn compile_state(
    compiler: &Compiler<'_>,
    graph: &Graph,
    made: &Made,
    index: usize,
    document: &DetectionDocument,
    input: RuleIndex,
) -> Option<CorrelationRule> {
    let header = &document.header;
    let state = header.extension.state.as_ref()?;
    let group_texts: Vec<&Text> = header.extension.group_by.iter().flatten().collect();
    for text in group_texts.iter().copied().chain(&state.fields) {
        check_key_field(&text.value, &text.place, compiler.problems);
    }
    let group_by: Vec<String> = group_texts.iter().map(|text| text.value.clone()).collect();
    let of: Vec<String> = state.fields.iter().map(|text| text.value.clone()).collect();
    let mut meta = meta_of(header, compiler.names.of.get(index));
    let kind = compiler.resolve(state, &[], group_by.len(), &mut meta, header)?;
    let frame = Frame { timespan: state.timespan?, window: WindowShape::Sliding };
    let capture_names = graph.wanted.get(&index)?.0.clone();
    let events = made.rules.get(input.index())?;
    let captured = events.capture();
    let all_slots = |names: &[String]| {
        names.iter().map(|name| slot(captured, name)).collect::<Option<Vec<_>>>()
    };
    let clusters = Clusters::of(header, &group_by, compiler.problems);
    let inputs = vec![CorrelationInput {
        rule: input,
        name: compiler.names.of.get(index)?.name.clone(),
        key: all_slots(&group_by)?,
        cluster: clusters.slot(captured),
        fields: all_slots(&of)?,
        capture: capture_names.iter().map(|name| slot(captured, name)).collect(),
    }];
    add_notes(&mut meta.about.notes, &events.meta().about.notes);
    meta.needs = meta.needs.max(events.meta().needs);
    if graph.alerts(index) {
        let evidence = evidence_of(header);
        let mut spec = alert_spec(header, &capture_names, &evidence);
        let about_values = kind.is_about_values();
        let values = of.iter().filter(|_| about_values);
        let key: Vec<String> = group_by.iter().chain(values).cloned().collect();
        spec.key = slots(&capture_names, &key);
        spec.cluster = clusters.slot(&capture_names).filter(|slot| !spec.key.contains(slot));
        check_labels(header, &key, &spec, compiler.problems);
        spec.resolve_after = kind.fires_for(&frame).unwrap_or(compiler.resolve_after);
        meta.alert = Some(spec);
    }
    let words = [format!("{:?}", frame.window), kind.state_parameters(&frame)];
    let more: Vec<&str> =
        words.iter().map(String::as_str).chain(of.iter().map(String::as_str)).collect();
    shapes(&mut meta, clusters, kind.entry().name, &group_by, &more);
    let is_of_one_cluster = clusters != Clusters::Across;
    Some(CorrelationRule {
        meta,
        kind,
        inputs,
        group_by,
        is_of_one_cluster,
        frame,
        expires: None,
        capture_names,
    })
}
