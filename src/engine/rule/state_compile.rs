//! Compiles `first_seen`, `spike`, `absence` and `rarity`: a correlation over the rule's own events.

use std::time::Duration;

use super::{
    alert::{alert_spec, evidence_of, meta_of, slot, slots},
    code,
    compile::{Compiler, shape},
    document::DetectionDocument,
    fields::check_field,
    graph::Graph,
    pattern::Pattern,
    read::Text,
    set::{CorrelationInput, CorrelationKind, CorrelationRule, Rule, RuleIndex, WindowShape},
    state::{Expect, StateKind, StateSyntax},
};
use crate::engine::diagnostic::Diagnostic;

/// Compiles the correlation half of a detection rule with state; `input` is its hidden other half.
pub(super) fn compile_state(
    compiler: &Compiler<'_>,
    index: usize,
    document: &DetectionDocument,
    input: RuleIndex,
    rules: &[Rule],
    graph: &Graph,
) -> Option<CorrelationRule> {
    let header = &document.header;
    let state = header.extension.state.as_ref()?;
    let group_texts: Vec<&Text> = header.extension.group_by.iter().flatten().collect();
    for text in group_texts.iter().copied().chain(&state.of) {
        check_field(&text.value, &text.place, compiler.problems);
    }
    let group_by: Vec<String> = group_texts.iter().map(|text| text.value.clone()).collect();
    let of: Vec<String> = state.of.iter().map(|text| text.value.clone()).collect();
    let capture_names = graph.wanted.get(&index)?.0.clone();
    let captured = rules.get(input.index())?.capture();
    let all_slots = |names: &[String]| {
        names.iter().map(|name| slot(captured, name)).collect::<Option<Vec<_>>>()
    };
    let inputs = vec![CorrelationInput {
        rule: input,
        name: compiler.names.of.get(index)?.name.clone(),
        key: all_slots(&group_by)?,
        fields: all_slots(&of)?,
        capture: capture_names.iter().map(|name| slot(captured, name)).collect(),
    }];
    let kind = kind_of(compiler, state, group_by.len())?;
    let mut meta = meta_of(header, compiler.names.of.get(index));
    if graph.alerts(index) {
        let evidence = evidence_of(header);
        let mut spec = alert_spec(header, &capture_names, &evidence);
        // What is new or rare tells alerts apart too.
        let key: Vec<String> = group_by.iter().chain(&of).cloned().collect();
        spec.key = slots(&capture_names, &key);
        spec.resolve_after = match state.kind {
            StateKind::FirstSeen { .. } | StateKind::Rarity { .. } => compiler.resolve_after,
            StateKind::Spike { .. } | StateKind::Absence { .. } => state.timespan,
        };
        meta.alert = Some(spec);
    }
    let words = format!("{:?}", window_words(&kind, state.timespan));
    let more: Vec<&str> =
        std::iter::once(words.as_str()).chain(of.iter().map(String::as_str)).collect();
    meta.state_shape = shape(kind.name(), &group_by, &more);
    Some(CorrelationRule {
        meta,
        kind,
        inputs,
        group_by,
        timespan: state.timespan,
        window: WindowShape::Sliding,
        capture_names,
    })
}

/// What of a kind decides the meaning of its state; thresholds do not.
fn window_words(kind: &CorrelationKind, timespan: Duration) -> (Duration, bool) {
    match kind {
        CorrelationKind::Spike { hour_of_week, .. } => (timespan, *hour_of_week),
        CorrelationKind::FirstSeen { .. } | CorrelationKind::Rarity { .. } => {
            (Duration::ZERO, false)
        }
        _ => (timespan, false),
    }
}

fn kind_of(
    compiler: &Compiler<'_>,
    state: &StateSyntax,
    key_parts: usize,
) -> Option<CorrelationKind> {
    Some(match &state.kind {
        StateKind::FirstSeen { history, learn } => {
            CorrelationKind::FirstSeen { history: *history, learn: *learn }
        }
        StateKind::Spike { baseline, hour_of_week, factor, at_least } => CorrelationKind::Spike {
            baseline: *baseline,
            hour_of_week: *hour_of_week,
            factor: *factor,
            at_least: *at_least,
        },
        StateKind::Rarity { history, max_share } => {
            CorrelationKind::Rarity { history: *history, max_share: *max_share }
        }
        StateKind::Absence { expect } => {
            CorrelationKind::Absence { expect: expected(compiler, expect, key_parts)? }
        }
    })
}

/// The groups that are expected; each value is one key part, or several with `/` between them.
fn expected(
    compiler: &Compiler<'_>,
    expect: &Expect,
    key_parts: usize,
) -> Option<Vec<Vec<String>>> {
    let (values, place): (Vec<String>, _) = match expect {
        Expect::Seen => return Some(Vec::new()),
        Expect::Values(texts) => {
            let place = texts.first().map(|text| text.place.clone());
            (texts.iter().map(|text| text.value.clone()).collect(), place)
        }
        Expect::List(name) => {
            let Some(list) = compiler.lists.get(&name.value) else {
                let title = format!("there is no list `{}`", name.value);
                let diagnostic = Diagnostic::error(code::UNKNOWN_LIST, name.place.clone(), title)
                    .suggest(&name.value, compiler.lists.keys().map(String::as_str))
                    .help(format!("write its values to `lists/{}.yaml`", name.value));
                compiler.problems.push(diagnostic);
                return None;
            };
            let plain = |pattern: &Pattern| pattern.plain().map(str::to_owned);
            let values: Option<Vec<String>> =
                list.entries.iter().map(|entry| plain(&entry.pattern)).collect();
            if values.is_none() {
                let title =
                    format!("the list `{}` has wildcards; groups have exact names", name.value);
                let place = name.place.clone();
                compiler.problems.push(Diagnostic::error(code::SHAPE_MISMATCH, place, title));
            }
            (values?, Some(name.place.clone()))
        }
    };
    let keys: Vec<Vec<String>> = values
        .iter()
        .map(|value| {
            if key_parts <= 1 {
                vec![value.clone()]
            } else {
                value.split('/').map(str::to_owned).collect()
            }
        })
        .collect();
    if key_parts == 0 || keys.iter().any(|key| key.len() != key_parts) {
        let title = if key_parts == 0 {
            "groups are expected, but the rule has no `group-by`".to_owned()
        } else {
            format!("each expected group needs {key_parts} parts, with `/` between them")
        };
        if let Some(place) = place {
            compiler.problems.push(Diagnostic::error(code::SHAPE_MISMATCH, place, title));
        }
        return None;
    }
    Some(keys)
}
