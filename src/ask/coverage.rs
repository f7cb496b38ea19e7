//! What was seen, hour by hour, and what may be missing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    Answer, AskError, Asked, CLUSTER, Format, Mistake, PERIOD, Parameter, ParameterKind, Params,
    Period, QuestionKind, all_of,
    answer::json_of,
    each, shown_time,
    table::{shown_number, table},
};
use crate::{
    archive::{Filter, Query, Reader},
    engine::{ledger::EntryKind, text::printable, time::EventTime},
};

/// By which name it is asked.
pub const QUESTION: QuestionKind = QuestionKind {
    name: "coverage",
    about: "What was seen of each cluster, hour by hour.",
    parameters: &[PARAMETERS, CLUSTER, PERIOD],
    ask: |reader, params, now| {
        let question = Question::read(params, now)?;
        let answer = Box::new(ask(reader, &question)?);
        Ok(Asked { answer, period: question.period })
    },
};

const PARAMETERS: &[Parameter] = &[Parameter::of(
    ParameterKind::Flag,
    "problems",
    "Only hours that are not complete, and are not open still in their time.",
)];

const COLUMNS: [&str; 11] = [
    "hour",
    "cluster",
    "verdict",
    "events",
    "cut",
    "dead letters",
    "late",
    "shed",
    "lost",
    "below level",
    "not counted",
];

/// An hour may be open for so long without being a problem: until the one after it is over. By then it is told, unless
/// nothing is read any more.
const OPEN_HOURS: i64 = 2;

/// Sorts of request that a cluster's rules are blind to of which is told: 10.
const BELOW_TOLD_MAX: usize = 10;

const HOUR: i64 = 3_600_000_000;

/// Hours of which nothing is told that are listed before the last one that is: two years of them.
const HOURS_FILLED_MAX: i64 = 2 * 366 * 24;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which time; an hour counts if any of it lies in it.
    pub period: Period,
    /// Of which cluster.
    pub cluster: Option<String>,
    /// Only hours that are not complete.
    pub problems: bool,
}

/// What is known of an hour of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Events that were read.
    pub events: u64,
    /// Those that lack a part.
    pub cut: u64,
    /// What could not be read, some of which may be of this hour.
    pub dead_letters: u64,
    /// Events that came after their time had been told of.
    pub late: u64,
    /// Accesses that were not recorded, since there was no room.
    pub shed: u64,
    /// Records that were deleted before they were read, some of which may be of this hour.
    pub lost: u64,
    /// Events to which some rule is blind, since they were logged at too low a level.
    pub below: u64,
    /// Events that are not counted, some of which may be of this hour: they were of too many hours and clusters.
    pub uncounted: u64,
    /// Something is missing of which nobody knows the cluster: it may be this one.
    pub may_lack: bool,
    /// Somebody looked.
    pub is_told: bool,
    /// It is not told yet, nor any later one.
    pub is_open: bool,
}

/// Hours by their number since 1970, and cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The hours.
    pub hours: BTreeMap<(i64, String), Hour>,
    /// What rules are blind to, by cluster; some of it.
    pub below: BTreeMap<String, BTreeSet<String>>,
    /// The first and the last row that tell of an hour of the time, of whichever cluster.
    pub told: Option<(u64, u64)>,
}

impl Hour {
    /// What is to be thought of it: `complete`, `degraded`, `silent`, `lost`, `not observed`, or `open`: nothing is told of
    /// it yet, since event time has not passed its end.
    pub const fn verdict(&self) -> &'static str {
        let missing = self.cut + self.dead_letters + self.late + self.shed + self.uncounted;
        let problems = missing + self.below;
        match (self.is_told, self.events, problems) {
            _ if self.lost > 0 => "lost",
            (false, ..) if self.is_open => "open",
            (false, ..) => "not observed",
            _ if self.may_lack => "degraded",
            (true, _, 1..) => "degraded",
            (true, 0, _) => "silent",
            (true, ..) => "complete",
        }
    }

    /// Whether it tells, under no cluster, of what may be missing of each. Events of no cluster may be told with it; what is
    /// cut of them is their own.
    const fn is_of_any_cluster(&self) -> bool {
        self.dead_letters + self.shed + self.lost + self.uncounted > 0
    }
}

impl Question {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn read(params: &Params, now: EventTime) -> Result<Question, Mistake> {
        let period = whole_hours(&Period::read(params, now, "24h")?);
        let (cluster, problems) = (params.owned("cluster"), params.flag("problems")?);
        Ok(Question { period, cluster, problems })
    }
}

/// The hours of which any part lies in a period: coverage is told at the beginning of each.
fn whole_hours(period: &Period) -> Period {
    let from = EventTime::from_micros(period.from.micros().div_euclid(HOUR) * HOUR);
    let to = EventTime::from_micros(ended(period.to).saturating_mul(HOUR));
    Period { from, to, ..period.clone() }
}

/// The number of the first hour that begins at a time or after it.
pub fn ended(time: EventTime) -> i64 {
    time.micros().div_euclid(HOUR) + i64::from(time.micros().rem_euclid(HOUR) > 0)
}

/// Answers for each hour of which any part is asked about.
///
/// # Errors
/// More rows than are added up, or a ledger that cannot be read.
pub fn ask(reader: &Reader, question: &Question) -> Result<Coverage, AskError> {
    let period = whole_hours(&question.period);
    let mut hours: BTreeMap<(i64, String), Hour> = BTreeMap::new();
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut told: Option<(u64, u64)> = None;
    let filters = vec![Filter::Entries(EntryKind::Coverage)];
    each(reader, all_of(filters, &period), |row| {
        let Some(entry) = row.entry() else { return };
        let (first, last) = told.unwrap_or((row.id, row.id));
        told = Some((first.min(row.id), last.max(row.id)));
        let key = (row.at().micros().div_euclid(HOUR), entry.subject.clone());
        let hour = hours.entry(key).or_default();
        hour.is_told = true;
        hour.events += entry.count_of("events");
        hour.cut += entry.count_of("cut");
        hour.dead_letters += entry.count_of("dead_letters");
        hour.shed += entry.count_of("shed");
        hour.lost += entry.count_of("lost");
        hour.below += entry.count_of("below");
        hour.uncounted += entry.count_of("uncounted");
        if let Some(what) = entry.fact_of("below") {
            let of_cluster = below.entry(entry.subject.clone()).or_default();
            if of_cluster.len() < BELOW_TOLD_MAX {
                of_cluster.insert(what.to_owned());
            }
        }
        if entry.what == "late" {
            hour.late += entry.count_of("events");
        }
    })?;
    fill(&mut hours, &period, is_told_beyond(reader, period.to)?);
    share(&mut hours);
    let is_asked = |name: &str| question.cluster.as_ref().is_none_or(|cluster| *cluster == name);
    hours.retain(|(_, name), _| is_asked(name));
    let is_problem = |at: i64, hour: &Hour| match hour.verdict() {
        "complete" => false,
        "open" => at + OPEN_HOURS < ended(period.now),
        _ => true,
    };
    hours.retain(|(at, _), hour| !question.problems || is_problem(*at, hour));
    below.retain(|name, _| is_asked(name));
    Ok(Coverage { hours, below, told })
}

/// Whether some hour from a time on is told. They are told in their order, so all before it are. Cost: a look into an index.
fn is_told_beyond(reader: &Reader, to: EventTime) -> Result<bool, AskError> {
    let filters = vec![Filter::Entries(EntryKind::Coverage)];
    let page =
        reader.page(&Query { filters, from: to, to: EventTime::MAX, after: None, limit: 1 })?;
    Ok(!page.rows.is_empty())
}

/// Hours of which nothing is told are open if no later one is told, and else were not observed. Those that have not begun are
/// left out.
fn fill(hours: &mut BTreeMap<(i64, String), Hour>, period: &Period, is_told_beyond: bool) {
    // What is told of no cluster is of one without a name, if events came.
    let are_of_one = hours.iter().filter(|((_, name), hour)| !name.is_empty() || hour.events > 0);
    let clusters: BTreeSet<String> = are_of_one.map(|((_, name), _)| name.clone()).collect();
    let Some(((last, _), _)) = hours.last_key_value() else { return };
    let last = *last;
    let first = period.from.micros().div_euclid(HOUR).max(last.saturating_sub(HOURS_FILLED_MAX));
    let end = period.to.micros().div_euclid(HOUR).min(ended(period.now).max(last + 1));
    for hour in first..end {
        let is_open = !is_told_beyond && hour > last;
        for cluster in &clusters {
            let untold = Hour { is_open, ..Hour::default() };
            hours.entry((hour, cluster.clone())).or_insert(untold);
        }
    }
}

/// What is missing of nobody knows which cluster may be missing of each.
fn share(hours: &mut BTreeMap<(i64, String), Hour>) {
    let of_any: Vec<(i64, Hour)> = hours
        .iter()
        .filter(|((_, cluster), hour)| cluster.is_empty() && hour.is_of_any_cluster())
        .map(|((at, _), hour)| (*at, *hour))
        .collect();
    for (at, missing) in of_any {
        for (_, hour) in hours
            .range_mut((at, String::new())..)
            .take_while(|((hour, _), _)| *hour == at)
            .filter(|((_, cluster), _)| !cluster.is_empty())
        {
            hour.may_lack = true;
            hour.lost += missing.lost;
        }
    }
}

/// An hour as JSON.
#[derive(Serialize)]
struct View<'a> {
    hour: String,
    cluster: &'a str,
    verdict: &'static str,
    events: u64,
    cut: u64,
    dead_letters: u64,
    late: u64,
    shed: u64,
    lost: u64,
    below: u64,
    uncounted: u64,
}

impl Answer for Coverage {
    fn json(&self) -> String {
        let below = json_of(&self.below);
        format!("{{\"hours\":[{}],\"below\":{below}}}", self.items().join(","))
    }

    fn items(&self) -> Vec<String> {
        let item = |((at, cluster), hour): (&(i64, String), &Hour)| {
            json_of(&View {
                hour: EventTime::from_micros(at * HOUR).rfc3339(),
                cluster,
                verdict: hour.verdict(),
                events: hour.events,
                cut: hour.cut,
                dead_letters: hour.dead_letters,
                late: hour.late,
                shed: hour.shed,
                lost: hour.lost,
                below: hour.below,
                uncounted: hour.uncounted,
            })
        };
        self.hours.iter().map(item).collect()
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn cells(&self, zone: &TimeZone, _: Format) -> Vec<Vec<String>> {
        let line = |((at, cluster), hour): (&(i64, String), &Hour)| {
            vec![
                shown_time(EventTime::from_micros(at * HOUR), zone),
                cluster.clone(),
                hour.verdict().to_owned(),
                shown_number(hour.events),
                shown_number(hour.cut),
                shown_number(hour.dead_letters),
                shown_number(hour.late),
                shown_number(hour.shed),
                shown_number(hour.lost),
                shown_number(hour.below),
                shown_number(hour.uncounted),
            ]
        };
        self.hours.iter().map(line).collect()
    }

    fn text(&self, zone: &TimeZone) -> Option<String> {
        if self.below.is_empty() || self.hours.is_empty() {
            return None;
        }
        let mut text = table(&COLUMNS, &self.cells(zone, Format::Text));
        for (cluster, what) in &self.below {
            let name = if cluster.is_empty() { "records of no known cluster" } else { cluster };
            let what: Vec<&str> = what.iter().map(String::as_str).collect();
            let line = format!("{name}: rules are blind to {}", what.join("; "));
            text.push_str(&printable(&line));
            text.push('\n');
        }
        Some(text)
    }

    fn if_empty(&self) -> &'static str {
        "no hour of this time is told"
    }
}
