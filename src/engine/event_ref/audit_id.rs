//! Audit ids: nearly always UUIDs, which need less room, but clients may choose any text.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::engine::{
    digest::{hex, hex_digit},
    limits::AUDIT_ID_BYTES_MAX,
};

/// The id that the API server gave to a request, or took from its client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AuditId {
    /// A UUID in its usual form.
    Uuid([u8; 16]),
    /// Any other text.
    Text(Box<str>),
    /// SHA-256 of a text that is longer than [`AUDIT_ID_BYTES_MAX`].
    Hashed([u8; 32]),
}

impl AuditId {
    /// Of a text.
    pub fn new(text: &str) -> AuditId {
        if let Some(bytes) = uuid(text) {
            return AuditId::Uuid(bytes);
        }
        if text.len() > AUDIT_ID_BYTES_MAX {
            return AuditId::Hashed(Sha256::digest(text).into());
        }
        AuditId::Text(text.into())
    }
}

/// Where the two digits of each byte of a UUID stand.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// What each byte is as a lower-case digit; 0xFF for what is none.
#[expect(clippy::indexing_slicing, reason = "when it is compiled")]
const DIGITS: [u8; 256] = {
    let mut digits = [0xFF; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[hex_digit(digit) as usize] = digit;
        digit += 1;
    }
    digits
};

/// The bytes of a UUID that is written with lower-case digits.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let is_dash = |at: usize| text.get(at) == Some(&b'-');
    if ![8, 13, 18, 23].into_iter().all(is_dash) {
        return None;
    }
    let digit = |at: usize| {
        text.get(at).and_then(|byte| DIGITS.get(usize::from(*byte))).copied().unwrap_or(0xFF)
    };
    let mut all = 0;
    let bytes = PLACES.map(|at| {
        let (high, low) = (digit(at), digit(at + 1));
        all |= high | low;
        high << 4 | low & 15
    });
    (all < 16).then_some(bytes)
}

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuditId::Uuid(bytes) => {
                let mut text = String::with_capacity(36);
                for (index, byte) in bytes.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        text.push('-');
                    }
                    text.push(hex_digit(byte >> 4));
                    text.push(hex_digit(byte & 15));
                }
                f.write_str(&text)
            }
            AuditId::Text(text) => f.write_str(text),
            AuditId::Hashed(hash) => write!(f, "sha256:{}", hex(hash)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_exact_and_long_ones_hashed() {
        let long = "x".repeat(AUDIT_ID_BYTES_MAX + 1);
        for (text, is_uuid) in [
            ("929a690e-bef0-4204-a928-ef5e620d6fcc", true),
            ("929A690e-bef0-4204-a928-ef5e620d6fcc", false),
            ("929a690e-bef0-4204-a928-ef5e620d6fcc0", false),
            ("929a690ebef04204a928ef5e620d6fcc", false),
            ("é29a690e-bef0-4204-a928-ef5e620d6fcc", false),
            ("\"id\"\n", false),
            ("", false),
        ] {
            let id = AuditId::new(text);
            assert_eq!(id.to_string(), text);
            assert_eq!(matches!(id, AuditId::Uuid(_)), is_uuid, "{text}");
        }
        let hashed = AuditId::new(&long).to_string();
        assert_eq!((hashed.len(), hashed.starts_with("sha256:")), (71, true));
    }
}
