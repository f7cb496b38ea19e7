//! Months of earlier versions: they answer and are checked as those of this one, and the one that was begun is ended as it
//! was begun.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use rusqlite::Connection;
use tripline::{
    archive::{
        Reader, months,
        verify::{Asked, verify},
    },
    engine::time::EventTime,
};

use super::archive::{check_questions, rows, write};

/// Objects without verbs, texts indexed by time.
const AS_BEFORE: &str = "
    CREATE TEMP TABLE known AS SELECT DISTINCT resource, namespace, name FROM object;
    CREATE TEMP TABLE moved AS SELECT object.id AS id, known.rowid AS number
        FROM object JOIN known USING (resource)
        WHERE known.namespace IS object.namespace AND known.name IS object.name;
    UPDATE row SET object = (SELECT number FROM moved WHERE id = row.object)
        WHERE object IS NOT NULL;
    DROP TABLE object;
    CREATE TABLE object (
        id INTEGER PRIMARY KEY, resource INTEGER NOT NULL, namespace INTEGER, name INTEGER
    );
    CREATE UNIQUE INDEX object_key
        ON object (resource, ifnull(namespace, 0), ifnull(name, 0));
    CREATE INDEX object_namespace ON object (namespace);
    INSERT INTO object SELECT rowid, resource, namespace, name FROM known;
    DROP INDEX day_actor;
    DROP INDEX day_behalf;
    DROP INDEX day_source;
    DROP INDEX day_permission;
    DROP INDEX day_credential;
    CREATE INDEX row_actor ON row (actor, at) WHERE actor IS NOT NULL;
    CREATE INDEX row_behalf ON row (behalf, at) WHERE behalf IS NOT NULL;
    CREATE INDEX row_source ON row (source, at) WHERE source IS NOT NULL;
    CREATE INDEX row_permission ON row (permission, at) WHERE permission IS NOT NULL;
    CREATE INDEX row_credential ON row (credential, at) WHERE credential IS NOT NULL;
    PRAGMA user_version = 3;";

/// Makes of a month one of version 3.
pub(super) fn as_before(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = Connection::open(path).unwrap();
    file.execute_batch(AS_BEFORE).unwrap();
    let mut select = file.prepare("SELECT id, at, body FROM row WHERE kind <= 0").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    for row in rows {
        let (id, at, body): (i64, i64, Vec<u8>) = row.unwrap();
        // What it is, and when it was; that stands in its column now.
        let (kind, rest) = (body[0], body.strip_prefix(&[body[0], 0]).unwrap());
        let mut before = postcard::to_stdvec(&(kind, at)).unwrap();
        before.extend(rest);
        file.execute("UPDATE row SET body = ?2 WHERE id = ?1", (id, before)).unwrap();
    }
}

fn is_sound(directory: &Path) -> bool {
    let reader = Reader::open(directory, None).unwrap();
    assert!(reader.problems().is_empty());
    verify(&reader, Asked::default()).is_sound()
}

fn versions(directory: &Path) -> Vec<i64> {
    let of = |path: &Path| {
        let file = Connection::open(path).unwrap();
        file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    };
    months(directory).unwrap().iter().map(|(_, path)| of(path)).collect()
}

#[test]
fn months_of_an_earlier_version_answer_and_the_one_that_was_begun_is_ended_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    // They pass midnight of a month.
    let rows = rows(1_200);
    let midnight = EventTime::parse("2026-04-01T00:00:00Z").unwrap().as_wall();
    let end = rows.iter().position(|row| row.recorded >= midnight).unwrap();
    write(directory.path(), &rows[..end / 2]);
    as_before(&months(directory.path()).unwrap()[0].1);
    assert!(is_sound(directory.path()));
    assert!(check_questions(directory.path(), &rows[..end / 2], 7) > 10);
    write(directory.path(), &rows);
    assert_eq!(versions(directory.path()), [3, 4]);
    assert!(is_sound(directory.path()));
    assert!(check_questions(directory.path(), &rows, 50) > 40);
}

#[test]
fn what_is_changed_in_a_month_of_an_earlier_version_is_found() {
    for sql in [
        "UPDATE row SET at = at + 1 WHERE id = 30",
        "UPDATE row SET object = object + 1 WHERE id = 30",
        "UPDATE row SET recorded = recorded + 1 WHERE id = 30",
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = sql || ' AND id <> 30' WHERE name = 'row_source';
         PRAGMA writable_schema = RESET; REINDEX row_source; PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, ' AND id <> 30', '') WHERE name = 'row_source';
         PRAGMA writable_schema = RESET",
    ] {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &rows(100));
        let path = &months(directory.path()).unwrap()[0].1;
        as_before(path);
        Connection::open(path).unwrap().execute_batch(sql).unwrap();
        assert!(!is_sound(directory.path()), "{sql}");
    }
}
