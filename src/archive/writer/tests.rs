//! What is taken away, replaced, of others or left by a crash, and what the archive makes of it.

use super::*;
use crate::{
    archive::{
        Reader,
        verify::{Asked, verify},
    },
    engine::ledger::{Content, Entry},
};

const LIMITS: Limits = Limits { free_min: 0, size_max: u64::MAX, months: 13 };

fn rows(ids: std::ops::RangeInclusive<u64>) -> Vec<Arc<Row>> {
    rows_of("2026-11", ids)
}

fn rows_of(month: &str, ids: std::ops::RangeInclusive<u64>) -> Vec<Arc<Row>> {
    let recorded = EventTime::parse(&format!("{month}-03T10:00:00Z")).unwrap().as_wall();
    let row = |id: u64| {
        let entry = Entry::new(EntryKind::Start, &id.to_string(), "started");
        Arc::new(Row { id, recorded, content: Content::Entry(Box::new(entry)) })
    };
    ids.map(row).collect()
}

/// How many rows are found there.
fn found(directory: &Path) -> usize {
    let (mut count, reader) = (0, Reader::open(directory, None).unwrap());
    reader
        .each(None, |_| {
            count += 1;
            true
        })
        .unwrap();
    assert_eq!((reader.problems().len(), reader.holes()), (0, Vec::new()));
    count
}

fn copy(from: &Path, to: &Path) {
    files::make_directory(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// A ledger with 50 rows, a copy of it beside it, and 20 more rows.
fn begun(place: &Path) -> (Archive, PathBuf, PathBuf) {
    let (directory, backup) = (place.join("ledger"), place.join("backup"));
    let mut archive = Archive::new(&directory, LIMITS);
    archive.append(&rows(1..=50)).unwrap();
    copy(&directory, &backup);
    archive.append(&rows(51..=70)).unwrap();
    (archive, directory, backup)
}

#[test]
fn what_is_taken_away_while_it_is_written_is_noticed_and_goes_on_when_it_is_back() {
    let place = tempfile::tempdir().unwrap();
    let (mut archive, directory, _) = begun(place.path());
    let away = place.path().join("away");
    archive.check().unwrap();
    // All of the directory, only the month, only its journal.
    for name in ["", "2026-11.db", "2026-11.db-wal"] {
        let path = directory.join(name);
        let last = archive.last().id;
        std::fs::rename(&path, &away).unwrap();
        let error = archive.check().unwrap_err().to_string();
        assert!(error.contains("was deleted or replaced while Tripline runs"), "{error}");
        if name != "2026-11.db-wal" {
            for _ in 0..2 {
                let error = archive.append(&rows(last + 1..=last + 5)).unwrap_err().to_string();
                assert!(error.contains("until the file that was there is put back"), "{error}");
            }
            assert_eq!(directory.exists(), !name.is_empty(), "nothing is put into its place");
        }
        assert_eq!(archive.last().id, last);
        drop(std::fs::remove_file(&path));
        std::fs::rename(&away, &path).unwrap();
        assert_eq!(archive.append(&rows(last + 1..=last + 5)).unwrap(), last + 5);
        assert_eq!(found(&directory) as u64, last + 5);
    }
}

/// Between the look before and the commit, too.
#[test]
fn what_went_into_a_file_that_was_taken_away_comes_again() {
    let place = tempfile::tempdir().unwrap();
    let (mut archive, directory, _) = begun(place.path());
    let away = place.path().join("away");
    std::fs::rename(&directory, &away).unwrap();
    let more = rows(71..=80);
    let unseen: Vec<&Row> = more.iter().map(|row| &**row).collect();
    archive.write("2026-11", &unseen).unwrap_err();
    assert_eq!(archive.last().id, 70);
    std::fs::rename(&away, &directory).unwrap();
    assert_eq!(archive.append(&more).unwrap(), 80);
    assert_eq!(found(&directory), 80);
}

#[test]
fn an_older_copy_in_its_place_is_not_written_on() {
    let place = tempfile::tempdir().unwrap();
    let (mut archive, directory, backup) = begun(place.path());
    let kept = place.path().join("kept");
    std::fs::rename(&directory, &kept).unwrap();
    copy(&backup, &directory);
    archive.append(&rows(71..=80)).unwrap_err();
    let error = archive.append(&rows(71..=80)).unwrap_err();
    assert!(matches!(error, ArchiveError::Lost { last: 50, written: 70, .. }), "{error}");
    assert_eq!((archive.last().id, found(&directory)), (70, 50));
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::rename(&kept, &directory).unwrap();
    assert_eq!(archive.append(&rows(71..=80)).unwrap(), 80);
    assert_eq!(found(&directory), 80);
}

#[test]
fn an_older_copy_written_over_it_is_not_written_on() {
    let place = tempfile::tempdir().unwrap();
    let (mut archive, directory, backup) = begun(place.path());
    // Into the files that are open.
    copy(&backup, &directory);
    archive.check().unwrap();
    let error = archive.append(&rows(71..=80)).unwrap_err().to_string();
    assert!(error.contains("it was overwritten"), "{error}");
    let error = archive.append(&rows(71..=80)).unwrap_err();
    assert!(matches!(error, ArchiveError::Lost { last: 50, written: 70, .. }), "{error}");
    assert_eq!(found(&directory), 50);
}

#[test]
fn a_second_process_is_kept_out_until_the_first_is_gone() {
    let place = tempfile::tempdir().unwrap();
    let (first, directory, backup) = begun(place.path());
    let mut second = Archive::new(&directory, LIMITS);
    let error = second.append(&rows(71..=80)).unwrap_err();
    assert!(matches!(error, ArchiveError::Locked { .. }), "{error}");
    drop(first);
    assert_eq!(second.append(&rows(71..=80)).unwrap(), 80);
    // Whoever reads needs no lock, and one that is in the way of it is said.
    assert_eq!(found(&directory), 80);
    std::fs::remove_file(backup.join(super::super::hold::LOCK_NAME)).unwrap();
    std::fs::create_dir(backup.join(super::super::hold::LOCK_NAME)).unwrap();
    let error = Archive::new(&backup, LIMITS).open().unwrap_err().to_string();
    assert!(error.contains("ledger.lock: cannot lock it"), "{error}");
}

/// What a recorder made that goes on behind other rows.
fn others(ids: std::ops::RangeInclusive<u64>) -> (Vec<Arc<Row>>, Chain) {
    let all = rows(1..=*ids.end());
    let other = |row: &Arc<Row>| {
        let entry = Entry::new(EntryKind::Stop, "another one", "stopped");
        Arc::new(Row { content: Content::Entry(Box::new(entry)), ..(**row).clone() })
    };
    let all: Vec<_> = all.iter().map(other).collect();
    let mut chain = Chain::default();
    for row in &all {
        chain.push(&row.line());
    }
    (all.into_iter().filter(|row| ids.contains(&row.id)).collect(), chain)
}

/// The state is new or older, and the ledger could not be opened when it began.
#[test]
fn rows_of_another_chain_are_neither_passed_over_nor_written_behind_it() {
    // All are there by their numbers, some, the next ones, none at all.
    for (from, to) in [(1, 20), (60, 90), (71, 90), (71, 70)] {
        let place = tempfile::tempdir().unwrap();
        let (archive, directory, _) = begun(place.path());
        drop(archive);
        let mut archive = Archive::new(&directory, LIMITS);
        let (other, chain) = others(from..=to);
        archive.expect(chain);
        for _ in 0..2 {
            let error = archive.append(&other).unwrap_err().to_string();
            assert!(error.contains("it is of another chain"), "{from} {error}");
            assert_eq!((archive.written(), found(&directory)), (0, 70));
        }
        // Their own ledger is put back.
        std::fs::remove_dir_all(&directory).unwrap();
        Archive::new(&directory, LIMITS).append(&others(1..=from - 1).0).unwrap();
        assert_eq!(archive.append(&other).unwrap(), if to < from { 0 } else { to });
        assert_eq!(found(&directory) as u64, to.max(from - 1));
    }
}

/// Where the lock is deleted, others could come in: it is taken anew.
#[test]
fn a_lock_that_is_deleted_is_taken_again() {
    let place = tempfile::tempdir().unwrap();
    let (mut archive, directory, _) = begun(place.path());
    std::fs::remove_file(directory.join(super::super::hold::LOCK_NAME)).unwrap();
    archive.check().unwrap_err();
    archive.check().unwrap();
    let error = Archive::new(&directory, LIMITS).open().unwrap_err();
    assert!(matches!(error, ArchiveError::Locked { .. }), "{error}");
}

#[test]
fn the_first_month_that_is_kept() {
    for (current, months, oldest) in [
        ("2026-11", 1, "2026-11"),
        ("2026-11", 13, "2025-11"),
        ("2026-01", 2, "2025-12"),
        ("2026-12", 12, "2026-01"),
    ] {
        assert_eq!(oldest_kept(current, months), oldest, "{current} {months}");
    }
}

mod turn;
