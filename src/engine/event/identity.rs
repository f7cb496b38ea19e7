//! Which request an event belongs to.
//!
//! Computed only for events that matched something: it costs about half a microsecond.

use serde::{Deserialize, Serialize};

use super::{Event, well_known};
use crate::engine::{digest::Digest, time::EventTime, value::Value};

/// Identity of one request: a content hash without the stage, so that both stages of a long-running
/// request, and every copy that a shipper sent again, are the same. 128 bits of BLAKE3 over cluster,
/// audit id, received time, verb, URI and user: `auditID` alone is chosen by the client, who could
/// hide a request behind the id of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestIdentity(pub [u8; 16]);

impl RequestIdentity {
    /// Of an event with all of its well-known fields.
    pub fn of(event: &Event<'_>) -> RequestIdentity {
        let mut digest = Digest::default();
        for field in [
            well_known::CLUSTER,
            well_known::AUDIT_ID,
            well_known::VERB,
            well_known::REQUEST_URI,
            well_known::USERNAME,
            well_known::IMPERSONATED_USERNAME,
        ] {
            digest = digest.optional_part(match event.first(field) {
                Some(Value::Str(text)) => Some(text),
                _ => None,
            });
        }
        // Shippers may write the same time in another way, so it is the time that counts.
        let received = event.first_str(well_known::RECEIVED);
        let digest = match received.and_then(EventTime::parse) {
            Some(time) => digest.bytes(time.micros().to_le_bytes()),
            None => digest.bytes(received.unwrap_or("")),
        };
        RequestIdentity(digest.first())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::engine::event::{FieldId, Stage};

    fn event(changes: &[(FieldId, &'static str)]) -> Event<'static> {
        let mut event = Event::new(well_known::PATHS.len());
        for (field, text) in [
            (well_known::AUDIT_ID, "id"),
            (well_known::VERB, "get"),
            (well_known::REQUEST_URI, "/api"),
            (well_known::USERNAME, "eve"),
            (well_known::RECEIVED, "2026-01-05T22:14:01.100000Z"),
        ] {
            let changed = changes.iter().find(|(known, _)| *known == field);
            event.push(field, Value::Str(Cow::Borrowed(changed.map_or(text, |(_, text)| text))));
        }
        event
    }

    #[test]
    fn the_stage_and_the_way_a_time_is_written_do_not_matter() {
        let mut second = event(&[(well_known::RECEIVED, "2026-01-05T22:14:01.1Z")]);
        second.stage = Stage::ResponseStarted;
        assert_eq!(RequestIdentity::of(&event(&[])), RequestIdentity::of(&second));
    }

    #[test]
    fn a_reused_audit_id_hides_nothing() {
        let first = RequestIdentity::of(&event(&[]));
        for (field, text) in [
            (well_known::VERB, "delete"),
            (well_known::REQUEST_URI, "/apis"),
            (well_known::USERNAME, "mallory"),
            (well_known::RECEIVED, "2026-01-05T22:14:01.100001Z"),
        ] {
            assert_ne!(first, RequestIdentity::of(&event(&[(field, text)])), "{text}");
        }
    }
}
