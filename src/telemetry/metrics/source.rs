//! What sources cannot read, and who else reads.

use std::sync::Arc;

use super::Metrics;
use crate::engine::record::PartitionName;

impl Metrics {
    /// How far behind we are in a partition is not known any more.
    pub fn forget_lag(&self, partition: &PartitionName) {
        let number = partition.partition.to_string();
        // An error only means that there was none.
        drop(self.source.lag.remove_label_values(&[&partition.topic, &number]));
    }

    /// Bytes of followed logs that were written and not read yet.
    pub fn set_behind(&self, logs: &[(Arc<PartitionName>, u64)]) {
        for (log, bytes) in logs {
            let bytes = i64::try_from(*bytes).unwrap_or(i64::MAX);
            self.source.behind.with_label_values(&[&*log.stored_topic()]).set(bytes);
        }
    }

    /// Partitions that a source should read and cannot.
    pub fn source_unread(&self, source: &str, partitions: usize) {
        let partitions = i64::try_from(partitions).unwrap_or(i64::MAX);
        self.source.unread.with_label_values(&[source]).set(partitions);
    }

    /// Whether other programs are members of a source's group.
    pub fn source_shared(&self, source: &str, is_shared: bool) {
        self.source.shared.with_label_values(&[source]).set(i64::from(is_shared));
    }

    /// Records left to be read before the windows of lost state are rebuilt.
    pub fn rebuild_left(&self, records: i64) {
        self.source.rebuild_left.set(records);
    }
}
