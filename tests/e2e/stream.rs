//! Whose the stream is, and where it goes on, whatever becomes of group, topic and state.

use std::{fs, time::Duration};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::RDKafkaErrorCode,
};
use serde_json::Value;

use crate::{
    harness::{
        Service, available, eventually, hook::Hook, kafka::Kafka, never, tripline::Tripline,
    },
    rules::{READS_COUNTED, SECRET_READ, is_told, read, source, to_hook, users},
};

/// A consumer as other programs make them.
fn stranger(kafka: &Kafka, group: &str, more: &[(&str, &str)]) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers()).set("group.id", group);
    config.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    for (name, value) in more {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

/// Alerts of one name that fire.
fn firing(hook: &Hook, name: &str) -> Vec<Value> {
    let is_meant =
        |alert: &Value| alert["labels"]["alertname"] == name && alert["state"] == "firing";
    hook.alerts("/alerts").into_iter().filter(is_meant).collect()
}

#[test]
fn a_stranger_in_the_group_takes_nothing_and_moves_nothing() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("shared-group", 4);
    // It is there first, as a console consumer that somebody left running.
    let other = stranger(kafka, "shared-group", &[]);
    other.subscribe(&["shared-group"]).unwrap();
    eventually("the stranger has partitions", || {
        drop(other.poll(Duration::from_millis(100)));
        other.assignment().ok().filter(|list| list.count() == 4).map(|_| ())
    });
    let config = source(kafka, "shared-group") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    let producer = kafka.producer();
    let send = |prefix: &str| {
        for partition in 0..4 {
            let event = read(&format!("{prefix}-{partition}"), "s");
            producer.send_to("shared-group", Some(partition), Some(event.as_bytes()));
        }
    };
    let all_told = |prefix: &str| {
        let told = users(&hook.alerts("/alerts"), "secret_read");
        (0..4).all(|number| told.contains(&format!("{prefix}-{number}"))).then_some(())
    };
    send("before");
    eventually("every partition is read by us", || all_told("before"));
    eventually("it is told, shown and counted who else is there", || {
        drop(other.poll(Duration::ZERO));
        let shared = tripline.metric("tripline_source_group_shared", &[])? >= 1.0;
        let (_, text) = tripline.readiness()?;
        let is_told = !firing(&hook, "TriplineGroupShared").is_empty();
        (shared && is_told && text.contains("members of its consumer group")).then_some(())
    });

    // What it commits is beyond what we have read when we come back.
    tripline.stop();
    send("meanwhile");
    let mut list = TopicPartitionList::new();
    for partition in 0..4 {
        list.add_partition_offset("shared-group", partition, Offset::Offset(2)).unwrap();
    }
    eventually("the stranger commits", || {
        drop(other.poll(Duration::from_millis(100)));
        other.commit(&list, CommitMode::Sync).ok()
    });
    drop(other);
    tripline.start_ready();
    eventually("what came meanwhile is read", || all_told("meanwhile"));
    eventually("it is over when the stranger is gone", || {
        tripline.metric("tripline_source_group_shared", &[]).filter(|shared| *shared < 1.0)
    });
    tripline.stop();
}

#[test]
fn a_process_of_an_earlier_version_is_fenced() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("earlier", 2);
    let instance = [
        ("group.instance.id", "earlier-tripline-owner"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("heartbeat.interval.ms", "1000"),
    ];
    let earlier = stranger(kafka, "earlier", &instance);
    earlier.subscribe(&["earlier"]).unwrap();
    eventually("the earlier version has its partitions", || {
        drop(earlier.poll(Duration::from_millis(100)));
        earlier.assignment().ok().filter(|list| list.count() == 2).map(|_| ())
    });
    let mut tripline = Tripline::new(&(source(kafka, "earlier") + &to_hook(&hook)), &[SECRET_READ]);
    tripline.start();
    eventually("the earlier version is fenced", || {
        drop(earlier.poll(Duration::from_millis(100)));
        let (code, _) = earlier.client().fatal_error()?;
        (code == RDKafkaErrorCode::FencedInstanceId).then_some(())
    });
    tripline.wait_ready();
    kafka.producer().send("earlier", read("user-a", "s"));
    eventually("the new one reads", || users(&hook.alerts("/alerts"), "secret_read").pop());
    tripline.stop();
}

#[test]
fn a_topic_made_anew_is_read_from_its_beginning_however_long_it_is() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("anew", 1);
    let send = |prefix: &str, count: u32| {
        let producer = kafka.producer();
        for number in 0..count {
            producer.send("anew", read(&format!("{prefix}-{number}"), "s"));
        }
    };
    let told = |name: String| is_told(&hook, "secret_read", &name);
    let mut tripline = Tripline::new(&(source(kafka, "anew") + &to_hook(&hook)), &[SECRET_READ]);
    tripline.start_ready();
    send("old", 3);
    eventually("the first topic is read", || told("old-2".to_owned()));
    eventually("the checkpoint knows which topic it was", || {
        let database =
            rusqlite::Connection::open(tripline.path().join("state/tripline.db")).ok()?;
        let known = "SELECT count(log) FROM position WHERE topic = 'anew'";
        let known: i64 = database.query_row(known, [], |row| row.get(0)).ok()?;
        (known == 1).then_some(())
    });
    tripline.stop();

    // Longer than where the last process stood, so that its position is there again.
    kafka.make_anew("anew", 1);
    send("second", 6);
    tripline.start_ready();
    for number in 0..6 {
        eventually("all of the second topic is told", || told(format!("second-{number}")));
    }
    eventually("that it is another one is told", || firing(&hook, "TriplineTopicMadeAnew").pop());
    assert!(tripline.metric("tripline_source_rewinds_total", &[]).unwrap() >= 1.0);

    // The same while it runs.
    kafka.make_anew("anew", 1);
    send("third", 9);
    for number in 0..9 {
        eventually("all of the third topic is told", || told(format!("third-{number}")));
    }
    tripline.stop();
}

#[test]
fn brokers_that_are_put_back_from_an_earlier_copy_are_read_again() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (mut kafka, hook) = (Kafka::started(), Hook::started());
    kafka.create_topic("put-back", 2);
    let send = |kafka: &Kafka, name: &str, partition: i32| {
        let event = read(name, "s");
        kafka.producer().send_to("put-back", Some(partition), Some(event.as_bytes()))
    };
    let told = || users(&hook.alerts("/alerts"), "secret_read");
    let is_told = |name: &str| is_told(&hook, "secret_read", name);
    let config = source(&kafka, "put-back") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    send(&kafka, "first", 0);
    eventually("what is in the copy is read", || is_told("first"));
    kafka.keep_copy();
    (0..5).for_each(|_| _ = send(&kafka, "gone", 0));
    // Each start makes the leaders' epochs higher: the library has heard of ones that the copy does not reach.
    kafka.stop();
    kafka.start();
    send(&kafka, "last", 0);
    eventually("what is not in the copy is read", || is_told("last"));

    kafka.put_back();
    assert_eq!(send(&kafka, "again-0", 0), 1, "the log is that of the copy");
    send(&kafka, "again-1", 1);
    eventually("the partition that goes back is read", || is_told("again-0"));
    eventually("the one that stands where it stood is read", || is_told("again-1"));
    eventually("that it went back is told", || firing(&hook, "TriplineTopicMadeAnew").pop());
    send(&kafka, "later-0", 0);
    send(&kafka, "later-1", 1);
    eventually("it goes on in the one", || is_told("later-0"));
    eventually("and in the other", || is_told("later-1"));
    let mut once = told();
    once.sort_unstable();
    let all = ["again-0", "again-1", "first", "gone", "last", "later-0", "later-1"];
    assert_eq!(once, all, "each is told once");
    tripline.wait_ready();
    tripline.stop();
}

#[test]
fn a_topic_made_anew_after_its_leader_changed_is_read_from_its_beginning() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (mut kafka, hook) = (Kafka::started(), Hook::started());
    kafka.create_topic("younger", 1);
    let is_told = |name: &str| is_told(&hook, "secret_read", name);
    let config = source(&kafka, "younger") + &to_hook(&hook);
    let mut tripline = Tripline::new(&config, &[SECRET_READ]);
    tripline.start_ready();
    // The leader of the first topic has a higher epoch by now than that of the second one will have.
    kafka.stop();
    kafka.start();
    kafka.producer().send("younger", read("old", "s"));
    eventually("the first topic is read", || is_told("old"));
    kafka.make_anew("younger", 1);
    for name in ["new-0", "new-1", "new-2"] {
        kafka.producer().send("younger", read(name, "s"));
    }
    for name in ["new-0", "new-1", "new-2"] {
        eventually("all of the second topic is told", || is_told(name));
    }
    eventually("that it is another one is told", || firing(&hook, "TriplineTopicMadeAnew").pop());
    tripline.stop();
}

#[test]
fn what_was_deleted_before_it_was_read_is_counted_and_told() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("retained", 1);
    let send = |name: &str| kafka.producer().send("retained", read(name, "s"));
    let mut tripline =
        Tripline::new(&(source(kafka, "retained") + &to_hook(&hook)), &[SECRET_READ]);
    tripline.start_ready();
    send("first");
    eventually("it is read", || users(&hook.alerts("/alerts"), "secret_read").pop());
    tripline.stop();
    (0..3).for_each(|_| send("lost"));
    send("kept");
    kafka.delete_records("retained", Offset::Offset(4));
    tripline.start_ready();
    let lost = || tripline.metric("tripline_source_records_lost_total", &[]);
    eventually("the loss is counted", || lost().filter(|lost| *lost >= 3.0));
    assert_eq!(lost(), Some(3.0));
    eventually("and told", || firing(&hook, "TriplineRecordsLost").pop());
    eventually("what is left is read", || is_told(&hook, "secret_read", "kept"));
    tripline.stop();
}

#[test]
fn windows_of_lost_state_are_rebuilt_and_nothing_is_told_twice() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("rebuilt", 2);
    let producer = kafka.producer();
    let reads = |user: &str, count: i32| {
        for number in 0..count {
            let event = read(user, &format!("s{number}"));
            producer.send_to("rebuilt", Some(number % 2), Some(event.as_bytes()));
        }
    };
    let mut tripline =
        Tripline::new(&(source(kafka, "rebuilt") + &to_hook(&hook)), &[READS_COUNTED]);
    tripline.start_ready();
    reads("user-told", 5);
    reads("user-four", 4);
    eventually("five are told", || users(&hook.alerts("/alerts"), "five_reads").pop());
    eventually("all are counted", || {
        tripline.metric("tripline_records_total", &[]).filter(|records| *records >= 9.0)
    });
    tripline.stop();
    let before = hook.alerts("/alerts").len();
    fs::remove_dir_all(tripline.path().join("state")).unwrap();

    tripline.start_ready();
    let told = |rule: &str| {
        let alerts = hook.alerts("/alerts");
        users(alerts.get(before..).unwrap_or_default(), rule)
    };
    eventually("people hear that state was lost", || firing(&hook, "TriplineStateLost").pop());
    reads("user-four", 1);
    eventually("the fifth counts with the four before", || {
        told("five_reads").contains(&"user-four".to_owned()).then_some(())
    });
    reads("user-told", 1);
    eventually("the sixth of five counts, too", || {
        told("six_reads").contains(&"user-told".to_owned()).then_some(())
    });
    let twice = || told("five_reads").into_iter().find(|user| user == "user-told");
    never("what was told is told again", Duration::from_secs(2), twice);
    tripline.stop();
}
