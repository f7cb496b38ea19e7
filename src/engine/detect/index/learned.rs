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

    /// Whether a pattern of one of these rules can say anything.
    #[inline]
    pub(super) fn says_of(&self, candidates: &Bits) -> bool {
        candidates.meets(&self.concerned)
    }

    /// The rules that a text does not rule out, if it came before; those without patterns are among them.
    /// `is_possible` tells it of one rule.
    #[inline]
    pub(super) fn of(
        &mut self,
        text: &str,
        is_possible: impl FnMut(usize) -> bool,
    ) -> Option<&Bits> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let hash = self.hasher.hash_one(text);
        if self.texts.find(hash, |(known, _)| **known == *text).is_none() {
            let place = usize::try_from(hash).unwrap_or(0) % ONCE;
            let once = self.once.get_mut(place)?;
            if std::mem::replace(once, hash) != hash {
                return None;
            }
            self.learn(hash, text, is_possible);
        }
        self.texts.find(hash, |(known, _)| **known == *text).map(|(_, left)| left)
    }

    #[cold]
    fn learn(&mut self, hash: u64, text: &str, mut is_possible: impl FnMut(usize) -> bool) {
        if self.texts.len() >= self.texts_max {
            self.texts.clear();
        }
        let mut left = self.all.clone();
        for number in &self.patterns {
            left.set(*number, is_possible(*number));
        }
        let hasher = &self.hasher;
        self.texts.insert_unique(hash, (text.into(), left), |(text, _)| hasher.hash_one(&**text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_tried_when_it_comes_again_and_never_again() {
        let mut learned = Learned::new(vec![1, 2], 3);
        let mut tried = Vec::new();
        for _ in 0..4 {
            let left = learned.of("a", |number| {
                tried.push(number);
                number == 2
            });
            if let Some(left) = left {
                assert_eq!(left.iter().collect::<Vec<_>>(), [0, 2]);
            }
        }
        assert_eq!(tried, [1, 2]);
        assert_eq!(learned.of(&"x".repeat(TEXT_BYTES_MAX + 1), |_| true), None);
        for number in 0..3 * TEXTS_MAX {
            for _ in 0..2 {
                learned.of(&number.to_string(), |_| true);
            }
            assert!(learned.texts.len() <= TEXTS_MAX);
        }
        assert_eq!(Learned::new(vec![0], 100_000).texts_max, 83);
    }
}
