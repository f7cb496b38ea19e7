//! Keeps what could not be decoded, so that somebody can find out why: the contract, and files.
//!
//! Letters are written and made durable before the checkpoint that passes over their records, so
//! none is lost; after a crash some may be there twice. Files are bounded: an attacker who sends
//! garbage can push older garbage out, which is counted, but cannot fill the disk.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::files;
use crate::engine::{detector::DeadLetter, time::WallTime};

/// Bytes of one dead-letter file: 32 MiB. Then the next one is begun.
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// Dead-letter files that are kept: 4, so 128 MiB. The oldest is deleted; its letters are counted
/// by [`DeadLetterSink::dropped`].
pub const FILES_MAX: usize = 4;

/// Where dead letters go.
pub trait DeadLetterSink: Send {
    /// Hands letters over. They may still be in a buffer when this returns.
    ///
    /// # Errors
    /// If they could not be written; none of them counts as written then. The caller tries again
    /// before the next checkpoint.
    fn append(&mut self, now: WallTime, letters: &[DeadLetter]) -> Result<(), DeadLetterError>;

    /// Waits until everything handed over is durable. Called before the checkpoint that passes over
    /// the letters' records.
    ///
    /// # Errors
    /// If something is not durable; the checkpoint must wait, and the letters be handed over again.
    fn sync(&mut self) -> Result<(), DeadLetterError>;

    /// Letters that were deleted to make room since this sink was opened.
    fn dropped(&self) -> u64;
}

/// Why dead letters could not be kept. Trying again may help.
#[derive(Debug, thiserror::Error)]
#[error("dead letters cannot be written to {place}: {detail}")]
pub struct DeadLetterError {
    /// The file or topic.
    pub place: String,
    /// What went wrong, for people.
    pub detail: String,
}

/// One letter as a JSON object. The payload is `payload` if it is UTF-8, else `payload_base64`.
pub fn to_json(now: WallTime, letter: &DeadLetter) -> serde_json::Value {
    let mut object = json!({
        "time": now.rfc3339(),
        "topic": letter.partition.stored_topic(),
        "partition": letter.partition.partition,
        "offset": letter.offset,
        "reason": letter.reason.as_str(),
        "detail": letter.detail,
    });
    let (name, payload) = match std::str::from_utf8(&letter.payload) {
        Ok(text) => ("payload", text.to_owned()),
        Err(_) => ("payload_base64", STANDARD.encode(&letter.payload)),
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), payload.into());
    }
    object
}

/// Writes JSON lines to `dead-letter-<number>.jsonl` in a directory of its own.
#[derive(Debug)]
pub struct DeadLetterFiles {
    dir: PathBuf,
    file_bytes_max: u64,
    /// Numbers of the files that exist, oldest first; the last one is written to.
    numbers: Vec<u64>,
    file: File,
    /// Bytes of the current file that belong to whole lines.
    length: u64,
    dropped: u64,
}

impl DeadLetterFiles {
    /// Opens the directory, or makes it. A line that a crash left half written is cut off.
    ///
    /// # Errors
    /// If the directory cannot be made, read or written.
    pub fn open(dir: &Path) -> Result<DeadLetterFiles, DeadLetterError> {
        DeadLetterFiles::with_file_bytes_max(dir, FILE_BYTES_MAX)
    }

    fn with_file_bytes_max(
        dir: &Path,
        file_bytes_max: u64,
    ) -> Result<DeadLetterFiles, DeadLetterError> {
        let failed = |error: std::io::Error| at(dir, &error);
        files::make_directory(dir).map_err(failed)?;
        let mut numbers = numbers_in(dir).map_err(failed)?;
        if numbers.is_empty() {
            numbers.push(1);
        }
        let path = path_of(dir, numbers.last().copied().unwrap_or(1));
        let (file, length) = open_file(&path).map_err(|error| at(&path, &error))?;
        let dir = dir.to_path_buf();
        Ok(DeadLetterFiles { dir, file_bytes_max, numbers, file, length, dropped: 0 })
    }

    fn path(&self) -> PathBuf {
        path_of(&self.dir, self.numbers.last().copied().unwrap_or(1))
    }

    /// Begins the next file and deletes the oldest ones.
    fn rotate(&mut self) -> Result<(), std::io::Error> {
        self.file.sync_data()?;
        let next = self.numbers.last().copied().unwrap_or(0) + 1;
        let (file, length) = open_file(&path_of(&self.dir, next))?;
        self.numbers.push(next);
        (self.file, self.length) = (file, length);
        File::open(&self.dir)?.sync_all()?;
        while self.numbers.len() > FILES_MAX {
            let oldest = path_of(&self.dir, self.numbers.remove(0));
            self.dropped += count_lines(&oldest).unwrap_or(0);
            std::fs::remove_file(&oldest)?;
        }
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), std::io::Error> {
        if self.length > 0 && self.length + lines.len() as u64 > self.file_bytes_max {
            self.rotate()?;
        }
        let written = self.file.write_all(lines);
        if written.is_err() {
            // Half a line would spoil the next one.
            self.cut(self.length)?;
            return written;
        }
        self.length += lines.len() as u64;
        Ok(())
    }
}

impl DeadLetterFiles {
    /// Goes on at an earlier place of the current file.
    fn cut(&mut self, length: u64) -> Result<(), std::io::Error> {
        self.file.set_len(length)?;
        self.file.seek(SeekFrom::Start(length))?;
        self.length = length;
        Ok(())
    }
}

impl DeadLetterSink for DeadLetterFiles {
    fn append(&mut self, now: WallTime, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        let (file, length) = (self.numbers.last().copied(), self.length);
        for letter in letters {
            let line = format!("{}\n", to_json(now, letter));
            if let Err(error) = self.write(line.as_bytes()) {
                // They are handed over again, so those of them that fitted must not stay.
                if self.numbers.last().copied() == file {
                    self.cut(length).map_err(|error| at(&self.path(), &error))?;
                }
                return Err(at(&self.path(), &error));
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DeadLetterError> {
        self.file.sync_data().map_err(|error| at(&self.path(), &error))
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn at(path: &Path, error: &std::io::Error) -> DeadLetterError {
    DeadLetterError { place: path.display().to_string(), detail: error.to_string() }
}

/// The numbers of the files in a directory, oldest first.
pub(super) fn numbers_in(dir: &Path) -> Result<Vec<u64>, std::io::Error> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| {
            name.strip_prefix("dead-letter-")?.strip_suffix(".jsonl")?.parse::<u64>().ok()
        });
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("dead-letter-{number:06}.jsonl"))
}

/// Opens a file at the end of its last whole line.
fn open_file(path: &Path) -> Result<(File, u64), std::io::Error> {
    let mut file = files::open(path)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1) as u64;
    file.set_len(whole)?;
    file.seek(SeekFrom::Start(whole))?;
    Ok((file, whole))
}

fn count_lines(path: &Path) -> Result<u64, std::io::Error> {
    let content = std::fs::read(path)?;
    Ok(memchr::memchr_iter(b'\n', &content).count() as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{detector::DeadLetterReason, record::PartitionName};

    fn letter(offset: i64, payload: &[u8]) -> DeadLetter {
        DeadLetter {
            partition: Arc::new(PartitionName::new("audit", 2)),
            offset,
            reason: DeadLetterReason::NotJson,
            detail: "expected value at byte 0".to_owned(),
            payload: payload.to_vec(),
        }
    }

    fn lines(dir: &Path) -> Vec<serde_json::Value> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let parse = |line: &str| serde_json::from_str(line).unwrap();
        paths
            .iter()
            .flat_map(|path| {
                let text = std::fs::read_to_string(path).unwrap();
                text.lines().map(parse).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn letters_say_where_they_come_from_and_keep_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = DeadLetterFiles::open(dir.path()).unwrap();
        let now = WallTime::from_micros(0);
        files.append(now, &[letter(7, b"{nope"), letter(8, &[0xff, 0x00])]).unwrap();
        files.sync().unwrap();
        let lines = lines(dir.path());
        assert_eq!(
            lines[0],
            json!({
                "time": "1970-01-01T00:00:00.000000Z", "topic": "audit", "partition": 2, "offset": 7,
                "reason": "not_json", "detail": "expected value at byte 0", "payload": "{nope",
            })
        );
        assert_eq!(lines[1]["payload_base64"], "/wA=");
        assert_eq!(lines[1].get("payload"), None);
    }

    #[test]
    fn the_oldest_letters_make_room_and_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = DeadLetterFiles::with_file_bytes_max(dir.path(), 1_000).unwrap();
        for offset in 0..100 {
            files.append(WallTime::from_micros(0), &[letter(offset, b"x")]).unwrap();
        }
        let kept = lines(dir.path());
        assert_eq!(kept.len() as u64 + files.dropped(), 100);
        assert_eq!(kept.last().unwrap()["offset"], 99);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), FILES_MAX);
    }

    #[test]
    fn a_line_cut_by_a_crash_does_not_spoil_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), 1);
        std::fs::write(&path, "{\"offset\":1}\n{\"offs").unwrap();
        let mut files = DeadLetterFiles::open(dir.path()).unwrap();
        files.append(WallTime::from_micros(0), &[letter(2, b"x")]).unwrap();
        let offsets: Vec<_> = lines(dir.path()).iter().map(|line| line["offset"].clone()).collect();
        assert_eq!(offsets, [json!(1), json!(2)]);
    }
}
