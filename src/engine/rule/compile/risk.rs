//! Risk: one rule for each sort of entity, over all rules that add to its risk.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    alert::{alert_spec, check_labels, evidence_of, meta_of, slot, template_fields},
    clusters::Clusters,
    compiler::{Compiler, Wanted, shapes},
    made::Made,
};
use crate::engine::{
    kind::{Frame, Kind as _, Risk, WindowShape},
    kubernetes::fields::CLUSTER,
    rule::{
        check::alert::check_alert_fields,
        plan::rule::{CorrelationInput, CorrelationRule, Rule, RuleIndex},
        read::names::RuleName,
    },
};

/// Makes the rules: one for each entity that any rule names. `rule_of` says which rule each document
/// was compiled to.
pub(in crate::engine) fn risk_rules(compiler: &Compiler<'_>, made: &Made) -> Vec<CorrelationRule> {
    let mut contributions: BTreeMap<&str, Vec<Contribution<'_>>> = BTreeMap::new();
    for (index, document) in compiler.documents.iter().enumerate() {
        if let Some((entity, score)) = &document.header().extension.risk
            && let Some((rule_index, rule)) = made.rule_of(index)
        {
            contributions.entry(&entity.value).or_default().push((rule_index, rule, *score));
        }
    }
    let rule = |(entity, inputs): (&str, Vec<_>)| risk_rule(compiler, entity, &inputs);
    contributions.into_iter().filter_map(rule).collect()
}

/// A rule that adds to a risk, and its score.
type Contribution<'m> = (RuleIndex, &'m Rule, f64);

fn risk_rule(
    compiler: &Compiler<'_>,
    entity: &str,
    contributions: &[Contribution<'_>],
) -> Option<CorrelationRule> {
    let settings = compiler.risk;
    let header = &settings.header;
    check_alert_fields(header, &[], compiler.problems);
    let evidence = evidence_of(header);
    let mut wanted = Wanted::default();
    wanted.add([entity, CLUSTER]);
    wanted.add(template_fields(header, compiler.problems));
    wanted.add(&evidence);
    let capture_names = wanted.0;
    let group_by = vec![entity.to_owned()];
    let clusters = Clusters::of(header, &group_by, compiler.problems);
    let mut inputs = Vec::new();
    let mut scores = Vec::new();
    for (index, rule, score) in contributions {
        let captured = rule.capture();
        scores.push((rule.meta().name.clone(), *score));
        inputs.push(CorrelationInput {
            rule: *index,
            name: rule.meta().name.clone(),
            key: vec![slot(captured, entity)?],
            cluster: clusters.slot(captured),
            fields: Vec::new(),
            capture: capture_names.iter().map(|name| slot(captured, name)).collect(),
        });
    }
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name = RuleName {
        id: format!("risk:{entity}"),
        name: format!("risk_{}", entity.chars().map(word).collect::<String>()),
    };
    let kind = Risk { threshold: settings.line, half_life: settings.half_life, scores };
    let frame = Frame { timespan: settings.half_life, window: WindowShape::Sliding };
    let mut meta = meta_of(header, Some(&name));
    let mut spec = alert_spec(header, &capture_names, &evidence);
    spec.key = slot(&capture_names, entity).into_iter().collect();
    spec.cluster = clusters.slot(&capture_names);
    check_labels(header, &group_by, &spec, compiler.problems);
    spec.resolve_after = frame.timespan;
    meta.alert = Some(spec);
    let words = kind.state_parameters(&frame);
    shapes(&mut meta, clusters, kind.entry().name, &group_by, &[&words]);
    let (kind, is_of_one_cluster) = (Arc::new(kind), clusters != Clusters::Across);
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
