//! `value_sum`: the sum of a numeric field.

use serde_json::{Value, json};

use super::{
    KindEntry, KindSyntax, Written,
    measured::{Measure, of_field},
    window::Window,
};
use crate::engine::{
    syntax::threshold::{Numbers, schema_of_numbers},
    yaml::Section,
};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "value_sum",
    written: Written::Type,
    summary: "The sum of a numeric field.",
    doc: "Adds up the numbers in `field` for each key. It fires as `event_count` does. An event whose field is absent or no number does not count, and a counter shows it.",
    example: "\
title: Bulk deletion
name: bulk_deletion
logsource: {product: kubernetes, service: audit}
detection:
  deletion: {verb: deletecollection}
  condition: deletion
---
title: Bulk deletions that took long together
name: value_sum_of_duration
level: medium
correlation:
  type: value_sum
  rules: [bulk_deletion]
  group-by: [actor.id]
  timespan: 10m
  condition: {field: duration, gte: 60}
",
    schema,
    read: Some(read),
};

fn schema() -> Value {
    schema_of_numbers(&json!({"field": {"$ref": "#/$defs/fields"}}))
}

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    of_field(Numbers::open(section)?, ValueSum)
}

#[derive(Clone, Debug)]
struct ValueSum;

impl Measure for ValueSum {
    const ENTRY: &'static KindEntry = &ENTRY;

    fn unit(&self) -> String {
        "in sum".to_owned()
    }

    fn measure(&self, window: &mut Window, start: usize, end: usize) -> f64 {
        window.sum(start, end)
    }
}
