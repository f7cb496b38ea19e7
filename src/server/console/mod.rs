//! The console: pages for people with a browser, made here, of what the process knows and the ledger says.
//!
//! All that a page shows is in its address: filters, range, zone, order. Pages work without their script, which
//! only adds news, keys and copying. Values from events are text everywhere (`crate::html`).

pub(super) mod act;
pub(super) mod actor;
pub(super) mod alert;
pub(super) mod alerts;
mod asked;
pub(super) mod assets;
mod chart;
mod cover;
pub(super) mod coverage;
pub(super) mod event;
mod form;
mod frame;
mod lanes;
mod ledger;
mod link;
mod list;
pub(super) mod overview;
pub(super) mod permissions;
pub(super) mod reports;
pub(super) mod rule;
mod rule_record;
pub(super) mod rule_then;
pub(super) mod rules;
pub(super) mod sessions;
pub(super) mod silences;
pub(super) mod system;
pub(super) mod timeline;
mod usual;
mod view;
mod visit_line;
pub(super) mod visits;

pub(super) use view::View;

/// A page that says that whoever looks may not see another.
pub(super) fn barred(context: &View, problem: super::problem::Problem) -> axum::response::Response {
    frame::barred(context, problem)
}

/// A page that says that there is none.
pub(super) fn nowhere(context: &View) -> axum::response::Response {
    let hint = "The menu has all pages; a link of an earlier version may lead nowhere.";
    frame::missing(context, "/", "there is no such page", hint)
}
