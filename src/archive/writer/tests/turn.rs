//! What a crash, a full disk or a reader leaves at the turn of a month.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What of a month is there: its file, and what SQLite makes beside it.
fn files_of(directory: &Path, month: &str) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.starts_with(month));
    names.sort();
    names
}

/// Copies a file of SQLite, and what is beside it, in the middle of its first transaction, as a crash leaves them.
fn torn(path: &Path, journal_mode: &str) {
    let place = tempfile::tempdir().unwrap();
    let copied = place.path().join(path.file_name().unwrap());
    let connection = Connection::open(&copied).unwrap();
    connection.query_row(&format!("PRAGMA journal_mode = {journal_mode}"), [], |_| Ok(())).unwrap();
    // More than its cache holds, so that some of it is on the disk.
    let step =
        "PRAGMA cache_size = 1; BEGIN; CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT);
        CREATE TABLE filling (bytes BLOB);";
    connection.execute_batch(step).unwrap();
    for _ in 0..100 {
        connection.execute("INSERT INTO filling VALUES (zeroblob(4000))", []).unwrap();
    }
    copy(place.path(), path.parent().unwrap());
}

/// What can be found in the place of a new month that has no rows yet.
const LEFT: [&str; 7] = [
    "nothing in it",
    "nothing in it, and a journal beside it",
    "a header",
    "its first transaction, not committed",
    "its first transaction, to be rolled back",
    "what an earlier version made of one without tables",
    "tables behind the last row",
];

fn leave(what: &str, path: &Path, last: Chain, ledger: Option<Hash>) {
    match what {
        "nothing in it" => std::fs::write(path, "").unwrap(),
        "nothing in it, and a journal beside it" => {
            std::fs::write(path, "").unwrap();
            std::fs::write(journal_of(path), "the journal of a file that nobody has").unwrap();
        }
        "a header" => {
            let connection = Connection::open(path).unwrap();
            connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
            assert!(std::fs::metadata(path).unwrap().len() > 0);
        }
        "its first transaction, not committed" => torn(path, "WAL"),
        "its first transaction, to be rolled back" => torn(path, "DELETE"),
        "what an earlier version made of one without tables" => {
            files::open(path).unwrap();
            open_for_writing(path, Chain::default(), None).unwrap();
        }
        "tables behind the last row" => {
            files::open(path).unwrap();
            open_for_writing(path, last, ledger).unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn whatever_is_left_of_a_new_month_its_rows_go_on_behind_the_last_month_that_has_some() {
    for what in LEFT {
        // The clock may be set back by then, or the next month come.
        for month in ["2026-12", "2026-11", "2027-01"] {
            let place = tempfile::tempdir().unwrap();
            let (archive, directory, _) = begun(place.path());
            let (last, ledger) = (archive.last, archive.ledger);
            drop(archive);
            leave(what, &directory.join("2026-12.db"), last, ledger);
            assert_eq!(crate::archive::last_row(&directory).unwrap(), last, "{what}");
            let mut archive = Archive::new(&directory, LIMITS);
            archive.open().unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(archive.last(), last, "{what}");
            let more = rows_of(month, 71..=80);
            // The one that is written is never deleted.
            archive.limits.size_max = 0;
            let due = archive.due(more[0].recorded).unwrap();
            assert!(due.is_empty() || what == LEFT[6], "{what}");
            assert_eq!(archive.not_there(more.clone()).unwrap(), more, "{what}");
            assert_eq!(archive.append(&more).unwrap_or_else(|error| panic!("{what}: {error}")), 80);
            assert_eq!(found(&directory), 80, "{what}");
            archive.seal().unwrap();
            drop(archive);
            let verified = verify(&Reader::open(&directory, None).unwrap(), Asked::default());
            let faults: Vec<&str> = verified.faults.iter().map(|fault| &*fault.what).collect();
            assert_eq!(faults, Vec::<&str>::new(), "{what} {month}");
            if month == "2026-12" {
                assert_eq!(files_of(&directory, "2026-11"), ["2026-11.db"], "{what}");
            }
        }
    }
}

/// The first month of all, too.
#[test]
fn a_ledger_whose_only_month_is_empty_begins_with_its_first_row() {
    for what in LEFT {
        let place = tempfile::tempdir().unwrap();
        leave(what, &place.path().join("2026-11.db"), Chain::default(), None);
        let mut archive = Archive::new(place.path(), LIMITS);
        assert_eq!(archive.append(&rows(1..=20)).unwrap(), 20, "{what}");
        assert_eq!(found(place.path()), 20, "{what}");
    }
}

/// It looks like a new one, but for the rows that come.
#[test]
fn a_newest_month_that_had_rows_and_is_emptied_is_missed() {
    let place = tempfile::tempdir().unwrap();
    let (mut archive, directory, _) = begun(place.path());
    archive.append(&rows_of("2026-12", 71..=90)).unwrap();
    let newest = directory.join("2026-12.db");
    drop(archive);
    let whole = std::fs::read(&newest).unwrap();
    let more = rows_of("2026-12", 91..=99);
    // Between two runs.
    std::fs::write(&newest, "").unwrap();
    let mut archive = Archive::new(&directory, LIMITS);
    for _ in 0..2 {
        let error = archive.append(&more).unwrap_err();
        let ArchiveError::Hole { path, last: 70, next: 91 } = &error else { panic!("{error}") };
        assert_eq!((path, std::fs::metadata(path).unwrap().len()), (&newest, 0));
    }
    std::fs::write(&newest, &whole).unwrap();
    assert_eq!(archive.append(&more).unwrap(), 99);
    // While it is written.
    std::fs::remove_file(&newest).unwrap();
    std::fs::write(&newest, "").unwrap();
    archive.append(&rows_of("2026-12", 100..=101)).unwrap_err();
    let error = archive.append(&rows_of("2026-12", 100..=101)).unwrap_err();
    let ArchiveError::Lost { path, last: 70, written: 99 } = &error else { panic!("{error}") };
    assert_eq!(path, &newest);
}

#[test]
fn what_is_deleted_goes_with_its_journals_and_those_that_earlier_versions_left() {
    let place = tempfile::tempdir().unwrap();
    let (mut archive, directory, _) = begun(place.path());
    archive.append(&rows_of("2026-12", 71..=90)).unwrap();
    for name in ["2026-11.db-wal", "2026-11.db-shm", "2026-11.db-journal", "2026-09.db-wal"] {
        std::fs::write(directory.join(name), "rows").unwrap();
    }
    // Of a month that is newer, and of something else.
    let others = ["2027-01.db-wal", "2026-1.db-wal", "notes.db-wal"];
    for name in others {
        std::fs::write(directory.join(name), "").unwrap();
    }
    let month =
        Retired { month: "2026-11".to_owned(), bytes: 0, last: Some(archive.last()), why: "age" };
    archive.delete(&month).unwrap();
    assert_eq!(files_of(&directory, "2026-11"), Vec::<String>::new());
    assert_eq!(files_of(&directory, "2026-09"), Vec::<String>::new());
    assert!(others.iter().all(|name| directory.join(name).exists()));
    assert!(directory.join("2026-12.db").exists());
}

/// Nothing waits for whoever reads it, and it is sealed when they have gone, also by a process that comes later.
#[test]
fn a_month_that_is_read_when_it_turns_is_sealed_afterwards() {
    for starts_again in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let (mut archive, directory, _) = begun(place.path());
        let reader = Reader::open(&directory, None).unwrap();
        assert_eq!(archive.append(&rows_of("2026-12", 71..=80)).unwrap(), 80);
        let over = directory.join("2026-11.db");
        let error = archive.seal().unwrap_err().to_string();
        assert!(error.contains("2026-11.db") && error.contains("copy both"), "{error}");
        assert!(journal_of(&over).exists() && found(&directory) == 80);
        assert_eq!(archive.append(&rows_of("2026-12", 81..=82)).unwrap(), 82);
        if starts_again {
            drop(archive);
            archive = Archive::new(&directory, LIMITS);
            archive.open().unwrap();
            archive.seal().unwrap_err();
        }
        drop(reader);
        archive.seal().unwrap();
        assert_eq!(files_of(&directory, "2026-11"), ["2026-11.db"]);
        assert_eq!((mode_of(&over), found(&directory)), (0o400, 82));
        // A copy of its file alone has all of its rows.
        let copied = place.path().join("copied");
        files::make_directory(&copied).unwrap();
        std::fs::copy(&over, copied.join("2026-11.db")).unwrap();
        assert_eq!(found(&copied), 70);
        archive.seal().unwrap();
    }
}

/// Those that were put back from a copy are sealed by the next process, and it leaves alone what is sealed.
#[test]
fn months_that_are_over_are_sealed_at_the_next_start_if_they_are_not() {
    let place = tempfile::tempdir().unwrap();
    let (mut archive, directory, _) = begun(place.path());
    archive.append(&rows_of("2026-12", 71..=80)).unwrap();
    let over = directory.join("2026-11.db");
    assert_eq!(mode_of(&over), 0o400);
    drop(archive);
    allow_writing(&over).unwrap();
    let mut archive = Archive::new(&directory, LIMITS);
    archive.open().unwrap();
    assert_eq!(archive.unsealed, std::slice::from_ref(&over));
    archive.seal().unwrap();
    assert_eq!((mode_of(&over), archive.unsealed.len()), (0o400, 0));
    // What is deleted meanwhile needs no seal.
    archive.unsealed.push(directory.join("2026-10.db"));
    archive.seal().unwrap();
}
