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

#[test]
fn what_nothing_proves_is_not_sound() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    key(path, "ours");
    super::evidence::write_world(path, "ledger: {signing_key_file: ours.key}\n");
    let verify = |args: &[&str]| {
        let (code, out, log) = run(tripline(path).args(["ledger", "verify"]).args(args));
        (code, out + &log)
    };
    let (_, export, _) = run(tripline(path).args(["ledger", "export"]));
    let is_seal = |line: &str| line.contains("\"kind\":\"seal\"");
    let lines: Vec<&str> = export.lines().collect();
    let forged: Vec<String> = (1..)
        .zip(lines.iter().filter(|line| !is_seal(line) && !line.contains("\"id\":\"eve\"")))
        .map(|(id, line)| format!("{{\"id\":{id},{}", line.split_once(',').unwrap().1))
        .collect();
    assert!(forged.len() > 3 && forged.len() < lines.len());
    fs::write(path.join("forged.jsonl"), forged.join("\n")).unwrap();
    // It begins with the last row before a seal.
    let before = lines.iter().rposition(|line| is_seal(line)).unwrap() - 1;
    fs::write(path.join("part.jsonl"), lines[before..].join("\n")).unwrap();
    let unknown = format!("nothing says what came before row {}", before + 1);
    fs::write(path.join("empty.jsonl"), "").unwrap();
    fs::write(path.join("whole.jsonl"), &export).unwrap();
    let whole = verify(&["--file", "whole.jsonl", "--public-key", "ours.pub"]);
    assert!(whole.0 == 0 && whole.1.contains("behind what the last one covers"), "{}", whole.1);
    for (args, code, expected) in [
        (
            &["--file", "forged.jsonl", "--public-key", "ours.pub"][..],
            1,
            "no seal of the key is in it",
        ),
        (&["--file", "forged.jsonl"], 1, "no seal is in it"),
        (&["--file", "part.jsonl"], 1, unknown.as_str()),
        (&["--file", "empty.jsonl"], 1, "nothing was checked"),
        (&["--month", "2026-13"], 2, "the ledger has no month `2026-13`; there are: 20"),
        (&["--month", "Dezember"], 2, "no month `Dezember`"),
    ] {
        let (found, text) = verify(args);
        assert!(found == code && text.contains(expected), "{args:?}: {found} {text}");
    }
    let (code, _, log) = run(tripline(path).args(["ledger", "export", "--month", "2020-01"]));
    assert!(code == 2 && log.contains("no month `2020-01`"), "{log}");
}
