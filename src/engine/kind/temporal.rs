//! `temporal`: several rules, in any order.

use std::collections::BTreeMap;

use super::{
    Frame, KindEntry, Written, life,
    several::{Manner, Several, read},
    temporal_condition::schema,
    window::{Repeats, Window, count},
    windowed::{Verdict, Windowed, oldest},
};

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
    read: Some(|section| read(section, &MANNER)),
};

const MANNER: Manner =
    Manner { entry: &ENTRY, repeats: Repeats::Anywhere, words: "", evaluate, steps, make_room };

/// A rule that is seen again takes the place of itself.
fn make_room(rules: &Several, window: &mut Window, index: usize, frame: Frame) -> usize {
    let ends = rules.ends(frame);
    let spare = window.spare_repeat(index, ends).unwrap_or_else(|| oldest(window, ends));
    window.remove(spare);
    1
}

/// The last event of each rule that is asked for of which it is known what it carried.
fn steps(rules: &Several, window: &Window, start: usize, end: usize) -> Vec<usize> {
    let entries = (start..end).zip(window.range(start, end));
    let asked = entries.filter(|(_, entry)| rules.opens(entry) && entry.captured.is_some());
    let last_of: BTreeMap<u16, usize> = asked.map(|(at, entry)| (entry.input, at)).collect();
    let mut steps: Vec<usize> = last_of.into_values().collect();
    steps.sort_unstable();
    steps
}

fn evaluate(rules: &Several, window: &mut Window, start: usize, end: usize) -> Verdict {
    let seen = rules.seen(window, start, end);
    let value = count(seen.iter().filter(|seen| **seen).count());
    Verdict { holds: rules.condition.holds(&seen, value), value }
}
