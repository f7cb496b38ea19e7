//! Carries out attempts, each on its own task and with a deadline. How many there are at once the engine
//! decides.

use std::{
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use super::input::Input;
use crate::{
    engine::{
        coordinator,
        dispatch::{Notification, Outcome, OutcomeReason},
    },
    notify::Receivers,
    source::Claim,
};

/// How long an attempt waits at most until all sources are sure that their streams are still this process's: 5 s.
/// While brokers do not answer nobody can be, and alerts are more than that.
const SURE_WAIT: Duration = Duration::from_secs(5);

/// How often it looks meanwhile.
const SURE_LOOK: Duration = Duration::from_millis(20);

/// Runs attempts on a tokio runtime and reports their outcomes to the coordinator.
pub(super) struct Delivery {
    runtime: tokio::runtime::Handle,
    receivers: Receivers,
    claims: Arc<[Arc<Claim>]>,
    outcomes: Sender<Input>,
}

impl Delivery {
    /// For these receivers, of a process whose sources have these claims.
    pub(super) fn new(
        runtime: tokio::runtime::Handle,
        receivers: Receivers,
        claims: Arc<[Arc<Claim>]>,
        outcomes: Sender<Input>,
    ) -> Delivery {
        Delivery { runtime, receivers, claims, outcomes }
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
        let (claims, receivers) = (Arc::clone(&self.claims), self.receivers.clone());
        let news = self.outcomes.clone();
        self.runtime.spawn(async move {
            are_sure(&claims).await;
            // A task of its own, so that a panic in a notifier is an outcome and not a lost attempt.
            let (carried, carrier) = (Arc::clone(&notification), Arc::clone(&notifier));
            let attempt = tokio::spawn(async move { carrier.notify(&carried).await });
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
            // Whoever is there by now is to hear first that its alerts fire.
            if notification.address.is_some_and(|address| address != notifier.address()) {
                let input = coordinator::Input::RetryNow(receivers.addresses());
                drop(news.send(Input::Engine(input)));
            }
            report(notification, outcome);
        });
    }
}

/// Waits until no source has to ask first whether its stream is another process's by now: that one tells the
/// rest then.
async fn are_sure(claims: &[Arc<Claim>]) {
    let all = async {
        while claims.iter().any(|claim| claim.is_in_doubt()) {
            tokio::time::sleep(SURE_LOOK).await;
        }
    };
    // Whoever waited in vain sends.
    drop(tokio::time::timeout(SURE_WAIT, all).await);
}
