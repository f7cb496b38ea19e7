//! Records that are gzip, or Base64 of gzip, as CloudWatch subscriptions write them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};

use crate::engine::{dead_letter::DeadLetterReason, limits};

/// How gzip begins, and how Base64 of that begins.
const GZIP: [u8; 3] = [0x1F, 0x8B, 8];
const GZIP_IN_BASE64: &[u8] = b"H4sI";

/// What became of a record that may be compressed.
pub(super) enum Inflated {
    /// It is not.
    No,
    /// It was.
    Yes(Vec<u8>),
    /// It cannot be read.
    Bad(DeadLetterReason, String),
}

/// Undoes compression, if there is any. JSON begins with none of these bytes.
pub(super) fn inflate(payload: &[u8]) -> Inflated {
    let plain = if payload.starts_with(&GZIP) {
        gunzip(payload)
    } else if payload.starts_with(GZIP_IN_BASE64) {
        match STANDARD.decode(payload.trim_ascii_end()) {
            Ok(bytes) => gunzip(&bytes),
            Err(error) => {
                return Inflated::Bad(DeadLetterReason::NotJson, format!("Base64: {error}"));
            }
        }
    } else {
        return Inflated::No;
    };
    match plain {
        Ok(plain) => Inflated::Yes(plain),
        Err(reason) => Inflated::Bad(reason, "gzip that cannot be read".to_owned()),
    }
}

/// The content of one gzip member, of [`limits::RECORD_BYTES_MAX`] at most. Its checksum is not
/// compared: what is damaged is hardly JSON any more.
fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, DeadLetterReason> {
    let deflated = skip_header(bytes).ok_or(DeadLetterReason::NotJson)?;
    decompress_to_vec_with_limit(deflated, limits::RECORD_BYTES_MAX).map_err(|error| {
        match error.status {
            TINFLStatus::HasMoreOutput => DeadLetterReason::TooLarge,
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => {
                DeadLetterReason::Truncated
            }
            _ => DeadLetterReason::NotJson,
        }
    })
}

/// What follows the header of a gzip member (RFC 1952).
fn skip_header(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(&GZIP)?;
    let (flags, mut rest) = (*rest.first()?, rest.get(7..)?);
    if flags & 4 != 0 {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        rest = tail.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [8, 16] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & 2 != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec;

    use super::*;

    fn gzip(text: &str, flags: u8, extra: &[u8]) -> Vec<u8> {
        let head = [&GZIP[..], &[flags, 0, 0, 0, 0, 0, 3], extra].concat();
        [head, compress_to_vec(text.as_bytes(), 6), vec![0; 8]].concat()
    }

    #[test]
    fn every_header_is_skipped() {
        let cases: [(u8, &[u8]); 5] = [
            (0, b""),
            (4, b"\x03\x00abc"),
            (8, b"name\0"),
            (8 | 16, b"name\0comment\0"),
            (2 | 4 | 8, b"\x01\x00axyz\0\x01\x02"),
        ];
        for (flags, extra) in cases {
            assert_eq!(gunzip(&gzip("[]", flags, extra)), Ok(b"[]".to_vec()), "{flags}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let whole = gzip(&"audit".repeat(1_000), 0, b"");
        assert_eq!(gunzip(&whole[..whole.len() - 12]), Err(DeadLetterReason::Truncated));
        assert_eq!(gunzip(&whole[..5]), Err(DeadLetterReason::NotJson));
        let bomb = gzip(&" ".repeat(limits::RECORD_BYTES_MAX + 1), 0, b"");
        assert_eq!(gunzip(&bomb), Err(DeadLetterReason::TooLarge));
        assert!(matches!(inflate(b"H4sI!"), Inflated::Bad(DeadLetterReason::NotJson, _)));
        assert!(matches!(inflate(b"{}"), Inflated::No));
    }
}
