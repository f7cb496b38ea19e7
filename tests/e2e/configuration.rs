//! The smallest file, settings from the environment, and what is served about all of it.

use std::collections::BTreeMap;

use crate::{
    harness::{
        Service, available, eventually, get, get_any, hook::Hook, kafka::Kafka, tripline::Tripline,
    },
    rules::{SECRET_READ, read, users},
};

const SMALLEST: &str = include_str!("../data/config/smallest.yaml");

#[test]
fn the_smallest_file_works_and_the_environment_wins_over_it() {
    if !available(&[Service::Kafka]) {
        return;
    }
    let (kafka, hook) = (Kafka::shared(), Hook::started());
    kafka.create_topic("smallest", 1);
    let mut tripline = Tripline::new("", &[SECRET_READ]);
    tripline.write("tripline.yaml", SMALLEST);
    let checked = tripline.command("check").output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    // Its ports may be taken on this machine; everything else is as it stands there.
    for (name, value) in [
        ("TRIPLINE_SOURCES_0_KAFKA_BROKERS", format!("[{}]", kafka.brokers())),
        ("TRIPLINE_SOURCES_0_KAFKA_TOPICS", "[smallest]".to_owned()),
        ("TRIPLINE_HTTP_LISTEN", tripline.http_address()),
        ("TRIPLINE_RECEIVERS_0_WEBHOOK_URL", hook.url("/alerts")),
    ] {
        tripline.set_variable(name, &value);
    }
    tripline.start_ready();
    kafka.producer().send("smallest", read("user-a", "s"));
    eventually("the alert arrives", || users(&hook.alerts("/alerts"), "secret_read").pop());

    let (status, text) = get_any(&tripline.url("/healthz")).unwrap();
    assert_eq!((status, text.lines().next()), (200, Some("healthy")));
    for part in ["rules", "source kafka", "store"] {
        assert!(text.lines().any(|line| line.starts_with(part)), "no {part} in {text}");
    }
    let metrics = || get(&tripline.url("/metrics")).unwrap();
    for series in SERIES {
        eventually(&format!("the series {series}"), || {
            metrics().lines().any(|line| line.starts_with(series)).then_some(())
        });
    }
    check_descriptions(&metrics());
    tripline.stop();
    assert!(tripline.path().join("state/tripline.db").exists());
}

/// What a team needs to write alert rules on.
const SERIES: [&str; 12] = [
    "tripline_source_up{source=\"kafka\"} 1",
    "tripline_source_lag_records{partition=\"0\",topic=\"smallest\"} 0",
    "tripline_watermark_delay_seconds ",
    "tripline_decode_failures_total{reason=\"not_json\"} 0",
    "tripline_rule_errors_total{reason=\"template\"} 0",
    "tripline_batches_in_flight ",
    "tripline_notifications_pending 0",
    "tripline_delivery_attempts_total{kind=\"webhook\",outcome=\"delivered\",reason=\"\",receiver=\"hook\",recipient=\"\"} 1",
    "tripline_delivery_attempts_total{kind=\"webhook\",outcome=\"retry\",reason=\"timeout\",receiver=\"hook\",recipient=\"\"} 0",
    "tripline_delivery_attempts_total{kind=\"webhook\",outcome=\"rejected\",reason=\"auth_error\",receiver=\"hook\",recipient=\"\"} 0",
    "tripline_alerts_total{rule=\"secret_read\",severity=\"high\",state=\"firing\"} 1",
    "tripline_alerts_firing{rule=\"secret_read\",severity=\"high\"} 1",
];

/// Each metric has its help and its type, once.
fn check_descriptions(text: &str) {
    let mut described: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        if let ["#", "HELP" | "TYPE", name, rest] = words[..] {
            assert!(!rest.is_empty(), "{line}");
            *described.entry(name).or_default() += 1;
        }
    }
    assert!(described.values().all(|count| *count == 2), "{described:?}");
}
