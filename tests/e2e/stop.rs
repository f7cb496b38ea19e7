//! SIGTERM: what is held is finished, within a time; the rest is done by the next start.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{
        Service, available, eventually, hook::Hook, kafka::Kafka, never, tripline::Tripline,
    },
    rules::{READS_COUNTED, SECRET_READ, read, source, to_hook, users},
};

/// How long a stop may take: 10 s for receivers, and some for a busy machine.
const STOP_MAX: Duration = Duration::from_secs(25);

/// Users, each of whom reads five secrets.
const USERS: usize = 120;

#[test]
fn stopped_again_and_again_under_load_it_loses_nothing_and_counts_nothing_twice() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("stopped", 4);
    let config = source(kafka, "stopped") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[READS_COUNTED]);
    let all_sent = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let producer = kafka.producer();
            for round in 0..5 {
                for user in 0..USERS {
                    producer.send("stopped", read(&format!("user-{user}"), &format!("s{round}")));
                }
            }
            all_sent.store(true, Ordering::Relaxed);
        });
        for _ in 0..3 {
            tripline.start_ready();
            eventually("it has worked off some records since its start", || {
                let records = tripline.metric("tripline_records_total", &[])?;
                (records > 20.0 || all_sent.load(Ordering::Relaxed)).then_some(())
            });
            let told = Instant::now();
            tripline.stop();
            assert!(told.elapsed() < STOP_MAX, "{:?}", told.elapsed());
        }
    });
    tripline.start_ready();
    let expected: BTreeSet<String> = (0..USERS).map(|user| format!("user-{user}")).collect();
    eventually("every user's fifth read is an alert that arrived", || {
        let arrived: BTreeSet<String> =
            users(&hook.alerts("/alerts"), "five_reads").into_iter().collect();
        (arrived == expected).then_some(())
    });
    never("somebody's reads are counted twice", Duration::from_secs(2), || {
        users(&hook.alerts("/alerts"), "six_reads").first().cloned()
    });
    let mut told = users(&hook.alerts("/alerts"), "five_reads");
    told.sort();
    told.dedup_by(|one, other| one == other);
    assert_eq!(told.len(), USERS);
    tripline.stop();
}

#[test]
fn a_receiver_without_an_answer_does_not_hold_up_a_stop_and_is_told_by_the_next_start() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("silent", 1);
    let config = source(kafka, "silent") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    hook.set_silent(true);
    kafka.producer().send("silent", read("user-a", "s"));
    eventually("a notification is owed", || {
        (tripline.metric("tripline_notifications_pending", &[])? >= 1.0).then_some(())
    });
    let told = Instant::now();
    tripline.process().signal("TERM");
    // Whoever is impatient may say it again; it changes nothing.
    tripline.process().signal("TERM");
    let status = tripline.process().wait();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(told.elapsed() < STOP_MAX, "{:?}", told.elapsed());
    let log = tripline.log();
    assert!(log.contains("what is owed will be sent by the next start"), "{log}");

    hook.set_silent(false);
    tripline.start_ready();
    eventually("the next start tells it", || users(&hook.alerts("/alerts"), "secret_read").pop());
    tripline.stop();
}

#[test]
fn a_second_interrupt_ends_it_at_once() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("interrupted", 1);
    let config = source(kafka, "interrupted") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    hook.set_silent(true);
    kafka.producer().send("interrupted", read("user-a", "s"));
    eventually("a notification is owed", || {
        (tripline.metric("tripline_notifications_pending", &[])? >= 1.0).then_some(())
    });
    tripline.process().signal("INT");
    eventually("the first is noticed", || tripline.log().contains("stopping").then_some(()));
    let told = Instant::now();
    tripline.process().signal("INT");
    tripline.process().wait();
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
}
