//! What is kept of files in the checkpoint, beside the engine's state.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::engine::{digest::Digest, state::SourceNote};

/// In front of every note. Another form takes another number; what cannot be read is not there.
const VERSION: u8 = 1;

const FILE: &str = "file:";

/// The last record that was taken of a file which is not followed: by it the file is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastRecord {
    pub(super) offset: i64,
    /// Bytes of it.
    length: u64,
    digest: [u8; 16],
}

/// What stands where a file's last record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The same record.
    Same,
    /// The same, which had no end yet.
    Lengthened,
    /// Something else.
    Another,
}

impl LastRecord {
    /// Of a record and its text. Costs hashing it.
    pub(super) fn of(offset: i64, text: &[u8]) -> LastRecord {
        LastRecord { offset, length: text.len() as u64, digest: digest_of(text) }
    }

    /// Compares it with a text.
    pub(super) fn compare(&self, text: &[u8]) -> Found {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        match text.get(..length) {
            Some(begin) if digest_of(begin) != self.digest => Found::Another,
            Some(begin) if begin.len() < text.len() => Found::Lengthened,
            Some(_) => Found::Same,
            None => Found::Another,
        }
    }

    /// Reads a note; gives the name of the file with it. `None` if it is none of these.
    pub(super) fn read(note: &SourceNote) -> Option<(&str, LastRecord)> {
        Some((note.key.strip_prefix(FILE)?, value_of(note)?))
    }

    /// The note of a file with this name.
    pub(super) fn note(&self, source: Option<&Arc<str>>, name: &str) -> SourceNote {
        write(source, format!("{FILE}{name}"), Some(self))
    }
}

/// Of bytes that stand for a content.
pub(super) fn digest_of(bytes: &[u8]) -> [u8; 16] {
    Digest::default().bytes(bytes).first()
}

/// What a note says; `None` if it is gone, or cannot be read.
pub(super) fn value_of<T: DeserializeOwned>(note: &SourceNote) -> Option<T> {
    let (version, value) = note.value.as_ref()?.split_first()?;
    if *version != VERSION {
        return None;
    }
    postcard::from_bytes(value).ok()
}

/// A note; without a value it takes an earlier one away.
pub(super) fn write<T: Serialize>(
    source: Option<&Arc<str>>,
    key: String,
    value: Option<&T>,
) -> SourceNote {
    let value = value.map(|value| {
        let written = postcard::to_extend(value, vec![VERSION]);
        written.expect("plain values, and memory is there for them")
    });
    SourceNote { source: source.cloned(), key, value }
}
