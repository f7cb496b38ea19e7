//! Questions to the ledger: where it is, which time, and how answers are written.

pub(super) mod coverage;
pub(super) mod sessions;
pub(super) mod timeline;
pub(super) mod visits;
pub(super) mod who_did;
mod words;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::{
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::output;
use crate::{
    app::clock::now,
    archive::{Cursor, Filter, Page, Query, Reader},
    engine::{
        diagnostic::nearest,
        duration::parse_duration,
        ledger::Row,
        text::{counted, printable},
        time::EventTime,
    },
};

/// Rows of a page unless somebody asks for more: a pager's worth.
const PAGE_ROWS: usize = 200;

/// Rows that a question which adds up looks at: 1,000,000. Beyond it the time must be narrower.
const ROWS_MAX: usize = 1_000_000;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One JSON object a line: the rows as they are in the chain, where rows are asked for.
    Jsonl,
    /// Comma-separated values with a line of names.
    Csv,
}

/// Where the ledger is, and which time is asked about.
#[derive(Args, Clone, Debug)]
struct AskArgs {
    /// State directory of `tripline run`; it may run meanwhile.
    #[arg(long, value_name = "DIR", env = "TRIPLINE_STATE", default_value = "state")]
    state: PathBuf,
    /// Directory with month files, if it is not in the state directory: a copy, say.
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// So long until now: 90m, 24h, 30d.
    #[arg(long, value_name = "SPAN", conflicts_with = "from")]
    since: Option<String>,
    /// Not before this: 2026-11-29, '2026-11-29 14:00' or 2026-11-29T14:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this; now, if it is left out.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Time zone of what is asked and answered.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
    /// text, json, jsonl or csv.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    #[arg(hide_possible_values = true)]
    format: Format,
    /// Only of this cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

/// Somebody asked for what there is not: exit code 2, and what was meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Mistake(String);

/// What a question is about, resolved.
struct Asked {
    reader: Reader,
    from: EventTime,
    to: EventTime,
    zone: TimeZone,
    format: Format,
    filters: Vec<Filter>,
}

impl AskArgs {
    /// Opens the ledger and reads the times.
    fn resolve(&self, span_default: &str) -> anyhow::Result<Asked> {
        let zone = zone_of(&self.zone)?;
        let (from, to) = self.times(&zone, span_default)?;
        let reader = Reader::open(&self.state, self.ledger.as_deref())?;
        for problem in reader.problems() {
            output::tell(&format!("warning: {problem}"));
        }
        let filters = self.cluster.iter().cloned().map(Filter::Cluster).collect();
        Ok(Asked { reader, from, to, zone, format: self.format, filters })
    }

    fn times(&self, zone: &TimeZone, span_default: &str) -> anyhow::Result<(EventTime, EventTime)> {
        let to = match &self.to {
            Some(text) => time_of(text, zone)?,
            None => now().as_event(),
        };
        let from = match (&self.from, &self.since) {
            (Some(text), _) => time_of(text, zone)?,
            (None, since) => {
                let text = since.as_deref().unwrap_or(span_default);
                let span = parse_duration(text).ok_or_else(|| {
                    Mistake(format!("`{text}` is not a span of time: write 90m, 24h or 30d"))
                })?;
                to.minus(span)
            }
        };
        if from >= to {
            let (from, to) = (shown_time(from, zone), shown_time(to, zone));
            return Err(Mistake(format!(
                "the time begins at {from} and ends at {to}: nothing lies \
                                        between"
            ))
            .into());
        }
        Ok((from, to))
    }
}

pub(super) fn zone_of(name: &str) -> anyhow::Result<TimeZone> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> =
            jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        let near = nearest(name, known.iter().map(String::as_str));
        let hint = near.map_or_else(
            || "write one such as UTC or Europe/Berlin".to_owned(),
            |near| format!("did you mean {near}?"),
        );
        Mistake(format!("there is no time zone `{}`; {hint}", printable(name))).into()
    })
}

/// RFC 3339, or a date with or without a time of that zone.
fn time_of(text: &str, zone: &TimeZone) -> anyhow::Result<EventTime> {
    if let Some(time) = EventTime::parse(text) {
        return Ok(time);
    }
    let civil = text
        .parse::<DateTime>()
        .or_else(|_| format!("{text}:00").parse::<DateTime>())
        .or_else(|_| text.parse::<Date>().map(|date| date.to_datetime(jiff::civil::Time::MIN)));
    let zoned = civil.ok().and_then(|civil| civil.to_zoned_datetime(zone.clone()).ok());
    let zoned = zoned.ok_or_else(|| {
        let hint = "write 2026-11-29, '2026-11-29 14:00' or 2026-11-29T14:00:00Z";
        Mistake(format!("`{}` is not a time: {hint}", printable(text)))
    })?;
    Ok(EventTime::from_micros(zoned.timestamp().as_microsecond()))
}

/// `2026-11-29 14:00:12`, in a zone.
fn shown_time(time: EventTime, zone: &TimeZone) -> String {
    match jiff::Timestamp::from_microsecond(time.micros()) {
        Ok(timestamp) => {
            let local = zone.to_datetime(timestamp);
            format!(
                "{} {:02}:{:02}:{:02}",
                local.date(),
                local.hour(),
                local.minute(),
                local.second()
            )
        }
        Err(_) => time.rfc3339(),
    }
}

impl Asked {
    fn query(&self, after: Option<Cursor>, limit: usize) -> Query {
        Query { filters: self.filters.clone(), from: self.from, to: self.to, after, limit }
    }

    /// One page.
    fn page(&self, after: Option<Cursor>, limit: usize) -> anyhow::Result<Page> {
        Ok(self.reader.page(&self.query(after, limit))?)
    }

    /// All rows, for a question that adds up.
    fn all(&self) -> anyhow::Result<Vec<Row>> {
        let page = self.page(None, ROWS_MAX)?;
        if page.next.is_some() {
            let most = counted(ROWS_MAX, "row");
            return Err(
                Mistake(format!("there are more than {most}: ask for a narrower time")).into()
            );
        }
        Ok(page.rows)
    }

    /// Says which one may have been meant by a text that stands in no row at all.
    fn check_known(&self, column: &'static str, what: &str, text: &str) -> anyhow::Result<()> {
        let known = self.reader.texts(column);
        if known.iter().any(|one| one == text) || self.is_in_spool(text) {
            return Ok(());
        }
        let near = nearest(text, known.iter().map(String::as_str));
        let hint = near.map_or_else(
            || "no row of the ledger has it".to_owned(),
            |near| format!("did you mean `{}`?", printable(near)),
        );
        Err(Mistake(format!("nothing is known of the {what} `{}`; {hint}", printable(text))).into())
    }

    /// Whether a text stands in a row that is in no month yet.
    fn is_in_spool(&self, text: &str) -> bool {
        let quoted = serde_json::to_string(text).unwrap_or_default();
        self.reader.waiting().any(|row| row.line().contains(&quoted))
    }
}

/// The names of the columns of an export, as CSV.
pub(super) fn csv_head() -> String {
    words::csv(&words::COLUMNS, &[])
}

/// A row of an export, as CSV.
pub(super) fn csv_row(row: &Row, zone: &TimeZone) -> String {
    let line = words::csv(&[], &[words::cells(row, zone)]);
    line.trim_start().to_owned()
}

/// The exit code of a mistake is 2; anything else is the world's.
fn answered(
    outcome: anyhow::Result<std::process::ExitCode>,
) -> anyhow::Result<std::process::ExitCode> {
    match outcome {
        Err(error) if error.is::<Mistake>() => {
            output::complain(&error.to_string());
            Ok(std::process::ExitCode::from(super::exit::USAGE))
        }
        other => other,
    }
}
