//! What patterns say of texts that came before: names of users, agents and reasons come again and again, and a
//! wildcard or a regular expression then needs to be tried once for each of them.
//!
//! Nothing but time depends on it. Only what comes a second time is tried, so that names that somebody makes up
//! cost no more than a look.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::engine::detect::bits::Bits;

/// Texts of one field that are known at most: 4,096, and with many rules fewer: see [`BYTES_MAX`]. With another one
/// all are forgotten.
const TEXTS_MAX: usize = 4_096;

/// Bytes of all that is known of the texts of one field, but for the texts: 1 MiB, or 64 texts if that is more.
const BYTES_MAX: usize = 1 << 20;

/// Bytes of a text that is known at most: 256.
const TEXT_BYTES_MAX: usize = 256;

/// Places for texts that came once: 1,024, each for the latest of those that share it.
const ONCE: usize = 1_024;

/// What is known of the texts of one field.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// The rules that have patterns for the field.
    patterns: Vec<usize>,
    /// The same as a set.
    concerned: Bits,
    /// All rules.
    all: Bits,
    /// Texts that are known at most.
    texts_max: usize,
    hasher: DefaultHashBuilder,
    /// Hashes of texts that came once.
    once: Vec<u64>,
    /// The rules that each text does not rule out.
    texts: HashTable<(Box<str>, Bits)>,
}

impl Learned {
    /// Nothing yet, of `count` rules of which these have patterns.
    pub(super) fn new(patterns: Vec<usize>, count: usize) -> Learned {
        let mut concerned = Bits::none(count);
        for number in &patterns {
            concerned.set(*number, true);
        }
        let once = if patterns.is_empty() { Vec::new() } else { vec![0; ONCE] };
        let texts_max = (BYTES_MAX / (count / 8 + 1)).clamp(64, TEXTS_MAX);
        Learned {
            patterns,
            concerned,
            all: Bits::all(count),
            texts_max,
            once,
            ..Learned::default()
        }
    }

    /// The rules that have patterns for the field.
    pub(super) fn patterns(&self) -> impl Iterator<Item = usize> {
        self.patterns.iter().copied()
    }

    /// Keeps the rules that a text does not rule out, if it came before. `is_possible` tells it of one rule. False:
    /// nothing is left.
    #[inline]
    pub(super) fn keep(
        &mut self,
        text: &str,
        candidates: &mut Bits,
        is_possible: impl FnMut(usize) -> bool,
    ) -> bool {
        if text.len() > TEXT_BYTES_MAX || !candidates.meets(&self.concerned) {
            return true;
        }
        let hash = self.hasher.hash_one(text);
        if let Some((_, left)) = self.texts.find(hash, |(known, _)| **known == *text) {
            return candidates.keep(left);
        }
        let place = usize::try_from(hash).unwrap_or(0) % ONCE;
        let Some(once) = self.once.get_mut(place) else { return true };
        std::mem::replace(once, hash) != hash
            || candidates.keep(self.learn(hash, text, is_possible))
    }

    #[cold]
    fn learn(
        &mut self,
        hash: u64,
        text: &str,
        mut is_possible: impl FnMut(usize) -> bool,
    ) -> &Bits {
        if self.texts.len() >= self.texts_max {
            self.texts.clear();
        }
        let mut left = self.all.clone();
        for number in &self.patterns {
            left.set(*number, is_possible(*number));
        }
        let hasher = &self.hasher;
        let entry = (text.into(), left);
        let place = self.texts.insert_unique(hash, entry, |(text, _)| hasher.hash_one(&**text));
        &place.into_mut().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_tried_when_it_comes_again_and_never_again() {
        let mut learned = Learned::new(vec![1, 2], 3);
        let (mut tried, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let mut left = Bits::all(3);
            assert!(learned.keep("a", &mut left, |number| {
                tried.push(number);
                number == 2
            }));
            kept.push(left.iter().collect::<Vec<_>>());
        }
        assert_eq!(tried, [1, 2]);
        assert_eq!(kept, [vec![0, 1, 2], vec![0, 2], vec![0, 2], vec![0, 2]]);
        let mut keeps = |text: &str, left: &mut Bits| learned.keep(text, left, |_| false);
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let mut without_patterns = Bits::none(3);
        without_patterns.set(0, true);
        for _ in 0..3 {
            let mut left = Bits::all(3);
            assert!(keeps(&long, &mut left));
            assert_eq!(left, Bits::all(3), "it is too long to be known");
            assert!(keeps("b", &mut without_patterns.clone()), "nobody asks");
        }
        for number in 0..3 * TEXTS_MAX {
            for _ in 0..2 {
                learned.keep(&number.to_string(), &mut Bits::all(3), |_| true);
            }
            assert!(learned.texts.len() <= TEXTS_MAX);
        }
        assert_eq!(Learned::new(vec![0], 100_000).texts_max, 83);
    }
}
