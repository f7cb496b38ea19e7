//! Alerts as the ledger tells of them, those that are over among them: the latest first.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    Answer, AskError, Asked, Format, Mistake, PAGE, PERIOD, Parameter, ParameterKind, Params,
    Period, QuestionKind, all_of, answer::json_of, each, shown_time, timeline::shown,
};
use crate::{
    archive::{Cursor, Filter, Reader},
    engine::{
        ledger::{Entry, EntryKind, RULE_NAME, Row},
        rule::Severity,
        time::EventTime,
    },
};

/// By which name it is asked.
pub const QUESTION: QuestionKind = QuestionKind {
    name: "history",
    about: "Alerts as the ledger tells of them, those that are over among them: the latest first. What fired when the time \
            began is of it.",
    parameters: &[PARAMETERS, PERIOD, PAGE],
    ask: |reader, params, now| {
        let question = Question::read(params, now)?;
        let answer = Box::new(ask(reader, &question)?);
        Ok(Asked { answer, period: question.period })
    },
};

const STATES: &[&str] = &["firing", "resolved"];

const PARAMETERS: &[Parameter] = &[
    Parameter::text("rule", "Of the rule with this id, name or title."),
    Parameter::text("severity", "Of this severity."),
    Parameter::of(ParameterKind::OneOf(STATES), "state", "Only those that fire, or that are over."),
    Parameter::text("key", "With this value in their key: an actor, a namespace, an address."),
    Parameter::text("fingerprint", "With this fingerprint, or one that begins so."),
];

const COLUMNS: [&str; 8] =
    ["start", "end", "state", "severity", "rule", "value", "fingerprint", "about"];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// They fired in this time, or something was told of them in it.
    pub period: Period,
    /// Id, name or title of their rule.
    pub rule: Option<String>,
    /// Their severity.
    pub severity: Option<Severity>,
    /// Whether they are over.
    pub is_over: Option<bool>,
    /// A value of their key.
    pub key: Option<String>,
    /// The beginning of their fingerprint.
    pub fingerprint: Option<String>,
    /// Behind which one.
    pub after: Option<Cursor>,
    /// How many.
    pub limit: usize,
}

/// An alert from its beginning to its end, as far as the ledger tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Episode {
    /// Which alert.
    pub fingerprint: String,
    /// The rule's id.
    pub rule_id: String,
    /// The rule's name; empty of rows that were written before names were.
    pub rule_name: String,
    /// The rule's title.
    pub rule_title: String,
    /// As it was told last.
    pub severity: String,
    /// `firing` or `resolved`.
    pub state: &'static str,
    /// When it began.
    pub starts_at: String,
    /// When it ended.
    pub ends_at: Option<String>,
    /// When something was told of it last.
    pub changed_at: String,
    /// What was counted, as it was told last.
    pub value: String,
    /// What tells it apart from others of its rule.
    pub key: BTreeMap<String, String>,
    /// How often something was told of it.
    pub changes: u64,
    #[serde(skip)]
    last: Cursor,
}

/// Alerts, the latest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    /// How many there are, on this page and others.
    pub total: usize,
    /// These of them.
    pub alerts: Vec<Episode>,
    /// Where the next page begins.
    #[serde(serialize_with = "shown")]
    pub next: Option<Cursor>,
}

impl Question {
    /// About one alert.
    pub fn of(fingerprint: &str, period: Period) -> Question {
        Question {
            period,
            rule: None,
            severity: None,
            is_over: None,
            key: None,
            fingerprint: Some(fingerprint.to_owned()),
            after: None,
            limit: super::PAGE_ROWS,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn read(params: &Params, now: EventTime) -> Result<Question, Mistake> {
        let states = [("firing", false), ("resolved", true)];
        Ok(Question {
            period: Period::read(params, now, "24h")?,
            rule: params.owned("rule"),
            severity: params.one_of("severity", &Severity::WORDS)?,
            is_over: params.one_of("state", &states)?,
            key: params.owned("key"),
            fingerprint: params.owned("fingerprint"),
            after: params.after()?,
            limit: params.limit()?,
        })
    }

    fn fits(&self, episode: &Episode) -> bool {
        let names = [&episode.rule_id, &episode.rule_name, &episode.rule_title];
        let is_rule = |rule| names.contains(&rule);
        self.rule.as_ref().is_none_or(is_rule)
            && self.severity.is_none_or(|severity| severity.as_str() == episode.severity)
            && self.is_over.is_none_or(|is_over| is_over == (episode.state == "resolved"))
            && self.key.as_ref().is_none_or(|key| episode.key.values().any(|value| value == key))
    }
}

/// Answers. Cost: a pass over the entries on alerts up to the end of the time, as what fired in it may have begun long
/// before.
///
/// # Errors
/// More rows than are added up, or a ledger that cannot be read.
pub fn ask(reader: &Reader, question: &Question) -> Result<History, AskError> {
    let filters = vec![Filter::Entries(EntryKind::Alert)];
    let wanted = question.fingerprint.as_deref().unwrap_or("");
    let mut firing: BTreeMap<String, Episode> = BTreeMap::new();
    reader.each_of_before(question.period.from, &filters, |row| {
        let Some((fingerprint, starts_at, entry)) = of_episode(row, wanted) else { return };
        // One that begins ends the one before.
        if firing.get(fingerprint).is_none_or(|known| known.starts_at != starts_at) {
            firing.insert(fingerprint.to_owned(), Episode::begin(row, entry));
        }
        if entry.what == "resolved" {
            firing.remove(fingerprint);
        } else if let Some(episode) = firing.get_mut(fingerprint) {
            episode.hear(row, entry);
        }
    })?;
    let key = |episode: &Episode| (episode.fingerprint.clone(), episode.starts_at.clone());
    let mut episodes: BTreeMap<(String, String), Episode> =
        firing.into_values().map(|episode| (key(&episode), episode)).collect();
    each(reader, all_of(filters, &question.period), |row| {
        let Some((fingerprint, starts_at, entry)) = of_episode(row, wanted) else { return };
        let key = (fingerprint.to_owned(), starts_at.to_owned());
        episodes.entry(key).or_insert_with(|| Episode::begin(row, entry)).hear(row, entry);
    })?;
    let mut alerts: Vec<Episode> = episodes.into_values().collect();
    alerts.retain(|episode| question.fits(episode));
    alerts.sort_by_key(|episode| Reverse(episode.last));
    let total = alerts.len();
    alerts.retain(|episode| question.after.is_none_or(|after| episode.last < after));
    let has_more = alerts.len() > question.limit;
    alerts.truncate(question.limit);
    let next = alerts.last().filter(|_| has_more).map(|episode| episode.last);
    Ok(History { total, alerts, next })
}

/// Fingerprint and beginning of the episode that a row tells of, if the fingerprint begins as it is wanted. What has no
/// beginning is not of the life of an alert: it was only suppressed, say.
fn of_episode<'r>(row: &'r Row, wanted: &str) -> Option<(&'r str, &'r str, &'r Entry)> {
    let entry = row.entry().filter(|entry| entry.subject.starts_with(wanted))?;
    Some((&entry.subject, entry.fact_of("starts_at")?, entry))
}

impl Episode {
    fn begin(row: &Row, entry: &Entry) -> Episode {
        Episode {
            fingerprint: entry.subject.clone(),
            rule_id: entry.party.clone(),
            rule_name: String::new(),
            rule_title: String::new(),
            severity: String::new(),
            state: "firing",
            starts_at: entry.fact_of("starts_at").unwrap_or_default().to_owned(),
            ends_at: None,
            changed_at: String::new(),
            value: String::new(),
            key: BTreeMap::new(),
            changes: 0,
            last: Cursor::behind(row),
        }
    }

    /// A further entry of it. They come in the order of time; that it is over is what counts.
    fn hear(&mut self, row: &Row, entry: &Entry) {
        let fact = |name: &str| entry.fact_of(name).unwrap_or_default().to_owned();
        self.rule_title.clone_from(&entry.detail);
        self.rule_name = fact(RULE_NAME);
        (self.severity, self.value) = (fact("severity"), fact("value"));
        (self.changed_at, self.last) = (row.at().rfc3339(), Cursor::behind(row));
        self.changes += 1;
        if entry.what == "resolved" {
            (self.state, self.ends_at) = ("resolved", Some(row.at().rfc3339()));
        }
        for (name, value) in &entry.facts {
            if let Some(name) = name.strip_prefix("key.") {
                self.key.insert(name.to_owned(), value.clone());
            }
        }
    }
}

impl Answer for History {
    fn json(&self) -> String {
        json_of(self)
    }

    fn items(&self) -> Vec<String> {
        self.alerts.iter().map(json_of).collect()
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn cells(&self, zone: &TimeZone, _: Format) -> Vec<Vec<String>> {
        let time = |text: &str| {
            EventTime::parse(text).map_or_else(String::new, |time| shown_time(time, zone))
        };
        let line = |alert: &Episode| {
            let key: Vec<String> =
                alert.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
            vec![
                time(&alert.starts_at),
                alert.ends_at.as_deref().map_or_else(String::new, time),
                alert.state.to_owned(),
                alert.severity.clone(),
                alert.rule_title.clone(),
                alert.value.clone(),
                alert.fingerprint.clone(),
                key.join(", "),
            ]
        };
        self.alerts.iter().map(line).collect()
    }

    fn if_empty(&self) -> &'static str {
        "no alerts in this time; `tripline coverage` says what was seen"
    }

    fn next(&self) -> Option<Cursor> {
        self.next
    }
}
