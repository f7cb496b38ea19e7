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
mod form;
mod frame;
mod lanes;
mod ledger;
mod link;
mod list;
pub(super) mod overview;
pub(super) mod permissions;
mod row;
pub(super) mod rules;
pub(super) mod sessions;
pub(super) mod silences;
pub(super) mod system;
pub(super) mod timeline;
mod usual;
mod visit_line;
pub(super) mod visits;
