//! Whether anybody has changed the ledger: every row's line is made again, and the chain with it.
//!
//! It finds what was changed in files; whoever owns the process or its key can write anything. A seal has
//! the hash of all rows before it, so that what lies between two seals that hold is sound, whatever was done
//! elsewhere.

mod months;
mod whole;

use std::{io::BufRead, num::NonZero};

use serde::Deserialize;

use super::{Reader, month::Month};
use crate::engine::{
    ledger::{Chain, EntryKind, Hash, Row, hex_of, parse_hex},
    time::EventTime,
};

/// Says whether a signature is that of a key.
pub type CheckSignature<'c> = &'c (dyn Fn(&Hash, &[u8]) -> bool + Sync);

/// What a fault among rows that are in no month yet is said to be in.
const SPOOL: &str = "spool";

/// What is wrong somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which file, or the word for what has none.
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

    /// Takes the next row: its id, its line, and what it says as a seal.
    fn row(&mut self, place: &str, id: u64, line: &[u8], seal: Option<&Sealed>) {
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
        if let Some(seal) = seal {
            self.seal(place, id, seal);
        }
        self.found.last.push(line);
        if self.seal == Some(self.found.last.head) {
            self.found.has_seal = Some(true);
        }
    }

    fn seal(&mut self, place: &str, id: u64, seal: &Sealed) {
        let Some(head) = seal.head else {
            return self.fault(place, id, "the seal has no hash");
        };
        if self.seal == Some(head) {
            self.found.has_seal = Some(true);
        }
        let is_first = !std::mem::replace(&mut self.is_anchored, true);
        if is_first {
            // What came before it is not here; from here on it is followed.
            self.found.last.head = head;
        } else if head != self.found.last.head {
            self.fault(place, id - 1, "the seal does not fit the rows before it");
            // What comes behind it may be sound all the same.
            self.found.last.head = head;
            self.sound = Some(id - 1);
            return;
        }
        if let (Some(check), Some(signature)) = (self.check, &seal.signature) {
            if check(&head, signature) {
                self.found.signed += 1;
            } else {
                self.fault(place, id, "the signature of the seal is not of this key");
            }
        } else if self.check.is_some() {
            self.fault(place, id, "the seal is not signed");
        }
        self.found.seals += 1;
        self.sound = Some(id - 1);
    }
}

/// What a row says if it is a seal.
struct Sealed {
    head: Option<Hash>,
    signature: Option<Vec<u8>>,
}

fn sealed(row: &Row) -> Option<Sealed> {
    let entry = row.entry().filter(|entry| entry.kind == EntryKind::Seal)?;
    let signature = entry.fact_of("signature").map(bytes_of);
    Some(Sealed { head: parse_hex(&entry.subject), signature })
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
        if rest.has_seal == Some(true) {
            found.has_seal = Some(true);
        }
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
    let mut is_first = true;
    for (month, checked) in months.iter().zip(months::check(&months, &asked, begin, progress)) {
        let previous = checked.begins;
        if is_first {
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
        is_first = false;
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
            follower.row(SPOOL, row.id, row.line().as_bytes(), sealed(row).as_ref());
            part.take(row);
        }
        passed.push((SPOOL.to_owned(), part));
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
    facts: std::collections::BTreeMap<String, String>,
}

/// Checks an exported file: JSON Lines in the order of their ids. Rows before the first seal can only be
/// checked if it begins with the first row, or if `previous` is the hash before it.
///
/// # Errors
/// It cannot be read.
pub fn verify_lines(
    lines: impl BufRead,
    previous: Option<Hash>,
    asked: Asked<'_>,
) -> std::io::Result<Verified> {
    let mut follower =
        Follower { is_anchored: previous.is_some(), knows_next: false, ..Follower::new(&asked) };
    follower.found.last.head = previous.unwrap_or_default();
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
        let seal = (row.kind == EntryKind::Seal.as_str()).then(|| Sealed {
            head: parse_hex(&row.subject),
            signature: row.facts.get("signature").map(|text| bytes_of(text)),
        });
        follower.row("line", row.id, line.as_bytes(), seal.as_ref());
    }
    Ok(follower.found)
}

impl Verified {
    /// Whether all is as it was written.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.has_seal != Some(false)
    }

    /// The head of the chain, as people write it down.
    pub fn head(&self) -> String {
        hex_of(&self.last.head)
    }
}
