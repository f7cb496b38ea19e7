//! Pieces of engine state as a store keeps them: opaque bytes under stable keys.
//!
//! A store may give back other bytes than it was given: disks rot, and people repair databases by hand.
//! State is made of what only the engine itself writes, and is trusted to fit together. So each piece is
//! sealed with a hash of all of it, and one whose seal is broken is not read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{digest::Digest, encode::encode, words::words};

/// One changed piece of state, for the next checkpoint. Keys are stable over restarts and edits of
/// rules; values are opaque bytes that carry their own version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// Which table of the store.
    pub table: StateTable,
    /// Unique within the table.
    pub key: Vec<u8>,
    /// `None`: forget it.
    pub value: Option<Vec<u8>>,
}

/// Bytes of a seal.
const SEAL_BYTES: usize = 8;

fn seal_of(table: StateTable, key: &[u8], value: &[u8]) -> [u8; SEAL_BYTES] {
    Digest::of([table.as_str().as_bytes(), key, value]).first()
}

impl StateChange {
    /// Puts the seal behind the value. Once, before it is handed out.
    pub(in crate::engine) fn seal(&mut self) {
        if let Some(value) = &mut self.value {
            let seal = seal_of(self.table, &self.key, value);
            value.extend_from_slice(&seal);
        }
    }
}

impl StateEntry {
    /// Takes the seal off. `false` if it is broken: the value is then of no use.
    pub(in crate::engine) fn unseal(&mut self) -> bool {
        let Some(length) = self.value.len().checked_sub(SEAL_BYTES) else { return false };
        let seal = self.value.split_off(length);
        seal == seal_of(self.table, &self.key, &self.value)
    }
}

words! {
    /// Tables of engine state in a store.
    pub enum StateTable {
        /// Watermarks per partition.
        Watermark = "watermark",
        /// Windows and other correlation state, per rule and key.
        Correlation = "correlation",
        /// Request identities that were counted.
        Identity = "identity",
        /// Alerts that fire or are suppressed.
        Alert = "alert",
        /// Groups with what they owe.
        Group = "alert_group",
        /// Head of the ledger, and what is to become its rows.
        Recorder = "recorder",
        /// Changes that were received and have no end yet.
        Unfinished = "unfinished",
        /// What people did: silences, and what was done with alerts.
        Act = "act",
        /// What sources keep beside their positions.
        SourceNote = "source_note",
    }
}

/// One piece of state as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// Which table of the store.
    pub table: StateTable,
    /// Unique within the table.
    pub key: Vec<u8>,
    /// As it was handed out.
    pub value: Vec<u8>,
}

/// What a source keeps beside its positions, such as which file an offset belongs to. It goes through the
/// pipeline with a batch and is stored by the checkpoint that covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceNote {
    /// Name that the operator gave to the source.
    pub source: Option<Arc<str>>,
    /// Unique within the source.
    pub key: String,
    /// Opaque bytes that carry their own version. `None`: forget it.
    pub value: Option<Vec<u8>>,
}

impl SourceNote {
    /// The key under which it is stored.
    pub(in crate::engine) fn stored_key(&self) -> Vec<u8> {
        encode(&(self.source.as_deref(), &self.key))
    }

    /// A stored entry; `None` if it is none of a source, or is not as it was written.
    pub fn read(entry: &StateEntry) -> Option<SourceNote> {
        if entry.table != StateTable::SourceNote {
            return None;
        }
        let mut entry = entry.clone();
        if !entry.unseal() {
            return None;
        }
        let (source, key): (Option<String>, String) = postcard::from_bytes(&entry.key).ok()?;
        Some(SourceNote { source: source.map(Arc::from), key, value: Some(entry.value) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_broken_by_any_change() {
        let (table, key) = (StateTable::Alert, b"key".to_vec());
        let mut change = StateChange { table, key: key.clone(), value: Some(b"value".to_vec()) };
        change.seal();
        let entry = StateEntry { table, key, value: change.value.unwrap() };
        let mut same = entry.clone();
        assert!(same.unseal());
        assert_eq!(same.value, b"value");
        for at in 0..entry.value.len() {
            let mut other = entry.clone();
            other.value[at] ^= 1;
            assert!(!other.unseal(), "byte {at}");
        }
        assert!(!StateEntry { key: b"kez".to_vec(), ..entry.clone() }.unseal());
        assert!(!StateEntry { table: StateTable::Group, ..entry.clone() }.unseal());
        assert!(!StateEntry { value: Vec::new(), ..entry }.unseal());
        let mut gone = StateChange { table, key: Vec::new(), value: None };
        gone.seal();
        assert_eq!(gone.value, None);
    }
}
