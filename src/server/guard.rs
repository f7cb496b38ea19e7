//! What every request passes before it is answered: who asks and whether they may, whether a browser was led
//! here by another site, whether there is room, and a body that comes in time.
//!
//! Health and metrics need no room and, if configured so, no credentials: a probe must be answered whatever
//! else goes on.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    body::{Body, HttpBody as _},
    extract::{Extension, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Redirect, Response},
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    NAME, ServerContext,
    bodies::Bodies,
    caller::{Caller, Right, Way},
    console::{self, View},
    desk::Desk,
    door::{Door, Known, field, is_form, is_same, login_path, too_many},
    kept,
    problem::Problem,
    route::{Needs, Table},
};
use crate::{
    telemetry::{Metrics, Refusal},
    web::{BodyError, Peer, collect, discard},
};

/// Requests that are answered at once, those for health and metrics left out: 32. Further ones wait for
/// [`ROOM_WAIT`], and are told to come back with 503 if that was in vain.
const REQUESTS_MAX: usize = 32;

/// How long a request waits for room: 10 s. When something fires, a whole team opens the same page at once; who waits
/// holds a connection and nothing else.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// Bytes of a request's body: 64 KiB, room for an act on 1,000 alerts. A larger one is answered with 413.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Bytes of what Slack says of a click: 256 KiB. The whole message is in it, each character in up to 16 bytes.
const SIGNED_BYTES_MAX: usize = 256 << 10;

/// How long the body of a request may take: 10 s. It has no room of those that are answered until it is there.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// The header in which a script may say what forms have in their field `token`.
const TOKEN_HEADER: &str = "x-tripline-token";

/// What requests pass.
pub(super) struct Guard {
    pub(super) door: Arc<Door>,
    pub(super) desk: Desk,
    pub(super) hosts: Vec<String>,
    pub(super) health_is_public: bool,
    pub(super) metrics_are_public: bool,
    metrics: Arc<Metrics>,
    room: Semaphore,
    bodies: Bodies,
    /// Metrics are rendered one after another: whoever asks for them a hundred times at once must not take
    /// all threads from probes.
    scrapes: Semaphore,
}

/// A guard before a route.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) guard: Arc<Guard>,
    pub(super) needs: Needs,
}

/// Somebody with a browser who may not see a page: the answer is one, with the pages that they may.
#[derive(Clone)]
struct Barred {
    caller: Caller,
    problem: Problem,
}

/// Why a request is not taken in.
enum Untaken {
    /// There is no room.
    Busy,
    /// Its body did not come.
    Body(BodyError),
}

/// Why somebody is not let through.
struct Refused {
    why: Refusal,
    answer: Response,
}

impl Guard {
    pub(super) fn new(
        (door, desk): (Door, Desk),
        hosts: Vec<String>,
        (health_is_public, metrics_are_public): (bool, bool),
        metrics: Arc<Metrics>,
    ) -> Guard {
        let (room, scrapes) = (Semaphore::new(REQUESTS_MAX), Semaphore::new(1));
        let (door, bodies) = (Arc::new(door), Bodies::default());
        Guard {
            door,
            desk,
            hosts,
            health_is_public,
            metrics_are_public,
            metrics,
            room,
            bodies,
            scrapes,
        }
    }

    /// Who asks, if they may; `None`, if nobody needs to be known.
    fn enter(&self, needs: Needs, request: &Request) -> Result<Option<Caller>, Box<Refused>> {
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Err(refused(request, Refusal::Unauthorized, unknown()));
        };
        let (known, is_forged) = self.door.who(request.headers(), peer);
        if is_forged {
            self.metrics.refused(NAME, Refusal::Forged);
        }
        let is_public = match needs {
            Needs::Nothing | Needs::Signature => true,
            Needs::Health => self.health_is_public,
            Needs::Metrics => self.metrics_are_public,
            Needs::Right(_) => false,
        };
        // Where nobody can be known, health and metrics are all there is.
        let is_all_there_is = !self.door.knows_somebody() && !matches!(needs, Needs::Right(_));
        // Metrics name the rules that fire: who is known and has no role sees no more of them than nobody.
        let right = match needs {
            Needs::Right(right) => Some(right),
            Needs::Metrics if !is_public => Some(Right::SeeAlerts),
            Needs::Nothing | Needs::Signature | Needs::Health | Needs::Metrics => None,
        };
        match known {
            Known::Caller(caller) => match right {
                Some(right) if !caller.may(right) => {
                    let why = format!("{} ({})", needed(right), caller.roles_text());
                    let address = peer.address.to_string();
                    self.desk.refused((&caller.name, &address), request.uri().path(), &why);
                    let problem = forbidden(right, &caller);
                    let mut refused = refused(request, Refusal::Forbidden, problem.clone());
                    if wants_page(request) {
                        refused.answer.extensions_mut().insert(Barred { caller, problem });
                    }
                    Err(refused)
                }
                _ => Ok(Some(caller)),
            },
            _ if is_public || is_all_there_is => Ok(None),
            Known::Nobody if !self.door.knows_somebody() => {
                Err(refused(request, Refusal::Unauthorized, not_configured()))
            }
            Known::Nobody => Err(self.challenge(request, unknown())),
            Known::Wrong(name, why) => {
                let address = peer.address.to_string();
                self.desk.unknown((&name, &address), request.uri().path(), why);
                Err(self.challenge(request, Problem { message: why.to_owned(), ..unknown() }))
            }
            Known::Blocked => {
                let address = peer.address.to_string();
                self.desk.unknown(("", &address), request.uri().path(), "too many tries");
                let mut refused = refused(request, Refusal::Tries, too_many());
                refused.answer.headers_mut().insert(header::RETRY_AFTER, retry_after());
                Err(refused)
            }
        }
    }

    /// 401 with how to do it right; a person with a browser is shown where to log in.
    fn challenge(&self, request: &Request, problem: Problem) -> Box<Refused> {
        let mut refused = refused(request, Refusal::Unauthorized, problem);
        if wants_page(request) && self.door.has_login() {
            let to = request.uri().path_and_query().map_or("/", |to| to.as_str());
            refused.answer = Redirect::to(&login_path(to)).into_response();
            return refused;
        }
        for way in self.door.ways() {
            let way = HeaderValue::from_static(way);
            refused.answer.headers_mut().append(header::WWW_AUTHENTICATE, way);
        }
        refused
    }

    /// Whether a page of somebody else may have made a browser ask.
    fn is_own_wish(&self, caller: Option<&Caller>, request: &Request) -> Result<(), String> {
        let is_read = is_read(request);
        match caller.map(|caller| caller.way) {
            // No browser sends a bearer token because somebody else's page says so.
            Some(Way::Token) => Ok(()),
            // What nobody is asked for must not be read by a page whose name came to stand for us, either.
            Some(Way::Local) if is_read => host(request.headers(), &self.hosts).map(drop),
            _ if is_read => Ok(()),
            _ => led_here(request.headers(), &self.hosts),
        }
    }

    /// Counts somebody who was refused.
    pub(super) fn count(&self, why: Refusal) {
        self.metrics.refused(NAME, why);
    }

    /// The same; what somebody without a session wrote into a form is shown again.
    async fn refuse_kindly(&self, request: Request, refused: Box<Refused>) -> Response {
        let is_lost = refused.answer.status() == StatusCode::UNAUTHORIZED
            && kept::is_sent_by_browser(request.uri().path(), request.headers());
        if !is_lost || self.is_own_wish(None, &request).is_err() {
            return self.refuse(request, *refused).await;
        }
        self.metrics.refused(NAME, refused.why);
        let (uri, address) = (request.uri().clone(), address_of(&request));
        match self.take_in(request.into_body(), BODY_BYTES_MAX, (address, false)).await {
            Ok((body, _room)) => kept::page(StatusCode::UNAUTHORIZED, unknown(), &body),
            Err(why) => self.untaken(&uri, why),
        }
    }

    /// A request's body, and then room for its answer: whoever sends slowly keeps nobody from an answer meanwhile.
    async fn take_in(
        &self,
        body: Body,
        bytes_max: usize,
        (address, is_known): (IpAddr, bool),
    ) -> Result<(Vec<u8>, SemaphorePermit<'_>), Untaken> {
        // Who sends nothing but a head has no place among bodies, and so gives way to none.
        let place = (!body.is_end_stream()).then(|| self.bodies.begin(address, is_known));
        let gives_way = async {
            match &place {
                Some(place) => place.gives_way().await,
                None => std::future::pending().await,
            }
        };
        let taken = async {
            let body = collect(body, bytes_max, BODY_WAIT).await.map_err(Untaken::Body)?;
            match tokio::time::timeout(ROOM_WAIT, self.room.acquire()).await {
                Ok(Ok(room)) => Ok((body, room)),
                _ => Err(Untaken::Busy),
            }
        };
        tokio::select! {
            taken = taken => taken,
            () = gives_way => Err(Untaken::Busy),
        }
    }

    /// The answer to a request that was not taken in; counts what was for want of room or of speed.
    fn untaken(&self, uri: &Uri, why: Untaken) -> Response {
        match why {
            Untaken::Busy => {
                self.metrics.refused(NAME, Refusal::Busy);
                let message = "too many requests are being answered";
                let problem =
                    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message, "come back");
                let headers = [(header::RETRY_AFTER, "1"), (header::CONNECTION, "close")];
                (headers, told(uri, problem)).into_response()
            }
            Untaken::Body(error) => {
                if error == BodyError::Slow {
                    self.metrics.refused(NAME, Refusal::Slow);
                }
                unread(uri, error)
            }
        }
    }

    async fn refuse(&self, request: Request, refused: Refused) -> Response {
        self.metrics.refused(NAME, refused.why);
        discard(request.into_body()).await;
        refused.answer
    }
}

/// From where a request came.
fn address_of(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |peer| peer.address)
}

fn is_read(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

fn is_api(uri: &Uri) -> bool {
    uri.path().starts_with("/api/")
}

/// A problem as those read it who asked there.
fn told(uri: &Uri, problem: Problem) -> Response {
    if is_api(uri) { problem.into_response() } else { problem.into_text() }
}

/// Whether a person looks at the answer with a browser.
fn wants_page(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    is_read(request)
        && !is_api(request.uri())
        && accept.is_some_and(|kinds| kinds.contains("text/html"))
}

fn refused(request: &Request, why: Refusal, problem: Problem) -> Box<Refused> {
    Box::new(Refused { why, answer: told(request.uri(), problem) })
}

fn unknown() -> Problem {
    let hint = "show a token, or user and password";
    let message = "credentials are needed, or these are wrong";
    Problem::new(StatusCode::UNAUTHORIZED, "no_credentials", message, hint)
}

fn not_configured() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "not_configured",
        "only health and metrics are shown here: others can reach this address, and nobody would be asked who \
         they are",
        "configure `http.auth` (tokens, basic, proxy or certificates), or listen on 127.0.0.1",
    )
}

const fn needed(right: Right) -> &'static str {
    match right {
        Right::SeeAlerts => "who sees this is a viewer, a responder or an auditor",
        Right::SeeAccesses => "who sees this is a responder or an auditor",
        Right::Act => "who does this is a responder",
        Right::Report => "who sees this is an auditor",
    }
}

fn forbidden(right: Right, caller: &Caller) -> Problem {
    let is = match caller.roles_text() {
        none if none.is_empty() => "has no role".to_owned(),
        roles => format!("is {roles}"),
    };
    let message = format!("{}; {} {is}", needed(right), caller.name);
    let message = crate::engine::text::printable(&message).into_owned();
    let hint = "roles are given in `http.auth`";
    Problem::new(StatusCode::FORBIDDEN, "forbidden", message, hint)
}

fn retry_after() -> HeaderValue {
    HeaderValue::from_static("60")
}

/// Who may not see a page is told so by one, as they are told that there is none.
pub(super) async fn bar(
    State(context): State<ServerContext>,
    Extension(table): Extension<Table>,
    request: Request,
    next: Next,
) -> Response {
    let answer = next.run(request).await;
    match answer.extensions().get::<Barred>().cloned() {
        Some(Barred { caller, problem }) => {
            console::barred(&View::of(context, caller, table), problem)
        }
        None => answer,
    }
}

/// Lets a request through, or answers it.
pub(super) async fn guard(
    State(Guarded { guard, needs }): State<Guarded>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match guard.enter(needs, &request) {
        Ok(caller) => caller,
        Err(refused) => return guard.refuse_kindly(request, refused).await,
    };
    if matches!(needs, Needs::Health | Needs::Metrics) && is_read(&request) {
        request.extensions_mut().insert(caller);
        let _turn = match needs {
            Needs::Metrics => guard.scrapes.acquire().await.ok(),
            _ => None,
        };
        return next.run(request).await;
    }
    if let Err(why) = guard.is_own_wish(caller.as_ref(), &request) {
        let hint = "load the page again from the server itself";
        let problem = Problem::new(StatusCode::FORBIDDEN, "other_site", why, hint);
        let refused = refused(&request, Refusal::Forbidden, problem);
        return guard.refuse(request, *refused).await;
    }
    let bytes_max = match needs {
        Needs::Signature => SIGNED_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    };
    let whose = (address_of(&request), caller.is_some());
    let (mut head, body) = request.into_parts();
    let (body, _room) = match guard.take_in(body, bytes_max, whose).await {
        Ok(taken) => taken,
        Err(why) => return guard.untaken(&head.uri, why),
    };
    if let Some(caller) = &caller
        && !matches!(needs, Needs::Nothing | Needs::Signature)
        && !matches!(head.method, Method::GET | Method::HEAD)
        && !is_own_form(caller, &head.headers, &body)
    {
        guard.metrics.refused(NAME, Refusal::Forbidden);
        if kept::is_sent_by_browser(head.uri.path(), &head.headers) {
            return kept::page(StatusCode::FORBIDDEN, stale(), &body);
        }
        return told(&head.uri, stale());
    }
    head.extensions.insert(Arc::clone(&guard));
    if let Some(caller) = caller {
        head.extensions.insert(caller);
    }
    next.run(Request::from_parts(head, Body::from(body))).await
}

/// Whether what a browser sends has the token of who sends it. Nobody else's page knows that. A token in a
/// header needs none, nor does JSON, before which browsers ask; but a session always does.
fn is_own_form(caller: &Caller, headers: &HeaderMap, body: &[u8]) -> bool {
    let needs_token = match caller.way {
        Way::Token => false,
        Way::Session => true,
        Way::Local | Way::Basic | Way::Proxy | Way::Certificate | Way::Slack => is_form(headers),
    };
    let in_header = headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok());
    let given = in_header.map(str::to_owned).or_else(|| field(body, "token"));
    !needs_token || given.is_some_and(|given| is_same(&given, caller.form_token()))
}

fn stale() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "stale_form",
        "this form is not of your session, or the session is another one by now: nothing was done",
        "go back, load the page again and send it again; what you wrote is still in the form",
    )
}

fn unread(uri: &Uri, error: BodyError) -> Response {
    let (status, code, message, hint) = match error {
        BodyError::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the body is too large",
            "send less at once",
        ),
        BodyError::Slow => {
            (StatusCode::REQUEST_TIMEOUT, "too_slow", "the body took too long", "send it again")
        }
        BodyError::Broken => {
            (StatusCode::BAD_REQUEST, "bad_request", "the body broke off", "send it again")
        }
    };
    let problem = Problem::new(status, code, message, hint);
    ([(header::CONNECTION, "close")], told(uri, problem)).into_response()
}

/// The name by which we are asked, if it is one of ours.
fn host(headers: &HeaderMap, hosts: &[String]) -> Result<String, String> {
    let host = match headers.get(header::HOST).map(|value| value.to_str()) {
        Some(Ok(host)) => host_of(host),
        _ => return Err("the header Host is missing".to_owned()),
    };
    let is_known = host == "localhost"
        || host.parse::<IpAddr>().is_ok()
        || hosts.iter().any(|known| host_of(known) == host);
    if is_known {
        return Ok(host);
    }
    let host = crate::engine::text::printable(&host).into_owned();
    Err(format!(
        "`{host}` is not known as a name of this server; if it is one, add it to `http.hosts`"
    ))
}

/// Whether a browser may have been led here by a page of somebody else, and by what it shows. Such a page
/// can make a browser ask (`Sec-Fetch-Site`, `Origin`), or let its own name stand for this address (`Host`).
fn led_here(headers: &HeaderMap, hosts: &[String]) -> Result<(), String> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str());
    let host = host(headers, hosts)?;
    let site = header::HeaderName::from_static("sec-fetch-site");
    if let Some(site) = text(site)
        && !matches!(site, Ok("same-origin" | "none"))
    {
        return Err("another site asks (Sec-Fetch-Site)".to_owned());
    }
    if let Some(origin) = text(header::ORIGIN) {
        let authority = origin.ok().and_then(|origin| origin.split_once("://"));
        if authority.is_none_or(|(_, authority)| host_of(authority) != host) {
            return Err("another site asks (Origin)".to_owned());
        }
    }
    Ok(())
}

/// `[::1]:9464` → `::1`, `Host.Example.:80` → `host.example`.
fn host_of(authority: &str) -> String {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        list.iter().map(|(name, text)| (name.parse().unwrap(), value(text))).collect()
    }

    #[test]
    fn only_names_of_this_server_may_change_things() {
        let known = ["tripline.example.org".to_owned(), "tripline:9464".to_owned()];
        for good in [
            "127.0.0.1:9464",
            "[::1]:9464",
            "::1",
            "10.1.2.3",
            "localhost",
            "LocalHost:80",
            "tripline.example.org",
            "Tripline.Example.org.:443",
            "tripline",
        ] {
            let outcome = led_here(&headers(&[("host", good)]), &known);
            // A bare IPv6 address is no authority; clients put brackets around it.
            assert_eq!(outcome.is_ok(), good != "::1", "{good}: {outcome:?}");
        }
        for wrong in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
            assert!(led_here(&headers(&[("host", wrong)]), &known).is_err(), "{wrong}");
        }
        assert!(led_here(&HeaderMap::new(), &known).is_err());
    }

    #[test]
    fn other_sites_may_not_change_things() {
        let of = |name, value| {
            led_here(&headers(&[("host", "localhost:9464"), (name, value)]), &[]).is_ok()
        };
        for site in ["cross-site", "same-site", "", "SAME-ORIGIN"] {
            assert!(!of("sec-fetch-site", site), "{site}");
        }
        assert!(of("sec-fetch-site", "same-origin") && of("sec-fetch-site", "none"));
        for origin in ["null", "https://evil.example", "http://localhost.evil.example", ""] {
            assert!(!of("origin", origin), "{origin}");
        }
        assert!(of("origin", "http://localhost:9464") && of("origin", "https://localhost"));
    }
}
