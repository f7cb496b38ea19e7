//! TLS for everything that speaks HTTP: whom clients trust, and how certificates are read.
//!
//! One provider of cryptography (ring) and one list of authorities for the whole process. Kafka is
//! not here: librdkafka has OpenSSL of its own.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject as _},
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

/// Builds HTTP clients that trust the public authorities, which are built in, and these ones.
///
/// # Errors
/// If one of them is no authority.
pub fn http(authorities: Vec<CertificateDer<'static>>) -> Result<reqwest::ClientBuilder, String> {
    Ok(reqwest::Client::builder().tls_backend_preconfigured(client(authorities)?))
}

fn client(authorities: Vec<CertificateDer<'static>>) -> Result<ClientConfig, String> {
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
