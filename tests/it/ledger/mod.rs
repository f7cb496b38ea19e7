//! The ledger: what is recorded against plain loops over the events, month files, tampering, questions.

mod agreement;
mod archive;
mod broken;
mod clusters;
mod earlier;
mod evidence;
mod exceptions;
mod hours;
mod in_force;
mod levels;
mod missing;
mod open_before;
mod paging;
mod questions;
mod real_log;
mod report_commands;
mod reports;
mod rows_say;
mod schema;
mod sessions;
mod signed;
mod tamper;
mod told_apart;
mod usage;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tripline::engine::{
    detector::Detector,
    diagnostic::SourceText,
    dispatch::{DispatchPlan, Route},
    ledger::Row,
    member::{LedgerInput, Member},
    record::{PartitionName, RecordBatch},
    rule::{LoadOptions, RuleSet, RuleSources, load},
    settings::EngineSettings,
    time::{EventTime, WallTime},
};

/// Rules that record, as a test needs them.
pub(super) fn rules(text: &str) -> Arc<RuleSet> {
    let rules = vec![SourceText::new("rules.yaml", text)];
    let loaded = load(&RuleSources { rules, ..RuleSources::default() }, &LoadOptions::default());
    Arc::new(loaded.rules.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)))
}

/// A ledger without an archive: what is recorded comes out as rows.
pub(super) struct Recording {
    detector: Detector,
    pub(super) member: Member,
    partitions: Vec<Arc<PartitionName>>,
    sequence: u64,
    offsets: BTreeMap<usize, i64>,
    now: WallTime,
    pub(super) rows: Vec<Arc<Row>>,
}

impl Recording {
    pub(super) fn new(rules: &Arc<RuleSet>, start: EventTime) -> Recording {
        let settings = EngineSettings::default();
        let plan = DispatchPlan {
            route: Route::default(),
            receivers: Vec::new(),
            ..DispatchPlan::default()
        };
        let partitions: Vec<_> =
            (0..2).map(|number| Arc::new(PartitionName::new("audit", number))).collect();
        let mut member = Member::new(Arc::clone(rules), settings.clone(), &plan);
        member.handle_ready(start.as_wall(), &partitions);
        Recording {
            detector: Detector::new(Arc::clone(rules), 0, &settings),
            member,
            partitions,
            sequence: 0,
            offsets: BTreeMap::new(),
            now: start.as_wall(),
            rows: Vec::new(),
        }
    }

    /// Records of a partition, as they are read now.
    pub(super) fn read(&mut self, partition: usize, now: EventTime, records: &[&[u8]]) {
        self.read_of(None, partition, now, records);
    }

    /// The same of a source that names the cluster.
    pub(super) fn read_of(
        &mut self,
        cluster: Option<&str>,
        partition: usize,
        now: EventTime,
        records: &[&[u8]],
    ) {
        let records: Vec<(usize, &[u8])> =
            records.iter().map(|record| (partition, *record)).collect();
        self.read_all(cluster, now, &records);
    }

    /// Records of several partitions in one batch, each with its own.
    pub(super) fn read_together(&mut self, now: EventTime, records: &[(usize, String)]) {
        let records: Vec<(usize, &[u8])> =
            records.iter().map(|(partition, record)| (*partition, record.as_bytes())).collect();
        self.read_all(None, now, &records);
    }

    /// Records of a partition were deleted before they were read.
    pub(super) fn lose(&mut self, now: WallTime, partition: usize, records: u64) {
        let partition = Arc::clone(&self.partitions[partition]);
        self.member.handle_ledger(now, LedgerInput::Lost { partition, records });
    }

    fn read_all(&mut self, cluster: Option<&str>, now: EventTime, records: &[(usize, &[u8])]) {
        self.now = self.now.max(now.as_wall());
        let mut batch = RecordBatch { sequence: self.sequence, ..RecordBatch::default() };
        self.sequence += 1;
        let cluster: Option<Arc<str>> = cluster.map(Arc::from);
        for (partition, record) in records {
            let offset = self.offsets.entry(*partition).or_default();
            let name = &self.partitions[*partition];
            batch.push(name, *offset, cluster.as_ref(), Some(record));
            *offset += 1;
        }
        let found = self.detector.detect(self.now, &batch);
        self.member.handle_batch(self.now, &found);
        self.take();
    }

    /// Nothing comes for so long.
    pub(super) fn rest(&mut self, minutes: u32) {
        for _ in 0..minutes {
            self.now = self.now.plus(Duration::from_secs(60));
            self.member.handle_timeout(self.now);
        }
        self.take();
    }

    fn take(&mut self) {
        while let Some(checkpoint) = self.member.checkpoint() {
            self.rows.extend(checkpoint.rows.iter().cloned());
            self.member.checkpoint_durable();
            if let Some(last) = checkpoint.rows.last() {
                self.member.handle_archived(last.id);
            }
            if checkpoint.rows.is_empty() {
                break;
            }
        }
    }
}
