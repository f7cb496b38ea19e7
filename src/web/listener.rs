//! Listens, and serves each connection with a router within the limits of `connections`.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::Router;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, MissedTickBehavior},
};
use tokio_rustls::{rustls::pki_types::CertificateDer, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    certificate::Certificate,
    connections::{Connections, Guard, Limits, OnRefused, Phase},
    subject::{Peer, Subject},
};
use crate::telemetry::Refusal;

/// Bytes of a request's head: 32 KiB. A longer one is answered with 431.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// Headers of a request: 64. More are answered with 431.
const HEADERS_MAX: usize = 64;

/// How often it is looked who is too slow: 500 ms.
const LOOK: Duration = Duration::from_millis(500);

/// How often it is looked whether the certificate that a client showed still holds: 2 s. A connection can be open for weeks.
const LOOK_AT_CLIENT: Duration = Duration::from_secs(2);

/// How long requests that are under way may take once the server stops: 5 s.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// How long until the system is asked again that gave no connection: 100 ms.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("cannot listen on {listen}: the port is in use by another process; choose another one")]
    InUse {
        /// `host:port`.
        listen: String,
    },
    /// The address is not only this machine's, and anybody could ask.
    #[error(
        "will not listen on {listen}: others can reach {address}, and nobody would be asked who they are; configure `tls`, `bearer_token_file` or `basic_auth` beside it, or say `insecure: true`"
    )]
    Open {
        /// `host:port`.
        listen: String,
        /// What it stands for.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {listen}: {source}")]
    Other {
        /// `host:port`.
        listen: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Opens a port, so that one in use is known before anything else begins. One that others can reach is only
/// opened if it `may_be_reached`.
///
/// # Errors
/// The port is in use, may not be used, or the host has no address.
pub async fn bind(listen: &str, may_be_reached: bool) -> Result<TcpListener, ListenError> {
    let failed = |source: io::Error| {
        let listen = listen.to_owned();
        match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { listen },
            _ => ListenError::Other { listen, source },
        }
    };
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host(listen).await.map_err(failed)?.collect();
    let is_open = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    if let Some(address) = addresses.iter().find(is_open).filter(|_| !may_be_reached) {
        return Err(ListenError::Open { listen: listen.to_owned(), address: *address });
    }
    TcpListener::bind(addresses.as_slice()).await.map_err(failed)
}

/// How a listener serves.
pub struct Serving {
    /// What clients can hold.
    pub limits: Limits,
    /// The certificate, if it speaks TLS.
    pub certificate: Option<Arc<Certificate>>,
    /// Hears of clients that were refused, and why.
    pub on_refused: Arc<dyn Fn(Refusal) + Send + Sync>,
}

/// Serves until `stop`; requests that are under way then have five seconds.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    serving: Serving,
    stop: CancellationToken,
) {
    let Serving { limits, certificate, on_refused } = serving;
    let connections = Connections::new(limits, Arc::clone(&on_refused));
    let phase = if certificate.is_some() { Phase::Handshake } else { Phase::Head };
    let tasks = TaskTracker::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble = Trouble::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            _ = look.tick() => {
                connections.close_overdue(Instant::now());
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                trouble.is_over();
                let address = peer.ip().to_canonical();
                let guard = connections.admit(address, phase, Instant::now());
                let (certificate, peer) = (certificate.clone(), Peer { address, subject: None });
                let serving = (router.clone(), stop.clone());
                tasks.spawn(connection(stream, peer, guard, certificate, serving));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                trouble.is(&error, &on_refused);
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    // Who is still not done has had its time.
    drop(tokio::time::timeout(STOP_WAIT, tasks.wait()).await);
}

/// A client that went away before it was taken; the next one is not concerned.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Whether the system gives no connections, which is said once.
#[derive(Default)]
struct Trouble(bool);

impl Trouble {
    fn is(&mut self, error: &io::Error, on_refused: &OnRefused) {
        on_refused(Refusal::System);
        if !std::mem::replace(&mut self.0, true) {
            tracing::error!(%error, "the system gives no connections; trying again");
        }
    }

    fn is_over(&mut self) {
        if std::mem::take(&mut self.0) {
            tracing::info!("the system gives connections again");
        }
    }
}

async fn connection(
    stream: TcpStream,
    mut peer: Peer,
    guard: Guard,
    certificate: Option<Arc<Certificate>>,
    (router, stop): (Router, CancellationToken),
) {
    // Answers are written whole; waiting for more would only delay them.
    drop(stream.set_nodelay(true));
    let guard = Arc::new(guard);
    let close = guard.close().clone();
    let served = async {
        let mut shown = Vec::new();
        let stream = match &certificate {
            None => Stream::Plain(stream),
            Some(certificate) => match certificate.acceptor().accept(stream).await {
                Ok(stream) => {
                    shown = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
                    peer.subject = shown.first().and_then(|own| Subject::of(own)).map(Arc::new);
                    Stream::Tls(Box::new(stream))
                }
                Err(_) => return guard.refuse(Refusal::Handshake),
            },
        };
        guard.enter(Phase::Head, Instant::now());
        let watched = Watched { stream, guard: Arc::clone(&guard) };
        tokio::select! {
            () = no_longer_taken(certificate.as_deref(), &shown) => guard.refuse(Refusal::Handshake),
            () = speak(watched, peer, router, stop) => {}
        }
    };
    tokio::select! {
        () = close.cancelled() => {}
        () = served => {}
    }
}

/// Until a client would no longer be taken that showed these certificates; for ever, if it need show none.
async fn no_longer_taken(certificate: Option<&Certificate>, shown: &[CertificateDer<'static>]) {
    let Some(certificate) = certificate.filter(|_| !shown.is_empty()) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(LOOK_AT_CLIENT).await;
        if !certificate.takes(shown) {
            return;
        }
    }
}

/// Speaks HTTP until the client has gone, or the server stops.
async fn speak(stream: Watched, peer: Peer, router: Router, stop: CancellationToken) {
    let guard = Arc::clone(&stream.guard);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        guard.enter(Phase::Answering, Instant::now());
        request.extensions_mut().insert(peer.clone());
        let (answer, guard) = (router.call(request), Arc::clone(&guard));
        async move {
            let answer = answer.await;
            guard.enter(Phase::Writing, Instant::now());
            answer
        }
    });
    let connection = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // What goes wrong here is the client's: it spoke no HTTP, or went away.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    drop(connection.await);
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that tells its guard what moves on it.
struct Watched {
    stream: Stream,
    guard: Arc<Guard>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if buffer.filled().len() > before {
            self.guard.heard(Instant::now());
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        })?;
        self.guard.flushed(Instant::now());
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
