//! The parts of the ledger's chain that prove rows: each from one seal to the next.

use std::collections::BTreeSet;

use super::package::{Manifest, Package, Segment};
use crate::{
    archive::{ArchiveError, Filter, Reader},
    engine::{
        ledger::{Chain, EntryKind, hex_of, parse_hex},
        limits::SEAL_ROWS,
        text::counted,
    },
};

/// Rows of all parts together: 200,000. Beyond it the time around an alert is handed over without its proof.
const ROWS_MAX: u64 = 200_000;

/// How the manifest says that there was none.
pub(super) const IS_WITHOUT_PROOF: &str = "the proof of what happened around it";

/// Adds the parts that prove some rows, and, if there is room, others; of rows up to one.
pub(super) fn add(
    reader: &Reader,
    (wanted, further, through): (BTreeSet<u64>, BTreeSet<u64>, u64),
    package: &mut Package,
    manifest: &mut Manifest,
) -> Result<(), ArchiveError> {
    let mut seals = BTreeSet::new();
    reader.each_of(&[Filter::Entries(EntryKind::Seal)], |row| {
        seals.insert(row.id);
    })?;
    let all: BTreeSet<u64> = wanted.union(&further).copied().collect();
    let mut parts = parts_of(&all, &seals);
    // The last part may go on to where the ledger ends, which is before the next seal is due.
    let end = all.last().map_or(0, |last| last.saturating_add(SEAL_ROWS));
    let rows = |parts: &[(u64, u64)]| -> u64 {
        parts.iter().map(|(from, to)| (*to).min(end).saturating_sub(*from)).sum()
    };
    if rows(&parts) > ROWS_MAX {
        let most = counted(ROWS_MAX, "row");
        manifest.missing.push(format!("{IS_WITHOUT_PROOF}, since that takes more than {most}"));
        parts = parts_of(&wanted, &seals);
    }
    for (number, (from, to)) in (1..).zip(parts) {
        let file = format!("chain/{number:04}.jsonl");
        if let Some((segment, text)) = read(reader, file, (from, to.min(through)))? {
            package.add(&segment.file, text);
            manifest.chain.push(segment);
        }
    }
    Ok(())
}

/// From which row to which, so that each part begins with a seal, or where the ledger does, and ends with the
/// first seal behind the rows, or where the ledger does. Parts that touch are one.
fn parts_of(wanted: &BTreeSet<u64>, seals: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for id in wanted {
        if parts.last().is_some_and(|(_, to)| id <= to) {
            continue;
        }
        let from = seals.range(..=*id).next_back().copied().unwrap_or(0);
        let to = seals.range(id + 1..).next().copied().unwrap_or(u64::MAX);
        match parts.last_mut() {
            Some((_, before)) if from <= *before => *before = to,
            _ => parts.push((from, to)),
        }
    }
    parts
}

/// The lines of some rows, and their place in the chain.
fn read(
    reader: &Reader,
    file: String,
    (from, to): (u64, u64),
) -> Result<Option<(Segment, String)>, ArchiveError> {
    let mut segment: Option<(Segment, Chain)> = None;
    let mut text = String::new();
    let before = reader.first();
    reader.each_behind(from.saturating_sub(1), |row| {
        if row.id > to {
            return false;
        }
        let line = row.line();
        let (segment, chain) = segment.get_or_insert_with(|| {
            // A seal has the hash before it; else it is the first row of all.
            let sealed = row.entry().filter(|entry| entry.kind == EntryKind::Seal);
            let head = sealed.and_then(|entry| parse_hex(&entry.subject)).unwrap_or(before.head);
            let previous = hex_of(&head);
            let (first, last) = (row.id, row.id);
            let segment =
                Segment { file: file.clone(), first, last, previous, head: String::new() };
            (segment, Chain { id: row.id - 1, head })
        });
        chain.push(&line);
        segment.last = row.id;
        text.push_str(&line);
        text.push('\n');
        row.id < to
    })?;
    Ok(segment.map(|(segment, chain)| (Segment { head: hex_of(&chain.head), ..segment }, text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_and_end_with_seals() {
        let seals = BTreeSet::from([10, 20, 30, 40]);
        let parts = |wanted: &[u64]| parts_of(&wanted.iter().copied().collect(), &seals);
        assert_eq!(parts(&[3]), [(0, 10)]);
        assert_eq!(parts(&[3, 12]), [(0, 20)]);
        assert_eq!(parts(&[12, 13, 35]), [(10, 20), (30, 40)]);
        assert_eq!(parts(&[20]), [(20, 30)]);
        assert_eq!(parts(&[12, 21]), [(10, 30)]);
        assert_eq!(parts(&[45, 46]), [(40, u64::MAX)]);
        assert_eq!(parts(&[]), []);
    }
}
