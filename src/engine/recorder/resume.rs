//! Goes on where an earlier process has stopped: behind what it recorded, or behind a ledger that has more or other rows.

use std::sync::Arc;

use super::{Recorder, Sealed};
use crate::engine::{
    ledger::{Chain, Content, Entry, EntryKind, Row},
    time::WallTime,
};

impl Recorder {
    /// Takes over the rows of the spool that the archive does not have, and where the archive has come to. Returns those
    /// that are to be written as they are. If the archive has rows that this chain does not lead to, the state was lost or
    /// is older, or it is another ledger: an entry says so, what is recorded goes on behind them, and the rows that wait get
    /// new numbers.
    pub fn resume(&mut self, now: WallTime, rows: Vec<Arc<Row>>, archive: Chain) -> Vec<Arc<Row>> {
        if self.chain.id > 0 {
            self.usage.resume();
        }
        if !self.leads_from(archive, &rows) {
            self.go_on_behind(now, rows, archive);
            return Vec::new();
        }
        let left: Vec<Arc<Row>> = rows.into_iter().filter(|row| row.id > self.archived).collect();
        for row in &left {
            self.hold(row.id, row.line().len());
        }
        left
    }

    /// Whether the chain comes from the archive's by these rows. If rows are missing between, nothing says that it does not.
    fn leads_from(&self, archive: Chain, rows: &[Arc<Row>]) -> bool {
        let mut chain = archive;
        for row in rows {
            if row.id != chain.id + 1 {
                return row.id > chain.id;
            }
            chain.push(&row.line());
        }
        chain.id < self.chain.id || chain == self.chain
    }

    fn go_on_behind(&mut self, now: WallTime, rows: Vec<Arc<Row>>, archive: Chain) {
        let entry = Entry::new(EntryKind::Gap, "ledger", "rewound")
            .detail("the ledger had rows that the state did not lead to; what was recorded behind it may be here twice")
            .count("checkpoint", self.chain.id)
            .count("ledger", archive.id);
        (self.chain, self.sealed) = (archive, Sealed { id: archive.id, at: None });
        self.archived(archive.id);
        self.entry(now, entry);
        for row in rows {
            match &row.content {
                // What it sealed is not before it any more.
                Content::Entry(entry) if entry.kind == EntryKind::Seal => self.seal(now),
                content => self.push(row.recorded, content.clone()),
            }
        }
    }
}
