//! Hours and clusters: each has its own count however many come in one batch, and what cannot be read is missing in every
//! hour that it may be of, whoever answers.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use tripline::{
    ask::coverage,
    engine::{permissions::ObservedBuilder, time::EventTime},
};

use super::{Recording, levels::event, reports::Kept, rules};

const RULES: &str = "
title: Changes
name: changes
logsource: {product: kubernetes, service: audit}
detection: {made: {verb: create}, condition: made}
tripline: {record: change}
";

const HOUR: Duration = Duration::from_secs(3_600);

const START: &str = "2026-03-04T00:00:00Z";

fn start() -> EventTime {
    EventTime::parse(START).unwrap()
}

/// Minutes behind the start.
fn at(minutes: u32) -> EventTime {
    start().plus(Duration::from_secs(60) * minutes)
}

/// When a past is read: long after it.
fn long_after() -> EventTime {
    start().plus(HOUR * 1_000)
}

fn get(at: EventTime) -> String {
    event(&at.rfc3339(), at, ("anna", "get", "secrets", ""), ("Metadata", "ResponseComplete"))
}

fn of_cluster(cluster: &str, event: &str) -> String {
    format!(r#"{{"cluster":"{cluster}","event":{event}}}"#)
}

/// Hours behind the start by cluster, with events and verdict, as `coverage` answers.
fn asked(recording: &Recording) -> BTreeMap<(String, i64), (u64, &'static str)> {
    let kept = Kept::new(&recording.rows, START, "2026-04-01T00:00:00Z");
    let answer = kept.coverage();
    let first = start().micros() / 3_600_000_000;
    let of = |((at, cluster), hour): (&(i64, String), &coverage::Hour)| {
        ((cluster.clone(), at - first), (hour.events, hour.verdict()))
    };
    answer.hours.iter().map(of).collect()
}

/// Verdicts on the first hours of a cluster.
fn verdicts(recording: &Recording, cluster: &str, hours: i64) -> Vec<&'static str> {
    let asked = asked(recording);
    (0..hours).map(|hour| asked.get(&(cluster.to_owned(), hour)).map_or("-", |of| of.1)).collect()
}

/// Hours of a cluster from the second on that are not whole for verdicts on permissions.
fn unobserved(recording: &Recording, cluster: &str, hours: u32) -> i64 {
    let mut builder = ObservedBuilder::new(cluster);
    for row in &recording.rows {
        row.entry().into_iter().for_each(|entry| builder.add(entry, row.at()));
    }
    let observed = builder.finish(at(60), at(60 * hours));
    observed.hours() - observed.whole(false)
}

#[test]
fn each_hour_of_each_cluster_has_its_own_count_however_many_come_at_once() {
    for (clusters, hours) in [(1, 120_u32), (80, 3), (300, 5)] {
        let mut recording = Recording::new(&rules(RULES), start());
        let mut records = Vec::new();
        for hour in 0..hours {
            for minute in [1, 31] {
                let event = get(at(60 * hour + minute));
                let of = |cluster| of_cluster(&format!("c{cluster}"), &event);
                records.extend((0..clusters).map(of));
            }
        }
        let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
        recording.read(0, long_after(), &records);
        recording.read(0, long_after(), &[of_cluster("c0", &get(at(60 * hours + 120))).as_bytes()]);
        recording.rest(5);
        let asked = asked(&recording);
        for cluster in 0..clusters {
            for hour in 0..i64::from(hours) {
                let found = asked.get(&(format!("c{cluster}"), hour));
                assert_eq!(found, Some(&(2, "complete")), "c{cluster}, hour {hour} of {hours}");
            }
        }
    }
}

#[test]
fn more_hours_of_clusters_than_are_counted_are_not_complete() {
    let mut recording = Recording::new(&rules(RULES), start());
    // Three hours of 4,000 clusters in one record.
    let mut records = String::new();
    for hour in 0..3 {
        for cluster in 0..4_000 {
            let record = of_cluster(&format!("c{cluster}"), &get(at(60 * hour + 1)));
            writeln!(records, "{record}").unwrap();
        }
    }
    let lines: Vec<&[u8]> = records.lines().map(str::as_bytes).collect();
    recording.read(0, long_after(), &lines);
    recording.read(0, long_after(), &[of_cluster("c0", &get(at(600))).as_bytes()]);
    recording.rest(5);
    let asked = asked(&recording);
    assert_eq!(asked[&("c0".to_owned(), 0)], (1, "complete"));
    assert_eq!(asked[&("c0".to_owned(), 2)], (1, "degraded"), "some of it were not counted");
    let sum: u64 = asked.values().map(|(events, _)| events).sum();
    assert!((10_000..=12_001).contains(&sum), "{sum}");
    let foreign: Vec<_> =
        asked.iter().filter(|((name, _), of)| !name.is_empty() && of.0 > 1).collect();
    assert_eq!(foreign, [], "nothing counts for another cluster");
}

#[test]
fn a_record_that_nobody_can_read_is_missing_in_every_hour_that_it_may_be_of() {
    let record = |minutes: &Option<u32>| match minutes {
        Some(minutes) => of_cluster("prod", &get(at(*minutes))),
        None => "{broken".to_owned(),
    };
    // Batches of a past, and which hours are degraded; `None` is what cannot be read.
    let of = |batches: &[&[Option<u32>]]| {
        let mut recording = Recording::new(&rules(RULES), start());
        for batch in batches {
            let records: Vec<String> = batch.iter().map(record).collect();
            let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
            recording.read(0, long_after(), &records);
        }
        recording.rest(5);
        let verdicts = verdicts(&recording, "prod", 6);
        let degraded = (0..6).filter(|hour| verdicts[*hour] == "degraded").collect::<Vec<_>>();
        let in_time = degraded.iter().filter(|hour| **hour > 0).count();
        assert_eq!(unobserved(&recording, "prod", 6), i64::try_from(in_time).unwrap());
        (degraded, verdicts.iter().filter(|verdict| **verdict == "complete").count())
    };
    let hours = [Some(5), Some(65), Some(125), Some(185), Some(245), Some(305)];
    let end = [Some(600)];
    assert_eq!(of(&[&hours, &end]), (vec![], 6));
    // Amid a batch, all of it; one in which the partition goes on is another.
    let amid = [hours[1], None, hours[2], hours[3]];
    assert_eq!(of(&[&hours[..1], &amid, &hours[4..], &end]), (vec![0, 1, 2, 3, 4], 1));
    // Alone, between what came before it and what comes next.
    assert_eq!(of(&[&hours[..2], &[None], &hours[2..4], &hours[4..], &end]), (vec![1, 2], 4));
    assert_eq!(of(&[&hours[..2], &[None], &[None], &hours[2..], &end]), (vec![1, 2], 4));
    // First of all, and last of all.
    assert_eq!(of(&[&[None], &hours, &end]), (vec![0], 5));
    assert_eq!(of(&[&hours[..], &end, &[None]]), (vec![], 6));
}

#[test]
fn what_is_read_as_it_happens_is_missing_up_to_when_it_was_read() {
    let mut recording = Recording::new(&rules(RULES), start());
    for hour in 0..6 {
        let now = at(60 * hour + 1);
        recording.read(0, now, &[of_cluster("prod", &get(now)).as_bytes()]);
        if hour == 2 {
            recording.read(0, at(60 * hour + 30), &[b"{broken"]);
        }
    }
    recording.rest(5);
    let expected = ["complete", "complete", "degraded", "complete", "complete"];
    assert_eq!(verdicts(&recording, "prod", 5), expected);
    assert_eq!(unobserved(&recording, "prod", 5), 1);
}

#[test]
fn what_is_missing_of_a_source_of_one_cluster_is_of_no_other() {
    let mut recording = Recording::new(&rules(RULES), start());
    for hour in 0..4 {
        let now = at(60 * hour + 1);
        let event = get(now);
        recording.read_of(Some("prod"), 0, now, &[event.as_bytes()]);
        recording.read_of(None, 1, now, &[of_cluster("dev", &event).as_bytes(), event.as_bytes()]);
        match hour {
            1 => recording.read_of(Some("prod"), 0, now, &[b"{broken"]),
            2 => recording.read_of(None, 1, now, &[b"{broken"]),
            _ => {}
        }
    }
    recording.rest(5);
    assert_eq!(verdicts(&recording, "prod", 3), ["complete", "degraded", "degraded"]);
    // It may be of any cluster, also where events without one came.
    assert_eq!(verdicts(&recording, "dev", 3), ["complete", "complete", "degraded"]);
    assert_eq!(verdicts(&recording, "", 3), ["complete", "complete", "degraded"]);
    assert_eq!(unobserved(&recording, "prod", 3), 2);
    assert_eq!(unobserved(&recording, "dev", 3), 1);
}

#[test]
fn hours_of_records_that_were_deleted_are_not_observed() {
    let mut recording = Recording::new(&rules(RULES), start());
    let event = |minutes| of_cluster("prod", &get(at(minutes)));
    for hour in 0..3 {
        recording.read(0, long_after(), &[event(60 * hour).as_bytes()]);
        recording.read(1, long_after(), &[event(60 * hour).as_bytes()]);
    }
    recording.lose(long_after().as_wall(), 0, 7);
    // The other partition is read on meanwhile, also in one batch with this one.
    for hour in 3..6 {
        recording.read(1, long_after(), &[event(60 * hour).as_bytes()]);
    }
    recording.read_together(long_after(), &[(1, event(60 * 6)), (0, event(60 * 8 + 1))]);
    recording.read_together(long_after(), &[(1, event(60 * 20)), (0, event(60 * 20))]);
    recording.rest(5);
    let lost = verdicts(&recording, "prod", 12);
    assert_eq!(lost[1], "complete");
    assert!(lost[2..=8].iter().all(|verdict| *verdict == "lost"), "{lost:?}");
    assert_eq!(lost[9], "silent");
    assert_eq!(unobserved(&recording, "prod", 9), 7);
}
