//! A map whose keys are texts that are known beforehand, for looking up texts of events.
//!
//! It compares lengths and eight bytes at a time, which tells short texts apart without a call.

/// A table with open addressing. At most half of its places are taken, so that every search ends. Most tables of a
/// rule set are small, and there are thousands, so that a free place is four bytes.
#[derive(Debug)]
pub(super) struct TextTable<T> {
    entries: Box<[Entry<T>]>,
    /// Numbers of entries, counted from 1; 0 is free.
    places: Box<[u32]>,
    /// Which lengths keys have, one bit each; the last is for all that are longer.
    lengths: u64,
}

#[derive(Debug)]
struct Entry<T> {
    key: Box<[u8]>,
    /// What [`ends`] says of it.
    ends: (u64, u64),
    value: T,
}

impl<T> Default for TextTable<T> {
    fn default() -> TextTable<T> {
        TextTable { entries: Box::default(), places: Box::default(), lengths: 0 }
    }
}

impl<T> TextTable<T> {
    /// A table of keys that differ from each other.
    ///
    /// # Panics
    /// If there are more than 4,294,967,295.
    pub(super) fn new(entries: Vec<(Box<[u8]>, T)>) -> TextTable<T> {
        if entries.is_empty() {
            return TextTable::default();
        }
        let mut places = vec![0; (entries.len() * 2).next_power_of_two()];
        let mask = places.len() - 1;
        let mut lengths = 0;
        let mut put = |(number, (key, value)): (u32, (Box<[u8]>, T))| {
            lengths |= length_bit(&key);
            let ends = ends(&key);
            let mut at = hash(ends, &key) & mask;
            while places.get(at).is_some_and(|place| *place != 0) {
                at = (at + 1) & mask;
            }
            if let Some(place) = places.get_mut(at) {
                *place = number;
            }
            Entry { key, ends, value }
        };
        assert!(u32::try_from(entries.len()).is_ok(), "a rule set names fewer texts");
        let entries = (1..).zip(entries).map(&mut put).collect();
        TextTable { entries, places: places.into(), lengths }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    #[inline]
    pub(super) fn get(&self, key: &[u8]) -> Option<&T> {
        if self.lengths & length_bit(key) == 0 {
            return None;
        }
        let mask = self.places.len().checked_sub(1)?;
        let ends = ends(key);
        let mut at = hash(ends, key) & mask;
        loop {
            let number = (*self.places.get(at)?).checked_sub(1)?;
            let known = self.entries.get(number as usize)?;
            let same = known.ends == ends
                && known.key.len() == key.len()
                && (key.len() <= 16 || *known.key == *key);
            if same {
                return Some(&known.value);
            }
            at = (at + 1) & mask;
        }
    }

    /// All values, in the order in which they came.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.value)
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
