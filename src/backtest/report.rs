//! What a backtest found, counted so that a person can act on it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::engine::{
    alert::{Alert, AlertState},
    detector::DetectionBatch,
    rule::{RuleSet, Severity},
    time::EventTime,
};

/// Keys of one rule that are counted apart: 10,000. Further ones are counted together.
const KEYS_PER_RULE_MAX: usize = 10_000;

/// Alerts kept for comparing two rule sets: 1,000,000. Further ones are counted only.
const EPISODES_MAX: usize = 1_000_000;

/// Keys shown of one rule.
const KEYS_SHOWN: usize = 5;

/// Bins of the plot over time.
const BINS: usize = 60;

/// One day in microseconds.
const DAY: i64 = 86_400_000_000;

/// What identifies an alert's episode across two rule sets.
type Episode = (String, String, EventTime);

/// The result of a backtest.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Records read.
    pub records: u64,
    /// Bytes read, after decompression.
    pub bytes: u64,
    /// Events decoded, all stages.
    pub events: u64,
    /// Events that rules looked at: one per request.
    pub events_canonical: u64,
    /// Records that could not be decoded, by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Earliest event.
    pub from: Option<EventTime>,
    /// Latest event.
    pub to: Option<EventTime>,
    /// Days between the two; at least one minute.
    pub days: f64,
    /// Alerts of all rules.
    pub alerts: u64,
    /// Rules that make alerts, noisiest first; silent ones too.
    pub rules: Vec<RuleReport>,
    #[serde(skip)]
    by_rule: BTreeMap<String, Building>,
    #[serde(skip)]
    episodes: BTreeSet<Episode>,
    /// Alerts that could not be kept for comparing.
    pub episodes_dropped: u64,
}

/// What one rule would have said.
#[derive(Clone, Debug, Serialize)]
pub struct RuleReport {
    /// Stable id.
    pub id: String,
    /// Title.
    pub title: String,
    /// Severity of the rule.
    pub severity: Severity,
    /// Alerts.
    pub alerts: u64,
    /// Alerts a day.
    pub alerts_per_day: f64,
    /// Different keys.
    pub keys: usize,
    /// The keys with the most alerts.
    pub top_keys: Vec<(String, u64)>,
    /// First alert.
    pub first: Option<EventTime>,
    /// Latest alert.
    pub last: Option<EventTime>,
    /// Alerts over time: equal shares of the whole history.
    pub over_time: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
struct Building {
    title: String,
    severity: Severity,
    alerts: u64,
    keys: BTreeMap<String, u64>,
    times: Vec<EventTime>,
}

impl Report {
    pub(super) fn new(rules: &RuleSet) -> Report {
        let by_rule = rules
            .rules
            .iter()
            .map(crate::engine::rule::Rule::meta)
            .filter(|meta| meta.alert.is_some())
            .map(|meta| {
                let building = Building {
                    title: meta.title.clone(),
                    severity: meta.severity,
                    ..Building::default()
                };
                (meta.id.clone(), building)
            })
            .collect();
        Report {
            records: 0,
            bytes: 0,
            events: 0,
            events_canonical: 0,
            dead_letters: BTreeMap::new(),
            from: None,
            to: None,
            days: 0.0,
            alerts: 0,
            rules: Vec::new(),
            by_rule,
            episodes: BTreeSet::new(),
            episodes_dropped: 0,
        }
    }

    pub(super) fn count(&mut self, batch: &DetectionBatch) {
        self.records += batch.counts.records;
        self.bytes += batch.counts.bytes;
        self.events += batch.counts.events;
        self.events_canonical += batch.counts.events_canonical;
        for letter in &batch.dead_letters {
            *self.dead_letters.entry(letter.reason.as_str()).or_default() += 1;
        }
        for time in batch.progress.iter().filter_map(|partition| partition.time_max) {
            // The first batch's newest event stands for the beginning: a batch is short.
            self.from = Some(self.from.map_or(time, |from| from.min(time)));
            self.to = Some(self.to.map_or(time, |to| to.max(time)));
        }
    }

    /// Counts a change of an alert; true if it is a new episode.
    pub(super) fn add(&mut self, alert: &Alert) -> bool {
        if alert.state == AlertState::Resolved {
            return false;
        }
        let parts: Vec<String> =
            alert.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let key = parts.join(" ");
        let episode = (alert.rule_id.clone(), key.clone(), alert.starts_at);
        if self.episodes.contains(&episode) {
            return false;
        }
        if self.episodes.len() < EPISODES_MAX {
            self.episodes.insert(episode);
        } else if alert.revision > 1 {
            return false;
        } else {
            self.episodes_dropped += 1;
        }
        self.alerts += 1;
        let rule = self.by_rule.entry(alert.rule_id.clone()).or_insert_with(|| Building {
            title: alert.rule_title.clone(),
            severity: alert.severity,
            ..Building::default()
        });
        rule.alerts += 1;
        if rule.keys.len() < KEYS_PER_RULE_MAX || rule.keys.contains_key(&key) {
            *rule.keys.entry(key).or_default() += 1;
        } else {
            *rule.keys.entry("(others)".to_owned()).or_default() += 1;
        }
        rule.times.push(alert.starts_at);
        true
    }

    pub(super) fn finish(&mut self) {
        let (from, to) = (self.from.unwrap_or(EventTime::MIN), self.to.unwrap_or(EventTime::MIN));
        let span = to.micros().saturating_sub(from.micros()).max(60_000_000);
        #[expect(clippy::cast_precision_loss, reason = "days for people")]
        {
            self.days = span as f64 / DAY as f64;
        }
        let days = self.days;
        self.rules = std::mem::take(&mut self.by_rule)
            .into_iter()
            .map(|(id, rule)| rule.finish(id, from, span, days))
            .collect();
        self.rules.sort_by(|a, b| {
            b.alerts.cmp(&a.alerts).then(b.severity.cmp(&a.severity)).then(a.title.cmp(&b.title))
        });
    }

    /// The report as a table for a terminal.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{} events ({} requests) in {} records, {} to {} ({:.1} days)\n",
            self.events,
            self.events_canonical,
            self.records,
            self.from.map_or_else(|| "–".to_owned(), short),
            self.to.map_or_else(|| "–".to_owned(), short),
            self.days,
        );
        if !self.dead_letters.is_empty() {
            let reasons: Vec<String> =
                self.dead_letters.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
            out += &format!("not decoded: {}\n", reasons.join(", "));
        }
        out += &format!(
            "\n{:>7} {:>9}  {:<13} {:<44} over time\n",
            "alerts", "a day", "severity", "rule"
        );
        for rule in self.rules.iter().filter(|rule| rule.alerts > 0) {
            out += &format!(
                "{:>7} {:>9.1}  {:<13} {:<44} {}\n",
                rule.alerts,
                rule.alerts_per_day,
                rule.severity.as_str(),
                cut(&rule.title, 44),
                spark(&rule.over_time, 30),
            );
            for (key, count) in &rule.top_keys {
                out += &format!("{count:>19}  {}\n", cut(key, 100));
            }
            if rule.keys > rule.top_keys.len() {
                out +=
                    &format!("{:>19}  … and {} keys more\n", "", rule.keys - rule.top_keys.len());
            }
        }
        let silent = self.rules.iter().filter(|rule| rule.alerts == 0).count();
        out += &format!(
            "\n{} alerts; {silent} of {} rules were silent\n",
            self.alerts,
            self.rules.len()
        );
        out
    }
}

impl Building {
    fn finish(self, id: String, from: EventTime, span: i64, days: f64) -> RuleReport {
        let mut over_time = vec![0; BINS];
        for time in &self.times {
            let offset = i128::from(time.micros().saturating_sub(from.micros()).max(0));
            let bin = offset * BINS as i128 / (i128::from(span) + 1);
            let bin = usize::try_from(bin).unwrap_or(0).min(BINS - 1);
            if let Some(count) = over_time.get_mut(bin) {
                *count += 1;
            }
        }
        let keys = self.keys.len();
        let mut top_keys: Vec<(String, u64)> = self.keys.into_iter().collect();
        top_keys.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        top_keys.truncate(KEYS_SHOWN);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let alerts_per_day = self.alerts as f64 / days;
        RuleReport {
            id,
            title: self.title,
            severity: self.severity,
            alerts: self.alerts,
            alerts_per_day,
            keys,
            top_keys,
            first: self.times.iter().min().copied(),
            last: self.times.iter().max().copied(),
            over_time,
        }
    }
}

/// What another rule set would have said differently about the same history.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Alerts that both make.
    pub same: u64,
    /// Per rule: only the first set, only the second set, with up to five examples each.
    pub rules: Vec<RuleDifference>,
}

/// One rule's part of a [`Difference`].
#[derive(Clone, Debug, Serialize)]
pub struct RuleDifference {
    /// Stable id.
    pub id: String,
    /// Alerts that only the new rules make.
    pub added: u64,
    /// Alerts that only the old rules make.
    pub removed: u64,
    /// Some of them: `+` or `-`, time, key.
    pub examples: Vec<String>,
}

/// Compares what `new` rules say with what `old` rules said.
pub fn difference(new: &Report, old: &Report) -> Difference {
    let mut rules: BTreeMap<&str, RuleDifference> = BTreeMap::new();
    let sides = [("+", &new.episodes, &old.episodes), ("-", &old.episodes, &new.episodes)];
    for (sign, here, there) in sides {
        for (id, key, time) in here.difference(there) {
            let rule = rules.entry(id).or_insert_with(|| RuleDifference {
                id: id.clone(),
                added: 0,
                removed: 0,
                examples: Vec::new(),
            });
            let count = if sign == "+" { &mut rule.added } else { &mut rule.removed };
            *count += 1;
            if *count <= KEYS_SHOWN as u64 {
                rule.examples.push(format!("{sign} {} {key}", short(*time)));
            }
        }
    }
    let same = new.episodes.intersection(&old.episodes).count() as u64;
    Difference { same, rules: rules.into_values().collect() }
}

impl Difference {
    /// The difference for a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("\n{} alerts are the same\n", self.same);
        for rule in &self.rules {
            out += &format!("{}: {} added, {} removed\n", rule.id, rule.added, rule.removed);
            for example in &rule.examples {
                out += &format!("  {}\n", cut(example, 120));
            }
        }
        out
    }
}

/// A time to the second.
pub(super) fn short(time: EventTime) -> String {
    let text = time.rfc3339();
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

/// At most `width` characters; no control characters, since keys are chosen by whoever is watched.
fn cut(text: &str, width: usize) -> String {
    let clean: Vec<char> =
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if clean.len() <= width {
        return clean.into_iter().collect();
    }
    let mut short: String = clean.iter().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A plot of one line.
fn spark(counts: &[u64], width: usize) -> String {
    const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
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
        assert_eq!(spark(&[0, 0, 1, 100], 4), "  ▁█");
    }

    #[test]
    fn what_an_attacker_wrote_cannot_move_the_cursor() {
        assert_eq!(cut("a\u{1b}[2Jb", 10), "a\u{fffd}[2Jb");
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
