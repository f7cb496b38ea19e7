//! Reports claim of a request what became of it, count each session once, whatever the log tells of it, and name
//! commands that show what a number counts.

use std::sync::Arc;

use tripline::{
    ask::{Params, timeline, visits},
    engine::{access::Access, ledger::Row, time::EventTime},
    report::{
        Cell, Report, Wanted,
        sample::{SampleOf, sample},
    },
};

use super::{
    Recording,
    reports::{Kept, number, said, section, text, words},
    rules,
};

const RULES: &str = "
title: Secrets
name: secrets
logsource: {product: kubernetes, service: audit}
detection: {reads: {objectRef.resource: secrets}, condition: reads}
tripline: {record: secret_read}
---
title: Sessions
name: sessions
logsource: {product: kubernetes, service: audit}
detection: {opens: {objectRef.subresource: exec}, condition: opens}
tripline: {record: session}
";

/// An event of a day: who, which object (`secrets/db` or `pods/web/exec`) with which verb, answered with which code, at
/// which times of day it was asked and answered, and which request it is.
fn event(
    (who, verb, object): (&str, &str, &str),
    (stage, code): (&str, u16),
    (asked, answered): (&str, &str),
    id: u32,
) -> Vec<u8> {
    let mut parts = object.split('/');
    let (resource, name, below) =
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or(""));
    let decision = if code == 403 { "forbid" } else { "allow" };
    let mut event = serde_json::json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "stage": stage,
        "auditID": format!("{id:08}-0000-0000-0000-000000000000"), "verb": verb,
        "requestURI": format!("/api/v1/namespaces/pay/{object}"), "user": {"username": who},
        "sourceIPs": ["10.0.0.1"], "userAgent": "kubectl/v1.30",
        "objectRef": {"resource": resource, "namespace": "pay", "apiVersion": "v1"},
        "responseStatus": {"code": code},
        "annotations": {"authorization.k8s.io/decision": decision},
        "requestReceivedTimestamp": format!("2026-03-04T{asked}.000000Z"),
        "stageTimestamp": format!("2026-03-04T{answered}.000000Z"),
    });
    for (field, value) in [("name", name), ("subresource", below)] {
        if !value.is_empty() {
            event["objectRef"][field] = value.into();
        }
    }
    serde_json::to_vec(&event).unwrap()
}

fn recorded(events: &[Vec<u8>]) -> Vec<Arc<Row>> {
    let start = EventTime::parse("2026-03-04T10:00:00Z").unwrap();
    let mut recording = Recording::new(&rules(RULES), start);
    let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
    recording.read(0, start, &events);
    recording.rest(90);
    recording.rows
}

/// The access report of a time of the day, which is the same whether rows come in the order of time or by month.
fn access(rows: &[Arc<Row>], from: &str, to: &str) -> (Report, Kept) {
    let day = |time: &str| format!("2026-03-04T{time}Z");
    let mut kept = Kept::new(rows, &day(from), &day(to));
    let report = kept.made(Wanted::Access);
    assert_eq!(said(&report), said(&kept.access()));
    (report, kept)
}

fn population(kept: &mut Kept) -> u64 {
    let of = SampleOf { class: "session".to_owned(), size: 10, seed: 1 };
    sample(&mut kept.reader, &kept.scope, &of, &mut |_| {}).unwrap().population
}

#[test]
fn who_was_refused_a_secret_or_found_none_did_not_read_it() {
    let whole = "ResponseComplete";
    let at = |time| (time, time);
    let rows = recorded(&[
        event(("mallory", "get", "secrets/db"), (whole, 403), at("10:00:01"), 1),
        event(("lost", "get", "secrets/db"), (whole, 404), at("10:00:02"), 2),
        event(("anna", "get", "secrets/db"), (whole, 200), at("10:00:03"), 3),
        event(("mallory", "list", "secrets/"), (whole, 403), at("10:00:04"), 4),
    ]);
    let (report, ..) = access(&rows, "00:00:00", "23:00:00");
    let secrets = section(&report, "secrets");
    let said: Vec<_> = secrets.tables[0]
        .rows
        .iter()
        .map(|row| {
            (text(&row[1]), number(&row[2]), text(&row[4]), number(&row[6]), number(&row[7]))
        })
        .collect();
    assert_eq!(said, [("(all)", 0, "", 1, 0), ("db", 1, "anna", 1, 1)]);
    assert_eq!(text(&secrets.tables[0].rows[1][5]), "2026-03-04 10:00:03", "when it was read last");
}

/// Both stages; two of which the end alone is logged; one that was refused.
fn sessions() -> Vec<Arc<Row>> {
    let (begins, ends) = ("ResponseStarted", "ResponseComplete");
    let exec = |who| (who, "get", "pods/web/exec");
    recorded(&[
        event(exec("both"), (begins, 101), ("10:00:00", "10:00:01"), 1),
        event(exec("refused"), (ends, 403), ("10:04:00", "10:04:00"), 4),
        event(exec("both"), (ends, 101), ("10:00:00", "10:10:00"), 1),
        event(exec("end"), (ends, 101), ("10:02:00", "10:20:00"), 2),
        event(exec("end"), (ends, 101), ("10:03:00", "10:21:00"), 3),
    ])
}

fn people(report: &Report) -> Vec<(String, u64, u64)> {
    let people = &section(report, "people").tables[0].rows;
    let mut said: Vec<_> = people
        .iter()
        .map(|row| (text(&row[0]).to_owned(), number(&row[2]), number(&row[4])))
        .collect();
    said.sort();
    said
}

#[test]
fn a_session_of_which_the_end_alone_is_logged_counts_once() {
    let one = |who: &str, count| (who.to_owned(), count, count);
    let rows = sessions();
    let (report, mut kept) = access(&rows, "00:00:00", "23:00:00");
    assert_eq!(people(&report), [one("both", 1), one("end", 2), one("refused", 1)]);
    let shown: Vec<_> = section(&report, "sessions").tables[0]
        .rows
        .iter()
        .map(|row| (text(&row[0]), text(&row[2]), text(&row[7])))
        .collect();
    assert_eq!(
        shown,
        [
            ("2026-03-04 10:00:01", "both", "10 min 0 s"),
            ("2026-03-04 10:02:00", "end", "18 min 0 s"),
            ("2026-03-04 10:03:00", "end", "18 min 0 s"),
            ("2026-03-04 10:04:00", "refused", "0 s"),
        ]
    );
    assert_eq!(population(&mut kept), 4);
    let day = Params::default()
        .with("from", Some("2026-03-04T00:00:00Z"))
        .with("to", Some("2026-03-05T00:00:00Z"));
    let question = visits::Question::read(&day, kept.scope.period.to).unwrap();
    let visits = visits::ask(&kept.reader, &question).unwrap().visits;
    let mut said: Vec<_> = visits
        .iter()
        .map(|visit| one(visit.actor.as_deref().unwrap(), visit.sessions.max(visit.requests)))
        .collect();
    said.sort();
    assert_eq!(said, [one("both", 1), one("end", 2), one("refused", 1)]);
}

#[test]
fn a_session_belongs_to_the_period_in_which_the_ledger_has_its_beginning() {
    let one = |who: &str, count| (who.to_owned(), count, count);
    let rows = sessions();
    let (report, ..) = access(&rows, "10:00:00", "10:05:00");
    assert_eq!(people(&report), [one("both", 1), one("refused", 1)]);
    // Of one it has the end alone, which is in the second period.
    let (report, mut kept) = access(&rows, "10:05:00", "11:00:00");
    assert_eq!(people(&report), [one("end", 2)]);
    assert_eq!(population(&mut kept), 2);
}

#[test]
fn commands_of_cells_show_what_the_cells_count() {
    let whole = "ResponseComplete";
    let at = |time| (time, time);
    let rows = recorded(&[
        event(("--help", "get", "secrets/db"), (whole, 403), at("10:00:01"), 1),
        event(("--help", "delete", "secrets/db"), (whole, 403), at("10:00:02"), 2),
        event(("--help", "get", "secrets/web"), (whole, 403), at("10:00:03"), 3),
        event(("--help", "get", "secrets/db"), (whole, 200), at("10:00:04"), 4),
        event(("o'neil -x", "get", "secrets/db"), (whole, 404), at("10:00:05"), 5),
        event(("o'neil -x", "get", "secrets/db"), (whole, 200), at("10:00:06"), 6),
        event(("o'neil -x", "get", "pods/web/exec"), (whole, 403), at("10:00:07"), 7),
    ]);
    let (report, kept) = access(&rows, "00:00:00", "23:00:00");
    let mut checked = 0;
    for id in ["people", "secrets", "denied"] {
        for cell in section(&report, id).tables[0].rows.iter().flatten() {
            let Cell::Number(count, command) = cell else { continue };
            if command.is_empty() {
                continue;
            }
            tripline::cli::check_arguments(words(command)).unwrap();
            let Some(asked) = command.strip_prefix("tripline timeline ") else { continue };
            let mut params = Params::default();
            let mut asked = words(asked).into_iter();
            while let Some(word) = asked.next() {
                let word = word.strip_prefix("--").unwrap().to_owned();
                let (name, value) = match word.split_once('=') {
                    Some((name, value)) => (name.to_owned(), value.to_owned()),
                    None => (word, asked.next().unwrap()),
                };
                let known = [
                    "actor",
                    "resource",
                    "namespace",
                    "name",
                    "class",
                    "verb",
                    "outcome",
                    "from",
                    "to",
                ];
                let name = known.into_iter().find(|known| *known == name).unwrap();
                params = params.with(name, Some(value));
            }
            let question = timeline::Question::read(&params, kept.scope.period.to).unwrap();
            let rows = timeline::ask(&kept.reader, &question).unwrap().0.rows;
            let shown: u64 = rows.iter().filter_map(Row::access).map(Access::count).sum();
            assert_eq!(shown, *count, "{id}: {command}");
            checked += 1;
        }
    }
    assert!(checked > 8, "{checked}");
}
