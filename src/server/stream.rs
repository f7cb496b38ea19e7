//! `/api/v1/stream`: changes of alerts as they happen, as server-sent events.
//!
//! A stream goes on for 25 s and then ends; a browser asks again by itself, with the id of what it heard last,
//! and misses nothing. So no connection is held by somebody who is gone, and whoever may no longer ask is
//! refused the next time. An id is the start of the process and a number in it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, timeout_at},
};

use super::{
    ServerContext,
    news::{Change, Since},
    status::Status,
};

/// How long one stream goes on: 25 s, less than a client may take for an answer.
const LASTS: Duration = Duration::from_secs(25);

/// What a stream is about to say.
struct Place {
    status: Arc<Status>,
    watch: watch::Receiver<u64>,
    number: u64,
    /// The first thing it says, at once.
    greeting: Option<String>,
    end: Instant,
    _permit: OwnedSemaphorePermit,
}

/// Opens a stream behind `Last-Event-ID`, or at what happens next.
pub(super) async fn open(State(context): State<ServerContext>, headers: HeaderMap) -> Response {
    let status = context.status;
    let Ok(permit) = Arc::clone(&status.streams).try_acquire_owned() else {
        let wait = [(header::RETRY_AFTER, "5")];
        return (StatusCode::SERVICE_UNAVAILABLE, wait, "too many streams are open\n")
            .into_response();
    };
    let watch = status.news.watch();
    let id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let number = match id {
        None => status.news.last(),
        // Of another process: behind everything, so that it is told to reload.
        Some(id) => number_of(&status, id).unwrap_or(u64::MAX - 1),
    };
    let firing = status.alerts_firing();
    let greeting = format!("retry: 1000\n{}", event("firing", &status, None, firing));
    let end = Instant::now() + LASTS;
    let place = Place { status, watch, number, greeting: Some(greeting), end, _permit: permit };
    let body = Body::from_stream(stream::unfold(place, |place| async move {
        next(place).await.map(|(text, place)| (Ok::<_, Infallible>(text), place))
    }));
    let kind = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
    (kind, body).into_response()
}

/// What comes next; `None` at the end.
async fn next(mut place: Place) -> Option<(String, Place)> {
    if let Some(greeting) = place.greeting.take() {
        return Some((greeting, place));
    }
    loop {
        match place.status.news.since(place.number) {
            Since::Lost => {
                place.number = place.status.news.last();
                let id = id_of(&place.status, place.number);
                return Some((format!("id: {id}\nevent: reload\ndata: {{}}\n\n"), place));
            }
            Since::Changes(changes) => {
                if let Some(last) = changes.last() {
                    place.number = last.number;
                    let mut text: String =
                        changes.iter().map(|change| written(&place.status, change)).collect();
                    text += &event("firing", &place.status, Some(last.number), last.firing);
                    return Some((text, place));
                }
            }
        }
        place.watch.borrow_and_update();
        if place.status.news.last() != place.number {
            continue;
        }
        match timeout_at(place.end, place.watch.changed()).await {
            Ok(Ok(())) => {}
            // It is over, and so is this stream.
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}

fn written(status: &Status, change: &Change) -> String {
    let data = serde_json::json!({
        "what": change.what,
        "fingerprint": change.fingerprint.to_string(),
        "starts_at": change.starts_at,
        "severity": change.severity,
        "title": change.title,
    });
    format!("id: {}\nevent: alert\ndata: {data}\n\n", id_of(status, change.number))
}

fn event(name: &str, status: &Status, number: Option<u64>, firing: usize) -> String {
    let id = number.map_or_else(String::new, |number| format!("id: {}\n", id_of(status, number)));
    format!("{id}event: {name}\ndata: {{\"firing\":{firing}}}\n\n")
}

fn id_of(status: &Status, number: u64) -> String {
    format!("{}-{number}", status.started_at().micros())
}

/// The number in an id of this process.
fn number_of(status: &Status, id: &str) -> Option<u64> {
    let (started, number) = id.split_once('-')?;
    (started == status.started_at().micros().to_string()).then(|| number.parse().ok())?
}
