//! Which event is being looked at, told when somebody asks: most events are nothing that anybody asks about
//! later, and a hash of all their bytes costs as much as looking at them.

use std::{collections::VecDeque, slice, sync::Arc};

use prefetch_index::prefetch_index;

use super::{Event, RequestIdentity, well_known};
use crate::engine::{
    event_ref::{AuditId, EventHash, EventPosition, EventRef},
    limits::{HASH_OWED_OF_BYTES_MAX, HASHES_OWED_BYTES_MAX},
};

/// Where the event that is being looked at was read.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Reference<'o> {
    topic: &'o Arc<str>,
    partition: i32,
    offset: i64,
    index: u32,
    made: Option<Arc<EventRef>>,
    request: Option<RequestIdentity>,
}

impl<'o> Reference<'o> {
    /// To the event with this index in the record at this offset of a partition, whose topic is written as checkpoints
    /// have it.
    pub(in crate::engine) const fn new(
        topic: &'o Arc<str>,
        partition: i32,
        offset: i64,
        index: u32,
    ) -> Reference<'o> {
        Reference { topic, partition, offset, index, made: None, request: None }
    }

    /// Which request it is. The event is the same in each call. Cost: BLAKE3 of some texts at the first call.
    pub(in crate::engine) fn request(&mut self, event: &Event<'_>) -> RequestIdentity {
        *self.request.get_or_insert_with(|| RequestIdentity::of(event))
    }

    /// All of it. The event is the same in each call. Cost: a copy of the event at the first call, SHA-256 of a large one.
    pub(in crate::engine) fn of(&mut self, event: &Event<'_>) -> &Arc<EventRef> {
        self.made.get_or_insert_with(|| {
            let json = event.json.as_bytes();
            let is_owed = json.len() <= HASH_OWED_OF_BYTES_MAX;
            Arc::new(EventRef {
                position: EventPosition {
                    topic: Arc::clone(self.topic),
                    partition: self.partition,
                    offset: self.offset,
                    index: self.index,
                },
                audit_id: AuditId::new(event.first_str(well_known::AUDIT_ID).unwrap_or("")),
                event_hash: if is_owed { EventHash::owed(json) } else { EventHash::of(json) },
            })
        })
    }
}

/// The latest events that something was found of, whose hashes may be owed. An event that nobody holds any more when its
/// turn comes is never hashed; of the others no bytes are kept from then on.
#[derive(Debug, Default)]
pub(in crate::engine) struct Owed {
    /// The oldest first, with how many bytes it has.
    events: VecDeque<(Arc<EventRef>, usize)>,
    bytes: usize,
}

impl Owed {
    /// Takes the event that was looked at, if anybody asked which one it is.
    #[inline]
    pub(in crate::engine) fn note(&mut self, reference: Reference<'_>, event: &Event<'_>) {
        if let Some(made) = reference.made
            && event.json.len() <= HASH_OWED_OF_BYTES_MAX
        {
            self.push(made, event.json.len());
        }
    }

    fn push(&mut self, event: Arc<EventRef>, bytes: usize) {
        self.bytes += bytes;
        self.events.push_back((event, bytes));
        while self.bytes > HASHES_OWED_BYTES_MAX
            && let Some((oldest, bytes)) = self.events.pop_front()
        {
            self.bytes -= bytes;
            if let Some((next, _)) = self.events.front() {
                // It was put away long ago, and its turn comes soon.
                prefetch_index(slice::from_ref(&**next), 0);
            }
            if Arc::strong_count(&oldest) > 1 {
                oldest.event_hash.get();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_bytes_are_kept_than_are_allowed() {
        let bytes = vec![b'x'; HASH_OWED_OF_BYTES_MAX];
        let room = HASHES_OWED_BYTES_MAX / bytes.len();
        let mut owed = Owed::default();
        let event = |offset: usize| {
            let topic = Arc::from("audit");
            let offset = i64::try_from(offset).unwrap();
            let position = EventPosition { topic, partition: 0, offset, index: 0 };
            let (audit_id, event_hash) = (AuditId::new("id"), EventHash::owed(&bytes));
            Arc::new(EventRef { position, audit_id, event_hash })
        };
        // Every second one is held by somebody.
        let mut held = Vec::new();
        for offset in 0..3 * room {
            let event = event(offset);
            owed.push(Arc::clone(&event), bytes.len());
            held.extend(Some(event).filter(|_| offset % 2 == 0));
        }
        assert_eq!((owed.events.len(), owed.bytes), (room, HASHES_OWED_BYTES_MAX));
        let is_owed = |event: &&Arc<EventRef>| event.event_hash.is_owed();
        assert_eq!(held.iter().filter(is_owed).count(), room / 2);
        assert!(held.iter().take(room).all(|event| !is_owed(&event)), "the oldest are hashed");
        assert!(held.iter().all(|event| event.event_hash == EventHash::of(&bytes)));
    }
}
