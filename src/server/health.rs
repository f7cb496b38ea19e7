//! `/healthz` and `/readyz`: is it alive, and can it do its job.
//!
//! Alive is whatever a restart could not mend, a broker that is away among it: only a part that
//! failed for good makes it unhealthy. Ready is: it reads its source, has rules, and can make
//! checkpoints. To those who may ask, both name every part with its reason, as text for people or, asked
//! by `Accept: application/json` or `?format=json`, as JSON.

use std::collections::BTreeMap;

use axum::{
    Extension, Json,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    ServerContext,
    caller::{Caller, Right},
    status::{Component, Health},
};

pub(super) async fn live(
    State(context): State<ServerContext>,
    Extension(caller): Extension<Option<Caller>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut components = context.status.components();
    let is_alive = components.values().all(|component| component.health != Health::Failed);
    components.retain(|_, _| may_see(caller.as_ref()));
    let word = if is_alive { "healthy" } else { "not healthy" };
    answer(is_alive, word, &components, wants_json(&query, &headers))
}

pub(super) async fn ready(
    State(context): State<ServerContext>,
    Extension(caller): Extension<Option<Caller>>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut components = context.status.components();
    let is_ready = components.values().all(|component| component.health.is_ready());
    components.retain(|_, _| may_see(caller.as_ref()));
    let word = if is_ready { "ready" } else { "not ready" };
    answer(is_ready, word, &components, wants_json(&query, &headers))
}

fn may_see(caller: Option<&Caller>) -> bool {
    caller.is_some_and(|caller| caller.may(Right::SeeAlerts))
}

fn wants_json(query: &BTreeMap<String, String>, headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    query.get("format").map(String::as_str) == Some("json")
        || accept.is_some_and(|kinds| kinds.contains("application/json"))
}

/// One part, as JSON.
#[derive(Serialize)]
pub(super) struct ComponentView {
    health: Health,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    since: String,
}

pub(super) fn views(components: &BTreeMap<String, Component>) -> BTreeMap<String, ComponentView> {
    let view = |component: &Component| ComponentView {
        health: component.health,
        detail: component.detail.clone(),
        since: component.since.rfc3339(),
    };
    components.iter().map(|(name, component)| (name.clone(), view(component))).collect()
}

fn answer(
    is_good: bool,
    word: &str,
    components: &BTreeMap<String, Component>,
    json: bool,
) -> Response {
    let code = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if json {
        let body = serde_json::json!({ "status": word, "components": views(components) });
        return (code, Json(body)).into_response();
    }
    let width = components.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{word}\n");
    for (name, component) in components {
        let Component { health, detail, since, .. } = component;
        let line = format!("{name:width$}  {health:8}  {detail}");
        text.push_str(&format!("{} (since {since})\n", line.trim_end()));
    }
    (code, text).into_response()
}
