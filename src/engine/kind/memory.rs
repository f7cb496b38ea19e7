//! What state takes in memory, by a formula: a function of the state alone, so that a process that was restarted
//! makes room when one that never stopped does.
//!
//! It follows what was measured (`cargo bench --bench throughput`), and leaves out what stands between two
//! checkpoints.

use crate::engine::value::Captured;

/// What each key takes beside its own bytes: its slot (40), its deadline (16), its place in the table of hashes (5, of which
/// seven sixteenths to seven eighths are used), and what the allocator leaves unused.
pub(super) const KEY_BYTES: usize = 72;

/// Two counters and a pointer stand before and beside what is shared.
const SHARED_BYTES: usize = 16;

/// Which event it was: names of its topic and request, position and hash.
const EVENT_BYTES: usize = 192;

/// What a piece of memory takes of which so many bytes are needed.
pub(super) const fn piece(bytes: usize) -> usize {
    bytes.next_multiple_of(16)
}

/// What a list takes that grew one by one.
pub(super) fn list(length: usize, bytes_each: usize) -> usize {
    if length == 0 { 0 } else { length.next_power_of_two() * bytes_each }
}

/// What captured values take. Several keys may share them; each is taken to have its own.
pub(super) fn captured(captured: &[Captured]) -> usize {
    if captured.is_empty() {
        return 0;
    }
    let each = captured.iter().map(|value| match value {
        Captured::Event(_) => EVENT_BYTES,
        Captured::Absent | Captured::One(_) | Captured::Many(_) => {
            value.values().iter().map(|text| piece(SHARED_BYTES + text.len())).sum()
        }
    });
    piece(SHARED_BYTES + size_of_val(captured)) + each.sum::<usize>()
}
