//! The bytes of a file that others write, rotate and compress: read at any place, and known again.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, BufRead, Read as _, Seek as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::super::{
    decompress::{Counted, decompress, is_plain},
    note::digest_of,
};

/// Bytes of its first line by which a content is known: 4 KiB. What begins in another way is another content;
/// what begins alike need not be the same: files may have headers, and who sends a long request chooses as much.
const PRINT_BYTES_MAX: usize = 4 << 10;

/// Bytes in front of the position by which it is known: 1 KiB.
pub(super) const TAIL_BYTES: usize = 1 << 10;

/// Bytes that are read at once to find the end of a compressed file: 64 KiB.
const END_BYTES: usize = 64 << 10;

/// Which file of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// A file as it was at a time: the same again as long as nobody writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) file: FileId,
    pub(super) bytes: u64,
    /// When it was written last, in nanoseconds since 1970.
    pub(super) written: i128,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        let seconds = i128::from(metadata.mtime()) * 1_000_000_000;
        Stamp {
            file: FileId { device: metadata.dev(), inode: metadata.ino() },
            bytes: metadata.len(),
            written: seconds + i128::from(metadata.mtime_nsec()),
        }
    }
}

/// How a content begins: its first line, behind the hole that a log has which was cut to nothing while it
/// was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Print {
    /// Zeros in front of it.
    hole: u64,
    /// Bytes that were looked at.
    length: u32,
    hash: [u8; 16],
}

impl Print {
    /// Where the bytes end that were looked at.
    pub(super) fn end(&self) -> u64 {
        self.hole + u64::from(self.length)
    }
}

/// How a content ends, as far as it was written.
pub(super) struct End {
    pub(super) bytes: u64,
    /// What stands in front of its end.
    tail: Vec<u8>,
}

/// An open file, whose content may be compressed.
pub(super) struct Opened {
    file: File,
    id: FileId,
    /// `None`: its bytes are its content.
    packed: Option<Packed>,
}

/// What comes out of a decoder, which only goes on.
#[derive(Default)]
struct Packed {
    reader: Option<Box<dyn BufRead + Send>>,
    at: u64,
}

impl Packed {
    fn read(&mut self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.reader.is_none() || self.at > offset {
            let mut file = file.try_clone()?;
            file.rewind()?;
            let counted = Counted { input: Box::new(file), done: Arc::default() };
            *self = Packed { reader: Some(decompress(counted)?), at: 0 };
        }
        let Some(reader) = &mut self.reader else { return Ok(0) };
        if self.at < offset {
            let skip = offset - self.at;
            let skipped = io::copy(&mut reader.take(skip), &mut io::sink())?;
            self.at += skipped;
            if skipped < skip {
                return Ok(0);
            }
        }
        let count = reader.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Opened {
    /// Opens a file. Never waits for whoever writes a pipe.
    pub(super) fn open(path: &Path) -> io::Result<Opened> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other(kind_of(&metadata)));
        }
        let mut head = [0; 4];
        let count = read_full(&file, &mut head, 0)?;
        let packed = (!is_plain(head.get(..count).unwrap_or_default())).then(Packed::default);
        Ok(Opened { id: Stamp::of(&metadata).file, file, packed })
    }

    pub(super) const fn id(&self) -> FileId {
        self.id
    }

    /// How long the file is now.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.file.metadata().ok().map(|found| found.len())
    }

    pub(super) const fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// As it is now, and whether it still has a name.
    pub(super) fn stamp(&self) -> io::Result<(Stamp, bool)> {
        let metadata = self.file.metadata()?;
        Ok((Stamp::of(&metadata), metadata.nlink() > 0))
    }

    /// It has grown: a decoder that was at its end begins anew.
    pub(super) fn refresh(&mut self) {
        if let Some(packed) = &mut self.packed {
            *packed = Packed::default();
        }
    }

    /// Reads content from `offset` on; 0 if there is none (yet). Compressed content that breaks off has no
    /// more yet. Going back in it costs reading it from its start.
    pub(super) fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let Some(packed) = &mut self.packed else { return self.file.read_at(buffer, offset) };
        match packed.read(&self.file, buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }

    /// Fills the buffer as far as there is content.
    fn read_full(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// How the content begins; `None` while its first line is not whole. If nothing more comes
    /// (`is_final`), what there is of it will do.
    pub(super) fn print(&mut self, is_final: bool) -> io::Result<Option<Print>> {
        let mut hole = 0;
        let mut head = vec![0; PRINT_BYTES_MAX];
        loop {
            let count = self.read_full(&mut head, hole)?;
            let Some(bytes) = head.get(..count).filter(|bytes| !bytes.is_empty()) else {
                return Ok(None);
            };
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            if zeros > 0 {
                hole += zeros as u64;
                continue;
            }
            let length = match memchr::memchr(b'\n', bytes) {
                Some(end) => end + 1,
                None if is_final || count == PRINT_BYTES_MAX => count,
                None => return Ok(None),
            };
            return Ok(Some(Print {
                hole,
                length: u32::try_from(length).unwrap_or(u32::MAX),
                hash: digest_of(bytes.get(..length).unwrap_or(bytes)),
            }));
        }
    }

    /// Whether the content begins like this.
    pub(super) fn begins_with(&mut self, print: &Print) -> io::Result<bool> {
        if print.hole > 0 {
            let mut zero = [1];
            if self.read_full(&mut zero, 0)? != 1 || zero != [0] {
                return Ok(false);
            }
        }
        let mut head = vec![0; usize::try_from(print.length).unwrap_or(0).min(PRINT_BYTES_MAX)];
        let count = self.read_full(&mut head, print.hole)?;
        Ok(count == head.len() && digest_of(&head) == print.hash)
    }

    /// The bytes in front of `offset`; `None` if the content does not come as far.
    pub(super) fn tail(&mut self, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let length = offset.min(TAIL_BYTES as u64);
        let mut tail = vec![0; usize::try_from(length).unwrap_or(0)];
        let count = self.read_full(&mut tail, offset - length)?;
        Ok((count == tail.len()).then_some(tail))
    }

    /// Whether the content goes on behind `offset`.
    pub(super) fn goes_on(&mut self, offset: u64) -> io::Result<bool> {
        Ok(self.read_full(&mut [0], offset)? > 0)
    }

    /// How the content ends. That of a compressed file costs reading it.
    pub(super) fn end(&mut self) -> io::Result<End> {
        let mut bytes = self.file.metadata()?.len();
        if self.is_packed() {
            let mut buffer = vec![0; END_BYTES];
            bytes = 0;
            loop {
                match self.read_full(&mut buffer, bytes)? {
                    0 => break,
                    count => bytes += count as u64,
                }
            }
        }
        Ok(End { bytes, tail: self.tail(bytes)?.unwrap_or_default() })
    }

    /// Whether the content has all that `other` has, which begins alike and ends so: what stands behind the
    /// first line is compared, and what stands in front of the end.
    pub(super) fn has_all_of(
        &mut self,
        other: &mut Opened,
        print: &Print,
        end: &End,
    ) -> io::Result<bool> {
        let behind = usize::try_from(end.bytes.saturating_sub(print.end())).unwrap_or(usize::MAX);
        let (mut own, mut its) = ([0; TAIL_BYTES], [0; TAIL_BYTES]);
        let length = behind.min(TAIL_BYTES);
        let (own, its) = (own.get_mut(..length), its.get_mut(..length));
        let (Some(own), Some(its)) = (own, its) else { return Ok(false) };
        let counts = (self.read_full(own, print.end())?, other.read_full(its, print.end())?);
        Ok(counts == (length, length)
            && own == its
            && self.tail(end.bytes)?.is_some_and(|tail| tail == end.tail))
    }
}

fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

/// What stands where a file should.
pub(super) fn kind_of(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() { "is a directory" } else { "is no regular file" }
}
