//! Carries out attempts: each on its own task, with a deadline, a few at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    app::coordinator::Input,
    engine::dispatch::{Notification, Outcome, OutcomeReason},
    notify::Receivers,
};

/// Attempts under way at once: 64. Further ones wait their turn.
const ATTEMPTS_MAX: usize = 64;

/// Attempts under way at once to one notifier: 8.
const ATTEMPTS_PER_NOTIFIER_MAX: usize = 8;

/// How long one attempt may take: 60 s. Notifiers have shorter deadlines of their own.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(60);

/// Runs attempts on a tokio runtime and reports their outcomes to the coordinator.
pub(super) struct Delivery {
    runtime: tokio::runtime::Handle,
    receivers: Receivers,
    /// By receiver and index of its notifier; made when first needed.
    permits: BTreeMap<(String, usize), Arc<Semaphore>>,
    all_permits: Arc<Semaphore>,
    outcomes: Sender<Input>,
}

impl Delivery {
    /// For these receivers.
    pub(super) fn new(
        runtime: tokio::runtime::Handle,
        receivers: Receivers,
        outcomes: Sender<Input>,
    ) -> Delivery {
        let all_permits = Arc::new(Semaphore::new(ATTEMPTS_MAX));
        Delivery { runtime, receivers, permits: BTreeMap::new(), all_permits, outcomes }
    }

    /// Starts one attempt; its outcome comes back as an [`Input::Outcome`].
    pub(super) fn start(&mut self, notification: Arc<Notification>) {
        let outcomes = self.outcomes.clone();
        let (receiver, index) = (&notification.receiver, notification.notifier_index);
        let Some(notifier) = self.receivers.get(receiver, index).map(Arc::clone) else {
            let detail = format!("receiver `{receiver}` is no longer configured");
            let outcome = Outcome::Rejected { reason: OutcomeReason::Unsendable, detail };
            drop(outcomes.send(Input::Outcome { notification, outcome }));
            return;
        };
        let own = self
            .permits
            .entry((receiver.clone(), index))
            .or_insert_with(|| Arc::new(Semaphore::new(ATTEMPTS_PER_NOTIFIER_MAX)));
        let (own, all) = (Arc::clone(own), Arc::clone(&self.all_permits));
        self.runtime.spawn(async move {
            // The semaphores are never closed, so a permit always comes.
            let _own = own.acquire_owned().await;
            let _all = all.acquire_owned().await;
            // A task of its own, so that a panic in a notifier is an outcome and not a lost attempt.
            let carried = Arc::clone(&notification);
            let attempt = tokio::spawn(async move { notifier.notify(&carried).await });
            let cut_off = attempt.abort_handle();
            let retry = |reason, detail| Outcome::Retry { reason, detail, after: None };
            let outcome = match tokio::time::timeout(ATTEMPT_DEADLINE, attempt).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(broken)) => retry(OutcomeReason::Unsendable, broken.to_string()),
                Err(_) => {
                    // Or it would go on beside the next attempt.
                    cut_off.abort();
                    let detail = format!("no answer within {} s", ATTEMPT_DEADLINE.as_secs());
                    retry(OutcomeReason::Timeout, detail)
                }
            };
            drop(outcomes.send(Input::Outcome { notification, outcome }));
        });
    }
}
