//! Signatures of seals: Ed25519, with keys as OpenSSL writes them.
//!
//! `openssl genpkey -algorithm ed25519 -out ledger.key` makes one, and
//! `openssl pkey -in ledger.key -pubout -out ledger.pub` what others check with.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{ArchiveError, failed};
use crate::engine::{
    ledger::{Hash, hex_of},
    recorder::Sign,
};

/// Bytes of a public key, which stand at the end of its file.
const PUBLIC_KEY_BYTES: usize = 32;

/// Digits of the public key by which people tell keys apart.
const KEY_ID_DIGITS: usize = 16;

/// Signs seals.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    id: String,
}

impl SigningKey {
    /// From a file in PKCS #8, as PEM.
    ///
    /// # Errors
    /// It cannot be read, or holds no such key.
    pub fn read(path: &Path) -> Result<SigningKey, ArchiveError> {
        let der = read_pem(path, "PRIVATE KEY")?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|error| {
            let hint = "make one by `openssl genpkey -algorithm ed25519`";
            failed(path, format!("it holds no Ed25519 key ({error}); {hint}"))
        })?;
        let id = id_of(pair.public_key().as_ref());
        Ok(SigningKey { pair, id })
    }
}

impl Sign for SigningKey {
    fn sign(&self, head: &Hash) -> Vec<u8> {
        self.pair.sign(head).as_ref().to_vec()
    }

    fn key_id(&self) -> &str {
        &self.id
    }
}

/// Checks signatures of seals.
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// From a file of `openssl pkey -pubout`.
    ///
    /// # Errors
    /// It cannot be read, or holds no such key.
    pub fn read(path: &Path) -> Result<PublicKey, ArchiveError> {
        let der = read_pem(path, "PUBLIC KEY")?;
        // Algorithm and lengths come before; there is one form of them.
        let key =
            der.last_chunk::<PUBLIC_KEY_BYTES>().filter(|_| der.len() == 12 + PUBLIC_KEY_BYTES);
        let key = key.ok_or_else(|| failed(path, "it holds no public Ed25519 key"))?;
        Ok(PublicKey(key.to_vec()))
    }

    /// Whether a signature of a head is of this key.
    pub fn signed(&self, head: &Hash, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(head, signature).is_ok()
    }
}

fn id_of(public_key: &[u8]) -> String {
    let mut id = hex_of(public_key);
    id.truncate(KEY_ID_DIGITS);
    id
}

/// What stands between the lines of a PEM file with this label.
fn read_pem(path: &Path, label: &str) -> Result<Vec<u8>, ArchiveError> {
    let text = std::fs::read_to_string(path).map_err(|error| failed(path, error))?;
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let body = text
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once(&end))
        .map(|(body, _)| body.split_whitespace().collect::<String>())
        .ok_or_else(|| failed(path, format!("it has no `{begin}`")))?;
    STANDARD.decode(body).map_err(|error| failed(path, error))
}
