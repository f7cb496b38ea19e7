//! Pages of every question that has a cursor: each row once, in one order, whatever the limit and however many rows are
//! of one time.

use std::sync::Arc;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tripline::{
    archive::Reader,
    ask::{Params, QuestionKind, deliveries, history, timeline, who_did},
    engine::{
        access::{Access, Actor, AuditId, Detail, EventPosition, Object},
        ledger::{Body, Content, Entry, EntryKind, Row},
        time::{EventTime, WallTime},
    },
};

use super::archive::write;

const DAY: i64 = 86_400_000_000;

/// Times that lie side by side: within a second, at its end, and at that of a day.
const TIMES: [i64; 6] = [DAY - 2, DAY - 1, DAY, DAY + 1, DAY + 999_999, DAY + 1_000_000];

/// What a row is made of: what it tells, when, who, and what of.
type Seed = (u8, usize, usize, usize);

const ACTORS: [&str; 2] = ["anna", "eve"];
const NAMES: [Option<&str>; 3] = [Some("db"), Some("web"), None];
const SOURCES: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
const CREDENTIALS: [&str; 2] = ["JTI=1", "JTI=2"];

fn access((_, time, who, what): Seed) -> Access {
    let name = NAMES[what % NAMES.len()];
    Access {
        at: EventTime::from_micros(TIMES[time]),
        classes: vec!["secret_read".into()],
        verb: Some("get".into()),
        outcome: None,
        code: None,
        actor: Actor {
            id: Some(ACTORS[who].into()),
            kind: "human".into(),
            human: true,
            team: None,
        },
        groups: Vec::new(),
        on_behalf_of: (what == 0).then(|| ACTORS[1 - who].into()),
        credential_id: Some(CREDENTIALS[who].into()),
        source_ip: Some(SOURCES[who].into()),
        claimed_ips: Vec::new(),
        user_agent: None,
        cluster: Some("lab".into()),
        object: Some(Object {
            resource: "secrets".into(),
            namespace: Some("shop".into()),
            name: name.map(Into::into),
            ..Object::default()
        }),
        permission: None,
        detail: Detail::default(),
        level: None,
        audit_id: AuditId::new("1"),
        request: [0; 16],
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

/// A change of an alert that names in its evidence alone whom it is about.
fn alert((_, time, who, what): Seed) -> Entry {
    let fields = serde_json::json!({
        "actor.id": ACTORS[who],
        "source.ip": SOURCES[who],
        "actor.credential_id": CREDENTIALS[who],
        "objectRef.resource": "secrets",
        "objectRef.namespace": "shop",
        "objectRef.name": NAMES[what % NAMES.len()].unwrap_or("all"),
        "cluster": "lab",
    });
    let json = serde_json::json!({ "evidence": [{ "fields": fields }] }).to_string();
    Entry::new(EntryKind::Alert, &format!("{what:032x}"), "firing")
        .by("rule")
        .at(EventTime::from_micros(TIMES[time]))
        .fact("starts_at", &EventTime::from_micros(TIMES[0]).rfc3339())
        .body(Body::Alert(json))
}

fn delivery((_, time, who, _): Seed) -> Entry {
    Entry::new(EntryKind::Delivery, "n", "delivered")
        .by(ACTORS[who])
        .at(EventTime::from_micros(TIMES[time]))
}

/// Rows with ids in an order that is not that of their times, in two months.
fn rows(seeds: &[Seed]) -> Vec<Arc<Row>> {
    let count = seeds.len();
    let row = |(index, seed): (usize, &Seed)| {
        let content = match seed.0 {
            0 => Content::Access(Box::new(access(*seed))),
            1 => Content::Entry(Box::new(alert(*seed))),
            _ => Content::Entry(Box::new(delivery(*seed))),
        };
        let month = if index < count / 2 { "2026-03-31T12:00:00Z" } else { "2026-04-01T12:00:00Z" };
        let recorded = WallTime::from_micros(EventTime::parse(month).unwrap().micros());
        Arc::new(Row { id: index as u64 + 1, recorded, content })
    };
    seeds.iter().enumerate().map(row).collect()
}

/// Every question with a cursor, with what can be said in it.
fn questions() -> Vec<(&'static QuestionKind, Params)> {
    let with = |pairs: &[(&str, &str)]| {
        let all = Params::default().with("from", Some("1970-01-01")).with("to", Some("1970-01-04"));
        pairs.iter().fold(all, |params, (name, value)| params.with(name, Some(*value)))
    };
    let mut questions = vec![
        (&history::QUESTION, with(&[])),
        (&deliveries::QUESTION, with(&[])),
        (&deliveries::QUESTION, with(&[("receiver", "anna")])),
        (&who_did::QUESTION, with(&[("verb", "*"), ("resource", "secrets")])),
        (&who_did::QUESTION, with(&[("verb", "get"), ("resource", "secrets"), ("name", "db")])),
    ];
    for pairs in [
        &[][..],
        &[("actor", "anna")],
        &[("actor", "eve"), ("cluster", "lab")],
        &[("actor", "anna"), ("class", "secret_read")],
        &[("source", "10.0.0.1")],
        &[("credential", "JTI=2")],
        &[("namespace", "shop")],
        &[("resource", "secrets"), ("namespace", "shop"), ("name", "db")],
        &[("class", "secret_read")],
        &[("cluster", "lab")],
    ] {
        questions.push((&timeline::QUESTION, with(pairs)));
    }
    questions
}

/// What all pages of so many rows have, one after another.
fn pages(reader: &Reader, kind: &QuestionKind, params: &Params, limit: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let params = params.clone().with("limit", Some(limit.to_string())).with("after", after);
        let (asked, _) = kind.answer(reader, &params, EventTime::from_micros(4 * DAY)).unwrap();
        let items = asked.answer.items();
        assert!(items.len() <= limit, "{} rows of {limit}", items.len());
        found.extend(items);
        let Some(next) = asked.answer.next() else { return found };
        after = Some(next.to_string());
    }
}

/// The ids of a timeline of an actor, by a plain loop.
fn of_actor(rows: &[Arc<Row>], seeds: &[Seed], who: usize) -> Vec<u64> {
    let is_of = |seed: &Seed| match seed.0 {
        0 => seed.2 == who || seed.3 == 0,
        1 => seed.2 == who,
        _ => false,
    };
    let mut found: Vec<(EventTime, u64)> = rows
        .iter()
        .zip(seeds)
        .filter(|(_, seed)| is_of(seed))
        .map(|(row, _)| (row.at(), row.id))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id).collect()
}

#[test]
fn every_row_is_on_one_page_whatever_the_limit() {
    let seed = (0..3_u8, 0..TIMES.len(), 0..ACTORS.len(), 0..4_usize);
    let seeds = prop::collection::vec(seed, 1..24);
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let holds = TestRunner::new(config).run(&seeds, |mut seeds| {
        // Whoever is asked about is known.
        seeds.extend([(0, 0, 0, 0), (0, 0, 1, 0)]);
        let rows = rows(&seeds);
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &rows);
        let reader = Reader::open(directory.path(), None).unwrap();
        for (kind, params) in questions() {
            let whole = pages(&reader, kind, &params, 1_000);
            for limit in [1, 2, 3, 7] {
                let paged = pages(&reader, kind, &params, limit);
                prop_assert_eq!(&paged, &whole, "{} {:?}, {} a page", kind.name, params, limit);
            }
        }
        for (who, name) in ACTORS.into_iter().enumerate() {
            let params =
                Params::default().with("from", Some("1970-01-01")).with("actor", Some(name));
            let ids: Vec<u64> = pages(&reader, &timeline::QUESTION, &params, 1_000)
                .iter()
                .map(|line| {
                    serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_u64().unwrap()
                })
                .collect();
            prop_assert_eq!(ids, of_actor(&rows, &seeds, who), "{}", name);
        }
        Ok(())
    });
    if let Err(why) = holds {
        panic!("{why}");
    }
}

#[test]
fn the_beginning_of_several_fingerprints_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &rows(&[(1, 0, 0, 1), (1, 1, 0, 2)]));
    let reader = Reader::open(directory.path(), None).unwrap();
    let ask = |beginning: &str| {
        let params = Params::default().with("alert", Some(beginning));
        let now = EventTime::from_micros(DAY);
        timeline::QUESTION.answer(&reader, &params, now).map_err(|error| error.to_string())
    };
    let refused = ask("0").err().unwrap();
    assert!(
        refused.contains("several alerts") && refused.contains("write more of it"),
        "{refused}"
    );
    assert!(ask("7").err().unwrap().contains("no alert"));
    assert_eq!(ask(&format!("{:032x}", 2)).ok().unwrap().0.answer.items().len(), 2, "half an hour");
}
