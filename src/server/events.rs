//! Events fetched again by where they were read, for whoever looks at an alert: few at once, in a bounded time.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::NAME;
use crate::{
    engine::{decode::Again, event_ref::EventRef},
    telemetry::{Metrics, Refusal},
};

/// Events that are fetched at once: 2. Whoever asks for a third is told to come back, and counted as `busy`.
const FETCHES_MAX: usize = 2;

/// How long a page waits for an event: 8 s. A broker that answers later is heard to the end, in one of the
/// places of [`FETCHES_MAX`], and the answer is dropped.
const FETCH_WAIT: Duration = Duration::from_secs(8);

/// Fetches an event again by where it was read. Blocks the thread for as long as a broker takes to answer, so
/// it is called on a thread that may block.
pub type FetchEvent = Arc<dyn Fn(&EventRef) -> Again + Send + Sync>;

/// Where events are fetched again. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    fetch: Option<FetchEvent>,
    room: Arc<Semaphore>,
    wait: Duration,
}

/// What came of fetching one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// Somebody looked.
    Looked(Again),
    /// Others look, and nobody else can meanwhile.
    Busy,
    /// Where it is did not answer in time.
    Slow,
    /// There is nowhere to look.
    Nowhere,
}

impl Events {
    /// Fetches events in this way.
    pub fn new(fetch: FetchEvent) -> Events {
        Events { fetch: Some(fetch), ..Events::none() }
    }

    /// Has nowhere to fetch them from.
    pub fn none() -> Events {
        Events { fetch: None, room: Arc::new(Semaphore::new(FETCHES_MAX)), wait: FETCH_WAIT }
    }

    /// Fetches an event.
    pub(super) async fn fetch(&self, event: EventRef, metrics: &Metrics) -> Fetched {
        let Some(fetch) = self.fetch.clone() else { return Fetched::Nowhere };
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            metrics.refused(NAME, Refusal::Busy);
            return Fetched::Busy;
        };
        let looking = tokio::task::spawn_blocking(move || {
            let again = fetch(&event);
            drop(room);
            again
        });
        match tokio::time::timeout(self.wait, looking).await {
            Ok(Ok(again)) => Fetched::Looked(again),
            Ok(Err(_)) => {
                Fetched::Looked(Again::Unreadable("the look for it broke down".to_owned()))
            }
            Err(_) => Fetched::Slow,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;
    use crate::engine::event_ref::{AuditId, EventPosition};

    fn event() -> EventRef {
        let position = EventPosition { topic: "audit".into(), partition: 0, offset: 7, index: 0 };
        EventRef { position, audit_id: AuditId::new("a"), event_hash: [1; 32].into() }
    }

    /// A broker that answers once it is let.
    fn broker() -> (FetchEvent, Arc<(Mutex<bool>, Condvar)>) {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let behind = Arc::clone(&gate);
        let fetch = move |_: &EventRef| {
            let (is_open, bell) = &*behind;
            drop(bell.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
            Again::PastRetention
        };
        (Arc::new(fetch), gate)
    }

    #[tokio::test]
    async fn a_broker_that_is_away_is_not_waited_for_and_holds_two_places_at_most() {
        let (fetch, gate) = broker();
        let wait = Duration::from_millis(20);
        let (events, metrics) = (Events { wait, ..Events::new(fetch) }, Metrics::new());
        metrics.begin_refusals(NAME);
        for outcome in [Fetched::Slow, Fetched::Slow, Fetched::Busy] {
            assert_eq!(events.fetch(event(), &metrics).await, outcome);
        }
        let text = metrics.render();
        let counted =
            text.lines().any(|line| line.contains("reason=\"busy\"") && line.ends_with(" 1"));
        assert!(counted, "{text}");
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        while events.room.available_permits() < FETCHES_MAX {
            tokio::task::yield_now().await;
        }
        let again = Fetched::Looked(Again::PastRetention);
        assert_eq!(events.fetch(event(), &metrics).await, again);
        assert_eq!(Events::none().fetch(event(), &metrics).await, Fetched::Nowhere);
    }
}
