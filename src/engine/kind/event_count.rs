//! `event_count`: how many events.

use super::{
    KindEntry, KindSyntax, Sample, Written, life,
    measured::{Measure, of_events},
    window::{Window, WindowEvent},
};
use crate::engine::{
    limits::COUNTED_MAX,
    syntax::threshold::{Numbers, schema_of_numbers},
    yaml::Section,
};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "event_count",
    written: Written::Type,
    summary: "How many events.",
    doc: "Counts the events of its rules for each key; one that several of them find is one. With \
          `gt` and `gte` it fires the moment the number is reached within any `timespan` (a sliding \
          window), and goes on firing while that holds. With `lt`, `lte`, `eq`, `neq` or a range it is decided when a window ends: windows are \
          then tumbling, aligned to the epoch. Above 10,000 (1,000,000 at most) it counts within 1 %, and \
          its alerts say so. A window without any event is not looked at; for silence there is \
          `absence`.",
    lives: &[life::AT_ONCE, life::AT_ONCE_IN_SESSION, life::AT_END, life::AT_END_OF_SESSION],
    example: "\
title: Failed login
name: failed_login
logsource: {product: kubernetes, service: audit}
detection:
  failed: {responseStatus.code: 401}
  condition: failed
---
title: Many failed logins from one address
name: login_failures
level: medium
correlation:
  type: event_count
  rules: [failed_login]
  group-by: [source.ip]
  timespan: 5m
  condition: {gte: 20}
",
    schema: schema_of_numbers,
    read: Some(read),
};

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    of_events(Numbers::open(section)?, EventCount)
}

#[derive(Clone, Debug)]
pub(super) struct EventCount;

impl Measure for EventCount {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn most(&self) -> Option<usize> {
        Some(COUNTED_MAX)
    }

    fn unit(&self) -> String {
        "events".to_owned()
    }

    fn event(&self, sample: &Sample<'_>, _: &[&str]) -> Option<WindowEvent> {
        Some(WindowEvent::of(sample))
    }

    fn joins(&self) -> bool {
        true
    }

    fn measure(&self, window: &mut Window, start: usize, end: usize) -> f64 {
        window.events(start, end)
    }
}
