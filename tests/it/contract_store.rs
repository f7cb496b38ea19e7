//! What every store must do, run against each of them.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tripline::{
    engine::{
        record::{PartitionName, Position},
        shard::{StateChange, StateTable},
        time::WallTime,
    },
    store::{
        Checkpoint, LEDGER_AGE_MAX, LedgerRow, Loaded, Store, StoreError,
        memory::MemoryStore,
        sqlite::{FILE_NAME, SqliteStore},
    },
};

fn position(partition: i32, next_offset: i64) -> Position {
    let partition = PartitionName::new("audit", partition);
    Position { log: Some("x".into()), ..Position::new(Arc::new(partition), next_offset) }
}

fn change(table: StateTable, key: &[u8], value: Option<&[u8]>) -> StateChange {
    StateChange { table, key: key.to_vec(), value: value.map(<[u8]>::to_vec) }
}

fn row(at: i64, subject: &str) -> LedgerRow {
    LedgerRow {
        at: WallTime::from_micros(at),
        kind: "alert",
        subject: subject.to_owned(),
        party: "rule".to_owned(),
        what: "firing".to_owned(),
        detail: String::new(),
    }
}

/// What a store holds, in an order that can be compared.
type Content = (Vec<(PartitionName, i64)>, Vec<(StateTable, Vec<u8>, Vec<u8>)>);

fn content(loaded: Loaded) -> Content {
    let position = |position: Position| ((*position.partition).clone(), position.next_offset);
    let mut positions: Vec<_> = loaded.positions.into_iter().map(position).collect();
    let mut entries: Vec<_> =
        loaded.entries.into_iter().map(|entry| (entry.table, entry.key, entry.value)).collect();
    positions.sort();
    entries.sort();
    (positions, entries)
}

/// Opens a store. Another test may be starting a child at this moment, which holds whatever its parent
/// has open, locks too, until it is a program of its own.
fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match SqliteStore::open(dir) {
            Err(StoreError::Locked { .. }) if Instant::now() < deadline => {
                std::thread::yield_now();
            }
            outcome => return outcome,
        }
    }
}

/// Every store, with its name.
fn with_each_store(check: impl Fn(&str, &mut dyn Store)) {
    check("memory", &mut MemoryStore::new());
    let dir = tempfile::tempdir().unwrap();
    check("sqlite", &mut open(dir.path()).unwrap());
}

#[test]
fn a_new_store_is_empty() {
    with_each_store(|name, store| {
        assert_eq!(content(store.load().unwrap()), (vec![], vec![]), "{name}");
    });
}

#[test]
fn a_later_change_of_a_key_wins_and_tables_are_apart() {
    with_each_store(|name, store| {
        let changes = vec![
            change(StateTable::Alert, b"k", Some(b"1")),
            change(StateTable::Group, b"k", Some(b"group")),
            change(StateTable::Alert, b"k", None),
            change(StateTable::Alert, b"k", Some(b"2")),
            change(StateTable::Identity, b"", Some(b"")),
        ];
        let positions = vec![position(0, 5), position(1, 7), position(0, 6)];
        store.commit(&Checkpoint { positions, changes, ..Checkpoint::default() }).unwrap();
        store
            .commit(&Checkpoint {
                changes: vec![change(StateTable::Group, b"k", None)],
                ..Checkpoint::default()
            })
            .unwrap();
        let (positions, entries) = content(store.load().unwrap());
        assert_eq!(
            positions.iter().map(|(_, offset)| *offset).collect::<Vec<_>>(),
            [6, 7],
            "{name}"
        );
        let expected = vec![
            (StateTable::Identity, vec![], vec![]),
            (StateTable::Alert, b"k".to_vec(), b"2".to_vec()),
        ];
        assert_eq!(entries, expected, "{name}");
    });
}

#[test]
fn a_position_may_go_back() {
    // A topic that was made anew begins at 0 again.
    with_each_store(|name, store| {
        for offset in [900, 3] {
            let positions = vec![position(0, offset)];
            store.commit(&Checkpoint { positions, ..Checkpoint::default() }).unwrap();
        }
        assert_eq!(content(store.load().unwrap()).0[0].1, 3, "{name}");
    });
}

#[test]
fn old_rows_leave_the_ledger() {
    let (mut memory, dir) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let mut sqlite = open(dir.path()).unwrap();
    let later = i64::try_from(LEDGER_AGE_MAX.as_micros()).unwrap() + 5;
    for rows in [vec![row(0, "old"), row(10, "kept")], vec![row(later, "new")]] {
        let commit = Checkpoint { ledger: rows, ..Checkpoint::default() };
        memory.commit(&commit).unwrap();
        sqlite.commit(&commit).unwrap();
    }
    let expected = vec![row(10, "kept"), row(later, "new")];
    assert_eq!(memory.ledger().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(sqlite.ledger(10).unwrap(), expected);
    assert_eq!(sqlite.ledger(1).unwrap(), [row(later, "new")]);
}

fn commits() -> impl Strategy<Value = Vec<Checkpoint>> {
    let table = prop::sample::select(StateTable::ALL.to_vec());
    let key = prop::collection::vec(0_u8..3, 0..3);
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..4));
    let change =
        (table, key, value).prop_map(|(table, key, value)| StateChange { table, key, value });
    let position = (0..3, 0..100_i64).prop_map(|(partition, offset)| position(partition, offset));
    let commit =
        (prop::collection::vec(position, 0..4), prop::collection::vec(change, 0..6)).prop_map(
            |(positions, changes)| Checkpoint { positions, changes, ..Checkpoint::default() },
        );
    prop::collection::vec(commit, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// SQLite does what memory does, also when it is closed and opened between commits.
    #[test]
    fn sqlite_is_memory_that_lasts(commits in commits()) {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = MemoryStore::new();
        for commit in &commits {
            memory.commit(commit).unwrap();
            open(dir.path()).unwrap().commit(commit).unwrap();
            let sqlite = open(dir.path()).unwrap().load().unwrap();
            prop_assert_eq!(content(sqlite), content(memory.load().unwrap()));
        }
    }
}

/// Tells the test binary, run as a child, to write commits until it is killed.
const CHILD_DIR: &str = "TRIPLINE_TEST_STORE_CHILD";

/// Keys that each commit of the child changes.
const CHILD_KEYS: u64 = 40;

/// Commit number `n` of the child: every table and the position say `n`.
fn child_commit(n: u64) -> Checkpoint {
    let mut changes = Vec::new();
    for table in StateTable::ALL {
        for key in 0..CHILD_KEYS {
            // Larger than a page now and then, so that commits span many frames of the WAL.
            let mut value = n.to_be_bytes().to_vec();
            value.resize(8 + usize::try_from((n * key) % 3_000).unwrap(), 0xa5);
            changes.push(change(table, &key.to_be_bytes(), Some(&value)));
        }
    }
    let next_offset = i64::try_from(n).unwrap();
    let ledger = vec![row(next_offset, &n.to_string())];
    let positions = vec![position(0, next_offset)];
    Checkpoint { positions, changes, ledger, ..Checkpoint::default() }
}

/// Not a test of its own: what the child of the next test does. Without the variable it is nothing.
#[test]
fn child_of_a_killed_process() {
    use std::io::Write as _;
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let mut store = open(Path::new(&dir)).unwrap();
    let first = content(store.load().unwrap()).0.first().map_or(0, |(_, offset)| *offset + 1);
    for n in u64::try_from(first).unwrap().. {
        store.commit(&child_commit(n)).unwrap();
        let mut out = std::io::stdout().lock();
        if writeln!(out, "\ncommitted {n}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

#[test]
fn a_killed_process_leaves_whole_commits() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "contract_store::child_of_a_killed_process", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed right after it reported some commit, that is, somewhere within the next one.
        let mut reported = 0;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("committed ") {
                reported = n.parse().unwrap();
                if reported % 7 == round % 7 {
                    break;
                }
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let mut store = open(dir.path()).unwrap();
        let (positions, entries) = content(store.load().unwrap());
        let n = u64::try_from(positions[0].1).unwrap();
        assert!(n >= reported, "commit {reported} was reported, but the store is at {n}");
        let mut model = MemoryStore::new();
        model.commit(&child_commit(n)).unwrap();
        assert!(entries == content(model.load().unwrap()).1, "commit {n} is not whole");
        assert_eq!(store.ledger(1).unwrap()[0].subject, n.to_string());
        assert_eq!(store.ledger(u32::MAX).unwrap().len() as u64, n + 1);
    }
}

/// Name of the write-ahead log within the state directory.
const WAL_NAME: &str = "tripline.db-wal";

/// Bytes of the log's header, and of each of its frames: a header and a page.
const WAL_HEADER: usize = 32;
const WAL_FRAME: usize = 24 + 4_096;

/// A state directory as a crash may have left it.
fn left_behind(database: &[u8], wal: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), database).unwrap();
    std::fs::write(dir.path().join(WAL_NAME), wal).unwrap();
    dir
}

/// Which of the child's commits a directory holds; it must hold all of it, and take the next one.
fn whole_commit(dir: &Path, what: &str) -> Option<u64> {
    let mut store = open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (positions, entries) = content(store.load().unwrap());
    let n = positions.first().map(|(_, offset)| u64::try_from(*offset).unwrap());
    let mut model = MemoryStore::new();
    if let Some(n) = n {
        model.commit(&child_commit(n)).unwrap();
    }
    assert!(entries == content(model.load().unwrap()).1, "{what}: commit {n:?} is not whole");
    let rows = store.ledger(u32::MAX).unwrap().len() as u64;
    assert_eq!(rows, n.map_or(0, |n| n + 1), "{what}: the ledger is that of another commit");
    let next = child_commit(n.map_or(0, |n| n + 1));
    store.commit(&next).unwrap();
    drop(store);
    model.commit(&next).unwrap();
    let after = content(open(dir).unwrap().load().unwrap());
    assert!(after == content(model.load().unwrap()), "{what}: it does not go on");
    n
}

/// The files of a store while it is open: database and log.
fn files_of(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    (read(FILE_NAME), read(WAL_NAME))
}

#[test]
fn power_that_fails_while_the_log_is_written_leaves_whole_commits() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    // How long the log is once each commit has returned, that is, was synced.
    let mut synced = Vec::new();
    for n in 0..8 {
        store.commit(&child_commit(n)).unwrap();
        synced.push(files_of(dir.path()).1.len());
    }
    let (database, wal) = files_of(dir.path());
    assert_eq!(wal.len(), *synced.last().unwrap(), "the log was not checkpointed meanwhile");
    let frames = (wal.len() - WAL_HEADER) / WAL_FRAME;
    assert!(frames > 100, "commits span many frames, not {frames}");
    // At the seams of frames and next to them, and within some frames.
    let seams = (0..=frames).step_by(5).flat_map(|frame| {
        let seam = WAL_HEADER + frame * WAL_FRAME;
        [seam - 1, seam, seam + 1, seam + WAL_FRAME / 2]
    });
    let around_commits = synced.iter().flat_map(|length| [length - WAL_FRAME, length - 1, *length]);
    let mut lengths: Vec<usize> = seams.chain(around_commits).collect();
    lengths.sort_unstable();
    lengths.dedup();
    for length in lengths.into_iter().filter(|length| *length <= wal.len()) {
        let expected = synced.iter().filter(|synced| **synced <= length).count();
        let expected = u64::try_from(expected).unwrap().checked_sub(1);
        let cut = left_behind(&database, &wal[..length]);
        let what = format!("log cut at {length} of {}", wal.len());
        assert_eq!(whole_commit(cut.path(), &what), expected, "{what}");

        // The disk had made the file longer, but what it wrote there is nonsense.
        let mut torn = wal.clone();
        torn[length..].fill(0x5a);
        let torn = left_behind(&database, &torn);
        let what = format!("log torn at {length} of {}", wal.len());
        assert_eq!(whole_commit(torn.path(), &what), expected, "{what}");
    }
}

#[test]
fn power_that_fails_while_the_log_is_moved_into_the_database_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    for n in 0..3 {
        store.commit(&child_commit(n)).unwrap();
    }
    let (before, wal) = files_of(dir.path());
    let other = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    other.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    let (after, _) = files_of(dir.path());
    assert!(before != after, "the log was not moved");
    // Pages reach the disk in any order; the log stays until all of them have.
    for round in 0..20_usize {
        let mut mixed = before.clone();
        mixed.resize(after.len().min(before.len() + round * 4_096 * 8), 0);
        for (page, (to, from)) in mixed.chunks_mut(4_096).zip(after.chunks(4_096)).enumerate() {
            if (page * 7 + round * 13) % 20 < round {
                to.copy_from_slice(&from[..to.len()]);
            }
        }
        let dir = left_behind(&mixed, &wal);
        assert_eq!(whole_commit(dir.path(), &format!("round {round}")), Some(2));
    }
}

#[test]
fn a_page_that_rots_is_an_error_and_no_wrong_state() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut store = open(dir.path()).unwrap();
        for n in 0..20 {
            store.commit(&child_commit(n)).unwrap();
        }
    }
    let path = dir.path().join(FILE_NAME);
    let mut bytes = std::fs::read(&path).unwrap();
    // Page headers of all pages but the first.
    for start in (4_096..bytes.len()).step_by(4_096) {
        bytes[start..start + 16].fill(0xee);
    }
    std::fs::write(&path, bytes).unwrap();
    let outcome = open(dir.path()).and_then(|mut store| store.load());
    let message = outcome.expect_err("damaged state must not be loaded").to_string();
    assert!(message.contains("damaged"), "{message}");
}
