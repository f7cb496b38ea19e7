//! Values as a store keeps them: postcard, in one piece of memory.

use postcard::ser_flavors::Flavor;
use serde::Serialize;

/// Bytes that most pieces of state take at most: 256. One piece of memory then holds all of it.
const USUAL_BYTES: usize = 256;

/// A value as it is stored.
///
/// # Panics
/// If it is made of something else than plain values.
pub(in crate::engine) fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    encode_into(Vec::with_capacity(USUAL_BYTES), value)
}

/// The same, behind what stands in `bytes`.
pub(in crate::engine) fn encode_into<T: Serialize + ?Sized>(bytes: Vec<u8>, value: &T) -> Vec<u8> {
    postcard::serialize_with_flavor(value, Growing(bytes))
        .expect("state is made of plain values, and memory is there for it")
}

/// Bytes that grow: postcard's own begin with none.
struct Growing(Vec<u8>);

impl Flavor for Growing {
    type Output = Vec<u8>;

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stored_as_postcard_has_them() {
        let value = ("text", [1_u64, 300, u64::MAX], Some(-1.5_f64), "x".repeat(2 * USUAL_BYTES));
        let bytes = postcard::to_stdvec(&value).unwrap();
        assert_eq!(encode(&value), bytes);
        assert_eq!(encode_into(vec![7], &value), [&[7][..], &bytes].concat());
    }
}
