//! Which files there are, and which contents lie in them.
//!
//! What is followed is not a file but a **content**: what a writer wrote into one file. It is known by how
//! it begins, by the bytes in front of where it was read to, and by the file it lies in. A rotation moves
//! it: the file gets another name; or it is copied and its file is cut to nothing; or it is compressed.
//! Wherever it turns up again it is read on from where it stood, and a copy of what was read is left alone.
//! What is not surely the same is read from its start: a request that is read twice counts once.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::{
        glob::{is_pattern, matching},
        note::digest_of,
    },
    content::{End, FileId, Opened, Print, Stamp, kind_of},
    family::log_of,
    note::{self, ContentNote, LogNote, Note},
    reading::{Content, Filled, Place, Target},
};
use crate::engine::{
    record::{PartitionName, RecordBatch},
    state::SourceNote,
};

/// Files of one source: 4,096. Those behind them, by name, are not read; counted (`files_not_followed`).
const FILES_MAX: usize = 4_096;

/// Contents that are remembered: 16,384, at some 300 B. Beyond it the oldest are forgotten whose files are
/// gone; one that came back would be read again.
const CONTENTS_MAX: usize = 16_384;

/// Files that are kept open: 256. Of more the quietest are closed, and opened again when they grow.
const OPEN_MAX: usize = 256;

/// Scans without growth after which a rotated file is at its end: 10. Its last line is then as whole as it
/// will ever be.
const QUIET_SCANS: u64 = 10;

/// The same of a file that has gone out of sight, and may be written by whoever has it open: 600.
const QUIET_SCANS_UNSEEN: u64 = 600;

/// Scans for which a content is looked for before it is said that it is gone: 3.
const LOST_SCANS: u64 = 3;

/// A file that was not written for so long, in nanoseconds, gets no more of its only line: one minute.
const STILL: i128 = 60_000_000_000;

/// How far the time of a file may lie behind our clock, in nanoseconds: 2 seconds. File systems keep a coarser
/// clock, and those of a network another one.
const CLOCK_SLACK: i128 = 2_000_000_000;

/// What a source follows.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    /// Paths, and patterns with `*` and `?`.
    pub(super) paths: Vec<PathBuf>,
    pub(super) source: Option<Arc<str>>,
    pub(super) cluster: Option<Arc<str>>,
}

/// Something that was lost or passed over.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) what: &'static str,
    pub(super) count: u64,
    pub(super) detail: String,
}

/// A file that was seen.
#[derive(Clone, Debug)]
struct Found {
    path: PathBuf,
    stamp: Stamp,
    log: String,
    /// A path or pattern means it; else it lies beside one that is meant.
    is_named: bool,
}

/// A file that is a copy of a content, or of its beginning.
struct CopiedFile {
    stamp: Stamp,
    content: u64,
    /// Bytes of what is in it.
    bytes: u64,
}

struct Log {
    partition: Arc<PartitionName>,
    since: i128,
}

/// Follows files. Told the time; looks at the disk when it is called, and only then.
pub(super) struct Follower {
    followed: Followed,
    logs: BTreeMap<String, Log>,
    contents: BTreeMap<u64, Content>,
    next_number: u64,
    scans: u64,
    /// Files that hold nothing but what some content has.
    copies: BTreeMap<FileId, CopiedFile>,
    /// Notes for the next batch.
    notes: Vec<SourceNote>,
    latest_log: Option<String>,
    losses: Vec<Loss>,
    /// What cannot be read, and why, as of the latest scan, and for how many scans.
    unreadable: BTreeMap<PathBuf, (String, u64)>,
    has_files: bool,
    too_many: usize,
    /// A file changed in a way that needs another scan.
    is_moved: bool,
}

impl Follower {
    /// Goes on where the notes of a checkpoint say.
    pub(super) fn new(followed: Followed, notes: &[SourceNote]) -> Follower {
        let mut follower = Follower {
            followed,
            logs: BTreeMap::new(),
            contents: BTreeMap::new(),
            next_number: 0,
            scans: 0,
            copies: BTreeMap::new(),
            notes: Vec::new(),
            latest_log: None,
            losses: Vec::new(),
            unreadable: BTreeMap::new(),
            has_files: false,
            too_many: 0,
            is_moved: false,
        };
        for note in notes.iter().filter_map(note::read) {
            match note {
                Note::Content(number, note) => {
                    follower.next_number = follower.next_number.max(number + 1);
                    let path = PathBuf::from(&note.log);
                    follower.contents.insert(number, Content::new(note, path, 0));
                }
                Note::Log(name, LogNote { since }) => follower.add_log(name, since),
            }
        }
        follower
    }

    fn add_log(&mut self, name: String, since: i128) {
        let source = self.followed.source.clone();
        let partition = PartitionName { source, ..PartitionName::new(name.clone(), 0) };
        self.logs.insert(name, Log { partition: Arc::new(partition), since });
    }

    /// Looks which files there are. `now` in nanoseconds since 1970. Cost: some system calls for each.
    pub(super) fn scan(&mut self, now: i128) {
        self.scans += 1;
        self.is_moved = false;
        let found = self.list();
        self.has_files = !found.is_empty();
        let taken = self.look_at_open(&found);
        let mut rest: Vec<&Found> =
            found.iter().filter(|found| !taken.contains(&found.stamp.file)).collect();
        rest.sort_by_key(|found| {
            let is_live = Path::new(&found.log) == found.path;
            (found.stamp.written, is_live, Reverse(found.path.clone()))
        });
        rest.retain(|found| !self.take_back(found));
        for found in rest {
            if let Err(error) = self.place(found, now) {
                self.cannot_read(&found.path, error.to_string());
            }
        }
        self.close_quiet(&found);
        self.tell_lost();
        let files: BTreeSet<FileId> = found.iter().map(|found| found.stamp.file).collect();
        self.copies.retain(|file, _| files.contains(file));
        self.forget(&files);
        let scans = self.scans;
        self.unreadable.retain(|_, (_, scan)| *scan == scans);
    }

    fn cannot_read(&mut self, path: &Path, why: String) {
        self.unreadable.insert(path.to_owned(), (why, self.scans));
    }

    // ---- which files ----

    /// Every file once: those that are named in the order of their paths, then those that lie beside them.
    fn list(&mut self) -> Vec<Found> {
        let mut paths: BTreeMap<PathBuf, bool> = BTreeMap::new();
        for path in self.followed.paths.clone() {
            if !is_pattern(&path) || path.exists() {
                paths.insert(path, true);
                continue;
            }
            match matching(&path) {
                Ok(found) => paths.extend(found.into_iter().map(|path| (path, true))),
                Err(why) => self.cannot_read(&path, why),
            }
        }
        let mut logs: BTreeMap<String, String> = targets(paths.keys());
        let own = self.logs.keys().cloned().chain(paths.keys().map(|path| log_of(path)));
        logs.extend(own.map(|log| (log.clone(), log)));
        let directories: BTreeSet<&Path> =
            logs.keys().filter_map(|log| Path::new(log).parent()).collect();
        for directory in directories {
            let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            // That a directory cannot be read is said of the files in it.
            for entry in fs::read_dir(here).into_iter().flatten().flatten() {
                let path = directory.join(entry.file_name());
                if logs.contains_key(&log_of(&path)) {
                    paths.entry(path).or_insert(false);
                }
            }
        }
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        // What a link leads to is known by the link.
        let (named, beside): (Vec<_>, Vec<_>) = paths.into_iter().partition(|(_, named)| *named);
        for (path, is_named) in named.into_iter().chain(beside) {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => {
                    let stamp = Stamp::of(&metadata);
                    if seen.insert(stamp.file) {
                        let log = log_of(&path);
                        let log = logs.get(&log).cloned().unwrap_or(log);
                        found.push(Found { path, stamp, log, is_named });
                    }
                }
                Ok(metadata) if is_named => self.cannot_read(&path, kind_of(&metadata).to_owned()),
                Err(error) if is_named => self.cannot_read(&path, error.to_string()),
                _ => {}
            }
        }
        let too_many = found.len().saturating_sub(FILES_MAX);
        if too_many > self.too_many {
            let detail = format!("{too_many} files are not read; name fewer than {FILES_MAX}");
            let count = (too_many - self.too_many) as u64;
            self.losses.push(Loss { what: "files_not_followed", count, detail });
        }
        self.too_many = too_many;
        found.truncate(FILES_MAX);
        found
    }

    /// The files that need no further look: their contents still lie in them.
    fn look_at_open(&mut self, found: &[Found]) -> BTreeSet<FileId> {
        let paths: BTreeMap<FileId, &Found> =
            found.iter().map(|found| (found.stamp.file, found)).collect();
        let (mut taken, scans) = (BTreeSet::new(), self.scans);
        for content in self.contents.values_mut() {
            match &content.place {
                Place::Open(file) => {
                    let id = file.id();
                    if content.holds().unwrap_or(false) {
                        if let Some(found) = paths.get(&id) {
                            content.path.clone_from(&found.path);
                        }
                        taken.insert(id);
                    } else {
                        content.lose(scans);
                    }
                }
                Place::Done => {
                    let stamp = content.note.done;
                    let same = stamp.and_then(|stamp| paths.get(&stamp.file));
                    if let Some(found) = same.filter(|found| Some(found.stamp) == stamp) {
                        content.path.clone_from(&found.path);
                        taken.insert(found.stamp.file);
                    }
                }
                Place::Lost(_) => {}
            }
        }
        taken
    }

    // ---- which content ----

    /// Whether a content was read in this file before, and still lies in it.
    fn take_back(&mut self, found: &Found) -> bool {
        let is_own = |content: &&mut Content| {
            !matches!(content.place, Place::Open(_)) && content.note.file == found.stamp.file
        };
        for content in self.contents.values_mut().rev().filter(|content| is_own(content)) {
            if content.note.done == Some(found.stamp) {
                content.path.clone_from(&found.path);
                content.finish(Some(found.stamp));
                return true;
            }
            let look = || {
                let mut file = Opened::open(&found.path)?;
                let begins = file.begins_with(&content.note.print)?;
                let tail = if begins { file.tail(content.note.offset)? } else { None };
                Ok::<_, io::Error>(tail.map(|tail| (file, tail)))
            };
            // Whatever goes wrong here goes wrong again below, and is said there.
            if let Ok(Some((file, tail))) = look()
                && digest_of(&tail) == content.note.tail
            {
                content.put(file, found.path.clone(), tail);
                return true;
            }
        }
        false
    }

    /// Finds out whose content a file holds: one that is looked for, a copy, or a new one.
    fn place(&mut self, found: &Found, now: i128) -> io::Result<()> {
        if let Some(copy) = self.copies.get(&found.stamp.file)
            && copy.stamp == found.stamp
            && let Some(content) = self.contents.get(&copy.content)
            && (copy.bytes <= content.note.offset || content.has_place())
        {
            return Ok(());
        }
        let is_ours = self.logs.get(&found.log).is_some_and(|log| found.stamp.written >= log.since);
        let is_new = found.is_named || is_ours;
        let is_looked_for = self.contents.values().any(|content| !content.has_place());
        if !is_new && !is_looked_for {
            return Ok(());
        }
        let mut file = Opened::open(&found.path)?;
        let is_still = now - found.stamp.written > STILL && Path::new(&found.log) != found.path;
        let Some(print) = file.print(is_still)? else { return Ok(()) };
        let alike = self.contents.iter().filter(|(_, content)| content.note.print == print);
        let mut alike: Vec<(u64, u64)> =
            alike.map(|(number, content)| (content.note.offset, *number)).collect();
        // The more was read of a content, the more surely it is the same.
        alike.sort_unstable();
        let mut end = None;
        for (_, number) in alike.into_iter().rev() {
            let Some(content) = self.contents.get_mut(&number) else { continue };
            match kin_of(&mut file, &mut end, found, is_new, content)? {
                Kin::Copy { bytes } => {
                    let copy = CopiedFile { stamp: found.stamp, content: number, bytes };
                    self.copies.insert(found.stamp.file, copy);
                    return Ok(());
                }
                Kin::Same { tail } => {
                    content.put(file, found.path.clone(), tail);
                    // They were compared with the file in which it lay.
                    self.copies.retain(|_, copy| copy.content != number);
                    return Ok(());
                }
                Kin::None => {}
            }
        }
        if is_new {
            self.begin(found, file, print, now);
        }
        Ok(())
    }

    /// A content that nobody has seen before.
    fn begin(&mut self, found: &Found, file: Opened, print: Print, now: i128) {
        if !self.logs.contains_key(&found.log) {
            let since = now - CLOCK_SLACK;
            self.add_log(found.log.clone(), since);
            let source = self.followed.source.as_ref();
            self.notes.push(note::of_log(source, &found.log, LogNote { since }));
        }
        let note = ContentNote {
            log: found.log.clone(),
            file: file.id(),
            print,
            offset: 0,
            tail: digest_of(&[]),
            is_passing_over: false,
            done: None,
        };
        let mut content = Content::new(note, found.path.clone(), self.scans);
        content.put(file, found.path.clone(), Vec::new());
        self.contents.insert(self.next_number, content);
        self.next_number += 1;
    }

    // ---- ends ----

    /// Lets go of files in which nothing more will come.
    fn close_quiet(&mut self, found: &[Found]) {
        let seen: BTreeSet<FileId> = found.iter().map(|found| found.stamp.file).collect();
        let latest: BTreeMap<String, u64> =
            self.contents.iter().map(|(number, c)| (c.note.log.clone(), *number)).collect();
        let mut open = Vec::new();
        for (number, content) in &mut self.contents {
            let Place::Open(file) = &content.place else { continue };
            let Ok((stamp, has_name)) = file.stamp() else { continue };
            let is_packed = file.is_packed();
            let has_grown = content.bytes != stamp.bytes || !content.is_at_end(stamp);
            content.quiet_scans = if has_grown { 0 } else { content.quiet_scans + 1 };
            content.bytes = stamp.bytes;
            let is_live = Path::new(&content.note.log) == content.path
                || latest.get(&content.note.log) == Some(number);
            let quiet_max = match (has_name, seen.contains(&stamp.file)) {
                _ if is_packed => 1,
                (false, _) => 2,
                (true, false) => QUIET_SCANS_UNSEEN,
                (true, true) if is_live => u64::MAX,
                (true, true) => QUIET_SCANS,
            };
            content.is_ending |= content.quiet_scans >= quiet_max;
            open.push((content.quiet_scans, *number));
        }
        open.sort_unstable();
        let too_many = open.len().saturating_sub(OPEN_MAX);
        for (quiet_scans, number) in open.into_iter().rev().take(too_many) {
            if quiet_scans > 0
                && let Some(content) = self.contents.get_mut(&number)
                && let Place::Open(file) = &content.place
                && let Ok((stamp, _)) = file.stamp()
            {
                content.finish(Some(stamp));
            }
        }
    }

    /// Says which contents are gone with what was not read of them.
    fn tell_lost(&mut self) {
        for content in self.contents.values_mut() {
            let Place::Lost(since) = content.place else { continue };
            if content.is_told || self.scans < since + LOST_SCANS {
                continue;
            }
            content.is_told = true;
            let (path, offset) = (content.path.display(), content.note.offset);
            let bytes = content.bytes.saturating_sub(offset);
            if bytes > 0 {
                let detail = format!(
                    "{bytes} bytes of {path} were cut or deleted before they were read, from byte {offset} on"
                );
                self.losses.push(Loss { what: "bytes_lost", count: bytes, detail });
            } else if content.bytes == 0 && content.note.done.is_none() {
                let detail = format!(
                    "a file of {path} is gone since the last run; what was written to it behind byte {offset} was not read"
                );
                self.losses.push(Loss { what: "files_gone", count: 1, detail });
            }
        }
    }

    /// Forgets contents whose files are gone, if there are too many.
    fn forget(&mut self, files: &BTreeSet<FileId>) {
        let too_many = self.contents.len().saturating_sub(CONTENTS_MAX);
        let is_gone = |content: &Content| {
            !matches!(content.place, Place::Open(_)) && !files.contains(&content.note.file)
        };
        let gone = self.contents.iter().filter(|(_, content)| is_gone(content));
        let gone: Vec<u64> = gone.map(|(number, _)| *number).take(too_many).collect();
        for number in gone {
            self.contents.remove(&number);
            self.notes.push(note::of_content(self.followed.source.as_ref(), number, None));
        }
    }

    // ---- records ----

    /// What has come since the last call, in whatever `batch` has memory for; `None` if nothing.
    pub(super) fn next_batch(&mut self, mut batch: RecordBatch) -> Option<RecordBatch> {
        batch.notes.append(&mut self.notes);
        let logs: Vec<String> = self.logs.keys().cloned().collect();
        let after =
            self.latest_log.as_ref().map_or(0, |latest| logs.partition_point(|log| log <= latest));
        let (before, rest) = logs.split_at(after);
        for log in rest.iter().chain(before) {
            if self.fill_from(log, &mut batch) {
                self.latest_log = Some(log.clone());
                break;
            }
        }
        let is_empty = batch.records.is_empty() && batch.notes.is_empty();
        (!is_empty).then_some(batch)
    }

    /// Adds what has come in one log; `true` if the batch is full.
    fn fill_from(&mut self, log: &str, batch: &mut RecordBatch) -> bool {
        let Some(Log { partition, .. }) = self.logs.get(log) else { return false };
        let (source, cluster) = (self.followed.source.clone(), self.followed.cluster.clone());
        for (number, content) in &mut self.contents {
            if content.note.log != log || !matches!(content.place, Place::Open(_)) {
                continue;
            }
            let records = batch.records.len();
            let mut target = Target { batch, partition, cluster: cluster.as_ref() };
            let filled = content.fill(&mut target);
            match &filled {
                Filled::Full | Filled::End => {}
                Filled::Lost => {
                    content.lose(self.scans);
                    self.is_moved = true;
                }
                Filled::Failed(error) => {
                    let why = (error.to_string(), self.scans + 1);
                    self.unreadable.insert(content.path.clone(), why);
                }
            }
            if let Some(note) = content.take_changed() {
                batch.notes.push(note::of_content(source.as_ref(), *number, Some(note)));
            }
            if matches!(filled, Filled::Full) {
                return true;
            }
            if batch.records.len() > records {
                // The next content of the log begins another count of bytes.
                break;
            }
        }
        false
    }

    // ---- what to tell ----

    /// The logs that are read.
    pub(super) fn partitions(&self) -> Vec<Arc<PartitionName>> {
        let is_open = |name: &String| {
            let mut contents = self.contents.values().filter(|content| content.note.log == *name);
            contents.any(|content| matches!(content.place, Place::Open(_)))
        };
        let open = self.logs.iter().filter(|(name, _)| is_open(name));
        open.map(|(_, log)| Arc::clone(&log.partition)).collect()
    }

    /// Bytes of each log that were written, as far as the latest scan saw, and are not read. What lies in a
    /// compressed file nobody knows before.
    pub(super) fn behind(&self) -> Vec<(Arc<PartitionName>, u64)> {
        let bytes_of = |name: &String| {
            let contents = self.contents.values().filter(|content| content.note.log == *name);
            contents.map(Content::unread).sum()
        };
        self.logs.iter().map(|(name, log)| (Arc::clone(&log.partition), bytes_of(name))).collect()
    }

    /// Whether any file is there.
    pub(super) const fn has_files(&self) -> bool {
        self.has_files
    }

    /// Whether a scan should not wait.
    pub(super) const fn is_moved(&self) -> bool {
        self.is_moved
    }

    /// What cannot be read, for people.
    pub(super) fn unreadable(&self) -> Option<String> {
        let (path, (why, _)) = self.unreadable.first_key_value()?;
        let more = match self.unreadable.len() - 1 {
            0 => String::new(),
            more => format!(", nor {more} others"),
        };
        Some(format!("cannot read {}: {why}{more}", path.display()))
    }

    /// What was lost since the last call.
    pub(super) fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }
}

/// What a file is to a content that begins alike.
enum Kin {
    /// It holds so many bytes, all of which the content has.
    Copy {
        bytes: u64,
    },
    /// The content lies in it, and is to be read on in it; `tail` stands in front of that.
    Same {
        tail: Vec<u8>,
    },
    None,
}

/// What a file is to a content that begins alike. That a file has what stands in front of where the content was
/// read to does not make it a copy, as that may be no more than a header: it must hold nothing else. `end` is how
/// it ends, once that was looked for.
fn kin_of(
    file: &mut Opened,
    end: &mut Option<End>,
    found: &Found,
    is_new: bool,
    content: &mut Content,
) -> io::Result<Kin> {
    if content.has_place() {
        if !is_new {
            return Ok(Kin::None);
        }
        let end = match end {
            Some(end) => end,
            None => match file.end() {
                Ok(found) => end.insert(found),
                // What can be read of a broken file is read, and why not more is said then.
                Err(_) => return Ok(Kin::None),
            },
        };
        match content.has_all_of(file, end)? {
            Some(true) => return Ok(Kin::Copy { bytes: end.bytes }),
            Some(false) => return Ok(Kin::None),
            None => {}
        }
    }
    let ContentNote { log, offset, print, .. } = &content.note;
    if *offset <= print.end() && *log != found.log {
        return Ok(Kin::None);
    }
    let tail = file.tail(*offset)?.filter(|tail| digest_of(tail) == content.note.tail);
    let Some(tail) = tail else { return Ok(Kin::None) };
    if matches!(content.place, Place::Done) && !file.goes_on(*offset)? {
        return Ok(Kin::Copy { bytes: *offset });
    }
    Ok(Kin::Same { tail })
}

/// The logs that links lead to, each with the log by whose name it is known: whoever rotates a log (kubelet that of a
/// container) does so where it lies, not where a link to it does.
fn targets<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> BTreeMap<String, String> {
    let is_link = |path: &&PathBuf| path.is_symlink();
    let target = |path: &PathBuf| Some((log_of(&fs::canonicalize(path).ok()?), log_of(path)));
    paths.filter(is_link).filter_map(target).collect()
}
