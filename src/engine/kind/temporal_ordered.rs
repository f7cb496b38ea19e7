//! `temporal_ordered`: several rules, in the order of `rules`.

use crate::engine::time::EventTime;
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Frame, KindEntry, Written, life,
    several::{Manner, Several, read},
    temporal_condition::{TemporalCondition, schema},
    window::{Repeats, Window, count},
    windowed::Verdict,
};

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
    read: Some(|section| read(section, &MANNER)),
};

const MANNER: Manner = Manner {
    entry: &ENTRY,
    repeats: Repeats::InARow,
    words: " in order",
    evaluate,
    steps,
    make_room,
};

/// Of the older half only what others may still follow stays.
fn make_room(rules: &Several, window: &mut Window, _: usize, _: Frame) -> usize {
    let needed = needed(&rules.required, window);
    let half = window.len() / 2;
    window.keep(|at| at >= half || needed.contains(&at))
}

/// Required inputs whose chains are told apart when a window is full: 16. Of more, those of the others leave as
/// any event does.
const CHAINED_MAX: usize = 16;

/// What of a window further events could go on with: for each last input and number of inputs the chain
/// that begins latest. Beside that the first event, and the last of each input.
fn needed(required: &[usize], window: &Window) -> BTreeSet<usize> {
    let inputs = required.len().min(CHAINED_MAX);
    // Links of chains: an event, and the link before it.
    let mut links: Vec<(usize, Option<usize>)> = Vec::new();
    // By last input and number of inputs before it: when the chain begins, and its last link.
    let mut chains: Vec<Vec<Option<(EventTime, usize)>>> =
        (0..inputs).map(|input| vec![None; input + 1]).collect();
    let mut last_of: BTreeMap<u16, usize> = BTreeMap::new();
    for (at, event) in window.range(0, window.len()).enumerate() {
        last_of.insert(event.input, at);
        let place = required.binary_search(&usize::from(event.input));
        let Some(place) = place.ok().filter(|place| *place < inputs) else { continue };
        for length in 0..=place {
            let shorter = length.checked_sub(1).map(|shorter| {
                let before = chains.iter().take(place);
                before.filter_map(|of| *of.get(shorter)?).max_by_key(|(begins, _)| *begins)
            });
            let (begins, before) = match shorter {
                None => (event.time, None),
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

fn evaluate(rules: &Several, window: &mut Window, start: usize, end: usize) -> Verdict {
    if cannot_hold(rules, window.distinct(start, end)) {
        return Verdict { holds: false, value: 0.0 };
    }
    let in_order = longest_in_order(&rules.required, window, start, end);
    let value = count(in_order);
    let holds = match &rules.condition {
        TemporalCondition::Count(threshold) => threshold.holds(value),
        condition => {
            let seen = rules.seen(window, start, end);
            in_order == rules.required.len() && condition.holds(&seen, value)
        }
    };
    Verdict { holds, value }
}

/// Whether the condition fails already because of how few inputs there are events of, which is known
/// without a look at each event: no more than these can stand in order.
fn cannot_hold(rules: &Several, inputs: usize) -> bool {
    match &rules.condition {
        TemporalCondition::Count(threshold) => {
            threshold.fires_at_once() && !threshold.holds(count(inputs))
        }
        _ => inputs < rules.required.len(),
    }
}

/// The longest chain of required inputs in their order; of several the one whose events come latest.
fn steps(rules: &Several, window: &Window, start: usize, end: usize) -> Vec<usize> {
    // Links of chains: an entry, and the link before it. By place in `required`: the length of the chain that
    // ends with this input, and its last link.
    let mut links: Vec<(usize, Option<usize>)> = Vec::new();
    let mut chains: Vec<(usize, Option<usize>)> = vec![(0, None); rules.required.len()];
    for (at, entry) in (start..end).zip(window.range(start, end)) {
        // Of a run of one input the last one will do.
        let is_in_run = window.get(at + 1).is_some_and(|next| next.input == entry.input);
        if is_in_run && at + 1 < end {
            continue;
        }
        let Ok(place) = rules.required.binary_search(&usize::from(entry.input)) else { continue };
        let (before, link) = chains.iter().take(place).copied().max().unwrap_or((0, None));
        if let Some(chain) = chains.get_mut(place).filter(|(length, _)| *length <= before + 1) {
            *chain = (before + 1, Some(links.len()));
            links.push((at, link));
        }
    }
    let mut next = chains.into_iter().max().and_then(|(_, link)| link);
    let mut steps = Vec::new();
    while let Some((at, before)) = next.and_then(|link| links.get(link)) {
        steps.push(*at);
        next = *before;
    }
    steps.reverse();
    steps
}

/// The greatest number of different required inputs that were seen in their order.
fn longest_in_order(required: &[usize], window: &Window, start: usize, end: usize) -> usize {
    // By place in `required`: the longest chain so far that ends with this input. Entries of one
    // moment stand in the order of the inputs, so ties count either way.
    let mut longest = vec![0_usize; required.len()];
    let mut last = None;
    for entry in window.range(start, end) {
        // A run of one input is as good as one.
        if last.replace(entry.input) == Some(entry.input) {
            continue;
        }
        let Ok(place) = required.binary_search(&usize::from(entry.input)) else { continue };
        let before = longest.iter().take(place).copied().max().unwrap_or(0);
        if let Some(chain) = longest.get_mut(place) {
            *chain = (*chain).max(before + 1);
        }
    }
    longest.into_iter().max().unwrap_or(0)
}
