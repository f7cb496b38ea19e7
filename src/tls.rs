//! TLS for everything that speaks HTTP or SMTP: whom clients trust, how certificates are read, and what servers show.
//!
//! One provider of cryptography (ring) and one list of authorities for the whole process. Kafka is
//! not here: librdkafka has OpenSSL of its own.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};

/// The provider of cryptography that all connections use.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Certificates in PEM, at least one.
///
/// # Errors
/// If there is none, or one that cannot be read.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err("there is no certificate in it".to_owned()),
        Err(error) => Err(format!("a certificate in it cannot be read: {error}")),
    }
}

/// Builds HTTP clients that trust as [`client`] says.
///
/// # Errors
/// As [`client`].
pub fn http(authorities: Vec<CertificateDer<'static>>) -> Result<reqwest::ClientBuilder, String> {
    Ok(reqwest::Client::builder().tls_backend_preconfigured(client(authorities)?))
}

/// Whom clients trust: the public authorities, which are built in, and these ones.
///
/// # Errors
/// If one of them is no authority.
pub fn client(authorities: Vec<CertificateDer<'static>>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for authority in authorities {
        roots
            .add(authority)
            .map_err(|error| format!("a certificate in it is no authority: {error}"))?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has the versions of TLS that rustls takes for safe");
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Which clients a server takes: those whose certificates one of these authorities has signed.
///
/// # Errors
/// If one of them is no authority.
pub fn clients(
    authorities: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots
            .add(authority)
            .map_err(|error| format!("a certificate in it is no authority: {error}"))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| error.to_string())
}

/// A server that shows these certificates, its own first, and speaks HTTP/1.1. It takes every client, or
/// only these; each connection of theirs is begun with a certificate, as one that goes on with an earlier one
/// (RFC 8446, section 2.2) would be asked for none.
///
/// # Errors
/// If there is no key in PEM, or it is not that of the first certificate.
pub fn server(
    certificates: Vec<CertificateDer<'static>>,
    key_pem: &[u8],
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, String> {
    let key = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|error| format!("there is no key in it that can be read: {error}"))?;
    let is_asked = clients.is_some();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has the versions of TLS that rustls takes for safe")
        .with_client_cert_verifier(clients.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
        .with_single_cert(certificates, key)
        .map_err(|error| format!("it does not go with the certificate: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if is_asked {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}
