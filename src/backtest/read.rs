//! Reads recorded events from files, in the order of their events.
//!
//! Files that overlap in time (one per API server) are merged in steps of a few seconds, by the first
//! time that stands in a step, so that windows see both and neither comes late. A file that breaks off
//! (a log that is being compressed, a disk that fails) is a problem that is told; the others are read
//! on.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io, mem,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    engine::{record::RecordBatch, time::EventTime},
    source::{
        Progress, RecordReader, SourceError,
        file::{LineFile, STANDARD_INPUT},
    },
};

/// Lines of one batch.
const LINES_PER_BATCH: usize = 512;

/// Time that one batch spans when files are merged: 5 s. It must stay far below `grace` and
/// `idle_after`, or events of the other files would come late.
const STEP: Duration = Duration::from_secs(5);

/// Files that are open at once for merging. Further ones are opened when an earlier one is at its end;
/// they are sorted by their first event first.
const FILES_OPEN_MAX: usize = 256;

/// Reading end of a set of files.
pub struct Input {
    /// Not yet read, latest first.
    waiting: Vec<OpenFile>,
    /// Being read, earliest batch first.
    ready: BinaryHeap<Reverse<Ready>>,
    /// Whose batch was handed out last. Its next one is read when somebody asks: whoever writes to a
    /// pipe may be silent for long, and what he wrote is worth looking at now.
    current: Option<OpenFile>,
    sequence: u64,
    bytes_read: Arc<AtomicU64>,
    bytes_total: Option<u64>,
    cluster: Option<Arc<str>>,
    problems: Vec<String>,
}

/// A batch at hand, with the file that it comes from.
struct Ready {
    time: EventTime,
    order: usize,
    batch: RecordBatch,
    file: OpenFile,
}

impl PartialEq for Ready {
    fn eq(&self, other: &Ready) -> bool {
        (self.time, self.order) == (other.time, other.order)
    }
}

impl Eq for Ready {}

impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Ready) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ready {
    fn cmp(&self, other: &Ready) -> std::cmp::Ordering {
        (self.time, self.order).cmp(&(other.time, other.order))
    }
}

impl Input {
    /// Looks at the beginning of each file and sorts them by it. All come from `cluster`, if it has a
    /// name. What is no regular file (a pipe,
    /// standard input) can be read once only, and comes first.
    ///
    /// # Errors
    /// The files that cannot be opened, one line each.
    pub fn open(files: &[PathBuf], cluster: Option<&str>) -> Result<Input, SourceError> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let mut bytes_total = Some(0);
        let (mut starts, mut refused) = (Vec::new(), Vec::new());
        for path in files {
            let length = match length(path) {
                Ok(length) => length,
                Err(error) => {
                    refused.push(format!("cannot read {}: {error}", path.display()));
                    continue;
                }
            };
            bytes_total = bytes_total.zip(length).map(|(sum, length)| sum + length);
            let time = if length.is_some() { first_time(path) } else { EventTime::MIN };
            starts.push((time, path));
        }
        if !refused.is_empty() {
            return Err(SourceError::Config(refused.join("\n")));
        }
        starts.sort();
        let merged = starts.len() > 1;
        let open = |(_, path): &(EventTime, &PathBuf)| OpenFile::closed(path, merged, &bytes_read);
        let waiting = starts.iter().rev().map(open).collect();
        let ready = BinaryHeap::new();
        Ok(Input {
            waiting,
            ready,
            current: None,
            sequence: 0,
            bytes_read,
            bytes_total,
            cluster: cluster.map(Arc::from),
            problems: Vec::new(),
        })
    }

    fn refill(&mut self, mut file: OpenFile) {
        match file.next_batch(LINES_PER_BATCH, self.cluster.as_ref()) {
            Ok(Some((time, batch))) => {
                // A batch without any time keeps its file's place.
                let time = time.max(file.time);
                file.time = time;
                let order = self.waiting.len();
                self.ready.push(Reverse(Ready { time, order, batch, file }));
            }
            Ok(None) => {}
            Err(problem) => self.problems.push(problem.to_string()),
        }
    }
}

impl RecordReader for Input {
    /// The next batch in the order of events. Never fails.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        if let Some(file) = self.current.take() {
            self.refill(file);
        }
        while self.ready.len() < FILES_OPEN_MAX
            && let Some(mut file) = self.waiting.pop()
        {
            match file.reopen() {
                Ok(()) => self.refill(file),
                Err(problem) => self.problems.push(problem.to_string()),
            }
        }
        let Some(Reverse(Ready { mut batch, file, .. })) = self.ready.pop() else {
            return Ok(None);
        };
        self.current = Some(file);
        batch.sequence = self.sequence;
        self.sequence += 1;
        Ok(Some(batch))
    }

    fn progress(&self) -> Progress {
        Progress { done: self.bytes_read.load(Ordering::Relaxed), total: self.bytes_total }
    }

    fn take_problems(&mut self) -> Vec<String> {
        mem::take(&mut self.problems)
    }
}

/// Bytes of a file that can be opened; `None` if it is no regular file.
fn length(path: &Path) -> io::Result<Option<u64>> {
    if path.as_os_str() == STANDARD_INPUT {
        return Ok(None);
    }
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    // Whoever writes to a pipe waits until it is read; it is opened when its turn comes.
    Ok(if metadata.is_file() { Some(std::fs::File::open(path)?.metadata()?.len()) } else { None })
}

/// The time of a file's first event. One without (it may be broken) comes last.
fn first_time(path: &Path) -> EventTime {
    // Not counted as progress.
    let mut file = OpenFile::closed(path, false, &Arc::default());
    let first = file.reopen().and_then(|()| file.next_batch(1, None)).ok().flatten();
    first.map_or(EventTime::MAX, |(time, _)| time)
}

struct OpenFile {
    path: PathBuf,
    lines: Option<LineFile>,
    /// Whether other files are read too, so that batches must be short.
    merged: bool,
    /// Short batches that were read and not given out yet.
    steps: VecDeque<(EventTime, RecordBatch)>,
    /// Why nothing follows after them.
    failure: Option<SourceError>,
    bytes_read: Arc<AtomicU64>,
    time: EventTime,
    /// How large the batch before was; the next one is about as large.
    batch_bytes: usize,
}

impl OpenFile {
    fn closed(path: &Path, merged: bool, bytes_read: &Arc<AtomicU64>) -> OpenFile {
        OpenFile {
            path: path.to_owned(),
            lines: None,
            merged,
            steps: VecDeque::new(),
            failure: None,
            bytes_read: Arc::clone(bytes_read),
            time: EventTime::MIN,
            batch_bytes: 0,
        }
    }

    fn reopen(&mut self) -> Result<(), SourceError> {
        self.lines = Some(LineFile::open(&self.path, 0, &self.bytes_read)?);
        Ok(())
    }

    /// Up to `lines_max` lines with their first time; `None` at the end. What was read before a failure
    /// comes before it.
    fn next_batch(
        &mut self,
        lines_max: usize,
        cluster: Option<&Arc<str>>,
    ) -> Result<Option<(EventTime, RecordBatch)>, SourceError> {
        if let Some(step) = self.steps.pop_front() {
            return Ok(Some(step));
        }
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let mut batch = RecordBatch::default();
        batch.reserve(lines_max, self.batch_bytes + self.batch_bytes / 8);
        match lines.read(&mut batch, cluster, lines_max) {
            Ok(true) => {}
            Ok(false) => self.lines = None,
            Err(failure) => {
                self.failure = Some(failure);
                self.lines = None;
            }
        }
        self.batch_bytes = batch.payload.len();
        if batch.records.is_empty() {
            return self.failure.take().map_or(Ok(None), Err);
        }
        if !self.merged {
            return Ok(Some((time_in(&batch.payload).unwrap_or(EventTime::MIN), batch)));
        }
        self.steps = steps(&batch);
        Ok(self.steps.pop_front())
    }
}

/// Cuts a batch wherever [`STEP`] has passed. Records without a time belong to the one before, and so do
/// those that claim a later time than the one behind them: a wrong clock must not hold up its neighbours.
fn steps(batch: &RecordBatch) -> VecDeque<(EventTime, RecordBatch)> {
    let mut steps = VecDeque::new();
    let mut step = (EventTime::MIN, RecordBatch::default());
    let time_of = |record| batch.payload_of(record).and_then(time_in);
    let mut records = batch.records.iter().map(|record| (record, time_of(record))).peekable();
    while let Some((record, time)) = records.next() {
        let payload = batch.payload_of(record);
        let next = records.peek().and_then(|(_, time)| *time);
        if let Some(time) = time
            && time >= step.0.plus(STEP)
            && next.is_none_or(|next| next >= time.minus(STEP))
        {
            let done = mem::replace(&mut step, (time, RecordBatch::default()));
            if !done.1.records.is_empty() {
                steps.push_back(done);
            }
        }
        if let Some(partition) = batch.partition_of(record) {
            let cluster = batch.cluster_of(record);
            step.1.push_at(partition, record.offset, cluster, record.time, payload);
        }
    }
    steps.push_back(step);
    steps
}

/// The first time that stands in some bytes: good enough to merge files by, and never decoded.
fn time_in(bytes: &[u8]) -> Option<EventTime> {
    let keys = ["\"stageTimestamp\":", "\"requestReceivedTimestamp\":", "\"timestamp\":"];
    keys.iter().find_map(|key| {
        let at = memchr::memmem::find(bytes, key.as_bytes())? + key.len();
        let rest = bytes.get(at..)?;
        let rest = rest.get(..64).unwrap_or(rest);
        let start = memchr::memchr(b'"', rest)? + 1;
        let end = start + memchr::memchr(b'"', rest.get(start..)?)?;
        EventTime::parse(std::str::from_utf8(rest.get(start..end)?).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use super::*;
    use crate::source::file::expand;

    fn line(time: &str) -> String {
        format!("{{\"stageTimestamp\":\"2026-01-05T10:00:{time}.000000Z\"}}\n")
    }

    fn read_all(files: &[PathBuf]) -> Vec<String> {
        let mut input = Input::open(files, None).unwrap();
        let mut lines = Vec::new();
        while let Some(batch) = input.next_batch().unwrap() {
            for record in &batch.records {
                let text = std::str::from_utf8(batch.payload_of(record).unwrap()).unwrap();
                lines.push(text.to_owned());
            }
        }
        let progress = input.progress();
        assert_eq!(Some(progress.done), progress.total);
        assert_eq!(input.take_problems(), Vec::<String>::new());
        lines
    }

    #[test]
    fn compressed_files_are_read_in_the_order_of_their_events() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("c.jsonl"), line("01") + &line("02")).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(
            File::create(path("a.gz")).unwrap(),
            flate2::Compression::fast(),
        );
        gzip.write_all(line("05").as_bytes()).unwrap();
        gzip.finish().unwrap();
        std::fs::write(path("b.zst"), zstd::encode_all(line("03").as_bytes(), 1).unwrap()).unwrap();
        let files = expand(&[directory.path().join("*")]).unwrap();
        assert_eq!(files.len(), 3);
        let expected: Vec<String> =
            ["01", "02", "03", "05"].map(|time| line(time).trim().to_owned()).into();
        assert_eq!(read_all(&files), expected);
    }

    #[test]
    fn a_file_that_breaks_off_is_told_and_the_others_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let bytes = zstd::encode_all(line("01").repeat(20_000).as_bytes(), 1).unwrap();
        std::fs::write(path("a.zst"), &bytes[..bytes.len() - 3]).unwrap();
        std::fs::write(path("b.jsonl"), line("02")).unwrap();
        std::fs::write(path("c.gz"), b"\x1f\x8b\x08").unwrap();
        let mut input = Input::open(&["a.zst", "b.jsonl", "c.gz"].map(path), None).unwrap();
        let (mut records, mut last) = (0, Vec::new());
        while let Some(batch) = input.next_batch().unwrap() {
            records += batch.records.len();
            last = batch.payload;
        }
        assert!(records > 10_000, "{records}");
        assert_eq!(last, line("02").trim().as_bytes());
        let problems = input.take_problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems.iter().any(|problem| problem.contains("a.zst after line")),
            "{problems:?}"
        );
        assert!(problems.iter().any(|problem| problem.contains("c.gz")), "{problems:?}");
    }

    #[test]
    fn all_that_cannot_be_opened_is_said_before_anything_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let error =
            Input::open(&[directory.path().join("gone"), directory.path().to_path_buf()], None);
        let error = error.err().unwrap().to_string();
        assert_eq!(error.lines().count(), 2, "{error}");
        assert!(error.contains("gone: No such file"), "{error}");
        assert!(error.contains("is a directory"), "{error}");
    }
}
