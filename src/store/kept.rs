//! Dead letters as they were kept, read back for people.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::dead_letter::{DeadLetterError, numbers_in, path_of};
use crate::kafka::{OpenConnection, read_topic};

/// One letter that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLetter {
    /// When it was kept, as RFC 3339.
    pub time: String,
    /// Topic of the record, or path of its file, after the name of its source if that has one.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset, or number of its line.
    pub offset: i64,
    /// Why it could not be decoded: the metric's label.
    pub reason: String,
    /// Why, for people.
    pub detail: String,
    /// The payload, or the part of it, with secrets redacted.
    pub payload: Vec<u8>,
}

/// A line of a file.
#[derive(Deserialize)]
struct Line {
    time: String,
    topic: String,
    partition: i32,
    offset: i64,
    reason: String,
    detail: String,
    payload: Option<String>,
    payload_base64: Option<String>,
}

impl KeptLetter {
    /// By what people name it: `audit/2@7`. Parts of one record share it.
    pub fn id(&self) -> String {
        // A command line would take a name that begins with `-` for an option.
        let topic = if self.topic == "-" { "stdin" } else { &self.topic };
        format!("{topic}/{}@{}", self.partition, self.offset)
    }

    fn of_line(line: &str) -> Option<KeptLetter> {
        let line: Line = serde_json::from_str(line).ok()?;
        let payload = match (line.payload, line.payload_base64) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(text)) => STANDARD.decode(text).ok()?,
            (None, None) => Vec::new(),
        };
        let Line { time, topic, partition, offset, reason, detail, .. } = line;
        Some(KeptLetter { time, topic, partition, offset, reason, detail, payload })
    }
}

/// The letters of a directory, oldest first. At most what is kept there: 128 MiB. A process may write
/// to it meanwhile.
///
/// # Errors
/// If it cannot be read. A line that is none is passed over: it is being written.
pub fn read_files(directory: &Path) -> Result<Vec<KeptLetter>, DeadLetterError> {
    let failed = |error: std::io::Error| DeadLetterError {
        place: directory.display().to_string(),
        detail: error.to_string(),
    };
    let mut letters = Vec::new();
    for number in numbers_in(directory).map_err(failed)? {
        // It was deleted meanwhile to make room.
        let Ok(text) = std::fs::read_to_string(path_of(directory, number)) else { continue };
        letters.extend(text.lines().filter_map(KeptLetter::of_line));
    }
    Ok(letters)
}

/// The letters of a topic, oldest first in each partition.
///
/// # Errors
/// If it cannot be read.
pub fn read_from_topic(
    connection: OpenConnection,
    topic: &str,
) -> Result<Vec<KeptLetter>, DeadLetterError> {
    let mut letters = Vec::new();
    let read = read_topic(connection, topic, &mut |record| {
        let header = |name: &str| {
            let found = record.headers.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        // What has no such headers was written by somebody else.
        let letter = || {
            Some(KeptLetter {
                time: header("time")?,
                topic: header("topic")?,
                partition: header("partition")?.parse().ok()?,
                offset: header("offset")?.parse().ok()?,
                reason: header("reason")?,
                detail: header("detail")?,
                payload: record.payload.clone().unwrap_or_default(),
            })
        };
        letters.extend(letter());
    });
    read.map_err(|detail| DeadLetterError { place: format!("topic {topic}"), detail })?;
    Ok(letters)
}
