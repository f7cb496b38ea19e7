//! Metrics of the ledger.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge};

use super::{Metrics, advance, now_seconds};
use crate::{engine::recorder::Recorder, telemetry::registry::Builder};

pub(super) struct LedgerMetrics {
    rows: IntCounterVec,
    shed: IntCounter,
    duplicates: IntCounter,
    names_left_out: IntCounter,
    usage_left_out: IntCounterVec,
    exceptions_left_out: IntCounter,
    last: IntGauge,
    archived: IntGauge,
    spool: IntGauge,
    bytes: IntGauge,
    failures: IntCounter,
    written: Gauge,
    topic_row: IntGauge,
    topic_failures: IntCounter,
}

impl LedgerMetrics {
    #[rustfmt::skip]
    pub(super) fn new(b: &mut Builder) -> LedgerMetrics {
        LedgerMetrics {
            rows: b.counters("tripline_ledger_rows_total", &["class"], "Rows of the ledger, by class of access or kind of entry."),
            shed: b.counter("tripline_ledger_shed_total", "Accesses that were not recorded, since there was no room for them."),
            duplicates: b.counter("tripline_ledger_duplicates_total", "Copies of requests that were recorded already."),
            names_left_out: b.counter("tripline_ledger_names_left_out_total", "Accesses of whose objects the names were left out, since one actor had too many."),
            usage_left_out: b.counters("tripline_ledger_usage_left_out_total", &["reason"], "Uses of permissions that are not told: too_many of one actor and day, or late by more than a day."),
            exceptions_left_out: b.counter("tripline_ledger_exceptions_left_out_total", "Uses of filters and of entries of lists that are not told, since too many different ones were used."),
            last: b.gauge("tripline_ledger_last_row", "Id of the newest row."),
            archived: b.gauge("tripline_ledger_archived_row", "Id of the newest row that is in a month file."),
            spool: b.gauge("tripline_ledger_spool_rows", "Rows that wait in the checkpoint for the archive."),
            bytes: b.gauge("tripline_ledger_bytes", "Bytes of all month files."),
            failures: b.counter("tripline_ledger_failures_total", "Times that rows could not be written to a month file."),
            written: b.seconds_gauge("tripline_ledger_written_timestamp_seconds", "When rows were written to a month file last."),
            topic_row: b.gauge("tripline_ledger_topic_row", "Id of the newest row that the topic of `ledger.topic` has."),
            topic_failures: b.counter("tripline_ledger_topic_failures_total", "Times that rows could not be copied to the topic of `ledger.topic`."),
        }
    }
}

impl Metrics {
    /// What the recorder has counted, and how far it has come.
    pub fn set_ledger(&self, recorder: &Recorder) {
        let counts = recorder.counts();
        for (class, total) in &counts.rows {
            advance(&self.ledger.rows.with_label_values(&[class]), *total);
        }
        advance(&self.ledger.shed, counts.shed);
        advance(&self.ledger.duplicates, counts.duplicates);
        advance(&self.ledger.names_left_out, counts.names_left_out);
        for (reason, total) in [("too_many", counts.usage_left_out), ("late", counts.usage_late)] {
            advance(&self.ledger.usage_left_out.with_label_values(&[reason]), total);
        }
        advance(&self.ledger.exceptions_left_out, counts.exceptions_left_out);
        self.ledger.last.set(i64::try_from(recorder.chain().id).unwrap_or(i64::MAX));
        self.ledger.spool.set(i64::try_from(recorder.spool_rows()).unwrap_or(i64::MAX));
    }

    /// The archive has all rows up to this one, in so many bytes.
    pub fn ledger_archived(&self, through: u64, bytes: u64) {
        self.ledger.archived.set(i64::try_from(through).unwrap_or(i64::MAX));
        self.ledger.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.ledger.written.set(now_seconds());
    }

    /// The topic has all rows up to this one.
    pub fn ledger_topic_row(&self, through: u64) {
        self.ledger.topic_row.set(i64::try_from(through).unwrap_or(i64::MAX));
    }

    /// Rows could not be copied to the topic.
    pub fn ledger_topic_failed(&self) {
        self.ledger.topic_failures.inc();
    }

    /// Rows could not be written.
    pub fn ledger_failed(&self) {
        self.ledger.failures.inc();
    }
}
