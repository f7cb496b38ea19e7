//! The console: pages for people with a browser, made here, of what the process knows and the ledger says.
//!
//! All that a page shows is in its address: filters, range, zone, order. Pages work without their script, which
//! only adds news, keys and copying. Values from events are text everywhere (`crate::html`).

mod actor;
mod alert;
mod alerts;
mod asked;
mod assets;
mod chart;
mod cover;
mod coverage;
mod frame;
mod lanes;
mod ledger;
mod link;
mod list;
mod overview;
mod row;
mod rules;
mod sessions;
mod system;
mod timeline;
mod usual;
mod visit_line;
mod visits;

use axum::{Router, routing::get};

use super::ServerContext;

/// The pages.
pub(super) fn routes() -> Router<ServerContext> {
    Router::new()
        .route("/", get(overview::page))
        .route("/alerts", get(alerts::page))
        .route("/alerts/{fingerprint}", get(alert::latest))
        .route("/alerts/{fingerprint}/{start}", get(alert::page))
        .route("/actor", get(actor::page))
        .route("/object", get(timeline::object))
        .route("/timeline", get(timeline::page))
        .route("/who", get(timeline::who))
        .route("/visits", get(visits::page))
        .route("/visit", get(visits::one))
        .route("/sessions", get(sessions::page))
        .route("/session", get(sessions::one))
        .route("/coverage", get(coverage::page))
        .route("/rules", get(rules::page))
        .route("/rule", get(rules::one))
        .route("/sources", get(system::sources))
        .route("/delivery", get(system::delivery))
        .route("/ledger", get(system::ledger))
        .route("/settings", get(system::settings))
        .route("/static/{name}", get(assets::serve))
}
