//! `POST /api/v1/alerts/acts`, `/api/v1/silences` …: what people do, answered once it is durable.
//!
//! Whoever sends an act chooses an `id` for it; the same act again with the same id is done once, and another one
//! with it is refused. Without one, each request is an act of its own.

mod read;
mod view;

use std::time::Duration;

use axum::{
    Json,
    extract::{Extension, Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::json;
use tokio::sync::oneshot;

use super::{Caller, ServerContext, Way, problem::Problem, status::now};
use crate::engine::{
    act::{Act, Acted, Answer, DeedKind, Person, Refused, What, preview},
    alert::Fingerprint,
};
pub(super) use read::matchers as read_matchers;
use read::{Body, NewSilenceBody, PreviewBody, ResolveBody};

/// How long an act may wait for its checkpoint: 30 s.
const ACT_WAIT: Duration = Duration::from_secs(30);

/// Somebody does something.
#[derive(Debug)]
pub struct ActRequest {
    /// What.
    pub act: Act,
    /// Tells whoever asked, once it is durable, what came of it.
    pub reply: oneshot::Sender<Result<Answer, NotDone>>,
}

/// Why nobody can say what came of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDone {
    /// The store takes nothing: nothing was done.
    StoreDown,
    /// The store failed while the act was written: it is done once the store works, or not at all.
    StoreFailed,
    /// The store has not answered yet; otherwise the same.
    Slow,
    /// The process begins, ends, or has much to do: nothing was done.
    Busy,
}

impl From<NotDone> for Problem {
    fn from(why: NotDone) -> Problem {
        let (code, message, hint) = match why {
            NotDone::StoreDown => (
                "store_down",
                "the state cannot be written, so nothing was done",
                "see /readyz; send it again once the store works",
            ),
            NotDone::StoreFailed | NotDone::Slow => (
                "not_durable",
                "it is not written, and may be once the store works",
                "see /readyz; send it again with the same `id`: it is done once",
            ),
            NotDone::Busy => (
                "busy",
                "Tripline is busy, starting or stopping, so nothing was done",
                "send it again in a moment, with the same `id`",
            ),
        };
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, message, hint)
    }
}

impl From<Refused> for Problem {
    fn from(why: Refused) -> Problem {
        let (status, message, hint) = match why {
            Refused::AnotherAct => (
                StatusCode::CONFLICT,
                "another act was done that was sent with this `id`; this one is not done",
                "send it with an `id` of its own: a random UUID is good",
            ),
            Refused::UnknownAlert => (
                StatusCode::NOT_FOUND,
                "no such alert is known",
                "it never fired, or ended more than 7 days ago",
            ),
            Refused::AlertEnded => (
                StatusCode::CONFLICT,
                "the alert is over already",
                "only one that fires can be ended; say what else there is to say as a comment",
            ),
            Refused::TextTooLong => (
                StatusCode::BAD_REQUEST,
                "a text has at most 8,192 bytes, and a name 253",
                "say it in fewer words, or where the rest is",
            ),
            Refused::UnknownSilence => (
                StatusCode::NOT_FOUND,
                "there is no such silence",
                "GET /api/v1/silences lists them",
            ),
            Refused::SilenceEnded => (
                StatusCode::CONFLICT,
                "the silence is over already",
                "GET /api/v1/silences says who ended it",
            ),
            Refused::SilenceSpan => (
                StatusCode::BAD_REQUEST,
                "a silence ends after it begins, after now, and within 366 days",
                "write `ends_at` as 2026-11-30T08:00:00Z, or `for` as 2h",
            ),
            Refused::SilenceMatchers => (
                StatusCode::BAD_REQUEST,
                "a silence has 1 to 32 matchers, and not only such as match every alert",
                "name a label: `alertname=\"…\"`",
            ),
            Refused::TooManySilences => (
                StatusCode::CONFLICT,
                "1,000 silences run or are to come already",
                "end those that are not needed",
            ),
            Refused::TooManyAlerts => (
                StatusCode::BAD_REQUEST,
                "an act is about 1 to 1,000 alerts",
                "send several acts, each with its own `id`",
            ),
            Refused::TooManyDeeds => (
                StatusCode::CONFLICT,
                "too much was done about these alerts already",
                "write the rest where you keep your notes, and say where",
            ),
        };
        Problem::new(status, why.as_str(), message, hint)
    }
}

/// Hands an act over, and waits until it is durable.
///
/// # Errors
/// If it was refused, or nobody knows what came of it.
pub(super) async fn carry_out(context: &ServerContext, act: Act) -> Result<Acted, Problem> {
    let (reply, done) = oneshot::channel();
    if context.acts.try_send(ActRequest { act, reply }).is_err() {
        return Err(NotDone::Busy.into());
    }
    match tokio::time::timeout(ACT_WAIT, done).await {
        Ok(Ok(Ok(answer))) => Ok(answer?),
        Ok(Ok(Err(why))) => Err(why.into()),
        // It ends, and what it has not written is not done: unless it was writing it just then.
        Ok(Err(_)) => Err(NotDone::StoreFailed.into()),
        Err(_) => Err(NotDone::Slow.into()),
    }
}

/// Who asks, as acts have it. `claimed` is who they say they are: it counts only where nobody is asked.
pub(super) fn person(caller: &Caller, claimed: Option<&str>) -> Person {
    let name = match (caller.way, claimed) {
        (Way::Local, Some(claimed)) => claimed,
        _ => &caller.name,
    };
    Person::new(name, &caller.roles_text(), &caller.address.to_string())
}

/// A body as it came.
type Received<T> = Result<Json<T>, axum::extract::rejection::JsonRejection>;

async fn answer(context: &ServerContext, act: Result<Act, Problem>) -> Response {
    let acted = match act {
        Ok(act) => carry_out(context, act).await,
        Err(problem) => Err(problem),
    };
    match acted {
        Ok(acted) => Json(view::acted(&acted)).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// `POST /api/v1/alerts/acts`.
pub(super) async fn act(
    State(context): State<ServerContext>,
    Extension(caller): Extension<Caller>,
    body: Received<Body>,
) -> Response {
    let act = read::body(body).and_then(|body| body.act(|by| person(&caller, by)));
    answer(&context, act).await
}

/// `POST /api/v1/alerts/FINGERPRINT/resolve` with `{"by": "…", "why": "…"}`: as before there were other acts. That it is
/// done is answered as then, with a text.
pub(super) async fn resolve(
    State(context): State<ServerContext>,
    Extension(caller): Extension<Caller>,
    Path(fingerprint): Path<String>,
    body: Received<ResolveBody>,
) -> Response {
    let act = read::body(body).and_then(|body| body.act(&fingerprint, |by| person(&caller, by)));
    let acted = match act {
        Ok(act) => carry_out(&context, act).await,
        Err(problem) => Err(problem),
    };
    match acted {
        Ok(_) => "resolved\n".into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// `GET /api/v1/alerts/acts`: what people did about all alerts that are remembered, those that fire first.
pub(super) async fn acts(State(context): State<ServerContext>) -> Response {
    let mut episodes = context.status.episodes();
    episodes.retain(|episode| !episode.deeds.is_empty() || !episode.hidden_by.is_empty());
    episodes.sort_by_key(|one| (!one.is_firing(), std::cmp::Reverse(one.began), one.key));
    let views: Vec<_> = episodes.iter().map(|episode| view::episode(episode)).collect();
    Json(json!({ "alerts": views })).into_response()
}

/// `GET /api/v1/alerts/FINGERPRINT/acts`.
pub(super) async fn acts_of(
    State(context): State<ServerContext>,
    Path(fingerprint): Path<String>,
) -> Response {
    let Ok(fingerprint) = fingerprint.parse::<Fingerprint>() else {
        return read::no_fingerprint(&fingerprint).into_response();
    };
    match context.status.acts(fingerprint) {
        Some(episode) => Json(view::episode(&episode)).into_response(),
        None => Problem::from(Refused::UnknownAlert).into_response(),
    }
}

/// `GET /api/v1/silences`: those that run first, then those to come, then those that are over.
pub(super) async fn silences(State(context): State<ServerContext>) -> Response {
    let mut silences = context.status.silences();
    silences.sort_by_key(|one| (view::order(one.phase), one.ends_at, one.id));
    let views: Vec<_> = silences.iter().map(|silence| view::silence(silence)).collect();
    Json(json!({ "silences": views })).into_response()
}

/// `POST /api/v1/silences`.
pub(super) async fn add_silence(
    State(context): State<ServerContext>,
    Extension(caller): Extension<Caller>,
    body: Received<NewSilenceBody>,
) -> Response {
    let act = read::body(body).and_then(|body| body.act(|by| person(&caller, by)));
    answer(&context, act).await
}

/// `POST /api/v1/silences/ID/end`.
pub(super) async fn end_silence(
    State(context): State<ServerContext>,
    Extension(caller): Extension<Caller>,
    Path(silence): Path<String>,
    body: Received<read::EndBody>,
) -> Response {
    let act = read::body(body).and_then(|body| body.act(&silence, |by| person(&caller, by)));
    answer(&context, act).await
}

/// `POST /api/v1/silences/preview`: what a silence with these matchers would hide, now and in the last 24 hours.
pub(super) async fn preview_silence(
    State(context): State<ServerContext>,
    body: Received<PreviewBody>,
) -> Response {
    let matchers = read::body(body).and_then(|body| read::matchers(&body.matchers));
    match matchers {
        Ok(matchers) => {
            let episodes = context.status.episodes();
            let preview = preview(now(), &matchers, episodes.iter());
            Json(view::preview(&preview)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}
