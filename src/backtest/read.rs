//! Reads recorded events from files, in the order of their events.
//!
//! Files that overlap in time (one per API server) are merged in steps of a few seconds, by the first
//! time that stands in a step, so that windows see both and neither comes late.

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
    source::{History, Progress, SourceError, file::LineFile},
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
    sequence: u64,
    bytes_read: Arc<AtomicU64>,
    bytes_total: u64,
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
    /// Looks at the beginning of each file and sorts them by it.
    ///
    /// # Errors
    /// A file that cannot be opened or decompressed, with its path.
    pub fn open(files: &[PathBuf]) -> Result<Input, SourceError> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let mut bytes_total = 0;
        let mut starts = Vec::new();
        for path in files {
            bytes_total += std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            // Read only as far as the first event, and not counted as progress.
            let mut probe = OpenFile::open(path, &Arc::default())?;
            let first = probe.next_batch(1)?;
            let time = first.map_or(EventTime::MAX, |(time, _)| time);
            starts.push((time, path));
        }
        starts.sort();
        let merged = starts.len() > 1;
        let open = |(_, path): &(EventTime, &PathBuf)| OpenFile::closed(path, merged, &bytes_read);
        let waiting = starts.iter().rev().map(open).collect();
        let ready = BinaryHeap::new();
        Ok(Input { waiting, ready, sequence: 0, bytes_read, bytes_total })
    }

    fn refill(&mut self, mut file: OpenFile) -> Result<(), SourceError> {
        if let Some((time, batch)) = file.next_batch(LINES_PER_BATCH)? {
            // A batch without any time keeps its file's place.
            let time = time.max(file.time);
            file.time = time;
            let order = self.waiting.len();
            self.ready.push(Reverse(Ready { time, order, batch, file }));
        }
        Ok(())
    }
}

impl History for Input {
    /// The next batch in the order of events.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        while self.ready.len() < FILES_OPEN_MAX
            && let Some(mut file) = self.waiting.pop()
        {
            file.reopen()?;
            self.refill(file)?;
        }
        let Some(Reverse(Ready { mut batch, file, .. })) = self.ready.pop() else {
            return Ok(None);
        };
        self.refill(file)?;
        batch.sequence = self.sequence;
        self.sequence += 1;
        Ok(Some(batch))
    }

    fn progress(&self) -> Progress {
        let done = self.bytes_read.load(Ordering::Relaxed);
        Progress { done, total: Some(self.bytes_total) }
    }
}

struct OpenFile {
    path: PathBuf,
    lines: Option<LineFile>,
    /// Whether other files are read too, so that batches must be short.
    merged: bool,
    /// Short batches that were read and not given out yet.
    steps: VecDeque<(EventTime, RecordBatch)>,
    bytes_read: Arc<AtomicU64>,
    time: EventTime,
}

impl OpenFile {
    fn closed(path: &Path, merged: bool, bytes_read: &Arc<AtomicU64>) -> OpenFile {
        OpenFile {
            path: path.to_owned(),
            lines: None,
            merged,
            steps: VecDeque::new(),
            bytes_read: Arc::clone(bytes_read),
            time: EventTime::MIN,
        }
    }

    fn open(path: &Path, bytes_read: &Arc<AtomicU64>) -> Result<OpenFile, SourceError> {
        let mut file = OpenFile::closed(path, false, bytes_read);
        file.reopen()?;
        Ok(file)
    }

    fn reopen(&mut self) -> Result<(), SourceError> {
        self.lines = Some(LineFile::open(&self.path, 0, &self.bytes_read)?);
        Ok(())
    }

    /// Up to `lines_max` lines with their first time; `None` at the end.
    fn next_batch(
        &mut self,
        lines_max: usize,
    ) -> Result<Option<(EventTime, RecordBatch)>, SourceError> {
        if let Some(step) = self.steps.pop_front() {
            return Ok(Some(step));
        }
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let mut batch = RecordBatch::default();
        if !lines.read(&mut batch, None, lines_max)? {
            self.lines = None;
        }
        if batch.records.is_empty() {
            return Ok(None);
        }
        if !self.merged {
            return Ok(Some((time_in(&batch.payload).unwrap_or(EventTime::MIN), batch)));
        }
        self.steps = steps(&batch);
        Ok(self.steps.pop_front())
    }
}

/// Cuts a batch wherever [`STEP`] has passed. Records without a time belong to the one before.
fn steps(batch: &RecordBatch) -> VecDeque<(EventTime, RecordBatch)> {
    let mut steps = VecDeque::new();
    let mut step = (EventTime::MIN, RecordBatch::default());
    for record in &batch.records {
        let payload = batch.payload_of(record);
        if let Some(time) = payload.and_then(time_in)
            && time >= step.0.plus(STEP)
        {
            let done = mem::replace(&mut step, (time, RecordBatch::default()));
            if !done.1.records.is_empty() {
                steps.push_back(done);
            }
        }
        if let Some(partition) = batch.partition_of(record) {
            step.1.push(partition, record.offset, None, payload);
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

/// Expands `*` and `?` in the last part of paths, for shells that do not; a directory means its files.
///
/// # Errors
/// What names no file.
pub fn expand(patterns: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for pattern in patterns {
        let found = if pattern.is_dir() {
            list(pattern, "*")?
        } else if pattern.exists() {
            vec![pattern.clone()]
        } else {
            let parent = match pattern.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let name = pattern.file_name().map(|name| name.to_string_lossy().into_owned());
            match name.filter(|name| name.contains(['*', '?'])) {
                Some(name) => list(parent, &name)?,
                None => return Err(format!("{}: no such file", pattern.display())),
            }
        };
        if found.is_empty() {
            return Err(format!("{}: names no file", pattern.display()));
        }
        files.extend(found);
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn list(directory: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let error = |error: io::Error| format!("cannot read {}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let pattern: Vec<char> = pattern.chars().collect();
        let name_chars: Vec<char> = name.chars().collect();
        if entry.path().is_file() && !name.starts_with('.') && matches(&pattern, &name_chars) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// Whether a name matches a pattern of `*` and `?`; time `pattern × name`.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let mut reachable = vec![true];
    reachable.resize(name.len() + 1, false);
    for part in pattern {
        let mut next = vec![false; name.len() + 1];
        for (at, _) in reachable.iter().enumerate().filter(|(_, yes)| **yes) {
            match part {
                '*' => next.iter_mut().skip(at).for_each(|cell| *cell = true),
                '?' => next.iter_mut().skip(at + 1).take(1).for_each(|cell| *cell = true),
                c if name.get(at) == Some(c) => {
                    next.iter_mut().skip(at + 1).take(1).for_each(|cell| *cell = true);
                }
                _ => {}
            }
        }
        reachable = next;
    }
    reachable.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write as _};

    use super::*;

    fn line(time: &str) -> String {
        format!("{{\"stageTimestamp\":\"2026-01-05T10:00:{time}.000000Z\"}}\n")
    }

    fn read_all(files: &[PathBuf]) -> Vec<String> {
        let mut input = Input::open(files).unwrap();
        let mut lines = Vec::new();
        while let Some(batch) = input.next_batch().unwrap() {
            for record in &batch.records {
                let text = std::str::from_utf8(batch.payload_of(record).unwrap()).unwrap();
                lines.push(text.to_owned());
            }
        }
        let progress = input.progress();
        assert_eq!(Some(progress.done), progress.total);
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
    fn globs_match_as_in_a_shell() {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        let matches = |pattern: &str, name: &str| matches(&characters(pattern), &characters(name));
        assert!(matches("audit-*.log", "audit-2026.log"));
        assert!(matches("a?c*", "abc"));
        assert!(!matches("a?c", "ac"));
        assert!(!matches("*.gz", "a.gz.tmp"));
    }

    #[test]
    fn what_names_no_file_is_said() {
        let error = expand(&[PathBuf::from("no/such/*.log")]).unwrap_err();
        assert!(error.contains("no/such"), "{error}");
    }
}
