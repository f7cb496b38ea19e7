//! Reports claim nothing of what no rule recorded: rule sets are those that the ledger tells of, and so are their rules.

use std::{sync::Arc, time::Duration};

use tripline::{
    ask::Params,
    engine::{
        diagnostic::{Problems, SourceText},
        framework::{Framework, read_frameworks},
        ledger::{Content, Entry, EntryKind, Row},
        member::LedgerInput,
        rule::{CLASSES, RuleSet, SESSION},
        time::EventTime,
    },
    report::{Cell, Report, Scope, Section, Wanted},
};

use super::{
    Recording,
    levels::event,
    reports::{Kept, number, section, text},
    rules,
};

const START: &str = "2026-03-04T08:00:00Z";

fn start() -> EventTime {
    EventTime::parse(START).unwrap()
}

/// A rule that alerts when a secret is deleted, by which one; and one for each class, that records nothing that is done
/// here but deletions of roles, which are of two classes.
fn recording_all_but(left_out: &[&str]) -> Arc<RuleSet> {
    let mut all = "title: Deleted\nname: deleted\nlogsource: {product: kubernetes, service: audit}\n\
                   detection: {s: {verb: delete, objectRef.resource: secrets}, condition: s}\nlevel: high\n\
                   tripline: {group-by: [objectRef.name], controls: ['ours:A']}\n"
        .to_owned();
    for class in CLASSES.into_iter().chain([SESSION]).filter(|class| !left_out.contains(class)) {
        let verb = if matches!(class, "change" | "privileged") { "delete" } else { "nothing" };
        all.push_str(&format!(
            "---\ntitle: Records {class}\nname: records_{class}\nlogsource: {{product: kubernetes, service: audit}}\n\
             detection: {{s: {{verb: {verb}, objectRef.resource: [roles, secrets]}}, condition: s}}\n\
             tripline: {{record: {class}}}\n"
        ));
    }
    rules(&all)
}

/// A process that reads an event every five minutes for four hours, by rule sets that are put in force one after another.
fn recorded(sets: &[(u64, Arc<RuleSet>)], others: &[(u64, &str, &str)]) -> Vec<Arc<Row>> {
    let [(_, first), replaced @ ..] = sets else { panic!("no rules") };
    let mut recording = Recording::new(first, start());
    let tell = |recording: &mut Recording, now: EventTime, trigger| {
        recording.member.handle_ledger(now.as_wall(), LedgerInput::Rules { trigger });
    };
    tell(&mut recording, start(), "started");
    let mut epoch = 0;
    for minute in (0..240).step_by(5) {
        let now = start().plus(Duration::from_secs(minute * 60));
        for (_, rules) in replaced.iter().filter(|(at, _)| *at == minute) {
            epoch += 1;
            recording.member.replace_rules(now.as_wall(), Arc::clone(rules), epoch);
            recording.detector.replace_rules(Arc::clone(rules), epoch);
            tell(&mut recording, now, "replaced");
        }
        let done = others.iter().filter(|(at, ..)| *at == minute);
        let done = done.map(|(_, verb, resource)| ("mallory", *verb, *resource));
        let usual = [("zoe", "get", "configmaps")].into_iter();
        for (user, verb, resource) in usual.chain(done) {
            let id = format!("e-{minute}-{user}-{verb}-{resource}");
            let of = (user, verb, resource, "");
            let text = event(&id, now, of, ("Metadata", "ResponseComplete"));
            recording.read(0, now, &[text.as_bytes()]);
        }
    }
    recording.rest(90);
    recording.rows
}

/// Of two hours in the middle.
fn kept(rows: &[Arc<Row>], from: &str, to: &str) -> Kept {
    Kept::new(rows, &format!("2026-03-04T{from}:00Z"), &format!("2026-03-04T{to}:00Z"))
}

fn empty<'a>(report: &'a Report, id: &str) -> &'a Cell {
    let table = &section(report, id).tables[0];
    assert!(table.rows.is_empty(), "{id}: {:?}", table.rows);
    &table.empty
}

fn said(report: &Report) -> String {
    report.warnings.join("\n")
}

#[test]
fn there_is_none_of_a_class_only_if_rules_recorded_it() {
    let sections = [
        ("secret_read", "secrets"),
        ("session", "sessions"),
        ("permission_change", "permission-changes"),
        ("privileged", "break-glass"),
        ("denied", "denied"),
    ];
    let report = |left_out: &[&str]| {
        let rows = recorded(&[(0, recording_all_but(left_out))], &[]);
        kept(&rows, "09:00", "11:00").made(Wanted::Access)
    };
    let whole = report(&[]);
    assert_eq!(said(&whole), "");
    for (_, id) in sections {
        assert_eq!(empty(&whole, id), &Cell::Nothing, "{id}");
    }
    assert_eq!(empty(&whole, "people"), &Cell::Nothing);
    for (class, id) in sections {
        let report = report(&[class]);
        assert!(
            said(&report).contains(&format!("has no rule that records {class}:")),
            "{report:?}"
        );
        assert_eq!(empty(&report, id), &Cell::NotObserved, "{class}");
        assert_eq!(empty(&report, "people"), &Cell::NotObserved, "{class}");
        for (other, id) in sections.iter().filter(|(other, _)| *other != class) {
            assert_eq!(empty(&report, id), &Cell::Nothing, "{class}: {other}");
        }
    }
}

#[test]
fn a_class_that_was_not_recorded_for_a_while_is_not_observed_then() {
    let sets = [
        (0, recording_all_but(&[])),
        (150, recording_all_but(&["secret_read"])),
        (160, recording_all_but(&[])),
    ];
    let rows = recorded(&sets, &[]);
    for (from, to, is_whole) in
        [("09:00", "10:00", true), ("10:00", "11:00", false), ("08:00", "11:00", false)]
    {
        let report = kept(&rows, from, to).made(Wanted::Access);
        let wanted = if is_whole { Cell::Nothing } else { Cell::NotObserved };
        assert_eq!(empty(&report, "secrets"), &wanted, "{from}: {}", said(&report));
        assert_eq!(said(&report).contains("no rule that records secret_read"), !is_whole, "{from}");
    }
}

/// The same rows, some of whose entries say something else.
fn with_entries(rows: &[Arc<Row>], change: impl Fn(&mut Entry)) -> Vec<Arc<Row>> {
    let changed = |row: &Arc<Row>| {
        let mut row = (**row).clone();
        if let Content::Entry(entry) = &mut row.content {
            change(entry);
        }
        Arc::new(row)
    };
    rows.iter().map(changed).collect()
}

#[test]
fn a_ledger_that_does_not_tell_of_rules_says_so() {
    let rows = recorded(&[(0, recording_all_but(&[]))], &[]);
    let rows: Vec<Arc<Row>> = with_entries(&rows, |entry| {
        if entry.kind == EntryKind::Rules {
            entry.kind = EntryKind::Comment;
        }
    });
    let report = kept(&rows, "09:00", "11:00").access();
    assert!(said(&report).contains("does not say which rules were in force"), "{}", said(&report));
    assert_eq!(empty(&report, "secrets"), &Cell::NotObserved);
}

fn framework(classes: &str) -> Framework {
    let text = format!(
        "framework: ours\ntitle: Ours\nversion: '1'\ncontrols:\n  - {{id: A, title: All, classes: [{classes}], entries: [rules], \
         shows: [alerts]}}\n"
    );
    let problems = Problems::new();
    let known = CLASSES.into_iter().map(str::to_owned).collect();
    let mut read = read_frameworks(&[SourceText::new("ours.yaml", text)], &known, &problems);
    assert!(problems.into_sorted().is_empty());
    read.remove(0)
}

#[test]
fn rules_of_a_compliance_report_are_those_that_were_loaded() {
    let other = "title: Other\nname: other\nlogsource: {product: kubernetes, service: audit}\n\
                 detection: {s: {verb: nothing}, condition: s}\nlevel: high\ntripline: {controls: ['ours:A']}\n";
    let rows = recorded(&[(0, recording_all_but(&[])), (150, rules(other))], &[]);
    let framework = framework("change");
    let in_force = |from, to| {
        let report = kept(&rows, from, to).made(Wanted::Compliance(&framework));
        let table = section(&report, "A").tables.last().unwrap();
        assert_eq!(table.columns[..3], ["rule that serves it", "title", "in force"]);
        let rows = table.rows.iter();
        let titles =
            rows.map(|row| (text(&row[1]).to_owned(), text(&row[2]).to_owned(), row[3].clone()));
        let mut titles: Vec<_> = titles.collect();
        titles.sort_by(|one, other| one.0.cmp(&other.0));
        titles
    };
    let throughout = || "all of the period".to_owned();
    assert_eq!(in_force("09:00", "10:00"), [("Deleted".to_owned(), throughout(), Cell::Nothing)]);
    assert_eq!(in_force("11:00", "12:00"), [("Other".to_owned(), throughout(), Cell::Nothing)]);
    let both = in_force("10:00", "11:00");
    let when = |title: &str| both.iter().find(|(one, ..)| one == title).unwrap().clone();
    let (_, deleted, none) = when("Deleted");
    assert_eq!(deleted, "from 2026-03-04 08:00:00 to 2026-03-04 10:30:00");
    assert_eq!(none, Cell::NotObserved, "it was not in force all the time");
    assert_eq!(when("Other").1, "from 2026-03-04 10:30:00");
    // Before the ledger began no rule was.
    let report = kept(&rows, "01:00", "02:00").made(Wanted::Compliance(&framework));
    let table = section(&report, "A").tables.last().unwrap();
    assert_eq!((table.rows.len(), &table.empty), (0, &Cell::NotObserved));
}

#[test]
fn a_request_of_several_classes_and_a_rule_set_of_several_rows_count_once() {
    let done = [(70, "delete", "roles"), (75, "delete", "roles"), (80, "delete", "roles")];
    let rows = recorded(&[(0, recording_all_but(&[]))], &done);
    let framework = framework("change, privileged");
    let report = kept(&rows, "08:00", "11:00").made(Wanted::Compliance(&framework));
    let summary = &section(&report, "controls").tables[0].rows[0];
    let naive = rows.iter().filter_map(|row| row.access()).count() as u64;
    assert_eq!((number(&summary[2]), naive), (3, 3), "accesses");
    assert_eq!(number(&summary[3]), 1, "rule sets");
    let by_class = &section(&report, "A").tables[0].rows;
    assert_eq!(by_class.iter().map(|row| number(&row[1])).collect::<Vec<_>>(), [3, 3]);
    let sets = report.facts.iter().find(|(name, _)| *name == "Rule sets in force").unwrap();
    let version = rows.iter().filter_map(|row| row.entry()).find(|entry| entry.what == "started");
    assert_eq!(sets.1, version.unwrap().subject);
    let notable = &section(&report, "ledger").tables[0].rows;
    assert_eq!(notable.iter().filter(|row| text(&row[1]).starts_with("rules")).count(), 1);
}

#[test]
fn an_incident_is_of_those_whom_the_evidence_names() {
    let done = [(70, "delete", "roles"), (75, "delete", "secrets")];
    let rows = recorded(&[(0, recording_all_but(&[]))], &done);
    let alert = rows.iter().filter_map(|row| row.entry()).find(|one| one.kind == EntryKind::Alert);
    let alert = alert.unwrap();
    assert!(alert.facts.iter().all(|(_, value)| value != "mallory"), "its key names nobody");
    let mut whole = kept(&rows, "08:00", "11:00");
    let report = whole.made(Wanted::Incident(&alert.subject));
    let people = |section: &Section| -> Vec<(String, u64)> {
        let rows = section.tables[0].rows.iter();
        rows.map(|row| (text(&row[0]).to_owned(), number(&row[2]))).collect()
    };
    assert_eq!(people(section(&report, "people")), [("mallory".to_owned(), 2)]);
}

#[test]
fn hours_before_the_ledger_began_were_not_observed() {
    let rows = recorded(&[(0, recording_all_but(&[]))], &[]);
    let kept = Kept::new(&rows, "2026-03-01T00:00:00Z", "2026-03-04T11:00:00Z");
    let report = kept.access();
    let line = &section(&report, "coverage").tables[0].rows[0];
    let hours: u64 = line[1..].iter().map(number).sum();
    assert_eq!((number(&line[5]), hours), (80, 83), "{line:?}");
    let spans = &section(&report, "coverage").tables[1].rows;
    assert_eq!(text(&spans[0][1]), "2026-03-01 00:00:00");
    assert!(
        said(&report).contains("3 hours of the 83 of the period are told of"),
        "{}",
        said(&report)
    );
}

#[test]
fn a_report_of_a_cluster_that_nothing_is_known_of_is_refused() {
    let rows = recorded(&[(0, recording_all_but(&[]))], &[]);
    let mut kept = kept(&rows, "09:00", "11:00");
    let params = Params::default().with("from", Some("2026-03-04")).with("cluster", Some("lap"));
    let now = EventTime::parse("2026-03-05T00:00:00Z").unwrap();
    let scope = &Scope::read(&params, now, "1d").unwrap();
    let order = tripline::report::Order {
        wanted: Wanted::Access,
        scope,
        author: "auditor",
        now,
        verifies: tripline::report::Verifies::All,
        check: None,
        threads: None,
    };
    let error = tripline::report::make(&mut kept.reader, &order, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("nothing is known of the cluster `lap`"), "{error}");
}
