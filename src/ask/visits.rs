//! Who was there, from when to when, and how much they did.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    Answer, AskError, Asked, CLUSTER, Format, Mistake, PERIOD, Parameter, ParameterKind, Params,
    Period, QuestionKind, all_of, answer::json_of, begun::Begun, check_known, each, of_cluster,
    shown_time, table::shown_number,
};
use crate::{
    archive::{Filter, Reader},
    engine::{
        access::{VISIT_PAUSE, Visit, Visits, shown_actor},
        text::span,
        time::EventTime,
    },
};

/// By which name it is asked.
pub const QUESTION: QuestionKind = QuestionKind {
    name: "visits",
    about: "What one actor did, as one and the same, in one cluster without a long pause. Those that needed the power of an \
            administrator come first.",
    parameters: &[PARAMETERS, CLUSTER, PERIOD],
    ask: |reader, params, now| {
        let question = Question::read(params, now)?;
        let answer = Box::new(ask(reader, &question)?);
        Ok(Asked { answer, period: question.period })
    },
};

const PARAMETERS: &[Parameter] = &[
    Parameter::text("actor", "Of one actor."),
    Parameter::of(ParameterKind::Span, "pause", "The pause that ends a visit: 15m."),
    Parameter::of(ParameterKind::Flag, "machines", "Of machines, too."),
];

const COLUMNS: [&str; 10] = [
    "start",
    "lasted",
    "actor",
    "cluster",
    "requests",
    "denied",
    "sessions",
    "privileged",
    "from",
    "namespaces",
];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which time.
    pub period: Period,
    /// Of one actor.
    pub actor: Option<String>,
    /// The pause that ends a visit.
    pub pause: Duration,
    /// Of machines, too.
    pub machines: bool,
    /// In which cluster.
    pub cluster: Option<Filter>,
}

/// Visits, those of administrators first.
#[derive(Clone, Debug, Default)]
pub struct Visitors {
    /// The visits.
    pub visits: Vec<Visit>,
}

impl Question {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn read(params: &Params, now: EventTime) -> Result<Question, Mistake> {
        Ok(Question {
            period: Period::read(params, now, "24h")?,
            actor: params.owned("actor"),
            pause: params.span("pause")?.unwrap_or(VISIT_PAUSE),
            machines: params.flag("machines")?,
            cluster: of_cluster(params),
        })
    }
}

/// Answers.
///
/// # Errors
/// An actor that no row has, more rows than are added up, or a ledger that cannot be read.
pub fn ask(reader: &Reader, question: &Question) -> Result<Visitors, AskError> {
    let mut filters = Vec::new();
    if let Some(actor) = &question.actor {
        check_known(reader, &["actor", "behalf"], "actor", actor)?;
        filters.push(Filter::Actor(actor.clone()));
    }
    filters.extend(question.cluster.clone());
    let has_machines = question.machines || question.actor.is_some();
    filters.push(if has_machines { Filter::Accesses } else { Filter::People });
    let mut visits = Visits::new(question.pause);
    let (mut begun, mut failed) = (Begun::new(reader, question.period.from), Ok(()));
    each(reader, all_of(filters, &question.period), |row| {
        let Some(access) = row.access() else { return };
        match begun.is_first(access) {
            Ok(is_first) => visits.add(access, is_first),
            Err(error) => failed = Err(error),
        }
    })?;
    failed?;
    let mut visits = visits.finish();
    visits.sort_by_key(|visit| !visit.is_privileged);
    Ok(Visitors { visits })
}

/// A visit as JSON.
#[derive(Serialize)]
struct View<'a> {
    actor: Option<&'a str>,
    on_behalf_of: Option<&'a str>,
    cluster: Option<&'a str>,
    start: String,
    end: String,
    accesses: u64,
    requests: u64,
    denied: u64,
    sessions: u64,
    privileged: bool,
    sources: &'a BTreeSet<Arc<str>>,
    namespaces: &'a BTreeSet<Arc<str>>,
    credentials: &'a BTreeSet<Arc<str>>,
    classes: &'a BTreeMap<Arc<str>, u64>,
}

fn view(visit: &Visit) -> View<'_> {
    View {
        actor: visit.actor.as_deref(),
        on_behalf_of: visit.on_behalf_of.as_deref(),
        cluster: visit.cluster.as_deref(),
        start: visit.start.rfc3339(),
        end: visit.end.rfc3339(),
        accesses: visit.accesses,
        requests: visit.requests,
        denied: visit.denied,
        sessions: visit.sessions,
        privileged: visit.is_privileged,
        sources: &visit.sources,
        namespaces: &visit.namespaces,
        credentials: &visit.credentials,
        classes: &visit.classes,
    }
}

fn joined(texts: &BTreeSet<Arc<str>>) -> String {
    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
    texts.join(", ")
}

impl Answer for Visitors {
    fn json(&self) -> String {
        format!("{{\"visits\":[{}]}}", self.items().join(","))
    }

    fn items(&self) -> Vec<String> {
        self.visits.iter().map(|visit| json_of(&view(visit))).collect()
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn cells(&self, zone: &TimeZone, _: Format) -> Vec<Vec<String>> {
        let line = |visit: &Visit| {
            vec![
                shown_time(visit.start, zone),
                span(visit.end.since(visit.start)),
                shown_actor(visit.actor.as_deref(), visit.on_behalf_of.as_deref()),
                visit.cluster.as_deref().unwrap_or("").to_owned(),
                shown_number(visit.requests),
                shown_number(visit.denied),
                shown_number(visit.sessions),
                if visit.is_privileged { "yes" } else { "" }.to_owned(),
                joined(&visit.sources),
                joined(&visit.namespaces),
            ]
        };
        self.visits.iter().map(line).collect()
    }

    fn has_roll_ups(&self) -> bool {
        true
    }

    fn if_empty(&self) -> &'static str {
        "no visits in this time; `tripline coverage` says what was seen"
    }
}
