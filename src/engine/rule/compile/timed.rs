//! `inside` and `outside` on a correlation: only events of these times count.
//!
//! Each detection rule that such a correlation refers to gets a hidden twin that also asks for the
//! time. The twin shares all predicates with the rule, so it costs next to nothing, and correlations
//! need to know nothing of schedules.

use std::collections::BTreeMap;

use super::{compiler::Compiler, graph::Graph, made::Made};
use crate::engine::{
    diagnostic::Diagnostic,
    rule::{
        plan::{
            build::all,
            expression::Expression,
            outline::Outline,
            rule::{DetectionRule, Rule, RuleIndex, RuleMeta},
        },
        read::{document::RuleDocument, names::RuleName},
    },
    syntax::code,
};

/// For a correlation and one of its inputs, by documents, the twin to refer to instead.
pub(in crate::engine) type TimedInputs = BTreeMap<(usize, usize), RuleIndex>;

/// Makes all twins, behind the detection rules.
pub(in crate::engine) fn timed_inputs(
    compiler: &Compiler<'_>,
    graph: &Graph,
    made: &mut Made,
) -> TimedInputs {
    let mut timed = TimedInputs::new();
    for (index, document) in compiler.documents.iter().enumerate() {
        let RuleDocument::Correlation(correlation) = document else { continue };
        let schedules = &correlation.header.extension.schedules;
        let tests = compiler.schedule_tests(schedules);
        if tests.is_empty() {
            continue;
        }
        let inputs = graph.inputs.get(&index).map_or(&[][..], Vec::as_slice);
        for input in inputs.iter().flatten().copied() {
            let Some((rule_index, Rule::Detection(rule))) = made.rule_of(input) else {
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
            let name = compiler.names.of.get(index);
            let name = name.map(|name| name.of_part(&rule.meta.id, &rule.meta.name));
            let RuleName { id, name } = name.unwrap_or_default();
            let twin = DetectionRule {
                meta: RuleMeta { id, name, alert: None, ..rule.meta.clone() },
                expression,
                steps: rule.steps,
                capture: rule.capture.clone(),
                capture_names: rule.capture_names.clone(),
                record: None,
            };
            let outline = made.outlines.get(&rule_index).map(|outline| {
                let parts = tests.iter().cloned().map(Outline::Part);
                Outline::all(std::iter::once(outline.clone()).chain(parts).collect())
            });
            let twin = made.add_part(index, Rule::Detection(twin));
            made.outlines.extend(outline.map(|outline| (twin, outline)));
            timed.insert((index, input), twin);
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
