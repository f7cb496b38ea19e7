//! Whatever is changed in a ledger is found, and placed.

use std::{fs, path::Path, sync::Arc, time::Duration};

use rusqlite::Connection;
use tripline::{
    archive::{
        Reader,
        verify::{Asked, Verified, verify, verify_lines},
    },
    engine::ledger::{Chain, Content, Entry, EntryKind, Hash, hex_of, parse_hex},
};

use super::archive::{rows_from, write};

/// Rows of one month.
fn rows(count: usize) -> Vec<Arc<tripline::engine::ledger::Row>> {
    rows_from("2026-03-10T12:00:00Z", count)
}

fn verified(directory: &Path) -> Verified {
    match Reader::open(directory, None) {
        Ok(reader) => verify(&reader, Asked::default()),
        Err(error) => panic!("{error}"),
    }
}

fn lines(directory: &Path) -> Option<Vec<String>> {
    let reader =
        Reader::open(directory, None).ok().filter(|reader| reader.problems().is_empty())?;
    let mut lines = Vec::new();
    reader
        .each(None, |row| {
            lines.push(row.line());
            true
        })
        .ok()?;
    Some(lines)
}

/// The newest file of a directory.
fn newest(directory: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "db"));
    files.sort();
    files.pop().unwrap()
}

/// One file without a journal, as a copy of a month that is over.
fn settle(directory: &Path) {
    let connection = Connection::open(newest(directory)).unwrap();
    connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
}

#[test]
fn a_byte_that_is_changed_changes_no_row_or_is_found() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &rows(80));
    settle(directory.path());
    assert!(verified(directory.path()).is_sound());
    let path = newest(directory.path());
    let (whole, before) = (fs::read(&path).unwrap(), lines(directory.path()).unwrap());
    let mut found = 0;
    for at in (0..whole.len()).step_by(41) {
        let mut changed = whole.clone();
        changed[at] ^= 0x15;
        fs::write(&path, &changed).unwrap();
        let sound = Reader::open(directory.path(), None)
            .is_ok_and(|reader| verify(&reader, Asked::default()).is_sound());
        if sound {
            assert_eq!(lines(directory.path()).as_ref(), Some(&before), "byte {at}");
        } else {
            found += 1;
        }
    }
    assert!(found > 200, "only {found} changes were found");
}

#[test]
fn rows_that_are_taken_away_changed_swapped_or_added_are_placed() {
    let rows = rows(500);
    for (what, sql) in [
        ("deleted", "DELETE FROM row WHERE id = 300"),
        ("the newest cut", "DELETE FROM row WHERE id > 450"),
        ("changed", "UPDATE row SET recorded = recorded + 1 WHERE id = 300"),
        ("filed otherwise", "UPDATE row SET at = at + 1 WHERE id = 300"),
        ("given to another", "UPDATE row SET actor = actor + 1 WHERE id = 300"),
        (
            "swapped",
            "UPDATE row SET id = -1 WHERE id = 300; UPDATE row SET id = 300 WHERE id = 301;
             UPDATE row SET id = 301 WHERE id = -1",
        ),
        (
            "added",
            "INSERT INTO row SELECT 501, at, recorded, kind, actor, behalf, object, source, permission,
             credential, body FROM row WHERE id = 300",
        ),
        (
            "hidden from an index",
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = sql || ' AND id <> 300' WHERE name = 'day_actor';
             PRAGMA writable_schema = RESET; REINDEX day_actor; PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, ' AND id <> 300', '') WHERE name = 'day_actor';
             PRAGMA writable_schema = RESET",
        ),
        (
            "on another day in an index",
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, 'at / 86400000000', 'at / 86400000000 + (id = 300)')
             WHERE name = 'day_source';
             PRAGMA writable_schema = RESET; REINDEX day_source; PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, ' + (id = 300)', '') WHERE name = 'day_source';
             PRAGMA writable_schema = RESET",
        ),
        (
            "at another second in an index",
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, '/ 1000000)', '/ 1000000 - (id = 300))')
             WHERE name = 'day_permission';
             PRAGMA writable_schema = RESET; REINDEX day_permission; PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, ' - (id = 300)', '') WHERE name = 'day_permission';
             PRAGMA writable_schema = RESET",
        ),
        (
            "done by another verb",
            "INSERT INTO object (resource, namespace, name, verb)
             SELECT resource, namespace, name, verb + 1000 FROM object
             WHERE id = (SELECT object FROM row WHERE id = 300);
             UPDATE row SET object = last_insert_rowid() WHERE id = 300",
        ),
        (
            "told twice",
            "CREATE TABLE other (id INTEGER PRIMARY KEY, text TEXT NOT NULL); INSERT INTO other SELECT id, text FROM text;
             DROP TABLE text; ALTER TABLE other RENAME TO text;
             INSERT INTO text (text) SELECT text FROM text ORDER BY id DESC LIMIT 1",
        ),
        ("without an index", "DROP INDEX usage_at"),
        ("without another", "DROP INDEX day_actor"),
        ("with another table", "CREATE TABLE other (id INTEGER)"),
        ("with a view", "CREATE VIEW seen AS SELECT 1"),
        ("with a trigger", "CREATE TRIGGER gone AFTER INSERT ON row BEGIN DELETE FROM row WHERE id = 300; END"),
        ("with an index of another kind", "DROP INDEX usage_at; CREATE INDEX usage_at ON row (kind, at) WHERE kind = -2"),
        ("said to be of the first version", "PRAGMA user_version = 1"),
        ("counted otherwise", "UPDATE count SET rows = rows + 1 WHERE name = 'all'"),
        ("renamed", "UPDATE text SET text = 'mallory' WHERE id = (SELECT actor FROM row WHERE id = 300)"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &rows);
        settle(directory.path());
        let connection = Connection::open(newest(directory.path())).unwrap();
        connection.execute_batch(sql).unwrap();
        drop(connection);
        let verified = verified(directory.path());
        assert!(!verified.is_sound(), "{what} was not found");
        let fault = &verified.faults[0];
        let touches = |id: u64| (fault.from..=fault.to).contains(&id);
        assert!(touches(300) || touches(451) || touches(501) || what == "renamed" || what.starts_with("counted"), "{what}: {fault:?}");
    }
}

/// 900 rows over three months, with seals at rows 100, 200, 450 and 700.
pub(super) fn three_months(directory: &Path) {
    months_with(directory, |_, _| None);
}

/// The same, but for rows of which something else is told: by their id, and where the chain stood after row 300.
pub(super) fn months_with(directory: &Path, other: impl Fn(u64, Chain) -> Option<Entry>) {
    let (mut chain, mut after_first, mut sealed) = (Chain::default(), Chain::default(), Vec::new());
    for (id, row) in (1..).zip(rows(900)) {
        let mut row = (*row).clone();
        row.id = id;
        row.recorded = row
            .recorded
            .plus(Duration::from_secs(31 * 86_400) * u32::try_from((id - 1) / 300).unwrap());
        let at = row.recorded.as_event();
        match &mut row.content {
            Content::Access(access) => access.at = at,
            Content::Usage(usage) => usage.at = at,
            Content::Entry(entry) => {
                entry.at = None;
                // Those that were made with these rows do not fit what is made of them.
                if entry.kind == EntryKind::Seal {
                    entry.kind = EntryKind::Comment;
                }
            }
        }
        if [100, 200, 450, 700].contains(&id) {
            let seal = Entry::new(EntryKind::Seal, &hex_of(&chain.head), "sealed");
            row.content = Content::Entry(Box::new(seal));
        }
        if let Some(entry) = other(id, after_first) {
            row.content = Content::Entry(Box::new(entry));
        }
        chain.push(&row.line());
        if id == 300 {
            after_first = chain;
        }
        sealed.push(Arc::new(row));
    }
    write(directory, &sealed);
    settle(directory);
}

/// Changes a month, the first of which is 0.
fn change(directory: &Path, month: usize, sql: &str) {
    let path = directory.join(["2026-03.db", "2026-04.db", "2026-05.db"][month]);
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn what_is_wrong_is_placed_between_seals_over_months_that_are_checked_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    three_months(directory.path());
    let whole = verified(directory.path());
    assert!(whole.is_sound(), "{:?}", whole.faults);
    assert_eq!((whole.rows, whole.first, whole.last.id, whole.seals), (900, Some(1), 900, 4));
    change(directory.path(), 1, "UPDATE row SET recorded = recorded + 1 WHERE id = 320");
    change(directory.path(), 1, "UPDATE row SET object = ifnull(object, 0) + 1 WHERE id = 330");
    change(directory.path(), 2, "UPDATE row SET recorded = recorded + 1 WHERE id = 800");
    let verified = verified(directory.path());
    let faults: Vec<_> = verified
        .faults
        .iter()
        .map(|fault| (fault.place.as_str(), fault.from, fault.to, fault.what.as_str()))
        .collect();
    // Before the first seal of a month, what held last is in the month before.
    let wanted = [
        ("2026-04", 200, 330, "row 330 is filed under other words"),
        ("2026-04", 200, 449, "the seal does not fit the rows before it"),
        (
            "2026-05",
            700,
            900,
            "the rows after the last seal do not come to the hash that the file says",
        ),
    ];
    assert_eq!(faults, wanted);
    assert_eq!((verified.rows, verified.seals, verified.last), (900, 3, whole.last));
}

#[test]
fn rows_that_no_seal_of_the_key_covers_are_few() {
    let line = |id: u64, kind: &str, subject: &str, signature: &str| {
        format!(
            r#"{{"id":{id},"kind":"{kind}","subject":"{subject}","facts":{{"signature":"{signature}"}}}}"#
        )
    };
    let check = |head: &Hash, signature: &[u8]| signature == head;
    let asked = Asked { check: Some(&check), ..Asked::default() };
    for (rows, is_sound) in [(10, true), (4_096, true), (4_200, false)] {
        let mut chain = Chain::default();
        let mut lines = String::new();
        for id in 1..=rows + 3 {
            let head = hex_of(&chain.head);
            let line =
                if id == 3 { line(id, "seal", &head, &head) } else { line(id, "start", "", "") };
            chain.push(&line);
            lines += &(line + "\n");
        }
        let verified = verify_lines(lines.as_bytes(), asked).unwrap();
        assert_eq!((verified.is_sound(), verified.signed), (is_sound, 1), "{rows}: {verified:?}");
        assert_eq!(verified.rows_behind_seals(), rows + 1);
    }
}

#[test]
fn months_before_the_first_are_missing_unless_an_entry_says_that_they_were_deleted() {
    type Told = Box<dyn Fn(u64, Chain) -> Option<Entry>>;
    let at = |told: fn(Entry, Chain) -> Entry| -> Told {
        Box::new(move |id, last| {
            let entry = Entry::new(EntryKind::Retention, "2026-03", "deleted");
            (id == 650).then(|| told(entry, last))
        })
    };
    for (what, told, is_sound) in [
        ("nobody says it", Box::new(|_, _| None) as Told, false),
        ("an earlier version says it", at(|entry, _| entry), true),
        (
            "it is said",
            at(|entry, last| entry.fact("head", &hex_of(&last.head)).count("last", last.id)),
            true,
        ),
        (
            "something else is said",
            at(|entry, last| entry.fact("head", &hex_of(&last.head)).count("last", last.id - 1)),
            false,
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        months_with(directory.path(), told);
        assert!(verified(directory.path()).is_sound());
        fs::remove_file(directory.path().join("2026-03.db")).unwrap();
        let reader = Reader::open(directory.path(), None).unwrap();
        let found = verify(&reader, Asked::default());
        assert_eq!(found.is_sound(), is_sound, "{what}: {:?}", found.faults);
        assert_eq!(reader.warnings().is_empty(), is_sound, "{what}: {:?}", reader.warnings());
        // One month alone, a time, or what somebody knows to be a part.
        let previous = Some(reader.first().head);
        for asked in [
            Asked { month: Some("2026-04"), ..Asked::default() },
            Asked { previous, ..Asked::default() },
            Asked { seal: previous, ..Asked::default() },
        ] {
            assert!(verify(&reader, asked).is_sound(), "{what}");
        }
        let other = Asked { previous: Some([1; 32]), ..Asked::default() };
        assert!(!verify(&reader, other).is_sound());
        if !is_sound {
            let fault = &found.faults[0];
            assert_eq!((fault.from, fault.to), (1, 300), "{fault:?}");
        }
    }
}

#[test]
fn months_that_have_no_row_of_a_time_are_not_checked_for_it() {
    let directory = tempfile::tempdir().unwrap();
    three_months(directory.path());
    let reader = Reader::open(directory.path(), None).unwrap();
    let mut times = Vec::new();
    let seen = |row: &tripline::engine::ledger::Row| {
        times.push(row.recorded.as_event());
        true
    };
    reader.each(None, seen).unwrap();
    change(directory.path(), 0, "DELETE FROM row WHERE id = 50");
    let checked = |from: usize, to: usize| {
        let period = Some((times[from], times[to]));
        verify(&reader, Asked { period, ..Asked::default() })
    };
    let later = checked(600, 899);
    assert!(later.is_sound() && later.rows == 300, "{:?}", later.faults);
    assert!(!checked(1, 899).is_sound());
    let none = (times[899].plus(Duration::from_secs(9)), times[899].plus(Duration::from_secs(10)));
    let none = verify(&reader, Asked { period: Some(none), ..Asked::default() });
    assert_eq!((none.rows, none.is_sound()), (0, true));
}

#[test]
fn an_older_copy_of_the_newest_month_is_found_by_a_seal_from_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let rows = rows(500);
    write(directory.path(), &rows[..400]);
    settle(directory.path());
    let older = fs::read(newest(directory.path())).unwrap();
    let last = write(directory.path(), &rows);
    settle(directory.path());
    let asked = Asked { seal: Some(last.head), ..Asked::default() };
    let now = Reader::open(directory.path(), None).unwrap();
    assert!(verify(&now, asked).is_sound());
    fs::write(newest(directory.path()), older).unwrap();
    let then = verify(&Reader::open(directory.path(), None).unwrap(), asked);
    assert_eq!((then.faults.len(), then.has_seal, then.is_sound()), (0, Some(false), false));
}

#[test]
fn an_exported_file_is_checked_by_its_lines_alone() {
    let rows = rows(500);
    let lines: Vec<String> = rows.iter().map(|row| row.line()).collect();
    let check = |lines: &[String], previous| {
        verify_lines(lines.join("\n").as_bytes(), Asked { previous, ..Asked::default() }).unwrap()
    };
    let mut chain = Chain::default();
    lines[..200].iter().for_each(|line| chain.push(line));
    let whole = check(&lines, None);
    assert!(whole.is_sound() && whole.rows == 500, "{whole:?}");
    let part = check(&lines[200..], Some(chain.head));
    assert_eq!((part.is_sound(), part.last), (true, whole.last), "with the hash before it");
    let mut changed = lines.clone();
    // Every line has it, whatever it tells.
    changed[250] = changed[250].replacen("\"recorded\":\"2026", "\"recorded\":\"2025", 1);
    assert_ne!(changed, lines);
    // Behind the last seal the head tells, if it was written down; before it the seal does.
    let forged = check(&changed, None);
    assert!(!forged.is_sound() || forged.last != whole.last, "{forged:?}");
    let mut without = lines.clone();
    without.remove(250);
    assert!(!check(&without, None).is_sound());
    assert!(!check(&["{}".to_owned()], None).is_sound());
    assert_eq!(parse_hex(&whole.head()), Some(whole.last.head));
}

#[test]
fn what_no_seal_covers_in_an_exported_file_is_not_sound() {
    let directory = tempfile::tempdir().unwrap();
    three_months(directory.path());
    let lines = lines(directory.path()).unwrap();
    let check = |lines: &[String], asked: Asked<'_>| {
        verify_lines(lines.join("\n").as_bytes(), asked).unwrap()
    };
    assert!(check(&lines, Asked::default()).is_sound());
    // Before its first seal nothing says what a part is.
    let part = check(&lines[2..], Asked::default());
    let places: Vec<_> = part.faults.iter().map(|fault| (fault.from, fault.to)).collect();
    assert_eq!(places, [(3, 99)], "{:?}", part.faults);
    assert!(check(&lines[99..], Asked::default()).is_sound(), "it begins with a seal");
    // Without a seal nothing is proven, however the rest is numbered.
    let others = lines.iter().filter(|line| !line.contains("\"kind\":\"seal\""));
    let forged: Vec<String> = (1..)
        .zip(others)
        .map(|(id, line)| format!("{{\"id\":{id},{}", line.split_once(',').unwrap().1))
        .collect();
    let found = check(&forged, Asked::default());
    assert!(!found.is_sound() && found.covered.is_none() && found.rows == 896, "{found:?}");
    assert!(!check(&[], Asked::default()).is_sound());
    // A hash that somebody wrote down does as well.
    let known = check(&forged, Asked { seal: Some(found.last.head), ..Asked::default() });
    assert!(known.is_sound() && known.rows_behind_seals() == 0, "{known:?}");
    let nobody = |_: &Hash, _: &[u8]| true;
    let unsigned = check(&lines, Asked { check: Some(&nobody), ..Asked::default() });
    assert!(!unsigned.is_sound() && unsigned.covered.is_none(), "{unsigned:?}");
}
