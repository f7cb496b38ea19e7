//! The status page: one screen for a person with a browser. No script, nothing from elsewhere.

use std::cmp::Reverse;

use askama::Template;
use axum::{
    extract::State,
    response::{Html, IntoResponse, Response},
};

use super::{
    ServerContext,
    api::sorted_alerts,
    status::{Inner, PartitionStatus, now},
};
use crate::engine::{
    alert::Alert,
    record::PartitionName,
    text::{cut, span},
    time::WallTime,
};

/// Alerts shown; the API has them all.
const ALERTS_SHOWN: usize = 100;

/// Partitions shown, those with the most lag first; the API has them all.
const PARTITIONS_SHOWN: usize = 50;

/// Characters of one value of a key; names may be long, and each is one line of a table.
const VALUE_CHARS: usize = 200;

/// What the template shows.
#[derive(Template)]
#[template(path = "status.html", config = "src/html/askama.toml")]
struct StatusPage<'a> {
    version: &'static str,
    started_at: WallTime,
    now: WallTime,
    running_for: String,
    is_ready: bool,
    lag: i64,
    behind: String,
    alerts: Vec<&'a Alert>,
    partitions: Vec<(&'a PartitionName, &'a PartitionStatus)>,
    inner: &'a Inner,
}

pub(super) async fn show(State(context): State<ServerContext>) -> Response {
    let inner = context.status.read();
    let page = StatusPage::new(&inner, context.status.started_at(), now());
    Html(page.render().expect("a page is written to memory")).into_response()
}

impl StatusPage<'_> {
    fn new(inner: &Inner, started_at: WallTime, now: WallTime) -> StatusPage<'_> {
        let mut alerts = sorted_alerts(inner);
        alerts.truncate(ALERTS_SHOWN);
        let mut partitions: Vec<_> = inner.partitions.iter().collect();
        if partitions.len() > PARTITIONS_SHOWN {
            partitions.sort_by_key(|(_, partition)| Reverse(partition.lag));
            partitions.truncate(PARTITIONS_SHOWN);
        }
        let behind = inner.watermark.map(|watermark| span(now.since(watermark.as_wall())));
        StatusPage {
            version: env!("CARGO_PKG_VERSION"),
            started_at,
            now,
            running_for: span(now.since(started_at)),
            is_ready: inner.components.values().all(|component| component.health.is_ready()),
            lag: inner.partitions.values().filter_map(|partition| partition.lag).sum(),
            behind: behind.unwrap_or_else(|| "–".to_owned()),
            alerts,
            partitions,
            inner,
        }
    }
}

/// The values that tell an alert apart from others of its rule.
fn key(alert: &Alert) -> String {
    let values =
        alert.key.iter().map(|(name, value)| format!("{name}={}", cut(value, VALUE_CHARS)));
    values.collect::<Vec<_>>().join(", ")
}
