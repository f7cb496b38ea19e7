//! What a store keeps of a shard or a dispatcher: every change, applied in order.

use std::collections::BTreeMap;

use tripline::engine::{
    shard::{RestoreReport, Shard},
    state::{StateChange, StateEntry, StateTable},
    time::WallTime,
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
        self.apply(changes);
    }

    /// Writes changes, in order.
    pub(crate) fn apply(&mut self, changes: Vec<StateChange>) {
        for StateChange { table, key, value } in changes {
            match value {
                Some(value) => self.entries.insert((table, key), value),
                None => self.entries.remove(&(table, key)),
            };
        }
    }

    /// What a process that starts does.
    pub(crate) fn give(&self, shard: &mut Shard) -> RestoreReport {
        shard.restore(&mut self.entries())
    }

    /// Against what the process before held events, if that is kept.
    pub(crate) fn horizon(&self) -> Option<WallTime> {
        let value = self.entries.get(&(StateTable::Watermark, b"h".to_vec()))?;
        Some(postcard::from_bytes(value).unwrap())
    }

    /// Everything that is kept.
    pub(crate) fn entries(&self) -> impl Iterator<Item = StateEntry> {
        self.entries.iter().map(|((table, key), value)| StateEntry {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        })
    }
}
