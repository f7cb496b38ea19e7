//! What windows take, and those of few events of which nothing but the time counts in few bytes.

use std::collections::VecDeque;

use super::{ENTRY_BYTES, Window, WindowEvent};
use crate::engine::{encode::encode_into, kind::memory, time::EventTime};

/// Events of a window that is packed: 16. Each further event of the key costs as much again.
const PACKED_MAX: usize = 16;

/// What a value takes to be told apart from others.
const TOLD_APART_BYTES: usize = 16;

impl WindowEvent {
    /// What its texts take, and what it carried.
    pub(super) fn bytes(&self) -> usize {
        let text =
            self.text.as_ref().map_or(0, |text| memory::piece(text.len()) + TOLD_APART_BYTES);
        text + self.captured.as_ref().map_or(0, |captured| memory::captured(captured))
    }

    /// Whether nothing of it counts but when it was, of which input, and for how many it stands.
    fn is_bare(&self) -> bool {
        self.number.to_bits() == 0 && self.text.is_none() && self.captured.is_none()
    }
}

impl Window {
    /// What its entries take.
    pub(in crate::engine::kind) fn bytes(&mut self) -> usize {
        let entries = &self.entries;
        let held = self.held.get_or_insert_with(|| entries.iter().map(WindowEvent::bytes).sum());
        memory::list(entries.len(), ENTRY_BYTES) + *held
    }

    /// Writes its entries behind `out`, if they are few and bare; whether it did. Of each the time since the one
    /// before; its input, whether a hash follows, and whether it was found; the hash.
    pub(in crate::engine::kind) fn pack(&self, out: &mut Vec<u8>) -> bool {
        let count = self.entries.len();
        if count == 0 || count > PACKED_MAX || !self.entries.iter().all(WindowEvent::is_bare) {
            return false;
        }
        let (mut bytes, mut before) = (std::mem::take(out), 0);
        for entry in &self.entries {
            let time = entry.time.micros();
            let marks = u32::from(entry.hash > 0) << 1 | u32::from(entry.found);
            let what = u32::from(entry.input) << 2 | marks;
            bytes = encode_into(bytes, &(time.wrapping_sub(before), what));
            if entry.hash > 0 {
                bytes = encode_into(bytes, &entry.hash);
            }
            before = time;
        }
        *out = bytes;
        true
    }

    /// Reads what was packed.
    pub(in crate::engine::kind) fn unpack(mut packed: &[u8]) -> Option<Window> {
        let (mut entries, mut before, mut is_joined) = (VecDeque::new(), 0_i64, false);
        // One more may come.
        entries.reserve_exact(4);
        while !packed.is_empty() {
            let ((since, what), rest) = postcard::take_from_bytes::<(i64, u32)>(packed).ok()?;
            let (hash, rest) =
                if what & 2 > 0 { postcard::take_from_bytes::<u64>(rest).ok()? } else { (0, rest) };
            packed = rest;
            before = before.wrapping_add(since);
            is_joined |= hash > 0;
            entries.push_back(WindowEvent {
                time: EventTime::from_micros(before),
                input: u16::try_from(what >> 2).ok()?,
                hash,
                number: 0.0,
                text: None,
                found: what & 1 > 0,
                captured: None,
            });
        }
        let (is_joined, held) = (Some(is_joined), Some(0));
        Some(Window { entries, recent: None, is_joined, steps_kept: Some(0), held })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::encode::encode;

    proptest! {
        /// What was packed is read as it was, and what a window takes is the same whether it grew or was read.
        #[test]
        fn a_window_is_the_same_packed(
            entries in prop::collection::vec(
                (any::<i64>(), any::<u16>(), prop_oneof![Just(0_u64), any::<u64>()], any::<bool>()),
                1..20,
            ),
        ) {
            let mut window = Window::default();
            for (micros, input, hash, found) in entries {
                let (time, number) = (EventTime::from_micros(micros), 0.0);
                window.insert(WindowEvent { time, input, hash, number, text: None, found, captured: None });
            }
            let mut packed = vec![9];
            let is_packed = window.pack(&mut packed);
            prop_assert_eq!(is_packed, window.len() <= PACKED_MAX);
            if is_packed {
                let read = Window::unpack(&packed[1..]).unwrap();
                prop_assert_eq!(&read.entries, &window.entries);
                let stored: Window = postcard::from_bytes(&encode(&window)).unwrap();
                let events = |window: &Window| window.events(0, window.len()).to_bits();
                prop_assert_eq!(events(&read), events(&stored));
            }
        }
    }

    #[test]
    fn what_a_window_takes_is_known_whatever_happens_to_it() {
        let mut window = Window::default();
        let mut random = 5_u64;
        let mut below = |most: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(random >> 33).unwrap() % most
        };
        let carried = |length: usize| -> std::sync::Arc<[_]> {
            [crate::engine::value::Captured::One("x".repeat(length).into())].into()
        };
        for second in 0..2_000_i64 {
            let text = (below(3) > 0).then(|| "t".repeat(below(90)).into());
            let captured = (below(3) > 0).then(|| carried(below(90)));
            let time = EventTime::from_micros(second * 1_000);
            let (input, hash, number, found) = (0, 1, 0.0, false);
            window.insert(WindowEvent { time, input, hash, number, text, found, captured });
            let any = below(window.len());
            match below(20) {
                0 => window.set_captured(any, None),
                1 => window.set_captured(any, Some(carried(below(90)))),
                2 => window.remove(any),
                3 => _ = window.keep(|at| at % 7 > 0),
                4 => window.drop_firsts(any / 4),
                _ => {}
            }
            let mut read: Window = postcard::from_bytes(&encode(&window)).unwrap();
            assert_eq!(window.bytes(), read.bytes(), "{second}");
        }
    }
}
