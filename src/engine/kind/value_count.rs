//! `value_count`: how many different values.

use super::{
    KindEntry, KindSyntax, Sample, Written, life,
    measured::{Measure, of_field},
    window::{Repeats, Window, WindowEvent, count},
    windowed::oldest,
};
use crate::engine::{
    limits::COUNTED_MAX,
    syntax::threshold::{Numbers, schema_of_fields},
    yaml::Section,
};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "value_count",
    written: Written::Type,
    summary: "How many different values of a field, or tuples of several fields.",
    doc: "Counts the different values of `field` for each key; of a list of fields, the different \
          tuples. It fires as `event_count` does. The count is exact, and alerts name some of the \
          values. Above 10,000 (1,000,000 at most) it is an estimate, in 64 KiB a key at most, and alerts say so. \
          It is within 1 % of the number nearly always where this is about 10,000 to 100,000, and 97 times in 100 at \
          1,000,000; where values come again in an order of their own it may be off by 2 %. More than twice \
          what is compared with may be told as that much; where nothing above 10,000 is compared with, by `levels` \
          neither, more are told as 10,001. Of windows that must end only the six latest that are open take \
          further values; what comes to earlier ones is told as a loss. An event in which one of the fields is absent does not count, and a counter shows it.",
    lives: &[life::AT_ONCE, life::AT_ONCE_IN_SESSION, life::AT_END, life::AT_END_OF_SESSION],
    example: "\
title: Secret read
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets, verb: get}
  condition: read
---
title: Many secrets read by one actor
name: many_secrets_read
level: high
correlation:
  type: value_count
  rules: [secret_read]
  group-by: [actor.id]
  timespan: 5m
  condition: {field: [objectRef.namespace, objectRef.name], gte: 10}
",
    schema: schema_of_fields,
    read: Some(read),
};

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    of_field(Numbers::open(section)?, ValueCount)
}

#[derive(Clone, Debug)]
pub(super) struct ValueCount;

impl Measure for ValueCount {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn most(&self) -> Option<usize> {
        Some(COUNTED_MAX)
    }

    fn unit(&self) -> String {
        "different values".to_owned()
    }

    fn event(&self, sample: &Sample<'_>, values: &[&str]) -> Option<WindowEvent> {
        Some(WindowEvent::of_values(sample, values))
    }

    fn repeats(&self) -> Repeats {
        Repeats::Anywhere
    }

    fn tells_apart(&self) -> bool {
        true
    }

    /// A value that comes again takes the place of itself.
    fn spare(&self, window: &mut Window, index: usize, ends: bool) -> usize {
        window.spare_repeat(index, ends).unwrap_or_else(|| oldest(window, ends))
    }

    fn measure(&self, window: &mut Window, start: usize, end: usize) -> f64 {
        count(window.distinct(start, end))
    }
}
