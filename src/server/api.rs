//! `/api/v1`: what fires, what is loaded, how it goes; as JSON, times as RFC 3339 in UTC.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    ServerContext, health,
    problem::Problem,
    status::{Inner, now},
};
use crate::{
    ask::{
        Mistake, Parameter, ParameterKind, Params, Period, deliveries,
        history::{self, Episode},
        names,
    },
    engine::{
        alert::{Alert, Fingerprint, json::EvidenceJson},
        rule::{About, Note, Rule, RuleMeta, Severity},
        time::EventTime,
    },
};

/// What alerts that fire can be chosen by.
pub(super) const ALERTS: &[Parameter] = &[
    Parameter::text("rule", "Of the rule with this id, name or title."),
    Parameter::of(ParameterKind::OneOf(SEVERITIES), "severity", "Of this severity."),
    Parameter::of(ParameterKind::Number, "limit", "So many at most: 1000, if it is left out."),
];

const SEVERITIES: &[&str] = &["informational", "low", "medium", "high", "critical"];

/// Deliveries that are shown with one alert; `/api/v1/deliveries?alert=…` has them all.
const DELIVERIES_SHOWN: usize = 200;

/// How far back one alert is looked for in the ledger: 400 days, as long as it is kept by default.
const ALERT_SPAN: &str = "400d";

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
    evidence: Vec<EvidenceJson<'a>>,
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
        evidence: alert.evidence.iter().map(EvidenceJson::new).collect(),
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
    let params = Params::new(query);
    let read = || -> Result<_, Mistake> {
        let limit = match params.text("limit").map(str::parse::<usize>) {
            None => ALERTS_DEFAULT,
            Some(Ok(limit @ 1..)) => limit,
            Some(_) => {
                return Err(Mistake::bad("`limit` is not a number from 1 on", "such as 100"));
            }
        };
        Ok((params.text("rule"), params.one_of("severity", &Severity::WORDS)?, limit))
    };
    let (rule, severity, limit) = match read() {
        Ok(read) => read,
        Err(mistake) => return Problem::from(mistake).into_response(),
    };
    let (answer, unfired) = {
        let inner = context.status.read();
        let mut alerts = sorted_alerts(&inner);
        alerts.retain(|alert| {
            let names = [&alert.rule_id, alert.name(), &alert.rule_title];
            rule.is_none_or(|rule| names.contains(&rule))
                && severity.is_none_or(|severity| severity == alert.severity)
        });
        let total = alerts.len();
        let views: Vec<AlertView<'_>> = alerts.into_iter().take(limit).map(view).collect();
        let answer = serde_json::json!({ "total": total, "alerts": views });
        let unfired = rule.filter(|rule| total == 0 && !names::may_fire(&inner.rules, rule));
        (answer, unfired.map(|rule| (rule.to_owned(), Arc::clone(&inner.rules))))
    };
    if let Some((rule, rules)) = unfired {
        let known = context.desk.ask(move |reader| names::check_rule(reader, &rules, &rule)).await;
        // What fires is known without the ledger.
        if let Some(problem) = known.err().filter(|why| why.status == StatusCode::BAD_REQUEST) {
            return problem.into_response();
        }
    }
    Json(answer).into_response()
}

/// What the ledger tells of an alert.
#[derive(Default)]
struct Told {
    episodes: Vec<Episode>,
    deliveries: Vec<deliveries::Delivery>,
}

/// `GET /api/v1/alerts/FINGERPRINT`.
pub(super) async fn alert(
    State(context): State<ServerContext>,
    Path(fingerprint): Path<String>,
) -> Response {
    let Ok(parsed) = fingerprint.parse::<Fingerprint>() else {
        let mistake = Mistake::bad("a fingerprint has 32 hexadecimal digits", "see /api/v1/alerts");
        return Problem::from(mistake).into_response();
    };
    let asked = parsed.to_string();
    let told = context.desk.ask(move |reader| {
        let period = Period::read(&Params::default(), now().as_event(), ALERT_SPAN)?;
        let question = history::Question::of(&asked, period.clone());
        let episodes = history::ask(reader, &question)?.alerts;
        let question = deliveries::Question::of(&asked, period, DELIVERIES_SHOWN);
        Ok(Told { episodes, deliveries: deliveries::ask(reader, &question)?.deliveries })
    });
    let (told, problem) = match told.await {
        Ok(told) => (told, None),
        // What fires is known without the ledger.
        Err(problem) => (Told::default(), Some(problem)),
    };
    let inner = context.status.read();
    let firing = inner.alerts.get(&parsed).map(view);
    if firing.is_none() && told.episodes.is_empty() {
        let problem = problem.unwrap_or_else(|| {
            let hint =
                "/api/v1/alerts has those that fire, /api/v1/alerts/history those of the ledger";
            Problem::new(StatusCode::NOT_FOUND, "not_found", "no such alert is known", hint)
        });
        return problem.into_response();
    }
    Json(serde_json::json!({
        "fingerprint": parsed.to_string(), "firing": firing,
        "episodes": told.episodes, "deliveries": told.deliveries,
        "ledger_problem": problem.map(|problem| problem.message),
    }))
    .into_response()
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
