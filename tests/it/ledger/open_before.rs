//! What was open when a time begins is of that time, though all that tells of it may lie before: alerts, silences, and
//! what was done about them. Of what nobody wrote down no duration is told.

use std::sync::Arc;

use tripline::{
    ask::{Params, history},
    engine::{
        ledger::{Entry, EntryKind, Row},
        time::EventTime,
    },
    report::{Cell, Report, Wanted},
};

use super::{
    Recording,
    reports::{Kept, number, section, text},
};

const SECRETS: &str = "
title: Secrets
name: secrets
logsource: {product: kubernetes, service: audit}
detection:
  s:
    objectRef.resource: secrets
  condition: s
tripline: {record: {class: secret_access}}
";

fn at(time: &str) -> EventTime {
    EventTime::parse(&format!("2026-03-04T{time}:00Z")).unwrap()
}

fn alert(name: &str, what: &str, starts_at: &str) -> Entry {
    Entry::new(EntryKind::Alert, name, what)
        .by(&format!("rule-{name}"))
        .detail("Something")
        .fact("severity", "high")
        .fact("starts_at", &at(starts_at).rfc3339())
}

fn silence(name: &str, what: &str, ends_at: &str) -> Entry {
    Entry::new(EntryKind::Silence, name, what).by("anna").fact("ends_at", &at(ends_at).rfc3339())
}

/// Entries with when they happened. `recorded` says when Tripline wrote one down: a backfill writes all at once.
fn rows(recorded: impl Fn(EventTime) -> EventTime) -> Vec<Arc<Row>> {
    let taken = Entry::new(EntryKind::Acknowledge, "a", "done").by("anna");
    let entries = [
        ("00:55", silence("s-holds", "added", "12:00")),
        ("00:56", silence("s-ended", "added", "12:00")),
        ("00:57", silence("s-ran-out", "added", "02:30")),
        ("01:05", alert("a", "firing", "01:05")),
        ("01:07", Entry::new(EntryKind::Delivery, "d", "delivered").fact("alerts", "a")),
        ("01:30", taken.fact("starts_at", &at("01:05").rfc3339())),
        ("02:00", silence("s-ended", "ended", "02:00")),
        ("02:00", alert("over", "firing", "02:00")),
        ("02:30", alert("over", "resolved", "02:00")),
        // Its beginning is in no ledger any more.
        ("04:00", alert("torn", "resolved", "00:10")),
        ("09:05", alert("a", "resolved", "01:05")),
    ];
    let mut recording = Recording::new(&super::rules(SECRETS), at("00:50"));
    for (time, entry) in entries {
        let time = at(time);
        recording.member.handle_entry(recorded(time).as_wall(), entry.at(time));
    }
    recording.rest(1);
    recording.rows
}

fn kept(rows: &[Arc<Row>], from: &str, to: &str) -> Kept {
    Kept::new(rows, &at(from).rfc3339(), &at(to).rfc3339())
}

/// A column of a table of a report, by the first one that is named.
fn column(report: &Report, id: &str, key: &str, named: &str) -> Vec<(String, Cell)> {
    let table = &section(report, id).tables[0];
    let place = |name: &str| table.columns.iter().position(|column| *column == name).unwrap();
    let (key, named) = (place(key), place(named));
    table.rows.iter().map(|row| (text(&row[key]).to_owned(), row[named].clone())).collect()
}

#[test]
fn a_report_knows_what_was_open_when_its_period_began() {
    let backfill = at("23:00");
    for rows in [rows(|time| time), rows(|_| backfill)] {
        let report = kept(&rows, "03:00", "08:00").made(Wanted::Alerts);
        let counted: Vec<(String, u64)> = column(&report, "rules", "rule", "alerts")
            .into_iter()
            .map(|(rule, cell)| (rule, number(&cell)))
            .collect();
        assert_eq!(counted, [("rule-a".to_owned(), 1), ("rule-torn".to_owned(), 1)]);
        let earlier = column(&report, "rules", "rule", "began earlier");
        assert!(earlier.iter().all(|(_, cell)| number(cell) == 1), "{earlier:?}");
        let open = column(&report, "open", "fingerprint", "since");
        assert_eq!(open, [("a".to_owned(), Cell::text("2026-03-04 01:05:00"))]);
        let silences = column(&report, "silences", "silence", "what");
        assert_eq!(silences, [("s-holds".to_owned(), Cell::text("in force from before"))]);

        let report = kept(&rows, "03:00", "11:00").made(Wanted::Alerts);
        let lasted = column(&report, "rules", "rule", "until resolved");
        let torn = ("rule-torn".to_owned(), Cell::NotApplicable);
        assert_eq!(lasted, [("rule-a".to_owned(), Cell::text("8 h 0 min")), torn]);
        assert_eq!(column(&report, "open", "fingerprint", "since"), []);
    }
}

#[test]
fn who_was_told_and_who_took_it_before_the_period_is_known() {
    let report = kept(&rows(|time| time), "03:00", "08:00").made(Wanted::Alerts);
    let of_open = |name| column(&report, "open", "fingerprint", name)[0].1.clone();
    assert_eq!(of_open("taken by"), Cell::text("anna"));
    assert_eq!(of_open("told"), Cell::text("2026-03-04 01:07:00"));
    let until = |name| column(&report, "rules", "rule", name)[0].1.clone();
    assert_eq!(until("until told"), Cell::text("2 min 0 s"));
    assert_eq!(until("until taken"), Cell::text("25 min 0 s"));
}

#[test]
fn facts_of_an_alert_are_had_in_any_time_in_which_it_fired() {
    let mut kept = kept(&rows(|time| time), "03:00", "08:00");
    let report = kept.made(Wanted::Incident("a"));
    let facts = column(&report, "facts", "fact", "is");
    let fact = |name: &str| facts.iter().find(|(fact, _)| fact == name).unwrap().1.clone();
    assert_eq!(fact("raised by Tripline"), Cell::text("2026-03-04 01:05:00"));
    assert_eq!(fact("who took it"), Cell::text("anna"));
    assert_eq!(fact("ended"), Cell::NotObserved);
}

#[test]
fn the_history_of_a_time_has_what_fired_when_it_began() {
    let kept = kept(&rows(|time| time), "03:00", "08:00");
    let asked = |from: &str, to: &str| {
        let (from, to) = (at(from).rfc3339(), at(to).rfc3339());
        let params = Params::default().with("from", Some(from)).with("to", Some(to));
        let question = history::Question::read(&params, at("23:00")).unwrap();
        let mut found = history::ask(&kept.reader, &question).unwrap().alerts;
        found.sort_by(|one, other| one.fingerprint.cmp(&other.fingerprint));
        found.into_iter().map(|one| (one.fingerprint, one.state)).collect::<Vec<_>>()
    };
    let a = |state| ("a".to_owned(), state);
    assert_eq!(asked("03:00", "03:30"), [a("firing")]);
    assert_eq!(asked("03:00", "08:00"), [a("firing"), ("torn".to_owned(), "resolved")]);
    assert_eq!(asked("05:00", "11:00"), [a("resolved")]);
    assert_eq!(asked("10:00", "11:00"), []);
}
