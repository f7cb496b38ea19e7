//! Bars over hours: how many of what began when. Places are shares of the width, so that a picture fits any
//! page without a script.

use std::collections::BTreeMap;

use super::{asked::Asked, ledger::hour_start};
use crate::engine::{rule::Severity, time::EventTime};

/// Height of the bars, in the units of the picture.
const HEIGHT: f64 = 84.0;

/// A part of a bar.
pub(super) struct Part {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) y: String,
    pub(super) height: String,
}

/// One hour in the table beside the picture.
pub(super) struct HourLine {
    pub(super) hour: String,
    pub(super) counts: Vec<u64>,
    pub(super) total: u64,
}

/// Bars over hours, and the same as a table.
pub(super) struct Chart {
    pub(super) label: String,
    pub(super) names: Vec<&'static str>,
    pub(super) parts: Vec<Part>,
    pub(super) lines: Vec<HourLine>,
    pub(super) most: u64,
    pub(super) total: u64,
    /// Marks of the hours: place and text.
    pub(super) ticks: Vec<(String, String)>,
}

/// Counts by hour, and by what they count.
pub(super) type Counts = BTreeMap<i64, BTreeMap<&'static str, u64>>;

impl Chart {
    /// Of the hours from `first` to `last`, both with; what is counted comes in the order of `names`, from below.
    pub(super) fn new(
        asked: &Asked,
        label: &str,
        (first, last): (i64, i64),
        names: Vec<&'static str>,
        counts: &Counts,
    ) -> Chart {
        let hours = (last - first + 1).max(1);
        let count_of = |hour: i64, name: &str| {
            counts.get(&hour).and_then(|of| of.get(name)).copied().unwrap_or(0)
        };
        let lines: Vec<HourLine> = (first..=last)
            .map(|hour| {
                let counts: Vec<u64> = names.iter().map(|name| count_of(hour, name)).collect();
                let total = counts.iter().sum();
                HourLine { hour: asked.full(hour_start(hour)), counts, total }
            })
            .collect();
        let most = lines.iter().map(|line| line.total).max().unwrap_or(0);
        let step = 100.0 / as_number(hours.unsigned_abs());
        let mut parts = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let mut top = HEIGHT;
            for (name, count) in names.iter().zip(&line.counts).filter(|(_, count)| **count > 0) {
                // The least is still seen.
                let height = (as_number(*count) / as_number(most.max(1)) * HEIGHT).max(2.0);
                top -= height;
                parts.push(Part {
                    class: name,
                    x: share(as_number(index as u64) * step + step * 0.12),
                    width: share(step * 0.76),
                    y: format!("{:.1}", top.max(0.0)),
                    height: format!("{height:.1}"),
                });
            }
        }
        let ticks = (0..hours)
            .filter(|index| index % (hours / 8).max(1) == 0)
            .map(|index| {
                let text = asked.full(hour_start(first + index));
                let text = text.get(11..16).unwrap_or_default().to_owned();
                (share(as_number(index.unsigned_abs()) * step), text)
            })
            .collect();
        let total = lines.iter().map(|line| line.total).sum();
        Chart { label: label.to_owned(), names, parts, lines, most, total, ticks }
    }
}

/// Names of severities, the mildest first: what stands at the bottom of a bar.
pub(super) fn severities() -> Vec<&'static str> {
    Severity::ALL.iter().map(|severity| severity.as_str()).collect()
}

/// A place or width as a share of the picture's.
pub(super) fn share(percent: f64) -> String {
    format!("{percent:.2}%")
}

/// Where a time lies between two others, as a share from 0 to 100.
pub(super) fn place(time: EventTime, (from, to): (EventTime, EventTime)) -> f64 {
    let whole = to.since(from).as_secs_f64().max(0.001);
    (time.since(from).as_secs_f64() / whole * 100.0).min(100.0)
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
pub(super) const fn as_number(count: u64) -> f64 {
    count as f64
}

/// The blocks of 24 hours of a group: for each hour how dark it is, from 0 to 4.
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    pub(super) label: String,
}

/// One of them.
pub(super) struct Block {
    pub(super) x: usize,
    pub(super) height: usize,
    pub(super) y: usize,
}

impl Blocks {
    /// Of the 24 hours to `last`.
    pub(super) fn new(last: i64, starts: &[EventTime]) -> Blocks {
        let count = |hour: i64| starts.iter().filter(|start| start.hour() == hour).count();
        let counts: Vec<usize> = (last - 23..=last).map(count).collect();
        let most = counts.iter().max().copied().unwrap_or(0).max(1);
        let blocks = counts
            .iter()
            .enumerate()
            .map(|(index, count)| {
                let height = if *count == 0 { 1 } else { (count * 14 / most).max(3) };
                Block { x: index * 5, height, y: 16 - height }
            })
            .collect();
        let total: usize = counts.iter().sum();
        Blocks { blocks, label: format!("{total} began in the last 24 hours") }
    }
}
