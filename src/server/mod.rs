//! The HTTP server: metrics, health, reload, the API and the console.
//!
//! It only shows what others put into [`Status`] and [`Metrics`], and hands reloads to the app; it
//! decides nothing. Connections are bounded by [`crate::web`]; what a request must pass is in `guard`.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod acts;
mod api;
mod bodies;
mod caller;
mod console;
mod desk;
mod door;
mod events;
mod guard;
mod health;
mod kept;
mod ledger;
mod login;
mod news;
mod openapi;
mod permissions;
mod problem;
mod questions;
mod recent;
mod refusals;
mod reports;
mod route;
mod routes;
mod row;
mod slack;
mod status;
mod stream;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use crate::{
    telemetry::Metrics,
    web::{self, Access, Certificate, Limits, Serving},
};
use door::Door;
use guard::{Guard, Guarded};
use problem::Problem;
use route::{Needs, Table};
use routes::ROUTES;

pub use acts::{ActRequest, NotDone};
pub use caller::{Caller, Right, Role, Way};
pub use desk::Desk;
pub use door::Credentials;
pub use events::{Events, FetchEvent};
pub use slack::{CallSlack, Slack, SlackAnswer, SlackApp, SlackCall};
pub use status::{Component, FileTests, Health, RuleTests, Status};

/// Name of this server in metrics.
const NAME: &str = "http";

/// How long a reload may take before the caller is told to look at the log instead.
const RELOAD_WAIT: Duration = Duration::from_secs(60);

/// Somebody asked for a reload of the rules by `POST /-/reload`.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Tells the caller: what is loaded now, or what is wrong, for people.
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// Connections that are open at once: 512. Of 200 people with a page open each has a stream, and now and then loads
/// another page.
const CONNECTIONS_MAX: usize = 512;

/// What the server shows and whom it tells.
#[derive(Clone)]
pub struct ServerContext {
    /// The state of the process.
    pub status: Arc<Status>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Where reloads go. If it is full, one is under way already.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// Where acts go.
    pub acts: mpsc::Sender<ActRequest>,
    /// Where the ledger is asked, and told who looked.
    pub desk: Desk,
    /// Fetches events again.
    pub events: Events,
    /// The apps of Slack whose buttons are in messages.
    pub slack: Slack,
}

/// Whom it answers.
pub struct ServerSettings {
    /// Who may ask, if it is said in the words of receivers; they may do everything.
    pub access: Access,
    /// Who may ask, by `http.auth`.
    pub credentials: Option<Credentials>,
    /// Without either: anybody may do everything, from wherever. If not, only where nobody else can reach it.
    pub is_for_anybody: bool,
    /// Browsers reach it over TLS.
    pub is_secure: bool,
    /// The certificate, if it speaks TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// Names under which people reach it, beside addresses and `localhost`, with or without a port.
    pub hosts: Vec<String>,
    /// Anybody may see whether it is healthy and ready; why not is for those who may ask.
    pub health_is_public: bool,
    /// Anybody may see the metrics.
    pub metrics_are_public: bool,
}

impl ServerSettings {
    /// Everybody may see everything.
    pub fn open() -> ServerSettings {
        ServerSettings {
            access: Access::open(),
            credentials: None,
            is_for_anybody: true,
            is_secure: false,
            certificate: None,
            hosts: Vec::new(),
            health_is_public: true,
            metrics_are_public: true,
        }
    }
}

/// Serves until `stop`; requests that are open then have five seconds.
pub async fn serve(
    listener: TcpListener,
    context: ServerContext,
    settings: ServerSettings,
    stop: CancellationToken,
) {
    let metrics = Arc::clone(&context.metrics);
    metrics.begin_refusals(NAME);
    let certificate = settings.certificate.clone();
    let is_reachable =
        listener.local_addr().map_or(true, |address| !address.ip().to_canonical().is_loopback());
    let (router, _) = guarded(context, settings, is_reachable);
    let serving = Serving {
        limits: Limits { connections: CONNECTIONS_MAX, ..Limits::default() },
        certificate,
        on_refused: Arc::new(move |why| metrics.refused(NAME, why)),
    };
    web::serve(listener, router, serving, stop).await;
}

/// All routes behind their guard. `is_reachable`: others than this machine can ask.
fn guarded(
    context: ServerContext,
    settings: ServerSettings,
    is_reachable: bool,
) -> (Router, Arc<Guard>) {
    let ServerSettings { access, credentials, is_for_anybody, is_secure, hosts, .. } = settings;
    let door = Door::new(access, credentials, (is_for_anybody, is_reachable, is_secure));
    let is_public = (settings.health_is_public, settings.metrics_are_public);
    let (desk, metrics) = (context.desk.clone(), Arc::clone(&context.metrics));
    let guard = Arc::new(Guard::new((door, desk), hosts, is_public, metrics));
    (router(context, &guard), guard)
}

fn router(context: ServerContext, guard: &Arc<Guard>) -> Router {
    let before = |needs| {
        let guarded = Guarded { guard: Arc::clone(guard), needs };
        axum::middleware::from_fn_with_state(guarded, guard::guard)
    };
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, route.handler().layer(before(route.needs)));
    }
    let astray = axum::routing::any(astray).layer(before(Needs::Right(Right::SeeAlerts)));
    router
        .fallback_service(astray.with_state(context.clone()))
        .layer(axum::middleware::from_fn_with_state(context.clone(), guard::bar))
        .layer(axum::middleware::from_fn(problem::in_json))
        .layer(axum::middleware::map_response(harden))
        .layer(axum::Extension(Table(ROUTES)))
        .with_state(context)
}

/// Where nothing is: said as whoever asks can read it.
async fn astray(view: console::View, uri: Uri, headers: HeaderMap) -> Response {
    if uri.path().starts_with("/api/") {
        let hint = "GET /api/v1/openapi.json has all paths";
        let problem =
            Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such path", hint);
        return problem.into_response();
    }
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accept.is_some_and(|kinds| kinds.contains("text/html")) {
        return console::nowhere(&view);
    }
    let paths = routes::listed();
    (StatusCode::NOT_FOUND, format!("no such page; there are: {paths}\n")).into_response()
}

/// Names, labels and evidence come from whoever talks to the cluster, so browsers get no freedom.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        // With `no-referrer`, a browser would say `Origin: null` of our own forms.
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        let (name, value): (HeaderName, HeaderValue) = (name, HeaderValue::from_static(value));
        headers.insert(name, value);
    }
    // Only what has its hash in its name says otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The document of the API, OpenAPI 3.1.
pub fn api_document() -> serde_json::Value {
    openapi::of(ROUTES)
}

async fn document() -> Response {
    axum::Json(api_document()).into_response()
}

async fn metrics(State(context): State<ServerContext>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], context.metrics.render()).into_response()
}

async fn reload(State(context): State<ServerContext>) -> Response {
    let (reply, answer) = oneshot::channel();
    if let Err(error) = context.reload.try_send(ReloadRequest { reply }) {
        return match error {
            mpsc::error::TrySendError::Full(_) => {
                (StatusCode::CONFLICT, "a reload is under way already\n").into_response()
            }
            mpsc::error::TrySendError::Closed(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "Tripline is stopping\n").into_response()
            }
        };
    }
    match tokio::time::timeout(RELOAD_WAIT, answer).await {
        Ok(Ok(Ok(summary))) => (StatusCode::OK, format!("{summary}\n")).into_response(),
        Ok(Ok(Err(problems))) => (StatusCode::UNPROCESSABLE_ENTITY, problems).into_response(),
        Ok(Err(_)) => (StatusCode::SERVICE_UNAVAILABLE, "Tripline is stopping\n").into_response(),
        Err(_) => {
            (StatusCode::GATEWAY_TIMEOUT, "the reload takes long; see the log\n").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::{
        engine::{
            alert::{Alert, AlertState, Evidence},
            diagnostic::{Problems, SourceText},
            record::{PartitionName, Position},
            rule::Severity,
            time::{EventTime, WallTime},
            yaml::{SecretRef, Section, parse},
        },
        web::{AccessConfig, ListenError, SecretSource},
    };

    struct Running {
        address: SocketAddr,
        status: Arc<Status>,
        reloads: mpsc::Receiver<ReloadRequest>,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start() -> Running {
        start_with(AccessConfig::default()).await
    }

    /// Secrets are the names of their variables.
    fn settings(access: &AccessConfig) -> ServerSettings {
        let read: SecretSource = Arc::new(|secret| match secret {
            SecretRef::Env(name) => Ok(name.clone()),
            _ => Err("no such secret".to_owned()),
        });
        let access = Access::build(access, read).unwrap();
        let is_for_anybody = false;
        ServerSettings {
            access,
            metrics_are_public: false,
            is_for_anybody,
            ..ServerSettings::open()
        }
    }

    async fn start_with(access: AccessConfig) -> Running {
        let listener = web::bind("127.0.0.1:0", false).await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(Status::new(&["rules", "source", "store"]));
        let (reload, reloads) = mpsc::channel(1);
        let metrics = Arc::new(Metrics::new());
        let (acts, _) = mpsc::channel(1);
        let (status_shown, desk) = (Arc::clone(&status), Desk::none());
        let context = ServerContext {
            status: status_shown,
            metrics,
            reload,
            acts,
            desk,
            events: Events::none(),
            slack: Slack::none(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, context, settings(&access), stop.clone()));
        Running { address, status, reloads, stop, task }
    }

    /// No proxy of the environment stands between us and ourselves.
    fn client() -> reqwest::Client {
        crate::tls::http(Vec::new()).unwrap().no_proxy().build().unwrap()
    }

    impl Running {
        fn url(&self, path: &str) -> String {
            format!("http://{}{path}", self.address)
        }

        async fn get(&self, path: &str) -> (u16, String) {
            let answer = client().get(self.url(path)).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }

        async fn json(&self, path: &str) -> serde_json::Value {
            serde_json::from_str(&self.get(path).await.1).unwrap()
        }
    }

    fn alert(name: &str, severity: Severity) -> Alert {
        let labels = std::collections::BTreeMap::from([("alertname".to_owned(), name.to_owned())]);
        let time = EventTime::parse("2026-01-05T22:14:01Z").unwrap();
        let (id, title) = (format!("id-{name}"), format!("Title of <b>{name}</b>"));
        Alert {
            key: vec![("user.username".to_owned(), "<script>eve</script>".to_owned())],
            value: 5.0,
            threshold: "≥ 5 events in 5m".to_owned(),
            evidence: vec![Evidence {
                time,
                fields: vec![("verb".to_owned(), "get".to_owned())],
                event: None,
            }],
            changed_at: WallTime::from_micros(0),
            ..Alert::begun(time.as_wall(), (&id, &title), severity, labels)
        }
    }

    #[tokio::test]
    async fn it_is_ready_when_every_part_is_and_says_which_is_not() {
        let server = start().await;
        let (code, text) = server.get("/readyz").await;
        assert_eq!(code, 503);
        assert!(text.starts_with("not ready\n") && text.contains("not started yet"), "{text}");
        for part in ["rules", "source", "store"] {
            server.status.set_component(part, Health::Ok, "");
        }
        assert_eq!(server.get("/readyz").await.0, 200);
        let why = "cannot reach 127.0.0.1:9092";
        server.status.set_component("source", Health::Down, why);
        let (code, text) = server.get("/-/ready").await;
        assert_eq!(code, 503);
        assert!(text.lines().any(|l| l.starts_with("source  down") && l.contains(why)), "{text}");
        let json = server.json("/readyz?format=json").await;
        assert_eq!(json["components"]["source"]["detail"], why);
        assert_eq!(server.get("/healthz").await.0, 200, "a broker that is away needs no restart");
        server.status.set_component("source", Health::Failed, "fenced");
        assert_eq!(server.get("/healthz").await.0, 503);
    }

    #[tokio::test]
    async fn alerts_are_listed_the_worst_first_and_can_be_selected() {
        let server = start().await;
        for (name, severity) in
            [("a", Severity::Low), ("b", Severity::Critical), ("c", Severity::Low)]
        {
            server.status.alert_changed(&alert(name, severity));
        }
        let all = server.json("/api/v1/alerts").await;
        assert_eq!((&all["total"], &all["alerts"][0]["rule_id"]), (&3.into(), &"id-b".into()));
        assert_eq!(all["alerts"][0]["last_seen"], "2026-01-05T22:14:01.000000Z");
        let low = server.json("/api/v1/alerts?severity=low&limit=1").await;
        assert_eq!((&low["total"], low["alerts"].as_array().unwrap().len()), (&2.into(), 1));
        assert_eq!(server.json("/api/v1/alerts?rule=a").await["total"], 1);
        for bad in ["?severity=loud", "?limit=x", "?rul=a"] {
            assert_eq!(server.get(&format!("/api/v1/alerts{bad}")).await.0, 400, "{bad}");
        }
        server
            .status
            .alert_changed(&Alert { state: AlertState::Resolved, ..alert("b", Severity::Low) });
        assert_eq!(server.json("/api/v1/alerts").await["total"], 2);
    }

    /// Whatever is wrong with a request to the API, programs are told it in one way.
    #[tokio::test]
    async fn every_mistake_at_the_api_is_json_with_a_hint() {
        let server = start().await;
        let long = format!("{{\"by\": \"{}\"}}", "x".repeat(65 << 10));
        let alert = "/api/v1/alerts/00000000000000000000000000000000";
        let resolve = format!("{alert}/resolve");
        for (method, path, body, status, code) in [
            ("POST", "/api/v1/alerts/zz/resolve", r#"{"by":"a","why":"b"}"#, 400, "bad_request"),
            ("POST", &resolve, "{}", 400, "bad_request"),
            ("POST", &resolve, r#"{"by":"a","why":" "}"#, 400, "bad_request"),
            ("POST", "/api/v1/alerts/acts", &long, 413, "too_large"),
            ("POST", "/api/v1/status", "{}", 405, "method_not_allowed"),
            ("DELETE", "/api/v1/silences", "", 405, "method_not_allowed"),
            ("GET", "/api/v1/alerts/%ff", "", 400, "bad_request"),
            ("GET", "/api/v1/nothing", "", 404, "not_found"),
            ("GET", "/api/v1/alerts?format=csv", "", 400, "bad_parameter"),
            ("GET", "/api/v1/rules?format=csv", "", 400, "bad_parameter"),
            ("GET", "/api/v1/ledger?format=csv", "", 400, "bad_parameter"),
            ("GET", "/api/v1/ledger/head?zone=UTC", "", 400, "unknown_parameter"),
            ("GET", "/api/v1/status?since=1h", "", 400, "unknown_parameter"),
            ("GET", "/api/v1/silences?limit=1", "", 400, "unknown_parameter"),
            ("GET", &format!("{alert}/acts?x=1"), "", 400, "unknown_parameter"),
        ] {
            let asked = client().request(method.parse().unwrap(), server.url(path));
            let asked = asked.header("content-type", "application/json").body(body.to_owned());
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{method} {path}");
            let said: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(said["code"], code, "{method} {path}: {said}");
            for part in ["message", "hint"] {
                assert!(!said[part].as_str().unwrap().is_empty(), "{method} {path}: {said}");
            }
        }
        for path in ["/api/v1/rules?format=json", "/api/v1/alerts?format=json&limit=1"] {
            assert_eq!(server.get(path).await.0, 200, "{path}");
        }
    }

    #[tokio::test]
    async fn the_console_shows_what_attackers_wrote_as_text() {
        let server = start().await;
        server.status.alert_changed(&alert("a", Severity::High));
        let partition = Arc::new(PartitionName::new("audit", 3));
        server.status.set_lag(&partition, Some(17));
        server.status.set_positions(&[Position::new(partition, 99)]);
        server.status.reload_failed("error[R001]: a < b");
        let answer = client().get(server.url("/alerts")).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let pages = ["/", "/alerts", "/sources", "/rules"];
        let mut all = String::new();
        for path in pages {
            all += &server.get(path).await.1;
        }
        assert!(!all.contains("<script>eve") && all.contains("&lt;script&gt;eve"), "{all}");
        for shown in ["audit/3", ">17<", ">99<", "a &lt; b", "≥ 5 events"] {
            assert!(all.contains(shown), "{shown} in {all}");
        }
        let status = server.json("/api/v1/status").await;
        assert_eq!(status["partitions"][0]["lag"], 17);
        assert_eq!(status["alerts_firing"], 1);
    }

    #[tokio::test]
    async fn a_reload_is_answered_with_what_came_of_it() {
        let mut server = start().await;
        let post = |url: String| async move {
            let answer = client().post(url).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        for (reply, code) in [(Ok("7 rules".to_owned()), 200), (Err("error[R1]".to_owned()), 422)] {
            let asked = tokio::spawn(post(server.url("/-/reload")));
            let request = server.reloads.recv().await.unwrap();
            request.reply.send(reply).unwrap();
            assert_eq!(asked.await.unwrap().0, code);
        }
        assert_eq!(server.get("/-/reload").await.0, 405, "only POST changes anything");
        let _waiting = tokio::spawn(post(server.url("/-/reload")));
        while server.reloads.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(post(server.url("/-/reload")).await.0, 409);
        server.reloads.close();
        assert_eq!(post(server.url("/-/reload")).await.0, 503);
    }

    #[tokio::test]
    async fn metrics_are_served_and_wrong_paths_say_what_there_is() {
        let server = start().await;
        let answer = client().get(server.url("/metrics")).send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        assert!(answer.text().await.unwrap().contains("tripline_build_info{version="));
        let (code, text) = server.get("/nowhere").await;
        assert!(code == 404 && text.contains("/metrics"), "{text}");
    }

    #[tokio::test]
    async fn a_port_in_use_is_said_and_a_stop_ends_the_server() {
        let server = start().await;
        let listen = server.address.to_string();
        let error = web::bind(&listen, false).await.unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
        let nowhere = web::bind("host.invalid:1", false).await;
        assert!(matches!(nowhere, Err(ListenError::Other { .. })));
        server.stop.cancel();
        server.task.await.unwrap();
        assert!(web::bind(&listen, false).await.is_ok(), "the port is free again");
    }

    #[tokio::test]
    async fn without_credentials_only_health_is_shown_and_not_why() {
        let text = "bearer_token_env: sesame\nbasic_auth: {username: ann, password_env: pw}\n";
        let source = SourceText::new("t.yaml", text);
        let (nodes, problems) = (parse(&source).unwrap(), Problems::new());
        let access = AccessConfig::parse(&Section::new(&source, &problems, &nodes[0], ""));
        let server = start_with(access).await;
        server.status.set_component("source", Health::Down, "kafka.internal is away");
        let (code, text) = server.get("/readyz").await;
        assert_eq!((code, text.as_str()), (503, "not ready\n"));
        for closed in ["/", "/metrics", "/api/v1/alerts", "/api/v1/status", "/nowhere"] {
            assert_eq!(server.get(closed).await.0, 401, "{closed}");
        }
        let ask = |path: &str| client().get(server.url(path));
        let known =
            ask("/readyz").bearer_auth("sesame").send().await.unwrap().text().await.unwrap();
        assert!(known.contains("kafka.internal"), "{known}");
        let metrics = ask("/metrics").basic_auth("ann", Some("pw")).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let refused = "tripline_http_refused_total{reason=\"unauthorized\",server=\"http\"} 5";
        assert!(metrics.contains(refused), "{metrics}");
        let wrong = ask("/metrics").bearer_auth("sesam").send().await.unwrap();
        assert_eq!(
            (wrong.status().as_u16(), wrong.headers().contains_key("www-authenticate")),
            (401, true)
        );
    }

    #[tokio::test]
    async fn another_site_changes_nothing() {
        let server = start().await;
        let post = client().post(server.url("/-/reload"));
        for (name, value) in [
            ("host", "rebound.example"),
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
        ] {
            let answer = post.try_clone().unwrap().header(name, value).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 403, "{name}: {value}");
        }
        assert!(server.reloads.is_empty());
    }

    #[tokio::test]
    async fn a_body_that_nobody_needs_is_bounded() {
        let server = start().await;
        let body = vec![b'x'; 65 << 10];
        let answer = client().post(server.url("/-/reload")).body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 413);
    }
}
