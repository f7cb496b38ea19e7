//! Carries out attempts, each on its own task and with a deadline. How many there are at once the engine
//! decides.

use std::sync::{Arc, mpsc::Sender};

use super::input::Input;
use crate::{
    engine::{
        coordinator,
        dispatch::{Notification, Outcome, OutcomeReason},
    },
    notify::Receivers,
};

/// Runs attempts on a tokio runtime and reports their outcomes to the coordinator.
pub(super) struct Delivery {
    runtime: tokio::runtime::Handle,
    receivers: Receivers,
    outcomes: Sender<Input>,
}

impl Delivery {
    /// For these receivers.
    pub(super) fn new(
        runtime: tokio::runtime::Handle,
        receivers: Receivers,
        outcomes: Sender<Input>,
    ) -> Delivery {
        Delivery { runtime, receivers, outcomes }
    }

    /// Starts one attempt; its outcome comes back as an [`Input`].
    pub(super) fn start(&self, notification: Arc<Notification>) {
        let outcomes = self.outcomes.clone();
        let report = move |notification, outcome| {
            let input = coordinator::Input::Outcome { notification, outcome };
            drop(outcomes.send(Input::Engine(input)));
        };
        let (receiver, index) = (&notification.receiver, notification.notifier_index);
        let Some((notifier, attempt_max)) = self.receivers.get(receiver, index) else {
            let detail = format!("receiver `{receiver}` is no longer configured");
            let outcome = Outcome::Rejected { reason: OutcomeReason::Unsendable, detail };
            report(notification, outcome);
            return;
        };
        self.runtime.spawn(async move {
            // A task of its own, so that a panic in a notifier is an outcome and not a lost attempt.
            let carried = Arc::clone(&notification);
            let attempt = tokio::spawn(async move { notifier.notify(&carried).await });
            let cut_off = attempt.abort_handle();
            let retry = |reason, detail| Outcome::Retry { reason, detail, after: None };
            let outcome = match tokio::time::timeout(attempt_max, attempt).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(broken)) => retry(OutcomeReason::Unsendable, broken.to_string()),
                Err(_) => {
                    // Or it would go on beside the next attempt.
                    cut_off.abort();
                    let detail = format!("no answer within {} s", attempt_max.as_secs());
                    retry(OutcomeReason::Timeout, detail)
                }
            };
            report(notification, outcome);
        });
    }
}
