//! The disk: what is durable, and how far it covers what happened; and where dead letters go.

use std::{collections::BTreeSet, sync::Arc};

use memchr::memmem;
use tripline::{
    engine::{
        dead_letter::DeadLetter,
        dispatch::NotificationId,
        ledger::{Chain, Row},
        member::{Checkpoint, LedgerRow},
        state::StateTable,
    },
    store::{Loaded, Store as _, memory::MemoryStore},
};

use super::checkers::{Checked, ensure};

/// What is durable. A commit is there whole or not at all.
pub(super) struct Disk {
    store: MemoryStore,
    /// How many inputs of the history the durable state holds.
    pub(super) covers: usize,
    pub(super) is_down: bool,
    /// A commit was written and reported as failed, so ledger rows may be there twice.
    pub(super) has_repeated: bool,
    /// Every value of a group that was ever durable.
    groups: Vec<Vec<u8>>,
    /// Where reading goes on, by number of the partition.
    pub(super) positions: Vec<i64>,
    /// The rows that the archive has, each with its line.
    archive: Vec<String>,
    /// Where its chain has come to.
    pub(super) chain: Chain,
}

impl Disk {
    pub(super) fn new(partitions: usize) -> Disk {
        Disk {
            store: MemoryStore::new(),
            covers: 0,
            is_down: false,
            has_repeated: false,
            groups: Vec::new(),
            positions: vec![0; partitions],
            archive: Vec::new(),
            chain: Chain::default(),
        }
    }

    pub(super) fn commit(&mut self, checkpoint: &Checkpoint, covers: usize) {
        self.store.commit(checkpoint).expect("memory does not fail");
        self.covers = covers;
        for position in &checkpoint.positions {
            let index = usize::try_from(position.partition.partition).unwrap();
            self.positions[index] = position.next_offset;
        }
        let changes = checkpoint.changes.iter().filter(|change| change.table == StateTable::Group);
        self.groups.extend(changes.filter_map(|change| change.value.clone()));
    }

    /// The archive takes rows: each once, and none is missing.
    pub(super) fn archive(&mut self, rows: &[Arc<Row>]) -> Checked {
        for row in rows {
            let line = row.line();
            let index = usize::try_from(row.id).unwrap() - 1;
            if let Some(known) = self.archive.get(index) {
                ensure("a row that comes again is the same", *known == line, || {
                    format!("{known} became {line}")
                })?;
            } else {
                let is_next = index == self.archive.len();
                ensure("no row of the ledger is missing", is_next, || {
                    format!("row {} after {}", row.id, self.archive.len())
                })?;
                self.chain.push(&line);
                self.archive.push(line);
            }
        }
        Ok(())
    }

    /// The requests of a class that rows tell of.
    pub(super) fn recorded(&self, class: &str) -> BTreeSet<String> {
        let rows = self
            .archive
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"));
        rows.filter(|row| {
            row["classes"].as_array().is_some_and(|classes| classes.iter().any(|one| one == class))
        })
        .map(|row| row["request"].as_str().expect("an access has one").to_owned())
        .collect()
    }

    pub(super) fn load(&mut self) -> Loaded {
        self.store.load().expect("memory does not fail")
    }

    pub(super) fn ledger(&self) -> Vec<LedgerRow> {
        self.store.ledger().cloned().collect()
    }

    /// Whether a notification was durable at some time: its id stands in what was stored of groups.
    pub(super) fn has_held(&self, id: NotificationId) -> bool {
        self.groups.iter().rev().any(|value| memmem::find(value, &id.0).is_some())
    }
}

/// Where records go that are no events.
#[derive(Default)]
pub(super) struct DeadLetters {
    pub(super) is_down: bool,
    /// Partition and offset of those that are kept.
    kept: BTreeSet<(i32, i64)>,
}

impl DeadLetters {
    pub(super) fn keep(&mut self, letters: &[DeadLetter]) {
        self.kept.extend(letters.iter().map(|letter| (letter.partition.partition, letter.offset)));
    }

    pub(super) fn has(&self, partition: usize, offset: usize) -> bool {
        self.kept.contains(&(i32::try_from(partition).unwrap(), i64::try_from(offset).unwrap()))
    }
}
