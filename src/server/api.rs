//! `/api/v1`: what fires, what is loaded, how it goes; as JSON, times as RFC 3339 in UTC.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{
    ResolveRequest, ServerContext, health,
    status::{Inner, now},
};
use crate::engine::{
    alert::{Alert, Evidence, Fingerprint},
    event_ref::EventPosition,
    ledger::hex_of,
    rule::{About, Note, Rule, RuleMeta, Severity},
    time::EventTime,
};

/// Alerts in one answer unless `limit` says otherwise.
const ALERTS_DEFAULT: usize = 1_000;

/// One alert that fires.
#[derive(Serialize)]
struct AlertView<'a> {
    fingerprint: String,
    rule_id: &'a str,
    rule_title: &'a str,
    severity: &'static str,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    key: BTreeMap<&'a str, &'a str>,
    starts_at: String,
    first_seen: String,
    last_seen: String,
    value: f64,
    threshold: &'a str,
    finding_count: u64,
    suppressed_count: u64,
    owner: Option<&'a str>,
    author: Option<&'a str>,
    tags: &'a [String],
    references: &'a [String],
    false_positives: &'a [String],
    controls: &'a [String],
    notes: &'a [Note],
    evidence: Vec<EvidenceView<'a>>,
}

#[derive(Serialize)]
struct EvidenceView<'a> {
    time: String,
    fields: BTreeMap<&'a str, &'a str>,
    position: Option<&'a EventPosition>,
    audit_id: Option<String>,
    event_hash: Option<String>,
}

impl EvidenceView<'_> {
    fn new(evidence: &Evidence) -> EvidenceView<'_> {
        let event = evidence.event.as_deref();
        EvidenceView {
            time: evidence.time.rfc3339(),
            fields: pairs(&evidence.fields),
            position: event.map(|event| &event.position),
            audit_id: event.map(|event| event.audit_id.to_string()),
            event_hash: event.map(|event| hex_of(&event.event_hash)),
        }
    }
}

fn pairs(list: &[(String, String)]) -> BTreeMap<&str, &str> {
    list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn view(alert: &Alert) -> AlertView<'_> {
    AlertView {
        fingerprint: alert.fingerprint.to_string(),
        rule_id: &alert.rule_id,
        rule_title: &alert.rule_title,
        severity: alert.severity.as_str(),
        labels: &alert.labels,
        annotations: &alert.annotations,
        key: pairs(&alert.key),
        starts_at: alert.starts_at.rfc3339(),
        first_seen: alert.first_seen.rfc3339(),
        last_seen: alert.last_seen.rfc3339(),
        value: alert.value,
        threshold: &alert.threshold,
        finding_count: alert.finding_count,
        suppressed_count: alert.suppressed_count,
        owner: alert.said.owner.as_deref(),
        author: alert.said.author.as_deref(),
        tags: &alert.tags,
        references: &alert.said.references,
        false_positives: &alert.said.false_positives,
        controls: &alert.said.controls,
        notes: &alert.said.notes,
        evidence: alert.evidence.iter().map(EvidenceView::new).collect(),
    }
}

/// The worst first, then the latest.
pub(super) fn sorted_alerts(inner: &Inner) -> Vec<&Alert> {
    let mut alerts: Vec<&Alert> = inner.alerts.values().collect();
    alerts.sort_by_key(|alert| std::cmp::Reverse((alert.severity, alert.last_seen)));
    alerts
}

/// `GET /api/v1/alerts?rule=…&severity=…&limit=…`.
pub(super) async fn alerts(
    State(context): State<ServerContext>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let bad = |text: String| (StatusCode::BAD_REQUEST, format!("{text}\n")).into_response();
    let known = ["rule", "severity", "limit"];
    if let Some(name) = query.keys().find(|name| !known.contains(&name.as_str())) {
        return bad(format!("no parameter `{name}`; there are: {}", known.join(", ")));
    }
    let rule = query.get("rule").map(String::as_str);
    let severity = match query.get("severity").map(|text| (text, Severity::parse(text))) {
        None => None,
        Some((_, Some(severity))) => Some(severity),
        Some((text, None)) => return bad(format!("no severity `{text}`")),
    };
    let limit = match query.get("limit").map(|text| text.parse::<usize>()) {
        None => ALERTS_DEFAULT,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => return bad("`limit` is not a number".to_owned()),
    };
    let inner = context.status.read();
    let mut alerts = sorted_alerts(&inner);
    alerts.retain(|alert| {
        let name = alert.labels.get("alertname").map(String::as_str);
        rule.is_none_or(|rule| rule == alert.rule_id || Some(rule) == name)
            && severity.is_none_or(|severity| severity == alert.severity)
    });
    let total = alerts.len();
    let views: Vec<AlertView<'_>> = alerts.into_iter().take(limit).map(view).collect();
    Json(serde_json::json!({ "total": total, "alerts": views })).into_response()
}

/// What somebody says who ends an alert.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resolve {
    by: String,
    why: String,
}

/// How long a wish may wait for its checkpoint: 30 s.
const RESOLVE_WAIT: Duration = Duration::from_secs(30);

/// `POST /api/v1/alerts/FINGERPRINT/resolve` with `{"by": "…", "why": "…"}`.
pub(super) async fn resolve(
    State(context): State<ServerContext>,
    Path(fingerprint): Path<String>,
    body: Result<Json<Resolve>, JsonRejection>,
) -> Response {
    let answer = |code: StatusCode, text: &str| (code, format!("{text}\n")).into_response();
    let Ok(fingerprint) = fingerprint.parse::<Fingerprint>() else {
        return answer(StatusCode::BAD_REQUEST, "a fingerprint has 32 hexadecimal digits");
    };
    let said =
        body.ok().filter(|Json(said)| !said.by.trim().is_empty() && !said.why.trim().is_empty());
    let Some(Json(Resolve { by, why })) = said else {
        return answer(StatusCode::BAD_REQUEST, "say who and why: {\"by\": \"…\", \"why\": \"…\"}");
    };
    let (reply, done) = oneshot::channel();
    if context.resolve.try_send(ResolveRequest { fingerprint, by, why, reply }).is_err() {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "Tripline is busy, starting or stopping");
    }
    match tokio::time::timeout(RESOLVE_WAIT, done).await {
        Ok(Ok(true)) => answer(StatusCode::OK, "resolved"),
        Ok(Ok(false)) => answer(StatusCode::NOT_FOUND, "no such alert fires"),
        Ok(Err(_)) => answer(StatusCode::SERVICE_UNAVAILABLE, "Tripline is stopping"),
        Err(_) => answer(
            StatusCode::GATEWAY_TIMEOUT,
            "it is not durable yet; it will be once the store works, see /readyz",
        ),
    }
}

#[derive(Serialize)]
struct RuleView<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'static str,
    severity: &'static str,
    /// Whether it makes alerts of its own, or only feeds correlations.
    alerts: bool,
    alerts_firing: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(flatten)]
    about: &'a About,
}

/// `GET /api/v1/rules`.
pub(super) async fn rules(State(context): State<ServerContext>) -> Response {
    let inner = context.status.read();
    let mut firing: BTreeMap<&str, usize> = BTreeMap::new();
    for alert in inner.alerts.values() {
        *firing.entry(&alert.rule_id).or_default() += 1;
    }
    let views: Vec<RuleView<'_>> = inner
        .rules
        .written()
        .map(|(_, rule)| {
            let meta: &RuleMeta = rule.meta();
            RuleView {
                id: &meta.id,
                name: &meta.name,
                kind: match rule {
                    Rule::Detection(_) if rule.records() => "recording",
                    Rule::Detection(_) => "detection",
                    Rule::Correlation(rule) => rule.kind.entry().name,
                },
                severity: meta.severity.as_str(),
                alerts: meta.alert.is_some(),
                alerts_firing: firing.get(meta.id.as_str()).copied().unwrap_or(0),
                place: meta.place.as_ref().map(crate::engine::diagnostic::Place::location),
                about: &meta.about,
            }
        })
        .collect();
    let body = serde_json::json!({ "version": inner.rules.version, "rules": views });
    Json(body).into_response()
}

/// `GET /api/v1/status`.
pub(super) async fn status(State(context): State<ServerContext>) -> Response {
    let inner = context.status.read();
    let started_at = context.status.started_at();
    let partitions: Vec<serde_json::Value> = inner
        .partitions
        .iter()
        .map(|(name, partition)| {
            serde_json::json!({
                "topic": name.stored_topic(),
                "partition": name.partition,
                "next_offset": partition.next_offset,
                "lag": partition.lag,
            })
        })
        .collect();
    let reload = inner.reload.as_ref();
    Json(serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": started_at.rfc3339(),
        "uptime_seconds": now().since(started_at).as_secs(),
        "ready": inner.components.values().all(|component| component.health.is_ready()),
        "components": health::views(&inner.components),
        "rules": {
            "version": inner.rules.version,
            "count": inner.rules.written_count(),
            "last_reload_at": reload.map(|reload| reload.at.rfc3339()),
            "last_reload_problems": reload.and_then(|reload| reload.problems.as_deref()),
        },
        "watermark": inner.watermark.map(EventTime::rfc3339),
        "partitions": partitions,
        "alerts_firing": inner.alerts.len(),
    }))
    .into_response()
}
