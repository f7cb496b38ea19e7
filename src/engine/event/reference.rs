//! Which event is being looked at, told when somebody asks: most events are nothing that anybody asks about
//! later, and a hash of all their bytes costs as much as looking at them.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Event, RequestIdentity, well_known};
use crate::engine::event_ref::{AuditId, EventPosition, EventRef};

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

    /// All of it. The event is the same in each call. Cost: SHA-256 of the event at the first call.
    pub(in crate::engine) fn of(&mut self, event: &Event<'_>) -> &Arc<EventRef> {
        self.made.get_or_insert_with(|| {
            Arc::new(EventRef {
                position: EventPosition {
                    topic: Arc::clone(self.topic),
                    partition: self.partition,
                    offset: self.offset,
                    index: self.index,
                },
                audit_id: AuditId::new(event.first_str(well_known::AUDIT_ID).unwrap_or("")),
                event_hash: Sha256::digest(event.json).into(),
            })
        })
    }
}
