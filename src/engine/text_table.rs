//! A map whose keys are texts that are known beforehand, for looking up texts of events.
//!
//! It compares lengths and eight bytes at a time, which tells short texts apart without a call.

/// A table with open addressing. At most half of it is filled, so that every search ends.
#[derive(Debug)]
pub(super) struct TextTable<T> {
    slots: Vec<Option<Bucket<T>>>,
    /// Which lengths keys have, one bit each; the last is for all that are longer.
    lengths: u64,
}

#[derive(Debug)]
struct Bucket<T> {
    key: Box<[u8]>,
    /// What [`ends`] says of it.
    ends: (u64, u64),
    value: T,
}

impl<T> Default for TextTable<T> {
    fn default() -> TextTable<T> {
        TextTable { slots: Vec::new(), lengths: 0 }
    }
}

impl<T> TextTable<T> {
    /// A table of keys that differ from each other.
    pub(super) fn new(entries: Vec<(Box<[u8]>, T)>) -> TextTable<T> {
        let mut slots = Vec::new();
        if !entries.is_empty() {
            slots.resize_with((entries.len() * 2).next_power_of_two(), || None);
        }
        let mut table = TextTable { slots, lengths: 0 };
        let mask = table.slots.len().saturating_sub(1);
        for (key, value) in entries {
            table.lengths |= length_bit(&key);
            let ends = ends(&key);
            let mut index = hash(ends, &key) & mask;
            while table.slots.get(index).is_some_and(Option::is_some) {
                index = (index + 1) & mask;
            }
            if let Some(slot) = table.slots.get_mut(index) {
                *slot = Some(Bucket { key, ends, value });
            }
        }
        table
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The value of a key.
    #[inline]
    pub(super) fn get(&self, key: &[u8]) -> Option<&T> {
        if self.lengths & length_bit(key) == 0 {
            return None;
        }
        let mask = self.slots.len().checked_sub(1)?;
        let ends = ends(key);
        let mut index = hash(ends, key) & mask;
        while let Some(Some(known)) = self.slots.get(index) {
            let same = known.ends == ends
                && known.key.len() == key.len()
                && (key.len() <= 16 || *known.key == *key);
            if same {
                return Some(&known.value);
            }
            index = (index + 1) & mask;
        }
        None
    }

    /// All values, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|entry| &entry.value)
    }
}

#[inline]
fn length_bit(key: &[u8]) -> u64 {
    1 << key.len().min(63)
}

/// The first and the last eight bytes, which overlap in a key of less than sixteen; all bytes of a key
/// of less than eight. Keys of one length up to sixteen that agree in this are the same.
#[inline]
fn ends(key: &[u8]) -> (u64, u64) {
    if let (Some(head), Some(tail)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        return (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
    }
    if let (Some(head), Some(tail)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        return (u32::from_le_bytes(*head).into(), u32::from_le_bytes(*tail).into());
    }
    match *key {
        [a] => (a.into(), 0),
        [a, b] => (a.into(), b.into()),
        [a, b, c] => (a.into(), u16::from_le_bytes([b, c]).into()),
        _ => (0, 0),
    }
}

const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

#[inline]
fn hash((head, tail): (u64, u64), key: &[u8]) -> usize {
    let mut mixed = head ^ tail.rotate_left(23) ^ (key.len() as u64) << 56;
    if key.len() > 16 {
        // Names of accounts begin and end alike.
        for word in key.as_chunks::<8>().0.iter().skip(1) {
            mixed = (mixed ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR).rotate_left(29);
        }
    }
    (mixed.wrapping_mul(FACTOR) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_nothing_else() {
        let text = "system:serviceaccount:a-team-of-the-shop:the-builder-of-the-shop";
        let keys: Vec<&str> = (0..=text.len()).map(|end| &text[..end]).collect();
        let entries = keys.iter().enumerate().map(|(at, key)| (key.as_bytes().into(), at));
        let table = TextTable::new(entries.collect());
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(table.get(key.as_bytes()), Some(&at), "{key}");
            let mut other = key.as_bytes().to_vec();
            for index in 0..other.len() {
                other[index] ^= 1;
                assert_eq!(table.get(&other), None, "{key} but for byte {index}");
                other[index] ^= 1;
            }
            other.push(0);
            assert_eq!(table.get(&other), None, "{key} and a zero");
        }
        assert_eq!(table.values().count(), keys.len());
        assert_eq!(TextTable::<()>::default().get(b""), None);
    }
}
