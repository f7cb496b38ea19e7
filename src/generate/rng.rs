//! A small random number generator whose whole future follows from a seed.
//!
//! SplitMix64: good enough for traffic, not for secrets. Written here, so that a seed means the same
//! events in every version of every library.

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    /// Starts from a seed; every seed is fine, 0 too.
    pub(crate) const fn new(seed: u64) -> Rng {
        Rng { state: seed }
    }

    /// A generator of its own for one purpose, so that its use does not shift the others.
    pub(crate) fn fork(&mut self) -> Rng {
        Rng::new(self.next())
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// An index of a collection with `length` elements; 0 if it is empty.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One element.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        from.get(self.index(from.len())).expect("there is something to pick from")
    }

    /// True so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// A number from 0 (included) to 1 (excluded).
    pub(crate) fn fraction(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let bits = (self.next() >> 11) as f64;
        bits / 9_007_199_254_740_992.0
    }

    /// Microseconds until the next arrival of a Poisson process with this mean.
    pub(crate) fn exponential(&mut self, mean_micros: f64) -> u64 {
        let span = -mean_micros * (1.0 - self.fraction()).ln();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value is not negative, and the cast saturates"
        )]
        let micros = span as u64;
        micros
    }

    /// Appends a version 4 UUID.
    pub(crate) fn push_uuid(&mut self, out: &mut Vec<u8>) {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        for digit in 0..32 {
            if matches!(digit, 8 | 12 | 16 | 20) {
                out.push(b'-');
            }
            let nibble = usize::try_from((bits >> (124 - 4 * digit)) & 0xf).unwrap_or(0);
            out.push(DIGITS.get(nibble).copied().unwrap_or(b'0'));
        }
    }

    /// A version 4 UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let mut out = Vec::with_capacity(36);
        self.push_uuid(&mut out);
        String::from_utf8(out).expect("hexadecimal digits are UTF-8")
    }

    /// So many of the characters that Kubernetes uses in generated names.
    pub(crate) fn suffix(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..length).map(|_| char::from(*self.pick(LETTERS))).collect()
    }

    /// So many hexadecimal digits.
    pub(crate) fn hex(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(*self.pick(b"0123456789abcdef"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        // The reference values of SplitMix64 for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn uuids_have_version_and_variant() {
        let mut rng = Rng::new(7);
        for _ in 0..100 {
            let uuid = rng.uuid();
            let bytes = uuid.as_bytes();
            assert_eq!(bytes.len(), 36, "{uuid}");
            assert_eq!(bytes[14], b'4', "{uuid}");
            assert!(b"89ab".contains(&bytes[19]), "{uuid}");
        }
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut rng = Rng::new(0);
        let mut seen = [false; 3];
        for _ in 0..200 {
            seen[rng.index(3)] = true;
            assert!((5..=9).contains(&rng.between(5, 9)));
        }
        assert_eq!(seen, [true; 3]);
        assert_eq!(rng.below(0), 0);
    }
}
