//! The certificate of a server, read again when its files change.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        pki_types::{CertificateDer, UnixTime},
        server::danger::ClientCertVerifier,
    },
};

use super::{Content, SecretSource};
use crate::{
    engine::yaml::{SecretRef, Section},
    tls,
};

/// How long a look at the files holds: 1 s.
const LOOK: Duration = Duration::from_secs(1);

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateConfig {
    /// PEM file of the certificate, followed by those that signed it.
    pub cert_file: String,
    /// PEM file of its key.
    pub key_file: String,
    /// PEM file of the authorities that sign certificates of clients; then every client must show one.
    pub client_ca_file: Option<String>,
}

impl CertificateConfig {
    /// Reads `cert_file` and `key_file`; what is missing is reported.
    pub(super) fn parse(section: Section<'_>) -> Option<CertificateConfig> {
        let help = "write `tls: {cert_file: PATH, key_file: PATH}`, both PEM";
        let cert_file = section.required_string("cert_file", help);
        let key_file = section.required_string("key_file", help);
        let client_ca_file = section.string("client_ca_file");
        section.finish();
        Some(CertificateConfig { cert_file: cert_file?, key_file: key_file?, client_ca_file })
    }

    /// The files, as what can be read.
    pub(super) fn secrets(&self) -> Vec<SecretRef> {
        self.files().map(|(_, file)| SecretRef::File(file.clone())).collect()
    }

    /// The files, by their keys.
    fn files(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let own = [("cert_file", &self.cert_file), ("key_file", &self.key_file)];
        own.into_iter().chain(self.client_ca_file.as_ref().map(|file| ("client_ca_file", file)))
    }

    fn content(&self, read: &SecretSource) -> Content {
        self.files().map(|(key, file)| (key, read(&SecretRef::File(file.clone())))).collect()
    }
}

/// What connections begin with.
#[derive(Clone)]
struct Begins {
    acceptor: TlsAcceptor,
    /// Which clients are taken, if they are asked for certificates.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// What a server shows to clients that ask who it is.
pub struct Certificate {
    config: CertificateConfig,
    read: SecretSource,
    state: Mutex<State>,
}

struct State {
    begins: Begins,
    /// What the files held at the last look.
    found: Content,
    looked: Instant,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them, for people, with the key of the setting.
    pub fn build(config: &CertificateConfig, read: SecretSource) -> Result<Certificate, String> {
        let found = config.content(&read);
        let begins = begins(&found)?;
        let state = Mutex::new(State { begins, found, looked: Instant::now() });
        Ok(Certificate { config: config.clone(), read, state })
    }

    /// What the next connection begins with.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.begins().acceptor
    }

    /// Whether a client would be taken now that showed these certificates, its own first, when its connection began:
    /// they end, and authorities are taken away. One check of signatures, some 0.1 ms.
    pub(super) fn takes(&self, shown: &[CertificateDer<'static>]) -> bool {
        let Some(clients) = self.begins().clients else { return true };
        let Some((own, others)) = shown.split_first() else { return false };
        clients.verify_client_cert(own, others, UnixTime::now()).is_ok()
    }

    /// Looks at the files if the last look was some time ago; if they cannot be used, what was there before goes on,
    /// and it is said once.
    fn begins(&self) -> Begins {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            let found = self.config.content(&self.read);
            if found != state.found {
                match begins(&found) {
                    Ok(begins) => {
                        tracing::info!(
                            file = self.config.cert_file,
                            "the certificate changed; using it"
                        );
                        state.begins = begins;
                    }
                    Err(why) => tracing::error!("tls.{why}; going on with what was there before"),
                }
                state.found = found;
            }
        }
        state.begins.clone()
    }
}

fn begins(found: &Content) -> Result<Begins, String> {
    let text = |key: &'static str| match found.get(key) {
        Some(Ok(text)) => Ok(text.as_bytes()),
        Some(Err(why)) => Err(format!("{key}: {why}")),
        None => Err(format!("{key} was not read")),
    };
    let certificates =
        tls::certificates(text("cert_file")?).map_err(|why| format!("cert_file: {why}"))?;
    let clients = if found.contains_key("client_ca_file") {
        let authorities = tls::certificates(text("client_ca_file")?);
        let clients = authorities.and_then(tls::clients);
        Some(clients.map_err(|why| format!("client_ca_file: {why}"))?)
    } else {
        None
    };
    let config = tls::server(certificates, text("key_file")?, clients.clone())
        .map_err(|why| format!("key_file: {why}"))?;
    Ok(Begins { acceptor: TlsAcceptor::from(Arc::new(config)), clients })
}
