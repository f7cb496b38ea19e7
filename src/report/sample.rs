//! A sample of a population of accesses, which anybody can draw again.
//!
//! Each row of the population has the number `SHA-256("tripline sample" ‖ seed ‖ id ‖ event hash)`, all numbers as
//! eight bytes with the most significant one first; the rows with the smallest ones are the sample. So it does not depend on the order in
//! which rows are read, on who draws it or on when; and nobody can choose a row by choosing when to draw.

use std::collections::BinaryHeap;

use sha2::{Digest as _, Sha256};

use super::scope::Scope;
use crate::{
    archive::{
        Reader,
        verify::{Asked, Verified, leave_out, verify},
    },
    ask::{AskError, Mistake, begun::Begun, check_cluster},
    engine::{
        ledger::{Row, hex_of},
        text::{counted, printable},
    },
};

/// Rows of a sample at most: 10,000.
pub const SIZE_MAX: usize = 10_000;

/// Faults of the ledger that a sample names: 10.
const FAULTS_NAMED: usize = 10;

/// What is sampled.
#[derive(Clone, Debug)]
pub struct SampleOf {
    /// Accesses of this class.
    pub class: String,
    /// How many of them.
    pub size: usize,
    /// Another seed draws other rows.
    pub seed: u64,
}

/// A sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Rows of the population.
    pub population: u64,
    /// Requests that they stand for.
    pub requests: u64,
    /// Ids of the first and the last row of the population.
    pub ids: Option<(u64, u64)>,
    /// The rows, by id.
    pub rows: Vec<Row>,
    /// What verifying the ledger came to, before anything was drawn.
    pub verified: Verified,
    /// What was not drawn from, and why: months in which something is wrong, or that cannot be read.
    pub left_out: Vec<String>,
}

/// A row that may be drawn.
struct Candidate {
    number: [u8; 32],
    row: Row,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Candidate) -> bool {
        self.number == other.number
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Candidate) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Candidate) -> std::cmp::Ordering {
        self.number.cmp(&other.number)
    }
}

/// Draws a sample of what holds: nobody knows which rows of a month are sound in which something is wrong, so it is
/// left out of the population, and named. Cost: a pass over the whole ledger to verify it, and one over the rows of
/// the period; memory by the size of the sample.
///
/// # Errors
/// No row of the period has the class, or the ledger cannot be read.
pub fn sample(
    reader: &mut Reader,
    scope: &Scope,
    of: &SampleOf,
    progress: &mut dyn FnMut(u64),
) -> Result<Sample, AskError> {
    let verified = verify(reader, Asked::default());
    let mut left_out = reader.warnings();
    left_out.extend(leave_out(reader, &verified.faults));
    let mut drawn: BinaryHeap<Candidate> = BinaryHeap::new();
    let (mut population, mut requests) = (0, 0);
    let mut ids: Option<(u64, u64)> = None;
    let reader = &*reader;
    let mut begun = Begun::new(reader, scope.period.from);
    scope.each(reader, progress, |row| {
        let Some(access) = row.access() else { return Ok(()) };
        let is_of_class = access.classes.iter().any(|class| **class == *of.class);
        if !is_of_class || !begun.is_first(access)? {
            return Ok(());
        }
        population += 1;
        requests += access.count();
        ids = Some(
            ids.map_or((row.id, row.id), |(first, last)| (first.min(row.id), last.max(row.id))),
        );
        let number = number_of(of.seed, row.id, &access.event_hash);
        let is_drawn =
            drawn.len() < of.size || drawn.peek().is_some_and(|most| number < most.number);
        if is_drawn {
            drawn.push(Candidate { number, row: row.clone() });
            if drawn.len() > of.size {
                drawn.pop();
            }
        }
        Ok(())
    })?;
    if population == 0 {
        if let Some(cluster) = &scope.cluster {
            check_cluster(reader, cluster)?;
        }
        let message = format!("no access of the period has the class `{}`", printable(&of.class));
        let mut hint = "`tripline ledger status` shows which classes there are".to_owned();
        if let Some(first) = left_out.first() {
            hint = format!("{hint}; {} not drawn from: {first}", counted_places(left_out.len()));
        }
        return Err(Mistake { code: "unknown_name", message, hint }.into());
    }
    let mut rows: Vec<Row> = drawn.into_iter().map(|candidate| candidate.row).collect();
    rows.sort_by_key(|row| row.id);
    Ok(Sample { population, requests, ids, rows, verified, left_out })
}

fn number_of(seed: u64, id: u64, event_hash: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"tripline sample");
    hash.update(seed.to_be_bytes());
    hash.update(id.to_be_bytes());
    hash.update(event_hash);
    hash.finalize().into()
}

/// `1 part of the ledger was`
fn counted_places(count: usize) -> String {
    format!("{} of the ledger {}", counted(count, "part"), if count == 1 { "was" } else { "were" })
}

impl Sample {
    /// Whether the ledger is as it was written, and all of it could be drawn from.
    pub fn holds(&self) -> bool {
        self.verified.is_sound() && self.left_out.is_empty()
    }

    /// What verifying came to, for people, and what was not drawn from: a line each.
    pub fn verified_words(&self) -> Vec<String> {
        if self.holds() {
            let Verified { rows, seals, .. } = self.verified;
            return vec![format!(
                "verified before it was drawn: {} hold, {}",
                counted(rows, "row"),
                counted(seals, "seal")
            )];
        }
        let faults = self.verified.faults.iter().take(FAULTS_NAMED);
        let faults = faults.map(|fault| {
            let place = if fault.place.is_empty() { "the ledger" } else { &fault.place };
            format!("{place} does NOT hold, rows {} to {}: {}", fault.from, fault.to, fault.what)
        });
        faults.chain(self.left_out.iter().map(|what| format!("not drawn from: {what}"))).collect()
    }

    /// How it was drawn, for people.
    pub fn method(of: &SampleOf) -> String {
        format!(
            "the {} rows with the smallest SHA-256(\"tripline sample\" ‖ seed {} ‖ id ‖ event hash), numbers as eight bytes, \
             most significant first",
            of.size, of.seed
        )
    }
}

/// Where the event of a row was read: `audit/3@1712`, and its number within the record if it is not the first.
pub fn position_of(row: &Row) -> String {
    let Some(access) = row.access() else { return String::new() };
    let at = &access.position;
    let within = if at.index == 0 { String::new() } else { format!("#{}", at.index) };
    format!("{}/{}@{}{within}", at.topic, at.partition, at.offset)
}

/// SHA-256 of the event of a row, hexadecimal.
pub fn event_hash_of(row: &Row) -> String {
    row.access().map_or_else(String::new, |access| hex_of(&access.event_hash))
}
