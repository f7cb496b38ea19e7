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
#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    /// The rules that have patterns for the field.
    patterns: Vec<usize>,
    /// The same as a set.
    concerned: Bits,
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
        Learned { patterns, concerned, texts_max, once, ..Learned::default() }
    }

    /// The rules that have patterns for the field.
    pub(super) fn patterns(&self) -> impl Iterator<Item = usize> {
        self.patterns.iter().copied()
    }

    /// Whether anything can be known of a text that matters to what is left.
    #[inline]
    pub(super) fn is_worth_it(&self, text: &str, candidates: &Bits) -> bool {
        text.len() <= TEXT_BYTES_MAX && candidates.meets(&self.concerned)
    }

    /// By what a text is found.
    #[inline]
    pub(super) fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(text)
    }

    /// The rules that a text does not rule out, if it was learned.
    #[inline]
    pub(super) fn find(&self, hash: u64, text: &str) -> Option<&Bits> {
        self.texts.find(hash, |(known, _)| **known == *text).map(|(_, left)| left)
    }

    /// Whether a text came before, as far as is known. It did from now on.
    #[inline]
    pub(super) fn came_before(&mut self, hash: u64) -> bool {
        let place = usize::try_from(hash).unwrap_or(0) % ONCE;
        self.once.get_mut(place).is_some_and(|once| std::mem::replace(once, hash) == hash)
    }

    /// Learns a text. `left`: the rules that it does not rule out, but for what patterns say; `is_possible` tells that
    /// of one rule.
    #[cold]
    pub(super) fn learn(
        &mut self,
        hash: u64,
        text: &str,
        mut left: Bits,
        mut is_possible: impl FnMut(usize) -> bool,
    ) -> &Bits {
        if self.texts.len() >= self.texts_max {
            self.texts.clear();
        }
        for number in self.patterns.iter().filter(|number| !is_possible(**number)) {
            left.set(*number, false);
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

    /// What is left of all of three rules for a text of which nothing but patterns says anything.
    fn keep(learned: &mut Learned, text: &str, is_possible: impl FnMut(usize) -> bool) -> Bits {
        let all = Bits::all(3);
        if !learned.is_worth_it(text, &all) {
            return all;
        }
        let hash = learned.hash(text);
        if let Some(left) = learned.find(hash, text) {
            return left.clone();
        }
        let came_before = learned.came_before(hash);
        if came_before { learned.learn(hash, text, all, is_possible).clone() } else { all }
    }

    #[test]
    fn a_text_is_tried_when_it_comes_again_and_never_again() {
        let mut learned = Learned::new(vec![1, 2], 3);
        let mut tried = Vec::new();
        let kept: Vec<Vec<usize>> = (0..4)
            .map(|_| {
                let left = keep(&mut learned, "a", |number| {
                    tried.push(number);
                    number == 2
                });
                left.iter().collect()
            })
            .collect();
        assert_eq!(tried, [1, 2]);
        assert_eq!(kept, [vec![0, 1, 2], vec![0, 2], vec![0, 2], vec![0, 2]]);
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        for _ in 0..3 {
            assert_eq!(keep(&mut learned, &long, |_| false), Bits::all(3), "it is too long");
        }
        let mut without_patterns = Bits::none(3);
        without_patterns.set(0, true);
        assert!(!learned.is_worth_it("b", &without_patterns), "nobody asks");
        for number in 0..3 * TEXTS_MAX {
            for _ in 0..2 {
                keep(&mut learned, &number.to_string(), |_| true);
            }
            assert!(learned.texts.len() <= TEXTS_MAX);
        }
        assert_eq!(Learned::new(vec![0], 100_000).texts_max, 83);
    }
}
