//! What should have come of it: the same input through a shard that nothing ever happens to.

use std::{collections::BTreeMap, sync::Arc};

use tripline::engine::{
    alert::{Alert, AlertState, Fingerprint},
    detector::DetectionBatch,
    record::PartitionName,
    rule::{Rule, Severity},
    shard::Shard,
    state::{StateChange, StateEntry, StateTable},
    time::{EventTime, WallTime},
};

use super::{
    broker::Broker,
    life::{Detectors, Spans},
    rules::{is_plain, rule_sets, settings},
    silence::{Doubtful, taken_as},
};

/// One thing that the stateful half of the engine was told.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// A process took over what was durable, with this rule set.
    Restart { rule_set: usize },
    /// Its source can be read.
    Ready { at: WallTime, partitions: Vec<Arc<PartitionName>> },
    /// Some of its partitions cannot be read.
    Away { at: WallTime, partitions: Vec<Arc<PartitionName>> },
    /// It did not look for a while.
    Paused { at: WallTime },
    /// It cannot be read any more.
    Unavailable,
    /// Records, detected under a rule set at some time, and handled later; `read_at` is the true time of the
    /// former, of which the engine knows nothing.
    Batch { read_at: i64, at: WallTime, detected_at: WallTime, rule_set: usize, spans: Spans },
    /// The time.
    Timeout { now: i64, at: WallTime },
    /// Another rule set.
    Rules { at: WallTime, rule_set: usize },
    /// An alert that no rule made.
    Tell(Box<Alert>),
}

/// What the model made of an input.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Every change of an alert, in order.
    pub(super) alerts: Vec<Alert>,
    /// Detections behind the watermark.
    pub(super) late: u64,
    /// Alerts about a silence that was none.
    pub(super) false_silences: Vec<String>,
    /// How far event time had come when each batch was counted.
    reached: Vec<Option<EventTime>>,
}

/// What an alert came to over all of its episodes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) rule_id: String,
    pub(super) key: Vec<(String, String)>,
    pub(super) value: f64,
    pub(super) severity: Severity,
    pub(super) first_seen: EventTime,
    pub(super) last_seen: EventTime,
    /// Of all episodes together.
    pub(super) finding_count: u64,
}

impl Summary {
    /// Whether two runs that met the same events in another order agree.
    pub(super) fn is_like(&self, other: &Summary) -> bool {
        // The value of a plain rule counts the events of an episode, and where one ends depends on
        // what came between.
        let value = if is_plain(&self.rule_id) { other.value } else { self.value };
        Summary { value, ..self.clone() } == *other
    }
}

impl Model {
    /// Its alerts, each with all of its snapshots.
    pub(super) fn by_alert(&self) -> BTreeMap<Fingerprint, Vec<&Alert>> {
        let mut by_alert: BTreeMap<_, Vec<&Alert>> = BTreeMap::new();
        for alert in &self.alerts {
            by_alert.entry(alert.fingerprint).or_default().push(alert);
        }
        by_alert
    }
}

/// What snapshots of one alert come to.
pub(super) fn summary<'a>(snapshots: impl IntoIterator<Item = &'a Alert>) -> Option<Summary> {
    let mut counts: BTreeMap<EventTime, u64> = BTreeMap::new();
    let mut summary: Option<Summary> = None;
    for alert in snapshots {
        let count = counts.entry(alert.starts_at).or_default();
        *count = alert.finding_count.max(*count);
        let so_far = summary.get_or_insert_with(|| Summary {
            rule_id: alert.rule_id.clone(),
            key: alert.key.clone(),
            value: alert.value,
            severity: alert.severity,
            first_seen: alert.first_seen,
            last_seen: alert.last_seen,
            finding_count: 0,
        });
        so_far.value = so_far.value.max(alert.value);
        so_far.severity = so_far.severity.max(alert.severity);
        so_far.first_seen = so_far.first_seen.min(alert.first_seen);
        so_far.last_seen = so_far.last_seen.max(alert.last_seen);
    }
    if let Some(summary) = &mut summary {
        summary.finding_count = counts.values().sum();
    }
    summary
}

/// The history, through one shard that lives all the time.
pub(super) fn replay(history: &[Input], broker: &Broker, detectors: &mut Detectors) -> Model {
    let mut model = Model::default();
    let mut rule_set = match history.first() {
        Some(Input::Restart { rule_set }) => *rule_set,
        _ => 0,
    };
    let mut shard = Shard::new(Arc::clone(&rule_sets()[rule_set]), 0, settings());
    let mut epoch = 0;
    let mut stored = BTreeMap::new();
    let mut doubtful = Doubtful::default();
    for input in history {
        match input {
            Input::Restart { rule_set: found } => {
                if *found != rule_set {
                    // Rules that changed while no process ran begin with what was stored.
                    rule_set = *found;
                    (shard, epoch) = (restarted(&mut shard, &mut stored, rule_set), 0);
                    doubtful = Doubtful::default();
                }
                shard.handle_unavailable();
            }
            Input::Rules { at, rule_set: found } => {
                rule_set = *found;
                epoch += 1;
                shard.replace_rules(*at, Arc::clone(&rule_sets()[rule_set]), epoch);
                doubtful = Doubtful::default();
            }
            Input::Ready { at, partitions } => shard.handle_ready(*at, partitions),
            Input::Paused { at } => shard.handle_pause(*at),
            Input::Away { at, partitions } => shard.handle_away(*at, partitions),
            Input::Unavailable => shard.handle_unavailable(),
            Input::Batch { read_at, at, detected_at, rule_set: from, spans } => {
                doubtful.read(*read_at, *detected_at, broker, spans);
                model.reached.push(shard.watermark());
                let mut batch = detectors.detect(*detected_at, *from, broker, spans);
                translate(&mut batch, *from, rule_set);
                batch.rules_epoch = epoch;
                shard.handle_batch(*at, &batch);
            }
            Input::Timeout { now, at } => {
                doubtful.now = *now;
                shard.handle_timeout(*at);
            }
            Input::Tell(alert) => model.alerts.push(Alert::clone(alert)),
        }
        while let Some(alert) = shard.poll_alert() {
            model.false_silences.extend(doubtful.says_otherwise(&alert, shard.watermark()));
            model.alerts.push(alert);
        }
    }
    model.late = shard.counts().events_late;
    model
}

/// A shard with other rules, and all that the one before says it must not forget.
fn restarted(
    shard: &mut Shard,
    stored: &mut BTreeMap<(StateTable, Vec<u8>), Vec<u8>>,
    rule_set: usize,
) -> Shard {
    let mut changes = Vec::new();
    shard.take_changes(&mut changes);
    for StateChange { table, key, value } in changes {
        match value {
            Some(value) => stored.insert((table, key), value),
            None => stored.remove(&(table, key)),
        };
    }
    let entry = |((table, key), value): (&(StateTable, Vec<u8>), &Vec<u8>)| StateEntry {
        table: *table,
        key: key.clone(),
        value: value.clone(),
    };
    let mut shard = Shard::new(Arc::clone(&rule_sets()[rule_set]), 0, settings());
    shard.restore(&mut stored.iter().map(entry));
    shard
}

/// Everything that was read, one event after the other, read at once. Events happen when they were taken to
/// have: those that a first process reads while its clock is far behind come from the future, by all that it
/// can know, and are taken as of then, or of when event time had come to, if that is later and they claim so.
pub(super) fn ideal(
    history: &[Input],
    broker: &Broker,
    detectors: &mut Detectors,
    replayed: &Model,
) -> Model {
    let mut places: Vec<(EventTime, usize, usize, WallTime)> = Vec::new();
    let batches = history.iter().filter_map(|input| match input {
        Input::Batch { detected_at, spans, .. } => Some((detected_at, spans)),
        _ => None,
    });
    for ((detected_at, spans), reached) in batches.zip(&replayed.reached) {
        for (index, span) in spans {
            let records = broker.partitions[*index].records[span.clone()].iter();
            let times = records.zip(span.clone()).filter_map(|(record, offset)| {
                let claimed = record.time?;
                let taken = taken_as(claimed, *detected_at);
                let lifted = reached.filter(|_| taken != claimed).map(|time| time.min(claimed));
                let time = lifted.map_or(taken, |lifted| lifted.max(taken));
                // What is later by that is detected as it was, and happens later.
                let detected_at = if time > taken { *detected_at } else { time.as_wall() };
                Some((time, *index, offset, detected_at))
            });
            places.extend(times);
        }
    }
    places.sort_unstable();
    let mut shard = Shard::new(Arc::clone(&rule_sets()[0]), 0, settings());
    let one = Arc::clone(&broker.partitions[0].name);
    let mut model = Model::default();
    let mut now = WallTime::MIN;
    for (time, index, offset, detected_at) in places {
        now = time.as_wall();
        let spans = vec![(index, offset..offset + 1)];
        let mut batch = detectors.detect(detected_at, 0, broker, &spans);
        for detection in &mut batch.detections {
            detection.time = detection.time.max(time);
        }
        for progress in &mut batch.progress {
            progress.partition = Arc::clone(&one);
        }
        shard.handle_batch(now, &batch);
    }
    shard.flush(now);
    while let Some(alert) = shard.poll_alert() {
        model.alerts.push(alert);
    }
    model.late = shard.counts().events_late;
    model
}

/// Detections of one rule set as detections of another, by the ids of rules.
fn translate(batch: &mut DetectionBatch, from: usize, to: usize) {
    if from == to {
        return;
    }
    let (from, to) = (&rule_sets()[from], &rule_sets()[to]);
    batch.detections.retain_mut(|detection| {
        let old = from.rule(detection.rule);
        let Some(new) = to.find(&old.meta().id) else { return false };
        detection.rule = new;
        matches!(to.rule(new), Rule::Detection(rule) if rule.capture_names == old.capture())
    });
}

/// The next change of an alert about Tripline itself; `None` if it is already so.
pub(super) fn self_alert(
    wall: WallTime,
    pick: u8,
    is_firing: bool,
    history: &[Input],
) -> Option<Alert> {
    let rule = ("tripline_self", "About Tripline");
    let name = format!("tripline_self_{pick}");
    let firing = Alert::about_tripline(wall, &name, rule, BTreeMap::new());
    let last = history.iter().rev().find_map(|input| match input {
        Input::Tell(alert) if alert.fingerprint == firing.fingerprint => Some(alert),
        _ => None,
    });
    // Two that begin in the same microsecond would be one.
    let begins_anew = |last: &Alert| last.starts_at != firing.starts_at;
    match (last.map(|alert| alert.state), is_firing) {
        (Some(AlertState::Firing), false) => {
            let mut alert = Alert::clone(last?);
            alert.state = AlertState::Resolved;
            alert.ends_at = Some(wall.as_event());
            alert.changed_at = wall;
            alert.revision += 1;
            Some(alert)
        }
        (None | Some(AlertState::Resolved), true) if last.is_none_or(|last| begins_anew(last)) => {
            Some(firing)
        }
        _ => None,
    }
}
