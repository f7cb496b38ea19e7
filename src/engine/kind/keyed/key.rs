//! A key in one piece of memory.

use std::{cmp::Ordering, sync::Arc};

use super::CorrelationKey;

/// Stands behind each part: no byte of any text is like it.
const END: u8 = 0xff;

/// The bytes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::kind) struct KeyRef<'a>(pub(super) &'a [u8]);

/// Writes a key behind `out`.
pub(super) fn pack(key: &[Arc<str>], out: &mut Vec<u8>) {
    for part in key {
        out.extend_from_slice(part.as_bytes());
        out.push(END);
    }
}

impl KeyRef<'_> {
    /// Whether it is this key.
    pub(super) fn is(self, key: &[Arc<str>]) -> bool {
        let rest = key.iter().try_fold(self.0, |rest, part| {
            rest.strip_prefix(part.as_bytes())?.strip_prefix(&[END])
        });
        rest.is_some_and(<[u8]>::is_empty)
    }

    /// How many of the first bytes are those of another.
    pub(super) fn alike(self, other: KeyRef<'_>) -> usize {
        self.0.iter().zip(other.0).take_while(|(a, b)| a == b).count()
    }

    /// A number by which keys are sorted that are alike in so many bytes; of some it is the same.
    pub(super) fn rank_behind(self, alike: usize) -> u64 {
        let next = self.0.iter().skip(alike).chain(std::iter::repeat(&END));
        next.take(8).fold(0, |rank, byte| rank << 8 | u64::from(rank_of(*byte)))
    }

    /// Its parts.
    pub(in crate::engine::kind) fn unpack(self) -> CorrelationKey {
        let parts = self.0.split_inclusive(|byte| *byte == END).map(|part| {
            let text = part.strip_suffix(&[END]).unwrap_or(part);
            Arc::from(str::from_utf8(text).expect("it was made of texts"))
        });
        parts.collect()
    }
}

/// The end of a part comes before all that may stand there in place of it.
const fn rank_of(byte: u8) -> u8 {
    byte.wrapping_add(1)
}

impl Ord for KeyRef<'_> {
    /// As keys are sorted: by their parts.
    fn cmp(&self, other: &Self) -> Ordering {
        let ranks = |byte: &u8| rank_of(*byte);
        self.0.iter().map(ranks).cmp(other.0.iter().map(ranks))
    }
}

impl PartialOrd for KeyRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
