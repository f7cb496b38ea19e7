//! Authorities, and what they sign for loopback, by the `openssl` command: what an administrator would do.

use std::{fs, path::Path, process::Command};

/// Makes a key and a certificate for each name, `NAME.key` and `NAME.pem`, signed by the authority beside it, whose
/// own are made the first time that it is named. Keys are PKCS#8, all is PEM.
pub(crate) fn sign(directory: &Path, wanted: &[(&str, &str)]) {
    let openssl = |arguments: &str| {
        let output =
            Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
        let output = output.expect("the openssl command is installed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {errors}");
    };
    fs::write(directory.join("san.cnf"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    for (ca, name) in wanted {
        if !directory.join(format!("{ca}.pem")).exists() {
            openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem"
            ));
        }
        openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days 30 -extfile san.cnf \
             -out {name}.pem"
        ));
    }
}
