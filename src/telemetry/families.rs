//! The metrics by what they are about: names, labels and help of each.
//!
//! Only tables; [`super::Metrics`] decides what moves them.

use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec,
};

use super::{process, registry::Builder};
use crate::engine::{alert::AlertState, shard::Limit};

pub(super) struct SourceMetrics {
    pub(super) up: IntGaugeVec,
    pub(super) paused: IntGaugeVec,
    pub(super) records: IntCounter,
    pub(super) bytes: IntCounter,
    pub(super) lag: IntGaugeVec,
    pub(super) behind: IntGaugeVec,
    pub(super) unread: IntGaugeVec,
    pub(super) shared: IntGaugeVec,
    pub(super) rebuild_left: IntGauge,
    pub(super) records_lost: IntCounterVec,
    pub(super) rewinds: IntCounterVec,
    pub(super) troubles: IntCounterVec,
    pub(super) control_messages: IntCounterVec,
    pub(super) dead_letters: IntCounterVec,
    pub(super) dead_letters_lost: IntCounter,
}

pub(super) struct EngineMetrics {
    pub(super) events: IntCounter,
    pub(super) events_canonical: IntCounter,
    pub(super) events_cut: IntCounter,
    pub(super) events_elsewhere: IntCounter,
    pub(super) events_from_future: IntCounter,
    pub(super) events_late: IntCounter,
    pub(super) events_duplicate: IntCounter,
    pub(super) fields_unread: IntCounterVec,
    pub(super) values_dropped: IntCounter,
    pub(super) rules_evaluated: IntCounter,
    pub(super) findings: IntCounterVec,
    pub(super) alerts: IntCounterVec,
    pub(super) alerts_firing: IntGaugeVec,
    pub(super) alert_latency: Histogram,
    pub(super) alerts_old: IntCounter,
    pub(super) suppressed: IntCounter,
    pub(super) rule_errors: IntCounterVec,
    pub(super) keys: IntGaugeVec,
    pub(super) state_bytes: IntGaugeVec,
    pub(super) state_limit: IntGauge,
    pub(super) keys_evicted: IntCounterVec,
    pub(super) keys_null: IntCounterVec,
    pub(super) windows_missed: IntCounter,
    pub(super) given_up: IntCounter,
    pub(super) limit_hits: IntCounterVec,
    pub(super) watermark: Gauge,
    pub(super) watermark_delay: Gauge,
    pub(super) in_flight: IntGauge,
}

pub(super) struct CheckpointMetrics {
    pub(super) seconds: Histogram,
    pub(super) bytes: IntGauge,
    pub(super) failures: IntCounter,
    pub(super) last: Gauge,
    pub(super) age: Gauge,
}

pub(super) struct DeliveryMetrics {
    pub(super) pending: IntGauge,
    pub(super) notifications: IntCounterVec,
    pub(super) superseded: IntCounterVec,
    pub(super) alerts_lost: IntCounterVec,
    pub(super) attempts: IntCounterVec,
    pub(super) delay: HistogramVec,
    pub(super) last: GaugeVec,
    pub(super) failing: IntGaugeVec,
}

pub(super) struct CanaryMetrics {
    pub(super) seconds: Histogram,
    pub(super) overdue: IntGauge,
}

pub(super) struct RulesMetrics {
    pub(super) loaded: IntGauge,
    pub(super) reloads: IntCounterVec,
    pub(super) successful: IntGauge,
    pub(super) last: Gauge,
}

pub(super) struct ServerMetrics {
    pub(super) refused: IntCounterVec,
}

pub(super) struct ProcessMetrics {
    pub(super) cpu: Counter,
    pub(super) resident: IntGauge,
    pub(super) memory: IntGauge,
    pub(super) fds: IntGauge,
    pub(super) threads: IntGauge,
    pub(super) start: Gauge,
}

impl SourceMetrics {
    #[rustfmt::skip]
    pub(super) fn new(b: &mut Builder) -> SourceMetrics {
        SourceMetrics {
            up: b.gauges("tripline_source_up", &["source"], "1 while the source can read."),
            paused: b.gauges("tripline_source_paused", &["source"], "1 while the source holds back because the pipeline is full."),
            records: b.counter("tripline_records_total", "Records decoded, tombstones included."),
            bytes: b.counter("tripline_record_bytes_total", "Bytes of the payloads of those records."),
            lag: b.gauges("tripline_source_lag_records", &["topic", "partition"], "Records between our position and the end of the partition; not there while it cannot be read."),
            behind: b.gauges("tripline_source_behind_bytes", &["log"], "Bytes that were written to a followed log and not read yet; a gzip or zstd file counts as nothing."),
            unread: b.gauges("tripline_source_partitions_unread", &["source"], "Partitions that the source should read and cannot."),
            shared: b.gauges("tripline_source_group_shared", &["source"], "1 while other programs are members of the source's consumer group."),
            rebuild_left: b.gauge("tripline_rebuild_left_records", "Records left to be read before the windows of lost state are rebuilt."),
            records_lost: b.counters("tripline_source_records_lost_total", &["topic", "partition"], "Records that were gone (retention) before they were read."),
            rewinds: b.counters("tripline_source_rewinds_total", &["topic", "partition"], "Times that a partition was made anew and is read from its start again."),
            troubles: b.counters("tripline_source_troubles_total", &["source", "what"], "What a source refused, lost or passed over: requests to a webhook by reason, bytes of files."),
            control_messages: b.counters("tripline_control_messages_total", &["kind"], "Messages that are known to hold no audit event: tests of shippers, empty batches, other logs."),
            dead_letters: b.counters("tripline_decode_failures_total", &["reason"], "Records, or parts of one, that could not be decoded."),
            dead_letters_lost: b.counter("tripline_dead_letters_lost_total", "Undecodable records that are no longer kept: newer ones needed the room."),
        }
    }
}

impl EngineMetrics {
    #[rustfmt::skip]
    pub(super) fn new(b: &mut Builder) -> EngineMetrics {
        EngineMetrics {
            events: b.counter("tripline_events_total", "Audit events decoded, all stages."),
            events_canonical: b.counter("tripline_events_canonical_total", "Audit events that rules looked at: one per request."),
            events_cut: b.counter("tripline_events_cut_total", "Audit events that were cut off on their way; rules saw what stands before the cut."),
            events_elsewhere: b.counter("tripline_events_elsewhere_total", "Events of a cluster for which another source is the truth (`truth_for`); rules did not see them."),
            events_from_future: b.counter("tripline_events_from_future_total", "Events that claimed a time which cannot be theirs: ahead of our clock, or of their record, by more than skew_max."),
            events_late: b.counter("tripline_events_late_total", "Detections behind the watermark; they count wherever a window is still open."),
            events_duplicate: b.counter("tripline_events_duplicate_total", "Detections of requests that had been counted before."),
            fields_unread: b.counters("tripline_event_fields_unread_total", &["field"], "Fields that were written in a way that says nothing clear, and so were absent for rules."),
            values_dropped: b.counter("tripline_event_values_dropped_total", "Values that rules did not see: there were too many, or a JSON Patch copied them from elsewhere."),
            rules_evaluated: b.counter("tripline_rules_evaluated_total", "Rules looked at after the index, over all events."),
            findings: b.counters("tripline_findings_total", &["rule"], "Times that a rule's whole condition held."),
            alerts: b.counters("tripline_alerts_total", &["rule", "severity", "state"], "Alerts that began to fire, and that resolved."),
            alerts_firing: b.gauges("tripline_alerts_firing", &["rule", "severity"], "Alerts that fire now."),
            alert_latency: b.latency("tripline_alert_latency_seconds", "From the event that made an alert fire to the checkpoint after which it is sent, if that is less than an hour."),
            alerts_old: b.counter("tripline_alerts_old_total", "Alerts whose event was older than an hour when they began; their latency is not measured."),
            suppressed: b.counter("tripline_findings_suppressed_total", "Findings that their rule's own suppress held back."),
            rule_errors: b.counters("tripline_rule_errors_total", &["reason"], "Times that a rule could not do part of its work."),
            keys: b.gauges("tripline_correlation_keys", &["rule"], "Correlation keys held."),
            state_bytes: b.gauges("tripline_correlation_state_bytes", &["rule"], "Memory that keys and windows of a correlation take, by the formula by which room is made."),
            state_limit: b.gauge("tripline_correlation_state_limit_bytes", "Memory that those of all correlations may take together (engine.memory)."),
            keys_evicted: b.counters("tripline_correlation_keys_evicted_total", &["rule"], "Correlation keys forgotten for want of memory (engine.memory); alerts for them may be missed."),
            keys_null: b.counters("tripline_correlation_keys_null_total", &["rule"], "Findings that did not count because a group-by or counted field was absent or no number."),
            given_up: b.counter("tripline_partitions_given_up_total", "Times that a partition could not be read for longer than away_max, so that windows were closed without it."),
            windows_missed: b.counter("tripline_windows_missed_total", "Findings that came after their window had been decided."),
            limit_hits: b.counters("tripline_limit_hits_total", &["limit", "rule"], "Times that a bound of what is kept of a rule was hit; alerts may be missed (correlation_keys, keys_per_event, window_events), joined (firing_alerts) or counted twice (identities)."),
            watermark: b.seconds_gauge("tripline_watermark_timestamp_seconds", "Event time before which nothing more is expected."),
            watermark_delay: b.seconds_gauge("tripline_watermark_delay_seconds", "How far the watermark is behind our clock."),
            in_flight: b.gauge("tripline_batches_in_flight", "Batches between the source and the end of correlation."),
        }
    }

    pub(super) fn begin(&self, rule: &str, severity: &str) {
        self.findings.with_label_values(&[rule]);
        self.keys_evicted.with_label_values(&[rule]);
        for limit in Limit::ALL {
            self.limit_hits.with_label_values(&[limit.as_str(), rule]);
        }
        self.alerts_firing.with_label_values(&[rule, severity]);
        for state in AlertState::ALL.map(AlertState::as_str) {
            self.alerts.with_label_values(&[rule, severity, state]);
        }
    }

    /// Ends series. An error only means that there was none.
    pub(super) fn forget(&self, rule: &str, severity: &str, is_still_loaded: bool) {
        for state in AlertState::ALL.map(AlertState::as_str) {
            drop(self.alerts.remove_label_values(&[rule, severity, state]));
        }
        // Alerts of a rule that is gone fire until they resolve; their gauge stays while it is not 0.
        if self.alerts_firing.with_label_values(&[rule, severity]).get() == 0 {
            drop(self.alerts_firing.remove_label_values(&[rule, severity]));
        }
        if !is_still_loaded {
            drop(self.findings.remove_label_values(&[rule]));
            drop(self.keys_evicted.remove_label_values(&[rule]));
            for limit in Limit::ALL {
                drop(self.limit_hits.remove_label_values(&[limit.as_str(), rule]));
            }
            drop(self.keys.remove_label_values(&[rule]));
            drop(self.state_bytes.remove_label_values(&[rule]));
        }
    }
}

impl CheckpointMetrics {
    #[rustfmt::skip]
    pub(super) fn new(b: &mut Builder) -> CheckpointMetrics {
        CheckpointMetrics {
            seconds: b.seconds("tripline_checkpoint_duration_seconds", "Time to make a checkpoint durable."),
            bytes: b.gauge("tripline_store_bytes", "Size of the checkpoint on disk."),
            failures: b.counter("tripline_checkpoint_failures_total", "Checkpoints that failed and were tried again."),
            last: b.seconds_gauge("tripline_checkpoint_last_success_timestamp_seconds", "When everything was last durable; at first, when the process started."),
            age: b.seconds_gauge("tripline_checkpoint_age_seconds", "How long ago everything was durable."),
        }
    }
}

impl DeliveryMetrics {
    #[rustfmt::skip]
    pub(super) fn new(b: &mut Builder) -> DeliveryMetrics {
        DeliveryMetrics {
            pending: b.gauge("tripline_notifications_pending", "Notifications that receivers are still owed."),
            notifications: b.counters("tripline_notifications_total", &["receiver", "kind", "reason"], "Notifications made, by why."),
            superseded: b.counters("tripline_notifications_superseded_total", &["receiver", "kind"], "Notifications replaced by a newer one before they were delivered."),
            alerts_lost: b.counters("tripline_alerts_undelivered_total", &["receiver", "kind", "reason"], "Alerts given up: the receiver was away for too long (expired), or too many were owed, or its receiver is gone from the configuration (dropped)."),
            attempts: b.counters("tripline_delivery_attempts_total", &["receiver", "kind", "recipient", "outcome", "reason"], "Attempts to deliver a notification."),
            delay: b.latencies("tripline_delivery_delay_seconds", &["receiver", "kind"], "From the making of a notification to the answer that it was taken."),
            last: b.seconds_gauges("tripline_delivery_last_success_timestamp_seconds", &["receiver", "kind", "recipient"], "When a receiver last took a notification."),
            failing: b.gauges("tripline_receiver_failing", &["receiver", "kind", "recipient"], "1 while a receiver has taken nothing of what it is owed for its failing_after."),
        }
    }
}

impl CanaryMetrics {
    #[rustfmt::skip]
    pub(super) fn new(b: &mut Builder) -> CanaryMetrics {
        CanaryMetrics {
            seconds: b.latency("tripline_canary_duration_seconds", "From the sending of the end-to-end canary to the delivery of its alert."),
            overdue: b.gauge("tripline_canary_overdue", "1 while an end-to-end canary has not come back in time."),
        }
    }
}

impl RulesMetrics {
    #[rustfmt::skip]
    pub(super) fn new(b: &mut Builder) -> RulesMetrics {
        RulesMetrics {
            loaded: b.gauge("tripline_rules_loaded", "Rules in use."),
            reloads: b.counters("tripline_rules_reloads_total", &["outcome"], "Reloads of the rules since start."),
            successful: b.gauge("tripline_rules_last_reload_successful", "0 while the last reload failed and the rules before it are in use."),
            last: b.seconds_gauge("tripline_rules_last_load_timestamp_seconds", "When the rules in use were loaded."),
        }
    }
}

impl ServerMetrics {
    #[rustfmt::skip]
    pub(super) fn new(b: &mut Builder) -> ServerMetrics {
        ServerMetrics {
            refused: b.counters("tripline_http_refused_total", &["server", "reason"], "Connections that were closed and requests that were refused, by why."),
        }
    }
}

impl ProcessMetrics {
    #[rustfmt::skip]
    pub(super) fn new(b: &mut Builder) -> ProcessMetrics {
        ProcessMetrics {
            cpu: b.seconds_counter("process_cpu_seconds_total", "Processor time used, user and system."),
            resident: b.gauge("process_resident_memory_bytes", "Memory in use."),
            memory: b.gauge("process_virtual_memory_bytes", "Address space in use."),
            fds: b.gauge("process_open_fds", "Open file descriptors."),
            threads: b.gauge("process_threads", "Threads."),
            start: b.seconds_gauge("process_start_time_seconds", "When the process started."),
        }
    }

    pub(super) fn update(&self, stats: &process::ProcessStats) {
        let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.cpu.inc_by((stats.cpu_seconds - self.cpu.get()).max(0.0));
        self.resident.set(integer(stats.resident_bytes));
        self.memory.set(integer(stats.virtual_bytes));
        self.fds.set(integer(stats.open_fds));
        self.threads.set(integer(stats.threads));
        self.start.set(stats.start_seconds);
    }
}
