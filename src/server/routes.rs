//! Every path, what it needs of who asks, and what the document of the API says of it: one table, from which
//! the router and the document are made. A route that is not in it does not exist.

use axum::routing::{MethodRouter, get, post};

use super::{
    ServerContext, acts, api,
    caller::Right,
    console, document, health, ledger, login, metrics, permissions, reload, reports,
    route::{Answers, Document, Method, Needs, Route},
    slack, stream,
};
use crate::ask::{self, Parameter, QuestionKind};

const SEE_ALERTS: Needs = Needs::Right(Right::SeeAlerts);
const SEE_ACCESSES: Needs = Needs::Right(Right::SeeAccesses);
const ACT: Needs = Needs::Right(Right::Act);

const fn page_of(
    path: &'static str,
    needs: Needs,
    answers: fn() -> MethodRouter<ServerContext>,
) -> Route {
    Route { method: Method::Get, path, needs, answers: Answers::By(answers), document: None }
}

const fn form_of(
    path: &'static str,
    needs: Needs,
    answers: fn() -> MethodRouter<ServerContext>,
) -> Route {
    Route { method: Method::Post, path, needs, answers: Answers::By(answers), document: None }
}

const fn read_of(
    path: &'static str,
    answers: fn() -> MethodRouter<ServerContext>,
    about: &'static str,
    parameters: &'static [&'static [Parameter]],
    answer: &'static str,
) -> Route {
    let document = Some(Document { about, parameters, body: None, answer });
    let (needs, answers) = (SEE_ALERTS, Answers::By(answers));
    Route { method: Method::Get, path, needs, answers, document }
}

const fn act_of(
    path: &'static str,
    answers: fn() -> MethodRouter<ServerContext>,
    about: &'static str,
    body: &'static str,
    answer: &'static str,
) -> Route {
    let document = Some(Document { about, parameters: &[], body: Some(body), answer });
    Route { method: Method::Post, path, needs: ACT, answers: Answers::By(answers), document }
}

const fn asked(path: &'static str, kind: &'static QuestionKind, answer: &'static str) -> Route {
    let (about, parameters) = (kind.about, kind.parameters);
    let needs = if kind.is_personal() { SEE_ACCESSES } else { SEE_ALERTS };
    let document = Some(Document { about, parameters, body: None, answer });
    Route { method: Method::Get, path, needs, answers: Answers::Question(kind), document }
}

/// All of them, by what they are.
pub(super) const ROUTES: &[Route] = &[
    page_of("/healthz", Needs::Health, || get(health::live)),
    page_of("/-/healthy", Needs::Health, || get(health::live)),
    page_of("/readyz", Needs::Health, || get(health::ready)),
    page_of("/-/ready", Needs::Health, || get(health::ready)),
    page_of("/metrics", Needs::Metrics, || get(metrics)),
    page_of("/login", Needs::Nothing, || get(login::show)),
    form_of("/login", Needs::Nothing, || post(login::log_in)),
    form_of("/logout", SEE_ALERTS, || post(login::log_out)),
    page_of("/static/{name}", Needs::Nothing, || get(console::assets::serve)),
    page_of("/", SEE_ALERTS, || get(console::overview::page)),
    page_of("/alerts", SEE_ALERTS, || get(console::alerts::page)),
    page_of("/alerts/{fingerprint}", SEE_ALERTS, || get(console::alert::latest)),
    page_of("/alerts/{fingerprint}/{start}", SEE_ALERTS, || get(console::alert::page)),
    page_of("/alerts/{fingerprint}/{start}/events/{hash}", SEE_ACCESSES, || {
        get(console::event::page)
    }),
    page_of("/alerts/{fingerprint}/{start}/rule", SEE_ALERTS, || get(console::rule_then::page)),
    page_of("/actor", SEE_ACCESSES, || get(console::actor::page)),
    page_of("/object", SEE_ACCESSES, || get(console::timeline::object)),
    page_of("/timeline", SEE_ACCESSES, || get(console::timeline::page)),
    page_of("/who", SEE_ACCESSES, || get(console::timeline::who)),
    page_of("/visits", SEE_ACCESSES, || get(console::visits::page)),
    page_of("/visit", SEE_ACCESSES, || get(console::visits::one)),
    page_of("/sessions", SEE_ACCESSES, || get(console::sessions::page)),
    page_of("/session", SEE_ACCESSES, || get(console::sessions::one)),
    page_of("/permissions", SEE_ACCESSES, || get(console::permissions::page)),
    page_of("/permissions/role", SEE_ACCESSES, || get(console::permissions::role)),
    page_of("/coverage", SEE_ALERTS, || get(console::coverage::page)),
    page_of("/rules", SEE_ALERTS, || get(console::rules::page)),
    page_of("/rule", SEE_ALERTS, || get(console::rule::page)),
    page_of("/act", ACT, || get(console::act::form)),
    form_of("/act", ACT, || post(console::act::send)),
    page_of("/silences", SEE_ALERTS, || get(console::silences::page)),
    form_of("/silences", ACT, || post(console::silences::send)),
    page_of("/silences/new", ACT, || get(console::silences::form)),
    form_of("/silences/end", ACT, || post(console::silences::end)),
    form_of("/slack/interactions", Needs::Signature, || post(slack::receive)),
    page_of("/sources", SEE_ALERTS, || get(console::system::sources)),
    page_of("/delivery", SEE_ALERTS, || get(console::system::delivery)),
    page_of("/ledger", SEE_ALERTS, || get(console::system::ledger)),
    page_of("/reports", SEE_ALERTS, || get(console::reports::page)),
    page_of("/settings", SEE_ALERTS, || get(console::system::settings)),
    form_of("/-/reload", ACT, || post(reload)),
    page_of("/api/v1/openapi.json", SEE_ALERTS, || get(document)),
    read_of(
        "/api/v1/alerts",
        || get(api::alerts),
        "The alerts that fire, the worst first, then the latest.",
        &[api::ALERTS],
        "Alerts",
    ),
    read_of(
        "/api/v1/stream",
        || get(stream::open),
        "Changes of alerts as they happen: `alert` for each, `firing` with how many fire, `reload` if some were missed. A \
         stream ends after 25 s; ask again with `Last-Event-ID`, and nothing is missed.",
        &[],
        "Stream",
    ),
    asked("/api/v1/alerts/history", &ask::history::QUESTION, "History"),
    read_of(
        "/api/v1/alerts/{fingerprint}",
        || get(api::alert),
        "One alert: as it fires, as the ledger tells of it, and who was told.",
        &[],
        "AlertLife",
    ),
    act_of(
        "/api/v1/alerts/{fingerprint}/resolve",
        || post(acts::resolve),
        "Ends an alert by hand. The answer comes once it is durable.",
        "Resolve",
        "Text",
    ),
    read_of(
        "/api/v1/alerts/acts",
        || get(acts::acts),
        "What people did about the alerts that are remembered, those that fire first.",
        &[],
        "ActsOfAlerts",
    ),
    act_of(
        "/api/v1/alerts/acts",
        || post(acts::act),
        "Acknowledges, assigns, judges, comments or ends alerts. The answer comes once it is durable.",
        "Act",
        "Acted",
    ),
    read_of(
        "/api/v1/alerts/{fingerprint}/acts",
        || get(acts::acts_of),
        "What people did about one alert.",
        &[],
        "ActsOfAlert",
    ),
    read_of(
        "/api/v1/silences",
        || get(acts::silences),
        "Silences: those that run, then those to come, then those that are over.",
        &[],
        "Silences",
    ),
    act_of(
        "/api/v1/silences",
        || post(acts::add_silence),
        "Silences alerts by their labels. The answer comes once it is durable.",
        "NewSilence",
        "Acted",
    ),
    act_of(
        "/api/v1/silences/preview",
        || post(acts::preview_silence),
        "What a silence with these matchers would hide, now and in the last 24 hours.",
        "SilencePreview",
        "Preview",
    ),
    act_of(
        "/api/v1/silences/{id}/end",
        || post(acts::end_silence),
        "Ends a silence early. The answer comes once it is durable.",
        "EndSilence",
        "Acted",
    ),
    read_of("/api/v1/rules", || get(api::rules), "The rules in force.", &[], "Rules"),
    read_of("/api/v1/status", || get(api::status), "How the process is.", &[], "Status"),
    read_of(
        "/api/v1/ledger",
        || get(ledger::status),
        "Which months the ledger has, and where its chain has come to.",
        &[],
        "Ledger",
    ),
    read_of(
        "/api/v1/ledger/head",
        || get(ledger::head),
        "The last row and its hash: write it down elsewhere, and `ledger verify --seal` asks for it.",
        &[],
        "Head",
    ),
    asked("/api/v1/deliveries", &ask::deliveries::QUESTION, "Deliveries"),
    asked("/api/v1/coverage", &ask::coverage::QUESTION, "Coverage"),
    asked("/api/v1/timeline", &ask::timeline::QUESTION, "Rows"),
    asked("/api/v1/who-did", &ask::who_did::QUESTION, "Rows"),
    asked("/api/v1/visits", &ask::visits::QUESTION, "Visits"),
    asked("/api/v1/sessions", &ask::sessions::QUESTION, "Sessions"),
    asked("/api/v1/permissions", &ask::permissions::grants::QUESTION, "Permissions"),
    asked("/api/v1/suggested-role", &ask::permissions::role::QUESTION, "SuggestedRole"),
    Route {
        method: Method::Get,
        path: "/api/v1/reports/{kind}",
        needs: Needs::Right(Right::Report),
        answers: Answers::By(|| get(reports::answer)),
        document: Some(Document {
            about: "A report of a period: access, alerts, compliance or incident. One is made at once.",
            parameters: reports::PARAMETERS,
            body: None,
            answer: "Report",
        }),
    },
    act_of(
        "/api/v1/permissions/import",
        permissions::route,
        "Keeps roles and bindings of a cluster in the ledger. The answer comes once they are durable.",
        "PermissionsImport",
        "PermissionsKept",
    ),
];

/// Paths for people who went astray.
pub(super) fn listed() -> String {
    let paths = ROUTES.iter().filter(|route| !route.path.starts_with("/-/h"));
    let paths = paths.map(|route| match route.method {
        Method::Get => route.path.to_owned(),
        Method::Post => format!("POST {}", route.path),
    });
    paths.collect::<Vec<_>>().join("  ")
}
