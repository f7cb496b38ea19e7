//! Runs the rules of a package over its events: the same alert must come of it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    events::{rules_of, with_inputs},
    package::{ALERT, EventFile, Manifest, Package},
    rules::sources,
    snapshot::Snapshot,
};
use crate::engine::{
    alert::Alert,
    detect::Detection,
    detector::Detector,
    record::{PartitionName, RecordBatch},
    rule::{Rule, RuleSet},
    settings::EngineSettings,
    shard::Shard,
    text::{counted, span},
    time::EventTime,
};

/// What came of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// Fingerprint and value of the alert in the package.
    pub expected: (String, f64),
    /// The value that the replay came to; `None` if there was no such alert.
    pub value: Option<f64>,
    /// Names and fingerprints of other alerts that came of the events.
    pub others: Vec<String>,
    /// Events that were run over.
    pub events: usize,
    /// What cannot be relied on, for people.
    pub doubts: Vec<String>,
    /// Why nobody can say by these events whether the alert was right, for people; `None` if they show it.
    pub undecided: Option<String>,
}

impl Replayed {
    /// Whether the same alert came of it.
    pub fn is_same(&self) -> bool {
        self.value == Some(self.expected.1)
    }
}

/// Runs the rules of a package over its events.
///
/// # Errors
/// Rules or events are not in it, or are not what their hashes say.
pub fn replay(package: &Package) -> Result<Replayed, String> {
    let manifest = package.manifest()?;
    let alert = package.text(ALERT).ok_or("there is no alert.json")?;
    let snapshot: Snapshot =
        serde_json::from_str(alert).map_err(|error| format!("alert.json: {error}"))?;
    let sources = sources(package, &manifest.rules)?;
    let mut doubts = Vec::new();
    if sources.version() != manifest.rule_set {
        doubts.push("the files are not all of the rule set that was in force".to_owned());
    }
    let rules = rules_of(&sources, Duration::from_secs(manifest.resolve_after))?;
    let there = |event: &&EventFile| event.file.is_some();
    let events: Vec<&EventFile> = manifest.events.iter().filter(there).collect();
    let missing = manifest.events.len() - events.len();
    if missing > 0 {
        doubts.push(format!("{missing} of {} events are not in it", manifest.events.len()));
    }
    let batch = batch_of(package, &manifest, &events)?;
    let last = EventTime::parse(&snapshot.last_seen).ok_or("a time of the alert is damaged")?;
    let settings = EngineSettings::default();
    let now = last.plus(settings.grace).as_wall();
    let mut detector = Detector::new(Arc::clone(&rules), 0, &settings).of_history();
    let mut shard = Shard::new(Arc::clone(&rules), 0, settings);
    shard.handle_ready(now, &batch.partitions);
    let detected = detector.detect(now, &batch);
    shard.handle_batch(now, &detected);
    shard.flush(now);
    let memory = memory_of(&rules, &manifest.rule, &detected.detections);
    let (mut value, mut others) = (None, Vec::new());
    while let Some(alert) = shard.poll_alert() {
        if alert.fingerprint.to_string() == manifest.fingerprint {
            value = Some(value.map_or(alert.value, |before: f64| before.max(alert.value)));
        } else {
            let name = named(&alert);
            if !others.contains(&name) {
                others.push(name);
            }
        }
    }
    let expected = (manifest.fingerprint, snapshot.value);
    let undecided = if value == Some(expected.1) { None } else { memory };
    Ok(Replayed { expected, value, others, events: events.len(), doubts, undecided })
}

/// What a rule, or one below it, compares with and the package does not have; `None`: all that it goes by is there, or
/// the events are none that it is about.
fn memory_of(rules: &RuleSet, rule: &str, detections: &[Detection]) -> Option<String> {
    let below = with_inputs(rules, rules.find(rule)?);
    let (rule, is_silence) = below.iter().find_map(|index| match rules.rule(*index) {
        Rule::Correlation(rule) if rule.kind.compares_with_before() => {
            Some((rule, rule.kind.is_about_silence()))
        }
        _ => None,
    })?;
    let found = detections.iter().filter(|detection| below.contains(&detection.rule));
    let events: BTreeSet<[u8; 32]> =
        found.filter_map(|one| Some(one.event()?.event_hash.get())).collect();
    if events.is_empty() && !is_silence {
        return None;
    }
    let (events, span) = (counted(events.len(), "event"), span(rule.frame.timespan));
    Some(format!(
        "`{}` compares with up to {span} before, which are not in the file; {events} in it may count for it",
        rule.meta.name
    ))
}

fn named(alert: &Alert) -> String {
    let name = alert.labels.get("alertname").map_or("", String::as_str);
    format!("{name} {}", alert.fingerprint)
}

/// The events as records, each where it was read.
fn batch_of(
    package: &Package,
    manifest: &Manifest,
    events: &[&EventFile],
) -> Result<RecordBatch, String> {
    let cluster: Option<Arc<str>> = manifest.cluster.as_deref().map(Arc::from);
    let mut batch = RecordBatch::default();
    for event in events {
        let bytes = event.file.as_ref().and_then(|name| package.files.get(name));
        let bytes = bytes.ok_or_else(|| format!("the event {} is not in it", event.audit_id))?;
        if super::package::hash_of(bytes) != event.event_hash {
            return Err(format!("the event {} is not what its hash says", event.audit_id));
        }
        let position = &event.position;
        let partition = Arc::new(PartitionName::new(position.topic.clone(), position.partition));
        batch.push(&partition, position.offset, cluster.as_ref(), Some(bytes));
    }
    Ok(batch)
}
