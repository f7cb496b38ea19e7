//! The report as one HTML page that needs nothing else: no script, no font, no network.

use std::time::Duration;

use askama::Template;

use super::{
    difference::Difference,
    report::{AheadReport, BINS, Report, RuleReport, rate_text, short},
    text::change_of,
};
use crate::engine::text::{counted, span, thousands};

/// Units of a plot from one bar to the next.
const BAR_WIDTH: usize = 10;
/// Units of a plot from its bottom to its top.
const PLOT_HEIGHT: u64 = 100;
/// Units of the lowest bar: a single alert beside a thousand can still be seen.
const BAR_HEIGHT_MIN: u64 = 5;

/// What the template shows.
#[derive(Template)]
#[template(path = "backtest.html", config = "src/html/askama.toml")]
struct ReportPage<'a> {
    /// When the first and the last event happened.
    range: Option<(String, String)>,
    tiles: [(String, &'static str); 6],
    /// Why the numbers may not be what they should be, each in lines.
    doubts: Vec<Vec<String>>,
    /// Alerts in the bin with the most.
    most: u64,
    /// How long a bin is.
    bin: Duration,
    silent: Vec<&'a RuleReport>,
    report: &'a Report,
    difference: Option<&'a Difference>,
}

/// A stretch of time with alerts, in units of its plot.
struct Bar {
    x: usize,
    y: u64,
    height: u64,
    count: u64,
}

/// The page.
pub fn page(report: &Report, difference: Option<&Difference>) -> String {
    let page = ReportPage {
        range: report.from.zip(report.to).map(|(from, to)| (short(from), short(to))),
        tiles: [
            (thousands(report.alerts), "alerts"),
            (rate_text(report.alerts_per_day), "alerts a day"),
            (span(report.length()), "of history"),
            (thousands(report.events), "events"),
            (thousands(report.events_canonical), "requests"),
            (thousands(report.loud().count() as u64), "rules that fired"),
        ],
        doubts: doubts(report),
        most: report.over_time.iter().max().copied().unwrap_or(0),
        bin: report.length() / u32::try_from(BINS).unwrap_or(1),
        silent: report.rules.iter().filter(|rule| rule.alerts == 0).collect(),
        report,
        difference,
    };
    page.render().expect("a page is written to memory")
}

fn doubts(report: &Report) -> Vec<Vec<String>> {
    let mut doubts = Vec::new();
    if report.is_interrupted {
        doubts.push(vec!["Interrupted: this is what was found until then.".to_owned()]);
    }
    doubts.extend(report.problems.iter().map(|problem| vec![format!("Incomplete: {problem}")]));
    if !report.dead_letters.is_empty() {
        let letters = report.dead_letters.iter().map(|(reason, letters)| {
            let (count, first, detail) =
                (thousands(letters.count), &letters.first, &letters.detail);
            format!("{count} {reason}, first at {first}: {detail}")
        });
        doubts.push(std::iter::once("Not decoded:".to_owned()).chain(letters).collect());
    }
    doubts.extend(report.intake_doubts().into_iter().map(|doubt| vec![doubt]));
    if report.events_late > 0 {
        let late = thousands(report.events_late);
        let what = "events that matched came late; windows may have missed them.";
        doubts.push(vec![format!("{late} {what}")]);
    }
    if report.events_from_future > 0 {
        let future = thousands(report.events_from_future);
        let what = "events claim a time that cannot be theirs; they moved no time.";
        let named = report.from_future.iter().map(|ahead| {
            let AheadReport { place, claimed, taken_as } = ahead;
            format!("{place} claims {claimed}; counted at {taken_as}")
        });
        doubts.push(std::iter::once(format!("{future} {what}")).chain(named).collect());
    }
    doubts
}

fn width(counts: &[u64]) -> usize {
    counts.len() * BAR_WIDTH
}

/// Those stretches of time in which there were alerts.
fn bars(counts: &[u64]) -> impl Iterator<Item = Bar> {
    let most = counts.iter().max().copied().unwrap_or(0).max(1);
    counts.iter().enumerate().filter(|(_, count)| **count > 0).map(move |(index, count)| {
        let height = (count * PLOT_HEIGHT).div_ceil(most).max(BAR_HEIGHT_MIN);
        Bar { x: index * BAR_WIDTH, y: PLOT_HEIGHT - height, height, count: *count }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_can_be_seen_in_a_plot() {
        let heights: Vec<u64> = bars(&[0, 1, 1000]).map(|bar| bar.height).collect();
        assert_eq!(heights, [BAR_HEIGHT_MIN, PLOT_HEIGHT]);
    }
}
