//! What a backtest found, counted so that a person can act on it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Serialize, Serializer};

use super::timeline::Timeline;
use crate::engine::{
    alert::{Alert, AlertState},
    detector::DetectionBatch,
    record::PartitionName,
    rule::{RuleSet, Severity},
    text::thousands,
    time::EventTime,
};

/// Keys of one rule that are counted apart: 10,000. Further ones are counted together.
const KEYS_PER_RULE_MAX: usize = 10_000;

/// The key under which those beyond [`KEYS_PER_RULE_MAX`] are counted.
const OTHERS: &str = "(others)";

/// Keys of one rule that a report shows.
const KEYS_SHOWN: usize = 5;

/// Stretches of the plots over time.
pub(super) const BINS: usize = 60;

/// One day in microseconds.
const DAY: i64 = 86_400_000_000;

/// Events with a time that cannot be theirs that are named: 10. All are counted.
const AHEAD_SHOWN_MAX: usize = 10;

/// An event that claims a time which cannot be its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AheadReport {
    /// Where it is.
    pub place: String,
    /// The time that it claims.
    pub claimed: String,
    /// The time at which it was counted.
    pub taken_as: String,
}

/// The result of a backtest. As JSON this is what `--format json` prints.
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
    /// Events that matched a rule, but came so late that its windows may have missed them.
    pub events_late: u64,
    /// Events that claim a time which cannot be theirs: later than this machine's clock, than their record
    /// was written, or than all around them. They moved no time.
    pub events_from_future: u64,
    /// The first of them.
    pub from_future: Vec<AheadReport>,
    /// Events that were cut off on their way; rules saw what stands before the cut.
    pub events_cut: u64,
    /// Fields that were written in a way that says nothing clear, and so were absent, by path.
    pub fields_unread: BTreeMap<&'static str, u64>,
    /// Messages that are known to hold no events, by kind.
    pub control_messages: BTreeMap<&'static str, u64>,
    /// Records that could not be decoded, by reason.
    pub dead_letters: BTreeMap<&'static str, DeadLetterReport>,
    /// Times that a bound of what is kept of rules was hit, by bound and rule id: alerts may be missing, or wrong.
    pub limits_hit: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// What could not be read, for people.
    pub problems: Vec<String>,
    /// Somebody ended it before history did.
    pub is_interrupted: bool,
    /// Earliest event.
    #[serde(serialize_with = "as_text")]
    pub from: Option<EventTime>,
    /// Latest event.
    #[serde(serialize_with = "as_text")]
    pub to: Option<EventTime>,
    /// Days between the two.
    pub days: f64,
    /// Alerts of all rules.
    pub alerts: u64,
    /// Alerts a day; `None` for less than half a day of history, of which no rate can be told.
    pub alerts_per_day: Option<f64>,
    /// Alerts over time: equal shares of the whole history.
    pub over_time: Vec<u64>,
    /// Rules that make alerts, noisiest first; silent ones too.
    pub rules: Vec<RuleReport>,
    #[serde(skip)]
    building: BTreeMap<String, Building>,
    #[serde(skip)]
    timeline: Timeline,
}

/// Records that could not be decoded for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetterReport {
    /// How many.
    pub count: u64,
    /// Where the first of them is.
    pub first: String,
    /// What is wrong with it.
    pub detail: String,
}

/// What one rule would have said.
#[derive(Clone, Debug, Serialize)]
pub struct RuleReport {
    /// Stable id.
    pub id: String,
    /// Name, as in `alertname`.
    pub name: String,
    /// Title.
    pub title: String,
    /// Severity of the rule.
    pub severity: Severity,
    /// Alerts.
    pub alerts: u64,
    /// Alerts a day; `None` for less than half a day of history.
    pub alerts_per_day: Option<f64>,
    /// Different keys.
    pub keys: usize,
    /// The keys with the most alerts.
    pub top_keys: Vec<KeyReport>,
    /// First alert.
    #[serde(serialize_with = "as_text")]
    pub first: Option<EventTime>,
    /// Latest alert.
    #[serde(serialize_with = "as_text")]
    pub last: Option<EventTime>,
    /// Alerts over time: equal shares of the whole history.
    pub over_time: Vec<u64>,
    /// All keys, for comparing.
    #[serde(skip)]
    pub(super) all_keys: BTreeMap<String, KeyCount>,
}

/// Alerts of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyReport {
    /// Names and values; empty for a rule without a key.
    pub key: String,
    /// Alerts.
    pub alerts: u64,
}

/// Alerts of one key, and when: two rule sets agree if both numbers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyCount {
    pub(super) alerts: u64,
    /// Sum of their beginnings.
    pub(super) times: i128,
}

/// What is counted of one rule while history is read.
#[derive(Clone, Debug, Default)]
struct Building {
    name: String,
    title: String,
    severity: Severity,
    alerts: u64,
    keys: BTreeMap<String, KeyCount>,
    first: Option<EventTime>,
    last: Option<EventTime>,
    timeline: Timeline,
}

impl Report {
    pub(super) fn new(rules: &RuleSet) -> Report {
        let building = rules
            .written()
            .map(|(_, rule)| rule.meta())
            .filter(|meta| meta.alert.is_some())
            .map(|meta| {
                let building = Building {
                    name: meta.name.clone(),
                    title: meta.about.title.clone(),
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
            events_late: 0,
            events_from_future: 0,
            from_future: Vec::new(),
            events_cut: 0,
            fields_unread: BTreeMap::new(),
            control_messages: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
            limits_hit: BTreeMap::new(),
            problems: Vec::new(),
            is_interrupted: false,
            from: None,
            to: None,
            days: 0.0,
            alerts: 0,
            alerts_per_day: None,
            over_time: Vec::new(),
            rules: Vec::new(),
            building,
            timeline: Timeline::default(),
        }
    }

    pub(super) fn count(
        &mut self,
        batch: &DetectionBatch,
        place: fn(&PartitionName, i64) -> String,
    ) {
        self.records += batch.counts.records;
        self.bytes += batch.counts.bytes;
        self.events += batch.counts.events;
        self.events_canonical += batch.counts.events_canonical;
        self.events_from_future += batch.counts.events_from_future;
        for ahead in batch.ahead.iter().take(AHEAD_SHOWN_MAX - self.from_future.len()) {
            self.from_future.push(AheadReport {
                place: place(&ahead.partition, ahead.offset),
                claimed: ahead.claimed.rfc3339(),
                taken_as: ahead.taken_as.rfc3339(),
            });
        }
        self.events_cut += batch.counts.events_cut;
        for (field, count) in batch.counts.fields_unread.iter().filter(|(_, count)| *count > 0) {
            *self.fields_unread.entry(field).or_default() += count;
        }
        for (message, count) in batch.counts.control_messages.iter().filter(|(_, count)| *count > 0)
        {
            *self.control_messages.entry(message.as_str()).or_default() += count;
        }
        for letter in &batch.dead_letters {
            let report = self.dead_letters.entry(letter.reason.as_str());
            let report = report.or_insert_with(|| DeadLetterReport {
                count: 0,
                first: place(&letter.partition, letter.offset),
                detail: letter.detail.clone(),
            });
            report.count += 1;
        }
        if let Some(time) = batch.time_min {
            self.from = Some(self.from.map_or(time, |from| from.min(time)));
        }
        self.to = self.to.max(batch.progress.iter().filter_map(|one| one.time_max).max());
    }

    /// Counts a change of an alert; true if it is a new one.
    pub(super) fn add(&mut self, alert: &Alert) -> bool {
        if alert.state == AlertState::Resolved || alert.revision > 1 {
            return false;
        }
        self.alerts += 1;
        self.timeline.add(alert.starts_at);
        let rule = self.building.entry(alert.rule_id.clone()).or_default();
        rule.alerts += 1;
        rule.timeline.add(alert.starts_at);
        rule.first = Some(rule.first.map_or(alert.starts_at, |first| first.min(alert.starts_at)));
        rule.last = rule.last.max(Some(alert.starts_at));
        let parts: Vec<String> =
            alert.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut key = parts.join(" ");
        if rule.keys.len() >= KEYS_PER_RULE_MAX && !rule.keys.contains_key(&key) {
            OTHERS.clone_into(&mut key);
        }
        let count = rule.keys.entry(key).or_default();
        count.alerts += 1;
        count.times += i128::from(alert.starts_at.micros());
        true
    }

    /// How much time the events span.
    pub(super) fn length(&self) -> Duration {
        self.from.zip(self.to).map_or(Duration::ZERO, |(from, to)| to.since(from))
    }

    pub(super) fn finish(&mut self) {
        // What lies in the future is no progress, and need not be all there is.
        self.to = self.to.max(self.from);
        let bounds = self.from.zip(self.to);
        let span = bounds.map_or(0, |(from, to)| to.micros().saturating_sub(from.micros()));
        #[expect(clippy::cast_precision_loss, reason = "days for people")]
        let days = span as f64 / DAY as f64;
        self.days = days;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = |alerts: u64| (span >= DAY / 2).then(|| alerts as f64 / days);
        let plot = |timeline: &Timeline| {
            bounds.map_or_else(Vec::new, |(from, to)| timeline.between(from, to, BINS))
        };
        self.alerts_per_day = rate(self.alerts);
        self.over_time = plot(&self.timeline);
        self.rules = std::mem::take(&mut self.building)
            .into_iter()
            .map(|(id, rule)| RuleReport {
                id,
                name: rule.name,
                title: rule.title,
                severity: rule.severity,
                alerts: rule.alerts,
                alerts_per_day: rate(rule.alerts),
                keys: rule.keys.len(),
                top_keys: top(&rule.keys),
                first: rule.first,
                last: rule.last,
                over_time: plot(&rule.timeline),
                all_keys: rule.keys,
            })
            .collect();
        self.rules.sort_by(|a, b| {
            b.alerts.cmp(&a.alerts).then(b.severity.cmp(&a.severity)).then(a.title.cmp(&b.title))
        });
    }

    /// The rules that said something.
    pub(super) fn loud(&self) -> impl Iterator<Item = &RuleReport> {
        self.rules.iter().filter(|rule| rule.alerts > 0)
    }

    /// What was read or kept but in part, or held no events, in sentences.
    pub(super) fn intake_doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if self.events_cut > 0 {
            let count = thousands(self.events_cut);
            doubts.push(format!(
                "{count} of the events were cut off on their way; rules saw what stands before the cut."
            ));
        }
        let list = |counts: &BTreeMap<&str, u64>| {
            let counts =
                counts.iter().map(|(name, count)| format!("{name} ({})", thousands(*count)));
            counts.collect::<Vec<String>>().join(", ")
        };
        if !self.fields_unread.is_empty() {
            let fields = list(&self.fields_unread);
            doubts
                .push(format!("Fields whose values say nothing clear, and were absent: {fields}."));
        }
        if !self.control_messages.is_empty() {
            let kinds = list(&self.control_messages);
            doubts.push(format!("Messages that are known to hold no events: {kinds}."));
        }
        for (limit, rules) in &self.limits_hit {
            let rules = rules.iter().map(|(id, times)| format!("{id} ({})", thousands(*times)));
            let rules = rules.collect::<Vec<String>>().join(", ");
            doubts.push(format!(
                "The bound {limit} was hit, so alerts may be missing or wrong: {rules}."
            ));
        }
        doubts
    }

    /// Whether all of history was read, and some of it could be understood.
    pub fn is_usable(&self) -> bool {
        let undecoded = self.events == 0 && !self.dead_letters.is_empty();
        self.problems.is_empty() && !self.is_interrupted && !undecoded
    }
}

/// The keys with the most alerts.
fn top(keys: &BTreeMap<String, KeyCount>) -> Vec<KeyReport> {
    let mut top: Vec<KeyReport> = keys
        .iter()
        .map(|(key, count)| KeyReport { key: key.clone(), alerts: count.alerts })
        .collect();
    top.sort_by(|a, b| b.alerts.cmp(&a.alerts).then_with(|| a.key.cmp(&b.key)));
    top.truncate(KEYS_SHOWN);
    top
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn as_text<S: Serializer>(time: &Option<EventTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(EventTime::rfc3339).serialize(serializer)
}

/// A time to the second.
pub(super) fn short(time: EventTime) -> String {
    let text = time.rfc3339();
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

/// A rate, for people.
pub(super) fn rate_text(rate: Option<f64>) -> String {
    match rate {
        None => "–".to_owned(),
        Some(rate) if rate > 0.0 && rate < 0.05 => "<0.1".to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_for_people() {
        let rates = [None, Some(0.0), Some(0.04), Some(0.14), Some(38.2)].map(rate_text);
        assert_eq!(rates, ["–", "0.0", "<0.1", "0.1", "38"]);
    }
}
