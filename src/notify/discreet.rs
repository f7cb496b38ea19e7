//! What receivers say, without the secrets that we gave them.

use std::sync::Arc;

use super::{Notifier, NotifyFuture};
use crate::engine::{
    dispatch::{Address, Notification, Outcome},
    text::Secrets,
};

/// A notifier whose outcomes hold none of its secrets, whatever its receiver repeats.
pub(super) struct Discreet {
    pub(super) notifier: Arc<dyn Notifier>,
    pub(super) secrets: Secrets,
}

impl Notifier for Discreet {
    fn address(&self) -> Address {
        self.notifier.address()
    }

    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        Box::pin(async move {
            let mut outcome = self.notifier.notify(notification).await;
            match &mut outcome {
                Outcome::Retry { detail, .. } | Outcome::Rejected { detail, .. } => {
                    *detail = self.secrets.cut_from(detail);
                }
                // A receipt is kept for long, and of no use if it is made of our own words.
                Outcome::Delivered { receipt } => {
                    let repeats = |value: &String| self.secrets.are_in(value);
                    if receipt.as_ref().is_some_and(|known| known.values.values().any(repeats)) {
                        *receipt = None;
                    }
                }
            }
            outcome
        })
    }
}
