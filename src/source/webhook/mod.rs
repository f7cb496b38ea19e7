//! API servers push their audit events here: the other end of `--audit-webhook-config-file`.
//!
//! An API server keeps what it could not deliver for a while and tries again. So a body is answered with 200
//! only when the checkpoint is durable that holds what it caused, and until then it is the API server that
//! has it; what comes twice counts once. A partition is a cluster, or the path that it posts to, and an
//! offset the number of a body: nothing can be read again here, so a position says no more than how many
//! there were.

mod body;
mod intake;
mod serve;
mod settings;

pub use settings::{Webhook, WebhookSettings};

use std::{sync::Arc, time::Duration};

use self::{
    intake::{Intake, Troubles},
    serve::{App, router},
};
use crate::{
    source::{Source, SourceContext, SourceError, SourceEvent},
    web::{self, Access, Certificate, Limits, ListenError, SecretSource, Serving},
};

/// How often a port that another process has is tried again: every second.
const BIND_RETRY: Duration = Duration::from_secs(1);

/// How often it is told what was refused: every second.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// A source that listens.
pub struct WebhookSource {
    settings: WebhookSettings,
    certificate: Option<Arc<Certificate>>,
    /// Who may post to each route.
    access: Vec<Access>,
}

impl WebhookSource {
    /// A source whose secrets can be read. It does not listen yet.
    ///
    /// # Errors
    /// A certificate or a secret that cannot be used, for people.
    pub fn new(settings: WebhookSettings, read: &SecretSource) -> Result<WebhookSource, String> {
        let certificate = match &settings.web.certificate {
            Some(config) => {
                let built = Certificate::build(config, Arc::clone(read));
                Some(Arc::new(built.map_err(|why| format!("tls.{why}"))?))
            }
            None => None,
        };
        let access = settings
            .routes
            .iter()
            .map(|route| Access::build(&route.access, Arc::clone(read)))
            .collect::<Result<_, _>>()?;
        Ok(WebhookSource { settings, certificate, access })
    }
}

impl Source for WebhookSource {
    fn run(self: Box<Self>, context: SourceContext) -> Result<(), SourceError> {
        // One thread is enough for what API servers send, and ends with the source.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| SourceError::Fatal(format!("webhook source: {error}")))?;
        runtime.block_on(self.listen(context))
    }
}

impl WebhookSource {
    async fn listen(self, context: SourceContext) -> Result<(), SourceError> {
        let WebhookSource { settings, certificate, access } = self;
        let SourceContext { name, sink, positions, committed, events, stop, .. } = context;
        let Some(listener) = bind(&settings, &*events, &stop).await? else { return Ok(()) };
        tracing::info!(listen = settings.web.listen, "waiting for audit events of API servers");
        let intake = Intake::new(name.as_ref(), &settings, sink, &positions);
        events(SourceEvent::Ready { partitions: intake.partitions() });
        let troubles = Arc::new(Troubles::default());
        let on_refused = {
            let troubles = Arc::clone(&troubles);
            move |why: crate::telemetry::Refusal| troubles.add(why.as_str(), "a connection")
        };
        let serving =
            Serving { limits: Limits::default(), certificate, on_refused: Arc::new(on_refused) };
        let app =
            App::new(settings, access, intake, committed, Arc::clone(&troubles), stop.clone());
        let serve = web::serve(listener, router(Arc::new(app)), serving, stop);
        tokio::select! {
            () = serve => {}
            () = keep_telling(&troubles, &*events) => {}
        }
        troubles.tell(&*events);
        Ok(())
    }
}

/// Tells what is refused, as long as it is waited for.
async fn keep_telling(troubles: &Troubles, events: &(dyn Fn(SourceEvent) + Send + Sync)) {
    let mut interval = tokio::time::interval(TELL_INTERVAL);
    loop {
        interval.tick().await;
        troubles.tell(events);
    }
}

/// Opens the port. One that another process has is waited for: it may be the one that this one replaces.
/// `None`: told to stop meanwhile.
async fn bind(
    settings: &WebhookSettings,
    events: &(dyn Fn(SourceEvent) + Send + Sync),
    stop: &tokio_util::sync::CancellationToken,
) -> Result<Option<tokio::net::TcpListener>, SourceError> {
    let mut is_told = false;
    loop {
        match web::bind(&settings.web.listen, settings.web.may_be_reached()).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(error @ ListenError::InUse { .. }) => {
                if !std::mem::replace(&mut is_told, true) {
                    events(SourceEvent::Unavailable { detail: error.to_string() });
                }
            }
            Err(error) => return Err(SourceError::Config(format!("webhook source: {error}"))),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(BIND_RETRY) => {}
        }
    }
}
