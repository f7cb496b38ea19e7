//! What a store keeps of a shard: every change, applied in order.

use std::collections::BTreeMap;

use tripline::engine::{
    shard::{RestoreReport, Shard},
    state::{StateChange, StateEntry, StateTable},
};

#[derive(Default)]
pub(crate) struct Store {
    entries: BTreeMap<(StateTable, Vec<u8>), Vec<u8>>,
}

impl Store {
    /// A checkpoint.
    pub(crate) fn take(&mut self, shard: &mut Shard) {
        let mut changes = Vec::new();
        shard.take_changes(&mut changes);
        for StateChange { table, key, value } in changes {
            match value {
                Some(value) => self.entries.insert((table, key), value),
                None => self.entries.remove(&(table, key)),
            };
        }
    }

    /// What a process that starts does.
    pub(crate) fn give(&self, shard: &mut Shard) -> RestoreReport {
        let entry = |((table, key), value): (&(StateTable, Vec<u8>), &Vec<u8>)| StateEntry {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        };
        shard.restore(&mut self.entries.iter().map(entry))
    }
}
