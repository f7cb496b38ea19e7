//! Exec, attach, port-forward and proxy, running and ended.

use std::{collections::BTreeMap, time::Duration};

use jiff::tz::TimeZone;
use serde::Serialize;

use super::{
    Answer, AskError, Asked, CLUSTER, Format, Mistake, PERIOD, Parameter, ParameterKind, Params,
    Period, QuestionKind, all_of, answer::json_of, check_known, each, of_cluster, shown_time,
};
use crate::{
    archive::{Filter, Query, Reader},
    engine::{
        access::{Access, Outcome, Session, SessionStep, Sessions, shown_actor},
        ledger::hex_of,
        text::{counted, span},
        time::EventTime,
    },
};

/// How long before a time what was opened is looked for, as it may still be open in it: 12 h, three times as long as a
/// kubelet holds a stream on which nothing moves (`streamingConnectionIdleTimeout`, 4 h).
const OPENED_BEFORE: Duration = Duration::from_hours(12);

/// By which name it is asked.
pub const QUESTION: QuestionKind = QuestionKind {
    name: "sessions",
    about: "Who entered what, with which command, for how long: what was open at some moment of the time, as far as it \
            began in it or in the 12 hours before, or ended in it. What has no end in the log, be it behind that time, \
            is `opened`. Sessions of somebody who opens thousands an hour are `rolled_up`: how many, by whom and where.",
    parameters: &[PARAMETERS, CLUSTER, PERIOD],
    ask: |reader, params, now| {
        let question = Question::read(params, now)?;
        let answer = Box::new(ask(reader, &question)?);
        Ok(Asked { answer, period: question.period })
    },
};

const PARAMETERS: &[Parameter] = &[
    Parameter::text("actor", "Of one actor."),
    Parameter::text("namespace", "In one namespace."),
    Parameter::text("pod", "In one pod."),
    Parameter::of(
        ParameterKind::Flag,
        "running",
        "Only those without an end; of those that are rolled up it is not told.",
    ),
];

const COLUMNS: [&str; 9] =
    ["start", "lasted", "state", "actor", "from", "cluster", "namespace", "object", "command"];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which time.
    pub period: Period,
    /// Of one actor.
    pub actor: Option<String>,
    /// In one pod.
    pub pod: Option<String>,
    /// Only those without an end.
    pub running: bool,
    /// What else rows must be.
    pub filters: Vec<Filter>,
}

/// Sessions, in the order in which they were heard of.
#[derive(Clone, Debug, Default)]
pub struct Entered {
    /// The sessions.
    pub sessions: Vec<Session>,
}

impl Question {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn read(params: &Params, now: EventTime) -> Result<Question, Mistake> {
        let namespace = params.owned("namespace").map(Filter::Namespace);
        Ok(Question {
            period: Period::read(params, now, "24h")?,
            actor: params.owned("actor"),
            pod: params.owned("pod"),
            running: params.flag("running")?,
            filters: namespace.into_iter().chain(of_cluster(params)).collect(),
        })
    }
}

/// Answers.
///
/// # Errors
/// An actor that no row has, more rows than are added up, or a ledger that cannot be read.
pub fn ask(reader: &Reader, question: &Question) -> Result<Entered, AskError> {
    let mut filters = Vec::new();
    if let Some(actor) = &question.actor {
        check_known(reader, &["actor", "behalf"], "actor", actor)?;
        filters.push(Filter::Actor(actor.clone()));
    }
    filters.extend(question.filters.iter().cloned());
    filters.push(Filter::Sessions);
    let from = question.period.from;
    let query = all_of(filters, &question.period);
    let mut sessions = Sessions::default();
    each(reader, Query { from: from.minus(OPENED_BEFORE), ..query }, |row| {
        if let Some(access) = row.access() {
            sessions.add(access);
        }
    })?;
    add_ends(reader, question.period.to, &mut sessions)?;
    let fits = |session: &Session| {
        let name = session.object.as_ref().and_then(|object| object.name.as_deref());
        // It may be among several whose names are left out.
        let is_in = |pod: &str| name.map_or(session.rolled_up.is_some(), |name| name == pod);
        session.is_of(from)
            && (!question.running || session.state() == "opened")
            && question.pod.as_deref().is_none_or(is_in)
    };
    Ok(Entered { sessions: sessions.finish().into_iter().filter(fits).collect() })
}

/// What was opened in the 12 hours before a time, in a cluster if one is named, and not closed before it.
///
/// # Errors
/// More rows than are added up, or a ledger that cannot be read.
pub fn open_at(
    reader: &Reader,
    time: EventTime,
    cluster: Option<&str>,
) -> Result<Vec<Access>, AskError> {
    let mut filters = vec![Filter::Sessions];
    filters.extend(cluster.map(|cluster| Filter::Cluster(cluster.to_owned())));
    let (from, to) = (time.minus(OPENED_BEFORE), time);
    let mut open: BTreeMap<[u8; 16], Access> = BTreeMap::new();
    each(reader, Query { filters, from, to, after: None, limit: 0 }, |row| {
        let Some(access) = row.access() else { return };
        if access.session == Some(SessionStep::Start) || access.last() >= time {
            open.insert(access.request, access.clone());
        } else {
            open.remove(&access.request);
        }
    })?;
    Ok(open.into_values().collect())
}

/// Adds the ends, from a time on, of sessions that have none yet. Cost: a look into an index for each object that somebody
/// entered.
///
/// # Errors
/// More rows than are added up, or a ledger that cannot be read.
pub fn add_ends(reader: &Reader, from: EventTime, sessions: &mut Sessions) -> Result<(), AskError> {
    for object in sessions.entered() {
        let text = |text: Option<&std::sync::Arc<str>>| text.map(ToString::to_string);
        let object = Filter::Object {
            resource: object.resource.to_string(),
            namespace: text(object.namespace.as_ref()),
            name: text(object.name.as_ref()),
        };
        let filters = vec![object, Filter::Sessions];
        let to = EventTime::MAX;
        each(reader, Query { filters, from, to, after: None, limit: 0 }, |row| {
            if let Some(access) = row.access() {
                sessions.add_later(access);
            }
        })?;
    }
    Ok(())
}

/// A session as JSON.
#[derive(Serialize)]
struct View<'a> {
    request: String,
    state: &'static str,
    actor: Option<&'a str>,
    on_behalf_of: Option<&'a str>,
    cluster: Option<&'a str>,
    source_ip: Option<&'a str>,
    resource: Option<&'a str>,
    subresource: Option<&'a str>,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    command: Option<&'a str>,
    start: Option<String>,
    end: Option<String>,
    seconds: Option<f64>,
    outcome: Option<Outcome>,
    code: Option<u16>,
    attempts: u64,
    count: u64,
    last: Option<String>,
}

fn view(session: &Session) -> View<'_> {
    let object = session.object.as_ref();
    View {
        request: hex_of(&session.request),
        state: session.state(),
        actor: session.actor.as_deref(),
        on_behalf_of: session.on_behalf_of.as_deref(),
        cluster: session.cluster.as_deref(),
        source_ip: session.source_ip.as_deref(),
        resource: object.map(|object| &*object.resource),
        subresource: object.and_then(|object| object.subresource.as_deref()),
        namespace: object.and_then(|object| object.namespace.as_deref()),
        name: object.and_then(|object| object.name.as_deref()),
        command: session.command.as_deref(),
        start: session.start.map(EventTime::rfc3339),
        end: session.end.map(EventTime::rfc3339),
        seconds: session.duration.map(|duration| duration.as_secs_f64()),
        outcome: session.outcome,
        code: session.code,
        attempts: session.attempts,
        count: session.count(),
        last: session.rolled_up.map(|rolled_up| rolled_up.last.rfc3339()),
    }
}

/// What it was in; of several whose names are left out `…` in their place.
pub fn object_words(session: &Session) -> String {
    session.object.as_ref().map_or_else(String::new, |object| {
        let below = object.subresource.as_deref().unwrap_or("");
        let unnamed = if session.rolled_up.is_some() { "…" } else { "" };
        format!("{}/{} {below}", object.resource, object.name.as_deref().unwrap_or(unnamed))
    })
}

/// What was run; of several sessions how many they are.
pub fn command_words(session: &Session, zone: &TimeZone) -> String {
    let Some(rolled_up) = session.rolled_up else {
        return session.command.clone().unwrap_or_default();
    };
    let is_named = session.object.as_ref().is_some_and(|object| object.name.is_some());
    let left_out = if is_named { "" } else { "; names and commands were left out" };
    let (many, last) = (counted(rolled_up.count, "session"), shown_time(rolled_up.last, zone));
    format!("[{many}, the last at {last}{left_out}]")
}

fn cells(session: &Session, zone: &TimeZone) -> Vec<String> {
    let object = session.object.as_ref();
    let text = |text: Option<&str>| text.unwrap_or("").to_owned();
    vec![
        shown_time(session.at(), zone),
        session.duration.map_or_else(String::new, span),
        session.state().to_owned(),
        shown_actor(session.actor.as_deref(), session.on_behalf_of.as_deref()),
        text(session.source_ip.as_deref()),
        text(session.cluster.as_deref()),
        text(object.and_then(|object| object.namespace.as_deref())),
        object_words(session),
        command_words(session, zone),
    ]
}

impl Answer for Entered {
    fn json(&self) -> String {
        format!("{{\"sessions\":[{}]}}", self.items().join(","))
    }

    fn items(&self) -> Vec<String> {
        self.sessions.iter().map(|session| json_of(&view(session))).collect()
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn cells(&self, zone: &TimeZone, _: Format) -> Vec<Vec<String>> {
        self.sessions.iter().map(|session| cells(session, zone)).collect()
    }

    fn if_empty(&self) -> &'static str {
        "no sessions in this time; `tripline coverage` says what was seen"
    }
}
