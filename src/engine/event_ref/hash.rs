//! The hash of an event, made when somebody asks for it.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// SHA-256 of an event's bytes as they were read.
///
/// Most of what rules find is forgotten before anybody asks for it: a window needs it no longer, or an alert has newer
/// evidence. So the bytes are kept at first, which costs less than hashing them, and the hash is made when it is asked
/// for. Whoever makes one that is owed bounds how many bytes are kept in that way.
pub struct EventHash(Mutex<State>);

enum State {
    Made([u8; 32]),
    /// Of these bytes.
    Owed(Box<[u8]>),
}

impl EventHash {
    /// Of these bytes. Cost: about half a nanosecond a byte.
    pub fn of(event: &[u8]) -> EventHash {
        EventHash::from(digest(event))
    }

    /// Of these bytes, of which a copy is kept until somebody asks.
    pub fn owed(event: &[u8]) -> EventHash {
        EventHash(Mutex::new(State::Owed(Box::from(event))))
    }

    /// Whether nobody asked yet.
    #[cfg(test)]
    pub(in crate::engine) fn is_owed(&self) -> bool {
        matches!(*self.0.lock().unwrap(), State::Owed(_))
    }

    /// The hash. Cost: that of making it, the first time.
    pub fn get(&self) -> [u8; 32] {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Made(hash) => *hash,
            State::Owed(event) => {
                let hash = digest(event);
                *state = State::Made(hash);
                hash
            }
        }
    }
}

fn digest(event: &[u8]) -> [u8; 32] {
    Sha256::digest(event).into()
}

impl From<[u8; 32]> for EventHash {
    fn from(hash: [u8; 32]) -> EventHash {
        EventHash(Mutex::new(State::Made(hash)))
    }
}

impl Clone for EventHash {
    fn clone(&self) -> EventHash {
        EventHash::from(self.get())
    }
}

impl PartialEq for EventHash {
    fn eq(&self, other: &EventHash) -> bool {
        std::ptr::eq(self, other) || self.get() == other.get()
    }
}

impl Eq for EventHash {}

impl Hash for EventHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.get().hash(state);
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Serialize for EventHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EventHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventHash, D::Error> {
        <[u8; 32]>::deserialize(deserializer).map(EventHash::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_that_is_owed_is_the_same_and_stored_as_before() {
        let (made, owed) = (EventHash::of(b"event"), EventHash::owed(b"event"));
        assert!(owed.is_owed() && !made.is_owed());
        assert_eq!(postcard::to_stdvec(&owed).unwrap(), digest(b"event"));
        assert!(!owed.is_owed(), "the bytes are gone");
        assert_eq!((&made, &made.clone()), (&owed, &EventHash::owed(b"event")));
        assert_ne!(made, EventHash::owed(b"events"));
    }
}
