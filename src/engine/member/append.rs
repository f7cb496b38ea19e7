//! Entries of somebody who comes while no process runs: the rows that the next one finds in its spool.

use std::sync::Arc;

use super::Checkpoint;
use crate::engine::{
    ledger::{Chain, Entry, Row},
    recorder::Recorder,
    settings::EngineSettings,
    state::{StateChange, StateEntry, StateTable},
    time::WallTime,
};

/// What is to be committed so that entries stand in the ledger behind all that a process made durable. `state`
/// and `spool` are what its store has, without rows that its month files have, `archive` is where its month files have come to.
pub fn append_entries(
    state: Vec<StateEntry>,
    spool: Vec<Arc<Row>>,
    archive: Chain,
    now: WallTime,
    entries: Vec<Entry>,
) -> Checkpoint {
    let mut recorder = Recorder::new(&EngineSettings::default());
    for mut entry in state.into_iter().filter(|entry| entry.table == StateTable::Recorder) {
        // What is broken is found, and told, by the process that comes next.
        if entry.unseal() {
            recorder.restore(&entry).unwrap_or_default();
        }
    }
    drop(recorder.resume(now, spool, archive));
    for entry in entries {
        recorder.entry(now, entry);
    }
    let mut checkpoint = Checkpoint::default();
    checkpoint.archived_through =
        recorder.take_changes(&mut checkpoint.changes, &mut checkpoint.rows);
    checkpoint.changes.iter_mut().for_each(StateChange::seal);
    checkpoint
}
