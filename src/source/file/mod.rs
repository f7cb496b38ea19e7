//! Audit logs in files and on standard input: plain, compressed or in UTF-16, one record a line, or JSON
//! that goes over many lines.
//!
//! What a file is, its first bytes tell, not its name. A file is a partition (its path is the topic)
//! and a line number, from 0, is an offset, so that a run can go on where another ended. Files are
//! finite, unless they are followed: `follow`.

mod decompress;
mod document;
mod follow;
mod glob;
mod lines;
mod note;

use std::{
    collections::BTreeMap,
    fs, io, mem,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Progress, RecordReader, SINK_RETRY, Source, SourceConfig,
    SourceContext, SourceError, SourceEvent, SourceKind,
};
use crate::{
    engine::{
        diagnostic::Diagnostic,
        record::{PartitionName, Position, RecordBatch},
        state::SourceNote,
        yaml::{SecretRef, Section},
    },
    web::SecretSource,
};
pub use glob::expand;
pub use lines::LineFile;
use note::LastRecord;

/// The path that means standard input.
pub const STANDARD_INPUT: &str = "-";

/// What `sources: - file:` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSettings {
    /// The files, read in this order; `-` is standard input. Of files that are followed also patterns with
    /// `*` and `?`.
    pub paths: Vec<PathBuf>,
    /// Waits for more, through rotations, and never ends.
    pub follow: bool,
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
        "Files of events, one a line or over many lines, plain, gzip or zstd; `-` is standard input. With `follow: true` logs that are written and rotated meanwhile."
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
        let follow = section.boolean("follow").unwrap_or_default();
        if follow && paths.iter().any(|path| path == STANDARD_INPUT) {
            let title = format!("{}: standard input cannot be followed", section.path_of("paths"));
            section.invalid("paths", title, "leave `follow` out; it is read as it comes");
            return None;
        }
        let paths = paths.into_iter().map(PathBuf::from).collect();
        Some(Box::new(FileSettings { paths, follow, cluster }))
    }
}

impl SourceConfig for FileSettings {
    fn secrets(&self) -> Vec<SecretRef> {
        Vec::new()
    }

    fn build(&self, _secret: &SecretSource) -> Result<Box<dyn Source>, Box<Diagnostic>> {
        let settings = self.clone();
        Ok(if self.follow {
            Box::new(follow::FollowSource { settings })
        } else {
            Box::new(FileSource { settings })
        })
    }

    fn file(&self, topic: &str) -> Option<PathBuf> {
        // Of a log that is rotated nobody knows where its lines are by now.
        let is_it = |path: &&PathBuf| path.display().to_string() == topic;
        let path = self.paths.iter().find(is_it);
        path.filter(|path| !self.follow && path.as_os_str() != STANDARD_INPUT).cloned()
    }

    fn record(&self, topic: &str, offset: i64) -> Option<Result<Option<Vec<u8>>, SourceError>> {
        let path = self.file(topic)?;
        let read = || {
            let mut batch = RecordBatch::default();
            LineFile::open_again(&path, offset)?.read(&mut batch, None, 1)?;
            let found = batch.records.first().filter(|record| record.offset == offset);
            Ok(found.and_then(|record| batch.payload_of(record)).map(<[u8]>::to_vec))
        };
        Some(read())
    }
}

/// Files as a source for `run`; ends with the last one.
#[derive(Debug)]
pub struct FileSource {
    settings: FileSettings,
}

impl Source for FileSource {
    fn run(self: Box<Self>, mut context: SourceContext) -> Result<(), SourceError> {
        let files = Files::open(&self.settings, &context.positions)?;
        let mut files = files.of(context.name.clone(), &context.notes);
        (context.events)(SourceEvent::Ready { partitions: files.partitions() });
        loop {
            let batch = files.next_batch();
            for detail in files.replaced.drain(..) {
                (context.events)(SourceEvent::Trouble { what: "files_replaced", count: 1, detail });
            }
            let Some(batch) = batch? else { return Ok(()) };
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
    }
}

/// Files that are read one after the other.
pub struct Files {
    /// What is not begun yet, in reverse order.
    rest: Vec<PathBuf>,
    positions: Vec<Position>,
    /// What an earlier run took last of each file, by its name.
    last: BTreeMap<String, LastRecord>,
    /// What is to be said of files that are others than were read before.
    replaced: Vec<String>,
    source: Option<Arc<str>>,
    cluster: Option<Arc<str>>,
    /// What is being read, and where it lies.
    current: Option<(PathBuf, LineFile)>,
    /// Why a file could not be read to its end.
    failure: Option<SourceError>,
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
            last: BTreeMap::new(),
            replaced: Vec::new(),
            source: None,
            cluster: settings.cluster.clone(),
            current: None,
            failure: None,
            batch: RecordBatch::default(),
            sequence: 0,
            done: Arc::default(),
            total,
        })
    }

    /// Files of a source with a name, and what an earlier run noted of them.
    fn of(self, source: Option<Arc<str>>, notes: &[SourceNote]) -> Files {
        let last = notes.iter().filter_map(LastRecord::read);
        let last = last.map(|(name, last)| (name.to_owned(), last)).collect();
        Files { last, source, ..self }
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
        let last = self.last.get(&*name.topic).copied();
        self.begin(path, first, last)?;
        Ok(true)
    }

    fn begin(
        &mut self,
        path: PathBuf,
        first: i64,
        last: Option<LastRecord>,
    ) -> Result<(), SourceError> {
        let file = LineFile::open(&path, first, &self.done)?.of(self.name_of(&path));
        self.current = Some((path, file.behind(last)));
        Ok(())
    }

    /// Notes by which record the file that is being read will be known again.
    fn note(&mut self) {
        let Some((path, file)) = &self.current else { return };
        let Some(record) = self.batch.records.last().filter(|_| file.is_known_by_last()) else {
            return;
        };
        let name = self.name_of(path);
        let is_its = self.batch.partition_of(record).is_some_and(|partition| **partition == name);
        let Some(text) = self.batch.payload_of(record).filter(|_| is_its) else { return };
        let note = LastRecord::of(record.offset, text).note(self.source.as_ref(), &name.topic);
        self.batch.notes.push(note);
    }

    /// Reads on; `false` once there is no more in any file.
    fn read(&mut self) -> Result<bool, SourceError> {
        if self.current.is_none() && !self.open_next()? {
            return Ok(false);
        }
        let Some((_, file)) = &mut self.current else { return Ok(false) };
        if file.read(&mut self.batch, self.cluster.as_ref(), BATCH_RECORDS_MAX)? {
            return Ok(true);
        }
        if let Some((path, _)) = self.current.take_if(|(_, file)| file.is_another()) {
            self.replaced.push(format!(
                "{} is another file than was read before, by where that ended; it is read from its start",
                path.display()
            ));
            self.begin(path, 0, None)?;
        } else {
            self.note();
            self.current = None;
        }
        Ok(true)
    }
}

impl RecordReader for Files {
    /// A file that breaks off is an error once all others were read.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        loop {
            match self.read() {
                Ok(true) if self.current.is_none() || self.batch.records.is_empty() => {}
                Ok(_) => break,
                Err(error) => {
                    self.current = None;
                    tracing::error!("{error}");
                    self.failure.get_or_insert(error);
                }
            }
        }
        if self.batch.records.is_empty() {
            return self.failure.take().map_or(Ok(None), Err);
        }
        self.note();
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

fn partition_of(path: &Path) -> PartitionName {
    PartitionName::new(path.display().to_string(), 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{decompress::BUFFER_BYTES, *};
    use crate::engine::limits::RECORD_BYTES_MAX;

    /// Path, number and text of every line.
    type AllLines = Vec<(String, i64, Vec<u8>)>;

    fn read(
        paths: &[PathBuf],
        positions: &[Position],
    ) -> Result<(AllLines, Progress), SourceError> {
        let settings = FileSettings { paths: paths.to_vec(), ..FileSettings::default() };
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
            let position = Position::new(partition, 8);
            let (records, _) = read(std::slice::from_ref(&path), &[position]).unwrap();
            assert!(records.last().unwrap().2.starts_with(last), "{last:?}");
            assert_eq!(records.len(), if last == b"[" { 2 } else { 1 });
        }
    }

    #[test]
    fn a_line_that_was_split_is_one_record_and_can_be_read_again() {
        let line = |tag: &str, text: &str| format!("2026-03-02T10:00:00Z stdout {tag} {text}");
        let parts = [line("P", "{\"a\": "), line("P", "1, \"b"), line("F", "\": 2}")].join("\n");
        let whole = line("F", "{}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kube-apiserver.log");
        fs::write(&path, format!("{whole}\n{parts}\n{whole}\n{}\n", line("P", "{\"c"))).unwrap();
        let (records, _) = read(std::slice::from_ref(&path), &[]).unwrap();
        let got: Vec<_> = records.iter().map(|(_, n, text)| (*n, text.clone())).collect();
        let last = line("P", "{\"c");
        let expected = [(0, &whole), (1, &parts), (4, &whole), (5, &last)];
        assert_eq!(got, expected.map(|(n, text)| (n, text.clone().into_bytes())));
        let settings = FileSettings { paths: vec![path.clone()], ..FileSettings::default() };
        let again = || settings.record(&path.display().to_string(), 1).unwrap();
        assert_eq!(again().unwrap(), Some(parts.into_bytes()));
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let why = again().unwrap_err().to_string();
        assert!(why.contains("it is a pipe, not a file"), "{why}");
    }

    #[test]
    fn a_later_run_goes_on_after_the_lines_that_are_done() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        fs::write(&paths[0], "0\n\n2\n3\n").unwrap();
        fs::write(&paths[1], "zero\n").unwrap();
        let partition = Arc::new(partition_of(&paths[0]));
        let (records, _) = read(&paths, &[Position::new(partition, 2)]).unwrap();
        let short: Vec<_> = records.iter().map(|(_, n, line)| (*n, line.as_slice())).collect();
        assert_eq!(short, [(2, &b"2"[..]), (3, &b"3"[..]), (0, &b"zero"[..])]);
    }

    #[test]
    fn a_file_with_fewer_lines_than_were_read_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        fs::write(&paths[0], "0\n1\n").unwrap();
        fs::write(&paths[1], "zero\n").unwrap();
        let after = |line| Position::new(Arc::new(partition_of(&paths[0])), line);
        let lines = |position: Position| read(&paths, &[position]).unwrap().0.len();
        assert_eq!([1, 2, 3].map(|line| lines(after(line))), [2, 1, 3]);
    }

    /// What a second run reads of a file that was `before` in the first one and is `now` in it, and how many files
    /// it takes for others.
    fn read_again(before: &str, now: &str) -> (Vec<(i64, String)>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let settings = FileSettings { paths: vec![path.clone()], ..FileSettings::default() };
        let run = |positions: &[Position], notes: &[SourceNote]| {
            let mut files = Files::open(&settings, positions).unwrap().of(None, notes);
            let mut all = RecordBatch::default();
            while let Some(batch) = files.next_batch().unwrap() {
                for record in &batch.records {
                    let partition = batch.partition_of(record).unwrap();
                    all.push(partition, record.offset, None, batch.payload_of(record));
                }
                all.notes.extend(batch.notes);
            }
            (all, files.replaced.len())
        };
        fs::write(&path, before).unwrap();
        let (first, _) = run(&[], &[]);
        let last = first.records.last().unwrap();
        let position =
            Position::new(Arc::clone(first.partition_of(last).unwrap()), last.offset + 1);
        fs::write(&path, now).unwrap();
        let (second, replaced) = run(&[position], &first.notes);
        let text = |record| String::from_utf8(second.payload_of(record).unwrap().to_vec()).unwrap();
        (second.records.iter().map(|record| (record.offset, text(record))).collect(), replaced)
    }

    #[test]
    fn a_file_is_known_again_by_what_stands_where_it_ended() {
        let again = |before, now| {
            let (records, replaced) = read_again(before, now);
            let lines: Vec<String> =
                records.iter().map(|(n, text)| format!("{n} {text}")).collect();
            (lines.join("|"), replaced)
        };
        let same = |text: &str| (text.to_owned(), 0);
        let another = |text: &str| (text.to_owned(), 1);
        assert_eq!(again("a\nb\n", "a\nb\n"), same(""));
        assert_eq!(again("a\nb\n", "a\nb\nc\n"), same("2 c"));
        // As long, longer, and with nothing where the last record was.
        assert_eq!(again("a\nb\n", "a\nx\n"), another("0 a|1 x"));
        assert_eq!(again("a\nb\n", "x\ny\nz\n"), another("0 x|1 y|2 z"));
        assert_eq!(again("a\nb\n", "x\n\nz\n"), another("0 x|2 z"));
        assert_eq!(again("a\nb\n", "x\n"), another("0 x"));
        assert_eq!(again("a\nb\n", ""), another(""));
        // Whoever wrote it had not come to the end of the last record.
        assert_eq!(again("a\n{\"b", "a\n{\"b\": 1}\nc\n"), same("1 {\"b\": 1}|2 c"));
        assert_eq!(again("{\"a\":\n{", "{\"a\":\n{}}\nb\n"), same("0 {\"a\":\n{}}|2 b"));
        assert_eq!(again("a\n{\"b", "a\n{\"c\": 1}\n"), another("0 a|1 {\"c\": 1}"));
        // What says only that a list has no end is no record to know a file by.
        let list = "[\n{\"a\":\n1},\n{\"b\":\n2}\n";
        assert_eq!(again(list, &format!("{list},\n{{\"c\":\n3}}]\n")).1, 0);
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
    fn what_stands_before_a_break_and_in_other_files_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let [broken, whole] = ["a.gz", "b"].map(|name| dir.path().join(name));
        let lines: Vec<String> = (0..20_000).map(|n| format!("{{\"n\":{n}}}")).collect();
        let mut bytes = gzip(lines.join("\n").as_bytes());
        bytes.truncate(bytes.len() / 2);
        fs::write(&broken, bytes).unwrap();
        fs::write(&whole, "last\n").unwrap();
        let paths = vec![broken.clone(), whole];
        let mut files =
            Files::open(&FileSettings { paths, ..FileSettings::default() }, &[]).unwrap();
        let mut got = Vec::new();
        let error = loop {
            match files.next_batch() {
                Ok(batch) => {
                    let batch = batch.expect("no end before the error");
                    let text =
                        |record| String::from_utf8(batch.payload_of(record).unwrap().to_vec());
                    got.extend(batch.records.iter().map(|record| text(record).unwrap()));
                }
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(got.pop().as_deref(), Some("last"));
        assert!(got.len() > 5_000 && got == lines[..got.len()], "{} lines", got.len());
        assert!(error.contains(&format!("a.gz after line {}", got.len())), "{error}");
        assert!(files.next_batch().unwrap().is_none());
    }

    #[test]
    fn an_empty_file_has_no_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(&path, "").unwrap();
        assert!(read(&[path], &[]).unwrap().0.is_empty());
    }
}
