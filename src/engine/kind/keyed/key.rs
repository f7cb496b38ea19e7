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

    /// Its parts.
    pub(in crate::engine::kind) fn unpack(self) -> CorrelationKey {
        let parts = self.0.split_inclusive(|byte| *byte == END).map(|part| {
            let text = part.strip_suffix(&[END]).unwrap_or(part);
            Arc::from(str::from_utf8(text).expect("it was made of texts"))
        });
        parts.collect()
    }
}

impl Ord for KeyRef<'_> {
    /// As keys are sorted: by their parts.
    fn cmp(&self, other: &Self) -> Ordering {
        // The end of a part comes before all that may stand there in place of it.
        let ranks = |byte: &u8| byte.wrapping_add(1);
        self.0.iter().map(ranks).cmp(other.0.iter().map(ranks))
    }
}

impl PartialOrd for KeyRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
