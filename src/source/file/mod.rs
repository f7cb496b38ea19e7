//! Audit logs in files and on standard input: plain, gzip or zstd, one record a line, or JSON that goes
//! over many lines.
//!
//! A file is told by its first bytes, not by its name. A file is a partition (its path is the topic)
//! and a line number, from 0, is an offset, so that a run can go on where another ended. Files are
//! finite: nobody waits for lines that are added later; a log shipper and Kafka do that better.

mod document;

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    mem,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, History, Progress, SINK_RETRY, Source, SourceConfig,
    SourceContext, SourceError, SourceEvent, SourceKind,
};
use crate::{
    engine::{
        diagnostic::Diagnostic,
        limits::RECORD_BYTES_MAX,
        record::{PartitionName, Position, RecordBatch},
        yaml::{SecretRef, Section},
    },
    kafka::ReadSecret,
};
use document::{Cut, Cutter, begins_document};

/// The path that means standard input.
pub const STANDARD_INPUT: &str = "-";

/// Bytes read at once: 256 KiB.
const BUFFER_BYTES: usize = 256 << 10;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Of a zstd frame that holds no data, which some writers put first; the first byte may be 0x50–0x5f.
const ZSTD_SKIPPABLE_MAGIC: &[u8] = &[0x2a, 0x4d, 0x18];
const UTF8_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// What `sources: - file:` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSettings {
    /// The files, read in this order; `-` is standard input.
    pub paths: Vec<PathBuf>,
    /// Name of the cluster that all records come from.
    pub cluster: Option<Arc<str>>,
}

/// The line of [`super::SOURCES`].
#[derive(Debug)]
pub struct File;

impl SourceKind for File {
    fn name(&self) -> &'static str {
        "file"
    }

    fn summary(&self) -> &'static str {
        "Files of events, one a line or over many lines, plain, gzip or zstd; `-` is standard input."
    }

    fn example(&self) -> &'static str {
        "paths: [/var/log/kubernetes/audit.log]\n"
    }

    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn SourceConfig>> {
        const HELP: &str = "write `paths: [audit.log]`; `-` is standard input";
        let cluster = section.string("cluster").map(Arc::from);
        if section.node("paths").is_none() {
            section.missing("paths", HELP);
            return None;
        }
        let paths = section.strings("paths")?;
        if paths.iter().all(String::is_empty) {
            section.invalid("paths", format!("{} is empty", section.path_of("paths")), HELP);
            return None;
        }
        let paths = paths.into_iter().map(PathBuf::from).collect();
        Some(Box::new(FileSettings { paths, cluster }))
    }
}

impl SourceConfig for FileSettings {
    fn secrets(&self) -> Vec<SecretRef> {
        Vec::new()
    }

    fn build(&self, _secret: ReadSecret<'_>) -> Result<Box<dyn Source>, Box<Diagnostic>> {
        Ok(Box::new(FileSource { settings: self.clone() }))
    }
}

/// Files as a source for `run`; ends with the last one.
#[derive(Debug)]
pub struct FileSource {
    settings: FileSettings,
}

impl Source for FileSource {
    fn run(self: Box<Self>, mut context: SourceContext) -> Result<(), SourceError> {
        let mut files = Files::open(&self.settings, &context.positions)?.of(context.name.clone());
        (context.events)(SourceEvent::Ready { partitions: files.partitions() });
        while let Some(batch) = files.next_batch()? {
            let mut waiting = Some(batch);
            while let Some(batch) = waiting.take() {
                if context.stop.is_cancelled() {
                    return Ok(());
                }
                waiting = context.sink.offer(batch).err();
                if waiting.is_some() {
                    std::thread::sleep(SINK_RETRY);
                }
            }
        }
        Ok(())
    }
}

/// Files as a history for `backtest`.
pub struct Files {
    /// What is not begun yet, in reverse order.
    rest: Vec<PathBuf>,
    positions: Vec<Position>,
    source: Option<Arc<str>>,
    cluster: Option<Arc<str>>,
    current: Option<LineFile>,
    batch: RecordBatch,
    sequence: u64,
    done: Arc<AtomicU64>,
    total: Option<u64>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("rest", &self.rest).finish_non_exhaustive()
    }
}

impl Files {
    /// Looks whether all files can be read, and how large they are. `positions` are lines of files
    /// that an earlier run has done.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub fn open(settings: &FileSettings, positions: &[Position]) -> Result<Files, SourceError> {
        let mut total = Some(0_u64);
        for path in &settings.paths {
            if path.as_os_str() == STANDARD_INPUT {
                total = None;
                continue;
            }
            let failed = |error: io::Error| {
                SourceError::Config(format!("cannot read {}: {error}", path.display()))
            };
            let metadata = fs::File::open(path).and_then(|file| file.metadata()).map_err(failed)?;
            if metadata.is_dir() {
                return Err(SourceError::Config(format!("{} is a directory", path.display())));
            }
            // A pipe has no length.
            total = if metadata.is_file() { total.map(|sum| sum + metadata.len()) } else { None };
        }
        Ok(Files {
            rest: settings.paths.iter().rev().cloned().collect(),
            positions: positions.to_vec(),
            source: None,
            cluster: settings.cluster.clone(),
            current: None,
            batch: RecordBatch::default(),
            sequence: 0,
            done: Arc::default(),
            total,
        })
    }

    /// Files of a source with a name.
    fn of(self, source: Option<Arc<str>>) -> Files {
        Files { source, ..self }
    }

    /// The files that are left.
    fn partitions(&self) -> Vec<Arc<PartitionName>> {
        self.rest.iter().rev().map(|path| Arc::new(self.name_of(path))).collect()
    }

    fn name_of(&self, path: &Path) -> PartitionName {
        PartitionName { source: self.source.clone(), ..partition_of(path) }
    }

    fn open_next(&mut self) -> Result<bool, SourceError> {
        let Some(path) = self.rest.pop() else { return Ok(false) };
        let name = self.name_of(&path);
        let known = self.positions.iter().find(|position| *position.partition == name);
        let first = known.map_or(0, |position| position.next_offset);
        let file = LineFile::open(&path, first, &self.done)?;
        self.current = Some(LineFile { partition: Arc::new(name), ..file });
        Ok(true)
    }
}

impl History for Files {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        while self.current.is_some() || self.open_next()? {
            let Some(file) = &mut self.current else { break };
            if file.read(&mut self.batch, self.cluster.as_ref(), BATCH_RECORDS_MAX)? {
                break;
            }
            self.current = None;
        }
        if self.batch.records.is_empty() {
            return Ok(None);
        }
        let next = RecordBatch {
            payload: Vec::with_capacity(self.batch.payload.len().min(BATCH_BYTES_MAX)),
            ..RecordBatch::default()
        };
        let mut batch = mem::replace(&mut self.batch, next);
        batch.sequence = self.sequence;
        self.sequence += 1;
        Ok(Some(batch))
    }

    fn progress(&self) -> Progress {
        Progress { done: self.done.load(Ordering::Relaxed), total: self.total }
    }
}

/// One file, read record by record.
pub struct LineFile {
    partition: Arc<PartitionName>,
    reader: Box<dyn BufRead + Send>,
    shape: Shape,
    /// Number of the next line.
    number: i64,
    /// Lines before this one were done by an earlier run.
    first: i64,
    /// A record that began in an earlier buffer.
    begun: Vec<u8>,
    /// Whoever writes to standard input may be silent for hours, so what it holds is handed on at once.
    is_live: bool,
}

/// What a file looks like.
enum Shape {
    /// Nothing but blank lines were seen.
    Unknown,
    /// One record a line.
    Lines,
    /// Documents that go over many lines.
    Documents(Documents),
}

/// Where reading is in a file of documents.
#[derive(Default)]
struct Documents {
    cutter: Cutter,
    /// The line on which the record begins that is being read.
    begins_at: i64,
    /// The least offset of the next record: several may begin on one line.
    next_offset: i64,
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
    /// Lines before this one are passed over.
    first: i64,
    records_max: usize,
}

impl Target<'_> {
    fn is_full(&self) -> bool {
        self.batch.records.len() >= self.records_max || self.batch.payload.len() >= BATCH_BYTES_MAX
    }

    /// Adds one record. Blank lines have a number but are no records.
    fn add(&mut self, offset: i64, text: &[u8]) {
        let text = text.trim_ascii();
        if offset < self.first || text.is_empty() {
            return;
        }
        let text = text.get(..=RECORD_BYTES_MAX).unwrap_or(text);
        self.batch.push(self.partition, offset, self.cluster, Some(text));
    }
}

impl LineFile {
    /// Opens a file, or standard input for `-`. Lines before `first` are passed over. `done` counts
    /// bytes before decompression.
    ///
    /// # Errors
    /// If it cannot be read, with its path.
    pub fn open(path: &Path, first: i64, done: &Arc<AtomicU64>) -> Result<LineFile, SourceError> {
        let partition = Arc::new(partition_of(path));
        let input: Box<dyn Read + Send> = if path.as_os_str() == STANDARD_INPUT {
            Box::new(io::stdin())
        } else {
            Box::new(fs::File::open(path).map_err(|error| failed(&partition, 0, &error))?)
        };
        let counted = Counted { input, done: Arc::clone(done) };
        let reader = decompress(counted).map_err(|error| failed(&partition, 0, &error))?;
        let is_live = path.as_os_str() == STANDARD_INPUT;
        let shape = Shape::Unknown;
        Ok(LineFile { partition, reader, shape, number: 0, first, begun: Vec::new(), is_live })
    }

    /// Adds records to `batch` until it has `records_max` of them or 1 MiB, or standard input has no
    /// more at the moment; `false` at the end.
    ///
    /// # Errors
    /// If the rest cannot be read or decompressed, with path and line.
    pub fn read(
        &mut self,
        batch: &mut RecordBatch,
        cluster: Option<&Arc<str>>,
        records_max: usize,
    ) -> Result<bool, SourceError> {
        let LineFile { partition, reader, shape, number, first, begun, is_live } = self;
        let mut target = Target { batch, partition, cluster, first: *first, records_max };
        while !target.is_full() {
            let buffer = match reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(partition, *number, &error)),
            };
            if buffer.is_empty() {
                finish(&mut target, shape, *number, &mem::take(begun));
                return Ok(false);
            }
            let mut used = 0;
            while let Some(rest) = buffer.get(used..).filter(|rest| !rest.is_empty())
                && !target.is_full()
            {
                used += match shape {
                    Shape::Unknown | Shape::Lines => {
                        read_line(&mut target, shape, number, begun, rest)
                    }
                    Shape::Documents(documents) => {
                        read_document(&mut target, documents, number, begun, rest)
                    }
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

/// Reads to the end of a line, or of the buffer; returns how many bytes that were.
fn read_line(
    target: &mut Target<'_>,
    shape: &mut Shape,
    number: &mut i64,
    begun: &mut Vec<u8>,
    buffer: &[u8],
) -> usize {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        keep(begun, buffer);
        return buffer.len();
    };
    let mut line = buffer.get(..end).unwrap_or_default();
    let whole;
    if !begun.is_empty() {
        keep(begun, line);
        whole = mem::take(begun);
        line = &whole;
    }
    let line = if *number == 0 { line.strip_prefix(UTF8_MARK).unwrap_or(line) } else { line };
    if let Shape::Unknown = shape
        && !line.trim_ascii().is_empty()
    {
        *shape = Shape::Lines;
        if begins_document(line.trim_ascii()) {
            let mut documents = Documents::default();
            read_document(target, &mut documents, &mut number.clone(), begun, line);
            // The line break, which is taken here, is a part of the record, too.
            *shape = Shape::Documents(documents);
            *number += 1;
            return end + 1;
        }
    }
    target.add(*number, line);
    *number += 1;
    end + 1
}

/// Reads to the end of a record, or of the buffer; returns how many bytes that were.
fn read_document(
    target: &mut Target<'_>,
    documents: &mut Documents,
    number: &mut i64,
    begun: &mut Vec<u8>,
    buffer: &[u8],
) -> usize {
    for (index, byte) in buffer.iter().enumerate() {
        let was_reading = documents.cutter.is_reading();
        let cut = documents.cutter.push(*byte);
        if !was_reading {
            documents.begins_at = *number;
        }
        *number += i64::from(*byte == b'\n');
        if matches!(cut, Cut::Inside | Cut::Last) && begun.len() <= RECORD_BYTES_MAX {
            begun.push(*byte);
        }
        if matches!(cut, Cut::Last | Cut::After | Cut::Restart) {
            let record = mem::take(begun);
            if cut != Cut::Restart {
                let offset = documents.begins_at.max(documents.next_offset);
                documents.next_offset = offset + 1;
                target.add(offset, &record);
                return index + 1;
            }
        }
    }
    buffer.len()
}

/// Adds what the end of the file leaves: the last line may lack its newline.
fn finish(target: &mut Target<'_>, shape: &Shape, number: i64, begun: &[u8]) {
    match shape {
        Shape::Unknown | Shape::Lines => {
            let line =
                if number == 0 { begun.strip_prefix(UTF8_MARK).unwrap_or(begun) } else { begun };
            target.add(number, line);
        }
        Shape::Documents(documents) if !documents.cutter.is_complete() => {
            // A list whose end is missing is a dead letter, even if its last item is whole.
            let rest = if begun.is_empty() { b"[" } else { begun };
            target.add(documents.begins_at.max(documents.next_offset), rest);
        }
        Shape::Documents(documents) => {
            target.add(documents.begins_at.max(documents.next_offset), begun);
        }
    }
}

/// Appends to a line that is being gathered; what passes the bound is forgotten, so that an endless
/// line costs no memory. It is a dead letter then.
fn keep(line: &mut Vec<u8>, more: &[u8]) {
    let room = (RECORD_BYTES_MAX + 1).saturating_sub(line.len());
    line.extend_from_slice(more.get(..room).unwrap_or(more));
}

fn partition_of(path: &Path) -> PartitionName {
    PartitionName::new(path.display().to_string(), 0)
}

fn failed(partition: &PartitionName, line: i64, error: &io::Error) -> SourceError {
    SourceError::Fatal(format!("cannot read {} after line {line}: {error}", partition.topic))
}

/// Counts what is read before decompression.
struct Counted {
    input: Box<dyn Read + Send>,
    done: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Looks at the first bytes and puts the right decoder in front.
fn decompress(mut input: Counted) -> io::Result<Box<dyn BufRead + Send>> {
    let mut head = Vec::with_capacity(4);
    input.by_ref().take(4).read_to_end(&mut head)?;
    let is_gzip = head.starts_with(GZIP_MAGIC);
    let is_skippable = head.get(1..4) == Some(ZSTD_SKIPPABLE_MAGIC)
        && head.first().is_some_and(|first| first & 0xf0 == 0x50);
    let is_zstd = head.starts_with(ZSTD_MAGIC) || is_skippable;
    let whole = io::Cursor::new(head).chain(input);
    let buffered = BufReader::with_capacity(BUFFER_BYTES, whole);
    Ok(if is_gzip {
        // Rotated logs are often several gzip members in one file.
        let decoder = flate2::bufread::MultiGzDecoder::new(buffered);
        Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
    } else if is_zstd {
        let decoder = zstd::stream::read::Decoder::with_buffer(buffered)?;
        Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
    } else {
        Box::new(buffered)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Path, number and text of every line.
    type AllLines = Vec<(String, i64, Vec<u8>)>;

    fn read(
        paths: &[PathBuf],
        positions: &[Position],
    ) -> Result<(AllLines, Progress), SourceError> {
        let settings = FileSettings { paths: paths.to_vec(), cluster: None };
        let mut files = Files::open(&settings, positions)?;
        let mut records = Vec::new();
        while let Some(batch) = files.next_batch()? {
            assert!(batch.records.len() <= BATCH_RECORDS_MAX);
            for record in &batch.records {
                let topic = batch.partition_of(record).unwrap().topic.clone();
                records.push((topic, record.offset, batch.payload_of(record).unwrap().to_vec()));
            }
        }
        Ok((records, files.progress()))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_three_formats_give_the_same_lines() {
        let dir = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..5_000).map(|n| format!("{{\"n\":{n}}}")).collect();
        let text = format!("\u{feff}{}", lines.join("\r\n"));
        let (head, tail) = text.as_bytes().split_at(20_000);
        let mut skippable = vec![0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9];
        skippable.extend(zstd::encode_all(text.as_bytes(), 1).unwrap());
        for (name, bytes) in [
            ("plain", text.as_bytes().to_vec()),
            ("gzip", [gzip(head), gzip(tail)].concat()),
            ("zstd", zstd::encode_all(text.as_bytes(), 1).unwrap()),
            ("zstd-skippable", skippable),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, &bytes).unwrap();
            let (records, progress) = read(&[path], &[]).unwrap();
            let length = bytes.len() as u64;
            assert_eq!(progress, Progress { done: length, total: Some(length) }, "{name}");
            let expected: Vec<_> = lines.iter().map(String::as_bytes).zip(0..).collect();
            let got: Vec<_> = records.iter().map(|(_, n, line)| (line.as_slice(), *n)).collect();
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn documents_over_many_lines_are_read_item_by_item() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.json");
        let item = format!("{{\n  \"a\": \"{}\"\n}}", "x".repeat(BUFFER_BYTES / 2));
        let text =
            format!("\n{{\n \"kind\": \"EventList\",\n \"items\": [{item}, {item},\n{item}]\n}}\n");
        fs::write(&path, &text).unwrap();
        let (records, _) = read(std::slice::from_ref(&path), &[]).unwrap();
        let got: Vec<_> = records.iter().map(|(_, n, record)| (*n, record.as_slice())).collect();
        assert_eq!(got, [3, 5, 8].map(|line| (line, item.as_bytes())));
        // A later run goes on behind what was done. A list without an end is not whole, even if its
        // items are; an item without an end is neither.
        let whole = text.trim_end().trim_end_matches('}').trim_end().trim_end_matches(']');
        for (text, last) in [(whole, &b"["[..]), (whole.trim_end_matches('}'), b"{\n  \"a\"")] {
            fs::write(&path, text).unwrap();
            let partition = Arc::new(partition_of(&path));
            let position = Position { partition, next_offset: 8 };
            let (records, _) = read(std::slice::from_ref(&path), &[position]).unwrap();
            assert!(records.last().unwrap().2.starts_with(last), "{last:?}");
            assert_eq!(records.len(), if last == b"[" { 2 } else { 1 });
        }
    }

    #[test]
    fn a_later_run_goes_on_after_the_lines_that_are_done() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        fs::write(&paths[0], "0\n\n2\n3\n").unwrap();
        fs::write(&paths[1], "zero\n").unwrap();
        let partition = Arc::new(partition_of(&paths[0]));
        let (records, _) = read(&paths, &[Position { partition, next_offset: 2 }]).unwrap();
        let short: Vec<_> = records.iter().map(|(_, n, line)| (*n, line.as_slice())).collect();
        assert_eq!(short, [(2, &b"2"[..]), (3, &b"3"[..]), (0, &b"zero"[..])]);
    }

    #[test]
    fn an_endless_line_is_cut_and_the_next_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let long = vec![b'x'; RECORD_BYTES_MAX + 70_000];
        fs::write(&path, [&long[..], b"\nnext\n"].concat()).unwrap();
        let (records, _) = read(&[path], &[]).unwrap();
        let lengths: Vec<usize> = records.iter().map(|(_, _, line)| line.len()).collect();
        assert_eq!(lengths, [RECORD_BYTES_MAX + 1, 4]);
    }

    #[test]
    fn a_file_that_breaks_off_is_an_error_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log.gz");
        let mut bytes = gzip("{}\n".repeat(10_000).as_bytes());
        bytes.truncate(bytes.len() - 12);
        fs::write(&path, bytes).unwrap();
        let message = read(&[path], &[]).unwrap_err().to_string();
        assert!(message.contains("audit.log.gz after line"), "{message}");
        let gone = read(&[dir.path().join("gone")], &[]).unwrap_err().to_string();
        assert!(gone.contains("gone"), "{gone}");
        let message = read(&[dir.path().to_path_buf()], &[]).unwrap_err().to_string();
        assert!(message.contains("is a directory"), "{message}");
    }

    #[test]
    fn an_empty_file_has_no_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(&path, "").unwrap();
        assert!(read(&[path], &[]).unwrap().0.is_empty());
    }
}
