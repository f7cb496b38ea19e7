//! A report of one cluster counts what is of it: its alerts, what was done about these, and who was told of them.

use std::collections::{BTreeMap, BTreeSet};

use tripline::{
    engine::{
        diagnostic::{Problems, SourceText},
        framework::read_frameworks,
        ledger::{Entry, EntryKind},
        time::EventTime,
    },
    report::{Report, Wanted},
};

use super::reports::{Kept, number, section, text};

/// Clusters by the fingerprints of their alerts; empty if none is named.
fn alerts(recording: &super::Recording) -> BTreeMap<String, String> {
    let entries = recording.rows.iter().filter_map(|row| row.entry());
    let alerts = entries.filter(|entry| entry.kind == EntryKind::Alert);
    let cluster = |entry: &Entry| entry.fact_of("key.cluster").unwrap_or_default().to_owned();
    alerts.map(|entry| (entry.subject.clone(), cluster(entry))).collect()
}

fn counted(report: &Report) -> (u64, usize, u64, usize) {
    let rows = |id: &str| section(report, id).tables[0].rows.as_slice();
    let alerts = rows("rules").iter().map(|row| number(&row[3])).sum();
    let undelivered = rows("undelivered").iter().map(|row| number(&row[2])).sum();
    (alerts, rows("open").len(), undelivered, rows("silences").len())
}

#[test]
fn every_part_of_a_report_is_of_the_cluster_that_is_asked_about() {
    let mut recording = super::exceptions::recorded();
    let of_alerts = alerts(&recording);
    let clusters: BTreeSet<&str> = of_alerts.values().map(String::as_str).collect();
    assert_eq!(clusters, ["", "prod", "test"].into(), "alerts of all three");
    let now = EventTime::parse("2026-03-05T04:00:00Z").unwrap();
    let acts = [EntryKind::Acknowledge, EntryKind::Verdict, EntryKind::Comment, EntryKind::Resolve];
    for (number, (alert, cluster)) in (0..).zip(&of_alerts) {
        let mut tell = |entry: Entry| recording.member.handle_entry(now.as_wall(), entry.at(now));
        for kind in acts {
            tell(Entry::new(kind, alert, "done").by("anna"));
        }
        let delivery = Entry::new(EntryKind::Delivery, &format!("d-{number}"), "expired");
        tell(delivery.by("mail").fact("alerts", alert));
        let silence = Entry::new(EntryKind::Silence, &format!("s-{number}"), "added");
        tell(silence.fact("matchers", &format!("{{cluster=\"{cluster}\"}}")));
    }
    recording.rest(1);
    let classes = BTreeSet::from(["change".to_owned()]);
    let framework = "framework: ours\ntitle: Ours\nversion: '1'\ncontrols:\n\
                     \x20 - {id: A, title: All, entries: [alert, delivery, acknowledge, verdict, comment, resolve, silence]}\n";
    let problems = Problems::new();
    let read = read_frameworks(&[SourceText::new("ours.yaml", framework)], &classes, &problems);
    assert!(problems.into_sorted().is_empty());
    for cluster in [None, Some("prod"), Some("test")] {
        let mut kept = Kept::new(&recording.rows, "2026-03-04T00:00:00Z", "2026-03-06T00:00:00Z");
        kept.scope.cluster = cluster.map(str::to_owned);
        // What names no cluster may be of this one; a silence of alerts without a cluster hides none of it.
        let is_of = |of: &str| cluster.is_none_or(|cluster| of.is_empty() || of == cluster);
        let naive = of_alerts.values().filter(|of| is_of(of)).count();
        let silences =
            of_alerts.values().filter(|of| cluster.is_none_or(|cluster| *of == cluster)).count();
        let (alerts, open, undelivered, silenced) = counted(&kept.made(Wanted::Alerts));
        // One may have fired several times.
        let entries = recording.rows.iter().filter_map(|row| row.entry());
        let episodes: BTreeSet<(&str, Option<&str>)> = entries
            .filter(|entry| entry.kind == EntryKind::Alert && is_of(&of_alerts[&entry.subject]))
            .map(|entry| (entry.subject.as_str(), entry.fact_of("starts_at")))
            .collect();
        assert_eq!((alerts, undelivered), (episodes.len() as u64, naive as u64), "{cluster:?}");
        assert!(open <= naive, "{cluster:?}");
        assert_eq!(silenced, silences, "{cluster:?}");
        let report = kept.made(Wanted::Compliance(&read[0]));
        let table = &section(&report, "A").tables[0];
        let said: BTreeMap<&str, u64> =
            table.rows.iter().map(|row| (text(&row[0]), number(&row[1]))).collect();
        let entries = recording.rows.iter().filter_map(|row| row.entry());
        let changes = entries
            .filter(|entry| entry.kind == EntryKind::Alert && is_of(&of_alerts[&entry.subject]))
            .count();
        assert_eq!(said["alert"], changes as u64, "{cluster:?}");
        for kind in ["delivery", "acknowledge", "verdict", "comment", "resolve"] {
            assert_eq!(said[kind], naive as u64, "{cluster:?}: {kind}");
        }
        assert_eq!(said["silence"], silences as u64, "{cluster:?}");
        if let Some(cluster) = cluster {
            let foreign = if cluster == "prod" { "test" } else { "prod" };
            let exceptions = format!("{:?}", section(&report, "exceptions").tables[0].rows);
            assert!(!exceptions.contains(&format!("{foreign} ")), "{exceptions}");
        }
    }
}

#[test]
fn hours_of_a_cluster_are_the_same_alone_and_among_others() {
    let recording = super::exceptions::recorded();
    let hours = |cluster: Option<&str>, of: &str| -> Vec<u64> {
        let mut kept = Kept::new(&recording.rows, "2026-03-04T20:00:00Z", "2026-03-05T02:00:00Z");
        kept.scope.cluster = cluster.map(str::to_owned);
        let report = kept.made(Wanted::Alerts);
        let rows = &section(&report, "coverage").tables[0].rows;
        let row = rows.iter().find(|row| text(&row[0]) == of).unwrap();
        row[1..].iter().map(number).collect()
    };
    for cluster in ["prod", "test"] {
        let alone = hours(Some(cluster), cluster);
        assert_eq!(alone, hours(None, cluster), "{cluster}");
        assert_eq!(alone.iter().sum::<u64>(), 6, "{cluster}: {alone:?}");
    }
}
