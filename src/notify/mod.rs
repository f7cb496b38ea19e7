//! How notifications reach people and systems: one contract for all receivers.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

use std::{future::Future, pin::Pin, sync::Arc};

use crate::engine::{
    diagnostic::Diagnostic,
    dispatch::{Grouping, Notification, Outcome},
    yaml::{SecretRef, Section},
};

/// A future that a notifier hands out.
pub type NotifyFuture<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// One configured way to tell somebody.
///
/// Contract, held by `tests/it/contract.rs` for every kind: one call is one attempt; it never sleeps
/// to retry, has its own deadline, puts no secret into an outcome's detail, and sends the
/// notification's id so that the receiver can deduplicate.
pub trait Notifier: Send + Sync {
    /// One attempt.
    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a>;
}

/// A kind of notifier: a line of [`NOTIFIERS`] and a file.
pub trait NotifierKind: Sync {
    /// Its key in a receiver's configuration.
    fn name(&self) -> &'static str;
    /// One sentence for help and README.
    fn summary(&self) -> &'static str;
    /// A configuration that works as it stands, as YAML of the section below the kind's key.
    fn example(&self) -> &'static str;
    /// Grouping that suits it when a route says nothing.
    fn grouping(&self) -> Grouping;
    /// Whether it follows Alertmanager's contract of resending until resolved.
    fn resends(&self) -> bool {
        false
    }
    /// Least time between two notifications.
    fn spacing(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
    /// Reads the section; reports every mistake in it and returns `None` if there is any. Pure:
    /// nothing is opened, no secret is read.
    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn NotifierConfig>>;
}

/// A section that was read and is correct in itself.
pub trait NotifierConfig: Send + Sync {
    /// The secrets that [`NotifierConfig::build`] will ask for, so that `check` can try them.
    fn secrets(&self) -> Vec<SecretRef>;
    /// Builds the notifier.
    ///
    /// # Errors
    /// What is wrong, for people: a secret that cannot be read, a certificate that is none.
    fn build(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>>;
}

/// What building a notifier needs from the shell.
pub struct BuildContext {
    /// Reads a secret.
    #[expect(clippy::type_complexity, reason = "one closure, named here once")]
    pub secret: Box<dyn Fn(&SecretRef) -> Result<String, String> + Send + Sync>,
    /// Base URL under which people reach this Tripline; for links in messages.
    pub external_url: Option<String>,
}
