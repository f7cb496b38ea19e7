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
mod frame;
mod lanes;
mod ledger;
mod link;
mod list;
mod overview;
mod row;
mod usual;
mod visit_line;

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
        .route("/static/{name}", get(assets::serve))
}
