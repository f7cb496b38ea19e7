//! Sets of rules, one bit each.

/// A set over a fixed number of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The empty set, with room for numbers below `count`.
    pub(super) fn none(count: usize) -> Bits {
        Bits { words: vec![0; count.div_ceil(64)] }
    }

    /// All numbers below `count`.
    pub(super) fn all(count: usize) -> Bits {
        let mut bits = Bits::none(count);
        (0..count).for_each(|number| bits.set(number, true));
        bits
    }

    pub(super) fn set(&mut self, number: usize, value: bool) {
        if let Some(word) = self.words.get_mut(number / 64) {
            let bit = 1 << (number % 64);
            *word = if value { *word | bit } else { *word & !bit };
        }
    }

    pub(super) fn has(&self, number: usize) -> bool {
        self.words.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Whether all numbers of another set are in this one.
    #[inline]
    pub(super) fn has_all(&self, other: &Bits) -> bool {
        self.words.iter().zip(&other.words).all(|(word, other)| other & !word == 0)
    }

    /// Becomes the set of what was not in it. Numbers beyond those that there is room for mean nothing.
    pub(super) fn flip(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
    }

    /// Takes in what is in the other set.
    #[inline]
    pub(super) fn add(&mut self, other: &Bits) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// Becomes a copy of another set, in the same memory.
    #[inline]
    pub(super) fn copy_from(&mut self, other: &Bits) {
        self.words.clone_from(&other.words);
    }

    /// Becomes the set of what is in the bits of these words or in the other set.
    #[inline]
    pub(super) fn become_all_of(&mut self, words: &[u64], other: &Bits) {
        self.words.clear();
        self.words.extend(words.iter().zip(&other.words).map(|(word, other)| word | other));
    }

    /// Whether any number is in the bits of these words, too.
    #[inline]
    pub(super) fn meets_words(&self, words: &[u64]) -> bool {
        self.words.iter().zip(words).any(|(word, other)| word & other != 0)
    }

    /// Keeps what is in the other set too. Says whether anything is left.
    #[inline]
    pub(super) fn keep(&mut self, other: &Bits) -> bool {
        let mut left = 0;
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
            left |= *word;
        }
        left != 0
    }

    /// Whether any number is in it.
    #[inline]
    pub(super) fn has_any(&self) -> bool {
        self.words.iter().any(|word| *word != 0)
    }

    /// Whether any number is in both sets.
    #[inline]
    pub(super) fn meets(&self, other: &Bits) -> bool {
        self.words.iter().zip(&other.words).any(|(word, other)| word & other != 0)
    }

    /// Keeps the numbers for which `keep` says so. Says whether any is left.
    #[inline]
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) -> bool {
        let mut any = false;
        for (index, word) in self.words.iter_mut().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                if !keep(index * 64 + bit) {
                    *word &= !(1 << bit);
                }
            }
            any |= *word != 0;
        }
        any
    }

    /// Whether there is room for any number.
    pub(super) const fn has_room(&self) -> bool {
        !self.words.is_empty()
    }

    /// The numbers in the set, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        numbers(self.words.iter().copied())
    }

    /// The numbers in both sets, ascending.
    pub(super) fn iter_both(&self, other: &Bits) -> impl Iterator<Item = usize> {
        numbers(self.words.iter().zip(&other.words).map(|(word, other)| word & other))
    }
}

/// The numbers of the bits of these words, ascending.
fn numbers(words: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
    words.enumerate().flat_map(|(index, mut word)| {
        std::iter::from_fn(move || {
            let bit = word.trailing_zeros() as usize;
            word &= word.wrapping_sub(1);
            (bit < 64).then_some(index * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_what_was_put_in() {
        let mut bits = Bits::none(130);
        for number in [0, 63, 64, 129] {
            bits.set(number, true);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        let mut other = Bits::none(130);
        other.set(64, true);
        other.set(65, true);
        assert!(bits.keep(&other));
        assert_eq!(bits.iter().collect::<Vec<_>>(), [64]);
        assert_eq!(Bits::all(130).iter_both(&other).collect::<Vec<_>>(), [64, 65]);
        assert!(Bits::none(1).has_room() && !Bits::default().has_room());
        assert!(bits.meets(&other) && bits.has_any() && !Bits::none(130).has_any());
        assert!(!bits.meets(&Bits::none(130)));
        assert!(!bits.keep(&Bits::none(130)));
        assert_eq!(bits.iter().count(), 0);
        assert_eq!(Bits::all(65).iter().count(), 65);
        assert!(Bits::all(66).has_all(&other) && !other.has_all(&Bits::all(66)));
        bits.add(&other);
        assert_eq!(bits, other);
        bits.flip();
        assert!(!bits.meets(&other) && bits.has(0));
        bits.become_all_of(&[1 << 63, 1], &other);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [63, 64, 65]);
        assert!(bits.meets_words(&[0, 1]) && !bits.meets_words(&[1, 1 << 2]));
        let mut bits = Bits::all(70);
        assert!(bits.retain(|number| number % 64 == 5));
        assert_eq!(bits.iter().collect::<Vec<_>>(), [5, 69]);
        assert!(!bits.retain(|_| false));
    }
}
