//! Month files: written once, found by every question, kept as long as they should be.

use std::{
    collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc,
    time::Duration,
};

use rusqlite::Connection;
use tripline::{
    archive::{
        Archive, ArchiveError, Cursor, Filter, Limits, MonthStatus, Query, Reader, months,
        verify::{Asked, verify},
    },
    engine::{
        access::{Access, Outcome, RollUp, SessionStep},
        ledger::{Chain, Content, EntryKind, Row},
        time::{EventTime, WallTime},
    },
    generate::{GenerateSettings, Generator},
};

use super::{Recording, earlier::as_before, rules};

pub(super) const LIMITS: Limits = Limits { free_min: 0, size_max: u64::MAX, months: 13 };

const RULES: &str = "
title: All
name: all
logsource: {product: kubernetes, service: audit}
detection: {any: {objectRef.resource|exists: true}, condition: any}
tripline: {record: all}
";

/// Rows of some ordinary traffic, of the last minutes of a month and the first of the next.
pub(super) fn rows(count: usize) -> Vec<Arc<Row>> {
    rows_from("2026-03-31T23:58:30Z", count)
}

pub(super) fn rows_from(start: &str, count: usize) -> Vec<Arc<Row>> {
    let start = EventTime::parse(start).unwrap();
    let mut recording = Recording::new(&rules(RULES), start);
    let settings = GenerateSettings {
        seed: 5,
        start,
        rate: 5.0,
        event_lists_per_mille: 0,
        ..GenerateSettings::default()
    };
    for record in Generator::new(settings) {
        if recording.rows.len() >= count {
            break;
        }
        recording.read(0, record.time, &[&record.payload]);
    }
    recording.rows.truncate(count);
    recording.rows
}

pub(super) fn write(directory: &Path, rows: &[Arc<Row>]) -> Chain {
    let mut archive = Archive::new(directory, LIMITS);
    archive.append(rows).unwrap();
    archive.last()
}

pub(super) fn query(filters: Vec<Filter>) -> Query {
    Query { filters, from: EventTime::MIN, to: EventTime::MAX, after: None, limit: 7 }
}

/// All rows that a query wants, page by page.
pub(super) fn pages(reader: &Reader, mut query: Query) -> Vec<Row> {
    let mut found = Vec::new();
    loop {
        let page = reader.page(&query).unwrap();
        assert!(page.rows.len() <= query.limit);
        found.extend(page.rows);
        query.after = page.next;
        if query.after.is_none() {
            return found;
        }
    }
}

#[test]
fn what_is_written_is_read_whatever_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let rows = rows(900);
    let mut archive = Archive::new(directory.path(), LIMITS);
    // Pieces that overlap, as after a crash between writing and being told so.
    for start in (0..rows.len()).step_by(100) {
        let from = start.saturating_sub(30);
        let to = (start + 100).min(rows.len());
        assert_eq!(archive.append(&rows[from..to]).unwrap(), to as u64);
        if start.is_multiple_of(300) {
            archive = Archive::new(directory.path(), LIMITS);
        }
    }
    let mut chain = Chain::default();
    for row in &rows {
        chain.push(&row.line());
    }
    assert_eq!(archive.last(), chain);
    let reader = Reader::open(directory.path(), None).unwrap();
    let mut read = Vec::new();
    reader
        .each(None, |row| {
            read.push(row.clone());
            true
        })
        .unwrap();
    let written: Vec<Row> = rows.iter().map(|row| (**row).clone()).collect();
    assert!(read == written, "rows are read as they were written");
    let months: Vec<String> =
        reader.status().unwrap().into_iter().map(|status| status.month).collect();
    assert_eq!(months, ["2026-03", "2026-04"], "the records pass midnight of a month");
    assert!(reader.holes().is_empty() && reader.problems().is_empty());
}

/// Questions about names that rows have, as each index is asked.
pub(super) fn questions(rows: &[Arc<Row>]) -> Vec<Vec<Filter>> {
    let accesses = rows.iter().filter_map(|row| row.access());
    let mut filters = vec![vec![], vec![Filter::Accesses], vec![Filter::Class("all".to_owned())]];
    for access in accesses.step_by(97) {
        let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or("nobody").to_owned();
        filters.push(vec![Filter::Actor(text(&access.actor.id))]);
        filters.push(vec![Filter::Source(text(&access.source_ip))]);
        filters.push(vec![Filter::Credential(text(&access.credential_id))]);
        filters.extend(access.permission.as_ref().map(|one| vec![Filter::Permission(one.name())]));
        let object = access.object.as_ref().unwrap();
        let (resource, namespace) = (object.resource.to_string(), object.namespace.as_deref());
        filters.extend(namespace.map(|one| vec![Filter::Namespace(one.to_owned())]));
        let object = Filter::Object {
            resource,
            namespace: namespace.map(str::to_owned),
            name: object.name.as_deref().map(str::to_owned),
        };
        for verbs in [vec!["get", "list"], vec![access.verb.as_deref().unwrap_or("")], vec!["nod"]]
        {
            let verbs = verbs.into_iter().map(str::to_owned).collect();
            filters.push(vec![object.clone(), Filter::Verbs(verbs)]);
        }
        filters.push(vec![object.clone()]);
        filters.push(vec![Filter::Usage, object]);
        filters.push(vec![Filter::Usage, Filter::Actor(text(&access.actor.id))]);
    }
    filters.push(vec![Filter::Actor("nobody at all".to_owned())]);
    filters
}

/// Asks everything, and says how many questions found something.
pub(super) fn check_questions(directory: &Path, rows: &[Arc<Row>], limit: usize) -> usize {
    let reader = Reader::open(directory, None).unwrap();
    let mut found_any = 0;
    for filters in questions(rows) {
        let query = Query { limit, ..query(filters) };
        let mut naive: Vec<&Row> =
            rows.iter().map(|row| &**row).filter(|row| query.fits(row)).collect();
        naive.sort_by_key(|row| Cursor::behind(row));
        let said = pages(&reader, query.clone());
        assert!(said.iter().eq(naive.iter().copied()), "{:?}", query.filters);
        found_any += usize::from(!said.is_empty());
    }
    found_any
}

#[test]
fn every_question_finds_what_a_loop_finds() {
    let directory = tempfile::tempdir().unwrap();
    let rows = rows(1_200);
    write(directory.path(), &rows);
    let found = check_questions(directory.path(), &rows, 50);
    assert!(found > 40, "only {found} questions found anything");
}

/// Whoever asks who read something does not wait for all that was done to it otherwise.
#[test]
fn rows_with_another_verb_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let rows = rows(1_200);
    write(directory.path(), &rows);
    for (_, path) in months(directory.path()).unwrap() {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let broken = "UPDATE row SET body = x'' WHERE object IN (SELECT object.id FROM object
            JOIN text ON text.id = object.verb WHERE text NOT IN ('get', 'list'))";
        assert!(Connection::open(path).unwrap().execute(broken, []).unwrap() > 50);
    }
    let reader = Reader::open(directory.path(), None).unwrap();
    let mut found = 0;
    for filters in questions(&rows) {
        let [Filter::Object { .. }, Filter::Verbs(verbs)] = filters.as_slice() else { continue };
        if verbs.iter().all(|verb| verb == "get" || verb == "list") {
            let query = query(filters);
            let mut naive: Vec<&Row> =
                rows.iter().map(|row| &**row).filter(|row| query.fits(row)).collect();
            naive.sort_by_key(|row| Cursor::behind(row));
            let said = pages(&reader, query);
            assert!(said.iter().eq(naive));
            found += said.len();
        }
    }
    assert!(found > 30, "only {found} rows were found");
}

/// Rows that were read at once, but happened on days that are far from each other, and within one second.
#[test]
fn rows_of_one_second_and_of_days_before_1970_come_in_the_order_of_time() {
    let directory = tempfile::tempdir().unwrap();
    let day = 86_400_000_000_i64;
    let rows: Vec<Arc<Row>> = rows_from("2026-03-10T12:00:00Z", 700)
        .iter()
        .zip(0_i64..)
        .map(|(row, number)| {
            let mut row = (**row).clone();
            // In each second they come the other way round, and some at one time.
            let second = number / 60 * 1_000_000;
            let at = second + 999_999 - number % 60 / 2 * 7;
            let far = [0, day, -day, 20_521 * day, -20_521 * day + 1, -1, 90_000 * day]
                [usize::try_from(number % 7).unwrap()];
            let at = EventTime::from_micros(far + at);
            match &mut row.content {
                Content::Access(access) => access.at = at,
                Content::Usage(usage) => usage.at = at,
                Content::Entry(entry) => {
                    entry.at = Some(at);
                    // Those that were made with these rows do not fit what is made of them.
                    if entry.kind == EntryKind::Seal {
                        entry.kind = EntryKind::Comment;
                    }
                }
            }
            Arc::new(row)
        })
        .collect();
    write(directory.path(), &rows);
    for limit in [3, 50, 10_000] {
        let found = check_questions(directory.path(), &rows, limit);
        assert!(found > 20, "only {found} questions found anything");
    }
    let reader = Reader::open(directory.path(), None).unwrap();
    let actor = rows.iter().find_map(|row| row.access()?.actor.id.clone()).unwrap();
    let mut times: Vec<EventTime> = rows.iter().map(|row| row.at()).collect();
    times.sort_unstable();
    for ends in times.windows(60).step_by(31) {
        let (from, to) = (ends[0], ends[59]);
        let query = Query { from, to, ..query(vec![Filter::Actor(actor.to_string())]) };
        let mut naive: Vec<&Row> =
            rows.iter().map(|row| &**row).filter(|row| query.fits(row)).collect();
        naive.sort_by_key(|row| Cursor::behind(row));
        assert!(pages(&reader, query).iter().eq(naive), "{from:?} {to:?}");
    }
    assert!(reader.has_text("actor", &actor).unwrap());
    assert!(!reader.has_text("source", &actor).unwrap());
    assert!(verify(&reader, Asked::default()).is_sound());
}

#[test]
fn objects_of_few_rows_are_found_behind_many_others() {
    let directory = tempfile::tempdir().unwrap();
    let some = rows(400);
    let start = some[0].recorded;
    // Each some seconds behind the other, over two months, and now and then later than what was written before it.
    let many: Vec<Arc<Row>> = (0..24_000_u32)
        .map(|number| {
            let mut row = (*some[number as usize % some.len()]).clone();
            row.id = u64::from(number) + 1;
            row.recorded = start.plus(Duration::from_secs(60) * number);
            if let Content::Access(access) = &mut row.content {
                access.at = row.recorded.as_event().minus(Duration::from_secs(7) * (number % 19));
                let object = access.object.as_mut().unwrap();
                object.namespace = Some(if number % 97 == 5 { "few" } else { "many" }.into());
                if number % 50 == 3 {
                    access.session = Some(SessionStep::Start);
                }
                if number % 1_000 == 9 {
                    object.name = Some("one".into());
                    let is_secret = number % 2_000 == 9;
                    object.resource = if is_secret { "secrets" } else { "pods" }.into();
                }
            }
            Arc::new(row)
        })
        .collect();
    write(directory.path(), &many);
    let reader = Reader::open(directory.path(), None).unwrap();
    let named = |resource: &str, namespace: Option<&str>| Filter::Object {
        resource: resource.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: Some("one".to_owned()),
    };
    for filters in [
        vec![Filter::Namespace("few".to_owned())],
        vec![Filter::Namespace("few".to_owned()), Filter::People],
        vec![Filter::Namespace("few".to_owned()), Filter::Outcome(Outcome::Denied)],
        vec![Filter::Namespace("many".to_owned()), Filter::Sessions],
        vec![named("secrets", Some("many"))],
        vec![named("pods", None), Filter::Accesses],
    ] {
        let query = Query { limit: 90, ..query(filters) };
        let mut naive: Vec<&Row> =
            many.iter().map(|row| &**row).filter(|row| query.fits(row)).collect();
        naive.sort_by_key(|row| Cursor::behind(row));
        let said = pages(&reader, query.clone());
        assert!(said.iter().eq(naive.iter().copied()), "{:?}", query.filters);
        assert!(!said.is_empty(), "{:?}", query.filters);
    }
}

#[test]
fn months_leave_by_age_and_size_and_rows_that_are_missing_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let rows = rows(900);
    write(directory.path(), &rows);
    let now = |text: &str| -> WallTime { EventTime::parse(text).unwrap().as_wall() };
    // A clock that is wrong by years makes no event older: the newest one is of April.
    let archive = Archive::new(directory.path(), Limits { months: 2, ..LIMITS });
    assert_eq!(archive.due(now("2036-04-30T23:00:00Z")).unwrap(), []);
    let mut archive = Archive::new(directory.path(), Limits { months: 1, ..LIMITS });
    archive.open().unwrap();
    assert_eq!(archive.due(now("2026-03-31T23:59:00Z")).unwrap(), []);
    let due = archive.due(now("2026-05-01T00:00:00Z")).unwrap();
    assert_eq!((due.len(), due[0].month.as_str(), due[0].why), (1, "2026-03", "age"));
    archive.delete(&due[0]).unwrap();
    // What is left names the hash before it, so it can be checked alone.
    let reader = Reader::open(directory.path(), None).unwrap();
    let status = reader.status().unwrap();
    assert!(status.len() == 1 && status[0].previous.id > 0);
    // A row that does not follow is not taken.
    let mut skipped = (*rows[0]).clone();
    skipped.id = 2_000;
    let error = archive.append(&[Arc::new(skipped)]).unwrap_err();
    assert!(matches!(error, ArchiveError::Hole { last: 900, next: 2_000, .. }), "{error}");
    drop(archive);
    let mut small = Archive::new(directory.path(), Limits { free_min: u64::MAX, ..LIMITS });
    let mut next = (*rows[0]).clone();
    next.id = 901;
    let error = small.append(&[Arc::new(next)]).unwrap_err();
    assert!(matches!(error, ArchiveError::NoRoom { .. }), "{error}");
}

#[test]
fn counts_of_rows_are_those_that_a_loop_counts_and_months_of_earlier_versions_get_them() {
    let directory = tempfile::tempdir().unwrap();
    let rows = rows(1_000);
    write(directory.path(), &rows[..900]);
    let counted = |rows: &[Arc<Row>]| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for row in rows {
            let names: Vec<String> = match &row.content {
                Content::Access(access) => access.classes.iter().map(ToString::to_string).collect(),
                Content::Entry(entry) => vec![entry.kind.as_str().to_owned()],
                Content::Usage(_) => vec!["usage".to_owned()],
            };
            for name in names {
                *counts.entry(name).or_default() += 1;
            }
        }
        counts
    };
    let all = |months: Vec<MonthStatus>| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (name, count) in months.into_iter().filter_map(|month| month.rows).flatten() {
            *counts.entry(name).or_default() += count;
        }
        counts
    };
    let reader = || Reader::open(directory.path(), None).unwrap();
    assert_eq!(reader().heads().len(), 2);
    assert_eq!(all(reader().heads()), counted(&rows[..900]));
    // As the version before wrote them.
    for (_, path) in months(directory.path()).unwrap() {
        as_before(&path);
        let file = Connection::open(path).unwrap();
        file.execute_batch("DROP TABLE count; PRAGMA user_version = 2").unwrap();
    }
    assert!(reader().heads().iter().all(|month| month.rows.is_none()));
    assert_eq!(all(reader().status().unwrap()), counted(&rows[..900]));
    assert!(verify(&reader(), Asked::default()).is_sound());
    // The month that is written has counts from now on.
    write(directory.path(), &rows);
    let has: Vec<bool> = reader().heads().iter().map(|month| month.rows.is_some()).collect();
    assert_eq!(has, [false, true]);
    assert_eq!(all(reader().status().unwrap()), counted(&rows));
    assert!(verify(&reader(), Asked::default()).is_sound());
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_others_answer() {
    let directory = tempfile::tempdir().unwrap();
    let rows = rows(900);
    write(directory.path(), &rows);
    fs::write(directory.path().join("2026-02.db"), "not a database, but long enough").unwrap();
    fs::write(directory.path().join("notes.txt"), "ours to ignore").unwrap();
    let reader = Reader::open(directory.path(), None).unwrap();
    assert_eq!(reader.problems().len(), 1);
    assert!(reader.problems()[0].to_string().contains("2026-02.db"), "{}", reader.problems()[0]);
    // Uses of permissions are for those who ask for them.
    let (used, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.usage().is_some());
    let found = |filters| pages(&reader, Query { limit: 500, ..query(filters) }).len();
    assert_eq!((found(vec![]), found(vec![Filter::Usage])), (others.len(), used.len()));
    let nothing = tempfile::tempdir().unwrap();
    assert!(Reader::open(nothing.path(), None).unwrap_err().to_string().contains("no ledger here"));
}

/// Rows that pass the midnight of a month, of which some stand for requests of up to an hour.
fn rolled_up() -> Vec<Arc<Row>> {
    let some = rows(900);
    let start = some[0].at();
    let roll_up = |(number, row): (u32, &Arc<Row>)| {
        let mut row = (**row).clone();
        if let Content::Access(access) = &mut row.content {
            // An hour and a half, in place of some minutes.
            access.at = start.plus(Duration::from_secs(9) * number);
            if number % 7 == 3 {
                let lasts = Duration::from_secs(u64::from(number * 131 % 3_600));
                let (first, last) = (access.at, access.at.plus(lasts));
                access.rolled_up = Some(RollUp { count: 2 + u64::from(number % 5), first, last });
            }
        } else if let Content::Entry(entry) = &mut row.content
            && entry.kind == EntryKind::Seal
        {
            // Of rows that are others now.
            entry.kind = EntryKind::Comment;
        }
        Arc::new(row)
    };
    (0..).zip(&some).map(roll_up).collect()
}

#[test]
fn a_roll_up_is_found_by_every_time_into_which_it_lasts() {
    let directory = tempfile::tempdir().unwrap();
    let rows = rolled_up();
    write(directory.path(), &rows);
    let reader = Reader::open(directory.path(), None).unwrap();
    assert_eq!(reader.status().unwrap().len(), 2);
    let (first, hour) = (rows[0].at(), Duration::from_secs(3_600));
    let mut found_before = 0;
    for minutes in (0..100).step_by(9) {
        let from = first.plus(hour * minutes / 60);
        let to = from.plus(hour / 6);
        for filters in questions(&rows).into_iter().step_by(3) {
            let is_usage = filters.contains(&Filter::Usage);
            for limit in [3, 1_000] {
                let query = Query { from, to, limit, ..query(filters.clone()) };
                let overlaps = |row: &&Row| {
                    let last = row.access().map_or(row.at(), Access::last);
                    row.at() < to && last >= from && row.usage().is_some() == is_usage
                };
                let rows = rows.iter().map(|row| &**row).filter(overlaps);
                let mut naive: Vec<&Row> =
                    rows.filter(|row| filters.iter().all(|filter| filter.fits(row))).collect();
                naive.sort_by_key(|row| Cursor::behind(row));
                found_before += naive.iter().filter(|row| row.at() < from).count();
                assert!(
                    pages(&reader, query).into_iter().eq(naive.into_iter().cloned()),
                    "{filters:?}"
                );
            }
        }
    }
    assert!(found_before > 100, "only {found_before}");
}

#[test]
fn how_long_roll_ups_last_is_checked_and_nobody_relies_on_what_an_earlier_version_wrote_behind() {
    let directory = tempfile::tempdir().unwrap();
    let rows = rolled_up();
    write(directory.path(), &rows);
    let change = |sql: &str| {
        for (_, path) in months(directory.path()).unwrap() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            Connection::open(path).unwrap().execute_batch(sql).unwrap();
        }
    };
    let found = || {
        let reader = Reader::open(directory.path(), None).unwrap();
        let from = rows[500].at().plus(Duration::from_secs(60));
        pages(&reader, Query { from, ..query(Vec::new()) }).len()
    };
    let all = found();
    let is_sound =
        || verify(&Reader::open(directory.path(), None).unwrap(), Asked::default()).is_sound();
    assert!(is_sound());
    // It is of all rows but the last: of that one, which an earlier version wrote, nobody knows.
    change("UPDATE meta SET value = '0 ' || (SELECT max(id) - 1 FROM row) WHERE name = 'longest'");
    assert!(is_sound() && found() == all);
    change("UPDATE meta SET value = '0 ' || (SELECT max(id) FROM row) WHERE name = 'longest'");
    assert!(found() < all, "so it hides rows");
    assert!(!is_sound());
    change("DELETE FROM meta WHERE name = 'longest'");
    assert!(is_sound() && found() == all);
}
