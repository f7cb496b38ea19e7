//! Alerts: how many, by rule and severity; when people were told, took them and judged them; what is open.

use std::{collections::BTreeMap, time::Duration};

use super::{KEYS_MAX, ROWS_MAX, of_key};
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

/// What is known of one alert. Times are those at which Tripline wrote it down, unless they say otherwise.
#[derive(Clone, Debug, Default)]
pub(in crate::report) struct Life {
    pub(in crate::report) rule: String,
    pub(in crate::report) title: String,
    pub(in crate::report) severity: String,
    /// By the time of events.
    pub(in crate::report) began: Option<EventTime>,
    pub(in crate::report) raised: Option<EventTime>,
    /// When the event was that raised it.
    fired: Option<EventTime>,
    pub(in crate::report) told: Option<EventTime>,
    pub(in crate::report) taken: Option<EventTime>,
    pub(in crate::report) taken_by: String,
    /// When it ended, by the time of events: what is caught up with is written down all at once.
    pub(in crate::report) resolved: Option<EventTime>,
    pub(in crate::report) verdict: String,
    pub(in crate::report) comments: u64,
    pub(in crate::report) key: Vec<(String, String)>,
}

/// All alerts of the period, by fingerprint and beginning: those that fired when it began are of it.
#[derive(Debug, Default)]
pub(in crate::report) struct Alerts {
    pub(in crate::report) lives: BTreeMap<(String, String), Life>,
    /// The newest beginning of each fingerprint.
    current: BTreeMap<String, String>,
    undelivered: BTreeMap<(String, String), (u64, String)>,
    /// Silences that were in force when the period began, by their ids.
    silences_before: BTreeMap<String, Entry>,
    /// What became of silences in the period.
    silences: Vec<Entry>,
    silences_left_out: u64,
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
    /// Those of the period. Cost: a pass over the entries on alerts up to its end, as what is open may have begun long
    /// before.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(in crate::report) fn read(reader: &Reader, scope: &Scope) -> Result<Alerts, AskError> {
        let mut alerts = Alerts::default();
        scope.before().entries(reader, &KINDS, |row| alerts.add_before(row))?;
        alerts.begin(scope.period.from);
        scope.entries(reader, &KINDS, |row| alerts.add(row))?;
        Ok(alerts)
    }

    /// Adds what was before the period, and forgets what ended before it.
    fn add_before(&mut self, row: &Row) {
        let Some(entry) = row.entry() else { return };
        match (entry.kind, entry.what.as_str()) {
            (EntryKind::Alert, "resolved") => {
                let of_one = self.current.get(&entry.subject).map(String::as_str);
                let starts_at = entry.fact_of("starts_at").unwrap_or("");
                if of_one == Some(starts_at) {
                    self.current.remove(&entry.subject);
                }
                self.lives.remove(&(entry.subject.clone(), starts_at.to_owned()));
            }
            (EntryKind::Alert, "firing") => {
                let starts_at = self.current.get(&entry.subject).cloned();
                if let Some(starts_at) =
                    starts_at.filter(|at| entry.fact_of("starts_at") != Some(at))
                {
                    self.lives.remove(&(entry.subject.clone(), starts_at));
                }
                self.add(row);
            }
            (EntryKind::Silence, "added") if self.silences_before.len() < KEYS_MAX => {
                self.silences_before.insert(entry.subject.clone(), entry.clone());
            }
            (EntryKind::Silence, _) => {
                self.silences_before.remove(&entry.subject);
            }
            _ => self.add(row),
        }
    }

    /// Now the period begins.
    fn begin(&mut self, from: EventTime) {
        // What was not delivered is counted where it was not; what one that fires was told by is known.
        self.undelivered.clear();
        let ends_at = |entry: &Entry| entry.fact_of("ends_at").and_then(EventTime::parse);
        self.silences_before.retain(|_, entry| ends_at(entry).is_none_or(|end| end > from));
    }

    fn add(&mut self, row: &Row) {
        let Some(entry) = row.entry() else { return };
        let recorded = row.recorded.as_event();
        match entry.kind {
            EntryKind::Alert => self.add_change(entry, recorded, row.at()),
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
            EntryKind::Silence => self.silences_left_out += 1,
            _ => {}
        }
    }

    fn add_change(&mut self, entry: &Entry, recorded: EventTime, at: EventTime) {
        let starts_at = entry.fact_of("starts_at").unwrap_or("").to_owned();
        let key = (entry.subject.clone(), starts_at.clone());
        of_key(&mut self.current, entry.subject.clone(), String::new).clone_from(&starts_at);
        let others = || ("(others)".to_owned(), String::new());
        let life = of_key(&mut self.lives, key, others);
        life.rule.clone_from(&entry.party);
        life.title.clone_from(&entry.detail);
        entry.fact_of("severity").unwrap_or("").clone_into(&mut life.severity);
        life.began = life.began.or_else(|| EventTime::parse(&starts_at));
        match entry.what.as_str() {
            // Nothing else tells when it was raised.
            "firing" => {
                life.raised.get_or_insert(recorded);
                life.fired.get_or_insert(at);
            }
            "resolved" => life.resolved = Some(at),
            _ => {}
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
    pub(in crate::report) fn rules_section(&self, scope: &Scope, sight: Sight) -> Section {
        let mut rules: BTreeMap<(&str, &str), Vec<&Life>> = BTreeMap::new();
        for life in self.lives.values() {
            rules.entry((&life.rule, &life.severity)).or_default().push(life);
        }
        let columns = [
            "rule",
            "title",
            "severity",
            "alerts",
            "began earlier",
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
            let is_earlier = |life: &&&Life| life.fired.is_none_or(|at| at < scope.period.from);
            let earlier = lives.iter().filter(is_earlier).count() as u64;
            let until = |span: fn(&Life) -> Option<Duration>| {
                median(lives.iter().filter_map(|life| span(life)))
            };
            table.push(
                ROWS_MAX,
                [
                    Cell::text(rule),
                    Cell::text(lives.first().map_or("", |life| &life.title)),
                    Cell::text(severity),
                    sight.count(all, ""),
                    Cell::number(earlier),
                    Cell::number(good),
                    Cell::number(benign),
                    Cell::number(bad),
                    Cell::number(all - good - benign - bad),
                    precision(good, bad + benign),
                    until(Life::until_told),
                    until(|life| Some(life.taken?.since(life.raised?))),
                    until(|life| Some(life.resolved?.since(life.fired?))),
                ],
            );
        }
        Section::new("rules", "Alerts by rule")
            .note("Alerts that fired when the period began are counted, too: `began earlier`. Spans are medians, from when \
                   Tripline raised an alert, of those of which the ledger still says when; until resolved by the times of \
                   events. Precision is the share of true positives among those that somebody judged.")
            .table(table)
    }

    /// Those that fire, oldest first.
    pub(in crate::report) fn open_section(&self, scope: &Scope, sight: Sight) -> Section {
        let is_open = |((fingerprint, starts_at), life): &(&(String, String), &Life)| {
            // The next one of an alert begins when the one before is over.
            life.resolved.is_none()
                && self.current.get(fingerprint).is_none_or(|at| at == starts_at)
        };
        let mut open: Vec<(&(String, String), &Life)> = self.lives.iter().filter(is_open).collect();
        open.sort_by_key(|(_, life)| life.began);
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
        Section::new("open", "Open at the end of the period")
            .note("Those of whose end no row tells, whenever they began.")
            .table(table)
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
        let before = self.silences_before.values().map(|entry| (entry, "in force from before"));
        let within = self.silences.iter().map(|entry| (entry, entry.what.as_str()));
        for (entry, what) in before.chain(within) {
            let facts: Vec<String> =
                entry.facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&entry.subject),
                    Cell::text(what),
                    Cell::text(&entry.party),
                    Cell::text(format!("{} {}", entry.detail, facts.join(" ")).trim()),
                    Cell::text(entry.fact_of("hidden").unwrap_or("")),
                ],
            );
        }
        table.left_out += self.silences_left_out;
        Section::new("silences", "Silences").table(table)
    }
}

impl Life {
    /// How long it took until somebody was told, if the ledger says when it was raised.
    pub(in crate::report) fn until_told(&self) -> Option<Duration> {
        Some(self.told?.since(self.raised?))
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
