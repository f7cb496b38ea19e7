//! `/visits`: who was there, from when to when, and how much they did; `/visit`: one of them.

use std::collections::BTreeSet;

use askama::Template;
use axum::{Extension, http::Uri, response::Response};

use super::{
    super::caller::Caller,
    asked::Asked,
    cover::{Hours, hours, unknown},
    frame::{Frame, missing, refuse, seen, show},
    lanes::{Lanes, Line},
    ledger::{Trouble, ask, ask_named, rows},
    link::Link,
    view::View,
    visit_line::VisitLine,
};
use crate::{
    archive::{Filter, Reader},
    ask::{Parameter, ParameterKind, begun::ends_of, visits},
    engine::{
        access::{Access, VISIT_PAUSE, Visit, Visits},
        ledger::Row,
        text::span,
        time::EventTime,
    },
};

/// Visits of a page: 250, those of administrators first.
const VISITS_SHOWN: usize = 250;

/// Accesses of one visit: 2,000.
const ROWS_SHOWN: usize = 2_000;

/// How long one visit is looked for: 2 days.
const VISIT_MAX: std::time::Duration = std::time::Duration::from_secs(2 * 86_400);

#[derive(Template)]
#[template(path = "console/visits.html", config = "src/html/askama.toml")]
struct VisitsPage {
    frame: Frame,
    visits: Vec<VisitLine>,
    total: usize,
    actor: String,
    cluster: String,
    has_machines: bool,
    /// As it was asked for, and in words.
    pause: (String, String),
    troubles: Vec<Trouble>,
}

pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let read = Asked::read(&uri, visits::QUESTION.parameters, "24h").and_then(|asked| {
        let question = visits::Question::read(&asked.params, asked.now.as_event())?;
        Ok((asked, question))
    });
    let (asked, question) = match read {
        Ok(read) => read,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let (has_machines, pause) = (question.machines, span(question.pause));
    let find = move |reader: &Reader| visits::ask(reader, &question);
    let answer = ask_named(&context, &asked.params, find, |found| found.visits.is_empty()).await;
    let visits = answer.found.visits;
    if let Err(answer) = seen(&context, &caller, &asked, visits.len()) {
        return *answer;
    }
    let page = VisitsPage {
        total: visits.len(),
        visits: visits
            .iter()
            .take(VISITS_SHOWN)
            .map(|visit| VisitLine::new(&asked, visit))
            .collect(),
        actor: asked.get("actor").unwrap_or_default().to_owned(),
        cluster: asked.get("cluster").unwrap_or_default().to_owned(),
        has_machines,
        pause: (asked.get("pause").unwrap_or_default().to_owned(), pause),
        troubles: answer.troubles,
        frame: Frame::new(&context, asked, "/visits", "Visits"),
    };
    show(&page)
}

const PARAMETERS: &[Parameter] = &[
    Parameter::text("actor", "Who."),
    Parameter::text("on_behalf_of", "Who acted as them."),
    Parameter::text("cluster", "In which cluster."),
    Parameter::of(ParameterKind::Time, "start", "When it began.").required(),
    Parameter::of(ParameterKind::Span, "pause", "The pause that ends it: 15m."),
];

#[derive(Template)]
#[template(path = "console/visit.html", config = "src/html/askama.toml")]
struct VisitPage {
    frame: Frame,
    actor: Option<(String, Link)>,
    line: VisitLine,
    ended: super::asked::When,
    lasted: String,
    classes: Vec<(String, u64)>,
    credentials: Vec<(String, Link)>,
    lanes: Lanes,
    lines: Vec<Line>,
    troubles: Vec<Trouble>,
}

#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    /// Ids of the rows that only tell how a request ended which another row stands for.
    ends: BTreeSet<u64>,
    hours: Hours,
}

/// One visit: what its actor did without a long pause.
pub(in crate::server) async fn one(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let read = Asked::read(&uri, &[PARAMETERS], "24h").and_then(|asked| {
        let pause = asked.params.span("pause")?.unwrap_or(VISIT_PAUSE);
        Ok((asked, pause))
    });
    let (asked, pause) = match read {
        Ok(read) => read,
        Err(mistake) => return refuse(&context, "/visits", mistake),
    };
    let nowhere = || {
        let hint = "Its month may be deleted. Choose one from the list.";
        missing(&context, "/visits", "there is no such visit", hint)
    };
    let Some(start) = asked.get("start").and_then(EventTime::parse) else { return nowhere() };
    let range = (start, start.plus(VISIT_MAX));
    let actor = asked.get("actor").map(str::to_owned);
    let really = asked.get("on_behalf_of").map(str::to_owned);
    let (of, cluster) = (actor.clone(), asked.get("cluster").map(str::to_owned));
    let answer = ask(&context, move |reader| {
        let mut filters: Vec<Filter> = of.clone().map(Filter::Actor).into_iter().collect();
        filters.extend(cluster.clone().map(Filter::Cluster));
        filters.push(Filter::Accesses);
        let mut rows = rows(reader, filters, range, ROWS_SHOWN)?.rows;
        let is_of = |access: &Access| is_of(access, [&of, &really, &cluster]);
        // A roll-up that began before it and goes on into it is not of it, as the list has it: the list may begin here, too.
        rows.retain(|row| row.at() >= start && row.access().is_some_and(is_of));
        let ends = ends_of(reader, &rows)?;
        Ok(Found { rows, ends, hours: hours(reader, range)? })
    })
    .await;
    let mut visits = Visits::new(pause);
    for row in &answer.found.rows {
        if let Some(access) = row.access() {
            visits.add(access, !answer.found.ends.contains(&row.id));
        }
    }
    let visits = visits.finish();
    let Some(visit) = visits.first().filter(|visit| visit.start == start) else { return nowhere() };
    if let Err(answer) = seen(&context, &caller, &asked, answer.found.rows.len()) {
        return *answer;
    }
    let page = VisitPage::new(&context, asked, visit, &answer.found, answer.troubles);
    show(&page)
}

/// Whether an access belongs to a visit: of exactly this actor, on exactly this caller's behalf, in exactly this cluster.
fn is_of(access: &Access, wanted: [&Option<String>; 3]) -> bool {
    let known = [&access.actor.id, &access.on_behalf_of, &access.cluster];
    known.into_iter().zip(wanted).all(|(known, wanted)| known.as_deref() == wanted.as_deref())
}

impl VisitPage {
    fn new(
        context: &View,
        asked: Asked,
        visit: &Visit,
        found: &Found,
        troubles: Vec<Trouble>,
    ) -> VisitPage {
        let accesses = || {
            let all = found.rows.iter().filter_map(Row::access);
            all.filter(|access| access.at <= visit.end)
        };
        let margin = (visit.end.since(visit.start) / 20).max(std::time::Duration::from_secs(60));
        let range = (visit.start.minus(margin), visit.end.plus(margin));
        let unknown = unknown(&asked, range, &found.hours, context.status.read().watermark);
        VisitPage {
            actor: asked.who(visit.actor.as_ref(), visit.on_behalf_of.as_ref()),
            line: VisitLine::new(&asked, visit),
            ended: asked.when(visit.end),
            lasted: span(visit.end.since(visit.start)),
            classes: visit
                .classes
                .iter()
                .map(|(class, count)| (class.to_string(), *count))
                .collect(),
            credentials: visit
                .credentials
                .iter()
                .map(|id| (id.to_string(), asked.link("/timeline").with("credential", id)))
                .collect(),
            lanes: Lanes::new(&asked, range, accesses(), &unknown, None),
            lines: Line::all(&asked, accesses()),
            troubles,
            frame: Frame::new(context, asked, "/visits", "Visit"),
        }
    }
}
