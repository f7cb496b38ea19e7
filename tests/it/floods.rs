//! Floods that somebody makes to hide in: of keys, of values, of alerts. Whatever a seed makes of them, an attack
//! among them is told, and by name.
//!
//! `FLOOD_SEEDS=500` tries more of them.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use tripline::engine::{
    alert::{Alert, AlertState},
    detector::Detector,
    record::{PartitionName, RecordBatch},
    rule::RuleSet,
    settings::EngineSettings,
    shard::Shard,
    time::{EventTime, WallTime},
};

use super::{padding::Dice, reference::engine::rules};

const RULES: &str = "\
title: reads
name: reads
logsource: {product: kubernetes, service: audit}
detection: {read: {verb: get}, condition: read}
generate: false
---
title: lists
name: lists
logsource: {product: kubernetes, service: audit}
detection: {list: {verb: list}, condition: list}
generate: false
---
title: often
name: often
correlation: {type: event_count, rules: [reads], group-by: [user.username], timespan: 1h, condition: {gte: 6}}
---
title: many
name: many
correlation:
  type: value_count
  rules: [reads]
  group-by: [user.username]
  timespan: 1h
  condition: {field: objectRef.name, gte: 6}
---
title: before
name: before
correlation: {type: temporal_ordered, rules: [lists, reads], group-by: [user.username], timespan: 1h}
---
title: exec
name: exec
logsource: {product: kubernetes, service: audit}
detection: {exec: {objectRef.subresource: exec}, condition: exec}
tripline: {group-by: [user.username, objectRef.name]}
";

/// Whoever attacks, among many.
const ATTACKER: &str = "mallory";

const START: i64 = 1_772_445_600_000_000;

/// A key of thirty bytes takes a hundred here: each of the three correlations that have keys has room for some ten
/// thousand when all have as many.
fn settings() -> EngineSettings {
    let grace = Duration::from_secs(30);
    EngineSettings { grace, memory: 4 << 20, ..EngineSettings::default() }
}

/// A stream of events, a second of them or less at once.
pub(super) struct Stream {
    detector: Detector,
    pub(super) shard: Shard,
    batch: RecordBatch,
    partition: Arc<PartitionName>,
    /// Microseconds since [`START`].
    pub(super) at: i64,
    number: u64,
    pub(super) alerts: Vec<Alert>,
}

impl Stream {
    pub(super) fn new(rules: &Arc<RuleSet>, settings: EngineSettings) -> Stream {
        Stream {
            detector: Detector::new(Arc::clone(rules), 0, &settings),
            shard: Shard::new(Arc::clone(rules), 0, settings),
            batch: RecordBatch::default(),
            partition: Arc::new(PartitionName::new("audit", 0)),
            at: 0,
            number: 0,
            alerts: Vec::new(),
        }
    }

    pub(super) fn event(&mut self, verb: &str, user: &str, name: &str, subresource: &str) {
        self.number += 1;
        let time = EventTime::from_micros(START + self.at).rfc3339();
        let mut event = String::new();
        write!(
            event,
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{}","stage":"ResponseComplete","requestURI":"/x","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{{"resource":"pods","namespace":"shop","name":"{name}","subresource":"{subresource}"}},"responseStatus":{{"code":200}},"requestReceivedTimestamp":"{time}","stageTimestamp":"{time}"}}"#,
            self.number
        )
        .unwrap();
        self.batch.push(&self.partition, 0, None, Some(event.as_bytes()));
        if self.batch.records.len() == 500 {
            self.hand_over();
        }
    }

    pub(super) fn hand_over(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let now = WallTime::from_micros(START + self.at);
        let found = self.detector.detect(now, &batch);
        assert_eq!(found.dead_letters, []);
        self.shard.handle_batch(now, &found);
        while let Some(alert) = self.shard.poll_alert() {
            self.alerts.push(alert);
        }
    }

    /// Whether people heard of the attacker by this rule.
    fn is_told(&self, rule: &str) -> bool {
        self.alerts.iter().any(|alert| {
            alert.state == AlertState::Firing
                && alert.rule_title == rule
                && format!("{:?} {:?}", alert.key, alert.annotations).contains(ATTACKER)
        })
    }
}

/// Something that goes on between two steps of the attack, for so many events.
fn flood(stream: &mut Stream, dice: &mut Dice, events: usize) {
    let kind = dice.below(5);
    let base = stream.number;
    for number in 0..events {
        // All of it within some minutes.
        stream.at += 5_000;
        let fresh = format!("n{base}-{number}");
        match kind {
            // Keys that did one thing, and keys that did a little.
            0 => stream.event("get", &fresh, "a", ""),
            1 => stream.event("get", &format!("k{base}-{}", number / 3), "a", ""),
            // The same again and again, by the attacker.
            2 => stream.event("get", ATTACKER, "step-0", ""),
            // Values of one key.
            3 => stream.event("get", "noisy", &fresh, ""),
            // Alerts, each of somebody else or all of one.
            _ if number % 2 == 0 => stream.event("create", &fresh, "a", "exec"),
            _ => stream.event("create", "noisy", &fresh, "exec"),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn an_attack_among_floods_is_told() {
    let rules = rules(RULES);
    let mut missed = Vec::new();
    for seed in 0..number("FLOOD_SEEDS").unwrap_or(6) {
        let mut dice = Dice(seed);
        let mut stream = Stream::new(&rules, settings());
        stream.event("list", ATTACKER, "all", "");
        for step in 0..6 {
            stream.at += 1_000_000;
            stream.event("get", ATTACKER, &format!("step-{step}"), "");
            let events = [10, 2_000, 12_000, 30_000][dice.below(4)];
            flood(&mut stream, &mut dice, events);
        }
        stream.event("create", ATTACKER, "db-0", "exec");
        stream.hand_over();
        for rule in ["often", "many", "before", "exec"] {
            if !stream.is_told(rule) {
                missed.push(format!("seed {seed}: {rule}"));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
