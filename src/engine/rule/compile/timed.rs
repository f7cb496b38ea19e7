//! `inside` and `outside` on a correlation: only events of these times count.
//!
//! Each detection rule that such a correlation refers to gets a hidden twin that also asks for the
//! time. The twin shares all predicates with the rule, so it costs next to nothing, and correlations
//! need to know nothing of schedules.

use std::collections::BTreeMap;

use super::{compiler::Compiler, graph::Graph};
use crate::engine::{
    diagnostic::Diagnostic,
    rule::{
        plan::{
            build::all,
            expression::Expression,
            outline::Outline,
            rule::{DetectionRule, Rule, RuleIndex, RuleMeta},
        },
        read::document::Document,
    },
    syntax::code,
};

/// For a correlation and one of its inputs, by documents, the twin to refer to instead.
pub(in crate::engine) type TimedInputs = BTreeMap<(usize, usize), RuleIndex>;

/// Makes all twins, behind the detection rules.
pub(in crate::engine) fn timed_inputs(
    compiler: &Compiler<'_>,
    graph: &Graph,
    index_of: &BTreeMap<usize, RuleIndex>,
    rules: &mut Vec<Rule>,
    outlines: &mut BTreeMap<RuleIndex, Outline>,
) -> TimedInputs {
    let mut timed = TimedInputs::new();
    for (index, document) in compiler.documents.iter().enumerate() {
        let Document::Correlation(correlation) = document else { continue };
        let schedules = &correlation.header.extension.schedules;
        let tests = compiler.schedule_tests(schedules);
        if tests.is_empty() {
            continue;
        }
        let inputs = graph.inputs.get(&index).map_or(&[][..], Vec::as_slice);
        for input in inputs.iter().flatten().copied() {
            let rule_index = index_of.get(&input);
            let rule = rule_index.and_then(|rule| rules.get(rule.index()));
            let Some(Rule::Detection(rule)) = rule else {
                not_a_detection(compiler, input, schedules.first().map(|(name, _)| &name.place));
                continue;
            };
            let expression = all(std::iter::once(rule.expression.clone()).chain(tests.clone()));
            if expression == Expression::Constant(false)
                && let Some((schedule, _)) = schedules.first()
            {
                let title = format!("no event of `{}` is ever counted", rule.meta.name);
                compiler.problems.push(
                    Diagnostic::warning(code::CONSTANT_CONDITION, schedule.place.clone(), title)
                        .label("the rule itself asks for other times"),
                );
            }
            let name = |of: fn(&crate::engine::rule::read::names::RuleName) -> &String| {
                compiler.names.of.get(index).map_or("", |names| of(names)).to_owned()
            };
            let twin = DetectionRule {
                meta: RuleMeta {
                    id: format!("{}#{}", name(|names| &names.id), rule.meta.id),
                    name: format!("{}_{}", name(|names| &names.name), rule.meta.name),
                    alert: None,
                    ..rule.meta.clone()
                },
                expression,
                steps: rule.steps,
                capture: rule.capture.clone(),
                capture_names: rule.capture_names.clone(),
            };
            let twin_index = RuleIndex(u32::try_from(rules.len()).expect("rules are bounded"));
            timed.insert((index, input), twin_index);
            if let Some(outline) = rule_index.and_then(|rule| outlines.get(rule)) {
                let parts = tests.iter().cloned().map(Outline::Part);
                let parts = std::iter::once(outline.clone()).chain(parts).collect();
                outlines.insert(twin_index, Outline::all(parts));
            }
            rules.push(Rule::Detection(twin));
        }
    }
    timed
}

fn not_a_detection(
    compiler: &Compiler<'_>,
    input: usize,
    place: Option<&crate::engine::diagnostic::Place>,
) {
    let (Some(place), Some(name)) = (place, compiler.names.of.get(input)) else { return };
    let title = format!("the schedule cannot be asked of `{}`", name.name);
    compiler.problems.push(
        Diagnostic::error(code::SHAPE_MISMATCH, place.clone(), title)
            .label("it is decided over time itself")
            .help(format!("say `inside` or `outside` on `{}`", name.name)),
    );
}
