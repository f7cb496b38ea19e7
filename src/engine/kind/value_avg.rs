//! `value_avg`: the mean of a numeric field.

use serde_json::{Value, json};

use super::{
    KindEntry, KindSyntax, Written,
    measured::{Measure, of_field},
    window::{Window, count},
};
use crate::engine::{
    syntax::threshold::{Numbers, schema_of_numbers},
    yaml::Section,
};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "value_avg",
    written: Written::Type,
    summary: "The mean of a numeric field.",
    doc: "Takes the mean of the numbers in `field` for each key. With `gt` and `gte` a sliding window is looked at as each event comes, so the first event alone can be enough; tumbling and session windows are decided when they end. An event whose field is absent or no number does not count, and a counter shows it.",
    example: "\
title: Bulk deletion
name: bulk_deletion
logsource: {product: kubernetes, service: audit}
detection:
  deletion: {verb: deletecollection}
  condition: deletion
---
title: Bulk deletions that take long
name: value_avg_of_duration
level: medium
correlation:
  type: value_avg
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
    of_field(Numbers::open(section)?, ValueAvg)
}

#[derive(Clone, Debug)]
struct ValueAvg;

impl Measure for ValueAvg {
    const ENTRY: &'static KindEntry = &ENTRY;
    const GROWS: bool = false;

    fn unit(&self) -> String {
        "on average".to_owned()
    }

    fn measure(&self, window: &mut Window, start: usize, end: usize) -> f64 {
        window.sum(start, end) / count(end - start).max(1.0)
    }
}
