//! Plays a test through the real engine: detector and shard, with a clock that jumps.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{access::Recorded, file::TestCase, verdict::Happened};
use crate::engine::{
    alert::{Alert, AlertState},
    detector::Detector,
    limits,
    record::{PartitionName, RecordBatch},
    rule::RuleSet,
    shard::{EngineSettings, Shard},
    time::{EventTime, WallTime},
};

/// Turns of the clock between two events of a test: 10,000. Timers that are due more often than that
/// have no end.
const TURNS_MAX: usize = 10_000;

/// How the engine is set up for tests: events come in order, and time passes as the test says.
fn settings() -> EngineSettings {
    EngineSettings {
        grace: Duration::ZERO,
        idle_after: Duration::ZERO,
        skew_max: limits::SKEW_MAX_DEFAULT,
        ..EngineSettings::default()
    }
}

/// What came of a test.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// Beginnings and ends of alerts, in the order in which they came.
    pub(super) alerts: Vec<Happened>,
    /// What was recorded, in the order of the events.
    pub(super) accesses: Vec<Recorded>,
}

/// What plays tests of one rule set.
#[derive(Debug)]
pub(super) struct Player {
    rules: Arc<RuleSet>,
    detector: Detector,
    partition: Arc<PartitionName>,
}

impl Player {
    pub(super) fn new(rules: Arc<RuleSet>) -> Player {
        let detector = Detector::new(Arc::clone(&rules), 0, &settings()).telling_all();
        let partition = Arc::new(PartitionName::new("test", 0));
        Player { rules, detector, partition }
    }

    /// All beginnings and ends of alerts of the rules in the file `rule_path`, in the order in which they
    /// came, and what its rules record.
    ///
    /// # Errors
    /// If an event of the test is none, as people would be told.
    pub(super) fn play(&mut self, case: &TestCase, rule_path: &str) -> Result<Played, String> {
        let mut shard = Shard::new(Arc::clone(&self.rules), 0, settings());
        let mut happened = Collected::new(case.start);
        let mut accesses = Vec::new();
        for (index, (at, payload)) in case.records().iter().enumerate() {
            let now = wall(case.start.plus(*at));
            turn_clock(&mut shard, now);
            let mut batch = RecordBatch { sequence: index as u64, ..RecordBatch::default() };
            let offset = i64::try_from(index).unwrap_or(i64::MAX);
            batch.push(&self.partition, offset, None, Some(payload));
            let found = self.detector.detect(now, &batch);
            if let Some(letter) = found.dead_letters.first() {
                return Err(format!("event {} cannot be decoded: {}", index + 1, letter.detail));
            }
            let of_file = |recorded: &Recorded| recorded.file == rule_path;
            let recorded = |observed| Recorded::all(&self.rules, observed, case.start);
            accesses.extend(found.accesses.iter().flat_map(recorded).filter(of_file));
            shard.handle_batch(now, &found);
            happened.take(&mut shard, &self.rules, rule_path);
        }
        if let Some(until) = case.until {
            turn_clock(&mut shard, wall(case.start.plus(until)));
            happened.take(&mut shard, &self.rules, rule_path);
        }
        Ok(Played { alerts: happened.list, accesses })
    }
}

fn wall(time: EventTime) -> WallTime {
    time.as_wall()
}

/// Lets every timer up to `now` ring, each at its own time.
fn turn_clock(shard: &mut Shard, now: WallTime) {
    for _ in 0..TURNS_MAX {
        match shard.poll_timeout() {
            Some(due) if due < now => shard.handle_timeout(due),
            _ => break,
        }
    }
    shard.handle_timeout(now);
}

/// Beginnings and ends so far.
struct Collected {
    start: EventTime,
    begun: BTreeSet<([u8; 16], EventTime)>,
    list: Vec<Happened>,
}

impl Collected {
    fn new(start: EventTime) -> Collected {
        Collected { start, begun: BTreeSet::new(), list: Vec::new() }
    }

    fn take(&mut self, shard: &mut Shard, rules: &RuleSet, rule_path: &str) {
        while let Some(alert) = shard.poll_alert() {
            if file_of(rules, &alert).is_some_and(|file| file == rule_path) {
                self.add(alert);
            }
        }
    }

    /// Updates of an alert that fires already are left out.
    fn add(&mut self, alert: Alert) {
        let begins = self.begun.insert((alert.fingerprint.0, alert.starts_at));
        let time = match alert.state {
            AlertState::Firing if begins => alert.starts_at,
            AlertState::Firing => return,
            AlertState::Resolved => alert.ends_at.unwrap_or(alert.last_seen),
        };
        self.list.push(Happened {
            at: time.since(self.start),
            state: alert.state,
            labels: alert.labels,
            severity: alert.severity,
            value: alert.value,
            annotations: alert.annotations,
        });
    }
}

/// The path of the file that an alert's rule stands in.
fn file_of<'r>(rules: &'r RuleSet, alert: &Alert) -> Option<&'r str> {
    let rule = rules.find(&alert.rule_id)?;
    super::path_of(rules.rule(rule))
}
