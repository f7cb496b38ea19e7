//! One event of a record that was read before, found again by its place in it and the hash of its bytes.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::{Decoder, Origin, Sink};
use crate::engine::{
    dead_letter::{ControlMessage, DeadLetterReason},
    event::{Event, FieldTable},
};

/// What came of looking for an event again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// The event, byte for byte as it was read then.
    Found(String),
    /// Another event, or none, is where it was.
    Changed,
    /// Its record is no longer there: it was deleted by age or size.
    PastRetention,
    /// It cannot be looked for, and why, for people.
    Unreadable(String),
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Again::Found(_) => f.write_str("as it was read"),
            Again::Changed => f.write_str("changed: another event is where it was read"),
            Again::PastRetention => f.write_str("past retention: its record is no longer there"),
            Again::Unreadable(why) => write!(f, "cannot be read again: {why}"),
        }
    }
}

/// The event with a number and a hash in a record: [`Again::Found`], or [`Again::Changed`]. Cost: the record is
/// decoded, and the event hashed.
pub fn event_again(payload: &[u8], index: u32, hash: &[u8; 32]) -> Again {
    let mut seeker = Seeker { left: index, found: None };
    Decoder::new(&FieldTable::new()).decode(payload, Origin::default(), &mut seeker);
    let is_it = |event: &String| Sha256::digest(event).as_slice() == hash;
    seeker.found.filter(is_it).map_or(Again::Changed, Again::Found)
}

/// The event with a hash among all those of a record.
pub fn event_by_hash(payload: &[u8], hash: &[u8; 32]) -> Option<String> {
    let mut seeker = ByHash { hash, found: None };
    Decoder::new(&FieldTable::new()).decode(payload, Origin::default(), &mut seeker);
    seeker.found
}

/// Takes the event behind so many others.
struct Seeker {
    left: u32,
    found: Option<String>,
}

impl Sink for Seeker {
    fn event(&mut self, event: &mut Event<'_>) {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                self.found.get_or_insert_with(|| event.json.to_owned());
            }
        }
    }

    fn control(&mut self, _message: ControlMessage) {}

    fn dead_letter(&mut self, _reason: DeadLetterReason, _detail: String, _bytes: &[u8]) {}
}

/// Takes the first event with a hash.
struct ByHash<'h> {
    hash: &'h [u8; 32],
    found: Option<String>,
}

impl Sink for ByHash<'_> {
    fn event(&mut self, event: &mut Event<'_>) {
        if self.found.is_none() && Sha256::digest(event.json).as_slice() == self.hash {
            self.found = Some(event.json.to_owned());
        }
    }

    fn control(&mut self, _message: ControlMessage) {}

    fn dead_letter(&mut self, _reason: DeadLetterReason, _detail: String, _bytes: &[u8]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> String {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"{id}","stage":"ResponseComplete","verb":"get","requestReceivedTimestamp":"2026-01-05T22:14:01Z"}}"#
        )
    }

    #[test]
    fn an_event_is_found_by_place_and_hash_and_not_if_a_byte_differs() {
        let (one, two) = (event("1"), event("2"));
        let list = format!(
            r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{one},{two}]}}"#
        );
        let hash: [u8; 32] = Sha256::digest(&two).into();
        assert_eq!(event_again(list.as_bytes(), 1, &hash), Again::Found(two.clone()));
        assert_eq!(event_again(list.as_bytes(), 0, &hash), Again::Changed);
        assert_eq!(event_again(list.as_bytes(), 2, &hash), Again::Changed);
        assert_eq!(event_by_hash(list.as_bytes(), &hash).as_ref(), Some(&two));
        let changed = list.replacen("\"verb\":\"get\"", "\"verb\":\"put\"", 2);
        assert_eq!(event_again(changed.as_bytes(), 1, &hash), Again::Changed);
        assert_eq!(event_by_hash(changed.as_bytes(), &hash), None);
        assert_eq!(event_again(b"", 0, &hash), Again::Changed);
    }
}
