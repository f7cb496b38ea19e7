//! `value_percentile`: a percentile of a numeric field.

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
    name: "value_percentile",
    written: Written::Type,
    summary: "A percentile of a numeric field.",
    doc: "Takes a percentile (nearest rank, `percentile: 95`) of the numbers in `field` for each key. Sliding \
          windows are looked at as each event comes, tumbling and session windows when they end. The \
          specification also has a form without `percentile` that \
          means rarity; it is not defined well enough to honour, and an error names `rarity` instead.",
    example: "\
title: Bulk deletion
name: bulk_deletion
logsource: {product: kubernetes, service: audit}
detection:
  deletion: {verb: deletecollection}
  condition: deletion
---
title: Bulk deletions of which some take long
name: value_percentile_of_duration
level: medium
correlation:
  type: value_percentile
  rules: [bulk_deletion]
  group-by: [actor.id]
  timespan: 10m
  condition: {field: duration, percentile: 95, gte: 60}
",
    schema,
    read: Some(read),
};

fn schema() -> Value {
    schema_of_numbers(&json!({
        "field": {"$ref": "#/$defs/fields"},
        "percentile": {"type": "number", "minimum": 0, "maximum": 100},
    }))
}

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    let mut numbers = Numbers::open(section)?;
    // Without it, go on reading all the same: everything wrong is shown at once.
    let percentile = numbers.percentile();
    let syntax = of_field(numbers, ValuePercentile(percentile.unwrap_or_default()));
    percentile.and(syntax)
}

#[derive(Clone, Debug)]
/// 0 to 100.
struct ValuePercentile(f64);

impl Measure for ValuePercentile {
    const ENTRY: &'static KindEntry = &ENTRY;
    const GROWS: bool = false;

    fn unit(&self) -> String {
        format!("at the {}th percentile", self.0)
    }

    fn measure(&self, window: &mut Window, start: usize, end: usize) -> f64 {
        window.percentile(start, end, self.0)
    }
}
