//! The page on which a person says who they are, and what comes of it.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    Extension,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};

use super::{
    ServerContext,
    caller::Caller,
    console::assets::ASSETS,
    door::{Known, Shown, field, own, too_many},
    guard::Guard,
};
use crate::{telemetry::Refusal, web::Peer};

/// What the template shows.
#[derive(Template)]
#[template(path = "login.html", config = "src/html/askama.toml")]
struct LoginPage<'a> {
    css: &'a str,
    mark: &'a str,
    to: &'a str,
    problem: &'a str,
    has_tokens: bool,
    has_users: bool,
}

fn page(guard: &Guard, to: &str, problem: &str, status: StatusCode) -> Response {
    let ways = guard.door.ways();
    let has = |scheme: &str| ways.iter().any(|way| way.starts_with(scheme));
    let (has_tokens, has_users) = (has("Bearer"), has("Basic"));
    let (css, mark) = (&ASSETS.css, &ASSETS.mark);
    let page = LoginPage { css, mark, to: own(to), problem, has_tokens, has_users };
    (status, Html(page.render().expect("a page is written to memory"))).into_response()
}

/// `GET /login?to=/alerts`.
pub(super) async fn show(
    Extension(guard): Extension<Arc<Guard>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let to = query.get("to").map_or("/", String::as_str);
    page(&guard, to, "", StatusCode::OK)
}

/// `POST /login` with `user` and `password`, or with `bearer`; and `to`.
pub(super) async fn log_in(
    State(context): State<ServerContext>,
    Extension(guard): Extension<Arc<Guard>>,
    Extension(peer): Extension<Peer>,
    body: Bytes,
) -> Response {
    let get = |name: &str| field(&body, name).unwrap_or_default();
    let (to, bearer, user) = (get("to"), get("bearer"), get("user"));
    let shown = if bearer.is_empty() {
        Shown::password(&user, &get("password"))
    } else {
        Shown::token(bearer.trim())
    };
    let address = peer.address.to_string();
    match guard.door.by_shown(&shown, peer.address) {
        Known::Caller(caller) => match context.desk.logged(&caller, "logged in") {
            Ok(()) => with_cookie(Redirect::to(own(&to)), &guard.door.begin(&caller, shown)),
            Err(problem) => page(&guard, &to, &problem.message, problem.status),
        },
        Known::Blocked => {
            context.desk.unknown((&user, &address), "/login", "too many tries");
            guard.count(Refusal::Tries);
            let problem = too_many();
            page(&guard, &to, &format!("{}; {}", problem.message, problem.hint), problem.status)
        }
        Known::Wrong(_, why) => {
            context.desk.unknown((&user, &address), "/login", why);
            guard.count(Refusal::Unauthorized);
            page(&guard, &to, why, StatusCode::UNAUTHORIZED)
        }
        Known::Nobody => page(&guard, &to, "", StatusCode::UNAUTHORIZED),
    }
}

/// `POST /logout`.
pub(super) async fn log_out(
    State(context): State<ServerContext>,
    Extension(guard): Extension<Arc<Guard>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Response {
    if caller.has_session() {
        // Whoever goes, goes, recorded or not.
        drop(context.desk.logged(&caller, "logged out"));
    }
    with_cookie(Redirect::to("/login"), &guard.door.end(&headers))
}

fn with_cookie(redirect: Redirect, cookie: &str) -> Response {
    let mut answer = redirect.into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}
