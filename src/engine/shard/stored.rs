//! What a checkpoint holds of a shard, and how it comes back.

use std::{collections::BTreeSet, sync::Arc};

use serde::Deserialize;

use super::{
    RestoreReport, Run, Shard, StateChange, StateEntry, StateTable, captures_of,
    watermark::PartitionClock,
};
use crate::engine::{
    alert::{lifecycle::TrackedAlert, quota::AlertKey},
    digest::Digest,
    encode::{encode, encode_into},
    horizon,
    kind::StateKey,
    record::PartitionName,
    rule::RuleIndex,
};

/// Under this name the store has the changes that ended, beside the requests that each rule counted.
pub(super) const NO_RULE: &str = "";

/// Under this key the store has what event time is assumed to be while nothing better is known. Names of
/// partitions are longer.
const ASSUMED: &[u8] = b"a";

/// Stored under a correlation key: the meaning of the state, and the state.
#[derive(Deserialize)]
struct StoredState<'a> {
    shape: u64,
    captures: u64,
    state: &'a [u8],
}

/// A [`StoredState`] as it is stored.
fn stored(shape: u64, captures: u64, state: &[u8]) -> Vec<u8> {
    let room = Vec::with_capacity(state.len() + 32);
    let mut bytes = encode_into(room, &(shape, captures, state.len()));
    bytes.extend_from_slice(state);
    bytes
}

impl Shard {
    /// The state that changed since the last call, for the next checkpoint.
    pub fn take_changes(&mut self, out: &mut Vec<StateChange>) {
        self.take_state_changes();
        out.append(&mut self.changes);
    }

    pub(super) fn take_state_changes(&mut self) {
        if let Some(watermark) = self.watermark.take_moved() {
            let value = Some(encode(&watermark));
            self.changes.push(StateChange { table: StateTable::Watermark, key: Vec::new(), value });
        }
        if let Some(at) = self.horizon.take_moved() {
            self.changes.push(StateChange {
                table: StateTable::Watermark,
                key: horizon::KEY.to_vec(),
                value: Some(encode(&at)),
            });
        }
        if let Some(time) = self.watermark.take_assumed() {
            self.changes.push(StateChange {
                table: StateTable::Watermark,
                key: ASSUMED.to_vec(),
                value: Some(encode(&time)),
            });
        }
        if self.watermark.take_partitions_moved() {
            for (partition, clock) in self.watermark.partitions() {
                self.changes.push(StateChange {
                    table: StateTable::Watermark,
                    key: encode(&**partition),
                    value: Some(encode(clock)),
                });
            }
        }
        let rules = Arc::clone(&self.rules);
        for (rule, identities) in rules.rules.iter().zip(&mut self.identities) {
            let (id, Some(identities)) = (&rule.meta().id, identities) else { continue };
            identities.take_changed(|run, keys| self.changes.push(identity_change(id, run, keys)));
        }
        self.unfinished.take_changes(&rules, &mut self.changes);
        for (index, rule) in rules.correlations() {
            let Some(Some(state)) = self.states.get_mut(index.index()) else { continue };
            let (shape, captures) = (rule.meta.state_shape, captures_hash(&rule.capture_names));
            let mut changed = Vec::new();
            state.take_changed(&mut changed);
            for (key, value) in changed {
                let value = value.map(|state| stored(shape, captures, &state));
                self.changes.push(correlation_change(&rule.meta.id, &key, value));
            }
        }
        for (key, value) in self.lifecycle.take_changed() {
            self.changes.push(StateChange { table: StateTable::Alert, key: encode(&key), value });
        }
    }

    /// Puts stored state back. Whatever cannot be read, or belongs to a rule that means something else
    /// by now, is left out, counted, and deleted with the next checkpoint.
    pub fn restore(&mut self, entries: &mut dyn Iterator<Item = StateEntry>) -> RestoreReport {
        let mut report = RestoreReport::default();
        let mut dropped = BTreeSet::new();
        let captures = self.rules.rules.iter().map(|rule| captures_hash(rule.capture()));
        let captures: Vec<u64> = captures.collect();
        for entry in entries {
            match self.restore_one(&entry, &captures) {
                Some(true) => report.restored += 1,
                outcome => {
                    if outcome.is_some() {
                        report.outdated += 1;
                    } else {
                        report.unusable += 1;
                    }
                    let StateEntry { table, key, .. } = entry;
                    if table == StateTable::Correlation {
                        let id = postcard::take_from_bytes::<String>(&key).map(|(id, _)| id);
                        dropped.extend(id);
                    }
                    self.changes.push(StateChange { table, key, value: None });
                }
            }
        }
        self.count_memory();
        self.lifecycle.end_orphans(&dropped, self.watermark.get());
        report
    }

    /// Whether it was taken; `None` if it cannot be read. `captures` tell what rules capture by now.
    fn restore_one(&mut self, entry: &StateEntry, captures: &[u64]) -> Option<bool> {
        match entry.table {
            StateTable::Watermark if entry.key.is_empty() => {
                self.watermark.restore_merged(postcard::from_bytes(&entry.value).ok()?);
            }
            StateTable::Watermark if entry.key == horizon::KEY => {
                self.horizon.restore(postcard::from_bytes(&entry.value).ok()?);
            }
            StateTable::Watermark if entry.key == ASSUMED => {
                self.watermark.restore_assumed(postcard::from_bytes(&entry.value).ok()?);
            }
            StateTable::Watermark => {
                let partition: PartitionName = postcard::from_bytes(&entry.key).ok()?;
                let clock: PartitionClock = postcard::from_bytes(&entry.value).ok()?;
                self.watermark.restore(partition, clock);
            }
            StateTable::Identity => {
                let (id, run): (String, Run) = postcard::from_bytes(&entry.key).ok()?;
                if id == NO_RULE {
                    return self.unfinished.restore_ended(run, &entry.value).map(|()| true);
                }
                let index = self.rules.find(&id).map(RuleIndex::index);
                let place = index.and_then(|index| self.identities.get_mut(index));
                let Some(Some(identities)) = place else { return Some(false) };
                identities.restore(run, &entry.value)?;
            }
            StateTable::Correlation => {
                let (id, key): (&str, StateKey) = postcard::from_bytes(&entry.key).ok()?;
                let stored: StoredState<'_> = postcard::from_bytes(&entry.value).ok()?;
                let index = self.rules.find(id);
                let meta = index.map(|index| self.rules.rule(index).meta());
                let of_all = meta.and_then(|meta| meta.state_shape_of_all_clusters);
                if of_all == Some(stored.shape) {
                    self.of_all_clusters.insert(id.to_owned());
                } else if meta.is_none_or(|meta| meta.state_shape != stored.shape) {
                    return Some(false);
                }
                let Some(index) = index else { return Some(false) };
                let same = captures.get(index.index()) == Some(&stored.captures);
                let Some(Some(state)) = self.states.get_mut(index.index()) else {
                    return Some(false);
                };
                state.restore(key, stored.state, captures_of(same))?;
            }
            StateTable::Alert => {
                let key: AlertKey = postcard::from_bytes(&entry.key).ok()?;
                self.lifecycle.restore(key, TrackedAlert::from_bytes(&entry.value)?);
            }
            StateTable::Unfinished => return self.unfinished.restore(entry, &self.rules),
            StateTable::Group | StateTable::Act | StateTable::Recorder | StateTable::SourceNote => {
                return None;
            }
        }
        Some(true)
    }
}

/// Tells lists of captured fields apart.
pub(super) fn captures_hash(names: &[String]) -> u64 {
    names.iter().fold(Digest::default(), |digest, name| digest.bytes(name).bytes([0])).number()
}

pub(super) fn identity_change(rule_id: &str, run: Run, keys: Option<Vec<u8>>) -> StateChange {
    StateChange { table: StateTable::Identity, key: encode(&(rule_id, run)), value: keys }
}

pub(super) fn correlation_change(
    rule_id: &str,
    key: &StateKey,
    value: Option<Vec<u8>>,
) -> StateChange {
    let bytes: usize = key.key.iter().map(|part| part.len() + 3).sum();
    let room = Vec::with_capacity(rule_id.len() + bytes + 8);
    StateChange { table: StateTable::Correlation, key: encode_into(room, &(rule_id, key)), value }
}
