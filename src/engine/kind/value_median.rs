//! `value_median`: the median of a numeric field.

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
    name: "value_median",
    written: Written::Type,
    summary: "The median of a numeric field.",
    doc: "Takes the median (the lower of two middle ones) of the numbers in `field` for each key. Sliding windows are looked at as each event comes, tumbling and session windows when they end. The type is pySigma's; the specification does not have it. An event whose field is absent or no number does not count, and a counter shows it.",
    example: "\
title: Bulk deletion
name: bulk_deletion
logsource: {product: kubernetes, service: audit}
detection:
  deletion: {verb: deletecollection}
  condition: deletion
---
title: Bulk deletions that take long mostly
name: value_median_of_duration
level: medium
correlation:
  type: value_median
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
    of_field(Numbers::open(section)?, ValueMedian)
}

#[derive(Clone, Debug)]
struct ValueMedian;

impl Measure for ValueMedian {
    const ENTRY: &'static KindEntry = &ENTRY;
    const GROWS: bool = false;

    fn unit(&self) -> String {
        "as the median".to_owned()
    }

    fn measure(&self, window: &mut Window, start: usize, end: usize) -> f64 {
        window.percentile(start, end, 50.0)
    }
}
