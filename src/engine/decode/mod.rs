//! From bytes to events: one pass that extracts only what rules need.
//!
//! A record holds one audit `Event`, an `EventList`, several of either on lines of their own, or any
//! of these in the wrapper of a shipper. What cannot be decoded becomes a dead letter with a reason;
//! what is odd but can be decoded (bytes that are not UTF-8, nesting too deep for us, an event too
//! large to be real) becomes a dead letter *and* is shown to the rules as far as it goes: whoever may
//! send a patch with such a body must not be able to hide it. Whether an event matters is decided
//! elsewhere.

mod cloudwatch;
mod compressed;
mod event_hubs;
mod filebeat;
mod fluent_bit;
mod gke;
mod json;
mod order;
mod otlp;
mod pass;
mod projection;
mod scan;
mod vector;
mod wrapper;

use std::borrow::Cow;

use compressed::Inflated;
use pass::Pass;
use projection::Projection;
pub use wrapper::Wrapper;

use super::{
    dead_letter::DeadLetterReason,
    event::{Event, FieldTable},
    limits,
};

/// Every wrapper that is known, by name. No record is more than one of them, so the order does not
/// matter.
pub const DECODERS: &[&dyn Wrapper] = &[
    &cloudwatch::CloudWatch,
    &event_hubs::EventHubs,
    &filebeat::Filebeat,
    &fluent_bit::FluentBit,
    &gke::Gke,
    &otlp::Otlp,
    &vector::Vector,
];

/// What comes out of a record.
pub(super) trait Sink {
    /// A decoded event of any stage. It is cleared afterwards.
    fn event(&mut self, event: &mut Event<'_>);

    /// Something that could not be decoded, with its bytes.
    fn dead_letter(&mut self, reason: DeadLetterReason, detail: String, bytes: &[u8]);
}

/// Decodes records onto the fields of one rule set. Keeps memory from record to record.
#[derive(Debug)]
pub(super) struct Decoder {
    projection: Projection,
    /// Events whose memory is reused: one for each level of wrapping.
    spare: Vec<Event<'static>>,
}

/// What is known about the text being decoded.
#[derive(Clone, Copy, Debug)]
struct Context<'a> {
    /// Cluster that the source or a wrapper names.
    cluster: Option<&'a str>,
    /// How many wrappers are around it.
    wrappers: usize,
    /// The record is a dead letter already: further ones would only repeat that.
    silent: bool,
}

impl Decoder {
    pub(super) fn new(fields: &FieldTable) -> Decoder {
        Decoder { projection: Projection::new(fields), spare: Vec::new() }
    }

    /// Decodes one record. Everything in it goes to `sink`, in its order.
    pub(super) fn decode(&mut self, payload: &[u8], cluster: Option<&str>, sink: &mut impl Sink) {
        if payload.len() > limits::RECORD_BYTES_MAX {
            let detail = format!("{} bytes", payload.len());
            sink.dead_letter(DeadLetterReason::TooLarge, detail, payload);
            return;
        }
        match compressed::inflate(payload) {
            Inflated::No => self.bytes(payload, payload, cluster, sink),
            Inflated::Yes(plain) => self.bytes(&plain, payload, cluster, sink),
            Inflated::Bad(reason, detail) => sink.dead_letter(reason, detail, payload),
        }
    }

    fn bytes(&mut self, plain: &[u8], payload: &[u8], cluster: Option<&str>, sink: &mut impl Sink) {
        let context = Context { cluster, wrappers: 0, silent: false };
        match simdutf8::compat::from_utf8(plain) {
            Ok(text) => self.text(text, context, sink),
            Err(error) => {
                let detail = format!("at byte {}", error.valid_up_to());
                sink.dead_letter(DeadLetterReason::InvalidUtf8, detail, payload);
                let text: Cow<'_, str> = String::from_utf8_lossy(plain);
                self.text(&text, Context { silent: true, ..context }, sink);
            }
        }
    }

    fn text(&mut self, text: &str, context: Context<'_>, sink: &mut impl Sink) {
        let mut items_left = limits::EVENTS_PER_RECORD_MAX;
        Pass::run(&self.projection, &mut self.spare, context, &mut items_left, sink, text);
    }
}

#[cfg(test)]
mod tests;
