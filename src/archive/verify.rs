//! Whether anybody has changed the ledger: every row's line is made again, and the chain with it.
//!
//! It finds what was changed in files; whoever owns the process or its key can write anything. A seal has
//! the hash of all rows before it, so that what lies between two seals that hold is sound, whatever was done
//! elsewhere. What nothing proves is not sound: rows of a file without a seal, or whose beginning is not known.

mod beginning;
mod months;
mod whole;

use std::{collections::BTreeMap, io::BufRead, num::NonZero};

use serde::Deserialize;

use super::{
    Reader,
    deletions::{Deletions, last_of},
    month::Month,
};
use crate::engine::{
    ledger::{Chain, EntryKind, Hash, Row, hex_of, parse_hex},
    limits::SEAL_ROWS,
    text::counted,
    time::EventTime,
};

/// Says whether a signature is that of a key.
pub type CheckSignature<'c> = &'c (dyn Fn(&Hash, &[u8]) -> bool + Sync);

/// What a fault among rows that are in no month yet is said to be in.
const SPOOL: &str = "spool";

/// What is wrong somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which file, or the word for what has none; empty if it is of all that was read.
    pub place: String,
    /// The first row that may be wrong.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// What is wrong.
    pub what: String,
}

/// What checking came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows that were read.
    pub rows: u64,
    /// The first of them.
    pub first: Option<u64>,
    /// Where the chain has come to.
    pub last: Chain,
    /// Seals that hold.
    pub seals: u64,
    /// Of these, those whose signature was checked.
    pub signed: u64,
    /// The last row that a seal covers (one of the key, if one is asked for), or the hash that was asked for.
    pub covered: Option<u64>,
    /// What is wrong, in the order of rows.
    pub faults: Vec<Fault>,
    /// Whether the hash that was asked for is in the chain; `None` if none was.
    pub has_seal: Option<bool>,
}

/// Follows a chain row by row.
struct Follower<'c> {
    found: Verified,
    /// The last seal that held, or where reading began; `None` while that is known to who checks the months before.
    sound: Option<u64>,
    /// So many of the first faults were found while it was not known.
    waiting: usize,
    /// Of rows before the first that is read nothing is known.
    is_anchored: bool,
    /// Which row comes next.
    knows_next: bool,
    seal: Option<Hash>,
    check: Option<CheckSignature<'c>>,
    deletions: Deletions,
}

impl Follower<'_> {
    fn fault(&mut self, place: &str, to: u64, what: impl Into<String>) {
        let from = self.sound.map_or(0, |sound| sound + 1);
        self.waiting += usize::from(self.sound.is_none());
        let what = what.into();
        self.found.faults.push(Fault { place: place.to_owned(), from, to: to.max(from), what });
    }

    /// Something is wrong with all that was followed: it stands before what is wrong with some of it.
    fn fault_of_all(&mut self, place: &str, to: u64, what: String) {
        self.found.faults.insert(0, Fault { place: place.to_owned(), from: 0, to, what });
        self.waiting += 1;
    }

    /// Something is wrong with all that was read.
    fn fault_of(&mut self, (from, to): (u64, u64), what: String) {
        self.found.faults.push(Fault { place: String::new(), from, to, what });
    }

    /// Takes the next row: its id, its line, and what it says of the chain.
    fn row(&mut self, place: &str, id: u64, line: &[u8], told: Option<Told>) {
        let found = &mut self.found;
        found.rows += 1;
        found.first.get_or_insert(id);
        if !std::mem::replace(&mut self.knows_next, true) {
            found.last.id = id - 1;
        } else if id != found.last.id + 1 {
            let last = found.last.id;
            self.fault(place, id, format!("row {id} comes after row {last}"));
            self.found.last.id = id - 1;
        }
        match told {
            Some(Told::Seal(seal)) => self.seal(place, id, &seal),
            Some(Told::Deleted(month, last)) => self.deletions.add(&month, last),
            None => {}
        }
        self.found.last.push(line);
        self.look_for_asked(id);
    }

    /// Whether the chain has come to the hash that is asked for.
    fn look_for_asked(&mut self, id: u64) {
        if self.seal == Some(self.found.last.head) {
            self.found.has_seal = Some(true);
            self.found.covered = Some(id);
        }
    }

    fn seal(&mut self, place: &str, id: u64, seal: &Sealed) {
        let Some(head) = seal.head else {
            return self.fault(place, id, "the seal has no hash");
        };
        let is_first = !std::mem::replace(&mut self.is_anchored, true);
        if is_first {
            // What came before it is not here; from here on it is followed.
            self.found.last.head = head;
            let first = self.found.first.unwrap_or(id);
            if first < id {
                let what = format!(
                    "nothing says what came before row {first}, so that these cannot be checked: give the \
                     hash before it by --previous"
                );
                self.fault(place, id - 1, what);
            }
        } else if head != self.found.last.head {
            self.fault(place, id - 1, "the seal does not fit the rows before it");
            // What comes behind it may be sound all the same.
            self.found.last.head = head;
            self.sound = Some(id - 1);
            return;
        }
        let before = id - 1;
        match (self.check, &seal.signature) {
            (Some(check), Some(signature)) if check(&head, signature) => {
                self.found.signed += 1;
                self.found.covered = Some(before);
            }
            (Some(_), Some(_)) => {
                self.fault(place, id, "the signature of the seal is not of this key");
            }
            (Some(_), None) => self.fault(place, id, "the seal is not signed"),
            (None, _) => self.found.covered = Some(before),
        }
        self.look_for_asked(before);
        self.found.seals += 1;
        self.sound = Some(before);
    }

    /// All was read: what no seal covers is not proven. The newest rows have none behind them yet.
    fn end(&mut self) {
        let Verified { rows, first, last, covered, .. } = self.found;
        let of_key = if self.check.is_some() { " of the key" } else { "" };
        let from = covered.map_or_else(|| first.unwrap_or(1), |covered| covered + 1);
        if rows == 0 {
            self.fault_of((1, 1), "no row is in it: nothing was checked".to_owned());
        } else if covered.is_none() {
            let what = format!(
                "no seal{of_key} is in it: nothing says that they are as they were written"
            );
            self.fault_of((from, last.id), what);
        } else if self.check.is_some() && last.id.saturating_sub(from) > SEAL_ROWS {
            let rows = counted(SEAL_ROWS, "row");
            let what = format!("no seal{of_key} covers them, and one comes every {rows}");
            self.fault_of((from, last.id), what);
        }
    }
}

/// What a row says if it is a seal.
struct Sealed {
    head: Option<Hash>,
    signature: Option<Vec<u8>>,
}

/// What a row says of the chain.
enum Told {
    Seal(Sealed),
    /// A month was deleted, and where the chain stood behind it; earlier versions did not say where.
    Deleted(String, Option<Chain>),
}

fn told(row: &Row) -> Option<Told> {
    let entry = row.entry()?;
    told_by(entry.kind, &entry.subject, |name| entry.fact_of(name), entry.count_of("last"))
}

fn told_by<'r>(
    kind: EntryKind,
    subject: &str,
    fact: impl Fn(&str) -> Option<&'r str>,
    last: u64,
) -> Option<Told> {
    match kind {
        EntryKind::Seal => {
            let signature = fact("signature").map(bytes_of);
            Some(Told::Seal(Sealed { head: parse_hex(subject), signature }))
        }
        EntryKind::Retention => {
            Some(Told::Deleted(subject.to_owned(), last_of(fact("head"), last)))
        }
        _ => None,
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map_while(byte).collect()
}

/// What is asked beside the chain itself.
#[derive(Clone, Copy, Default)]
pub struct Asked<'c> {
    /// One month alone.
    pub month: Option<&'c str>,
    /// Only the months that have rows of this time, from its beginning to before its end, and those between them.
    pub period: Option<(EventTime, EventTime)>,
    /// A hash that the chain must have: one that was written down elsewhere.
    pub seal: Option<Hash>,
    /// The hash before the first row that is checked, if somebody knows it.
    pub previous: Option<Hash>,
    /// Whether signatures are of a key.
    pub check: Option<CheckSignature<'c>>,
    /// On so many threads at most; on one for each core, if it is absent.
    pub threads: Option<NonZero<usize>>,
}

impl<'c> Follower<'c> {
    /// Of a chain that begins somewhere. It knows nothing yet.
    fn new(asked: &Asked<'c>) -> Follower<'c> {
        Follower {
            found: Verified { has_seal: asked.seal.map(|_| false), ..Verified::default() },
            sound: Some(0),
            waiting: 0,
            is_anchored: true,
            knows_next: true,
            seal: asked.seal,
            check: asked.check,
            deletions: Deletions::default(),
        }
    }

    /// Goes on behind what another one has followed from here.
    fn join(&mut self, next: Follower<'_>) {
        let (found, rest) = (&mut self.found, next.found);
        found.rows += rest.rows;
        found.first = found.first.or(rest.first);
        found.last = rest.last;
        found.seals += rest.seals;
        found.signed += rest.signed;
        found.covered = rest.covered.or(found.covered);
        if rest.has_seal == Some(true) {
            found.has_seal = Some(true);
        }
        self.deletions.extend(next.deletions);
        for (index, mut fault) in rest.faults.into_iter().enumerate() {
            if index < next.waiting {
                fault.from = self.sound.map_or(0, |sound| sound + 1);
                fault.to = fault.to.max(fault.from);
            }
            found.faults.push(fault);
        }
        self.sound = next.sound.or(self.sound);
    }
}

/// What somebody makes of rows while they are checked, of each month on its own.
pub trait Pass: Send {
    /// Takes the next row, in the order of ids.
    fn take(&mut self, row: &Row);
}

impl Pass for () {
    fn take(&mut self, _: &Row) {}
}

/// What was made of the rows of each month, and of those that are in no month yet.
#[derive(Debug)]
pub struct Passed<P>(Vec<(String, P)>);

impl<P> Passed<P> {
    /// What was made of rows that a reader still has, after [`leave_out`].
    pub fn of(self, reader: &Reader) -> impl Iterator<Item = P> {
        let has = |place: &str| match place {
            SPOOL => reader.waiting().next().is_some(),
            month => reader.months().iter().any(|known| known.name == month),
        };
        self.0.into_iter().filter_map(move |(place, part)| has(&place).then_some(part))
    }
}

/// Checks the months of a ledger, and what waits for them. Cost: each row is read and made into its line again; on all
/// cores, a month's rows or its indexes on each, with some megabytes for each of them.
pub fn verify(reader: &Reader, asked: Asked<'_>) -> Verified {
    verify_with(reader, asked, &|| (), &mut |_| {}).0
}

/// The same, and in the same reading something is made of each row: what is made is of just the bytes that were checked.
/// `progress` is told now and then how many rows were read.
pub fn verify_with<P: Pass>(
    reader: &Reader,
    asked: Asked<'_>,
    begin: &(dyn Fn() -> P + Sync),
    progress: &mut dyn FnMut(u64),
) -> (Verified, Passed<P>) {
    let mut follower = Follower::new(&asked);
    for problem in reader.problems() {
        follower.found.faults.push(Fault {
            place: String::new(),
            from: 1,
            to: 1,
            what: problem.to_string(),
        });
    }
    let months = wanted(reader, &asked);
    let mut passed = Vec::new();
    let mut begins = None;
    for (month, checked) in months.iter().zip(months::check(&months, &asked, begin, progress)) {
        let previous = checked.begins;
        if begins.is_none() {
            follower.sound = Some(previous.id);
        } else if previous != follower.found.last {
            let last = follower.found.last.id;
            let what = format!(
                "it begins behind row {}, and the month before ends with row {last}{}",
                previous.id,
                if previous.id == last { ", but with another hash" } else { "" }
            );
            follower.fault(&month.name, previous.id.max(last), what);
            follower.sound = Some(previous.id);
        }
        begins.get_or_insert(previous);
        follower.join(checked.follower);
        passed.push((month.name.clone(), checked.passed));
    }
    let newest = reader.months().last();
    if asked.month.is_none()
        && months.last().map(|month| &month.name) == newest.map(|month| &month.name)
    {
        // A month may have taken some of them since the ledger was opened.
        let last = follower.found.last.id;
        let mut part = begin();
        for row in reader.waiting().filter(|row| row.id > last) {
            follower.row(SPOOL, row.id, row.line().as_bytes(), told(row));
            part.take(row);
        }
        passed.push((SPOOL.to_owned(), part));
        for what in reader.missing_behind() {
            let behind = follower.found.last.id + 1;
            follower.fault_of((behind, behind), what);
        }
    }
    follower.check_beginning(months.first().copied(), begins, &asked);
    let must_be_sealed = asked.check.is_some() && follower.found.rows > 0;
    if must_be_sealed || follower.found.rows == 0 && asked.period.is_none() {
        follower.end();
    }
    (follower.found, Passed(passed))
}

/// The months that are to be checked. One that cannot say which times it has is among them.
fn wanted<'r>(reader: &'r Reader, asked: &Asked<'_>) -> Vec<&'r Month> {
    let has_name = |month: &&Month| asked.month.is_none_or(|wanted| month.name == wanted);
    let all = reader.months();
    let Some((from, to)) = asked.period else { return all.iter().filter(has_name).collect() };
    let has_time = |month: &Month| month.has_row_of((from, to)).unwrap_or(true);
    let first = all.iter().position(has_time).unwrap_or(all.len());
    let last = all.iter().rposition(has_time).map_or(0, |last| last + 1);
    // What waits goes on behind the newest month, which has to be checked for it.
    let waits = reader.waiting().any(|row| row.at() >= from && row.at() < to);
    let (first, last) =
        if waits { (first.min(all.len().saturating_sub(1)), all.len()) } else { (first, last) };
    all.get(first.min(last)..last).unwrap_or_default().iter().filter(has_name).collect()
}

/// Leaves out, from now on, every month that has rows in which something is wrong: nobody knows which of its rows are
/// sound. Returns what is left out, for people.
pub fn leave_out(reader: &mut Reader, faults: &[Fault]) -> Vec<String> {
    let touches = |place: &str, first: u64, last: u64| {
        // What has no place could not be read, and is left out anyhow.
        let mut placed = faults.iter().filter(|fault| !fault.place.is_empty());
        placed.any(|fault| fault.place == place || fault.from <= last && fault.to >= first)
    };
    let range = |month: &Month| (month.meta.previous.id + 1, month.meta.last.id);
    let is_bad = |month: &Month| {
        let (first, last) = range(month);
        touches(&month.name, first, last)
    };
    let words = |place: &str, (first, last): (u64, u64)| {
        format!("{place}, rows {first} to {last}: something in it is wrong")
    };
    let months = reader.take_months(is_bad);
    let mut left_out: Vec<String> =
        months.iter().map(|month| words(&month.name, range(month))).collect();
    let ids: Vec<u64> = reader.waiting().map(|row| row.id).collect();
    if let (Some(first), Some(last)) = (ids.first(), ids.last())
        && touches(SPOOL, *first, *last)
    {
        reader.leave_out_waiting();
        left_out.push(words(SPOOL, (*first, *last)));
    }
    left_out
}

/// The parts of an exported line that matter here.
#[derive(Deserialize)]
struct Exported {
    id: u64,
    kind: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    facts: BTreeMap<String, String>,
    #[serde(default)]
    counts: BTreeMap<String, u64>,
}

impl Exported {
    fn told(&self) -> Option<Told> {
        let fact = |name: &str| self.facts.get(name).map(String::as_str);
        let last = self.counts.get("last").copied().unwrap_or_default();
        told_by(EntryKind::parse(&self.kind)?, &self.subject, fact, last)
    }
}

/// Checks an exported file: JSON Lines in the order of their ids. Rows before the first seal can only be
/// checked if it begins with the first row, or if the hash before it is known; without a seal nothing can.
///
/// # Errors
/// It cannot be read.
pub fn verify_lines(lines: impl BufRead, asked: Asked<'_>) -> std::io::Result<Verified> {
    let is_anchored = asked.previous.is_some();
    let mut follower = Follower { is_anchored, knows_next: false, ..Follower::new(&asked) };
    follower.found.last.head = asked.previous.unwrap_or_default();
    for line in lines.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let Ok(row) = serde_json::from_str::<Exported>(&line) else {
            let next = follower.found.last.id + 1;
            follower.fault("line", next, "a line is no row of a ledger");
            continue;
        };
        if follower.found.rows == 0 {
            follower.is_anchored |= row.id == 1;
            follower.sound = Some(row.id - 1);
        }
        follower.row("line", row.id, line.as_bytes(), row.told());
    }
    follower.end();
    Ok(follower.found)
}

impl Verified {
    /// Whether all is as it was written.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.has_seal != Some(false)
    }

    /// Rows behind the last one that a seal covers.
    pub fn rows_behind_seals(&self) -> u64 {
        self.covered.map_or(self.rows, |covered| self.last.id.saturating_sub(covered))
    }

    /// The head of the chain, as people write it down.
    pub fn head(&self) -> String {
        hex_of(&self.last.head)
    }
}
