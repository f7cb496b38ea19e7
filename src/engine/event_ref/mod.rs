//! Which event something was: where it was read, what id it has, and a hash of its bytes.
//!
//! By these three anybody can find the event again, and show that it is the one that was meant.

mod audit_id;
mod hash;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use audit_id::AuditId;
pub use hash::EventHash;

/// Which event something was. About 100 B, shared by all that one event comes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventRef {
    /// Where it was read.
    pub position: EventPosition,
    /// Its audit id; the client may choose it.
    pub audit_id: AuditId,
    /// SHA-256 of the event's bytes as they were read.
    pub event_hash: EventHash,
}

/// Where an event was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventPosition<T = std::sync::Arc<str>> {
    /// The topic, with its source in front of it if that has a name.
    pub topic: T,
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// Which event of the record it is, from 0.
    pub index: u32,
}

impl<T: AsRef<str>> fmt::Display for EventPosition<T> {
    /// `audit/3@1712`, and `#2` behind it for the third event of a record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.topic.as_ref(), self.partition, self.offset)?;
        if self.index > 0 { write!(f, "#{}", self.index) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_short_for_people() {
        let first = EventPosition { topic: "audit", partition: 3, offset: 1712, index: 0 };
        assert_eq!(first.to_string(), "audit/3@1712");
        assert_eq!(EventPosition { index: 2, ..first }.to_string(), "audit/3@1712#2");
    }
}
