//! Seals that are signed: who has the public key sees whose they are.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};

use crate::binary::{run, tripline};

/// What stands before an Ed25519 key in its file, as OpenSSL writes it.
const PUBLIC_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// Writes a key and its public part.
fn key(directory: &Path, name: &str) {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
    let public = [&PUBLIC_HEAD, pair.public_key().as_ref()].concat();
    fs::write(directory.join(format!("{name}.key")), pem("PRIVATE KEY", der.as_ref())).unwrap();
    fs::write(directory.join(format!("{name}.pub")), pem("PUBLIC KEY", &public)).unwrap();
}

#[test]
fn seals_are_signed_by_the_key_and_by_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    key(path, "ours");
    key(path, "other");
    super::evidence::write_world(path, "ledger: {signing_key_file: ours.key}\n");
    let verify = |key: &str| {
        run(tripline(path).args(["ledger", "verify", "--public-key", &format!("{key}.pub")]))
    };
    let (code, out, log) = verify("ours");
    assert_eq!(code, 0, "{out}{log}");
    assert!(out.contains("of them with a signature of the key"), "{out}");
    let (code, out, _) = verify("other");
    assert!(code == 1 && out.contains("the signature of the seal is not of this key"), "{out}");
    super::evidence::make(path, &[]);
    let verify = |key: &str| {
        let args = ["evidence", "verify", "case.tar.zst", "--public-key", &format!("{key}.pub")];
        run(tripline(path).args(args))
    };
    let (code, out, log) = verify("ours");
    assert!(code == 0 && out.contains("with a signature of the key"), "{out}{log}");
    assert_eq!(verify("other").0, 1);
}
