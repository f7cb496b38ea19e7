//! The chain: each row's hash takes the one before it in.

use sha2::{Digest as _, Sha256};

use crate::engine::digest::{hex, unhex};

/// SHA-256.
pub type Hash = [u8; 32];

/// Where a chain has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The id of its last row; 0 before the first.
    pub id: u64,
    /// The hash of its last row; zeros before the first.
    pub head: Hash,
}

impl Chain {
    /// Adds the next row's line.
    pub fn push(&mut self, line: &(impl AsRef<[u8]> + ?Sized)) {
        self.id += 1;
        self.head = Sha256::new().chain_update(self.head).chain_update(line).finalize().into();
    }
}

/// Bytes as they are written: lower-case hexadecimal digits.
pub fn hex_of(bytes: &[u8]) -> String {
    hex(bytes)
}

/// A hash as it is written: 64 hexadecimal digits.
pub fn parse_hex(text: &str) -> Option<Hash> {
    unhex(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people check with their own tools stays as it is.
    #[test]
    fn the_chain_is_sha_256_of_the_hash_before_and_the_line() {
        let mut chain = Chain::default();
        chain.push("{\"id\":1}");
        chain.push("{\"id\":2}");
        // printf '%064d' 0 | xxd -r -p | cat - <(printf '{"id":1}') | sha256sum, and again with it.
        let mut expected = [0; 32].to_vec();
        for line in ["{\"id\":1}", "{\"id\":2}"] {
            expected.extend_from_slice(line.as_bytes());
            expected = Sha256::digest(&expected).to_vec();
        }
        assert_eq!((chain.id, chain.head.to_vec()), (2, expected));
    }

    #[test]
    fn hashes_are_read_as_they_are_written() {
        let hash: Hash = Sha256::digest("a").into();
        assert_eq!(parse_hex(&hex_of(&hash)), Some(hash));
        for text in ["", "0", "zz", &hex_of(&hash)[2..], &format!("{}00", hex_of(&hash))] {
            assert_eq!(parse_hex(text), None, "{text}");
        }
    }
}
