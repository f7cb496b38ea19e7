//! Which values a key has, each with a mark of six bits: a list of few, and cells for many.
//!
//! Many are counted by cells into which their hashes fall (linear counting: Whang, Vander-Zanden and Taylor, "A
//! linear-time probabilistic counting algorithm for database applications", ACM TODS 15(2), 1990). A cell is as full as
//! the latest mark of all its values says, so what is counted may be any part of the marks. Of more values than cells
//! tell apart only a share is looked at, which hashes choose: the load of cells is then what it should be near
//! the number that a rule compares with (Estan, Varghese and Fisk, "Bitmap algorithms for counting active flows on
//! high-speed links", IEEE/ACM ToN 14(5), 2006).
//!
//! With `m` cells, `n` values of which a share `p` is looked at, and a load of `t = n p / m`, the standard error of
//! the number is `sqrt((e^t - 1) / (t² m) - 1 / n)` of it. That is 0.27 % at 10,000, 0.28 % at 20,000,
//! 0.34 % at 100,000, and 0.46 % at 1,000,000; the tests of [`super::panes`] hold it.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use crate::engine::kind::{memory, window::count};

/// The bits of a mark. 0 is that of a value which does not count.
pub(super) const MARK_BITS: u32 = 6;

/// The greatest mark.
pub(super) const MARK_MAX: u8 = u8::MAX >> (u8::BITS - MARK_BITS);

/// Marks that there are.
pub(super) const MARKS: usize = 1 << MARK_BITS;

/// Cells in each word of 64 bits.
const CELLS_PER_WORD: usize = (u64::BITS / MARK_BITS) as usize;

/// Words of the cells: 56 KiB, which is what an allocator gives without waste.
const WORDS: usize = 7_168;

/// Cells.
pub(super) const CELLS: usize = WORDS * CELLS_PER_WORD;

/// Values that are told apart by their whole hashes: 4,096, at 8 B each.
pub(super) const FEW_MAX: usize = 4_096;

/// Parts of all hashes, some of which are looked at.
pub(super) const SHARES: u8 = 64;

/// Load of the cells at the number that a rule compares with, if there are more values than cells: what is exact,
/// and leaves room for twice as many.
const LOAD: f64 = 1.4;

/// Load beyond which a number is no more exact: there it is told as it is at this load.
const LOAD_MAX: f64 = 3.0;

/// Values with their marks.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    values: Values,
    /// How many values, or cells, have each mark.
    counts: [u32; MARKS],
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    /// Hashes, sorted, with marks in place of their last bits.
    Few(Vec<u64>),
    /// Cells; and of how many of [`SHARES`] hashes the values are looked at.
    Many(Box<[u64]>, u8),
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { values: Values::Few(Vec::new()), counts: [0; MARKS] }
    }
}

/// Of how many of [`SHARES`] hashes values are looked at, if so many of them are compared with.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it lies within 1 and 64"
)]
pub(super) fn share_for(compared: f64) -> u8 {
    let share = f64::from(SHARES) * LOAD * count(CELLS) / compared.max(1.0);
    share.clamp(1.0, f64::from(SHARES)) as u8
}

/// How many cells so many values take, of a share.
pub(super) fn cells_of(values: f64, share: u8) -> f64 {
    let cells = count(CELLS);
    cells * -(-values * f64::from(share) / f64::from(SHARES) / cells).exp_m1()
}

impl Marks {
    /// Changes the mark of a value; `None` if it is not looked at. The mark that it had, or its cell, and has now.
    pub(super) fn change(&mut self, hash: u64, change: impl FnOnce(u8) -> u8) -> Option<(u8, u8)> {
        let (before, after) = match &mut self.values {
            Values::Few(list) => {
                let place = list.binary_search_by_key(&name_of(hash), |entry| name_of(*entry));
                match place {
                    Ok(at) => {
                        let entry = list.get_mut(at)?;
                        let before = mark_of(*entry);
                        let after = change(before);
                        *entry = with_mark(*entry, after);
                        (before, after)
                    }
                    Err(at) => {
                        let after = change(0);
                        list.insert(at, with_mark(hash, after));
                        (0, after)
                    }
                }
            }
            Values::Many(words, share) => {
                let (word, shift) = cell_of(hash, *share)?;
                let word = words.get_mut(word)?;
                let before = mark_of(*word >> shift);
                let after = change(before);
                *word ^= u64::from(before ^ after) << shift;
                (before, after)
            }
        };
        self.recount(before, after);
        Some((before, after))
    }

    fn recount(&mut self, before: u8, after: u8) {
        if let Some(count) = self.counts.get_mut(usize::from(before)).filter(|_| before > 0) {
            *count -= 1;
        }
        if let Some(count) = self.counts.get_mut(usize::from(after)).filter(|_| after > 0) {
            *count += 1;
        }
    }

    /// Counts them by cells from now on, if they are more than a list is for; whether they were not before. Of values
    /// that fall together `combine` tells the mark.
    pub(super) fn spread(&mut self, share: u8, combine: impl Fn(u8, u8) -> u8) -> bool {
        let list = match &mut self.values {
            Values::Few(list) if list.len() > FEW_MAX => std::mem::take(list),
            _ => return false,
        };
        *self = Marks {
            values: Values::Many(vec![0; WORDS].into_boxed_slice(), share),
            counts: [0; MARKS],
        };
        for entry in list {
            self.change(entry, |mark| combine(mark, mark_of(entry)));
        }
        true
    }

    /// Gives another mark to all values of each. Cost: all cells.
    pub(super) fn relabel(&mut self, relabel: impl Fn(u8) -> u8) {
        let mut table = [0_u8; MARKS];
        for (mark, to) in (0..=MARK_MAX).zip(&mut table).skip(1) {
            *to = relabel(mark);
        }
        let to = |mark: u8| table.get(usize::from(mark)).copied().unwrap_or_default();
        let before = std::mem::replace(&mut self.counts, [0; MARKS]);
        for (mark, count) in (0..=MARK_MAX).zip(before) {
            if let Some(sum) = self.counts.get_mut(usize::from(to(mark))).filter(|_| to(mark) > 0) {
                *sum += count;
            }
        }
        match &mut self.values {
            Values::Few(list) => {
                for entry in list.iter_mut() {
                    *entry = with_mark(*entry, to(mark_of(*entry)));
                }
                list.retain(|entry| mark_of(*entry) > 0);
            }
            Values::Many(..) if self.counts.iter().all(|count| *count == 0) => {
                self.values = Values::Few(Vec::new());
            }
            Values::Many(words, _) => {
                for word in words.iter_mut().filter(|word| **word > 0) {
                    *word = cells_in(*word)
                        .fold(0, |new, (shift, mark)| new | u64::from(to(mark)) << shift);
                }
            }
        }
    }

    /// How many values, or cells, have a mark.
    pub(super) fn count(&self, mark: u8) -> u32 {
        self.counts.get(usize::from(mark)).copied().unwrap_or_default()
    }

    /// How many values, or cells, have one of some marks.
    pub(super) fn count_where(&self, counts: impl Fn(u8) -> bool) -> u32 {
        (1..=MARK_MAX).filter(|mark| counts(*mark)).map(|mark| self.count(mark)).sum()
    }

    /// How many values there are if so many of them, or of their cells, are counted. Of values whose cells came to
    /// another mark `later` nothing is known; they are as many of each.
    pub(super) fn estimate(&self, counted: f64, later: f64) -> f64 {
        match &self.values {
            Values::Few(_) => counted.round(),
            Values::Many(_, share) => {
                let cells = count(CELLS);
                let full = (counted / (cells - later).max(1.0)).min(-(-LOAD_MAX).exp_m1());
                let looked_at = -cells * (-full).ln_1p();
                (looked_at * f64::from(SHARES) / f64::from(*share)).round()
            }
        }
    }

    /// What they take in memory beside their own size.
    pub(super) fn bytes(&self) -> usize {
        match &self.values {
            Values::Few(list) => memory::list(list.len(), size_of::<u64>()),
            Values::Many(words, _) => size_of_val(&**words),
        }
    }
}

/// A hash without the bits in whose place a mark stands.
const fn name_of(hash: u64) -> u64 {
    hash >> MARK_BITS
}

#[expect(clippy::cast_possible_truncation, reason = "six bits are left")]
const fn mark_of(bits: u64) -> u8 {
    (bits & MARK_MAX as u64) as u8
}

fn with_mark(hash: u64, mark: u8) -> u64 {
    name_of(hash) << MARK_BITS | u64::from(mark)
}

/// Word and bit at which the cell of a hash begins; `None` if the hash is not among the share that is looked at. That is
/// decided by its first six bits, and the cell by 32 of the others.
fn cell_of(hash: u64, share: u8) -> Option<(usize, u32)> {
    if hash >> 58 >= u64::from(share) {
        return None;
    }
    let cell = ((name_of(hash) & u64::from(u32::MAX)) * CELLS as u64) >> 32;
    let (word, place) = (cell / CELLS_PER_WORD as u64, cell % CELLS_PER_WORD as u64);
    Some((usize::try_from(word).ok()?, u32::try_from(place).ok()? * MARK_BITS))
}

/// Where each cell of a word begins, and its mark.
fn cells_in(word: u64) -> impl Iterator<Item = (u32, u8)> {
    (0..u64::BITS / MARK_BITS).map(move |place| {
        let shift = place * MARK_BITS;
        (shift, mark_of(word >> shift))
    })
}

/// As they are stored: 0 and the list, or the share and the bytes of the cells.
impl Serialize for Marks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.values {
            Values::Few(list) => (0_u8, Numbers(list)).serialize(serializer),
            Values::Many(words, share) => (*share, Numbers(words)).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Marks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Marks, D::Error> {
        let (share, Hashes(words)) = <(u8, Hashes)>::deserialize(deserializer)?;
        let mut counts = [0; MARKS];
        let mut note = |mark: u8| {
            if let Some(count) = counts.get_mut(usize::from(mark)).filter(|_| mark > 0) {
                *count += 1;
            }
        };
        let values = match share {
            0 if words.len() <= FEW_MAX && words.is_sorted() => {
                for entry in &words {
                    note(mark_of(*entry));
                }
                Values::Few(words)
            }
            1..=SHARES if words.len() == WORDS => {
                words.iter().flat_map(|word| cells_in(*word)).for_each(|(_, mark)| note(mark));
                Values::Many(words.into(), share)
            }
            _ => return Err(D::Error::custom("it does not fit")),
        };
        Ok(Marks { values, counts })
    }
}

/// Numbers that are stored with eight bytes each: hashes have no smaller form.
struct Numbers<'a>(&'a [u64]);

/// The same as they are read.
struct Hashes(Vec<u64>);

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|number| number.to_le_bytes()).collect();
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Hashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hashes, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Hashes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers of eight bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Hashes, E> {
        let (numbers, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(E::custom("it is cut off"));
        }
        Ok(Hashes(numbers.iter().map(|number| u64::from_le_bytes(*number)).collect()))
    }
}
