//! Rules that are edited while Tripline runs: taken whole or not at all, and windows go on.

use crate::{
    harness::{Service, available, eventually, hook::Hook, kafka::Kafka, tripline::Tripline},
    rules::{READS_COUNTED, SECRET_READ, is_told, read, source, to_hook, users},
};

/// Of the alert that says an edit was refused.
const REFUSED: &str = "TriplineReloadFailed";

#[test]
fn an_edit_is_taken_whole_or_not_at_all_and_windows_go_on() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("edited", 1);
    let producer = kafka.producer();
    let config = source(kafka, "edited") + &to_hook(&hook) + "reload: {interval: 1s}\n";
    let mut tripline = Tripline::new(&config, &[READS_COUNTED]);
    tripline.start_ready();
    let states = |rule: &str| -> Vec<String> {
        let alerts = hook.alerts("/alerts");
        let of_rule = alerts.iter().filter(|alert| alert["labels"]["alertname"] == rule);
        of_rule.map(|alert| alert["state"].as_str().unwrap().to_owned()).collect()
    };
    for number in 0..3 {
        producer.send("edited", read("user-a", &format!("s{number}")));
    }
    eventually("the first reads are counted", || {
        (tripline.metric("tripline_records_total", &[])? >= 3.0).then_some(())
    });

    // Another rule, in another file: those that are there keep their windows.
    let other = SECRET_READ.1.replace("name: secret_read", "name: another_rule");
    tripline.write("rules/another.yaml", &other);
    eventually("the new rule is in use", || {
        (tripline.metric("tripline_rules_loaded", &[])? >= 4.0).then_some(())
    });
    for number in 3..5 {
        producer.send("edited", read("user-a", &format!("s{number}")));
    }
    eventually("reads before and after the edit count together", || {
        users(&hook.alerts("/alerts"), "five_reads").pop()
    });
    eventually("the new rule alerts", || users(&hook.alerts("/alerts"), "another_rule").pop());

    tripline.write("rules/another.yaml", &other.replace("condition: read", "condition: reed"));
    eventually("somebody hears that the edit was refused", || {
        (states(REFUSED) == ["firing"]).then_some(())
    });
    let (status, text) = tripline.readiness().unwrap();
    assert!(status == 200 && text.contains("the rules before it go on"), "{status} {text}");
    producer.send("edited", read("user-b", "s"));
    eventually("the rules before it go on", || is_told(&hook, "another_rule", "user-b"));

    // It is mended while nobody looks.
    tripline.kill();
    tripline.write("rules/another.yaml", &other);
    tripline.start_ready();
    // That it began may be said again, if the process died before it knew that it was said.
    let is_over = |states: &[String]| states.iter().position(|state| state == "resolved");
    eventually("and that it is over", || is_over(&states(REFUSED)));
    tripline.stop();
    tripline.start_ready();
    tripline.stop();
    let states = states(REFUSED);
    assert_eq!(is_over(&states), Some(states.len() - 1), "it is over once: {states:?}");
}
