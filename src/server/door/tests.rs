//! Every route × role × way in, and what attackers try at the door. No sockets: requests go to the router.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, Response, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;

use crate::{
    engine::{
        alert::Alert,
        diagnostic::{Problems, SourceText},
        ledger::{Entry, EntryKind},
        rule::Severity,
        time::EventTime,
        yaml::{SecretRef, Section, parse},
    },
    server::{
        Credentials, Desk, Events, ServerContext, ServerSettings, Slack, Status, guard::Guard,
        guarded, route::Method, routes::ROUTES,
    },
    telemetry::Metrics,
    web::{AuthConfig, Peer, SecretSource, Subject},
};

/// What each route needs: `-` nothing, `h` that health is public, `m` that metrics are, `s` a signature of Slack,
/// or the first letters of the roles that may. A new route must join this table.
const TABLE: &[(&str, &str)] = &[
    ("GET /healthz", "h"),
    ("GET /-/healthy", "h"),
    ("GET /readyz", "h"),
    ("GET /-/ready", "h"),
    ("GET /metrics", "m"),
    ("GET /login", "-"),
    ("POST /login", "-"),
    ("POST /logout", "vra"),
    ("GET /static/{name}", "-"),
    ("GET /", "vra"),
    ("GET /alerts", "vra"),
    ("GET /alerts/{fingerprint}", "vra"),
    ("GET /alerts/{fingerprint}/{start}", "vra"),
    ("GET /alerts/{fingerprint}/{start}/events/{hash}", "ra"),
    ("GET /alerts/{fingerprint}/{start}/rule", "vra"),
    ("GET /actor", "ra"),
    ("GET /object", "ra"),
    ("GET /timeline", "ra"),
    ("GET /who", "ra"),
    ("GET /visits", "ra"),
    ("GET /visit", "ra"),
    ("GET /sessions", "ra"),
    ("GET /session", "ra"),
    ("GET /coverage", "vra"),
    ("GET /permissions", "ra"),
    ("GET /permissions/role", "ra"),
    ("GET /reports", "vra"),
    ("GET /rules", "vra"),
    ("GET /rule", "vra"),
    ("GET /act", "r"),
    ("POST /act", "r"),
    ("GET /silences", "vra"),
    ("POST /silences", "r"),
    ("GET /silences/new", "r"),
    ("POST /silences/end", "r"),
    ("POST /slack/interactions", "s"),
    ("GET /sources", "vra"),
    ("GET /delivery", "vra"),
    ("GET /ledger", "vra"),
    ("GET /settings", "vra"),
    ("GET /api/v1/stream", "vra"),
    ("POST /-/reload", "r"),
    ("GET /api/v1/openapi.json", "vra"),
    ("GET /api/v1/alerts", "vra"),
    ("GET /api/v1/alerts/history", "vra"),
    ("GET /api/v1/alerts/{fingerprint}", "vra"),
    ("POST /api/v1/alerts/{fingerprint}/resolve", "r"),
    ("GET /api/v1/alerts/acts", "vra"),
    ("POST /api/v1/alerts/acts", "r"),
    ("GET /api/v1/alerts/{fingerprint}/acts", "vra"),
    ("GET /api/v1/silences", "vra"),
    ("POST /api/v1/silences", "r"),
    ("POST /api/v1/silences/preview", "r"),
    ("POST /api/v1/silences/{id}/end", "r"),
    ("GET /api/v1/rules", "vra"),
    ("GET /api/v1/status", "vra"),
    ("GET /api/v1/ledger", "vra"),
    ("GET /api/v1/ledger/head", "vra"),
    ("GET /api/v1/deliveries", "vra"),
    ("GET /api/v1/coverage", "vra"),
    ("GET /api/v1/timeline", "ra"),
    ("GET /api/v1/who-did", "ra"),
    ("GET /api/v1/visits", "ra"),
    ("GET /api/v1/sessions", "ra"),
    ("GET /api/v1/permissions", "ra"),
    ("GET /api/v1/suggested-role", "ra"),
    ("GET /api/v1/reports/{kind}", "a"),
    ("POST /api/v1/permissions/import", "r"),
];

const AUTH: &str = "
tokens:
  - {name: v, token: viewer-viewer-viewer-viewer-viewer, roles: [viewer]}
  - {name: r, token: responder-responder-responder-responder-responder, roles: [responder]}
  - {name: a, token: auditor-auditor-auditor-auditor-auditor, roles: [auditor]}
basic:
  - {username: vera, password: pw-viewer, roles: [viewer]}
  - {username: rita, password: pw-responder, roles: [responder]}
  - {username: adam, password: pw-auditor, roles: [auditor]}
proxy: {from: [10.9.0.0/16], secret: proxy-secret}
certificates: true
groups: {viewers: [viewer], responders: [responder], auditors: [auditor]}
";

const ROLES: [(&str, &str); 3] = [("viewer", "vera"), ("responder", "rita"), ("auditor", "adam")];

pub(super) struct World {
    status: Arc<Status>,
    service: TowerToHyperService<axum::Router>,
    entries: mpsc::Receiver<Entry>,
    metrics: Arc<Metrics>,
    pub(super) guard: Arc<Guard>,
    _directory: tempfile::TempDir,
}

fn world(auth: &str, is_reachable: bool) -> World {
    let read: SecretSource = Arc::new(|secret| match secret {
        SecretRef::Inline(text) => Ok(text.clone()),
        _ => Err("no such secret".to_owned()),
    });
    world_with(auth, is_reachable, read)
}

/// A world whose secrets are what is read.
pub(super) fn world_with(auth: &str, is_reachable: bool, read: SecretSource) -> World {
    let settings = if auth.is_empty() {
        ServerSettings { is_for_anybody: false, ..ServerSettings::open() }
    } else {
        let source = SourceText::new("t.yaml", auth);
        let (nodes, problems) = (parse(&source).unwrap(), Problems::new());
        let section = Section::new(&source, &problems, &nodes[0], "http.auth");
        let config = AuthConfig::parse(section, true, false);
        let credentials = Some(Credentials::build(&config, read).unwrap());
        ServerSettings { credentials, ..ServerSettings::open() }
    };
    let settings = ServerSettings {
        health_is_public: false,
        metrics_are_public: false,
        is_secure: true,
        hosts: vec!["tripline.example.org".to_owned()],
        ..settings
    };
    let directory = tempfile::tempdir().unwrap();
    let (sender, entries) = mpsc::channel(1_024);
    let metrics = Arc::new(Metrics::new());
    let status = Arc::new(Status::new(&[]));
    let context = ServerContext {
        status: Arc::clone(&status),
        metrics: Arc::clone(&metrics),
        reload: mpsc::channel(1).0,
        acts: mpsc::channel(1).0,
        events: Events::none(),
        slack: Slack::none(),
        desk: Desk::new(directory.path(), &directory.path().join("ledger"), Some(sender)),
    };
    let (router, guard) = guarded(context, settings, is_reachable);
    let service = TowerToHyperService::new(router);
    World { status, service, entries, metrics, guard, _directory: directory }
}

/// A request, as it is put together.
pub(super) struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    peer: Peer,
}

pub(super) fn ask(method: &'static str, path: &str) -> Ask {
    let peer = Peer { address: [192, 0, 2, 7].into(), subject: None };
    let host = ("host".to_owned(), "tripline.example.org".to_owned());
    Ask { method, path: path.to_owned(), headers: vec![host], body: String::new(), peer }
}

impl Ask {
    pub(super) fn with(mut self, name: &str, value: &str) -> Ask {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn from(mut self, address: [u8; 4]) -> Ask {
        self.peer.address = address.into();
        self
    }

    pub(super) fn form(mut self, body: &str) -> Ask {
        body.clone_into(&mut self.body);
        self.with("content-type", "application/x-www-form-urlencoded")
    }

    pub(super) async fn of(self, world: &World) -> Response<Body> {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.extension(self.peer).body(Body::from(self.body)).unwrap();
        world.service.call(request).await.unwrap()
    }

    pub(super) async fn code(self, world: &World) -> u16 {
        self.of(world).await.status().as_u16()
    }
}

async fn text(answer: Response<Body>) -> String {
    String::from_utf8(to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

pub(super) fn cookie(answer: &Response<Body>) -> String {
    let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
    for part in ["__Host-tripline=", "; Path=/", "; HttpOnly", "; SameSite=Strict", "; Secure"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    cookie.split(';').next().unwrap().to_owned()
}

pub(super) async fn logged_in(world: &World, user: &str, password: &str) -> String {
    let form = format!("user={user}&password={password}&to=%2Falerts");
    let answer = ask("POST", "/login").form(&form).of(world).await;
    assert_eq!(answer.status().as_u16(), 303);
    assert_eq!(answer.headers()[header::LOCATION], "/alerts");
    cookie(&answer)
}

/// The hidden token of forms of a session, as its pages have it.
fn form_token(world: &World, cookie: &str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, cookie.parse().unwrap());
    let peer = Peer { address: [192, 0, 2, 7].into(), subject: None };
    match world.guard.door.who(&headers, &peer).0 {
        super::Known::Caller(caller) => caller.form_token().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_has_not_said_who_they_are_gets_the_icon_of_the_page_that_asks() {
    let world = world(AUTH, true);
    let page = text(ask("GET", "/login").of(&world).await).await;
    let icon = page.split("rel=\"icon\"").nth(1).unwrap().split('"').nth(3).unwrap();
    assert_eq!(ask("GET", icon).code(&world).await, 200, "{page}");
}

#[test]
fn every_route_is_in_the_table() {
    let of = |(name, _): &(&'static str, &str)| (*name).to_owned();
    let table: BTreeSet<String> = TABLE.iter().map(of).collect();
    let routes = ROUTES.iter().map(|route| {
        let method = if route.method == Method::Get { "GET" } else { "POST" };
        format!("{method} {}", route.path)
    });
    assert_eq!(routes.collect::<BTreeSet<String>>(), table);
}

/// A request for a route, as one that nothing but its sender speaks against.
fn fair(route: &str) -> Ask {
    let (method, path) = route.split_once(' ').unwrap();
    let path = ["{fingerprint}", "{start}", "{hash}", "{id}", "{kind}", "{name}"]
        .iter()
        .fold(path.to_owned(), |path, name| path.replace(name, "00000000000000000000000000000000"));
    let path = if path.ends_with("/who-did") { path + "?verb=get&resource=secrets" } else { path };
    let method = if method == "GET" { "GET" } else { "POST" };
    let asked = ask(method, &path).with("origin", "https://tripline.example.org");
    if route == "POST /login" {
        return asked.form("bearer=viewer-viewer-viewer-viewer-viewer");
    }
    asked
}

#[tokio::test]
async fn every_route_lets_in_by_every_way_those_who_may_and_nobody_else() {
    let world = world(AUTH, true);
    for (route, may) in TABLE {
        let nobody = fair(route).code(&world).await;
        assert_eq!(nobody == 401, *may != "-", "{route} by nobody: {nobody}");
        for (role, user) in ROLES {
            let token = format!("Bearer {}", [role; 5].join("-"));
            let basic = format!("Basic {}", STANDARD.encode(format!("{user}:pw-{role}")));
            let session = logged_in(&world, user, &format!("pw-{role}")).await;
            let form = form_token(&world, &session);
            let mut by_certificate = fair(route);
            by_certificate.peer.subject = Some(Arc::new(Subject {
                name: user.to_owned(),
                organizations: vec![format!("{role}s")],
            }));
            let ways = [
                ("token", fair(route).with("authorization", &token)),
                ("basic", fair(route).with("authorization", &basic)),
                ("session", fair(route).with("cookie", &session).with("x-tripline-token", &form)),
                (
                    "proxy",
                    fair(route)
                        .from([10, 9, 1, 1])
                        .with("x-forwarded-user", user)
                        .with("x-forwarded-groups", &format!("others, {role}s"))
                        .with("x-tripline-secret", "proxy-secret"),
                ),
                ("certificate", by_certificate),
            ];
            for (way, asked) in ways {
                let code = asked.code(&world).await;
                if *may == "s" {
                    assert_eq!(code, 401, "{route} {role} by {way}: who asks is of no use there");
                    continue;
                }
                let is_let_in = matches!(*may, "-" | "h" | "m") || may.contains(&role[..1]);
                assert!(!matches!(code, 401 | 429), "{route} {role} by {way}: {code}");
                assert_eq!(code != 403, is_let_in, "{route} {role} by {way}: {code}");
            }
        }
    }
}

#[tokio::test]
async fn where_others_can_reach_it_and_nobody_is_asked_only_health_and_metrics_answer() {
    let (reachable, local) = (world("", true), world("", false));
    for (route, may) in TABLE {
        let shown = fair(route).code(&reachable).await;
        let is_all_there_is = matches!(*may, "-" | "h" | "m" | "s");
        assert_eq!(shown != 403, is_all_there_is, "{route}: {shown}");
        let shown = fair(route).code(&local).await;
        if *may == "s" {
            assert_eq!(shown, 401, "{route}");
            continue;
        }
        assert!(!matches!(shown, 401 | 403) || route.ends_with("/login"), "{route}: {shown}");
    }
    let answer = text(ask("GET", "/api/v1/alerts").of(&reachable).await).await;
    assert!(answer.contains("http.auth") && answer.contains("not_configured"), "{answer}");
}

#[tokio::test]
async fn headers_of_a_proxy_from_elsewhere_are_dropped_and_counted() {
    let world = world(AUTH, true);
    let forged = |address: [u8; 4]| {
        ask("GET", "/api/v1/timeline")
            .from(address)
            .with("x-forwarded-user", "rita")
            .with("x-forwarded-groups", "responders")
    };
    let right = ("x-tripline-secret", "proxy-secret");
    assert_eq!(forged([10, 9, 1, 1]).with(right.0, right.1).code(&world).await, 200);
    assert_eq!(forged([10, 8, 1, 1]).with(right.0, right.1).code(&world).await, 401, "elsewhere");
    assert_eq!(forged([10, 9, 1, 1]).code(&world).await, 401, "no secret");
    assert_eq!(forged([10, 9, 1, 1]).with(right.0, "guess").code(&world).await, 401);
    let twice = forged([10, 9, 1, 1]).with(right.0, right.1).with("x-forwarded-user", "adam");
    assert_eq!(twice.code(&world).await, 401);
    let viewer = "Bearer viewer-viewer-viewer-viewer-viewer";
    let both = forged([10, 8, 1, 1]).with("authorization", viewer);
    assert_eq!(both.code(&world).await, 403, "who has a token is whom it names");
    let metrics = world.metrics.render();
    let dropped = "tripline_http_refused_total{reason=\"forged\",server=\"http\"} 2";
    assert!(metrics.contains(dropped), "{metrics}");
}

#[tokio::test]
async fn a_session_is_new_is_of_who_logged_in_and_ends() {
    let world = world(AUTH, true);
    let chosen = "__Host-tripline=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_eq!(ask("GET", "/api/v1/alerts").with("cookie", chosen).code(&world).await, 401);
    let form = "user=vera&password=pw-viewer&to=//evil.example";
    let answer = ask("POST", "/login").with("cookie", chosen).form(form).of(&world).await;
    assert_eq!(answer.headers()[header::LOCATION], "/", "no other site");
    let session = cookie(&answer);
    assert_ne!(session, chosen);
    assert_eq!(ask("GET", "/api/v1/alerts").with("cookie", chosen).code(&world).await, 401);
    assert_eq!(ask("GET", "/api/v1/alerts").with("cookie", &session).code(&world).await, 200);
    assert_eq!(ask("GET", "/api/v1/timeline").with("cookie", &session).code(&world).await, 403);
    let twice = format!("{session}; __Host-tripline=x");
    assert_eq!(ask("GET", "/api/v1/alerts").with("cookie", &twice).code(&world).await, 401);
    let plain = session.replace("__Host-", "");
    assert_eq!(ask("GET", "/api/v1/alerts").with("cookie", &plain).code(&world).await, 401);

    let token = form_token(&world, &session);
    let leave = |token: &str| {
        ask("POST", "/logout").with("cookie", &session).form(&format!("token={token}"))
    };
    assert_eq!(leave("wrong").code(&world).await, 403);
    assert_eq!(leave(&token).code(&world).await, 303);
    assert_eq!(ask("GET", "/api/v1/alerts").with("cookie", &session).code(&world).await, 401);
    assert_eq!(leave(&token).code(&world).await, 401, "replayed after the session's end");
}

#[tokio::test]
async fn forms_of_other_sites_and_of_other_sessions_do_nothing() {
    let world = world(AUTH, true);
    let (mine, hers) = (
        logged_in(&world, "rita", "pw-responder").await,
        logged_in(&world, "adam", "pw-auditor").await,
    );
    let (my_token, her_token) = (form_token(&world, &mine), form_token(&world, &hers));
    let reload = |token: &str| {
        ask("POST", "/-/reload").with("cookie", &mine).form(&format!("token={token}&why=x"))
    };
    // The channel is closed: 503 is what comes of a reload that was let through.
    assert_eq!(reload(&my_token).code(&world).await, 503);
    assert_eq!(reload(&her_token).code(&world).await, 403, "of another session");
    assert_eq!(reload("").code(&world).await, 403);
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let code = reload(&my_token).with(name, value).code(&world).await;
        assert_eq!(code, 403, "{name}: {value}");
        let login = ask("POST", "/login").with(name, value).form("user=vera&password=pw-viewer");
        assert_eq!(
            login.code(&world).await,
            403,
            "a log-in that another site made: {name}: {value}"
        );
    }
    let json =
        ask("POST", "/-/reload").with("cookie", &mine).with("content-type", "application/json");
    assert_eq!(json.code(&world).await, 403, "a session always needs its token");
    let basic = format!("Basic {}", STANDARD.encode("rita:pw-responder"));
    let posted = || ask("POST", "/-/reload").with("authorization", &basic);
    assert_eq!(posted().code(&world).await, 503, "a program");
    assert_eq!(posted().form("why=x").code(&world).await, 403, "a browser that knows a password");
    let token = "Bearer responder-responder-responder-responder-responder";
    let by_token = ask("POST", "/-/reload")
        .with("authorization", token)
        .with("origin", "https://evil.example")
        .form("a=b");
    assert_eq!(by_token.code(&world).await, 503, "no browser sends a token by itself");
}

#[tokio::test]
async fn a_name_that_came_to_stand_for_this_machine_sees_nothing() {
    let world = world("", false);
    let asked = |method, path: &str, host: &str| {
        let mut asked = ask(method, path);
        asked.headers = vec![("host".to_owned(), host.to_owned())];
        asked
    };
    for (host, is_ours) in [
        ("localhost:9464", true),
        ("127.0.0.1:9464", true),
        ("tripline.example.org", true),
        ("rebound.example", false),
        ("localhost.rebound.example", false),
    ] {
        let code = asked("GET", "/api/v1/alerts", host).code(&world).await;
        assert_eq!(code == 200, is_ours, "{host}: {code}");
        let code = asked("POST", "/-/reload", host).code(&world).await;
        assert_eq!(code == 503, is_ours, "{host}: {code}");
    }
}

#[tokio::test]
async fn wrong_passwords_are_counted_by_address_and_tokens_are_taken_meanwhile() {
    let world = world(AUTH, true);
    let wrong = |address| ask("POST", "/login").from(address).form("user=vera&password=no");
    for _ in 0..10 {
        assert_eq!(wrong([192, 0, 2, 1]).code(&world).await, 401);
    }
    let answer = wrong([192, 0, 2, 1]).of(&world).await;
    assert_eq!(answer.status().as_u16(), 429);
    let right = ask("POST", "/login").from([192, 0, 2, 1]).form("user=vera&password=pw-viewer");
    assert_eq!(right.code(&world).await, 429, "the right one is not looked at, either");
    let basic = format!("Basic {}", STANDARD.encode("vera:pw-viewer"));
    let asked = |address| ask("GET", "/api/v1/alerts").from(address).with("authorization", &basic);
    assert_eq!(asked([192, 0, 2, 1]).code(&world).await, 429);
    assert_eq!(asked([192, 0, 2, 2]).code(&world).await, 200, "others are not concerned");
    let token = "Bearer viewer-viewer-viewer-viewer-viewer";
    let by_token = ask("GET", "/api/v1/alerts").from([192, 0, 2, 1]).with("authorization", token);
    assert_eq!(by_token.code(&world).await, 200);
}

#[tokio::test]
async fn a_person_is_led_to_the_page_where_they_log_in_and_a_program_is_told() {
    let world = world(AUTH, true);
    let page = ask("GET", "/?since=7d").with("accept", "text/html,*/*").of(&world).await;
    assert_eq!(page.status().as_u16(), 303);
    assert_eq!(page.headers()[header::LOCATION], "/login?to=/%3Fsince%3D7d");
    let html = text(ask("GET", "/login?to=%22%3E%3Cscript%3E").of(&world).await).await;
    assert!(html.contains("name=\"password\"") && !html.contains("<script>"), "{html}");
    let answer = ask("GET", "/api/v1/alerts").with("accept", "text/html").of(&world).await;
    assert_eq!(answer.headers().get_all(header::WWW_AUTHENTICATE).iter().count(), 2);
    let body: serde_json::Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(body["code"], "no_credentials");
    let strange = ask("GET", "/api/v1/alerts?rul=a")
        .with("authorization", "Bearer viewer-viewer-viewer-viewer-viewer");
    let body: serde_json::Value =
        serde_json::from_str(&text(strange.of(&world).await).await).unwrap();
    assert_eq!(body["code"], "unknown_parameter");
    assert!(body["hint"].as_str().unwrap().contains("did you mean `rule`?"), "{body}");
}

#[tokio::test]
async fn log_ins_refusals_and_views_are_entries() {
    let mut world = world(AUTH, true);
    let session = logged_in(&world, "rita", "pw-responder").await;
    let seen = ask("GET", "/api/v1/visits?since=7d").with("cookie", &session);
    assert_eq!(seen.code(&world).await, 200);
    let token = "Bearer viewer-viewer-viewer-viewer-viewer";
    let refused = ask("GET", "/api/v1/timeline").with("authorization", token);
    assert_eq!(refused.code(&world).await, 403);
    assert_eq!(ask("POST", "/login").form("user=eve&password=x").code(&world).await, 401);
    let mut told = Vec::new();
    while let Ok(entry) = world.entries.try_recv() {
        assert_eq!(entry.fact_of("address"), Some("192.0.2.7"));
        told.push((entry.kind, entry.party, entry.what, entry.subject, entry.detail));
    }
    let of = |kind, party: &str, what: &str, subject: &str, detail: &str| {
        (kind, party.to_owned(), what.to_owned(), subject.to_owned(), detail.to_owned())
    };
    assert_eq!(told[0], of(EntryKind::Login, "rita", "logged in", "browser", ""));
    assert_eq!(told[1], of(EntryKind::View, "rita", "seen", "visits", "since=7d"));
    assert_eq!((told[2].1.as_str(), told[2].3.as_str()), ("v", "/api/v1/timeline"));
    let wrong = "user or password is wrong";
    assert_eq!(told[3], of(EntryKind::Login, "eve", "refused", "/login", wrong));
    assert_eq!(told.len(), 4);
    // So is every page that shows what people did; those of permissions show nothing until they are asked.
    let shows = |route: &str| route.starts_with("GET /") && !route.contains("/permissions");
    for (route, _) in TABLE.iter().filter(|(route, may)| *may == "ra" && shows(route)) {
        let page = fair(route).with("cookie", &session).code(&world).await;
        let kind = world.entries.try_recv().map(|entry| entry.kind);
        assert_eq!(page == 200, kind == Ok(EntryKind::View), "{route}: {page}");
    }

    // Nobody sees what cannot be recorded.
    world.entries.close();
    let seen = ask("GET", "/api/v1/visits").with("cookie", &session).of(&world).await;
    assert_eq!(seen.status().as_u16(), 503);
    assert!(text(seen).await.contains("not_recorded"));
}

#[tokio::test]
async fn a_flood_of_refusals_is_a_bounded_number_of_entries() {
    let mut world = world(AUTH, true);
    for _ in 0..200 {
        ask("GET", "/api/v1/alerts").with("authorization", "Bearer x").code(&world).await;
    }
    let mut count = 0;
    while world.entries.try_recv().is_ok() {
        count += 1;
    }
    assert_eq!(count, 60);
    // What somebody tries whom we know does not go under in it, and what was left out is told.
    let viewer = "Bearer viewer-viewer-viewer-viewer-viewer";
    let refused = ask("GET", "/api/v1/timeline").with("authorization", viewer);
    assert_eq!(refused.code(&world).await, 403);
    assert_eq!(world.entries.try_recv().unwrap().party, "v");
    let left_out = world.guard.desk.left_out(true).pop().unwrap();
    assert_eq!((left_out.party.as_str(), left_out.count_of("left_out")), ("", 140));
}

#[tokio::test]
async fn who_has_no_role_sees_no_metrics() {
    let world = world(AUTH, true);
    for (groups, code) in [("others", 403), ("others, viewers", 200)] {
        let asked = ask("GET", "/metrics").from([10, 9, 1, 1]).with("x-forwarded-user", "eve");
        let asked = asked.with("x-tripline-secret", "proxy-secret");
        let asked = asked.with("x-forwarded-groups", groups);
        assert_eq!(asked.code(&world).await, code, "{groups}");
    }
}

#[tokio::test]
async fn the_overview_and_reports_show_what_a_role_may_see() {
    let world = world(AUTH, true);
    let token = |role: &str| format!("Bearer {}", [role; 5].join("-"));
    let page = async |role: &str, path: &str| {
        let asked = ask("GET", path).with("authorization", &token(role));
        text(asked.of(&world).await).await
    };
    for (role, may) in [("viewer", false), ("responder", true), ("auditor", true)] {
        let overview = page(role, "/").await;
        assert_eq!(overview.contains("privileged requests, by hour"), may, "{role}");
        assert_eq!(overview.contains("class=privileged"), may, "{role}");
    }
    for (role, may) in [("viewer", false), ("responder", false), ("auditor", true)] {
        let reports = page(role, "/reports").await;
        assert_eq!(reports.contains("/api/v1/reports/access"), may, "{role}");
        assert!(reports.contains("tripline report access"), "{role}");
    }
}

#[tokio::test]
async fn the_menu_has_the_pages_that_a_role_may_open() {
    let world = world(AUTH, true);
    for (role, count) in [("viewer", 10), ("responder", 14), ("auditor", 14)] {
        let token = format!("Bearer {}", [role; 5].join("-"));
        // A page that is there, and one that says that there is none.
        for path in ["/", "/nothing"] {
            let asked = ask("GET", path).with("accept", "text/html");
            let page = text(asked.with("authorization", &token).of(&world).await).await;
            let menu = page.split("<nav").nth(1).and_then(|rest| rest.split("</nav>").next());
            let links = menu.unwrap().split("href=\"").skip(1);
            let links: Vec<&str> = links.map(|rest| rest.split('"').next().unwrap()).collect();
            assert_eq!(links.len(), count, "{role}: {links:?}");
            for link in links {
                let asked = ask("GET", link).with("authorization", &token);
                assert_eq!(asked.code(&world).await, 200, "{role}: {link}");
            }
        }
    }
}

#[tokio::test]
async fn links_lead_where_their_reader_may_go_and_who_may_not_is_told_by_a_page() {
    let world = world(AUTH, true);
    let began = EventTime::parse("2026-01-05T22:14:01Z").unwrap();
    let key = [("user.username", "eve"), ("source.ip", "10.0.0.1"), ("namespace", "pay")];
    let alert = Alert {
        key: key.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..Alert::begun(began.as_wall(), ("id-a", "Shell"), Severity::High, BTreeMap::new())
    };
    world.status.alert_changed(&alert);
    let of_alert = format!("/alerts/{}/{}", alert.fingerprint, began.rfc3339());
    for role in ROLES.map(|(role, _)| role) {
        let token = format!("Bearer {}", [role; 5].join("-"));
        let page =
            |path: &str| ask("GET", path).with("authorization", &token).with("accept", "text/html");
        for path in ["/", "/alerts", of_alert.as_str(), "/silences", "/rules", "/ledger"] {
            let text = text(page(path).of(&world).await).await;
            assert_eq!(
                text.contains("Shell"),
                path.len() < 2 || path.contains("/alerts"),
                "{path}"
            );
            let links = text.split("href=\"/").skip(1).filter(|link| !link.starts_with("static/"));
            for link in links {
                let link = link.split('"').next().unwrap().replace("&amp;", "&");
                let code = page(&format!("/{link}")).code(&world).await;
                assert_ne!(code, 403, "{role}: {path} leads to /{link}");
            }
            assert!(role == "responder" || !text.contains("action=\"/act\""), "{role}: {path}");
        }
        let barred = match role {
            "viewer" => ["/actor?id=eve", "/act?act=comment"].as_slice(),
            "auditor" => &["/silences/new"],
            _ => &[],
        };
        for path in barred {
            let answer = page(path).of(&world).await;
            assert_eq!(answer.status().as_u16(), 403, "{role}: {path}");
            assert!(answer.headers().contains_key("content-security-policy"));
            let text = text(answer).await;
            assert!(text.contains("<nav") && text.contains("is a responder"), "{text}");
        }
    }
}

#[tokio::test]
async fn what_was_written_is_not_lost_when_the_session_is_over() {
    let world = world(AUTH, true);
    let own = "https://tripline.example.org";
    let form = "act=comment&text=a+%3Cb%3E+long+story&back=%2Falerts%3Fq%3D1";
    let sent = || ask("POST", "/act").form(form).with("accept", "text/html");
    let answer = sent().with("origin", own).of(&world).await;
    assert_eq!(answer.status().as_u16(), 401);
    let page = text(answer).await;
    assert!(page.contains("long story") && !page.contains("<b>"), "{page}");
    assert!(page.contains("/login?to=/alerts%3Fq%3D1"), "{page}");
    // Whoever is led here by another site, or asks for no page, is told in a line.
    for asked in [sent().with("origin", "https://evil.example"), ask("POST", "/act").form(form)] {
        let answer = asked.of(&world).await;
        assert!(matches!(answer.status().as_u16(), 401 | 403));
        assert!(!text(answer).await.contains("long story"));
    }
}

#[tokio::test]
async fn where_nothing_is_is_said_to_programs_and_to_people() {
    let world = world(AUTH, true);
    let token = "Bearer viewer-viewer-viewer-viewer-viewer";
    let nothing = |path| ask("GET", path).with("authorization", token);
    let answer = nothing("/api/v1/nothing").of(&world).await;
    assert_eq!(answer.status().as_u16(), 404);
    let json: serde_json::Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(json["code"], "not_found");
    let answer = nothing("/nothing").with("accept", "text/html").of(&world).await;
    assert_eq!(answer.status().as_u16(), 404);
    assert!(text(answer).await.contains("type=\"search\""));
    for (path, code) in
        [("/ledger?kind=zz", 400), ("/ledger?kind=view", 400), ("/ledger?kind=rules", 200)]
    {
        assert_eq!(nothing(path).code(&world).await, code, "{path}");
    }
}
