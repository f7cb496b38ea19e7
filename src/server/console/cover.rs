//! Coverage: what was seen of each cluster, hour by hour, for strips on pages and for hatching.

use std::collections::BTreeMap;

use super::{asked::Asked, ledger::hour_start, link::Link};
use crate::{
    archive::{ArchiveError, Reader},
    ask::{AskError, Period, coverage},
    engine::time::EventTime,
};

/// Hours by their number since 1970, and cluster.
pub(super) type Hours = BTreeMap<(i64, String), coverage::Hour>;

/// One hour of a strip.
pub(super) struct Cell {
    pub(super) class: &'static str,
    pub(super) title: String,
    pub(super) link: Link,
}

/// The hours of one cluster.
pub(super) struct Strip {
    pub(super) cluster: String,
    pub(super) cells: Vec<Cell>,
    pub(super) words: String,
}

/// What was seen in a range.
pub(super) fn hours(
    reader: &Reader,
    (from, to): (EventTime, EventTime),
) -> Result<Hours, ArchiveError> {
    let period = Period { from, to, zone: jiff::tz::TimeZone::UTC, now: to };
    let question = coverage::Question { period, cluster: None, problems: false };
    match coverage::ask(reader, &question) {
        Ok(coverage) => Ok(coverage.hours),
        Err(AskError::Archive(error)) => Err(error),
        // More hours than are added up: none are shown.
        Err(AskError::Mistake(_)) => Ok(Hours::new()),
    }
}

/// A strip for each cluster, over the hours from `first` to `last`.
pub(super) fn strips(asked: &Asked, hours: &Hours, (first, last): (i64, i64)) -> Vec<Strip> {
    let mut clusters: Vec<&String> = hours.keys().map(|(_, cluster)| cluster).collect();
    clusters.sort_unstable();
    clusters.dedup();
    let strip = |cluster: &String| {
        let cells: Vec<Cell> = (first..=last)
            .map(|hour| {
                let known = hours.get(&(hour, cluster.clone())).copied().unwrap_or_default();
                let verdict = known.verdict();
                // The one that runs may be of a cluster that nothing is told of yet.
                let is_open = verdict == "open" || hour == last && verdict == "not observed";
                let word = if is_open { "not told yet" } else { verdict };
                let time = asked.full(hour_start(hour));
                Cell {
                    class: if is_open { "open" } else { class_of(verdict) },
                    title: format!("{time}: {word}, {} events", known.events),
                    link: asked.link("/coverage").with("cluster", cluster),
                }
            })
            .collect();
        let whole = cells.iter().filter(|cell| cell.class == "complete").count();
        let words = format!("{whole} of {} hours complete", cells.len());
        let cluster =
            if cluster.is_empty() { "(no cluster named)".to_owned() } else { cluster.clone() };
        Strip { cluster, cells, words }
    };
    clusters.into_iter().map(strip).collect()
}

/// The class of a verdict: its word without blanks.
pub(super) fn class_of(verdict: &str) -> &'static str {
    match verdict {
        "complete" => "complete",
        "degraded" => "degraded",
        "silent" => "silent",
        "lost" => "lost",
        "open" => "open",
        _ => "unknown",
    }
}

/// A stretch of time of which nothing can be known, or not all: from, to, and why.
pub(super) type Unknown = (EventTime, EventTime, String);

/// Such stretches of a range. The hour that runs is told when it is over; what event time has not come to is
/// not read yet.
pub(super) fn unknown(
    asked: &Asked,
    (from, to): (EventTime, EventTime),
    hours: &Hours,
    watermark: Option<EventTime>,
) -> Vec<Unknown> {
    let reached = watermark.unwrap_or(from);
    let mut found: Vec<Unknown> = Vec::new();
    for hour in from.hour()..=to.hour() {
        let (begin, end) = (hour_start(hour).max(from), hour_start(hour + 1).min(to));
        let is_told = hours.iter().any(|((at, _), known)| *at == hour && known.is_told);
        if hour_start(hour + 1) > reached || is_told {
            continue;
        }
        // One stretch of many hours.
        match found.last_mut().filter(|(_, until, _)| *until == begin) {
            Some((_, until, _)) => *until = end,
            None => found.push((begin, end, format!("nobody looked from {}", asked.full(begin)))),
        }
    }
    if reached < to {
        let why = format!("not read yet: event time has come to {}", asked.full(reached));
        found.push((reached.max(from), to, why));
    }
    found
}
