//! The events of an alert: those that it shows, fetched again by where they were read, and those that counted
//! besides, found by running its rule over what was recorded meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    package::{EventFile, Package},
    snapshot::{Snapshot, SnapshotEvidence},
};
use crate::engine::{
    decode::{Again, event_again},
    detect::Detection,
    detector::Detector,
    diagnostic::Diagnostic,
    event_ref::{AuditId, EventHash, EventPosition, EventRef},
    ledger::{hex_of, parse_hex},
    record::RecordBatch,
    rule::{LoadOptions, Rule, RuleIndex, RuleSet, RuleSources, load},
    settings::EngineSettings,
    text::counted,
    time::EventTime,
};

/// Events that are handed over: 10,000, those that the alert shows first.
const EVENTS_MAX: usize = 10_000;

/// Bytes of them together: 64 MiB.
const BYTES_MAX: usize = 64 << 20;

/// How long after an event its record may have been written: 10 minutes.
const WRITTEN_WITHIN: Duration = Duration::from_secs(600);

/// Fetches an event again by where it was read.
pub type FetchEvent<'a> = &'a dyn Fn(&EventRef) -> Again;

/// Opens what was recorded in a time, of the source in which the alert's events were.
pub type OpenHistory<'a> = &'a dyn Fn(&Period) -> Result<NextBatch<'a>, String>;

/// The next records; `None` at the end.
pub type NextBatch<'a> = Box<dyn FnMut() -> Result<Option<RecordBatch>, String> + 'a>;

/// Which records are wanted.
#[derive(Clone, Debug)]
pub struct Period {
    /// The topic of one that is, with its source in front of it.
    pub topic: String,
    /// Written at this time or later.
    pub from: EventTime,
    /// Written before this.
    pub until: EventTime,
}

/// An event that an alert shows.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    time: EventTime,
    pub(super) event: EventRef,
}

impl Shown {
    /// `None` if the alert does not say which one it is.
    pub(super) fn of(evidence: SnapshotEvidence) -> Option<Shown> {
        let SnapshotEvidence { time, position, audit_id, event_hash, .. } = evidence;
        let EventPosition { topic, partition, offset, index } = position?;
        let event = EventRef {
            position: EventPosition { topic: topic.into(), partition, offset, index },
            audit_id: AuditId::new(&audit_id?),
            event_hash: EventHash::from(parse_hex(&event_hash?)?),
        };
        Some(Shown { time: EventTime::parse(&time)?, event })
    }
}

/// An event, if it could be had.
struct Found {
    time: EventTime,
    event: EventRef,
    is_shown: bool,
    again: Again,
}

/// Events of an alert.
pub(super) struct Events {
    found: Vec<Found>,
}

/// Rules from their texts.
pub(super) fn rules_of(
    sources: &RuleSources,
    resolve_after: Duration,
) -> Result<Arc<RuleSet>, String> {
    let loaded = load(sources, &LoadOptions { resolve_after, now: None });
    let first = || loaded.diagnostics.first().map(Diagnostic::one_line).unwrap_or_default();
    loaded.rules.map(Arc::new).ok_or_else(|| format!("the rules cannot be used: {}", first()))
}

impl Events {
    /// The events that an alert shows.
    pub(super) fn new(shown: Vec<Shown>, fetch: FetchEvent<'_>) -> Events {
        let fetched = shown.into_iter().map(|Shown { time, event }| {
            let again = fetch(&event);
            Found { time, event, is_shown: true, again }
        });
        Events { found: fetched.collect() }
    }

    /// Adds what counted for an alert of a rule besides: what its rule, or one below it, matched, under the
    /// alert's key.
    pub(super) fn add_counted(
        &mut self,
        rules: &Arc<RuleSet>,
        rule: &str,
        snapshot: &Snapshot,
        history: OpenHistory<'_>,
    ) -> Result<(), String> {
        let index = rules.find(rule).ok_or("its rule is none of the rules that were in force")?;
        let below = with_inputs(rules, index);
        let time = |text: &str| EventTime::parse(text).ok_or("a time of the alert is damaged");
        let (first, last) = (time(&snapshot.first_seen)?, time(&snapshot.last_seen)?);
        let shown = self.found.first().ok_or("the alert shows no event")?;
        let period = Period {
            topic: shown.event.position.topic.to_string(),
            from: first,
            until: last.plus(WRITTEN_WITHIN),
        };
        let mut next = history(&period)?;
        let settings = EngineSettings::default();
        let mut detector = Detector::new(Arc::clone(rules), 0, &settings).of_history();
        let now = period.until.plus(WRITTEN_WITHIN).as_wall();
        let mut bytes = 0;
        while let Some(batch) = next()? {
            for detection in detector.detect(now, &batch).detections {
                let is_meant = below.contains(&detection.rule)
                    && (first..=last).contains(&detection.time)
                    && has_key(rules.rule(detection.rule), &detection, &snapshot.key);
                let Some(event) = detection.event().filter(|_| is_meant) else { continue };
                if self.is_known(event) {
                    continue;
                }
                let again = of_batch(&batch, event);
                bytes += if let Again::Found(json) = &again { json.len() } else { 0 };
                if self.found.len() >= EVENTS_MAX || bytes > BYTES_MAX {
                    let most = counted(EVENTS_MAX, "event");
                    return Err(format!(
                        "more than {most}, or 64 MiB, counted; the others are left out"
                    ));
                }
                let event = EventRef::clone(event);
                self.found.push(Found { time: detection.time, event, is_shown: false, again });
            }
        }
        Ok(())
    }

    /// Whether it is there, or another one is where it was read. One that could not be fetched may be had now.
    fn is_known(&self, event: &EventRef) -> bool {
        self.found.iter().any(|known| {
            if known.event.event_hash == event.event_hash {
                matches!(known.again, Again::Found(_))
            } else {
                known.event.position == event.position
            }
        })
    }

    /// Adds them to a package, in the order of time. Returns what the manifest says of them.
    pub(super) fn add_to(mut self, package: &mut Package) -> Vec<EventFile> {
        // Of one that could not be fetched, but was among what was recorded, the latter counts.
        let had: BTreeSet<[u8; 32]> = self
            .found
            .iter()
            .filter(|one| !one.is_shown && matches!(one.again, Again::Found(_)))
            .map(|one| one.event.event_hash.get())
            .collect();
        let shown: BTreeSet<[u8; 32]> = self
            .found
            .iter()
            .filter(|one| one.is_shown)
            .map(|one| one.event.event_hash.get())
            .collect();
        self.found.retain(|one| {
            matches!(one.again, Again::Found(_)) || !had.contains(&one.event.event_hash.get())
        });
        for one in &mut self.found {
            one.is_shown |= shown.contains(&one.event.event_hash.get());
        }
        self.found.sort_by(|a, b| {
            let place = |one: &Found| {
                let EventPosition { topic, partition, offset, index } = &one.event.position;
                (one.time, Arc::clone(topic), *partition, *offset, *index)
            };
            place(a).cmp(&place(b))
        });
        let numbered = (1..).zip(self.found);
        numbered.map(|(number, found): (u32, Found)| found.add_to(package, number)).collect()
    }
}

impl Found {
    fn add_to(self, package: &mut Package, number: u32) -> EventFile {
        let Found { time, event, is_shown, again } = self;
        let outcome = again.to_string();
        let file = match again {
            Again::Found(json) => {
                let name = format!("events/{number:05}.json");
                package.add(&name, json);
                Some(name)
            }
            Again::Changed | Again::PastRetention | Again::Unreadable(_) => None,
        };
        let EventPosition { topic, partition, offset, index } = event.position;
        EventFile {
            time: time.rfc3339(),
            position: EventPosition { topic: topic.to_string(), partition, offset, index },
            audit_id: event.audit_id.to_string(),
            event_hash: hex_of(&event.event_hash.get()),
            is_shown,
            file,
            outcome,
        }
    }
}

/// An event of a batch.
fn of_batch(batch: &RecordBatch, event: &EventRef) -> Again {
    let position = &event.position;
    let is_it = |record: &&crate::engine::record::RecordEntry| {
        let partition = batch.partition_of(record);
        record.offset == position.offset
            && partition.is_some_and(|one| {
                one.partition == position.partition && one.stored_topic() == *position.topic
            })
    };
    let payload = batch.records.iter().find(is_it).and_then(|record| batch.payload_of(record));
    payload
        .map_or(Again::Changed, |bytes| event_again(bytes, position.index, &event.event_hash.get()))
}

/// A rule, and all below it.
pub(super) fn with_inputs(rules: &RuleSet, index: RuleIndex) -> BTreeSet<RuleIndex> {
    let (mut all, mut left) = (BTreeSet::new(), vec![index]);
    while let Some(index) = left.pop() {
        if all.insert(index)
            && let Some(Rule::Correlation(rule)) = rules.rules.get(index.index())
        {
            left.extend(rule.inputs.iter().map(|input| input.rule));
        }
    }
    all
}

/// Whether what a detection carries may belong to an alert's key: what it does not carry may.
fn has_key(rule: &Rule, detection: &Detection, key: &BTreeMap<String, String>) -> bool {
    rule.capture().iter().zip(&*detection.captured).all(|(name, captured)| {
        let values = captured.values();
        let is_one = |wanted: &String| values.iter().any(|value| **value == **wanted);
        values.is_empty() || key.get(name).is_none_or(is_one)
    })
}
