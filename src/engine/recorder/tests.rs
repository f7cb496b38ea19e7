//! Copies, roll-ups, floods, and a ledger whose state was lost.

use super::*;
use crate::engine::limits::{FLOOD_ROWS, FLOOD_SESSIONS};
use crate::engine::{
    access::{Actor, AuditId, Detail, EventPosition, Manner, Object, SessionStep::*, UsageMode},
    rule::KeyParts,
};

fn access(number: u8, seconds: i64, class: &str) -> Access {
    Access {
        at: EventTime::from_micros(seconds * 1_000_000),
        classes: vec![class.into()],
        verb: Some("get".into()),
        outcome: None,
        code: None,
        actor: Actor { id: Some("eve".into()), kind: "human".into(), human: true, team: None },
        groups: Vec::new(),
        on_behalf_of: None,
        credential_id: None,
        source_ip: None,
        claimed_ips: Vec::new(),
        user_agent: None,
        cluster: None,
        object: None,
        permission: None,
        detail: Detail::default(),
        level: None,
        audit_id: AuditId::new("1"),
        request: [number; 16],
        position: EventPosition { topic: "t".into(), partition: 0, offset: 0, index: 0 },
        event_hash: [0; 32],
        session: None,
        duration: None,
        rolled_up: None,
        truncated: false,
        from_future: false,
        rules: Vec::new(),
        rule_set: "".into(),
    }
}

fn batch(observed: Vec<Observed>) -> DetectionBatch {
    DetectionBatch { accesses: observed, ..DetectionBatch::default() }
}

fn each(access: Access) -> Observed {
    Observed::Whole(Box::new(access), Manner { every: None, key: KeyParts::ALL, is_session: false })
}

const NOW: WallTime = WallTime::from_micros(1_000_000_000);

/// Takes what a checkpoint would have, and puts it into another recorder.
fn restored(recorder: &mut Recorder, stored: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Recorder {
    let (mut changes, mut rows) = (Vec::new(), Vec::new());
    recorder.take_changes(&mut changes, &mut rows);
    // The archive has all rows before them.
    let head = stored.get(&head_key()).map(|head| postcard::from_bytes::<Head>(head).unwrap());
    let archive = head.map_or(Chain::default(), |head| Chain { id: head.id, head: head.hash });
    for StateChange { key, value, .. } in changes {
        match value {
            Some(value) => stored.insert(key, value),
            None => stored.remove(&key),
        };
    }
    let mut other = Recorder::new(&EngineSettings::default());
    for (key, value) in stored {
        let table = StateTable::Recorder;
        let entry = StateEntry { table, key: key.clone(), value: value.clone() };
        assert_eq!(other.restore(&entry), Some(()));
    }
    let fresh = rows.len();
    assert_eq!(other.resume(NOW, rows, archive).len(), fresh);
    other
}

#[test]
fn copies_and_roll_ups_are_one_over_restarts() {
    let mut recorder = Recorder::new(&EngineSettings::default());
    let mut stored = BTreeMap::new();
    let every = |access| {
        let (every, key) = (Some(Duration::from_secs(60)), KeyParts::NONE.with(KeyPart::Actor));
        Observed::Whole(Box::new(access), Manner { every, key, is_session: false })
    };
    let first = vec![each(access(1, 5, "a")), each(access(1, 6, "a")), every(access(2, 10, "b"))];
    recorder.handle_batch(NOW, &batch(first), &Clocks::new());
    let mut recorder = restored(&mut recorder, &mut stored);
    // The earliest is the first, whichever comes first.
    let more = vec![each(access(1, 5, "a")), every(access(3, 8, "b")), every(access(4, 59, "b"))];
    recorder.handle_batch(NOW, &batch(more), &Clocks::new());
    let mut recorder = restored(&mut recorder, &mut stored);
    recorder.advance(NOW, EventTime::from_micros(59_999_999), EventTime::MIN);
    let has_ended = |recorder: &Recorder| recorder.fresh.iter().any(|row| row.access().is_some());
    assert!(!has_ended(&recorder), "the roll-up ends with its minute");
    recorder.advance(NOW, EventTime::from_micros(60_000_000), EventTime::MIN);
    let rolled_up = recorder.fresh.iter().find_map(|row| row.access()?.rolled_up).unwrap();
    assert_eq!((rolled_up.count, rolled_up.first.micros()), (3, 8_000_000));
    assert_eq!(rolled_up.last.micros(), 59_000_000);
    let recorder = restored(&mut recorder, &mut stored);
    assert!(recorder.roll_ups.is_empty(), "nothing of it is stored any more");
}

#[test]
fn what_is_rolled_up_is_told_at_the_end_and_what_comes_after_it_counts_once() {
    let every = |access| {
        let (every, key) = (Some(Duration::from_secs(60)), KeyParts::NONE.with(KeyPart::Actor));
        batch(vec![Observed::Whole(Box::new(access), Manner { every, key, is_session: false })])
    };
    let told = |recorder: &Recorder| -> Vec<u64> {
        recorder.fresh.iter().filter_map(|row| row.access()).map(Access::count).collect()
    };
    let mut recorder = Recorder::new(&EngineSettings::default());
    let mut stored = BTreeMap::new();
    recorder.handle_batch(NOW, &every(access(1, 8, "b")), &Clocks::new());
    recorder.handle_batch(NOW, &every(access(2, 9, "b")), &Clocks::new());
    recorder.finish(NOW);
    recorder.finish(NOW);
    assert_eq!(told(&recorder), [2]);
    let mut recorder = restored(&mut recorder, &mut stored);
    recorder.handle_batch(NOW, &every(access(2, 9, "b")), &Clocks::new());
    recorder.handle_batch(NOW, &every(access(3, 10, "b")), &Clocks::new());
    recorder.advance(NOW, EventTime::from_micros(60_000_000), EventTime::MIN);
    assert_eq!(told(&recorder), [1]);
    // What has no room is not lost: it waits.
    recorder.handle_batch(NOW, &every(access(4, 70, "b")), &Clocks::new());
    recorder.hold(99, SPOOL_BYTES_MAX);
    recorder.finish(NOW);
    assert_eq!((told(&recorder).len(), recorder.counts().shed), (1, 0));
    let recorder = restored(&mut recorder, &mut stored);
    assert!(!recorder.roll_ups.is_empty());
}

#[test]
fn a_flood_loses_names_first_and_then_accesses_and_it_is_told() {
    let mut recorder = Recorder::new(&EngineSettings::default());
    for number in 0..FLOOD_ROWS + 100 {
        let mut access = access(0, 5, "a");
        access.request[..8].copy_from_slice(&number.to_le_bytes());
        recorder.handle_batch(NOW, &batch(vec![each(access)]), &Clocks::new());
    }
    assert_eq!(recorder.chain().id, FLOOD_ROWS);
    assert_eq!(recorder.counts().names_left_out, 100);
    // The archive stands still: what is full takes entries, and in the end nothing.
    for number in 0..SPOOL_ROWS_MAX {
        recorder.hold(number as u64, 1);
    }
    recorder.advance(NOW, EventTime::from_micros(3_600_000_000), EventTime::MIN);
    recorder.entry(NOW, Entry::new(EntryKind::Stop, "1", "stopped"));
    // The end, and the hour in which accesses were shed.
    assert_eq!((recorder.counts().shed, recorder.counts().entries_lost), (100, 2));
    recorder.spool.clear();
    recorder.spool_bytes = 0;
    recorder.advance(NOW, EventTime::from_micros(3_600_000_001), EventTime::MIN);
    let gap =
        recorder.fresh.iter().filter_map(|row| row.entry()).find(|e| e.kind == EntryKind::Gap);
    let gap = gap.expect("what was shed is told");
    assert_eq!(gap.count_of("accesses"), 100);
}

/// A step of a session.
fn step(number: u64, seconds: i64, step: SessionStep) -> Access {
    let mut access = access(0, seconds, "session");
    access.request[..8].copy_from_slice(&number.to_le_bytes());
    access.session = Some(step);
    access.duration = (step == End).then_some(1_000_000);
    access
}

/// What stands in the rows of accesses: of which session which step, and of a roll-up how many.
fn steps(recorder: &Recorder) -> Vec<(Option<SessionStep>, Option<u64>)> {
    let of = |row: &Arc<Row>| {
        row.access().map(|access| (access.session, access.rolled_up.map(|one| one.count)))
    };
    recorder.fresh.iter().filter_map(of).collect()
}

#[test]
fn of_a_flood_of_sessions_each_counts_once_and_no_end_is_one() {
    let mut recorder = Recorder::new(&EngineSettings::default());
    let mut hear = |access| recorder.handle_batch(NOW, &batch(vec![each(access)]), &Clocks::new());
    // Other classes take no room from sessions.
    for number in 0..FLOOD_ROWS {
        let mut access = step(1_000_000 + number, 5, Start);
        (access.session, access.classes) = (None, vec!["privileged".into()]);
        hear(access);
    }
    let mut privileged = |access: Access| {
        hear(Access { classes: vec!["privileged".into(), "session".into()], ..access });
    };
    for number in 0..FLOOD_SESSIONS + 40 {
        privileged(step(number, 5, Start));
        privileged(step(number, 6, End));
    }
    // Of these the log has the end alone, and of that one the end comes first.
    for number in 0..7 {
        privileged(step(2_000_000 + number, 7, End));
        privileged(step(2_000_000 + number, 8, End));
    }
    privileged(step(2_000_000, 6, Start));
    // One that began before ends as it began.
    privileged(step(0, 9, End));
    assert_eq!(recorder.counts().names_left_out, 47);
    recorder.advance(NOW, EventTime::from_micros(3_600_000_000), EventTime::MIN);
    let steps = steps(&recorder);
    let most = usize::try_from(FLOOD_SESSIONS).unwrap();
    let of = |step| steps.iter().filter(|(found, _)| *found == Some(step)).count();
    assert_eq!((of(Start), of(End)), (most, most));
    let rolled_up: Vec<_> = steps.iter().filter(|(_, count)| count.is_some()).collect();
    assert_eq!(rolled_up, [&(Some(Whole), Some(47))]);
    let first = recorder.fresh.iter().filter_map(|row| row.access()).find(|a| a.count() == 47);
    assert_eq!(first.unwrap().duration, None);
}

#[test]
fn the_end_of_a_watch_that_somebody_held_for_hours_is_no_other_request() {
    let mut recorder = Recorder::new(&EngineSettings::default());
    let mut watch = |seconds: i64, kind: &str| {
        let mut access = access(1, seconds, "a");
        access.verb = Some("watch".into());
        access.request[0] = u8::from(kind == "human");
        access.actor = Actor { kind: kind.into(), human: kind == "human", ..access.actor };
        // All before it has come to rest.
        let watermark = access.at;
        recorder.advance(NOW, watermark, watermark);
        recorder.handle_batch(NOW, &batch(vec![each(access)]), &Clocks::new());
        recorder.counts().duplicates
    };
    let told: Vec<u64> = [(5, "human"), (7_200, "human"), (7_300, "node"), (14_400, "node")]
        .map(|(at, kind)| watch(at, kind))
        .to_vec();
    // Machines hold theirs for minutes; so many are not remembered for a day.
    assert_eq!(told, [0, 1, 1, 1]);
}

#[test]
fn sessions_that_a_rule_rolls_up_count_once_over_restarts() {
    let rolled = |access| {
        let (every, key) = (Some(Duration::from_secs(60)), KeyParts::ALL);
        batch(vec![Observed::Whole(Box::new(access), Manner { every, key, is_session: true })])
    };
    let mut recorder = Recorder::new(&EngineSettings::default());
    let mut stored = BTreeMap::new();
    recorder.handle_batch(NOW, &rolled(step(1, 5, Start)), &Clocks::new());
    recorder.handle_batch(NOW, &rolled(step(2, 5, End)), &Clocks::new());
    let mut recorder = restored(&mut recorder, &mut stored);
    recorder.handle_batch(NOW, &rolled(step(1, 6, End)), &Clocks::new());
    recorder.handle_batch(NOW, &rolled(step(2, 4, Start)), &Clocks::new());
    // A rule that came meanwhile makes no other session of what has a row.
    recorder.handle_batch(NOW, &batch(vec![each(step(3, 7, Start))]), &Clocks::new());
    recorder.handle_batch(NOW, &rolled(step(3, 8, End)), &Clocks::new());
    recorder.advance(NOW, EventTime::from_micros(60_000_000), EventTime::MIN);
    assert_eq!(steps(&recorder), [(Some(Start), None), (Some(End), None), (Some(Whole), Some(2))]);
}

#[test]
fn names_that_a_roll_up_leaves_out_are_told_from_lists() {
    let left_out = |verb: &str, name: Option<&str>, below: Option<&str>| {
        let mut recorder = Recorder::new(&EngineSettings::default());
        let mut access = access(1, 5, "a");
        access.verb = Some(verb.into());
        let (name, subresource) = (name.map(Into::into), below.map(Into::into));
        let object = Object { resource: "secrets".into(), name, subresource, ..Object::default() };
        access.object = Some(object);
        let (every, key) = (Some(Duration::from_secs(60)), KeyParts::ALL.without(KeyPart::Name));
        let manner = Manner { every, key, is_session: false };
        recorder.handle_batch(
            NOW,
            &batch(vec![Observed::Whole(Box::new(access), manner)]),
            &Clocks::new(),
        );
        recorder.finish(NOW);
        let told = recorder.fresh.iter().find_map(|row| row.access()).unwrap();
        assert_eq!(told.object.as_ref().unwrap().name, None);
        told.names_left_out()
    };
    for (verb, name, below, expected) in [
        ("get", Some("db"), None, true),
        ("delete", Some("db"), None, true),
        ("create", Some("db"), Some("exec"), true),
        ("create", None, None, false),
        ("list", None, None, false),
        ("watch", None, None, false),
        ("deletecollection", None, None, false),
        ("watch", Some("db"), None, true),
    ] {
        assert_eq!(left_out(verb, name, below), expected, "{verb} {name:?}");
    }
}

#[test]
fn a_ledger_whose_state_was_lost_goes_on_behind_its_archive() {
    let mut recorder = Recorder::new(&EngineSettings::default());
    let archive = Chain { id: 700, head: [7; 32] };
    assert!(recorder.resume(NOW, Vec::new(), archive).is_empty());
    recorder.entry(NOW, Entry::new(EntryKind::Start, "1", "started"));
    assert_eq!((recorder.chain().id, recorder.fresh[0].id), (702, 701));
    let told = recorder.fresh[0].entry().unwrap();
    assert_eq!((told.kind, told.what.as_str()), (EntryKind::Gap, "rewound"));
    assert_eq!((told.count_of("checkpoint"), told.count_of("ledger")), (0, 700));
}

/// The rows that wait are not those of the ledger that is there by now: none is taken for one of its rows, nor put behind a
/// row that it does not follow.
#[test]
fn rows_that_wait_go_behind_a_ledger_of_another_chain() {
    let entry = |number: u64| Entry::new(EntryKind::Start, &number.to_string(), "started");
    let other = |id| Chain { id, head: [7; 32] };
    // The ledger is ahead, as far, where the rows begin, and before all of them; the last is a hole for which somebody may
    // still put back the month that has it.
    for (archive, begin) in [(300, Some(301)), (5, Some(6)), (2, Some(3)), (1, None)] {
        let mut recorder = Recorder::new(&EngineSettings::default());
        for number in 1..=2 {
            recorder.entry(NOW, entry(number));
        }
        let (mut stored, mut rows) = (Vec::new(), Vec::new());
        recorder.take_changes(&mut stored, &mut rows);
        rows.clear();
        for number in 3..=5 {
            recorder.entry(NOW, entry(number));
        }
        recorder.take_changes(&mut stored, &mut rows);
        let mut again = Recorder::new(&EngineSettings::default());
        for StateChange { table, key, value } in stored {
            again.restore(&StateEntry { table, key, value: value.unwrap() }).unwrap();
        }
        let left = again.resume(NOW, rows, other(archive));
        let Some(begin) = begin else {
            assert_eq!((left.len(), again.chain()), (3, recorder.chain()));
            continue;
        };
        let mut chain = other(archive);
        for row in &again.fresh {
            chain.push(&row.line());
        }
        assert!(left.is_empty() && again.fresh[0].id == begin && chain == again.chain());
        let told: Vec<_> =
            again.fresh.iter().map(|row| &row.entry().unwrap().subject[..]).collect();
        assert_eq!(told, ["ledger", "3", "4", "5"]);
    }
}

/// Secrets that somebody read by a permission.
fn used(seconds: i64, name: &str) -> Usage {
    let mut access = access(0, seconds, "x");
    access.object = Some(Object {
        resource: "secrets".into(),
        namespace: Some("shop".into()),
        name: Some(name.into()),
        ..Object::default()
    });
    Usage::of(access).unwrap()
}

fn uses(usage: Vec<Usage>) -> DetectionBatch {
    DetectionBatch { usage, ..DetectionBatch::default() }
}

#[test]
fn what_is_told_again_is_no_loss_and_an_hour_tells_of_uses_that_it_lacks() {
    let mut recorder = Recorder::new(&EngineSettings::default());
    recorder.handle_batch(NOW, &uses(vec![used(5, "a")]), &Clocks::new());
    recorder.hold(99, SPOOL_BYTES_MAX);
    recorder.handle_batch(NOW, &uses(vec![used(6, "a"), used(7, "b")]), &Clocks::new());
    assert_eq!(recorder.counts().shed, 1);
    recorder.spool.clear();
    recorder.spool_bytes = 0;
    recorder.advance(NOW, EventTime::from_micros(7_200_000_000), EventTime::MIN);
    let entries = recorder.fresh.iter().filter_map(|row| row.entry());
    let told: Vec<_> = entries
        .map(|entry| (entry.kind, entry.count_of("accesses") + entry.count_of("shed")))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(told, [(EntryKind::Coverage, 1), (EntryKind::Gap, 1)]);
}

#[test]
fn a_use_of_a_permission_is_told_once_a_day_over_restarts() {
    const DAY: i64 = 86_400;
    let told = |recorder: &Recorder| -> Vec<(String, bool)> {
        let rows = recorder.fresh.iter().filter_map(|row| row.usage());
        let name = |usage: &Usage| usage.name().map(ToString::to_string).unwrap_or_default();
        rows.map(|usage| (name(usage), usage.has_more_names)).collect()
    };
    let mut recorder = Recorder::new(&EngineSettings::default());
    let mut stored = BTreeMap::new();
    recorder.handle_batch(
        NOW,
        &uses(vec![used(5, "a"), used(6, "a"), used(7, "b")]),
        &Clocks::new(),
    );
    assert_eq!(told(&recorder), [("a".to_owned(), false), ("b".to_owned(), false)]);
    let mut recorder = restored(&mut recorder, &mut stored);
    let more = ["a", "b", "c", "d", "e", "f"].map(|name| used(8, name));
    recorder.handle_batch(NOW, &uses(more.to_vec()), &Clocks::new());
    let expected = [("c".to_owned(), false), ("d".to_owned(), false), (String::new(), true)];
    assert_eq!(told(&recorder), expected);
    let mut recorder = restored(&mut recorder, &mut stored);
    recorder.handle_batch(NOW, &uses(vec![used(9, "g"), used(DAY + 1, "a")]), &Clocks::new());
    assert_eq!(told(&recorder), [("a".to_owned(), false)], "of another day");
    // A day after its end nobody knows any more what was told of it, and what comes then is told as a gap.
    recorder.advance(NOW, EventTime::from_micros(2 * DAY * 1_000_000), EventTime::MIN);
    recorder.handle_batch(NOW, &uses(vec![used(9, "a"), used(9, "b")]), &Clocks::new());
    assert_eq!((told(&recorder).len(), recorder.counts().usage_late), (1, 2));
    let gaps = recorder.fresh.iter().filter_map(|row| row.entry());
    let gaps = gaps.filter(|entry| entry.kind == EntryKind::Gap && entry.subject == "usage");
    assert_eq!(gaps.count(), 1);
    drop(restored(&mut recorder, &mut stored));
    let is_usage = |key: &&Vec<u8>| matches!(postcard::from_bytes(key), Ok(Key::Usage(_)));
    assert_eq!(stored.keys().filter(is_usage).count(), 1, "the first day is forgotten");
}

#[test]
fn hours_say_whose_use_of_permissions_was_recorded() {
    let hour = |number: i64| EventTime::from_micros(number * 3_600_000_000);
    let mut days = UsageDays::new(UsageMode::People);
    days.advance(hour(10));
    assert_eq!(days.mode_of(10), UsageMode::People);
    // Whoever starts it again with another mode has hours of both.
    let since = days.take_since().unwrap();
    let mut days = UsageDays::new(UsageMode::All);
    days.restore_since(since);
    days.resume();
    days.advance(hour(20));
    let modes = [20, 21, 22].map(|number| days.mode_of(number));
    assert_eq!(modes, [UsageMode::People, UsageMode::People, UsageMode::All]);
    // An earlier version recorded nobody's.
    let mut days = UsageDays::new(UsageMode::All);
    days.resume();
    days.advance(hour(5));
    assert_eq!([6, 7].map(|number| days.mode_of(number)), [UsageMode::Off, UsageMode::All]);
}
