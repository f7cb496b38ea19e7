//! The shipped rules on the traffic of a cluster under attack, through a real broker.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

use tripline::generate::{STORIES, Story};

use crate::{
    harness::{Service, available, eventually, hook::Hook, kafka::Kafka, tripline::Tripline},
    rules::{source, to_hook},
};

#[test]
fn every_attack_of_the_generator_is_caught_by_the_shipped_rules() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("stories", 6);
    let generate = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(["generate", "--for", "1h", "--rate", "5", "--stories", "all", "--seed", "7"])
        .args(["--brokers", &kafka.brokers(), "--topic", "stories"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(generate.status.success(), "{}", String::from_utf8_lossy(&generate.stderr));

    let mut tripline = Tripline::new(&(source(kafka, "stories") + &to_hook(&hook)), &[]);
    tripline.link_rules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("rules"));
    tripline.start_ready();
    // Those that need days of history are held to their rules in `rule_pack`.
    let stories = Story::all(false).into_iter().map(|index| &STORIES[index]);
    let expected: BTreeSet<&str> =
        stories.flat_map(|story| story.expected_rules).copied().collect();
    assert!(expected.len() >= 8, "{expected:?}");
    for rule in expected {
        eventually(&format!("an alert of {rule}"), || {
            hook.alerts("/alerts")
                .iter()
                .find(|alert| alert["labels"]["alertname"] == rule)
                .cloned()
        });
    }
    tripline.stop();
}
