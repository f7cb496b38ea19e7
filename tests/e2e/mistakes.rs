//! Mistakes of people: all shown at once, exit code 2, and nothing consumed.

use std::process::Output;

use crate::{
    harness::{Service, available, hook::Hook, kafka::Kafka, tripline::Tripline},
    rules::{SECRET_READ, read, source, to_hook},
};

fn run(tripline: &Tripline, subcommand: &str) -> (Option<i32>, String) {
    let Output { status, stderr, stdout } = tripline.command(subcommand).output().unwrap();
    let text = String::from_utf8_lossy(&stderr) + String::from_utf8_lossy(&stdout);
    (status.code(), text.into_owned())
}

/// Needs no service, so it always runs.
#[test]
fn every_mistake_of_configuration_and_rules_is_shown_with_its_place() {
    let broken = SECRET_READ
        .1
        .replace("verb: get", "verbb: get")
        .replace("condition: read", "condition: reed");
    let tripline = Tripline::new(
        "sources: [{kafka: {brokers: ['127.0.0.1:1'], topics: [audit], grup: t}}]
receivers: [{name: hook, webhook: {url: 'http://127.0.0.1:1/'}}]
route: {receiver: hooks}
",
        &[("broken.yaml", &broken)],
    );
    for subcommand in ["check", "run"] {
        let (code, text) = run(&tripline, subcommand);
        assert_eq!(code, Some(2), "{subcommand}: {text}");
        for expected in
            ["tripline.yaml:4", "grup", "tripline.yaml:6", "hooks", "broken.yaml:7", "reed"]
        {
            assert!(text.contains(expected), "{subcommand} does not say {expected:?}:\n{text}");
        }
    }
}

#[test]
fn a_mistake_consumes_nothing() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("mistake", 1);
    kafka.producer().send("mistake", read("user-a", "s"));
    let config = format!("{}{}", source(kafka, "mistake"), to_hook(&hook));
    let mut tripline = Tripline::new(&format!("{config}rout: {{}}\n"), &[SECRET_READ]);
    let (code, text) = run(&tripline, "run");
    assert_eq!(code, Some(2), "{text}");
    assert_eq!(kafka.committed("mistake", "mistake"), None);
    assert!(!tripline.path().join("state").exists(), "state was made before the mistake was seen");

    // Mended, it starts with the record that was there.
    tripline.configure(&config);
    tripline.start_ready();
    crate::harness::eventually("the alert arrives", || {
        (!hook.alerts("/alerts").is_empty()).then_some(())
    });
    tripline.stop();
}
