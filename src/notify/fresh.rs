//! A notifier that follows its secrets: when a token, a password or a certificate changes on disk, it is
//! built anew, without a restart.
//!
//! Files are looked at by content before each attempt, and again if the receiver refuses the
//! credentials, since they may have been changed in between. What cannot be used (a file that is being
//! written) is passed over: the notifier goes on as it was, and says so once.

use std::sync::{Arc, Mutex, PoisonError};

use super::{BuildContext, Notifier, NotifierConfig, NotifyFuture};
use crate::{
    engine::{
        diagnostic::Diagnostic,
        dispatch::{Address, Notification, Outcome, OutcomeReason},
    },
    web::hash_of,
};

/// A configured notifier, built from what its files held when they were last looked at.
#[derive(Clone)]
pub(super) struct Fresh(Arc<Inner>);

struct Inner {
    config: Arc<dyn NotifierConfig>,
    context: Arc<BuildContext>,
    /// `receivers[0].slack`, for the log.
    path: String,
    state: Mutex<State>,
}

struct State {
    notifier: Arc<dyn Notifier>,
    /// What it was built from.
    built_from: Content,
    /// What it could not be built from, if that is what the files hold now.
    unusable: Option<Content>,
}

/// A hash of all secrets and certificates.
type Content = [u8; 32];

impl Fresh {
    /// Builds the notifier for the first time.
    ///
    /// # Errors
    /// As [`NotifierConfig::build`].
    pub(super) fn build(
        config: Arc<dyn NotifierConfig>,
        context: Arc<BuildContext>,
        path: String,
    ) -> Result<Fresh, Box<Diagnostic>> {
        let built_from = content(&*config, &context);
        let notifier = config.build(&context)?;
        let state = Mutex::new(State { notifier, built_from, unusable: None });
        Ok(Fresh(Arc::new(Inner { config, context, path, state })))
    }

    /// Looks at the files; whether the notifier was built anew.
    pub(super) fn look(&self) -> bool {
        let before = self.0.notifier();
        !Arc::ptr_eq(&before, &self.0.look())
    }

    /// The notifier, after a look at the files on a thread that may wait for the disk.
    async fn current(&self) -> Arc<dyn Notifier> {
        let inner = Arc::clone(&self.0);
        let looked = tokio::task::spawn_blocking(move || inner.look()).await;
        looked.unwrap_or_else(|_| self.0.notifier())
    }
}

impl Notifier for Fresh {
    fn address(&self) -> Address {
        self.0.notifier().address()
    }

    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        Box::pin(async move {
            let notifier = self.current().await;
            if is_for_another(&*notifier, notification) {
                return elsewhere();
            }
            let outcome = notifier.notify(notification).await;
            let is_refused =
                matches!(&outcome, Outcome::Rejected { reason: OutcomeReason::AuthError, .. });
            if !is_refused {
                return outcome;
            }
            let newer = self.current().await;
            if Arc::ptr_eq(&newer, &notifier) {
                return outcome;
            }
            if is_for_another(&*newer, notification) {
                return elsewhere();
            }
            newer.notify(notification).await
        })
    }
}

/// Whether a notification tells what another address is owed.
fn is_for_another(notifier: &dyn Notifier, notification: &Notification) -> bool {
    notification.address.is_some_and(|address| address != notifier.address())
}

/// Nobody was told: who is there by now may know nothing of its alerts.
fn elsewhere() -> Outcome {
    let detail = "its address has changed".to_owned();
    Outcome::Retry { reason: OutcomeReason::Connection, detail, after: None }
}

impl Inner {
    fn notifier(&self) -> Arc<dyn Notifier> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&state.notifier)
    }

    fn look(&self) -> Arc<dyn Notifier> {
        let found = content(&*self.config, &self.context);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if found == state.built_from || state.unusable == Some(found) {
            return Arc::clone(&state.notifier);
        }
        match self.config.build(&self.context) {
            Ok(notifier) => {
                tracing::info!("{}: secrets or certificates changed; using them", self.path);
                *state = State { notifier, built_from: found, unusable: None };
            }
            Err(problem) => {
                let why = &problem.title;
                tracing::error!("{}.{why}; going on with what was there before", self.path);
                state.unusable = Some(found);
            }
        }
        Arc::clone(&state.notifier)
    }
}

/// What all secrets and certificates of a notifier are now.
fn content(config: &dyn NotifierConfig, context: &BuildContext) -> Content {
    hash_of(&context.secret, &config.secrets(), &config.files())
}
