//! One content that is read as it grows: whole lines out of it, and where it stands.

use std::{io, mem, path::PathBuf, sync::Arc};

use super::{
    super::{lines::trim, note::digest_of},
    content::{End, Opened, Stamp, TAIL_BYTES},
    note::ContentNote,
};
use crate::{
    engine::{
        decode::PartLines,
        limits::RECORD_BYTES_MAX,
        record::{PartitionName, RecordBatch},
    },
    source::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX},
};

/// Bytes read at once: 256 KiB.
const CHUNK_BYTES: usize = 256 << 10;

/// Bytes of a line without an end that are kept while it is waited for: 64 KiB. A longer one is read again
/// once there is more.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// Where a content lies.
pub(super) enum Place {
    /// Here, and it may grow.
    Open(Opened),
    /// It was read to its end, and nothing is expected any more.
    Done,
    /// Nobody knows: its file was cut, deleted, or was not seen since the start. Since which scan.
    Lost(u64),
}

/// A content and how far it was read.
pub(super) struct Content {
    pub(super) note: ContentNote,
    pub(super) place: Place,
    /// Where its file was seen last, for people.
    pub(super) path: PathBuf,
    /// The bytes in front of the offset.
    pub(super) tail: Vec<u8>,
    /// What was read behind the offset; of it `used` bytes are done.
    pending: Vec<u8>,
    used: usize,
    /// The file when all of it had been read.
    end: Option<Stamp>,
    /// Bytes of the file when it was seen last.
    pub(super) bytes: u64,
    /// Scans since it grew.
    pub(super) quiet_scans: u64,
    /// Nothing more is expected: what is left of it is its last line.
    pub(super) is_ending: bool,
    /// Its note must be stored.
    is_changed: bool,
    /// That it is gone was said.
    pub(super) is_told: bool,
}

/// How reading ended.
#[derive(Debug)]
pub(super) enum Filled {
    /// The batch is full.
    Full,
    /// There is no more at the moment.
    End,
    /// The file holds another content now.
    Lost,
    /// It cannot be read.
    Failed(io::Error),
}

/// Where records of a log go.
pub(super) struct Target<'b> {
    pub(super) batch: &'b mut RecordBatch,
    pub(super) partition: &'b Arc<PartitionName>,
    pub(super) cluster: Option<&'b Arc<str>>,
}

impl Target<'_> {
    fn is_full(&self) -> bool {
        self.batch.records.len() >= BATCH_RECORDS_MAX || self.batch.payload.len() >= BATCH_BYTES_MAX
    }

    /// Adds a line whose last byte stands at `offset`.
    fn add(&mut self, line: &[u8], offset: u64) {
        let text = trim(line);
        if !text.is_empty() {
            let text = text.get(..=RECORD_BYTES_MAX).unwrap_or(text);
            let offset = i64::try_from(offset).unwrap_or(i64::MAX);
            self.batch.push(self.partition, offset, self.cluster, Some(text));
        }
    }
}

impl Content {
    /// Bytes that lie in its file behind what was read.
    pub(super) fn unread(&self) -> u64 {
        match &self.place {
            // Of one that was moved away, nobody looks at the size again.
            Place::Open(file) if !file.is_packed() => {
                file.bytes().unwrap_or(self.bytes).saturating_sub(self.note.offset)
            }
            _ => 0,
        }
    }

    /// A content whose place is not known (yet).
    pub(super) fn new(note: ContentNote, path: PathBuf, scan: u64) -> Content {
        Content {
            note,
            place: Place::Lost(scan),
            path,
            tail: Vec::new(),
            pending: Vec::new(),
            used: 0,
            end: None,
            bytes: 0,
            quiet_scans: 0,
            is_ending: false,
            is_changed: false,
            is_told: false,
        }
    }

    /// It lies in this file, and `tail` stands in front of its offset.
    pub(super) fn put(&mut self, file: Opened, path: PathBuf, tail: Vec<u8>) {
        self.note.file = file.id();
        self.note.done = None;
        self.place = Place::Open(file);
        self.path = path;
        self.note.tail = digest_of(&tail);
        self.tail = tail;
        self.forget_pending();
        (self.end, self.quiet_scans, self.is_ending) = (None, 0, false);
        (self.is_changed, self.is_told) = (true, false);
    }

    /// Its file is not its own any more.
    pub(super) fn lose(&mut self, scan: u64) {
        self.place = Place::Lost(scan);
        self.forget_pending();
    }

    /// It was read to its end, in a file that looked like this.
    pub(super) fn finish(&mut self, stamp: Option<Stamp>) {
        self.place = Place::Done;
        self.forget_pending();
        self.is_changed |= self.note.done != stamp;
        self.note.done = stamp;
    }

    /// Whether nothing is left to be read in it but a line without an end.
    pub(super) fn is_at_end(&self, stamp: Stamp) -> bool {
        self.end == Some(stamp)
    }

    pub(super) const fn has_place(&self) -> bool {
        !matches!(self.place, Place::Lost(_))
    }

    /// Whether its file still holds it. Compressed files are never written again.
    pub(super) fn holds(&mut self) -> io::Result<bool> {
        let Place::Open(file) = &mut self.place else { return Ok(false) };
        if file.is_packed() {
            return Ok(true);
        }
        let read_to = self.note.offset + (self.pending.len() - self.used) as u64;
        let (stamp, _) = file.stamp()?;
        Ok(stamp.bytes >= read_to
            && file.begins_with(&self.note.print)?
            && file.tail(self.note.offset)?.is_some_and(|tail| tail == self.tail))
    }

    /// Whether all of another file, which begins alike and ends so, lies in its own file, too. `None`: that is not
    /// there, or holds it no more.
    pub(super) fn has_all_of(&mut self, other: &mut Opened, end: &End) -> io::Result<Option<bool>> {
        if matches!(self.place, Place::Open(_)) && !self.holds()? {
            return Ok(None);
        }
        let mut again;
        let own = match &mut self.place {
            Place::Open(own) => own,
            Place::Done => {
                let Ok(found) = Opened::open(&self.path) else { return Ok(None) };
                if Some(found.stamp()?.0) != self.note.done {
                    return Ok(None);
                }
                again = found;
                &mut again
            }
            Place::Lost(_) => return Ok(None),
        };
        own.has_all_of(other, &self.note.print, end).map(Some)
    }

    /// Adds lines to the batch until it is full or there are no more.
    pub(super) fn fill(&mut self, target: &mut Target<'_>) -> Filled {
        let outcome = self.fill_until(target);
        self.settle();
        if self.pending.len() > WAITING_BYTES_MAX && !matches!(outcome, Filled::Full) {
            self.forget_pending();
        }
        outcome
    }

    fn fill_until(&mut self, target: &mut Target<'_>) -> Filled {
        loop {
            if self.take_lines(target) {
                return Filled::Full;
            }
            match self.read_chunk() {
                Ok(Read::More) => {}
                Ok(Read::Lost) => return Filled::Lost,
                Ok(Read::End(stamp)) => {
                    if self.is_ending {
                        self.take_last_line(target);
                        self.finish(Some(stamp));
                    }
                    return Filled::End;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Filled::Failed(error),
            }
        }
    }

    /// Reads a piece more behind what is pending.
    fn read_chunk(&mut self) -> io::Result<Read> {
        self.settle();
        let Place::Open(file) = &mut self.place else { return Ok(Read::Lost) };
        let (before, _) = file.stamp()?;
        if self.end.is_some_and(|end| end == before) {
            return Ok(Read::End(before));
        }
        if self.end.take().is_some() {
            file.refresh();
        }
        let kept = self.pending.len();
        self.pending.resize(kept + CHUNK_BYTES, 0);
        let room = self.pending.get_mut(kept..).unwrap_or_default();
        let read = file.read(room, self.note.offset + kept as u64);
        self.pending.truncate(kept + read.as_ref().copied().unwrap_or(0));
        let count = read?;
        // What was read counts only if the file was not cut and written anew meanwhile.
        if !self.holds()? {
            self.pending.truncate(kept);
            return Ok(Read::Lost);
        }
        if count == 0 {
            self.end = Some(before);
            return Ok(Read::End(before));
        }
        Ok(Read::More)
    }

    /// Takes whole lines from what was read; `true` if the batch is full.
    fn take_lines(&mut self, target: &mut Target<'_>) -> bool {
        while let Some(rest) = self.pending.get(self.used..).filter(|rest| !rest.is_empty()) {
            if target.is_full() {
                return true;
            }
            let end = if self.note.is_passing_over { line_end(rest) } else { record_end(rest) };
            let used = if self.note.is_passing_over {
                self.note.is_passing_over = end.is_none();
                end.map_or(rest.len(), |end| end + 1)
            } else if rest.first() == Some(&0) {
                // The hole of a log that was cut to nothing while it was written.
                rest.iter().take_while(|byte| **byte == 0).count()
            } else if let Some(end) = end {
                target.add(rest.get(..end).unwrap_or(rest), self.note.offset + end as u64);
                end + 1
            } else if rest.len() > RECORD_BYTES_MAX {
                target.add(rest, self.note.offset + rest.len() as u64 - 1);
                self.note.is_passing_over = true;
                rest.len()
            } else {
                return false;
            };
            self.take(used);
        }
        false
    }

    /// Nothing more comes behind a line without an end.
    fn take_last_line(&mut self, target: &mut Target<'_>) {
        let rest = self.pending.get(self.used..).unwrap_or_default();
        if !rest.is_empty() {
            target.add(rest, self.note.offset + rest.len() as u64 - 1);
            self.take(rest.len());
        }
    }

    fn take(&mut self, bytes: usize) {
        self.used += bytes;
        self.note.offset += bytes as u64;
        self.is_changed = true;
    }

    /// Lets go of what is done of the pending bytes.
    fn settle(&mut self) {
        let done = mem::take(&mut self.used);
        if done == 0 {
            return;
        }
        let from = done.saturating_sub(TAIL_BYTES);
        self.tail.extend_from_slice(self.pending.get(from..done).unwrap_or_default());
        let too_many = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..too_many);
        self.pending.drain(..done);
        self.note.tail = digest_of(&self.tail);
    }

    fn forget_pending(&mut self) {
        self.settle();
        self.pending = Vec::new();
        self.end = None;
    }

    /// Its note, if it must be stored.
    pub(super) fn take_changed(&mut self) -> Option<&ContentNote> {
        mem::take(&mut self.is_changed).then_some(&self.note)
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes)
}

/// The end of the line with which a record ends: the first, or of one that a container runtime split, the
/// one with its last part.
fn record_end(bytes: &[u8]) -> Option<usize> {
    let (mut parts, mut start) = (PartLines::default(), 0);
    loop {
        let rest = bytes.get(start..)?;
        let length = line_end(rest)?;
        if !parts.go_on(rest.get(..length)?) {
            return Some(start + length);
        }
        start += length + 1;
    }
}

enum Read {
    More,
    End(Stamp),
    Lost,
}
