//! One process owns the whole stream: a second one takes it over, and new partitions are its too.

use crate::{
    harness::{
        Service, available, eventually, hook::Hook, kafka::Kafka, never, tripline::Tripline,
    },
    rules::{READS_COUNTED, SECRET_READ, read, source, to_hook, users},
};
use axum::http::StatusCode;
use std::time::{Duration, Instant};

/// Exit code of a process that was fenced; part of the command line's contract.
const FENCED: i32 = 3;

#[test]
fn a_second_process_fences_the_first() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook, other_hook) = (Kafka::shared(), Hook::started(), Hook::started());
    kafka.create_topic("fenced", 6);
    let producer = kafka.producer();
    let mut first = Tripline::new(&(source(kafka, "fenced") + &to_hook(&hook)), &[SECRET_READ]);
    first.start_ready();
    producer.send("fenced", read("user-a", "s"));
    eventually("the first process delivers", || (hook.alerts("/alerts").len() == 1).then_some(()));

    let mut second =
        Tripline::new(&(source(kafka, "fenced") + &to_hook(&other_hook)), &[SECRET_READ]);
    second.start_ready();
    let status = first.process().wait();
    assert_eq!(status.code(), Some(FENCED));
    let said = first.log();
    assert!(said.contains("another Tripline process has taken over the stream"), "{said}");

    let before = hook.alerts("/alerts").len();
    for partition in 0..6 {
        let event = read(&format!("user-{partition}"), "after");
        producer.send_to("fenced", Some(partition), Some(event.as_bytes()));
    }
    eventually("the second process reads every partition", || {
        let alerts = other_hook.alerts("/alerts");
        let users = users(&alerts, "secret_read");
        (0..6).all(|partition| users.contains(&format!("user-{partition}"))).then_some(())
    });
    assert_eq!(hook.alerts("/alerts").len(), before, "the first one delivered after it was fenced");
    second.stop();
}

#[test]
fn partitions_that_are_added_are_read() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("grows", 1);
    let mut tripline = Tripline::new(&(source(kafka, "grows") + &to_hook(&hook)), &[READS_COUNTED]);
    tripline.start_ready();
    let send = |partition| {
        kafka.producer().send_to("grows", Some(partition), Some(read("user-a", "s").as_bytes()));
    };
    send(0);
    kafka.add_partitions("grows", 4);
    // Four of the five reads are in partitions that were not there at the start, and they arrive
    // before the new partitions are noticed: reading those must begin at their beginning.
    (0..4).for_each(send);
    eventually("reads of old and new partitions count together", || {
        users(&hook.alerts("/alerts"), "five_reads").first().cloned()
    });
    never("a sixth read is counted", Duration::from_secs(2), || {
        users(&hook.alerts("/alerts"), "six_reads").first().cloned()
    });
    tripline.stop();
}

#[test]
fn a_process_that_was_suspended_counts_nothing_of_what_another_one_has() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook, other_hook) = (Kafka::shared(), Hook::started(), Hook::started());
    kafka.create_topic("suspended", 2);
    let producer = kafka.producer();
    let mut first = Tripline::new(&(source(kafka, "suspended") + &to_hook(&hook)), &[SECRET_READ]);
    first.start_ready();
    producer.send("suspended", read("user-before", "s"));
    eventually("the first process delivers", || hook.alerts("/alerts").pop());
    // It owes something, and tries again and again.
    hook.refuse_with(Some((StatusCode::INTERNAL_SERVER_ERROR, "1")));
    producer.send("suspended", read("user-owed", "s"));
    eventually("it is tried", || hook.refused().pop());
    first.process().signal("STOP");
    hook.refuse_with(None);
    let suspended = Instant::now();
    let config = source(kafka, "suspended") + &to_hook(&other_hook);
    let mut second = Tripline::new(&config, &[SECRET_READ]);
    second.start_ready();
    for number in 0..50 {
        producer.send("suspended", read(&format!("user-{number}"), "s"));
    }
    eventually("the second process delivers", || {
        (users(&other_hook.alerts("/alerts"), "secret_read").len() >= 50).then_some(())
    });
    let before = users(&hook.alerts("/alerts"), "secret_read");
    // Who was away for less than a second does not know it.
    eventually("it was away for long", || {
        (suspended.elapsed() >= Duration::from_secs(2)).then_some(())
    });
    first.process().signal("CONT");
    assert_eq!(first.process().wait().code(), Some(FENCED));
    assert_eq!(users(&hook.alerts("/alerts"), "secret_read"), before, "told by both");
    second.stop();
}
