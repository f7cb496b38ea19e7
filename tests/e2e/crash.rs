//! `kill -9` at any moment: nothing is lost and nothing is counted twice.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::{
    harness::{
        Service, available, eventually, hook::Hook, kafka::Kafka, never, tripline::Tripline,
    },
    rules::{READS_COUNTED, read, source, to_hook, users},
};

/// Users, each of whom reads five secrets.
const USERS: usize = 120;
/// How often the process is killed.
const KILLS: usize = 6;

#[test]
fn killed_again_and_again_it_loses_nothing_and_counts_nothing_twice() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("killed", 4);
    let mut tripline =
        Tripline::new(&(source(kafka, "killed") + &to_hook(&hook)), &[READS_COUNTED]);
    let all_sent = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // The fifth read of a user comes four rounds after the first, so that most windows are
            // open whenever the process dies.
            let producer = kafka.producer();
            for round in 0..5 {
                for user in 0..USERS {
                    producer.send("killed", read(&format!("user-{user}"), &format!("s{round}")));
                }
            }
            all_sent.store(true, Ordering::Relaxed);
        });
        for kill in 0..KILLS {
            tripline.start_ready();
            // Dies after it has made progress, at a moment that is not of its choosing.
            eventually("it has worked off some records since its start", || {
                let records = tripline.metric("tripline_records_total", &[])?;
                (records > f64::from(u32::try_from(kill).unwrap()) * 7.0
                    || all_sent.load(Ordering::Relaxed))
                .then_some(())
            });
            tripline.kill();
        }
    });
    tripline.start_ready();
    let expected: BTreeSet<String> = (0..USERS).map(|user| format!("user-{user}")).collect();
    eventually("every user's fifth read is an alert that arrived", || {
        let arrived: BTreeSet<String> =
            users(&hook.alerts("/alerts"), "five_reads").into_iter().collect();
        (arrived == expected).then_some(())
    });
    never("somebody's reads are counted twice", Duration::from_secs(3), || {
        users(&hook.alerts("/alerts"), "six_reads").first().cloned()
    });
    // A record that is read twice would be caught as a duplicate; state and positions that move
    // together do not even come to that.
    assert_eq!(tripline.metric("tripline_events_duplicate_total", &[]), Some(0.0));
    tripline.stop();
}
