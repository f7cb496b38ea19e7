//! Month files that are not there, empty or of another installation: every answer names them, and the others answer. And
//! months that are kept elsewhere.

use std::{fs, io::Write as _, path::Path};

use rusqlite::Connection;
use serde_json::Value;
use tripline::archive::{Filter, Query, Reader, months};

use super::{
    archive::{pages, query, rows_from, write},
    evidence::{event, write_world},
    tamper::three_months,
};
use crate::binary::{run, tripline};

/// How many rows all answers together have, and what is said besides.
fn asked(directory: &Path) -> (usize, Vec<String>) {
    let reader = Reader::open(directory, None).unwrap();
    let mut rows = 0;
    reader
        .each(None, |_| {
            rows += 1;
            true
        })
        .unwrap();
    let found = pages(&reader, Query { limit: 2_000, ..query(Vec::new()) });
    assert!(found.len() <= rows);
    (rows, reader.warnings())
}

fn ledger(what: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    three_months(directory.path());
    let path = directory.path().join("2026-04.db");
    match what {
        "whole" => {}
        "removed" => fs::remove_file(&path).unwrap(),
        _ => {
            fs::remove_file(&path).unwrap();
            fs::write(&path, "").unwrap();
        }
    }
    if what == "foreign" {
        let other = tempfile::tempdir().unwrap();
        write(other.path(), &rows_from("2026-04-10T12:00:00Z", 350));
        fs::copy(other.path().join("2026-04.db"), &path).unwrap();
    }
    directory
}

#[test]
fn months_that_are_missing_empty_or_foreign_are_named_and_left_out() {
    assert_eq!(asked(ledger("whole").path()), (900, Vec::new()));
    for (what, expected) in [
        ("removed", "2026-03 ends with row 300, and 2026-05 begins behind row 600"),
        ("emptied", "2026-04.db"),
        ("foreign", "of another installation"),
    ] {
        let directory = ledger(what);
        let (rows, warnings) = asked(directory.path());
        assert!(rows == 600 && warnings.concat().contains(expected), "{what}: {rows} {warnings:?}");
        for question in [
            &["timeline"][..],
            &["visits"],
            &["sessions"],
            &["who-did", "get", "secrets"],
            &["coverage"],
        ] {
            let place =
                ["--ledger", ".", "--from", "2026-01-01", "--to", "2027-01-01", "--format", "json"];
            let (code, out, log) = run(tripline(directory.path()).args(question).args(place));
            assert!(code == 0 && log.contains(expected), "{what} {question:?}: {code} {log}");
            let answer: Value = serde_json::from_str(&out).unwrap();
            assert!(
                answer["warnings"].to_string().contains(expected),
                "{what} {question:?}: {out}"
            );
        }
    }
}

#[test]
fn uses_of_permissions_are_found_without_their_index() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &rows_from("2026-03-10T12:00:00Z", 500));
    let used = || {
        let reader = Reader::open(directory.path(), None).unwrap();
        pages(&reader, query(vec![Filter::Usage])).len()
    };
    let before = used();
    let (_, month) = months(directory.path()).unwrap().pop().unwrap();
    Connection::open(month).unwrap().execute_batch("DROP INDEX usage_at").unwrap();
    assert!(before > 0 && used() == before, "{before}");
}

#[test]
fn the_newest_month_is_missed_by_what_the_checkpoint_says() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    write_world(directory.path(), "");
    let newest = fs::read_dir(state.join("ledger")).unwrap().map(|one| one.unwrap().path());
    let newest =
        newest.filter(|path| path.extension().is_some_and(|name| name == "db")).max().unwrap();
    let older = fs::read(&newest).unwrap();
    assert_eq!(Reader::open(&state, None).unwrap().warnings(), Vec::<String>::new());
    let log = fs::OpenOptions::new().append(true).open(directory.path().join("audit.log"));
    writeln!(log.unwrap(), "{}", event("eve", 30)).unwrap();
    let (code, _, log) = run(tripline(directory.path()).arg("run"));
    assert_eq!(code, 0, "{log}");
    // By now the checkpoint has nothing that waits.
    let checkpoint = Connection::open(state.join("tripline.db")).unwrap();
    checkpoint.execute_batch("DELETE FROM spool").unwrap();
    assert_eq!(Reader::open(&state, None).unwrap().warnings(), Vec::<String>::new());
    fs::write(&newest, older).unwrap();
    let expected = "and by the checkpoint there are rows up to";
    let warnings = Reader::open(&state, None).unwrap().warnings();
    assert!(warnings.concat().contains(expected), "{warnings:?}");
    let (code, out, _) = run(tripline(directory.path()).args(["ledger", "verify"]));
    assert!(code == 1 && out.contains(expected), "{out}");
    fs::write(&newest, "").unwrap();
    let warnings = Reader::open(&state, None).unwrap().warnings();
    assert!(warnings.concat().contains("put back the file that was there"), "{warnings:?}");
    fs::remove_file(&newest).unwrap();
    let gone = Reader::open(&state, None).unwrap_err().to_string();
    assert!(gone.contains("the ledger of this state is not here"), "{gone}");
}

#[test]
fn a_state_knows_where_its_months_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    write_world(directory.path(), "ledger: {directory: kept}\n");
    let asks = |args: &[&str]| run(tripline(directory.path()).args(args));
    let question = ["timeline", "--actor", "eve", "--from", "2026-03-01", "--to", "2026-04-01"];
    for place in [&["--state", "state"][..], &["--state", "state", "--ledger", "kept"]] {
        let (code, out, log) = asks(&[&question[..], place].concat());
        assert!(code == 0 && out.contains("eve") && log.is_empty(), "{place:?}: {out}{log}");
        let (code, out, log) = asks(&[&["ledger", "verify"][..], place].concat());
        assert!(code == 0 && out.starts_with("sound"), "{place:?}: {out}{log}");
    }
    // Who looked leaves a note with the state, whose process makes an entry of it.
    let left = fs::read_dir(path("state/views")).unwrap();
    assert_eq!(left.count(), 2);
    // A copy has nothing to do with what waits, and a state whose months are gone says so.
    let is_copy = |place: &str| Reader::open(&path("state"), Some(&path(place))).unwrap().is_copy();
    assert!(!is_copy("kept"));
    fs::rename(path("kept"), path("copy")).unwrap();
    assert!(is_copy("copy"));
    let gone = Reader::open(&path("state"), None).unwrap_err().to_string();
    assert!(gone.contains("kept") && gone.contains("--ledger"), "{gone}");
}

/// Also if the state is older than the ledger, in which rows are then that the state does not know of.
#[test]
fn what_is_imported_goes_behind_months_that_are_kept_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let tripline = |args: &[&str]| run(tripline(directory.path()).args(args));
    write_world(directory.path(), "ledger: {directory: kept}\n");
    fs::copy(path("state/tripline.db"), path("older.db")).unwrap();
    assert_eq!(tripline(&["run"]).0, 0);
    fs::rename(path("older.db"), path("state/tripline.db")).unwrap();
    fs::write(path("rbac.json"), crate::permissions::cluster().to_string()).unwrap();
    let import = ["permissions", "import", "rbac.json"];
    let (code, out, told) = tripline(&import);
    assert!(code == 0 && out.contains("are in the ledger"), "{out}{told}");
    let (code, out, told) = tripline(&["permissions", "--binding", "shop/config"]);
    assert!(code == 0 && out.contains("brought by"), "it is not found: {out}{told}");
    let (code, out, _) = tripline(&["ledger", "verify"]);
    assert!(code == 0 && out.starts_with("sound"), "{out}");
    // Where they are not there, nobody knows which rows they have.
    fs::rename(path("kept"), path("away")).unwrap();
    let (code, out, told) = tripline(&import);
    assert!(code == 1 && out.is_empty(), "{out}{told}");
    assert!(told.contains("kept") && told.contains("--ledger"), "{told}");
    let (code, out, told) = tripline(&[&import[..], &["--ledger", "away"]].concat());
    assert!(code == 0 && out.contains("are in the ledger"), "{out}{told}");
}
