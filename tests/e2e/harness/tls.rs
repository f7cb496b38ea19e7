//! Certificates for the test services: one authority and one server certificate for loopback.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::certificates::sign;

/// Where the files are; all PEM.
pub(crate) struct Certificates {
    /// The authority that clients must trust.
    pub(crate) ca: PathBuf,
    /// The server's certificate.
    pub(crate) certificate: PathBuf,
    /// The server's key, PKCS#8.
    pub(crate) key: PathBuf,
    /// Key, certificate and authority in one file, as Kafka wants its key store.
    pub(crate) bundle: PathBuf,
}

/// Makes them in `directory`.
pub(crate) fn make(directory: &Path) -> Certificates {
    let path = |name: &str| directory.join(name);
    sign(directory, &[("ca", "server")]);
    let bundle: String = ["server.key", "server.pem", "ca.pem"]
        .iter()
        .map(|name| fs::read_to_string(path(name)).unwrap())
        .collect();
    fs::write(path("bundle.pem"), bundle).unwrap();
    Certificates {
        ca: path("ca.pem"),
        certificate: path("server.pem"),
        key: path("server.key"),
        bundle: path("bundle.pem"),
    }
}
