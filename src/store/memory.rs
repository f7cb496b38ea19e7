//! A store that forgets everything when the process ends: for `demo`, `backtest` and tests.
//!
//! It keeps the whole contract but durability, so that what works here works with SQLite; the
//! property test in `tests/it/contract_store.rs` holds the two together.

use std::collections::{BTreeMap, VecDeque};

use super::{Checkpoint, LEDGER_AGE_MAX, LEDGER_ROWS_MAX, LedgerRow, Loaded, Store, StoreError};
use crate::engine::{
    ledger::Row,
    record::{PartitionName, Position},
    shard::{StateEntry, StateTable},
};
use std::sync::Arc;

/// Everything in memory. Cost of a commit: one map operation per position and change.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    positions: BTreeMap<Arc<PartitionName>, Position>,
    entries: BTreeMap<(StateTable, Vec<u8>), Vec<u8>>,
    ledger: VecDeque<LedgerRow>,
    spool: BTreeMap<u64, Arc<Row>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// The ledger, oldest row first.
    pub fn ledger(&self) -> impl Iterator<Item = &LedgerRow> {
        self.ledger.iter()
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let entry = |((table, key), value): (&(StateTable, Vec<u8>), &Vec<u8>)| StateEntry {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        };
        Ok(Loaded {
            positions: self.positions.values().cloned().collect(),
            entries: self.entries.iter().map(entry).collect(),
            spool: self.spool.values().map(Arc::clone).collect(),
        })
    }

    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        for position in &checkpoint.positions {
            self.positions.insert(Arc::clone(&position.partition), position.clone());
        }
        for change in &checkpoint.changes {
            let key = (change.table, change.key.clone());
            match &change.value {
                Some(value) => self.entries.insert(key, value.clone()),
                None => self.entries.remove(&key),
            };
        }
        self.spool.retain(|id, _| *id > checkpoint.archived_through);
        self.spool.extend(checkpoint.rows.iter().map(|row| (row.id, Arc::clone(row))));
        self.ledger.extend(checkpoint.ledger.iter().cloned());
        let too_many = self.ledger.len().saturating_sub(LEDGER_ROWS_MAX);
        self.ledger.drain(..too_many);
        if let Some(newest) = checkpoint.ledger.iter().map(|row| row.at).max() {
            let oldest = newest.minus(LEDGER_AGE_MAX);
            while self.ledger.front().is_some_and(|row| row.at < oldest) {
                self.ledger.pop_front();
            }
        }
        Ok(())
    }
}
