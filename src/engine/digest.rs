//! Digests: the identity of what attackers may choose, as a hash that they cannot collide.
//!
//! Alerts, groups, requests and stored state are known by such digests, over restarts and versions, so
//! what goes into one never changes its form.

use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use siphasher::sip128::SipHasher13;

/// BLAKE3 over parts, each with its length, so that parts cannot run into each other. They are put behind each
/// other first: most digests are of a few short texts, and a hasher that could take more at a time has two
/// thousand bytes to be moved about.
#[derive(Clone, Debug)]
pub(crate) struct Digest(Vec<u8>);

impl Default for Digest {
    fn default() -> Digest {
        // What most digests are of.
        Digest(Vec::with_capacity(256))
    }
}

impl Digest {
    /// Of these parts, in their order.
    pub(crate) fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Digest {
        parts.into_iter().fold(Digest::default(), Digest::part)
    }

    /// With one more part.
    #[must_use]
    pub(crate) fn part(self, part: impl AsRef<[u8]>) -> Digest {
        let length = part.as_ref().len() as u64;
        self.bytes(length.to_le_bytes()).bytes(part)
    }

    /// With a part that may be absent, which is not the same as empty.
    #[must_use]
    pub(crate) fn optional_part(self, part: Option<&str>) -> Digest {
        match part {
            Some(part) => self.part(part),
            // A length that no text has.
            None => self.bytes(u64::MAX.to_le_bytes()),
        }
    }

    /// With bytes whose end is known without a length: a last part, or one of a fixed size.
    #[must_use]
    pub(crate) fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Digest {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// The first `N` bytes, at most 32: 16 are an identity, 8 tell apart what nobody attacks.
    pub(crate) fn first<const N: usize>(&self) -> [u8; N] {
        const { assert!(N <= 32, "a digest has 32 bytes") };
        let hash = blake3::hash(&self.0);
        hash.as_bytes().first_chunk().copied().expect("N is at most 32")
    }

    /// The first 64 bits.
    pub(crate) fn number(&self) -> u64 {
        u64::from_le_bytes(self.first())
    }
}

/// Digests for what one process remembers and never tells: SipHash under a key that nobody knows, so that no two
/// texts are taken for each other, whoever chooses them. A third of what BLAKE3 costs, and of another value in each
/// process.
#[derive(Clone, Debug)]
pub(crate) struct SecretDigests(SipHasher13);

/// A digest under a key of this process.
pub(crate) type SecretDigest = [u64; 2];

impl Default for SecretDigests {
    fn default() -> SecretDigests {
        let seeds = DefaultHashBuilder::default();
        let [first, second] = [0, 1].map(|number: u8| seeds.hash_one(number));
        SecretDigests(SipHasher13::new_with_keys(first, second))
    }
}

impl SecretDigests {
    /// Of some bytes, in which it is clear where each text ends.
    pub(crate) fn of(&self, bytes: &[u8]) -> SecretDigest {
        let hash = self.0.hash(bytes);
        [hash.h1, hash.h2]
    }
}

/// Bytes that [`ShortDigests`] are of at most: 1,024.
pub(crate) const SHORT_BYTES: usize = 1_024;

/// Digests of short texts, under a key of this process that nobody sees: of any two texts, whoever chooses them, they
/// are the same with a probability of one in 2^63 at most. The hash NH with words of 64 bits (Black, Halevi, Krawczyk,
/// Krovetz, Rogaway: UMAC, 1999, theorem 4.2; of texts of other lengths one has a product more, of two words that
/// nobody knows). An eighth of what SipHash costs, and no secret: whoever saw digests could find texts with the same.
#[derive(Clone, Debug)]
pub(crate) struct ShortDigests {
    keys: Vec<[u64; 2]>,
    /// Of [`ShortDigests::shorter`].
    halves: [u128; 2],
}

impl Default for ShortDigests {
    fn default() -> ShortDigests {
        let secret = SecretDigests::default();
        let key = |at: usize| secret.of(&at.to_le_bytes());
        let halves = [1, 2].map(|at| key(SHORT_BYTES + at).map(u128::from));
        ShortDigests {
            keys: (0..SHORT_BYTES / 16).map(key).collect(),
            halves: halves.map(|[high, low]| high << 64 | low),
        }
    }
}

impl ShortDigests {
    /// Fills a key up to a length that digests are of.
    #[inline]
    pub(crate) fn fill(key: &mut Vec<u8>) {
        let end = key.len().next_multiple_of(16);
        // One store of a fixed size costs less than as many zeros as are wanted.
        key.extend_from_slice(&[0; 16]);
        key.truncate(end);
    }

    /// Half as long a digest of a digest, as good as that (multiply and shift: Dietzfelbinger, 1996).
    #[inline]
    pub(crate) fn shorter(&self, digest: u128) -> u64 {
        let [high, low] = [digest >> 64, digest & u128::from(u64::MAX)];
        let [of_high, of_low] = self.halves;
        let sum = high.wrapping_mul(of_high).wrapping_add(low.wrapping_mul(of_low));
        u64::try_from(sum >> 64).unwrap_or(0)
    }

    /// Where in a table a digest is looked for. Of a sum of products the bits in the middle depend on most.
    #[inline]
    pub(crate) fn place(digest: u128) -> u64 {
        let [low, high] =
            [digest, digest >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)));
        low.unwrap_or(0) ^ high.unwrap_or(0)
    }

    /// Of some bytes, as many as a multiple of 16: no text is another one with zeros behind it. Cost: a multiplication
    /// for each 16.
    #[inline]
    pub(crate) fn of(&self, bytes: &[u8]) -> u128 {
        self.behind(0, 0, bytes)
    }

    /// Of some bytes behind others, of which this is the digest and that the number of 16 bytes each.
    #[inline]
    pub(crate) fn behind(&self, digest: u128, blocks: usize, bytes: &[u8]) -> u128 {
        let word =
            |half: &[u8; 8], key: &u64| u128::from(u64::from_le_bytes(*half).wrapping_add(*key));
        let (pairs, _) = bytes.as_chunks::<8>().0.as_chunks::<2>();
        let keys = self.keys.iter().skip(blocks);
        pairs.iter().zip(keys).fold(digest, |sum: u128, ([first, second], [one, other])| {
            sum.wrapping_add(word(first, one) * word(second, other))
        })
    }
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Bytes as lower-case hexadecimal digits. Cost: about a nanosecond a byte; each line of the ledger has eighty of them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(hex_digit(byte >> 4));
        text.push(hex_digit(byte & 15));
    }
    text
}

/// The digit of a number below 16.
pub(crate) const fn hex_digit(number: u8) -> char {
    (if number < 10 { b'0' + number } else { b'a' + (number - 10) }) as char
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let digest = |parts: &[&str]| Digest::of(parts).first::<16>();
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["", "a"]), digest(&["a", ""]));
        let optional = |part| Digest::default().optional_part(part).number();
        assert_ne!(optional(None), optional(Some("")));
        assert_eq!(optional(Some("a")), Digest::of(["a"]).number());
    }

    #[test]
    fn secret_digests_are_of_one_process() {
        let [one, other] = [(); 2].map(|()| SecretDigests::default());
        assert_eq!(one.of(b"a"), one.clone().of(b"a"));
        assert_ne!(one.of(b"a"), one.of(b"b"));
        assert_ne!(one.of(b"a"), other.of(b"a"));
    }

    #[test]
    fn short_digests_tell_texts_apart() {
        let digests = ShortDigests::default();
        let (mut seen, mut shorter) = (BTreeSet::new(), BTreeSet::new());
        for length in (16..=SHORT_BYTES).step_by(16) {
            for at in 0..length {
                let mut text = vec![b'a'; length];
                text[at] = b'b';
                let digest = digests.of(&text);
                assert!(seen.insert(digest), "{at} of {length}");
                assert!(shorter.insert(digests.shorter(digest)), "{at} of {length}");
            }
        }
        assert_eq!(digests.of(&[7; 32]), digests.clone().of(&[7; 32]));
        assert_eq!(digests.of(&[7; 48]), digests.behind(digests.of(&[7; 16]), 1, &[7; 32]));
        assert_ne!(digests.of(&[7; 32]), ShortDigests::default().of(&[7; 32]));
    }

    /// Stored state and the threads of receivers know these.
    #[test]
    fn a_digest_is_the_same_for_ever() {
        let plain = blake3::hash(b"\x01\0\0\0\0\0\0\0a\x02\0\0\0\0\0\0\0bcd");
        let digest = Digest::of(["a", "bc"]).bytes("d");
        assert_eq!(hex(&digest.first::<32>()), plain.to_hex().as_str());
        assert_eq!(hex(&[0x0a, 0xff]), "0aff");
    }
}
