//! Risk: one rule for each sort of entity, over all rules that add to its risk.
//!
//! How much is too much, and what people are told then, is in `risk.yaml` beside the rules:
//!
//! ```yaml
//! line: 100                     # from which sum on an entity has an alert
//! half_life: 24h                # how long it takes until half of a score is forgotten
//! level: high
//! levels: [{gte: 200, level: critical}]
//! suppress: 1h
//! annotations: {summary: "{{ actor.id }} has come to a risk of {{ value }}: {{ values | join(', ') }}"}
//! ```
//!
//! All of it may be left out, and so may the file.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    Compiler, Wanted,
    alert::{alert_spec, check_alert_fields, evidence_of, meta_of, slot, template_fields},
    shape,
};
use crate::engine::{
    diagnostic::{Place, Problems, SourceText},
    kind::{Frame, Kind as _, Risk, WindowShape},
    rule::{
        plan::set::{CorrelationInput, CorrelationRule, Rule, RuleIndex, Severity},
        read::{
            extension::{Extension, read_alert, read_levels, severities},
            header::Header,
            names::RuleName,
        },
    },
    syntax::{
        code,
        read::{Context, number_within, timespan},
    },
    yaml,
};

const LINE_DEFAULT: f64 = 100.0;
const HALF_LIFE_DEFAULT: Duration = Duration::from_secs(86_400);

/// What `risk.yaml` says.
#[derive(Debug)]
pub(in crate::engine) struct RiskSettings {
    header: Header,
    line: f64,
    half_life: Duration,
}

/// Reads `risk.yaml`; without it everything is as usual.
pub(in crate::engine) fn read_risk(
    source: Option<&Arc<SourceText>>,
    problems: &Problems,
) -> RiskSettings {
    let nothing = SourceText::new("risk.yaml", "");
    let source = source.unwrap_or(&nothing);
    let mut header = Header {
        place: Place { source: Arc::clone(source), span: 0..0 },
        number: 1,
        id: None,
        name: None,
        title: "Risk has added up".to_owned(),
        description:
            "Several findings about one entity, each perhaps harmless by itself, have added \
                      up. The values name the rules and what each contributed."
                .to_owned(),
        status: None,
        level: Some(Severity::High),
        author: None,
        tags: Vec::new(),
        references: Vec::new(),
        false_positives: Vec::new(),
        fields: Vec::new(),
        generate: None,
        extension: Extension::default(),
    };
    let (mut line, mut half_life) = (LINE_DEFAULT, HALF_LIFE_DEFAULT);
    let context = Context { source, problems };
    let nodes = yaml::parse(source).unwrap_or_else(|problem| {
        problems.push(*problem);
        Vec::new()
    });
    if let Some(second) = nodes.get(1) {
        context.error(code::INVALID_VALUE, &second.span, "risk.yaml has one document");
    }
    if let Some(node) = nodes.first() {
        let section = context.section(node, "");
        line = number_within(&section, "line", 0.001..=1e9).unwrap_or(line);
        half_life = timespan(&section, "half_life").unwrap_or(half_life);
        header.level = section.one_of("level", &severities()).or(header.level);
        header.extension.levels = read_levels(&section);
        header.extension.owner = section.string("owner");
        read_alert(&section, &mut header.extension);
        section.finish();
    }
    RiskSettings { header, line, half_life }
}

/// Makes the rules: one for each entity that any rule names. `rule_of` says which rule each document
/// was compiled to.
pub(in crate::engine) fn risk_rules(
    compiler: &Compiler<'_>,
    settings: &RiskSettings,
    rule_of: &BTreeMap<usize, RuleIndex>,
    rules: &[Rule],
) -> Vec<CorrelationRule> {
    let mut contributions: BTreeMap<&str, Vec<(RuleIndex, f64)>> = BTreeMap::new();
    for (index, document) in compiler.documents.iter().enumerate() {
        let (Some((entity, score)), Some(rule)) =
            (&document.header().extension.risk, rule_of.get(&index))
        else {
            continue;
        };
        contributions.entry(&entity.value).or_default().push((*rule, *score));
    }
    contributions
        .into_iter()
        .filter_map(|(entity, inputs)| risk_rule(compiler, settings, entity, &inputs, rules))
        .collect()
}

fn risk_rule(
    compiler: &Compiler<'_>,
    settings: &RiskSettings,
    entity: &str,
    contributions: &[(RuleIndex, f64)],
    rules: &[Rule],
) -> Option<CorrelationRule> {
    let header = &settings.header;
    check_alert_fields(header, &[], compiler.problems);
    let evidence = evidence_of(header);
    let mut wanted = Wanted::default();
    wanted.add([entity]);
    wanted.add(template_fields(header, compiler.problems));
    wanted.add(&evidence);
    let capture_names = wanted.0;
    let mut inputs = Vec::new();
    let mut scores = Vec::new();
    for (index, score) in contributions {
        let rule = rules.get(index.index())?;
        let captured = rule.capture();
        scores.push((rule.meta().name.clone(), *score));
        inputs.push(CorrelationInput {
            rule: *index,
            name: rule.meta().name.clone(),
            key: vec![slot(captured, entity)?],
            fields: Vec::new(),
            capture: capture_names.iter().map(|name| slot(captured, name)).collect(),
        });
    }
    let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name = RuleName {
        id: format!("risk:{entity}"),
        name: format!("risk_{}", entity.chars().map(word).collect::<String>()),
    };
    let kind = Risk { line: settings.line, half_life: settings.half_life, scores };
    let frame = Frame { timespan: settings.half_life, window: WindowShape::Sliding };
    let mut meta = meta_of(header, Some(&name));
    let mut spec = alert_spec(header, &capture_names, &evidence);
    spec.key = slot(&capture_names, entity).into_iter().collect();
    spec.resolve_after = frame.timespan;
    meta.alert = Some(spec);
    let group_by = vec![entity.to_owned()];
    meta.state_shape = shape(kind.entry().name, &group_by, &[&kind.state_parameters(&frame)]);
    Some(CorrelationRule { meta, kind: Arc::new(kind), inputs, group_by, frame, capture_names })
}
