//! `/sessions`: exec, attach, port-forward and proxy; `/session`: one of them, with what its actor did meanwhile.

use std::time::Duration;

use askama::Template;
use axum::{Extension, http::Uri, response::Response};

use super::{
    super::caller::Caller,
    asked::{Asked, When},
    cover::{Hours, hours, unknown},
    frame::{Frame, missing, refuse, seen, show},
    lanes::{Lanes, Line},
    ledger::{Trouble, ask, ask_named, rows},
    link::Link,
    view::View,
};
use crate::{
    archive::{Filter, Reader},
    ask::{AskError, Parameter, ParameterKind, sessions},
    engine::{
        access::{Access, Session, Sessions},
        ledger::{Row, hex_of},
        text::span,
        time::EventTime,
    },
};

/// Sessions of a page: 300, the latest.
const SESSIONS_SHOWN: usize = 300;

/// How far around a session the page looks: 15 min.
const AROUND: Duration = Duration::from_secs(900);

/// How long the end of a session is looked for: 2 days.
const LASTS_MAX: Duration = Duration::from_secs(2 * 86_400);

/// Accesses around it: 2,000.
const ROWS_SHOWN: usize = 2_000;

/// One session as a line.
struct SessionLine {
    start: When,
    lasted: String,
    state: &'static str,
    actor: Option<(String, Link)>,
    source: String,
    cluster: String,
    namespace: String,
    object: String,
    command: String,
    attempts: u64,
    link: Link,
}

impl SessionLine {
    fn new(asked: &Asked, session: &Session) -> SessionLine {
        let object = session.object.as_ref();
        let text = |text: Option<&std::sync::Arc<str>>| text.map_or("", |text| text).to_owned();
        // Its page looks from here on, so far that it finds one row of it at least.
        let at = session.end.filter(|end| end.since(session.at()) >= LASTS_MAX);
        let mut link = asked
            .link("/session")
            .with("request", &hex_of(&session.request))
            .with("at", &at.unwrap_or(session.at()).rfc3339());
        if let Some(actor) = &session.actor {
            link = link.with("actor", actor);
        }
        SessionLine {
            start: asked.when(session.at()),
            lasted: session.duration.map_or_else(String::new, span),
            state: session.state(),
            actor: asked.who(session.actor.as_ref(), session.on_behalf_of.as_ref()),
            cluster: text(session.cluster.as_ref()),
            source: text(session.source_ip.as_ref()),
            namespace: text(object.and_then(|object| object.namespace.as_ref())),
            object: sessions::object_words(session),
            command: sessions::command_words(session, &asked.zone),
            attempts: if session.rolled_up.is_some() { 1 } else { session.attempts },
            link,
        }
    }
}

#[derive(Template)]
#[template(path = "console/sessions.html", config = "src/html/askama.toml")]
struct SessionsPage {
    frame: Frame,
    lines: Vec<SessionLine>,
    /// Whether they are of several clusters.
    has_clusters: bool,
    total: u64,
    is_cut: bool,
    actor: String,
    namespace: String,
    pod: String,
    is_running: bool,
    troubles: Vec<Trouble>,
}

pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let read = Asked::read(&uri, sessions::QUESTION.parameters, "24h").and_then(|asked| {
        let question = sessions::Question::read(&asked.params, asked.now.as_event())?;
        Ok((asked, question))
    });
    let (asked, question) = match read {
        Ok(read) => read,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let is_running = question.running;
    let find = move |reader: &Reader| sessions::ask(reader, &question);
    let answer = ask_named(&context, &asked.params, find, |found| found.sessions.is_empty()).await;
    let found = answer.found.sessions;
    let text = |name: &str| asked.get(name).unwrap_or_default().to_owned();
    if let Err(answer) = seen(&context, &caller, &asked, found.len()) {
        return *answer;
    }
    let page = SessionsPage {
        has_clusters: found
            .iter()
            .any(|one| Some(&one.cluster) != found.first().map(|first| &first.cluster)),
        total: found.iter().map(Session::count).sum(),
        is_cut: found.len() > SESSIONS_SHOWN,
        lines: found
            .iter()
            .rev()
            .take(SESSIONS_SHOWN)
            .map(|session| SessionLine::new(&asked, session))
            .collect(),
        actor: text("actor"),
        namespace: text("namespace"),
        pod: text("pod"),
        is_running,
        troubles: answer.troubles,
        frame: Frame::new(&context, asked, "/sessions", "Sessions"),
    };
    show(&page)
}

const PARAMETERS: &[Parameter] = &[
    Parameter::text("request", "Which request it was.").required(),
    Parameter::of(ParameterKind::Time, "at", "When it was heard of first.").required(),
    Parameter::text("actor", "Who."),
];

#[derive(Template)]
#[template(path = "console/session.html", config = "src/html/askama.toml")]
struct SessionPage {
    frame: Frame,
    line: SessionLine,
    facts: Vec<(&'static str, String)>,
    ended: Option<When>,
    lanes: Lanes,
    lines: Vec<Line>,
    troubles: Vec<Trouble>,
}

#[derive(Default)]
struct Found {
    session: Option<Session>,
    rows: Vec<Row>,
    hours: Hours,
}

/// The session of a request, which these rows tell of; how it ended, wherever its end is.
fn session_of(reader: &Reader, rows: &[Row], request: &str) -> Result<Option<Session>, AskError> {
    let is_wanted = |session: &Session| hex_of(&session.request) == request;
    let mut all = Sessions::default();
    for access in rows.iter().filter_map(Row::access) {
        all.add(access);
    }
    let Some(session) = all.finish().into_iter().find(is_wanted) else { return Ok(None) };
    if session.state() != "opened" {
        return Ok(Some(session));
    }
    let mut alone = Sessions::default();
    let is_its = |access: &&Access| access.request == session.request;
    for access in rows.iter().filter_map(Row::access).filter(is_its) {
        alone.add(access);
    }
    sessions::add_ends(reader, session.at(), &mut alone)?;
    Ok(alone.finish().into_iter().next())
}

/// One session.
pub(in crate::server) async fn one(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let asked = match Asked::read(&uri, &[PARAMETERS], "24h") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/sessions", mistake),
    };
    let nowhere = || {
        let hint = "Its month may be deleted. Choose one from the list.";
        missing(&context, "/sessions", "there is no such session", hint)
    };
    let Some(at) = asked.get("at").and_then(EventTime::parse) else { return nowhere() };
    let range = (at.minus(AROUND), at.plus(LASTS_MAX));
    let actor = asked.get("actor").map(str::to_owned);
    let request = asked.get("request").unwrap_or_default().to_owned();
    let answer = ask(&context, move |reader| {
        let mut filters: Vec<Filter> = actor.map(Filter::Actor).into_iter().collect();
        filters.push(Filter::Accesses);
        let rows = rows(reader, filters, range, ROWS_SHOWN)?.rows;
        let session = session_of(reader, &rows, &request)?;
        Ok(Found { session, rows, hours: hours(reader, range)? })
    })
    .await;
    let Some(session) = &answer.found.session else { return nowhere() };
    if let Err(answer) = seen(&context, &caller, &asked, answer.found.rows.len()) {
        return *answer;
    }
    let page = SessionPage::new(&context, asked.clone(), session, &answer.found, answer.troubles);
    show(&page)
}

impl SessionPage {
    fn new(
        context: &View,
        asked: Asked,
        session: &Session,
        found: &Found,
        troubles: Vec<Trouble>,
    ) -> SessionPage {
        let begin = session.at();
        let last = session.rolled_up.map(|rolled_up| rolled_up.last);
        let end = session.end.or(last).unwrap_or(asked.now.as_event()).min(begin.plus(LASTS_MAX));
        let range = (begin.minus(AROUND), end.plus(AROUND));
        let accesses = || {
            let all = found.rows.iter().filter_map(Row::access);
            all.filter(|access: &&Access| access.at >= range.0 && access.at <= range.1)
        };
        let unknown = unknown(&asked, range, &found.hours, context.status.read().watermark);
        let during = (begin, end, "the session".to_owned());
        let line = SessionLine::new(&asked, session);
        let mut facts: Vec<(&'static str, String)> = Vec::new();
        let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
        for (name, value) in [
            ("really", text(&session.on_behalf_of)),
            ("from", text(&session.source_ip)),
            ("cluster", text(&session.cluster)),
            ("command", Some(sessions::command_words(session, &asked.zone))),
            ("status", session.code.map(|code| code.to_string())),
            ("tries", (line.attempts > 1).then(|| line.attempts.to_string())),
        ] {
            facts.extend(value.filter(|value| !value.is_empty()).map(|value| (name, value)));
        }
        SessionPage {
            line,
            facts,
            ended: session.end.map(|end| asked.when(end)),
            lanes: Lanes::new(&asked, range, accesses(), &unknown, Some(during)),
            lines: Line::all(&asked, accesses()),
            troubles,
            frame: Frame::new(context, asked, "/sessions", "Session"),
        }
    }
}
