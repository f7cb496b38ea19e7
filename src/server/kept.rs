//! What is answered to a form whose sender is not known any more: the session ended meanwhile, or the form is of
//! another one. Nothing is done, and what was written is shown, so that it is not lost.

use askama::Template;
use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};

use super::{
    console::assets::ASSETS,
    door::{is_form, login_path},
    problem::Problem,
};

/// Fields in which people write, and what they call them.
const WRITTEN: [(&str, &str); 6] = [
    ("text", "Text"),
    ("why", "Why"),
    ("reason", "Reason"),
    ("matcher", "Matchers"),
    ("to", "To"),
    ("verdict", "Verdict"),
];

/// Where a form came from, if that is a page of ours.
const BACK: &str = "back";

#[derive(Template)]
#[template(path = "kept.html", config = "src/html/askama.toml")]
struct KeptPage {
    css: &'static str,
    problem: Problem,
    /// Where to log in; `None` if somebody is known.
    login: Option<String>,
    /// What was written, by lines.
    fields: Vec<(&'static str, Vec<String>)>,
}

/// Whether a person sent a form with a browser, other than the one by which they log in.
pub(super) fn is_sent_by_browser(path: &str, headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let wants_page = accept.is_some_and(|kinds| kinds.contains("text/html"));
    let is_other = path == "/login" || path == "/logout" || path.starts_with("/api/");
    wants_page && is_form(headers) && !is_other
}

/// The page.
pub(super) fn page(status: StatusCode, problem: Problem, body: &[u8]) -> Response {
    let sent: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let of = |name: &str| {
        let values = sent.iter().filter(|(known, value)| known == name && !value.trim().is_empty());
        values.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("\n")
    };
    let fields = WRITTEN.map(|(name, words)| (words, of(name)));
    let login = (status == StatusCode::UNAUTHORIZED).then(|| login_path(&of(BACK)));
    let fields = fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(words, value)| (words, value.lines().map(str::to_owned).collect()))
        .collect();
    let page = KeptPage { css: &ASSETS.css, problem, login, fields };
    (status, Html(page.render().expect("a page is written to memory"))).into_response()
}
