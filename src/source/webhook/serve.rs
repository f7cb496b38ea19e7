//! What a request passes: path, method, credentials, rate, size and time of its body, what it is, room in
//! the pipeline, and the checkpoint.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    WebhookSettings,
    body::{Judge, Unfit},
    intake::{Intake, Troubles},
};
use crate::{
    engine::{record::Position, text::one_line},
    source::SINK_RETRY,
    web::{Access, BodyError, collect, discard},
};

/// Bytes of bodies that are held at once: 128 MiB. Further ones are told to come back.
const HELD_BYTES_MAX: usize = 128 << 20;

/// In which steps they are counted: 1 KiB.
const HELD_STEP: usize = 1 << 10;

/// How long a body may take to come: 10 s.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// How long a body waits for room in the pipeline before the client is told to come back: 1 s.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// How long a body waits for its checkpoint: 20 s. API servers wait for 30.
const DURABLE_WAIT: Duration = Duration::from_secs(20);

/// When a client should come back, in seconds. It does so ten times, and then begins anew a few times.
const RETRY_AFTER: &str = "5";

/// What answers requests.
pub(super) struct App {
    settings: WebhookSettings,
    /// Who may post to each route.
    access: Vec<Access>,
    rates: Vec<Mutex<Rate>>,
    held: Semaphore,
    judge: Judge,
    intake: Intake,
    committed: watch::Receiver<Vec<Position>>,
    troubles: Arc<Troubles>,
    stop: CancellationToken,
}

/// How many requests may come now.
struct Rate {
    left: f64,
    looked: Instant,
}

/// Why a request was refused: a word for metrics, the status, what to say.
struct Refused {
    what: &'static str,
    status: StatusCode,
    why: String,
    /// Headers that go with it.
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl Refused {
    fn new(what: &'static str, status: StatusCode, why: impl Into<String>) -> Refused {
        Refused { what, status, why: why.into(), headers: Vec::new() }
    }

    fn with(mut self, name: header::HeaderName, value: &'static str) -> Refused {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The client should come again later.
    fn later(what: &'static str, why: &str) -> Refused {
        Refused::new(what, StatusCode::SERVICE_UNAVAILABLE, why)
            .with(header::RETRY_AFTER, RETRY_AFTER)
    }
}

impl App {
    pub(super) fn new(
        settings: WebhookSettings,
        access: Vec<Access>,
        intake: Intake,
        committed: watch::Receiver<Vec<Position>>,
        troubles: Arc<Troubles>,
        stop: CancellationToken,
    ) -> App {
        let rate = || Mutex::new(Rate { left: 1.0, looked: Instant::now() });
        App {
            rates: settings.routes.iter().map(|_| rate()).collect(),
            settings,
            access,
            held: Semaphore::new(HELD_BYTES_MAX / HELD_STEP),
            judge: Judge::new(),
            intake,
            committed,
            troubles,
            stop,
        }
    }

    async fn take(&self, request: Request) -> Result<(), Refused> {
        let (head, body) = request.into_parts();
        let admitted = self.route_of(&head).and_then(|route| {
            let bytes = self.announced(&head.headers)?.unwrap_or(self.settings.body_bytes_max);
            let steps = u32::try_from(bytes.div_ceil(HELD_STEP)).unwrap_or(u32::MAX);
            let held = self.held.try_acquire_many(steps);
            let held = held.map_err(|_| Refused::later("busy", "too many bodies are held"))?;
            Ok((route, held))
        });
        let (route, _held) = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => {
                discard(body).await;
                return Err(refused);
            }
        };
        let body = collect(body, self.settings.body_bytes_max, BODY_WAIT).await;
        let body = body.map_err(|error| self.no_body(error))?;
        self.take_body(route, &body).await
    }

    /// The route that a request may post to.
    fn route_of(&self, head: &Parts) -> Result<usize, Refused> {
        let path = head.uri.path();
        let routes = self.settings.routes.iter().enumerate();
        let meant: Vec<usize> =
            routes.filter(|(_, route)| route.path == path).map(|(index, _)| index).collect();
        let Some(first) = meant.first() else {
            let why = "nothing is configured for this path";
            return Err(Refused::new("unknown_path", StatusCode::NOT_FOUND, why));
        };
        let allows = |index: &&usize| {
            self.access.get(**index).is_some_and(|access| access.allows(&head.headers))
        };
        let Some(route) = meant.iter().find(allows) else {
            let why = "credentials are needed, or these are wrong";
            let mut refused = Refused::new("unauthorized", StatusCode::UNAUTHORIZED, why);
            if let Some(access) = self.access.get(*first) {
                let challenge = access.challenge();
                let ways = challenge.headers().get_all(header::WWW_AUTHENTICATE).iter();
                refused.headers.extend(ways.map(|way| (header::WWW_AUTHENTICATE, way.clone())));
            }
            return Err(refused);
        };
        if head.method != Method::POST {
            let why = "audit events are posted";
            let refused = Refused::new("method", StatusCode::METHOD_NOT_ALLOWED, why);
            return Err(refused.with(header::ALLOW, "POST"));
        }
        if !self.is_in_time(*route) {
            let why = "too many requests a second";
            let refused = Refused::new("rate", StatusCode::TOO_MANY_REQUESTS, why);
            return Err(refused.with(header::RETRY_AFTER, "1"));
        }
        Ok(*route)
    }

    /// Whether another request may come now: as many as come in a second may come at once.
    fn is_in_time(&self, route: usize) -> bool {
        let Some(rate) = self.rates.get(route) else { return false };
        let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let most = f64::from(self.settings.requests_per_second);
        let since = now.duration_since(std::mem::replace(&mut rate.looked, now)).as_secs_f64();
        rate.left = since.mul_add(most, rate.left).min(most);
        let is_in_time = rate.left >= 1.0;
        if is_in_time {
            rate.left -= 1.0;
        }
        is_in_time
    }

    /// Bytes of the body, as its head says; `None` if it does not.
    fn announced(&self, headers: &HeaderMap) -> Result<Option<usize>, Refused> {
        let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
        let bytes = length.to_str().ok().and_then(|text| text.parse::<usize>().ok());
        match bytes {
            Some(bytes) if bytes <= self.settings.body_bytes_max => Ok(Some(bytes)),
            _ => Err(self.no_body(BodyError::TooLarge)),
        }
    }

    fn no_body(&self, error: BodyError) -> Refused {
        match error {
            BodyError::TooLarge => {
                let why = format!(
                    "the body is larger than {} bytes; let the API server make smaller batches \
                     (--audit-webhook-truncate-enabled, --audit-webhook-batch-max-size)",
                    self.settings.body_bytes_max
                );
                Refused::new("too_large", StatusCode::PAYLOAD_TOO_LARGE, why)
                    .with(header::CONNECTION, "close")
            }
            BodyError::Slow => {
                let why = "the body took too long";
                Refused::new("slow", StatusCode::REQUEST_TIMEOUT, why)
                    .with(header::CONNECTION, "close")
            }
            BodyError::Broken => {
                Refused::new("broken", StatusCode::BAD_REQUEST, "the body broke off")
                    .with(header::CONNECTION, "close")
            }
        }
    }

    /// Hands a body to the pipeline and waits until what it caused is durable.
    async fn take_body(&self, route: usize, body: &[u8]) -> Result<(), Refused> {
        match self.judge.refuses(body) {
            Some(Unfit::NoEvents(why)) => {
                return Err(Refused::new("no_events", StatusCode::BAD_REQUEST, why));
            }
            Some(Unfit::TooMany(why)) => {
                return Err(Refused::new("too_many_events", StatusCode::PAYLOAD_TOO_LARGE, why));
            }
            None => {}
        }
        let room = async {
            loop {
                if let Some(position) = self.intake.offer(route, body) {
                    return position;
                }
                tokio::time::sleep(SINK_RETRY).await;
            }
        };
        let full = || Refused::later("full", "the pipeline is full");
        let stopping = || Refused::later("stopping", "Tripline is stopping");
        let position = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(stopping()),
            position = tokio::time::timeout(ROOM_WAIT, room) => position.map_err(|_| full())?,
        };
        let mut committed = self.committed.clone();
        let durable = committed.wait_for(|positions| {
            positions.iter().any(|known| {
                known.partition == position.partition && known.next_offset >= position.next_offset
            })
        });
        tokio::select! {
            biased;
            durable = tokio::time::timeout(DURABLE_WAIT, durable) => match durable {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err(stopping()),
                Err(_) => Err(Refused::later("not_durable", "the checkpoint is not durable yet")),
            },
            () = self.stop.cancelled() => Err(stopping()),
        }
    }
}

/// Every path goes to one handler: what is not configured is told apart by it, too.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new().fallback(post).with_state(app)
}

async fn post(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = one_line(request.uri().path(), 200);
    let Err(refused) = app.take(request).await else { return StatusCode::OK.into_response() };
    app.troubles.add(refused.what, format!("POST {path}: {}", refused.why));
    let mut response = (refused.status, format!("{}\n", refused.why)).into_response();
    for (name, value) in refused.headers {
        response.headers_mut().append(name, value);
    }
    response
}
