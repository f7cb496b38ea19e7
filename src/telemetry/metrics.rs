//! Every metric, and a method for each thing that moves one.
//!
//! Names are `tripline_<noun>_<unit>`, counters end in `_total`. Every label's values are bounded:
//! words of our own, or names from configuration and rule files; never text from events. Series that
//! can be known beforehand exist from the start with 0, so that `rate()` sees the first increase.

mod acts;
mod ledger;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus::{IntCounter, IntCounterVec, Registry, TextEncoder};

use self::{acts::ActMetrics, ledger::LedgerMetrics};
use super::{
    families::{
        CanaryMetrics, CheckpointMetrics, DeliveryMetrics, EngineMetrics, ProcessMetrics,
        RulesMetrics, ServerMetrics, SourceMetrics,
    },
    process,
    refusal::Refusal,
    registry::{Builder, MetricInfo},
};
use crate::engine::{
    alert::{Alert, AlertState, Fingerprint},
    detector::{DeadLetter, DeadLetterReason, DetectCounts},
    dispatch::{DispatchCounts, Notification, Outcome, OutcomeReason, ReceiverPlan, ReceiverState},
    record::PartitionName,
    rule::{RuleSet, Severity},
    shard::{Limit, ShardCounts},
    time::{EventTime, WallTime},
};

/// Values of the label `limit`.
const LIMITS: [&str; 3] = ["alert_groups", "ledger_entries", "unfinished"];

/// How old the event of an alert may be whose latency is measured: 1 hour, where the buckets end.
const LATENCY_MAX: Duration = Duration::from_secs(3_600);

/// All metrics of the process, in a registry of their own. Shared; every method is cheap and takes
/// no lock for longer than a look into a map.
pub struct Metrics {
    registry: Registry,
    made: Vec<MetricInfo>,
    source: SourceMetrics,
    engine: EngineMetrics,
    checkpoint: CheckpointMetrics,
    delivery: DeliveryMetrics,
    canary: CanaryMetrics,
    rules: RulesMetrics,
    server: ServerMetrics,
    ledger: LedgerMetrics,
    acts: ActMetrics,
    process: ProcessMetrics,
    /// Rules that have series, with the severities they may have.
    known_rules: Mutex<BTreeSet<(String, &'static str)>>,
    store_directory: Mutex<Option<PathBuf>>,
    /// Names of the rules in use, by id.
    rule_names: Mutex<BTreeMap<String, String>>,
    /// Kinds of the notifiers of each receiver.
    kinds: Mutex<BTreeMap<String, Vec<String>>>,
    /// Alerts that fire, for the gauge; bounded by the engine's limit of firing alerts.
    firing: Mutex<BTreeMap<Fingerprint, (String, Severity)>>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        let mut b = Builder::default();
        let metrics = Metrics {
            source: SourceMetrics::new(&mut b),
            engine: EngineMetrics::new(&mut b),
            checkpoint: CheckpointMetrics::new(&mut b),
            delivery: DeliveryMetrics::new(&mut b),
            canary: CanaryMetrics::new(&mut b),
            rules: RulesMetrics::new(&mut b),
            server: ServerMetrics::new(&mut b),
            ledger: LedgerMetrics::new(&mut b),
            acts: ActMetrics::new(&mut b),
            process: ProcessMetrics::new(&mut b),
            known_rules: Mutex::default(),
            store_directory: Mutex::default(),
            rule_names: Mutex::default(),
            kinds: Mutex::default(),
            firing: Mutex::default(),
            registry: Registry::new(),
            made: Vec::new(),
        };
        let info = b.gauges("tripline_build_info", &["version"], "Always 1; says what runs.");
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for reason in DeadLetterReason::ALL {
            metrics.source.dead_letters.with_label_values(&[reason.as_str()]);
        }
        metrics.record_batch(&DetectCounts::default(), &[]);
        for limit in LIMITS {
            metrics.engine.limit_hits.with_label_values(&[limit, ""]);
        }
        metrics.engine.rule_errors.with_label_values(&["template"]);
        for outcome in ["success", "failure"] {
            metrics.rules.reloads.with_label_values(&[outcome]);
        }
        metrics.checkpoint.last.set(now_seconds());
        Metrics { registry: b.registry, made: b.made, ..metrics }
    }

    /// All metrics in Prometheus' text format. Looks at the process first.
    pub fn render(&self) -> String {
        if let Some(stats) = process::read() {
            self.process.update(&stats);
        }
        if let Some(bytes) = lock(&self.store_directory).as_deref().and_then(bytes_in) {
            self.checkpoint.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        self.checkpoint.age.set((now_seconds() - self.checkpoint.last.get()).max(0.0));
        let mut text = String::new();
        // It fails only if a metric family is empty, and `gather` yields none such.
        let outcome = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        debug_assert!(outcome.is_ok(), "{outcome:?}");
        text
    }

    /// Every metric with its labels and help, in the order of their making.
    pub fn catalogue(&self) -> &[MetricInfo] {
        &self.made
    }

    // ---- source ----

    /// A source can read, or cannot. By its name, or its kind if it has none.
    pub fn source_up(&self, source: &str, is_up: bool) {
        self.source.up.with_label_values(&[source]).set(i64::from(is_up));
    }

    /// A source holds back because the pipeline is full, or reads again.
    pub fn source_paused(&self, source: &str, is_paused: bool) {
        self.source.paused.with_label_values(&[source]).set(i64::from(is_paused));
    }

    /// Partitions are read: their series begin at 0, so that the first loss is an increase.
    pub fn begin_partitions(&self, partitions: &[Arc<PartitionName>]) {
        for partition in partitions {
            for counters in [&self.source.records_lost, &self.source.rewinds] {
                of_partition(counters, partition);
            }
        }
    }

    /// A source refused, lost or passed over something: `what` is a word of its kind.
    pub fn source_trouble(&self, source: &str, what: &'static str, count: u64) {
        self.source.troubles.with_label_values(&[source, what]).inc_by(count);
    }

    /// Records between our position and the end of each partition.
    pub fn set_lag(&self, partitions: &[(Arc<PartitionName>, i64)]) {
        for (partition, records) in partitions {
            let number = partition.partition.to_string();
            let topic = partition.stored_topic();
            self.source.lag.with_label_values(&[&*topic, &number]).set((*records).max(0));
        }
    }

    /// Records were gone (retention) before we read them.
    pub fn records_lost(&self, partition: &PartitionName, records: i64) {
        let records = u64::try_from(records).unwrap_or(0);
        of_partition(&self.source.records_lost, partition).inc_by(records);
    }

    /// A batch went through decode and detect.
    pub fn record_batch(&self, counts: &DetectCounts, dead_letters: &[DeadLetter]) {
        self.source.records.inc_by(counts.records);
        self.source.bytes.inc_by(counts.bytes);
        self.engine.events.inc_by(counts.events);
        self.engine.events_canonical.inc_by(counts.events_canonical);
        self.engine.events_from_future.inc_by(counts.events_from_future);
        self.engine.values_dropped.inc_by(counts.values_dropped);
        self.engine.events_cut.inc_by(counts.events_cut);
        self.engine.events_elsewhere.inc_by(counts.events_elsewhere);
        for (field, count) in counts.fields_unread.iter() {
            self.engine.fields_unread.with_label_values(&[field]).inc_by(count);
        }
        for (message, count) in counts.control_messages.iter() {
            self.source.control_messages.with_label_values(&[message.as_str()]).inc_by(count);
        }
        self.engine.rules_evaluated.inc_by(counts.rules_evaluated);
        for letter in dead_letters {
            self.source.dead_letters.with_label_values(&[letter.reason.as_str()]).inc();
        }
    }

    /// Dead letters that were deleted to make room, since the process started.
    pub fn set_dead_letters_lost(&self, total: u64) {
        advance(&self.source.dead_letters_lost, total);
    }

    /// A partition was made anew; it is read from its start.
    pub fn source_rewound(&self, partition: &PartitionName) {
        of_partition(&self.source.rewinds, partition).inc();
    }

    // ---- engine ----

    /// What the shard has counted since the process started.
    pub fn set_engine(&self, counts: &ShardCounts) {
        let engine = &self.engine;
        for (counter, total) in [
            (&engine.events_late, counts.events_late),
            (&engine.events_duplicate, counts.duplicates),
            (&engine.windows_missed, counts.windows_missed),
            (&engine.given_up, counts.partitions_given_up),
            (&engine.suppressed, counts.suppressed),
            (&engine.rule_errors.with_label_values(&["template"]), counts.template_errors),
        ] {
            advance(counter, total);
        }
        let unfinished = engine.limit_hits.with_label_values(&["unfinished", ""]);
        advance(&unfinished, counts.unfinished_unwatched);
        let names = lock(&self.rule_names);
        for (family, totals) in
            [(&engine.findings, &counts.findings), (&engine.keys_null, &counts.keys_null)]
        {
            for (id, total) in totals {
                if let Some(name) = names.get(id) {
                    advance(&family.with_label_values(&[name]), *total);
                }
            }
        }
        for (limit, totals) in &counts.limits_hit {
            for (id, total) in totals {
                let Some(name) = names.get(id) else { continue };
                advance(&engine.limit_hits.with_label_values(&[limit.as_str(), name]), *total);
                if *limit == Limit::CorrelationKeys {
                    advance(&engine.keys_evicted.with_label_values(&[name]), *total);
                }
            }
        }
    }

    /// What is counted of one rule, by its name.
    pub fn of_rule(&self, name: &str) -> RuleNumbers {
        let is_known = lock(&self.rule_names).values().any(|known| known == name);
        if !is_known {
            return RuleNumbers::default();
        }
        let engine = &self.engine;
        let (looked_at, events) = (engine.rules_evaluated.get(), engine.events_canonical.get());
        let keys = engine.keys.with_label_values(&[name]).get();
        let bytes = engine.state_bytes.with_label_values(&[name]).get();
        RuleNumbers {
            findings: engine.findings.with_label_values(&[name]).get(),
            keys: u64::try_from(keys).unwrap_or(0),
            bytes: u64::try_from(bytes).unwrap_or(0),
            rules_per_event: (events > 0).then(|| as_number(looked_at) / as_number(events)),
        }
    }

    /// Correlation keys held, by rule id.
    pub fn set_correlation_keys<'a>(&self, keys: impl Iterator<Item = (&'a str, usize)>) {
        let names = lock(&self.rule_names);
        for (id, count) in keys {
            if let Some(name) = names.get(id) {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.engine.keys.with_label_values(&[name]).set(count);
            }
        }
    }

    /// Memory that the state of correlations takes, by rule id, and what it may take together.
    pub fn set_correlation_bytes<'a>(
        &self,
        bytes: impl Iterator<Item = (&'a str, usize)>,
        limit: u64,
    ) {
        let names = lock(&self.rule_names);
        for (id, bytes) in bytes {
            if let Some(name) = names.get(id) {
                let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                self.engine.state_bytes.with_label_values(&[name]).set(bytes);
            }
        }
        self.engine.state_limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// How far the stream has come; `None` before the first event.
    pub fn set_watermark(&self, watermark: Option<EventTime>, now: WallTime) {
        let Some(watermark) = watermark.filter(|time| *time != EventTime::MIN) else { return };
        self.engine.watermark.set(seconds(watermark.micros()));
        self.engine.watermark_delay.set(now.since(watermark.as_wall()).as_secs_f64());
    }

    /// Batches between the source and the end of correlation.
    pub fn set_batches_in_flight(&self, batches: usize) {
        self.engine.in_flight.set(i64::try_from(batches).unwrap_or(i64::MAX));
    }

    /// An alert began, changed or resolved.
    pub fn alert_changed(&self, alert: &Alert) {
        let rule = alert.name();
        let before = match alert.state {
            AlertState::Firing => {
                lock(&self.firing).insert(alert.fingerprint, (rule.to_owned(), alert.severity))
            }
            AlertState::Resolved => lock(&self.firing).remove(&alert.fingerprint),
        };
        let is_new = before.is_none() || alert.state == AlertState::Resolved;
        if is_new {
            self.engine
                .alerts
                .with_label_values(&[rule, alert.severity.as_str(), alert.state.as_str()])
                .inc();
        }
        if before.is_none() && alert.state == AlertState::Firing {
            let latency = now_seconds() - seconds(alert.last_seen.micros());
            // Whatever is read that late is a backlog, and says nothing of how quick we are.
            if latency < LATENCY_MAX.as_secs_f64() {
                self.engine.alert_latency.observe(latency.max(0.0));
            } else {
                self.engine.alerts_old.inc();
            }
        }
        if let Some((rule, severity)) = before {
            self.engine.alerts_firing.with_label_values(&[&rule, severity.as_str()]).dec();
        }
        if alert.state == AlertState::Firing {
            self.engine.alerts_firing.with_label_values(&[rule, alert.severity.as_str()]).inc();
        }
    }

    /// The alerts that fire, as they were restored at start. Nothing is counted as new.
    pub fn alerts_restored<'a>(&self, alerts: impl IntoIterator<Item = &'a Alert>) {
        let mut firing = lock(&self.firing);
        for alert in alerts.into_iter().filter(|alert| alert.state == AlertState::Firing) {
            let rule = alert.name();
            if firing.insert(alert.fingerprint, (rule.to_owned(), alert.severity)).is_none() {
                self.engine.alerts_firing.with_label_values(&[rule, alert.severity.as_str()]).inc();
            }
        }
    }

    // ---- checkpoint ----

    /// A checkpoint became durable.
    pub fn checkpoint_done(&self, took: Duration) {
        self.checkpoint.seconds.observe(took.as_secs_f64());
        self.checkpoint.last.set(now_seconds());
    }

    /// It was time for a checkpoint, but nothing had changed: all is durable as it is.
    pub fn checkpoint_not_needed(&self) {
        self.checkpoint.last.set(now_seconds());
    }

    /// A checkpoint failed; it will be tried again.
    pub fn checkpoint_failed(&self) {
        self.checkpoint.failures.inc();
    }

    /// The store is in this directory; its size is looked up whenever metrics are asked for.
    pub fn watch_store(&self, directory: &Path) {
        *lock(&self.store_directory) = Some(directory.to_owned());
    }

    // ---- delivery ----

    /// Makes the series of all receivers, so that they start at 0.
    pub fn set_receivers(&self, receivers: &[ReceiverPlan]) {
        for receiver in receivers {
            let kinds = receiver.notifiers.iter().map(|notifier| notifier.kind.clone()).collect();
            lock(&self.kinds).insert(receiver.name.clone(), kinds);
            for notifier in &receiver.notifiers {
                let (name, kind) = (receiver.name.as_str(), notifier.kind.as_str());
                let attempts = &self.delivery.attempts;
                let recipients = notifier.recipients.iter().map(String::as_str);
                let unnamed = notifier.recipients.is_empty().then_some("");
                for recipient in recipients.chain(unnamed) {
                    self.delivery.failing.with_label_values(&[name, kind, recipient]);
                    attempts.with_label_values(&[name, kind, recipient, "delivered", ""]);
                    for reason in OutcomeReason::ALL {
                        let reason = reason.as_str();
                        attempts.with_label_values(&[name, kind, recipient, "retry", reason]);
                        attempts.with_label_values(&[name, kind, recipient, "rejected", reason]);
                    }
                }
                self.delivery.superseded.with_label_values(&[name, kind]);
                for reason in ["expired", "dropped"] {
                    self.delivery.alerts_lost.with_label_values(&[name, kind, reason]);
                }
            }
        }
    }

    /// What the dispatcher has counted since the process started, and how many notifications
    /// receivers are still owed.
    pub fn set_dispatch(&self, counts: &DispatchCounts, pending: usize) {
        let delivery = &self.delivery;
        delivery.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        for ((receiver, kind), counts) in &counts.notifiers {
            let labels = [receiver.as_str(), kind.as_str()];
            advance(&delivery.superseded.with_label_values(&labels), counts.superseded);
            for (reason, total) in &counts.notifications {
                let labels = [receiver, kind, reason.as_str()];
                advance(&delivery.notifications.with_label_values(&labels), *total);
            }
            for (reason, total) in
                [("expired", counts.alerts_expired), ("dropped", counts.alerts_dropped)]
            {
                let labels = [receiver, kind, reason];
                advance(&delivery.alerts_lost.with_label_values(&labels), total);
            }
        }
        for (limit, total) in
            [("alert_groups", counts.groups_overflowed), ("ledger_entries", counts.ledger_dropped)]
        {
            advance(&self.engine.limit_hits.with_label_values(&[limit, ""]), total);
        }
    }

    /// Whether receivers take what they are owed. Several notifiers of one receiver and kind are one series, which says
    /// so if any of them does not.
    pub fn receivers_failing<'a>(&self, receivers: impl Iterator<Item = ReceiverState<'a>>) {
        let mut failing: BTreeMap<[&str; 3], bool> = BTreeMap::new();
        for state in receivers {
            let labels = [state.receiver, state.kind, state.recipient.unwrap_or_default()];
            *failing.entry(labels).or_default() |= state.is_in_trouble;
        }
        for (labels, is_failing) in failing {
            self.delivery.failing.with_label_values(&labels).set(i64::from(is_failing));
        }
    }

    /// One attempt came to an end.
    pub fn delivery(&self, notification: &Notification, outcome: &Outcome) {
        let (word, reason) = match outcome {
            Outcome::Delivered { .. } => ("delivered", ""),
            Outcome::Retry { reason, .. } => ("retry", reason.as_str()),
            Outcome::Rejected { reason, .. } => ("rejected", reason.as_str()),
        };
        let receiver = notification.receiver.as_str();
        let kinds = lock(&self.kinds);
        let kind = kinds.get(receiver).and_then(|kinds| kinds.get(notification.notifier_index));
        let kind = kind.map_or("unknown", String::as_str);
        let recipient = notification.recipient.as_deref().unwrap_or_default();
        self.delivery.attempts.with_label_values(&[receiver, kind, recipient, word, reason]).inc();
        if matches!(outcome, Outcome::Delivered { .. }) {
            let now = now_seconds();
            self.delivery.last.with_label_values(&[receiver, kind, recipient]).set(now);
            let waited = (now - seconds(notification.created_at.micros())).max(0.0);
            self.delivery.delay.with_label_values(&[receiver, kind]).observe(waited);
        }
    }

    // ---- canary ----

    /// An end-to-end canary came back, so long after it was sent.
    pub fn canary_came(&self, took: Duration) {
        self.canary.seconds.observe(took.as_secs_f64());
    }

    /// Whether one has not come back in time.
    pub fn set_canary_overdue(&self, is_overdue: bool) {
        self.canary.overdue.set(i64::from(is_overdue));
    }

    // ---- rules ----

    /// A rule set was put to use: series of its rules begin at 0, those of rules that are gone end.
    pub fn rules_loaded(&self, rules: &RuleSet) {
        let mut now = BTreeSet::new();
        let mut names = BTreeMap::new();
        for (_, rule) in rules.written() {
            let meta = rule.meta();
            names.insert(meta.id.clone(), meta.name.clone());
            now.insert((meta.name.clone(), meta.severity.as_str()));
            for level in meta.alert.iter().flat_map(|alert| &alert.levels) {
                now.insert((meta.name.clone(), level.severity.as_str()));
            }
        }
        let mut known = lock(&self.known_rules);
        for (rule, severity) in known.difference(&now) {
            self.engine.forget(rule, severity, now.iter().any(|(name, _)| name == rule));
        }
        for (rule, severity) in &now {
            self.engine.begin(rule, severity);
        }
        *known = now;
        *lock(&self.rule_names) = names;
        self.rules.loaded.set(i64::try_from(rules.written_count()).unwrap_or(i64::MAX));
        self.rules.successful.set(1);
        self.rules.last.set(now_seconds());
    }

    // ---- servers ----

    /// Makes the series of a server, so that they start at 0.
    pub fn begin_refusals(&self, server: &str) {
        for why in Refusal::ALL {
            self.server.refused.with_label_values(&[server, why.as_str()]);
        }
    }

    /// A server refused a client.
    pub fn refused(&self, server: &str, why: Refusal) {
        self.server.refused.with_label_values(&[server, why.as_str()]).inc();
    }

    /// A reload was tried. A successful one also calls [`Metrics::rules_loaded`].
    pub fn reload(&self, is_success: bool) {
        let outcome = if is_success { "success" } else { "failure" };
        self.rules.reloads.with_label_values(&[outcome]).inc();
        self.rules.successful.set(i64::from(is_success));
    }
}

/// The series of a partition. Topics of sources that have names are told apart by these.
fn of_partition(counters: &IntCounterVec, partition: &PartitionName) -> IntCounter {
    let number = partition.partition.to_string();
    counters.with_label_values(&[&*partition.stored_topic(), &number])
}

/// What is counted of one rule since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RuleNumbers {
    /// Times that its whole condition held.
    pub findings: u64,
    /// Correlation keys that it holds.
    pub keys: u64,
    /// Memory that these take.
    pub bytes: u64,
    /// Of all rules, how many are looked at per event after the index; `None` before the first event.
    pub rules_per_event: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
const fn as_number(count: u64) -> f64 {
    count as f64
}

/// Bytes of the files in a directory, not of those below it.
fn bytes_in(directory: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(directory).ok()?;
    let files = entries.filter_map(|entry| entry.ok()?.metadata().ok());
    Some(files.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum())
}

/// Brings a counter up to a total that is counted elsewhere.
fn advance(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of this era fit into 2^53")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn now_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A map stays usable when a thread that held it panicked: it is only counted from.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
