//! Every path, what it needs of who asks, and what the document of the API says of it: one table, from which
//! the router and the document are made. A route that is not in it does not exist.

use axum::routing::{MethodRouter, get, post};

use super::{
    ServerContext, api, caller::Right, door::login, health, ledger, metrics, openapi, page, questions,
    reload,
};
use crate::ask::{self, Parameter, QuestionKind};

/// What a route needs of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: pages on which somebody says who they are.
    Nothing,
    /// Anybody, if the configuration says so.
    Health,
    /// The same, for metrics.
    Metrics,
    /// Somebody with this right.
    Right(Right),
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Changes nothing.
    Get,
    /// Changes something.
    Post,
}

/// What answers.
#[derive(Clone, Copy)]
pub(super) enum Answers {
    /// A function.
    By(fn() -> MethodRouter<ServerContext>),
    /// The ledger.
    Question(&'static QuestionKind),
}

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    pub(super) answers: Answers,
    /// What the document of the API says; `None` if it is no part of the API.
    pub(super) document: Option<Document>,
}

/// What the document of the API says of a route.
#[derive(Clone, Copy)]
pub(super) struct Document {
    /// What it is for.
    pub(super) about: &'static str,
    /// What stands in the query.
    pub(super) parameters: &'static [&'static [Parameter]],
    /// Name of the schema of the body, if there is one.
    pub(super) body: Option<&'static str>,
    /// Name of the schema of the answer.
    pub(super) answer: &'static str,
}

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

const fn asked(
    path: &'static str,
    needs: Needs,
    kind: &'static QuestionKind,
    answer: &'static str,
) -> Route {
    let (about, parameters) = (kind.about, kind.parameters);
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
    page_of("/", SEE_ALERTS, || get(page::show)),
    form_of("/-/reload", ACT, || post(reload)),
    page_of("/api/v1/openapi.json", SEE_ALERTS, || get(openapi::show)),
    read_of(
        "/api/v1/alerts",
        || get(api::alerts),
        "The alerts that fire, the worst first, then the latest.",
        &[api::ALERTS],
        "Alerts",
    ),
    asked("/api/v1/alerts/history", SEE_ALERTS, &ask::history::QUESTION, "History"),
    read_of(
        "/api/v1/alerts/{fingerprint}",
        || get(api::alert),
        "One alert: as it fires, as the ledger tells of it, and who was told.",
        &[],
        "AlertLife",
    ),
    act_of(
        "/api/v1/alerts/{fingerprint}/resolve",
        || post(api::resolve),
        "Ends an alert by hand. The answer comes once it is durable.",
        "Resolve",
        "Text",
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
    asked("/api/v1/deliveries", SEE_ALERTS, &ask::deliveries::QUESTION, "Deliveries"),
    asked("/api/v1/coverage", SEE_ALERTS, &ask::coverage::QUESTION, "Coverage"),
    asked("/api/v1/timeline", SEE_ACCESSES, &ask::timeline::QUESTION, "Rows"),
    asked("/api/v1/who-did", SEE_ACCESSES, &ask::who_did::QUESTION, "Rows"),
    asked("/api/v1/visits", SEE_ACCESSES, &ask::visits::QUESTION, "Visits"),
    asked("/api/v1/sessions", SEE_ACCESSES, &ask::sessions::QUESTION, "Sessions"),
];

impl Route {
    /// What answers it.
    pub(super) fn handler(&self) -> MethodRouter<ServerContext> {
        match self.answers {
            Answers::By(handler) => handler(),
            Answers::Question(kind) => questions::route(kind, self.needs == SEE_ACCESSES),
        }
    }
}

/// Paths for people who went astray.
pub(super) fn listed() -> String {
    let paths = ROUTES.iter().filter(|route| !route.path.starts_with("/-/h"));
    let paths = paths.map(|route| match route.method {
        Method::Get => route.path.to_owned(),
        Method::Post => format!("POST {}", route.path),
    });
    paths.collect::<Vec<_>>().join("  ")
}
