//! The report for a terminal: a table that fits into 100 columns, keys aside.

use std::fmt::Write as _;

use super::{
    difference::{Difference, KeyDifference},
    report::{AheadReport, Report, rate_text, short},
};
use crate::engine::text::{self, counted, printable, span, thousands};

/// Characters of a title in the table.
const TITLE_WIDTH: usize = 48;

/// Characters of a key; those of service accounts are long, and half of one says nothing.
const KEY_WIDTH: usize = 160;

/// Characters of the plot over time.
const PLOT_WIDTH: usize = 20;

/// The report.
pub fn report_text(report: &Report) -> String {
    let mut out = String::new();
    if report.is_interrupted {
        out += "INTERRUPTED: this is what was found until then.\n";
    }
    for problem in &report.problems {
        let _ = writeln!(out, "INCOMPLETE: {}", printable(problem));
    }
    let _ = writeln!(out, "{}", head(report));
    out += &doubts(report);
    if report.alerts > 0 {
        out += &table(report);
    }
    if report.events == 0 {
        out += "\nThere is no audit event in it.\n";
        return out;
    }
    let silent = report.rules.len() - report.loud().count();
    let rate = report
        .alerts_per_day
        .map_or_else(String::new, |rate| format!(", {} a day", rate_text(Some(rate))));
    let _ = writeln!(
        out,
        "\n{}{rate}; {silent} of {} rules were silent",
        counted(report.alerts, "alert"),
        report.rules.len()
    );
    out
}

/// What was read.
fn head(report: &Report) -> String {
    let events = format!(
        "{} events ({} requests) in {} records",
        thousands(report.events),
        thousands(report.events_canonical),
        thousands(report.records)
    );
    match report.from.zip(report.to) {
        Some((from, to)) => {
            format!("{events}\n{} to {} ({})", short(from), short(to), span(report.length()))
        }
        None => events,
    }
}

/// Why the numbers may not be what they should be.
fn doubts(report: &Report) -> String {
    let mut out = String::new();
    let undecoded: u64 = report.dead_letters.values().map(|letters| letters.count).sum();
    if undecoded > 0 {
        let _ = writeln!(out, "\n{} could not be decoded:", thousands(undecoded));
    }
    for (reason, letters) in &report.dead_letters {
        let (count, place) = (thousands(letters.count), printable(&letters.first));
        let detail = printable(&letters.detail);
        let _ = writeln!(out, "{count:>7}  {reason:<15} first at {place}: {detail}");
    }
    for doubt in report.intake_doubts() {
        let _ = writeln!(out, "\n{doubt}");
    }
    if report.events_late > 0 {
        let _ = writeln!(
            out,
            "\n{} events that matched came late: longer after newer ones than --grace allows. Windows \
             may have missed them.",
            thousands(report.events_late)
        );
    }
    if report.events_from_future > 0 {
        let _ = writeln!(
            out,
            "\n{} events claim a time that cannot be theirs: they moved no time, so windows of others \
             stayed open, and were counted at the time around them.",
            thousands(report.events_from_future)
        );
        for ahead in &report.from_future {
            let AheadReport { place, claimed, taken_as } = ahead;
            let _ = writeln!(out, "  {place} claims {claimed}; counted at {taken_as}");
        }
    }
    out
}

fn table(report: &Report) -> String {
    let mut out = format!(
        "\n{:>7} {:>7}  {:<13} {:<TITLE_WIDTH$} over time\n",
        "alerts", "a day", "severity", "rule"
    );
    for rule in report.loud() {
        let _ = writeln!(
            out,
            "{:>7} {:>7}  {:<13} {:<TITLE_WIDTH$} {}",
            thousands(rule.alerts),
            rate_text(rule.alerts_per_day),
            rule.severity.as_str(),
            cut(&rule.title, TITLE_WIDTH),
            spark(&rule.over_time, PLOT_WIDTH),
        );
        for key in rule.top_keys.iter().filter(|key| !key.key.is_empty()) {
            let _ = writeln!(out, "{:>15}  {}", thousands(key.alerts), cut(&key.key, KEY_WIDTH));
        }
        if rule.keys > rule.top_keys.len() {
            let more = rule.keys - rule.top_keys.len();
            let _ = writeln!(out, "{:>15}  and {} more keys", "", thousands(more as u64));
        }
    }
    out
}

/// The difference.
pub fn difference_text(difference: &Difference) -> String {
    let mut out = format!(
        "\nAgainst the other rules: {} alerts before, {} now; {} rules say the same\n",
        thousands(difference.alerts_before),
        thousands(difference.alerts_now),
        difference.rules_unchanged
    );
    for rule in &difference.rules {
        let word = rule.change.as_str();
        let severity = match (rule.severity_before, rule.severity_now) {
            (Some(before), Some(now)) if before != now => {
                format!(", {} → {}", before.as_str(), now.as_str())
            }
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "\n  {word:<8} {} ({}): {} → {} alerts{severity}",
            cut(&rule.title, 2 * TITLE_WIDTH),
            rule.name,
            thousands(rule.alerts_before),
            thousands(rule.alerts_now)
        );
        for key in &rule.keys {
            let _ = writeln!(out, "  {:>13}  {}", change_of(key), cut(&key.key, KEY_WIDTH));
        }
        let more = rule.keys_changed - rule.keys.len();
        if more > 0 {
            let _ = writeln!(out, "  {:>13}  and {} more keys", "", thousands(more as u64));
        }
    }
    out
}

/// `3 → 5`, or that only the times differ.
pub(super) fn change_of(key: &KeyDifference) -> String {
    if key.alerts_before == key.alerts_now {
        return format!("{}, other times", thousands(key.alerts_now));
    }
    format!("{} → {}", thousands(key.alerts_before), thousands(key.alerts_now))
}

/// At most so many characters. What acts on a terminal is shown by its number, since keys are chosen by
/// whoever is watched.
fn cut(text: &str, width: usize) -> String {
    text::cut(&printable(text), width)
}

/// A plot of one line.
fn spark(counts: &[u64], width: usize) -> String {
    const LEVELS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let per_cell = counts.len().div_ceil(width.max(1)).max(1);
    let cells: Vec<u64> = counts.chunks(per_cell).map(|chunk| chunk.iter().sum()).collect();
    let most = cells.iter().max().copied().unwrap_or(0).max(1);
    cells
        .iter()
        .map(|cell| {
            let level = usize::try_from((cell * 8).div_ceil(most)).unwrap_or(8);
            LEVELS.get(level).copied().unwrap_or('█')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alert_can_be_seen_in_a_plot() {
        assert_eq!(spark(&[0, 0, 1, 100], 4), "··▁█");
        assert_eq!(spark(&[0, 0, 1, 1], 2), "·█");
    }

    #[test]
    fn what_an_attacker_wrote_cannot_move_the_cursor() {
        assert_eq!(cut("a\u{1b}[2Jb", 20), "a\\u{1b}[2Jb");
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
