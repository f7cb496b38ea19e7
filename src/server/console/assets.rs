//! What pages load besides themselves: style, script and mark, built into the binary. Their names hold a hash
//! of what they are, so that a browser may keep them for good.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::engine::{digest::Digest, ledger::hex_of};

const CSS: &str = include_str!("../../html/console/app.css");
const JS: &str = include_str!("../../html/console/app.js");
const MARK: &str = include_str!("../../html/console/mark.svg");

/// Where they are: paths with their hashes.
pub(in crate::server) struct Assets {
    /// The style of all pages.
    pub(in crate::server) css: String,
    /// Live news, keys, copying.
    pub(super) js: String,
    /// The mark in a browser's tab.
    pub(in crate::server) mark: String,
}

/// The paths of this build.
pub(in crate::server) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    css: format!("/static/app-{}.css", hash(CSS)),
    js: format!("/static/app-{}.js", hash(JS)),
    mark: format!("/static/mark-{}.svg", hash(MARK)),
});

/// The first 12 digits: enough to tell builds apart.
fn hash(text: &str) -> String {
    hex_of(&Digest::of([text]).first::<6>())
}

/// `GET /static/NAME`.
pub(in crate::server) async fn serve(Path(name): Path<String>) -> Response {
    let path = format!("/static/{name}");
    let (text, kind) = if path == ASSETS.css {
        (CSS, "text/css; charset=utf-8")
    } else if path == ASSETS.js {
        (JS, "text/javascript; charset=utf-8")
    } else if path == ASSETS.mark {
        (MARK, "image/svg+xml")
    } else {
        return (StatusCode::NOT_FOUND, "no such file; reload the page\n").into_response();
    };
    let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
    let kind = HeaderValue::from_static(kind);
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], text).into_response()
}
