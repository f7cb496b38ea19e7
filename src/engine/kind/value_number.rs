//! `value_sum`, `value_avg`, `value_median`, `value_percentile`: one number made of a numeric field.

use super::{
    KindEntry, KindSyntax, Sample, Written, life,
    measured::{Measure, of_field},
    window::{Window, WindowEvent},
};
use crate::engine::{
    syntax::threshold::{Numbers, schema_of_fields, schema_of_percentile},
    yaml::Section,
};

/// A rule file that uses one of them.
macro_rules! example {
    ($kind:literal, $title:literal, $condition:literal) => {
        concat!(
            "title: Bulk deletion\n",
            "name: bulk_deletion\n",
            "logsource: {product: kubernetes, service: audit}\n",
            "detection:\n",
            "  deletion: {verb: deletecollection}\n",
            "  condition: deletion\n",
            "---\n",
            "title: Bulk deletions that ",
            $title,
            "\nname: ",
            $kind,
            "_of_duration\n",
            "level: medium\n",
            "correlation:\n",
            "  type: ",
            $kind,
            "\n  rules: [bulk_deletion]\n",
            "  group-by: [actor.id]\n",
            "  timespan: 10m\n",
            "  condition: {field: duration, ",
            $condition,
            "}\n",
        )
    };
}

/// The line of the table.
pub(super) const SUM: KindEntry = KindEntry {
    name: "value_sum",
    written: Written::Type,
    summary: "The sum of a numeric field.",
    doc: "Adds up the numbers in `field` for each key. It fires as `event_count` does. An event whose \
          field is absent or no number does not count, and a counter shows it.",
    lives: &[life::AT_ONCE, life::AT_ONCE_IN_SESSION, life::AT_END, life::AT_END_OF_SESSION],
    example: example!("value_sum", "took long together", "gte: 60"),
    schema: schema_of_fields,
    read: Some(|section| of_field(Numbers::open(section)?, Statistic::Sum)),
};

/// The line of the table.
pub(super) const AVG: KindEntry = KindEntry {
    name: "value_avg",
    written: Written::Type,
    summary: "The mean of a numeric field.",
    doc: "Takes the mean of the numbers in `field` for each key. With `gt` and `gte` a sliding window is \
          looked at as each event comes, so the first event alone can be enough; tumbling and session \
          windows are decided when they end. An event whose field is absent or no number does not \
          count, and a counter shows it.",
    lives: &[life::SLIDING_NUMBER, life::AT_END, life::AT_END_OF_SESSION],
    example: example!("value_avg", "take long", "gte: 60"),
    schema: schema_of_fields,
    read: Some(|section| of_field(Numbers::open(section)?, Statistic::Mean)),
};

/// The line of the table.
pub(super) const MEDIAN: KindEntry = KindEntry {
    name: "value_median",
    written: Written::Type,
    summary: "The median of a numeric field.",
    doc: "Takes the median (the lower of two middle ones) of the numbers in `field` for each key. \
          Sliding windows are looked at as each event comes, tumbling and session windows when they \
          end. The type is pySigma's; the specification does not have it. An event whose field is \
          absent or no number does not count, and a counter shows it.",
    lives: &[life::SLIDING_NUMBER, life::AT_END, life::AT_END_OF_SESSION],
    example: example!("value_median", "take long mostly", "gte: 60"),
    schema: schema_of_fields,
    read: Some(|section| of_field(Numbers::open(section)?, Statistic::Median)),
};

/// The line of the table.
pub(super) const PERCENTILE: KindEntry = KindEntry {
    name: "value_percentile",
    written: Written::Type,
    summary: "A percentile of a numeric field.",
    doc: "Takes a percentile (nearest rank, `percentile: 95`) of the numbers in `field` for each key. \
          Sliding windows are looked at as each event comes, tumbling and session windows when they \
          end. The specification also has a form without `percentile` that means rarity; it is not \
          defined well enough to honour, and an error names `rarity` instead.",
    lives: &[life::SLIDING_NUMBER, life::AT_END, life::AT_END_OF_SESSION],
    example: example!("value_percentile", "sometimes take long", "percentile: 95, gte: 60"),
    schema: schema_of_percentile,
    read: Some(read_percentile),
};

fn read_percentile(section: &Section<'_>) -> Option<KindSyntax> {
    let mut numbers = Numbers::open(section)?;
    // Without it, go on reading all the same: everything wrong is shown at once.
    let percentile = numbers.percentile();
    let syntax = of_field(numbers, Statistic::Percentile(percentile.unwrap_or_default()));
    percentile.and(syntax)
}

/// What is made of the numbers of a window.
#[derive(Clone, Copy, Debug)]
enum Statistic {
    Sum,
    Mean,
    Median,
    /// 0 to 100.
    Percentile(f64),
}

impl Measure for Statistic {
    fn entry(&self) -> &'static KindEntry {
        match self {
            Statistic::Sum => &SUM,
            Statistic::Mean => &AVG,
            Statistic::Median => &MEDIAN,
            Statistic::Percentile(_) => &PERCENTILE,
        }
    }

    fn wants_number(&self) -> bool {
        true
    }

    fn grows(&self) -> bool {
        matches!(self, Statistic::Sum)
    }

    fn unit(&self) -> String {
        match self {
            Statistic::Sum => "in sum".to_owned(),
            Statistic::Mean => "on average".to_owned(),
            Statistic::Median => "as the median".to_owned(),
            Statistic::Percentile(share) => format!("at the {share}th percentile"),
        }
    }

    fn event(&self, sample: &Sample<'_>, values: &[&str]) -> Option<WindowEvent> {
        WindowEvent::of_number(sample, values)
    }

    fn joins(&self) -> bool {
        true
    }

    fn joined(&self, earlier: &WindowEvent, later: WindowEvent) -> Option<WindowEvent> {
        let number = match self {
            Statistic::Sum | Statistic::Mean => earlier.number + later.number,
            // What is rare stays: that is what high shares, and low ones, look for.
            Statistic::Percentile(share) if *share < 50.0 => earlier.number.min(later.number),
            Statistic::Median | Statistic::Percentile(_) => earlier.number.max(later.number),
        };
        later.with(earlier).map(|entry| WindowEvent { number, ..entry })
    }

    fn measure(&self, window: &mut Window, start: usize, end: usize) -> f64 {
        match self {
            Statistic::Sum => window.sum(start, end),
            Statistic::Mean => window.sum(start, end) / window.events(start, end).max(1.0),
            Statistic::Median => window.percentile(start, end, 50.0),
            Statistic::Percentile(share) => window.percentile(start, end, *share),
        }
    }
}
