//! Followed files against what happens to logs, and against a model of it.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    follower::{Followed, Follower},
    *,
};
use crate::engine::{limits::RECORD_BYTES_MAX, state::SourceNote};

/// A directory of logs, and whoever follows them.
struct Watcher {
    dir: TempDir,
    paths: Vec<PathBuf>,
    follower: Follower,
    now: i128,
    /// Notes and records that went through.
    notes: BTreeMap<String, SourceNote>,
    seen: Vec<(String, String)>,
    /// The same as of the last checkpoint.
    stored: (BTreeMap<String, SourceNote>, usize),
    losses: Vec<(&'static str, u64)>,
}

impl Watcher {
    fn new(patterns: &[&str]) -> Watcher {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = patterns.iter().map(|pattern| dir.path().join(pattern)).collect();
        let followed = Followed { paths: paths.clone(), ..Followed::default() };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Watcher {
            dir,
            paths,
            follower: Follower::new(followed, &[]),
            now: i128::try_from(since.as_nanos()).unwrap(),
            notes: BTreeMap::new(),
            seen: Vec::new(),
            stored: (BTreeMap::new(), 0),
            losses: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn copy_and_cut(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
        OpenOptions::new().write(true).open(self.path(from)).unwrap().set_len(0).unwrap();
    }

    fn compress(&self, name: &str) {
        let packed = File::create(self.path(&format!("{name}.gz"))).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        encoder.write_all(&fs::read(self.path(name)).unwrap()).unwrap();
        encoder.finish().unwrap();
        fs::remove_file(self.path(name)).unwrap();
    }

    fn read_one(&mut self) -> bool {
        let Some(batch) = self.follower.next_batch(RecordBatch::default()) else { return false };
        for record in &batch.records {
            let topic = &batch.partition_of(record).unwrap().topic;
            let log = Path::new(topic).strip_prefix(self.dir.path()).unwrap();
            let text = String::from_utf8_lossy(batch.payload_of(record).unwrap());
            self.seen.push((log.display().to_string(), text.into_owned()));
        }
        for note in batch.notes {
            self.notes.insert(note.key.clone(), note);
        }
        true
    }

    fn scan(&mut self) {
        self.follower.scan(self.now);
        let losses = self.follower.take_losses();
        self.losses.extend(losses.into_iter().map(|loss| (loss.what, loss.count)));
    }

    /// A scan, and all that is to be read.
    fn look(&mut self) {
        self.scan();
        let mut turns = 0;
        while self.read_one() || self.follower.is_moved() {
            if self.follower.is_moved() {
                self.scan();
            }
            turns += 1;
            assert!(turns < 10_000, "it comes to no end");
        }
    }

    fn settle(&mut self) {
        for _ in 0..15 {
            self.look();
        }
    }

    fn checkpoint(&mut self) {
        self.stored = (self.notes.clone(), self.seen.len());
    }

    /// The process is gone, and what was not stored with it; another one begins.
    fn restart(&mut self) {
        self.notes = self.stored.0.clone();
        self.seen.truncate(self.stored.1);
        let notes: Vec<SourceNote> = self.notes.values().cloned().collect();
        let followed = Followed { paths: self.paths.clone(), ..Followed::default() };
        self.follower = Follower::new(followed, &notes);
    }

    /// What was read since the last call.
    fn take(&mut self) -> Vec<String> {
        self.look();
        self.seen.drain(..).map(|(_, text)| text).collect()
    }
}

#[test]
fn what_is_rotated_where_a_link_leads_to_is_read() {
    let mut w = Watcher::new(&["containers/*.log"]);
    for directory in ["containers", "pods"] {
        fs::create_dir(w.path(directory)).unwrap();
    }
    w.append("pods/0.log", "a1\na2\n");
    w.append("pods/1.log", "another container's\n");
    std::os::unix::fs::symlink(w.path("pods/0.log"), w.path("containers/api.log")).unwrap();
    assert_eq!(w.take(), ["a1", "a2"]);
    w.checkpoint();
    w.append("pods/0.log", "a3\n");
    w.rename("pods/0.log", "pods/0.log.20260302-190000");
    w.append("pods/0.log", "b1\n");
    w.rename("pods/0.log", "pods/0.log.20260302-190500");
    w.append("pods/0.log", "c1\n");
    w.restart();
    let mut read = w.take();
    read.sort();
    assert_eq!(read, ["a3", "b1", "c1"]);
    assert!(w.losses.is_empty(), "{:?}", w.losses);
    w.compress("pods/0.log.20260302-190000");
    w.rename("pods/0.log", "pods/0.log.20260302-191000");
    w.append("pods/0.log", "d1\n");
    assert_eq!(w.take(), ["d1"]);
}

#[test]
fn parts_of_a_line_wait_for_its_end_over_a_restart_too() {
    let line = |tag: &str, text: &str| format!("2026-03-02T10:00:00Z stdout {tag} {text}\n");
    let (first, rest) = (line("P", "{\"a\""), line("F", ":1}"));
    let mut w = Watcher::new(&["audit.log"]);
    w.append("audit.log", &first);
    assert!(w.take().is_empty());
    w.checkpoint();
    w.restart();
    w.append("audit.log", &rest);
    assert_eq!(w.take(), [format!("{first}{rest}").trim_end()]);
    // When the log is moved away, no end can come any more.
    w.append("audit.log", &line("P", "{\"b\""));
    w.rename("audit.log", "audit.log.1");
    w.append("audit.log", &line("F", "{}"));
    w.settle();
    let mut seen: Vec<&str> = w.seen.iter().map(|(_, text)| text.as_str()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [line("F", "{}").trim_end(), line("P", "{\"b\"").trim_end()]);
}

#[test]
fn a_renamed_log_is_read_to_its_end_and_the_new_one_from_its_start() {
    let mut w = Watcher::new(&["audit.log"]);
    w.append("audit.log", "a1\na2\n");
    assert_eq!(w.take(), ["a1", "a2"]);
    w.append("audit.log", "a3\n");
    w.rename("audit.log", "audit-2026-01-05T22-14-01.123.log");
    w.append("audit.log", "b1\n");
    // Whoever writes has it open still.
    w.append("audit-2026-01-05T22-14-01.123.log", "a4\n");
    assert_eq!(w.take(), ["a3", "a4", "b1"]);
    w.append("audit-2026-01-05T22-14-01.123.log", "a5\n");
    assert_eq!(w.take(), ["a5"]);
    w.settle();
    w.append("audit-2026-01-05T22-14-01.123.log", "a6\n");
    assert_eq!(w.take(), ["a6"], "closed meanwhile, and opened again");
    assert_eq!(w.losses, []);
}

#[test]
fn a_log_that_is_copied_and_cut_is_read_once() {
    let mut w = Watcher::new(&["audit.log"]);
    w.append("audit.log", "a1\na2\n");
    assert_eq!(w.take(), ["a1", "a2"]);
    w.append("audit.log", "a3\n");
    w.copy_and_cut("audit.log", "audit.log.1");
    w.append("audit.log", "b1\n");
    assert_eq!(w.take(), ["a3", "b1"]);
    // Written again beyond where it was read to, before anybody looks.
    w.rename("audit.log.1", "audit.log.2");
    w.copy_and_cut("audit.log", "audit.log.1");
    w.append("audit.log", "c1 is longer\nc2 is longer\n");
    assert_eq!(w.take(), ["c1 is longer", "c2 is longer"]);
    // The copy is seen before the log is cut.
    fs::copy(w.path("audit.log"), w.path("audit.log.3")).unwrap();
    assert_eq!(w.take(), Vec::<String>::new());
    w.append("audit.log", "c3\n");
    assert_eq!(w.take(), ["c3"], "a copy that is shorter is none of a log's own");
    fs::write(w.path("audit.log"), "d1\n").unwrap();
    assert_eq!(w.take(), ["d1"]);
    w.settle();
    assert_eq!(w.losses, []);
}

#[test]
fn a_hole_where_a_log_was_cut_is_no_line() {
    let mut w = Watcher::new(&["audit.log"]);
    w.append("audit.log", "a1\na2\n");
    assert_eq!(w.take(), ["a1", "a2"]);
    fs::copy(w.path("audit.log"), w.path("audit.log.1")).unwrap();
    // Whoever writes goes on where it was.
    let file = File::create(w.path("audit.log")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"b1\n", 600_000).unwrap();
    assert_eq!(w.take(), ["b1"]);
    w.append("audit.log", "b2\n");
    assert_eq!(w.take(), ["b2"]);
    assert_eq!(w.losses, []);
}

#[test]
fn compressed_logs_are_not_read_twice_but_new_ones_are_read() {
    let mut w = Watcher::new(&["audit.log*"]);
    w.append("audit.log", "a1\na2\n");
    assert_eq!(w.take(), ["a1", "a2"]);
    w.rename("audit.log", "audit.log.1");
    w.append("audit.log", "b1\n");
    assert_eq!(w.take(), ["b1"]);
    w.compress("audit.log.1");
    assert_eq!(w.take(), Vec::<String>::new());
    w.checkpoint();
    w.restart();
    assert_eq!(w.take(), Vec::<String>::new());
    w.append("audit.log", "b2\n");
    w.rename("audit.log", "audit.log.1");
    w.rename("audit.log.1.gz", "audit.log.2.gz");
    w.compress("audit.log.1");
    w.append("audit.log", "c1\n");
    w.restart();
    assert_eq!(w.take(), ["b2", "c1"], "what was not read before it was compressed");
    w.append("old", "x1\n");
    w.compress("old");
    w.rename("old.gz", "audit.log.7.gz");
    assert_eq!(w.take(), ["x1"]);
    assert_eq!(w.losses, []);
}

#[test]
fn a_last_line_is_waited_for_until_nothing_more_can_come() {
    let mut w = Watcher::new(&["audit.log"]);
    w.append("audit.log", "a1\n{\"half");
    assert_eq!(w.take(), ["a1"]);
    w.settle();
    assert_eq!(w.take(), Vec::<String>::new());
    w.append("audit.log", "\"}\nlast");
    assert_eq!(w.take(), ["{\"half\"}"]);
    w.rename("audit.log", "audit.log.1");
    w.append("audit.log", "b1\n");
    w.settle();
    assert_eq!(w.take(), ["b1", "last"]);
    w.checkpoint();
    w.restart();
    w.settle();
    assert_eq!(w.take(), Vec::<String>::new());
}

#[test]
fn whatever_stands_where_a_log_was_stops_nothing_else() {
    let mut w = Watcher::new(&["one/audit.log", "two/audit.log"]);
    for name in ["one", "two"] {
        fs::create_dir(w.path(name)).unwrap();
        w.append(&format!("{name}/audit.log"), &format!("{name}\n"));
    }
    assert_eq!(w.take(), ["one", "two"]);
    let names: Vec<String> = w.follower.partitions().iter().map(|p| p.topic.clone()).collect();
    assert_eq!(
        names,
        [w.path("one/audit.log"), w.path("two/audit.log")].map(|p| p.display().to_string())
    );
    fs::remove_file(w.path("one/audit.log")).unwrap();
    fs::create_dir(w.path("one/audit.log")).unwrap();
    w.append("two/audit.log", "two again\n");
    assert_eq!(w.take(), ["two again"]);
    let why = w.follower.unreadable().unwrap();
    assert!(why.ends_with("one/audit.log: is a directory"), "{why}");
    fs::remove_dir(w.path("one/audit.log")).unwrap();
    // A link to itself can be opened by nobody, whoever runs the tests.
    std::os::unix::fs::symlink(w.path("one/audit.log"), w.path("one/audit.log")).unwrap();
    assert_eq!(w.take(), Vec::<String>::new());
    assert!(w.follower.unreadable().is_some());
    fs::remove_file(w.path("one/audit.log")).unwrap();
    w.append("one/audit.log", "one again\n");
    assert_eq!(w.take(), ["one again"]);
    assert_eq!(w.follower.unreadable(), None);
}

#[test]
fn what_happened_while_nobody_looked_is_read() {
    let mut w = Watcher::new(&["audit.log"]);
    w.append("audit.log", "a1\n");
    w.append("audit.log.1", "older than anything that was asked for\n");
    let old = File::options().write(true).open(w.path("audit.log.1")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(3_600)).unwrap();
    assert_eq!(w.take(), ["a1"]);
    w.checkpoint();
    w.append("audit.log", "a2\n");
    for generation in ["b", "c"] {
        w.rename("audit.log.1", "audit.log.2");
        w.rename("audit.log", "audit.log.1");
        w.append("audit.log", &format!("{generation}1\n"));
    }
    w.restart();
    w.settle();
    let seen: Vec<&str> = w.seen.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(seen, ["a2", "b1", "c1"]);
    w.checkpoint();
    fs::remove_file(w.path("audit.log")).unwrap();
    w.restart();
    w.settle();
    assert_eq!(w.losses, [("files_gone", 1)]);
}

#[test]
fn what_was_cut_before_it_was_read_is_said() {
    let mut w = Watcher::new(&["audit.log"]);
    w.append("audit.log", "a1\n");
    assert_eq!(w.take(), ["a1"]);
    w.append("audit.log", "a2\n");
    w.scan();
    fs::write(w.path("audit.log"), "b\n").unwrap();
    w.settle();
    assert_eq!(w.take(), ["b"]);
    assert_eq!(w.losses, [("bytes_lost", 3)]);
}

#[test]
fn how_much_is_not_read_yet_is_known_of_each_log() {
    let mut watcher = Watcher::new(&["audit.log", "other.log"]);
    let behind = |watcher: &Watcher| {
        let logs = watcher.follower.behind();
        logs.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>()
    };
    watcher.append("audit.log", "first\nsecond\n");
    watcher.append("other.log", "x\n");
    watcher.scan();
    assert_eq!(behind(&watcher), [13, 2]);
    watcher.look();
    assert_eq!(behind(&watcher), [0, 0]);
    // What was moved away before it was read counts as well, and so does a line without its end.
    watcher.append("audit.log", "third\n");
    watcher.rename("audit.log", "audit.log.1");
    watcher.append("audit.log", "fourth\nfif");
    watcher.scan();
    assert_eq!(behind(&watcher), [16, 0]);
    watcher.look();
    assert_eq!(behind(&watcher), [3, 0]);
}

#[test]
fn an_endless_line_is_one_record_over_a_restart_too() {
    let mut w = Watcher::new(&["*.log"]);
    let long = "x".repeat(RECORD_BYTES_MAX + 70_000);
    w.append("audit.log", &long);
    w.look();
    w.checkpoint();
    w.restart();
    w.append("audit.log", &format!("{long}\nnext\n"));
    w.append("other.log", "other\n");
    w.look();
    let lengths: Vec<(&str, usize)> =
        w.seen.iter().map(|(log, text)| (log.as_str(), text.len())).collect();
    let whole = RECORD_BYTES_MAX + 1;
    assert_eq!(lengths, [("audit.log", whole), ("audit.log", 4), ("other.log", 5)]);
}

#[test]
fn logs_that_begin_alike_are_read_all_the_same() {
    for header in ["# audit log of cp-1\n".to_owned(), "\n".to_owned(), "x".repeat(9_000) + "\n"] {
        let line = header.trim_end();
        let lines = |w: &mut Watcher| -> Vec<String> {
            let lines = w.take().into_iter();
            lines.filter(|text| text != line).collect()
        };
        let mut w = Watcher::new(&["*.log"]);
        // Several at once.
        for log in ["a", "b", "c"] {
            w.append(&format!("{log}.log"), &format!("{header}{log}1\n{log}2\n"));
        }
        assert_eq!(lines(&mut w), ["a1", "a2", "b1", "b2", "c1", "c2"]);
        // One that is new, before anything else came than its first line, and rotated then.
        w.append("d.log", &header);
        assert!(lines(&mut w).is_empty());
        w.rename("d.log", "d.log.1");
        w.append("d.log", &format!("{header}d1\n"));
        assert_eq!(lines(&mut w), ["d1"]);
        w.rename("d.log.1", "d.log.8");
        w.rename("d.log", "d.log.1");
        w.append("d.log", &header);
        assert!(lines(&mut w).is_empty());
        w.append("d.log", "d2\n");
        assert_eq!(lines(&mut w), ["d2"]);
        // Rotated while nobody looks, compressed, copied and cut.
        w.checkpoint();
        w.append("d.log", "d3\n");
        for (number, generation) in ["e", "f", "g"].into_iter().enumerate() {
            w.rename("d.log", &format!("d.log.{}", 7 - number));
            w.append("d.log", &format!("{header}{generation}1\n{generation}2\n"));
        }
        w.compress("d.log.6");
        w.copy_and_cut("d.log", "d.log.4");
        w.append("d.log", &format!("{header}h1\n"));
        w.restart();
        w.settle();
        let mut seen = lines(&mut w);
        seen.sort();
        assert_eq!(seen, ["d3", "e1", "e2", "f1", "f2", "g1", "g2", "h1"], "{header:.30}");
        assert_eq!(w.losses, []);
    }
}

#[test]
fn a_copy_of_a_log_that_begins_like_others_is_read_once() {
    let mut w = Watcher::new(&["audit.log"]);
    w.append("audit.log", "# header\n");
    w.look();
    w.append("audit.log", "a1\na2\n");
    // The copy is there before the log is read on, and the log is cut later.
    fs::copy(w.path("audit.log"), w.path("audit.log.1")).unwrap();
    assert_eq!(w.take()[1..], ["a1", "a2"]);
    w.append("audit.log", "a3\n");
    w.copy_and_cut("audit.log", "audit.log.1");
    w.append("audit.log", "# header\nb1\n");
    assert_eq!(w.take(), ["a3", "# header", "b1"]);
    w.compress("audit.log.1");
    w.settle();
    assert_eq!(w.take(), Vec::<String>::new());
    assert_eq!(w.losses, []);
}

/// Something that happens to a log.
#[derive(Clone, Debug)]
enum Step {
    Lines(u8),
    Half,
    Rename,
    CopyAndCut { is_seen: bool },
    Compress(u8),
    Delete,
    Scan,
    Read,
    Checkpoint,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5_u8).prop_map(Step::Lines),
        1 => Just(Step::Half),
        2 => Just(Step::Rename),
        2 => any::<bool>().prop_map(|is_seen| Step::CopyAndCut { is_seen }),
        1 => (1..4_u8).prop_map(Step::Compress),
        1 => Just(Step::Delete),
        3 => Just(Step::Scan),
        3 => Just(Step::Read),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
    ]
}

/// Whoever writes a log and rotates it.
#[derive(Default)]
struct Writer {
    lines: usize,
    /// With what every file begins.
    header: &'static str,
    is_half: bool,
    /// Rotated files, the latest first, and whether they are compressed.
    rotated: Vec<bool>,
}

impl Writer {
    fn write(&mut self, w: &Watcher, count: u8) {
        self.begin(w);
        for _ in 0..count {
            let start = if std::mem::take(&mut self.is_half) { "" } else { "{\"auditID\":" };
            w.append("audit.log", &format!("{start}\"{}\"}}\n", self.lines));
            self.lines += 1;
        }
    }

    /// Whoever makes a new file writes its header first.
    fn begin(&self, w: &Watcher) {
        if !self.header.is_empty()
            && !fs::metadata(w.path("audit.log")).is_ok_and(|file| file.len() > 0)
        {
            w.append("audit.log", self.header);
        }
    }

    fn name(index: usize, is_packed: bool) -> String {
        format!("audit.log.{}{}", index + 1, if is_packed { ".gz" } else { "" })
    }

    fn shift(&mut self, w: &Watcher) {
        for (index, is_packed) in self.rotated.iter().enumerate().rev() {
            w.rename(&Writer::name(index, *is_packed), &Writer::name(index + 1, *is_packed));
        }
    }

    fn step(&mut self, w: &mut Watcher, step: &Step) {
        let has_lines = fs::metadata(w.path("audit.log")).is_ok_and(|file| file.len() > 0);
        match step {
            Step::Lines(count) => self.write(w, *count),
            Step::Half => {
                if !std::mem::replace(&mut self.is_half, true) {
                    self.begin(w);
                    w.append("audit.log", "{\"auditID\":");
                }
            }
            Step::Rename if has_lines => {
                if self.is_half {
                    self.write(w, 1);
                }
                self.shift(w);
                w.rename("audit.log", "audit.log.1");
                self.rotated.insert(0, false);
            }
            Step::CopyAndCut { is_seen } if has_lines => {
                if self.is_half {
                    self.write(w, 1);
                }
                self.shift(w);
                if *is_seen {
                    fs::copy(w.path("audit.log"), w.path("audit.log.1")).unwrap();
                    w.scan();
                }
                w.copy_and_cut("audit.log", "audit.log.1");
                self.rotated.insert(0, false);
            }
            Step::Compress(index) => {
                let index = usize::from(*index) - 1;
                if let Some(is_packed @ false) = self.rotated.get_mut(index) {
                    w.compress(&Writer::name(index, false));
                    *is_packed = true;
                }
            }
            Step::Delete => {
                if let Some(is_packed) = self.rotated.pop() {
                    // What nobody has read yet is lost with its file, whoever reads.
                    w.look();
                    w.checkpoint();
                    fs::remove_file(w.path(&Writer::name(self.rotated.len(), is_packed))).unwrap();
                }
            }
            Step::Scan => w.scan(),
            Step::Read => {
                w.read_one();
            }
            Step::Checkpoint => w.checkpoint(),
            Step::Restart => w.restart(),
            Step::Rename | Step::CopyAndCut { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Every line exactly once, whatever is done to the log, and whenever the process ends. The log is
    /// seen once before it is rotated: what was rotated before is not asked for.
    #[test]
    fn every_line_is_read_once(
        steps in prop::collection::vec(step(), 1..40),
        header in prop::sample::select(vec!["", "# audit log\n"]),
    ) {
        let mut w = Watcher::new(&["audit.log"]);
        let mut writer = Writer { header, ..Writer::default() };
        writer.write(&w, 1);
        w.look();
        w.checkpoint();
        for step in &steps {
            writer.step(&mut w, step);
        }
        if writer.is_half {
            writer.write(&w, 1);
        }
        w.settle();
        let mut seen: Vec<String> = w.seen.iter().map(|(_, text)| text.clone()).collect();
        seen.retain(|text| text != header.trim_end() || text.is_empty());
        seen.sort();
        let mut expected: Vec<String> =
            (0..writer.lines).map(|line| format!("{{\"auditID\":\"{line}\"}}")).collect();
        expected.sort();
        prop_assert_eq!(seen, expected);
        // A file that is gone after a restart may have had more, as far as anybody knows.
        prop_assert!(w.losses.iter().all(|(what, _)| *what == "files_gone"), "{:?}", w.losses);
    }
}
