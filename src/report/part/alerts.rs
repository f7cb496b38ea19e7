//! Alerts: how many, by rule and severity; when people were told, took them and judged them; what is open.

use std::{collections::BTreeMap, time::Duration};

use super::{ROWS_MAX, of_key};
use crate::{
    archive::Reader,
    ask::AskError,
    engine::{
        ledger::{Entry, EntryKind, Row},
        text::{span, thousands},
        time::EventTime,
    },
    report::{
        model::{Cell, Section, Sight, Table},
        scope::Scope,
    },
};

/// What is known of one alert. Times are those at which Tripline wrote it down.
#[derive(Clone, Debug, Default)]
pub(in crate::report) struct Life {
    pub(in crate::report) rule: String,
    pub(in crate::report) title: String,
    pub(in crate::report) severity: String,
    pub(in crate::report) began: Option<EventTime>,
    pub(in crate::report) raised: Option<EventTime>,
    pub(in crate::report) told: Option<EventTime>,
    pub(in crate::report) taken: Option<EventTime>,
    pub(in crate::report) taken_by: String,
    pub(in crate::report) resolved: Option<EventTime>,
    pub(in crate::report) verdict: String,
    pub(in crate::report) comments: u64,
    pub(in crate::report) key: Vec<(String, String)>,
}

/// All alerts of the period, by fingerprint and beginning.
#[derive(Debug, Default)]
pub(in crate::report) struct Alerts {
    pub(in crate::report) lives: BTreeMap<(String, String), Life>,
    /// The newest beginning of each fingerprint.
    current: BTreeMap<String, String>,
    undelivered: BTreeMap<(String, String), (u64, String)>,
    silences: Vec<Entry>,
}

/// The entries that tell of them.
const KINDS: [EntryKind; 7] = [
    EntryKind::Alert,
    EntryKind::Delivery,
    EntryKind::Acknowledge,
    EntryKind::Assign,
    EntryKind::Verdict,
    EntryKind::Comment,
    EntryKind::Silence,
];

impl Alerts {
    /// Those of the period.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(in crate::report) fn read(reader: &Reader, scope: &Scope) -> Result<Alerts, AskError> {
        let mut alerts = Alerts::default();
        scope.entries(reader, &KINDS, |row| alerts.add(row))?;
        Ok(alerts)
    }

    fn add(&mut self, row: &Row) {
        let Some(entry) = row.entry() else { return };
        let recorded = row.recorded.as_event();
        match entry.kind {
            EntryKind::Alert => self.add_change(entry, recorded),
            EntryKind::Delivery => self.add_delivery(entry, recorded),
            EntryKind::Acknowledge | EntryKind::Assign => {
                if let Some(life) = self.life_of(entry) {
                    life.taken.get_or_insert(recorded);
                    if life.taken_by.is_empty() {
                        life.taken_by.clone_from(&entry.party);
                    }
                }
            }
            EntryKind::Verdict => {
                if let Some(life) = self.life_of(entry) {
                    life.taken.get_or_insert(recorded);
                    life.verdict.clone_from(&entry.what);
                }
            }
            EntryKind::Comment => {
                if let Some(life) = self.life_of(entry) {
                    life.comments += 1;
                }
            }
            EntryKind::Silence if self.silences.len() < ROWS_MAX => {
                self.silences.push(entry.clone());
            }
            _ => {}
        }
    }

    fn add_change(&mut self, entry: &Entry, recorded: EventTime) {
        let starts_at = entry.fact_of("starts_at").unwrap_or("").to_owned();
        let key = (entry.subject.clone(), starts_at.clone());
        of_key(&mut self.current, entry.subject.clone(), String::new).clone_from(&starts_at);
        let others = || ("(others)".to_owned(), String::new());
        let life = of_key(&mut self.lives, key, others);
        life.rule.clone_from(&entry.party);
        life.title.clone_from(&entry.detail);
        entry.fact_of("severity").unwrap_or("").clone_into(&mut life.severity);
        life.began = life.began.or_else(|| EventTime::parse(&starts_at));
        life.raised.get_or_insert(recorded);
        if entry.what == "resolved" {
            life.resolved = Some(recorded);
        }
        if life.key.is_empty() {
            let named = entry.facts.iter().filter_map(|(name, value)| {
                Some((name.strip_prefix("key.")?.to_owned(), value.clone()))
            });
            life.key = named.collect();
        }
    }

    fn add_delivery(&mut self, entry: &Entry, recorded: EventTime) {
        if entry.what == "delivered" {
            let told = entry.fact_of("alerts").unwrap_or("").to_owned();
            for fingerprint in told.split_whitespace() {
                if let Some(life) = self.newest(fingerprint) {
                    life.told.get_or_insert(recorded);
                }
            }
        } else {
            let notifier = entry.fact_of("notifier").unwrap_or("").to_owned();
            let key = (format!("{} ({notifier})", entry.party), entry.what.clone());
            let others = || ("(others)".to_owned(), String::new());
            let (count, last) = of_key(&mut self.undelivered, key, others);
            *count += 1;
            last.clone_from(&entry.detail);
        }
    }

    fn life_of(&mut self, entry: &Entry) -> Option<&mut Life> {
        match entry.fact_of("starts_at") {
            Some(starts_at) => self.lives.get_mut(&(entry.subject.clone(), starts_at.to_owned())),
            None => self.newest(&entry.subject),
        }
    }

    fn newest(&mut self, fingerprint: &str) -> Option<&mut Life> {
        let starts_at = self.current.get(fingerprint)?;
        self.lives.get_mut(&(fingerprint.to_owned(), starts_at.clone()))
    }

    /// Alerts of some rules, by their names; of all, if none is named.
    pub(in crate::report) fn of<'a>(
        &'a self,
        rules: &'a [String],
    ) -> impl Iterator<Item = &'a Life> {
        self.lives.values().filter(move |life| rules.is_empty() || rules.contains(&life.rule))
    }

    /// By rule and severity.
    pub(in crate::report) fn rules_section(&self, sight: Sight) -> Section {
        let mut rules: BTreeMap<(&str, &str), Vec<&Life>> = BTreeMap::new();
        for life in self.lives.values() {
            rules.entry((&life.rule, &life.severity)).or_default().push(life);
        }
        let columns = [
            "rule",
            "title",
            "severity",
            "alerts",
            "true positive",
            "benign",
            "false positive",
            "not judged",
            "precision",
            "until told",
            "until taken",
            "until resolved",
        ];
        let mut table = Table::new(columns, sight.zero());
        for ((rule, severity), lives) in rules {
            let judged =
                |word: &str| lives.iter().filter(|life| life.verdict == word).count() as u64;
            let [good, benign, bad] = ["true_positive", "benign", "false_positive"].map(judged);
            let all = lives.len() as u64;
            let until = |end: fn(&Life) -> Option<EventTime>| {
                median(lives.iter().filter_map(|life| Some(end(life)?.since(life.raised?))))
            };
            table.push(
                ROWS_MAX,
                [
                    Cell::text(rule),
                    Cell::text(lives.first().map_or("", |life| &life.title)),
                    Cell::text(severity),
                    sight.count(all, ""),
                    Cell::number(good),
                    Cell::number(benign),
                    Cell::number(bad),
                    Cell::number(all - good - benign - bad),
                    precision(good, bad + benign),
                    until(|life| life.told),
                    until(|life| life.taken),
                    until(|life| life.resolved),
                ],
            );
        }
        Section::new("rules", "Alerts by rule")
            .note("Spans are medians, from when Tripline raised an alert. Precision is the share of true positives among \
                   those that somebody judged.")
            .table(table)
    }

    /// Those that fire, oldest first.
    pub(in crate::report) fn open_section(&self, scope: &Scope, sight: Sight) -> Section {
        let mut open: Vec<(&(String, String), &Life)> =
            self.lives.iter().filter(|(_, life)| life.resolved.is_none()).collect();
        open.sort_by_key(|(_, life)| life.raised);
        let columns = ["since", "severity", "rule", "about", "taken by", "told", "fingerprint"];
        let mut table = Table::new(columns, sight.zero());
        for ((fingerprint, _), life) in open {
            let about: Vec<String> =
                life.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let time = |at: Option<EventTime>| {
                at.map_or_else(|| "nobody yet".to_owned(), |at| scope.time(at))
            };
            let by = if life.taken_by.is_empty() { "nobody" } else { &life.taken_by };
            table.push(
                ROWS_MAX,
                [
                    Cell::text(time(life.began)),
                    Cell::text(&life.severity),
                    Cell::text(&life.rule),
                    Cell::text(about.join(" ")),
                    Cell::text(by),
                    Cell::text(time(life.told)),
                    Cell::text(fingerprint),
                ],
            );
        }
        Section::new("open", "Open at the end of the period").table(table)
    }

    /// What could not be delivered.
    pub(in crate::report) fn undelivered_section(&self, sight: Sight) -> Section {
        let mut table = Table::new(["receiver", "what", "times", "last words"], sight.zero());
        for ((receiver, what), (count, last)) in &self.undelivered {
            table.push(
                ROWS_MAX,
                [Cell::text(receiver), Cell::text(what), Cell::number(*count), Cell::text(last)],
            );
        }
        Section::new("undelivered", "Attempts that did not succeed")
            .note("What a receiver did not take stays owed to it: `expired` alone means that it was given up.")
            .table(table)
    }

    /// Silences.
    pub(in crate::report) fn silences_section(&self, sight: Sight) -> Section {
        let mut table =
            Table::new(["silence", "what", "by", "reason and matchers", "hid"], sight.zero());
        for entry in &self.silences {
            let facts: Vec<String> =
                entry.facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&entry.subject),
                    Cell::text(&entry.what),
                    Cell::text(&entry.party),
                    Cell::text(format!("{} {}", entry.detail, facts.join(" ")).trim()),
                    Cell::text(entry.fact_of("hidden").unwrap_or("")),
                ],
            );
        }
        Section::new("silences", "Silences").table(table)
    }
}

/// The middle one of some spans.
pub(in crate::report) fn median(spans: impl Iterator<Item = Duration>) -> Cell {
    let mut spans: Vec<Duration> = spans.collect();
    spans.sort_unstable();
    spans.get(spans.len() / 2).map_or(Cell::NotApplicable, |middle| Cell::text(span(*middle)))
}

/// The share of true positives among those that were judged.
fn precision(good: u64, others: u64) -> Cell {
    let judged = good + others;
    if judged == 0 {
        return Cell::NotApplicable;
    }
    Cell::text(format!("{} % of {}", good * 100 / judged, thousands(judged)))
}
