//! Windows as they are stored. A window of many events is written at each checkpoint in which one has come, so what is
//! the same of many events stands once.
//!
//! Windows of few events are a list of them, as all were before; a length that no list has stands before others.

use std::{collections::VecDeque, fmt, sync::Arc};

use hashbrown::HashMap;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

use super::{Window, WindowEvent};
use crate::engine::{time::EventTime, value::Captured};

/// Events of a window that is stored as a list: 16.
const LISTED_MAX: usize = 16;

/// Stands in place of the length of a list.
const SHORTENED: u32 = u32::MAX;

/// Events that are read of one window at most: more than any holds.
const READ_MAX: usize = 1 << 20;

/// What is the same of many events.
type Alike<T> = (u16, u64, f64, Option<T>);

/// Many events.
#[derive(Serialize, Deserialize)]
struct Shortened<T> {
    alike: Vec<Alike<T>>,
    /// Of each the time since the one before; and twice the number of what is alike, and 1 if it was found.
    events: Vec<(i64, u32)>,
    /// What some carried, by their number.
    captured: Vec<(u32, Arc<[Captured]>)>,
}

impl Shortened<&str> {
    fn of(entries: &VecDeque<WindowEvent>) -> Shortened<&str> {
        let mut alike: Vec<Alike<&str>> = Vec::new();
        let mut known: HashMap<(u64, u64, u16), u32> = HashMap::new();
        let (mut events, mut captured) = (Vec::with_capacity(entries.len()), Vec::new());
        let mut before = 0;
        for (number, entry) in (0..).zip(entries) {
            let WindowEvent { input, hash, number: counted, text, .. } = entry;
            let this = (*input, *hash, *counted, text.as_deref());
            let next = u32::try_from(alike.len()).unwrap_or(0);
            let mut place = *known.entry((*hash, counted.to_bits(), *input)).or_insert(next);
            // Texts of one hash are the same, nearly always.
            if alike.get(place as usize).is_none_or(|one| one.3 != this.3) {
                place = next;
                alike.push(this);
            }
            let time = entry.time.micros();
            events.push((time.wrapping_sub(before), place << 1 | u32::from(entry.found)));
            before = time;
            captured.extend(entry.captured.iter().map(|values| (number, Arc::clone(values))));
        }
        Shortened { alike, events, captured }
    }
}

impl Shortened<Box<str>> {
    /// `None` if it says what is not there.
    fn entries(self) -> Option<VecDeque<WindowEvent>> {
        let Shortened { alike, events, captured } = self;
        let mut before = 0_i64;
        let entries = events.into_iter().map(|(since, what)| {
            before = before.wrapping_add(since);
            let (input, hash, number, text) = alike.get((what >> 1) as usize)?.clone();
            let (time, found) = (EventTime::from_micros(before), what & 1 > 0);
            Some(WindowEvent { time, input, hash, number, text, found, captured: None })
        });
        let mut entries: VecDeque<WindowEvent> = entries.collect::<Option<_>>()?;
        for (number, values) in captured {
            entries.get_mut(number as usize)?.captured = Some(values);
        }
        Some(entries)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.len() <= LISTED_MAX {
            self.entries.serialize(serializer)
        } else {
            (SHORTENED, Shortened::of(&self.entries)).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
        let entries = deserializer.deserialize_tuple(READ_MAX, Entries)?;
        Ok(Window { entries, ..Window::default() })
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = VecDeque<WindowEvent>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the events of a window")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let cut_off = || A::Error::custom("it is cut off");
        let length: u32 = parts.next_element()?.ok_or_else(cut_off)?;
        if length == SHORTENED {
            let shortened: Shortened<Box<str>> = parts.next_element()?.ok_or_else(cut_off)?;
            return shortened.entries().ok_or_else(|| A::Error::custom("it does not fit"));
        }
        let next = |_| parts.next_element()?.ok_or_else(cut_off);
        (0..length).map(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::encode::encode;

    fn entries() -> impl Strategy<Value = VecDeque<WindowEvent>> {
        let captured = prop::option::weighted(0.1, any::<u8>());
        let text = prop::option::of("[a-c]{0,2}");
        let number = prop_oneof![Just(0.0), Just(-0.0), any::<f64>()];
        let one = (0..3_u16, 0..4_u64, number, text, any::<(i64, bool)>(), captured);
        let event =
            one.prop_map(|(input, hash, number, text, (micros, found), captured)| WindowEvent {
                time: EventTime::from_micros(micros),
                input,
                hash,
                number,
                text: text.map(Box::from),
                found,
                captured: captured
                    .map(|value| [Captured::One(value.to_string().into())].into_iter().collect()),
            });
        prop::collection::vec_deque(event, 0..60)
    }

    proptest! {
        /// A window is read as it was stored, and as earlier versions stored it; what stands behind it is still there.
        #[test]
        fn a_window_is_read_as_it_was_stored(entries in entries()) {
            let window = Window { entries: entries.clone(), ..Window::default() };
            for bytes in [encode(&(&window, 7_u8)), encode(&(&entries, 7_u8))] {
                let (read, behind): (Window, u8) = postcard::from_bytes(&bytes).unwrap();
                prop_assert_eq!(encode(&read), encode(&window));
                prop_assert_eq!(encode(&read.entries), encode(&entries));
                prop_assert_eq!(behind, 7);
                // What is cut off or changed is an error, or another window.
                for end in 0..bytes.len() {
                    let mut changed = bytes.clone();
                    changed[end] ^= 0xff;
                    drop(postcard::from_bytes::<(Window, u8)>(&changed));
                    prop_assert!(postcard::from_bytes::<(Window, u8)>(&bytes[..end]).is_err());
                }
            }
        }
    }

    #[test]
    fn what_is_the_same_of_many_events_is_stored_once() {
        let event = |second: i64| WindowEvent {
            time: EventTime::from_micros(1_700_000_000_000_000 + second * 1_000_000),
            input: 0,
            hash: u64::MAX - second.unsigned_abs() % 2,
            number: 0.0,
            text: Some("198.51.100.7".into()),
            found: false,
            captured: None,
        };
        let entries: VecDeque<WindowEvent> = (0..1_000).map(event).collect();
        let window = Window { entries, ..Window::default() };
        assert_eq!((encode(&window.entries).len(), encode(&window).len()), (43_002, 4_080));
    }
}
