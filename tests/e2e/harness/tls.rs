//! Certificates for the test services: one authority and one server certificate for loopback.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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

/// Makes them in `directory`, by the `openssl` command: what an administrator would do.
pub(crate) fn make(directory: &Path) -> Certificates {
    let path = |name: &str| directory.join(name);
    fs::write(path("san.cnf"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    let openssl = |arguments: &str| {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
        let output = output.expect("the openssl command is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {errors}");
    };
    openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=tripline-tests \
         -keyout ca.key -out ca.pem",
    );
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr");
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
         -extfile san.cnf -out server.pem",
    );
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
