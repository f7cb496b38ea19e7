//! What is kept of followed files in the checkpoint, beside the engine's state.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    super::note::{value_of, write},
    content::{FileId, Print, Stamp},
};
use crate::engine::state::SourceNote;

const CONTENT: &str = "content:";
const LOG: &str = "log:";

/// How far one content was read: what a writer wrote into one file, wherever it lies by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContentNote {
    /// The log that it is of.
    pub(super) log: String,
    /// The file in which it was read last.
    pub(super) file: FileId,
    pub(super) print: Print,
    /// Bytes that are done.
    pub(super) offset: u64,
    /// Digest of the bytes in front of `offset`.
    pub(super) tail: [u8; 16],
    /// `offset` is within a line that was too long, whose rest is passed over.
    pub(super) is_passing_over: bool,
    /// The file, as it was when all of it had been read.
    pub(super) done: Option<Stamp>,
}

/// Since when a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogNote {
    /// Nanoseconds since 1970: files that were written last before it are none of ours, unless they are
    /// named.
    pub(super) since: i128,
}

/// A note that was read.
pub(super) enum Note {
    Content(u64, ContentNote),
    Log(String, LogNote),
}

/// Reads a note; `None` if it is none of ours.
pub(super) fn read(note: &SourceNote) -> Option<Note> {
    if let Some(number) = note.key.strip_prefix(CONTENT) {
        return Some(Note::Content(number.parse().ok()?, value_of(note)?));
    }
    let log = note.key.strip_prefix(LOG)?;
    Some(Note::Log(log.to_owned(), value_of(note)?))
}

pub(super) fn of_content(
    source: Option<&Arc<str>>,
    number: u64,
    note: Option<&ContentNote>,
) -> SourceNote {
    write(source, format!("{CONTENT}{number}"), note)
}

pub(super) fn of_log(source: Option<&Arc<str>>, log: &str, note: LogNote) -> SourceNote {
    write(source, format!("{LOG}{log}"), Some(&note))
}
