//! One file, record by record: lines, documents that go over many lines, Base64 that was wrapped.
//!
//! Each line is looked at by its ends only, so that reading a file of lines costs little. What is in a
//! record is the decoder's.

use std::{
    fs,
    io::{self, BufRead, Read},
    mem,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use super::{
    STANDARD_INPUT,
    decompress::{Counted, decompress},
    document::{Cut, Cutter, goes_on},
    note::{Found, LastRecord},
    partition_of,
};
use crate::{
    engine::{
        decode::PartLines,
        limits::RECORD_BYTES_MAX,
        record::{PartitionName, RecordBatch},
    },
    file,
    source::{BATCH_BYTES_MAX, SourceError},
};

const UTF8_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// How Base64 of gzip begins.
const GZIP_IN_BASE64: &[u8] = b"H4sI";

/// How long the lines are that programs wrap Base64 at.
const BASE64_WIDTHS: [usize; 2] = [64, 76];

/// One file, read record by record.
pub struct LineFile {
    partition: Arc<PartitionName>,
    reader: Box<dyn BufRead + Send>,
    state: State,
    done: Done,
    /// Whoever writes to standard input or a pipe may be silent for hours, so what it holds is handed on at once.
    is_live: bool,
    /// Why the rest cannot be read.
    broken: Option<SourceError>,
}

/// What an earlier run has done of a file.
#[derive(Default)]
struct Done {
    /// Lines before this one.
    first: i64,
    /// The last of them, as far as it was not met again.
    last: Option<LastRecord>,
    /// Something else stands where it was: the file is another one.
    is_another: bool,
}

impl Done {
    /// Whether a record was done. One that had no end yet, and has more now, is done again.
    fn has(&mut self, offset: i64, text: &[u8]) -> bool {
        let Some(last) = self.last.take_if(|last| last.offset <= offset) else {
            return offset < self.first || self.is_another;
        };
        let found = if last.offset == offset { last.compare(text) } else { Found::Another };
        self.is_another = found == Found::Another;
        found != Found::Lengthened
    }
}

/// Where reading is.
#[derive(Default)]
struct State {
    shape: Shape,
    /// Number of the next line.
    number: i64,
    /// The least offset of the next record: several may begin on one line.
    next_offset: i64,
    /// A line that began in an earlier buffer.
    line: Vec<u8>,
    /// A record that goes over several lines, as far as it was read.
    record: Vec<u8>,
    /// The line on which it begins.
    begins_at: i64,
    /// The last record says only that the end of a list is missing.
    lacks_end: bool,
}

/// What is being read.
#[derive(Default)]
enum Shape {
    /// One record a line.
    #[default]
    Lines,
    /// A document that goes over many lines.
    Document(Box<JsonDocument>),
    /// Base64 that goes over lines of so many bytes.
    Base64(usize),
    /// A line that a container runtime split, with what stands between its parts.
    Parts(PartLines),
}

/// A document that is being read.
#[derive(Default)]
struct JsonDocument {
    cutter: Cutter,
    /// What stood before the list that is being read, and the line on which it began.
    around: Vec<u8>,
    around_at: i64,
    /// The list that was read had items: what surrounds it need not be a record.
    had_items: bool,
}

impl std::fmt::Debug for LineFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineFile").field("partition", &self.partition).finish_non_exhaustive()
    }
}

/// Where records go.
struct Target<'b> {
    batch: &'b mut RecordBatch,
    partition: &'b Arc<PartitionName>,
    cluster: Option<&'b Arc<str>>,
    /// This is passed over.
    done: &'b mut Done,
    records_max: usize,
}

impl Target<'_> {
    fn is_full(&self) -> bool {
        self.batch.records.len() >= self.records_max || self.batch.payload.len() >= BATCH_BYTES_MAX
    }

    /// Adds one record that begins on line `at`, or behind those before it on the same line. Blank lines
    /// have a number but are no records.
    fn add(&mut self, next_offset: &mut i64, at: i64, text: &[u8]) {
        let text = trim(text);
        if text.is_empty() {
            return;
        }
        let offset = at.max(*next_offset);
        *next_offset = offset + 1;
        let text = text.get(..=RECORD_BYTES_MAX).unwrap_or(text);
        if !self.done.has(offset, text) {
            self.batch.push(self.partition, offset, self.cluster, Some(text));
        }
    }
}

impl LineFile {
    /// Opens a file, or standard input for `-`. Lines before `first` are passed over; those of standard input and of a
    /// pipe, which give others in each run, begin with that number. `done` counts bytes before decompression.
    ///
    /// # Errors
    /// If it cannot be read, with its path.
    pub fn open(path: &Path, first: i64, done: &Arc<AtomicU64>) -> Result<LineFile, SourceError> {
        let is_standard_input = path.as_os_str() == STANDARD_INPUT;
        let is_live = is_standard_input || fs::metadata(path).is_ok_and(|it| !it.is_file());
        let input = || -> io::Result<Box<dyn Read + Send>> {
            Ok(if is_standard_input {
                Box::new(io::stdin())
            } else {
                Box::new(fs::File::open(path)?)
            })
        };
        LineFile::over(input(), is_live, path, first, done)
    }

    /// Opens a file that was read before. Never waits, and takes nothing from a pipe that is still being read.
    ///
    /// # Errors
    /// As [`LineFile::open`], and if it is no file.
    pub(super) fn open_again(path: &Path, first: i64) -> Result<LineFile, SourceError> {
        let input = file::open(path).map(|file| Box::new(file) as Box<dyn Read + Send>);
        LineFile::over(input, false, path, first, &Arc::default())
    }

    fn over(
        input: io::Result<Box<dyn Read + Send>>,
        is_live: bool,
        path: &Path,
        first: i64,
        done: &Arc<AtomicU64>,
    ) -> Result<LineFile, SourceError> {
        let partition = Arc::new(partition_of(path));
        let reader = input
            .and_then(|input| decompress(Counted { input, done: Arc::clone(done) }))
            .map_err(|error| failed(&partition, 0, &error))?;
        let state = State { number: if is_live { first } else { 0 }, ..State::default() };
        let done = Done { first, ..Done::default() };
        Ok(LineFile { partition, reader, state, done, is_live, broken: None })
    }

    /// The same file, of which this was the last record when it was read before.
    pub(super) fn behind(mut self, last: Option<LastRecord>) -> LineFile {
        self.done.last = last.filter(|last| !self.is_live && last.offset + 1 == self.done.first);
        self
    }

    /// The same file, as a partition of a source with a name.
    pub(super) fn of(self, partition: PartitionName) -> LineFile {
        LineFile { partition: Arc::new(partition), ..self }
    }

    /// Whether it is another file than was read before, by what stands where the last record was, or as it has ended
    /// before the line that it was to go on from.
    pub(super) const fn is_another(&self) -> bool {
        self.done.is_another || !self.is_live && self.state.next_offset < self.done.first
    }

    /// Whether it can be known again by the last record that was taken of it: it gives the same in another run, and
    /// that record stands in it.
    pub(super) const fn is_known_by_last(&self) -> bool {
        !self.is_live && !self.state.lacks_end
    }

    /// Adds records to `batch` until it has `records_max` of them or 1 MiB, or standard input has no
    /// more at the moment; `false` at the end, and where
    /// it shows that it is another file.
    ///
    /// # Errors
    /// If the rest cannot be read or decompressed, with path and line, once all lines before it were handed over.
    pub fn read(
        &mut self,
        batch: &mut RecordBatch,
        cluster: Option<&Arc<str>>,
        records_max: usize,
    ) -> Result<bool, SourceError> {
        let LineFile { partition, reader, state, done, is_live, broken } = self;
        if let Some(error) = broken.take() {
            return Err(error);
        }
        let mut target = Target { batch, partition, cluster, done, records_max };
        while !target.is_full() {
            if target.done.is_another {
                return Ok(false);
            }
            let buffer = match reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // A line that is cut is left for a run over the whole file.
                    let error = failed(partition, state.number, &error);
                    if target.batch.records.is_empty() {
                        return Err(error);
                    }
                    *broken = Some(error);
                    return Ok(true);
                }
            };
            if buffer.is_empty() {
                state.finish(&mut target);
                return Ok(false);
            }
            let mut used = 0;
            while let Some(rest) = buffer.get(used..).filter(|rest| !rest.is_empty())
                && !target.is_full()
            {
                used += match state.shape {
                    Shape::Lines | Shape::Base64(_) | Shape::Parts(_) => {
                        state.read_line(&mut target, rest)
                    }
                    Shape::Document(_) => state.read_document(&mut target, rest),
                };
            }
            let is_all = used == buffer.len();
            reader.consume(used);
            if *is_live && is_all && !target.batch.records.is_empty() {
                break;
            }
        }
        Ok(true)
    }
}

impl State {
    /// Reads to the end of a line, or of the buffer; returns how many bytes that were.
    fn read_line(&mut self, target: &mut Target<'_>, buffer: &[u8]) -> usize {
        let Some(end) = memchr::memchr(b'\n', buffer) else {
            // A log that was cut to nothing while it was written has a hole at its front, of any size.
            let is_fresh = self.line.is_empty();
            let zeros = buffer.iter().take_while(|byte| is_fresh && **byte == 0).count();
            keep(&mut self.line, buffer.get(zeros..).unwrap_or_default());
            return buffer.len();
        };
        let line = buffer.get(..end).unwrap_or_default();
        if self.line.is_empty() {
            self.take_line(target, line);
        } else {
            keep(&mut self.line, line);
            let whole = mem::take(&mut self.line);
            self.take_line(target, &whole);
        }
        self.number += 1;
        end + 1
    }

    /// Takes one whole line, without its line break.
    fn take_line(&mut self, target: &mut Target<'_>, line: &[u8]) {
        let text = trim(line);
        if let Shape::Base64(width) = self.shape {
            let goes_on = text.len() <= width
                && !text.starts_with(GZIP_IN_BASE64)
                && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte));
            if goes_on && self.record.len() <= RECORD_BYTES_MAX {
                self.record.push(b'\n');
                self.record.extend_from_slice(text);
            }
            if goes_on && text.len() == width {
                return;
            }
            self.end_record(target);
            self.shape = Shape::Lines;
            if goes_on {
                return;
            }
        }
        if let Shape::Parts(mut parts) = self.shape {
            self.record.push(b'\n');
            self.record.extend_from_slice(line);
            let goes_on = parts.go_on(line);
            self.shape = Shape::Parts(parts);
            if !goes_on {
                self.end_record(target);
                self.shape = Shape::Lines;
            }
            return;
        }
        let mut parts = PartLines::default();
        if parts.go_on(text) {
            self.shape = Shape::Parts(parts);
            self.begins_at = self.number;
            self.record.extend_from_slice(line);
        } else if goes_on(text) {
            self.shape = Shape::Document(Box::default());
            for byte in text {
                self.take_byte(target, *byte);
            }
            // The line break, which the caller counts, is a part of the record, too.
            self.take_byte(target, b'\n');
        } else if text.starts_with(GZIP_IN_BASE64) && BASE64_WIDTHS.contains(&text.len()) {
            self.shape = Shape::Base64(text.len());
            self.begins_at = self.number;
            self.record.extend_from_slice(text);
        } else {
            target.add(&mut self.next_offset, self.number, text);
        }
    }

    /// Reads to the end of a document, or of the buffer, or until the batch is full; returns how many
    /// bytes that were.
    fn read_document(&mut self, target: &mut Target<'_>, buffer: &[u8]) -> usize {
        for (index, byte) in buffer.iter().enumerate() {
            let records = target.batch.records.len();
            let is_done = self.take_byte(target, *byte);
            self.number += i64::from(*byte == b'\n');
            if is_done {
                self.shape = Shape::Lines;
            }
            if is_done || target.batch.records.len() > records {
                return index + 1;
            }
        }
        buffer.len()
    }

    /// Takes one byte of a document; whether that was the end of its last line.
    fn take_byte(&mut self, target: &mut Target<'_>, byte: u8) -> bool {
        loop {
            let Shape::Document(document) = &mut self.shape else { return true };
            let was_reading = document.cutter.is_reading();
            let cut = document.cutter.push(byte);
            if !was_reading && document.cutter.is_reading() && cut != Cut::ListEnds {
                self.begins_at = self.number;
            }
            if matches!(cut, Cut::Inside | Cut::Last | Cut::ListBegins)
                && self.record.len() <= RECORD_BYTES_MAX
            {
                self.record.push(byte);
            }
            match cut {
                Cut::Inside | Cut::Outside => {}
                Cut::ListBegins => {
                    document.around = mem::take(&mut self.record);
                    document.around_at = self.begins_at;
                    document.had_items = false;
                }
                Cut::ListEnds => {
                    self.record = mem::take(&mut document.around);
                    self.record.push(byte);
                    self.begins_at = document.around_at;
                }
                Cut::Last if document.had_items && document.cutter.is_complete() => {
                    // What surrounds a list is nothing of its own, unless an event stands beside it.
                    let matters = memchr::memmem::find(&self.record, b"auditID").is_some();
                    document.had_items = false;
                    if matters {
                        self.end_record(target);
                    }
                    self.record.clear();
                }
                Cut::Last => {
                    document.had_items |= !document.around.is_empty();
                    self.end_record(target);
                }
                Cut::Before => {
                    document.had_items |= !document.around.is_empty();
                    self.end_record(target);
                    continue;
                }
                Cut::Broken => {
                    document.had_items = false;
                    let around = mem::take(&mut document.around);
                    if self.record.is_empty() {
                        self.record = around;
                    }
                    self.end_record(target);
                    continue;
                }
            }
            let Shape::Document(document) = &self.shape else { return true };
            return byte == b'\n' && document.cutter.is_complete() && !document.cutter.is_reading();
        }
    }

    /// Adds the record that was read.
    fn end_record(&mut self, target: &mut Target<'_>) {
        let record = mem::take(&mut self.record);
        target.add(&mut self.next_offset, self.begins_at, &record);
    }

    /// Adds what the end of the file leaves: the last line may lack its line break.
    fn finish(&mut self, target: &mut Target<'_>) {
        let line = mem::take(&mut self.line);
        if !line.is_empty() {
            self.take_line(target, &line);
        }
        if let Shape::Document(document) = &self.shape
            && self.record.is_empty()
            && !document.cutter.is_complete()
        {
            // A list whose end is missing is a dead letter, even if its last item is whole.
            self.lacks_end = true;
            self.begins_at = self.number;
            self.record.push(b'[');
        }
        self.end_record(target);
        self.shape = Shape::Lines;
    }
}

/// Without white space around it, and without what files have in front of lines: a byte order mark (of
/// files that were put together), zeros.
pub(super) fn trim(mut line: &[u8]) -> &[u8] {
    loop {
        line = line.trim_ascii();
        match line {
            [0, rest @ ..] | [rest @ .., 0] => line = rest,
            _ => match line.strip_prefix(UTF8_MARK) {
                Some(rest) => line = rest,
                None => return line,
            },
        }
    }
}

/// Appends to a line that is being gathered; what passes the bound is forgotten, so that an endless
/// line costs no memory. It is a dead letter then.
fn keep(line: &mut Vec<u8>, more: &[u8]) {
    let room = (RECORD_BYTES_MAX + 1).saturating_sub(line.len());
    line.extend_from_slice(more.get(..room).unwrap_or(more));
}

fn failed(partition: &PartitionName, line: i64, error: &io::Error) -> SourceError {
    SourceError::Fatal(format!("cannot read {} after line {line}: {error}", partition.topic))
}
