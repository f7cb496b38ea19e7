//! `temporal_ordered`: several rules, in the order of `rules`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Frame, Kind, KindEntry, KindSyntax, Parameters, ResolveContext, RuleState, Sample, Written,
    life,
    temporal::{entry_of_input, seen},
    temporal_condition::{self, TemporalCondition, TemporalSyntax, schema},
    window::{Window, WindowEvent, WindowShape, count},
    windowed::{Verdict, Windowed, fresh_windows},
};
use crate::engine::{duration::written, time::EventTime, yaml::Section};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "temporal_ordered",
    written: Written::Type,
    summary: "Several rules, in the order of `rules`.",
    doc: "Like `temporal`, but the events must come in the order in which `rules` names the rules, by \
          event time; events of one moment may stand in either order. With `{gte: 2}` so many rules \
          must be seen in that order; with an expression, those that it joins by `and`.",
    lives: &[
        life::AT_ONCE_OF_RULES,
        life::AT_ONCE_OF_RULES_IN_SESSION,
        life::NOT_SEEN,
        life::AT_END_OF_SESSION,
    ],
    example: "\
title: Privileged pod made
name: privileged_pod_made
logsource: {product: kubernetes, service: audit}
detection:
  made:
    verb: create
    objectRef.resource: pods
    pod_spec.containers.securityContext.privileged: true
  condition: made
tripline: {needs: {level: Request}}
---
title: Exec into a pod
name: exec_into_pod
logsource: {product: kubernetes, service: audit}
detection:
  exec: {objectRef.resource: pods, objectRef.subresource: exec, objectRef.name|exists: true}
  condition: exec
---
title: Privileged pod made and entered
name: privileged_pod_entered
level: critical
correlation:
  type: temporal_ordered
  rules: [privileged_pod_made, exec_into_pod]
  group-by: [actor.id]
  timespan: 1h
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
        let inputs = context.rules.len();
        let required = condition.required(inputs);
        Some(Arc::new(TemporalOrdered { words, condition, required, inputs }))
    }
}

#[derive(Clone, Debug)]
struct TemporalOrdered {
    /// The condition, for people.
    words: String,
    condition: TemporalCondition,
    /// Inputs whose order matters, sorted.
    required: Vec<usize>,
    inputs: usize,
}

impl Kind for TemporalOrdered {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn describe(&self, frame: &Frame) -> String {
        format!("{} in order within {}", self.words, written(frame.timespan))
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        fresh_windows(self, frame)
    }
}

impl Windowed for TemporalOrdered {
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

    /// Of the older half only what others may still follow stays.
    fn make_room(&self, window: &mut Window, _: usize, _: Frame) -> usize {
        let needed = self.needed(window);
        let half = window.len() / 2;
        window.keep(|at| at >= half || needed.contains(&at))
    }

    fn evaluate(&self, window: &mut Window, start: usize, end: usize) -> Verdict {
        if self.cannot_hold(window.distinct(start, end)) {
            return Verdict { holds: false, value: 0.0 };
        }
        let in_order = self.longest_in_order(window, start, end);
        let value = count(in_order);
        let holds = match &self.condition {
            TemporalCondition::Count(threshold) => threshold.holds(value),
            condition => {
                let seen = seen(window, start, end, self.inputs);
                in_order == self.required.len() && condition.holds(&seen, value)
            }
        };
        Verdict { holds, value }
    }
}

/// Required inputs whose chains are told apart when a window is full: 16. Of more, those of the others leave as
/// any event does.
const CHAINED_MAX: usize = 16;

impl TemporalOrdered {
    /// What of a window further events could go on with: for each last input and number of inputs the chain
    /// that begins latest. Beside that the first event, and the last of each input.
    fn needed(&self, window: &Window) -> BTreeSet<usize> {
        let inputs = self.required.len().min(CHAINED_MAX);
        // Links of chains: an event, and the link before it.
        let mut links: Vec<(usize, Option<usize>)> = Vec::new();
        // By last input and number of inputs before it: when the chain begins, and its last link.
        let mut chains: Vec<Vec<Option<(EventTime, usize)>>> =
            (0..inputs).map(|input| vec![None; input + 1]).collect();
        let mut last_of: BTreeMap<u16, usize> = BTreeMap::new();
        for (at, entry) in window.range(0, window.len()).enumerate() {
            last_of.insert(entry.input, at);
            let place = self.required.binary_search(&usize::from(entry.input));
            let Some(place) = place.ok().filter(|place| *place < inputs) else { continue };
            for length in 0..=place {
                let shorter = length.checked_sub(1).map(|shorter| {
                    let before = chains.iter().take(place);
                    before.filter_map(|of| *of.get(shorter)?).max_by_key(|(begins, _)| *begins)
                });
                let (begins, before) = match shorter {
                    None => (entry.time, None),
                    Some(Some((begins, link))) => (begins, Some(link)),
                    Some(None) => continue,
                };
                if let Some(chain) = chains.get_mut(place).and_then(|of| of.get_mut(length))
                    && chain.is_none_or(|(known, _)| known < begins)
                {
                    *chain = Some((begins, links.len()));
                    links.push((at, before));
                }
            }
        }
        let mut needed: BTreeSet<usize> = last_of.into_values().chain([0]).collect();
        for (_, last) in chains.into_iter().flatten().flatten() {
            let mut next = Some(last);
            while let Some((at, before)) = next.and_then(|link| links.get(link)) {
                needed.insert(*at);
                next = *before;
            }
        }
        needed
    }

    /// Whether the condition fails already because of how few inputs there are events of, which is known
    /// without a look at each event: no more than these can stand in order.
    fn cannot_hold(&self, inputs: usize) -> bool {
        match &self.condition {
            TemporalCondition::Count(threshold) => {
                threshold.fires_at_once() && !threshold.holds(count(inputs))
            }
            _ => inputs < self.required.len(),
        }
    }

    /// The greatest number of different required inputs that were seen in their order.
    fn longest_in_order(&self, window: &Window, start: usize, end: usize) -> usize {
        // By place in `required`: the longest chain so far that ends with this input. Entries of one
        // moment stand in the order of the inputs, so ties count either way.
        let mut longest = vec![0_usize; self.required.len()];
        for entry in window.range(start, end) {
            let Ok(place) = self.required.binary_search(&usize::from(entry.input)) else {
                continue;
            };
            let before = longest.iter().take(place).copied().max().unwrap_or(0);
            if let Some(chain) = longest.get_mut(place) {
                *chain = (*chain).max(before + 1);
            }
        }
        longest.into_iter().max().unwrap_or(0)
    }
}
