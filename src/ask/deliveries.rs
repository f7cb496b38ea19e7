//! Who was told of which alerts, and what came of it.

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    Answer, AskError, Asked, Format, Mistake, PAGE, PERIOD, Parameter, Params, Period,
    QuestionKind, answer::json_of, shown_time, timeline::shown,
};
use crate::{
    archive::{Cursor, Filter, Query, Reader},
    engine::{
        ledger::{Entry, EntryKind, Row},
        time::EventTime,
    },
};

/// By which name it is asked.
pub const QUESTION: QuestionKind = QuestionKind {
    name: "deliveries",
    about: "Who was told of which alerts, and what came of it.",
    parameters: &[PARAMETERS, PERIOD, PAGE],
    ask: |reader, params, now| {
        let question = Question::read(params, now)?;
        let answer = Box::new(ask(reader, &question)?);
        Ok(Asked { answer, period: question.period })
    },
};

const PARAMETERS: &[Parameter] = &[
    Parameter::text("receiver", "To this receiver."),
    Parameter::text("what", "With this outcome: delivered, retry, rejected, expired, dropped."),
    Parameter::text("alert", "About the alert with this fingerprint."),
];

const COLUMNS: [&str; 6] = ["time", "receiver", "notifier", "outcome", "notification", "detail"];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which time.
    pub period: Period,
    /// To which receiver.
    pub receiver: Option<String>,
    /// With which outcome.
    pub what: Option<String>,
    /// About which alert.
    pub alert: Option<String>,
    /// Behind which one.
    pub after: Option<Cursor>,
    /// How many.
    pub limit: usize,
}

/// What became of a notification, or of an alert that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The row's id.
    pub id: u64,
    /// When.
    pub at: String,
    /// Id of the notification, or fingerprint of an alert that was given up.
    pub subject: String,
    /// Name of the receiver.
    pub receiver: String,
    /// Kind of its notifier, and behind a slash its recipient.
    pub notifier: String,
    /// `delivered`, `retry`, `rejected`, `expired` or `dropped`.
    pub what: String,
    /// Why, and which alerts.
    pub detail: String,
}

/// Deliveries in the order of time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Deliveries {
    /// These.
    pub deliveries: Vec<Delivery>,
    /// Where the next page begins.
    #[serde(serialize_with = "shown")]
    pub next: Option<Cursor>,
}

impl Question {
    /// About one alert.
    pub fn of(fingerprint: &str, period: Period, limit: usize) -> Question {
        let alert = Some(fingerprint.to_owned());
        Question { period, receiver: None, what: None, alert, after: None, limit }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn read(params: &Params, now: EventTime) -> Result<Question, Mistake> {
        Ok(Question {
            period: Period::read(params, now, "24h")?,
            receiver: params.owned("receiver"),
            what: params.owned("what"),
            alert: params.owned("alert"),
            after: params.after()?,
            limit: params.limit()?,
        })
    }

    fn fits(&self, entry: &Entry) -> bool {
        self.receiver.as_ref().is_none_or(|receiver| *receiver == entry.party)
            && self.what.as_ref().is_none_or(|what| *what == entry.what)
            && self.alert.as_ref().is_none_or(|alert| is_about(entry, alert))
    }
}

/// Whether a delivery told of an alert.
pub fn is_about(entry: &Entry, fingerprint: &str) -> bool {
    entry.subject == fingerprint || entry.detail.contains(fingerprint)
}

/// Answers.
///
/// # Errors
/// The ledger cannot be read.
pub fn ask(reader: &Reader, question: &Question) -> Result<Deliveries, AskError> {
    let mut deliveries = Vec::new();
    let mut query = Query {
        filters: vec![Filter::Entries(EntryKind::Delivery)],
        from: question.period.from,
        to: question.period.to,
        after: question.after,
        limit: super::ROWS_AT_ONCE,
    };
    let mut before = question.after;
    loop {
        let page = reader.page(&query)?;
        for row in &page.rows {
            let Some(entry) = row.entry().filter(|entry| question.fits(entry)) else { continue };
            if deliveries.len() == question.limit {
                return Ok(Deliveries { deliveries, next: before });
            }
            deliveries.push(Delivery::of(row, entry));
            before = Some(Cursor::behind(row));
        }
        let Some(next) = page.next else { return Ok(Deliveries { deliveries, next: None }) };
        query.after = Some(next);
    }
}

impl Delivery {
    fn of(row: &Row, entry: &Entry) -> Delivery {
        Delivery {
            id: row.id,
            at: row.at().rfc3339(),
            subject: entry.subject.clone(),
            receiver: entry.party.clone(),
            notifier: entry.fact_of("notifier").unwrap_or_default().to_owned(),
            what: entry.what.clone(),
            detail: entry.detail.clone(),
        }
    }
}

impl Answer for Deliveries {
    fn json(&self) -> String {
        json_of(self)
    }

    fn items(&self) -> Vec<String> {
        self.deliveries.iter().map(json_of).collect()
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn cells(&self, zone: &TimeZone, _: Format) -> Vec<Vec<String>> {
        let line = |one: &Delivery| {
            let at = EventTime::parse(&one.at).map_or_else(String::new, |at| shown_time(at, zone));
            let texts = [&one.receiver, &one.notifier, &one.what, &one.subject, &one.detail];
            std::iter::once(at).chain(texts.into_iter().cloned()).collect()
        };
        self.deliveries.iter().map(line).collect()
    }

    fn if_empty(&self) -> &'static str {
        "nobody was told anything in this time"
    }

    fn next(&self) -> Option<Cursor> {
        self.next
    }
}
