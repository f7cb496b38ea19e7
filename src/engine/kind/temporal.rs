//! `temporal`: several rules, in any order.

use std::sync::Arc;

use super::{
    Frame, Kind, KindEntry, KindSyntax, Parameters, ResolveContext, RuleState, Sample, Written,
    life,
    temporal_condition::{self, TemporalCondition, TemporalSyntax, schema},
    window::{Window, WindowEvent, WindowShape, count},
    windowed::{Verdict, Windowed, fresh_windows, oldest},
};
use crate::engine::{duration::written, yaml::Section};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "temporal",
    written: Written::Type,
    summary: "Several rules, in any order.",
    doc: "Looks for events of several rules with the same key within `timespan`. Without `condition` \
          each rule must be seen at least once; `{gte: 2}` asks for so many of them; an expression over \
          rule names (`a and (b or c)`, SEP-198) for any combination. It fires the moment the last one \
          needed is seen. An expression with `not` waits: its window begins with the first event of a rule \
          that it asks for, and is decided when `timespan` has passed by the watermark.",
    lives: &[
        life::AT_ONCE_OF_RULES,
        life::AT_ONCE_OF_RULES_IN_SESSION,
        life::NOT_SEEN,
        life::AT_END_OF_SESSION,
    ],
    example: "\
title: Permissions asked for
name: permissions_asked
logsource: {product: kubernetes, service: audit}
detection:
  asked: {objectRef.resource: selfsubjectrulesreviews, verb: create}
  condition: asked
---
title: Secrets listed
name: secrets_listed_by_anybody
logsource: {product: kubernetes, service: audit}
detection:
  listed: {objectRef.resource: secrets, verb: list}
  condition: listed
---
title: Asked what is allowed, and listed secrets
name: asked_and_listed
level: high
correlation:
  type: temporal
  rules: [permissions_asked, secrets_listed_by_anybody]
  group-by: [actor.id]
  timespan: 10m
",
    schema,
    read: Some(read),
};

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    let condition = temporal_condition::read(section)?;
    Some(temporal_condition::syntax_of(condition, |condition| Box::new(Syntax(condition))))
}

#[derive(Debug)]
struct Syntax(TemporalSyntax);

impl Parameters for Syntax {
    fn resolve(&self, context: &ResolveContext<'_>) -> Option<Arc<dyn Kind>> {
        let condition = self.0.resolve(context)?;
        let words = self.0.describe(context.rules.len());
        Some(Arc::new(Temporal { words, condition, inputs: context.rules.len() }))
    }
}

#[derive(Clone, Debug)]
struct Temporal {
    /// The condition, for people.
    words: String,
    condition: TemporalCondition,
    inputs: usize,
}

impl Kind for Temporal {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn describe(&self, frame: &Frame) -> String {
        format!("{} within {}", self.words, written(frame.timespan))
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        fresh_windows(self, frame)
    }
}

impl Windowed for Temporal {
    fn fires_at_once(&self, _: WindowShape) -> bool {
        self.condition.fires_at_once()
    }

    fn begins_with_first(&self) -> bool {
        true
    }

    fn opens(&self, entry: &WindowEvent) -> bool {
        self.condition.asks_for(usize::from(entry.input))
    }

    fn entry(&self, sample: &Sample<'_>, _: &[&str]) -> Option<WindowEvent> {
        Some(entry_of_input(sample))
    }

    /// A rule that is seen again takes the place of itself.
    fn make_room(&self, window: &mut Window, index: usize, frame: Frame) -> usize {
        let ends = self.ends(frame);
        let spare = window.spare_repeat(index, ends).unwrap_or_else(|| oldest(window, ends));
        window.remove(spare);
        1
    }

    fn evaluate(&self, window: &mut Window, start: usize, end: usize) -> Verdict {
        let seen = seen(window, start, end, self.inputs);
        let value = count(seen.iter().filter(|seen| **seen).count());
        Verdict { holds: self.condition.holds(&seen, value), value }
    }
}

/// An event of which its input counts: inputs are told apart as values are, so that those of a range are
/// known without a look at each of its events.
pub(super) fn entry_of_input(sample: &Sample<'_>) -> WindowEvent {
    WindowEvent { hash: u64::from(sample.input), ..WindowEvent::of(sample) }
}

/// Which inputs a range has events of.
pub(super) fn seen(window: &mut Window, start: usize, end: usize, inputs: usize) -> Vec<bool> {
    (0..inputs as u64).map(|input| window.has(start, end, input)).collect()
}
