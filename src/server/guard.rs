//! What every request passes before it is answered: who asks, whether a browser was led here by another
//! site, whether there is room, and a body that comes in time.
//!
//! Health and metrics need no room and, if configured so, no credentials: a probe must be answered whatever
//! else goes on.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::sync::Semaphore;

use super::ServerSettings;
use crate::{
    telemetry::{Metrics, Refusal},
    web::{BodyError, collect, discard},
};

/// Requests that are answered at once, those for health and metrics left out: 32. Further ones are told to
/// come back with 503.
const REQUESTS_MAX: usize = 32;

/// Bytes of a request's body: 64 KiB, room for an act on 1,000 alerts. A larger one is answered with 413.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How long the body of a request may take: 10 s.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// Name of this server in metrics.
pub(super) const NAME: &str = "http";

/// Who asks, as far as is known; goes with the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// May see everything, since nobody is asked or the credentials are good.
    pub(super) is_known: bool,
}

/// What requests pass.
pub(super) struct Guard {
    settings: ServerSettings,
    metrics: Arc<Metrics>,
    room: Semaphore,
    /// Metrics are rendered one after another: whoever asks for them a hundred times at once must not take
    /// all threads from probes.
    scrapes: Semaphore,
}

/// What a path shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    Health,
    Metrics,
    Else,
}

impl Shows {
    fn of(path: &str) -> Shows {
        match path {
            "/healthz" | "/readyz" | "/-/healthy" | "/-/ready" => Shows::Health,
            "/metrics" => Shows::Metrics,
            _ => Shows::Else,
        }
    }
}

impl Guard {
    pub(super) fn new(settings: ServerSettings, metrics: Arc<Metrics>) -> Guard {
        let (room, scrapes) = (Semaphore::new(REQUESTS_MAX), Semaphore::new(1));
        Guard { settings, metrics, room, scrapes }
    }

    async fn refuse(&self, why: Refusal, request: Request, answer: Response) -> Response {
        self.metrics.refused(NAME, why);
        discard(request.into_body()).await;
        answer
    }
}

/// Lets a request through, or answers it.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let shows = Shows::of(request.uri().path());
    let is_known = guard.settings.access.allows(request.headers());
    let is_public = match shows {
        Shows::Health => guard.settings.health_is_public,
        Shows::Metrics => guard.settings.metrics_are_public,
        Shows::Else => false,
    };
    if !is_known && !is_public {
        let answer = guard.settings.access.challenge();
        return guard.refuse(Refusal::Unauthorized, request, answer).await;
    }
    request.extensions_mut().insert(Caller { is_known });
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        match shows {
            Shows::Health => return next.run(request).await,
            Shows::Metrics => {
                let _turn = guard.scrapes.acquire().await;
                return next.run(request).await;
            }
            Shows::Else => {}
        }
    } else if let Err(why) = led_here(request.headers(), &guard.settings.hosts) {
        let answer = (StatusCode::FORBIDDEN, format!("{why}\n")).into_response();
        return guard.refuse(Refusal::Forbidden, request, answer).await;
    }
    let Ok(_room) = guard.room.try_acquire() else {
        let text = "too many requests are being answered\n";
        let answer = (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text);
        return guard.refuse(Refusal::Busy, request, answer.into_response()).await;
    };
    let (head, body) = request.into_parts();
    match collect(body, BODY_BYTES_MAX, BODY_WAIT).await {
        Ok(body) => next.run(Request::from_parts(head, Body::from(body))).await,
        Err(error) => {
            let (status, text) = match error {
                BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"),
                BodyError::Slow => (StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
                BodyError::Broken => (StatusCode::BAD_REQUEST, "the body broke off\n"),
            };
            ([(header::CONNECTION, "close")], (status, text)).into_response()
        }
    }
}

/// Whether a browser may have been led here by a page of somebody else, and by what it shows. Such a page
/// can make a browser ask (`Sec-Fetch-Site`, `Origin`), or let its own name stand for this address (`Host`).
fn led_here(headers: &HeaderMap, hosts: &[String]) -> Result<(), String> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str());
    let host = match text(header::HOST) {
        Some(Ok(host)) => host_of(host),
        _ => return Err("the header Host is missing".to_owned()),
    };
    let is_known = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok()
        || hosts.iter().any(|known| host_of(known) == host);
    if !is_known {
        return Err(format!(
            "`{host}` is not known as a name of this server; if it is one, add it to `http.hosts`"
        ));
    }
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
