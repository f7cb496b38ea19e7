//! From bytes to events: one pass that extracts only what rules need.
//!
//! A record holds one audit `Event`, an `EventList`, several of either, or any of these in what a shipper
//! put around it (`envelope`). Every record, and every part of one, ends as events, as a message that is
//! known to hold none, or as a dead letter with a reason. What is odd but can be decoded (bytes that are
//! not UTF-8, nesting or an event too large to be real, one that was cut) becomes a dead letter *and* is
//! shown to the rules as far as it goes: whoever may send a patch with such a body must not be able to hide
//! it. Of values that rules name none is left out, however many there are and however deep. Whether an event
//! matters is decided elsewhere.

mod again;
mod bytes;
mod check;
mod clients;
mod clock;
mod cloudwatch;
mod cri;
mod cut;
mod envelope;
mod event_hubs;
mod foreign;
mod gke;
mod json;
mod lead;
mod order;
mod otlp;
mod otlp_proto;
mod pass;
mod patch;
mod projection;
mod promise;
mod renamed;
mod retyped;
mod scan;
mod search;
mod steps;
mod straight;

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

pub use again::{Again, event_again, event_by_hash};
use bytes::{Inside, Look};
pub use cri::PartLines;
pub use envelope::{DECODERS, Envelope};
use json::Json;
use pass::Pass;
use projection::Projection;
pub use promise::begins_event;
use promise::is_promising;
use scan::Closings;
use search::{Around, Content, Found, Members, Search};
pub use steps::{Step, TakenApart, take_apart};

use super::{
    dead_letter::{ControlMessage, DeadLetterReason},
    digest::Digest,
    event::{Event, FieldTable, Parts},
    limits,
    time::EventTime,
};

/// What is said of a record with more events than are read of one.
pub const REST_NOT_READ: &str = "the rest was not read";

/// What is said of compressed bytes that break off, are damaged, or are too many.
pub const NOT_TO_ITS_END: &str = "cannot be read to its end";

/// Why an event on standard error is none.
const OF_ERROR_STREAM: &str = "a line of standard error, where no API server writes events";

/// Takes an envelope apart that needs code of its own. False: it is none, and is searched.
fn open_envelope<'a>(
    json: Json<'a>,
    members: &Members<'a>,
    search: &mut Search<'a>,
    around: &Around<'a>,
) -> bool {
    cloudwatch::open(members, search, around)
        || event_hubs::open(json, members, search, around)
        || gke::open(json, members, search, around)
        || otlp::open(json, members, search, around)
}

/// The cluster as clouds write it.
fn cluster_of<'a>(members: &Members<'a>) -> Option<Cow<'a, str>> {
    cloudwatch::cluster_of(members)
        .or_else(|| event_hubs::cluster_of(members))
        .or_else(|| otlp::cluster_of(members))
}

/// The body of the request of an event, as it was sent. Cost: a pass over the event.
pub(super) fn body_of(event: &str) -> Option<&str> {
    Json::new(event).get("requestObject").map(Json::raw)
}

/// What comes out of a record.
pub(super) trait Sink {
    /// A decoded event of any stage. It is cleared afterwards.
    fn event(&mut self, event: &mut Event<'_>);

    /// Whether [`Sink::settles`] is to be asked.
    fn looks_first(&self) -> bool {
        false
    }

    /// Takes an event of which some parts were passed over, if the others say all that is to be said of it.
    /// Else it comes again as a whole.
    fn settles(&mut self, _event: &mut Event<'_>, _passed: Parts) -> bool {
        false
    }

    /// A message that is known to hold no events.
    fn control(&mut self, message: ControlMessage);

    /// Something that could not be decoded, with its bytes.
    fn dead_letter(&mut self, reason: DeadLetterReason, detail: String, bytes: &[u8]);

    /// Whether [`Sink::step`] is wanted.
    fn wants_steps(&self) -> bool {
        false
    }

    /// How the record is taken apart, for people: what was found, and how deep inside.
    fn step(&mut self, _depth: usize, _what: String) {}
}

/// What the source of a record knows of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origin<'a> {
    /// The cluster.
    pub(super) cluster: Option<&'a str>,
    /// When it was written: the time of events that have none.
    pub(super) time: Option<EventTime>,
}

/// What is known of where fields stand, of the tables that decoders of one rule set have: each takes some hundred
/// kilobytes, and all that decode share it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Projections(Mutex<Vec<([u8; 16], Arc<Projection>)>>);

impl Projections {
    fn of(&self, fields: &FieldTable) -> Arc<Projection> {
        let digest = Digest::of(fields.paths()).first();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, projection)) = known.iter().find(|(known, _)| *known == digest) {
            return Arc::clone(projection);
        }
        let projection = Arc::new(Projection::new(fields));
        known.push((digest, Arc::clone(&projection)));
        projection
    }
}

/// Decodes records onto the fields of one rule set. Keeps memory from record to record.
#[derive(Debug)]
pub(super) struct Decoder {
    projection: Arc<Projection>,
    /// Events whose memory is reused: one for each level of wrapping.
    spare: Vec<Event<'static>>,
    /// Brackets of bodies, whose memory is reused.
    closings: Closings,
}

/// What is known about the text being decoded.
#[derive(Clone, Copy, Debug)]
struct Context<'a> {
    /// Cluster that the source or an envelope names.
    cluster: Option<&'a str>,
    /// Time that the envelope, or else the source, names.
    time: Option<EventTime>,
    /// How many envelopes are around it.
    wrappers: usize,
    /// The record is a dead letter already: further ones would only repeat that.
    silent: bool,
    /// It was cut and closed here: what was open at the cut is marked so.
    marked: bool,
    /// It is itself what was closed, so it is not closed again.
    closed: bool,
    /// An envelope says that it is a part of a line.
    is_part: bool,
}

/// What all passes over one record share.
struct Work<'p, S> {
    projection: &'p Projection,
    spare: &'p mut Vec<Event<'static>>,
    closings: &'p mut Closings,
    sink: &'p mut S,
    /// Documents and items that may still be read.
    items_left: usize,
    /// Bytes that may still be made: by inflating, by undoing escapes.
    bytes_left: usize,
    /// Bytes that may still be made by closing what was cut: how much else was made must not hide them.
    closing_bytes_left: usize,
    /// Bytes that may still be read again behind what was torn.
    again_bytes_left: usize,
    /// Events that came out.
    events: usize,
    /// Events, control messages and dead letters that came out, silent ones too.
    outcomes: usize,
}

impl Decoder {
    /// For itself.
    pub(super) fn new(fields: &FieldTable) -> Decoder {
        Decoder::onto(Arc::new(Projection::new(fields)))
    }

    /// One of several that decode for a rule set.
    pub(super) fn sharing(projections: &Projections, fields: &FieldTable) -> Decoder {
        Decoder::onto(projections.of(fields))
    }

    const fn onto(projection: Arc<Projection>) -> Decoder {
        Decoder { projection, spare: Vec::new(), closings: Vec::new() }
    }

    /// Decodes one record. Everything in it goes to `sink`, in its order.
    pub(super) fn decode(&mut self, payload: &[u8], origin: Origin<'_>, sink: &mut impl Sink) {
        let mut work = Work {
            projection: &self.projection,
            spare: &mut self.spare,
            closings: &mut self.closings,
            sink,
            items_left: limits::EVENTS_PER_RECORD_MAX,
            bytes_left: limits::UNWRAPPED_BYTES_MAX,
            closing_bytes_left: limits::UNWRAPPED_BYTES_MAX,
            again_bytes_left: limits::UNWRAPPED_BYTES_MAX,
            events: 0,
            outcomes: 0,
        };
        let context = Context {
            cluster: origin.cluster,
            time: origin.time,
            wrappers: 0,
            silent: false,
            marked: false,
            closed: false,
            is_part: false,
        };
        if payload.len() > limits::RECORD_BYTES_MAX {
            let max = limits::RECORD_BYTES_MAX;
            let detail = format!("more than {max} bytes; what stands before was matched");
            work.dead_letter(context, DeadLetterReason::TooLarge, detail, payload);
            // Who did what stands at the beginning.
            let context = Context { silent: true, ..context };
            work.payload(beginning(payload, max), context);
            return;
        }
        work.accounted(context, payload, |work| work.payload(payload, context));
    }
}

/// So many bytes at most, up to the end of a character.
fn beginning(bytes: &[u8], max: usize) -> &[u8] {
    let is_start = |at: &usize| bytes.get(*at).is_none_or(|byte| byte & 0xC0 != 0x80);
    let end = (max.saturating_sub(3)..=max).rev().find(is_start).unwrap_or(max);
    bytes.get(..end).unwrap_or(bytes)
}

impl<S: Sink> Work<'_, S> {
    /// Does a part of the work, after which something must have come of it.
    #[inline]
    fn accounted(&mut self, context: Context<'_>, part: &[u8], work: impl FnOnce(&mut Self)) {
        let before = self.outcomes;
        work(self);
        if self.outcomes == before {
            let detail = "nothing came of it, which is a fault of the decoder".to_owned();
            self.dead_letter(context, DeadLetterReason::Unaccounted, detail, part);
        }
    }

    fn event(&mut self, event: &mut Event<'_>) {
        self.events += 1;
        self.outcomes += 1;
        self.sink.event(event);
    }

    /// Hands on an event of which some parts were passed over. False: the whole is wanted.
    fn settles(&mut self, event: &mut Event<'_>, passed: Parts) -> bool {
        let settles = self.sink.settles(event, passed);
        self.events += usize::from(settles);
        self.outcomes += usize::from(settles);
        settles
    }

    fn control(&mut self, context: Context<'_>, message: ControlMessage) {
        self.outcomes += 1;
        self.step(context, || format!("known to hold no events: {}", message.as_str()));
        self.sink.control(message);
    }

    fn dead_letter(
        &mut self,
        context: Context<'_>,
        reason: DeadLetterReason,
        detail: String,
        bytes: &[u8],
    ) {
        self.outcomes += 1;
        self.step(context, || format!("not decoded: {}: {detail}", reason.as_str()));
        if !context.silent {
            self.sink.dead_letter(reason, detail, bytes);
        }
    }

    /// Tells how the record is taken apart, if anybody asked.
    #[inline]
    fn step(&mut self, context: Context<'_>, what: impl FnOnce() -> String) {
        if self.sink.wants_steps() {
            self.sink.step(context.wrappers, what());
        }
    }

    /// Bytes that came with nothing around them, or out of something.
    fn payload(&mut self, bytes: &[u8], context: Context<'_>) {
        match bytes::look(bytes, &mut self.bytes_left) {
            Look::Plain(plain) => self.plain(plain, context),
            Look::Text(name, text) => {
                self.step(context, || format!("text in {name}"));
                let look = bytes::look(text.as_bytes(), &mut self.bytes_left);
                if let Look::Inside(inside) = look {
                    self.inside(text.as_bytes(), inside, context);
                } else {
                    self.text(&text, context);
                }
            }
            Look::Binary(name) => {
                let detail = bytes::not_read(name);
                self.dead_letter(context, DeadLetterReason::OtherFormat, detail, bytes);
                self.events_within(&String::from_utf8_lossy(bytes), context);
            }
            Look::Bad(reason, detail) => self.dead_letter(context, reason, detail, bytes),
            Look::Inside(inside) => self.inside(bytes, inside, context),
        }
    }

    /// What was compressed, or Base64.
    fn inside(&mut self, bytes: &[u8], inside: Inside, context: Context<'_>) {
        let Inside { name, parts, fault } = inside;
        self.step(context, || {
            format!("{name}: {} bytes", parts.iter().map(Vec::len).sum::<usize>())
        });
        if context.wrappers >= limits::WRAPPERS_MAX {
            let detail = "too many envelopes around each other".to_owned();
            self.dead_letter(context, DeadLetterReason::TooDeep, detail, bytes);
            return;
        }
        let mut context = Context { wrappers: context.wrappers + 1, closed: false, ..context };
        let is_whole = fault.is_none();
        if let Some((reason, detail)) = fault {
            // What could be read of it may hold events all the same.
            self.dead_letter(context, reason, detail, bytes);
            context.silent = true;
        }
        for part in parts.iter().filter(|part| is_whole || !part.is_empty()) {
            self.accounted(context, part, |work| work.payload(part, context));
        }
    }

    fn plain(&mut self, bytes: &[u8], context: Context<'_>) {
        match simdutf8::compat::from_utf8(bytes) {
            Ok(text) => self.text(text, context),
            Err(error) => {
                if let Some(joined) = self.joined(bytes, context) {
                    return self.plain(&joined, context);
                }
                let detail = format!("at byte {}", error.valid_up_to());
                self.dead_letter(context, DeadLetterReason::InvalidUtf8, detail, bytes);
                let text: Cow<'_, str> = String::from_utf8_lossy(bytes);
                self.text(&text, Context { silent: true, ..context });
            }
        }
    }

    fn text(&mut self, text: &str, context: Context<'_>) {
        match self.joined(text.as_bytes(), context) {
            Some(joined) => self.plain(&joined, context),
            None => Pass::run(self, context, text),
        }
    }

    /// Lines of a container runtime whose parts are put together, if some belong together.
    #[inline]
    fn joined(&mut self, bytes: &[u8], context: Context<'_>) -> Option<Vec<u8>> {
        if !cri::may_have_parts(bytes) || bytes.len() > self.bytes_left {
            return None;
        }
        let joined = cri::joined(bytes)?;
        self.bytes_left = self.bytes_left.saturating_sub(joined.len());
        self.step(context, || "parts of lines of a container runtime, put together:".to_owned());
        Some(joined)
    }

    /// Events that stand as they are amid something that is not read, and is a dead letter.
    fn events_within(&mut self, text: &str, context: Context<'_>) {
        let context = Context { silent: true, ..context };
        let starts: Vec<usize> =
            memchr::memmem::find_iter(text.as_bytes(), promise::AUDIT_EVENT).collect();
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        // In an event that was written in such a format itself clients choose texts, which have no escapes there.
        let before = starts.first().and_then(|first| text.get(..*first)).unwrap_or("");
        if clients::is_of_event(before) {
            return;
        }
        for (start, end) in starts.iter().zip(ends) {
            self.text(text.get(*start..end).unwrap_or(""), context);
        }
        if starts.is_empty() && is_promising(text) {
            self.text(text, context);
        }
    }

    /// What was found in an envelope.
    fn found(&mut self, found: &Found<'_>, outer: Context<'_>) {
        let context = Context {
            // What the operator configured is right; an envelope only knows what it was told.
            cluster: outer.cluster.or(found.around.cluster.as_deref()),
            time: found.around.time.or(outer.time),
            wrappers: outer.wrappers + 1,
            closed: false,
            is_part: outer.is_part || found.around.is_part,
            ..outer
        };
        self.step(outer, || match found.place.as_str() {
            "" => "in it:".to_owned(),
            place => format!("under {place}:"),
        });
        match &found.content {
            Content::Control(message) => self.control(context, *message),
            Content::Nothing(entry) => {
                let detail = "an entry without an audit event".to_owned();
                let reason = DeadLetterReason::NotAnEvent;
                self.dead_letter(context, reason, detail, entry.as_bytes());
            }
            Content::OfErrorStream(line) => {
                let reason = DeadLetterReason::NotAnEvent;
                self.dead_letter(context, reason, OF_ERROR_STREAM.to_owned(), line.as_bytes());
            }
            Content::TooMuch(document) => {
                let detail = "more values than are looked at; the rest was not".to_owned();
                let reason = DeadLetterReason::TooManyEvents;
                self.dead_letter(context, reason, detail, document.as_bytes());
            }
            Content::Text(text) => {
                self.accounted(context, text.as_bytes(), |work| match text.as_bytes() {
                    [b'{' | b'[', ..] => work.text(text, context),
                    bytes => work.payload(bytes, context),
                });
            }
            Content::Bytes(bytes) => {
                self.accounted(context, bytes, |work| work.payload(bytes, context));
            }
        }
    }
}

#[cfg(test)]
mod tests;
