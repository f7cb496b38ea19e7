//! From bytes to events: one pass that extracts only what rules need.
//!
//! A record holds one audit `Event`, an `EventList`, several of either on lines of their own, or any
//! of these in the wrapper of a shipper. What cannot be decoded becomes a dead letter with a reason;
//! what is odd but can be decoded (bytes that are not UTF-8, nesting too deep for us, an event too
//! large to be real) becomes a dead letter *and* is shown to the rules as far as it goes: whoever may
//! send a patch with such a body must not be able to hide it. Whether an event matters is decided
//! elsewhere.

mod projection;
mod scan;

use std::borrow::Cow;

use projection::{NodeId, Projection, next_item, next_member};
use scan::{Fault, Scanner};

use super::{
    dead_letter::DeadLetterReason,
    event::{Event, FieldTable, Stage, well_known},
    limits,
    time::EventTime,
    value::Value,
};

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
    /// An event whose memory is reused.
    spare: Option<Event<'static>>,
}

/// What CloudWatch puts where it cuts a long line.
const CUT_MARK: &str = "[Truncated...]";

/// What is known about the text being decoded.
#[derive(Clone, Copy, Debug)]
struct Context<'a> {
    /// Cluster that the source or a wrapper names.
    cluster: Option<&'a str>,
    /// The record is a dead letter already: further ones would only repeat that.
    silent: bool,
}

impl Decoder {
    pub(super) fn new(fields: &FieldTable) -> Decoder {
        Decoder { projection: Projection::new(fields), spare: None }
    }

    /// Decodes one record. Everything in it goes to `sink`, in its order.
    pub(super) fn decode(&mut self, payload: &[u8], cluster: Option<&str>, sink: &mut impl Sink) {
        if payload.len() > limits::RECORD_BYTES_MAX {
            let detail = format!("{} bytes", payload.len());
            sink.dead_letter(DeadLetterReason::TooLarge, detail, payload);
            return;
        }
        match str::from_utf8(payload) {
            Ok(text) => self.text(text, Context { cluster, silent: false }, sink),
            Err(error) => {
                let detail = format!("at byte {}", error.valid_up_to());
                sink.dead_letter(DeadLetterReason::InvalidUtf8, detail, payload);
                let text = String::from_utf8_lossy(payload);
                self.text(&text, Context { cluster, silent: true }, sink);
            }
        }
    }

    fn text<'a>(&mut self, text: &'a str, context: Context<'a>, sink: &mut impl Sink) {
        let event = match self.spare.take() {
            Some(event) => event.recycle(),
            None => Event::new(self.projection.field_count()),
        };
        let mut pass = Pass {
            projection: &self.projection,
            event,
            context,
            items_left: limits::EVENTS_PER_RECORD_MAX,
            part_start: 0,
            sink,
        };
        pass.text(text);
        self.spare = Some(pass.event.recycle());
    }
}

/// A text being decoded.
struct Pass<'p, 'a, S> {
    projection: &'p Projection,
    event: Event<'a>,
    context: Context<'a>,
    /// Documents and items that may still be read.
    items_left: usize,
    /// Where the part of the text begins of which nothing was handed on yet.
    part_start: usize,
    sink: &'p mut S,
}

/// Why the rest of a text is not read.
enum Stop {
    Fault(Fault),
    TooManyEvents,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl<'a, S: Sink> Pass<'_, 'a, S> {
    /// Documents one after another: one, or JSON lines.
    fn text(&mut self, text: &'a str) {
        let mut scanner = Scanner::new(text);
        if scanner.token() == 0 && scanner.at() == text.len() {
            self.dead_letter(DeadLetterReason::Empty, "nothing but white space", text);
            return;
        }
        while scanner.token() != 0 || scanner.at() < text.len() {
            match self.document(&mut scanner) {
                Ok(()) => {}
                Err(Stop::TooManyEvents) => {
                    let rest = text.get(scanner.at()..).unwrap_or("");
                    let detail = "the rest was not read";
                    self.dead_letter(DeadLetterReason::TooManyEvents, detail, rest);
                    return;
                }
                Err(Stop::Fault(fault)) => {
                    // A broken line does not spoil the next one.
                    let at = scanner.at();
                    let broken = text.get(at..).unwrap_or("");
                    let end = broken.find("\n{").map_or(text.len(), |end| at + end + 1);
                    let part = text.get(self.part_start..end).unwrap_or("");
                    self.fault(fault, &scanner, part);
                    scanner.move_to(end);
                }
            }
        }
    }

    /// Counts one more document or item.
    fn count_item(&mut self) -> Result<(), Stop> {
        self.items_left = self.items_left.checked_sub(1).ok_or(Stop::TooManyEvents)?;
        Ok(())
    }

    fn document(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Stop> {
        self.count_item()?;
        self.part_start = scanner.at();
        scanner.too_deep = false;
        match scanner.token() {
            b'{' => self.object(scanner, false),
            b'[' => self.list(scanner),
            _ => {
                scanner.skip_value(0)?;
                let text = scanner.since(self.part_start);
                self.dead_letter(DeadLetterReason::NotAnEvent, "a value without fields", text);
                Ok(())
            }
        }
    }

    /// Items of an EventList, or an array of events. The `[` was peeked at.
    fn list(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Stop> {
        // Its items count, it does not.
        self.items_left += 1;
        scanner.bump();
        if scanner.token() == b']' {
            scanner.bump();
            return Ok(());
        }
        loop {
            let byte = scanner.token();
            let start = scanner.at();
            self.count_item()?;
            if byte == b'{' {
                self.object(scanner, true)?;
            } else {
                scanner.too_deep = false;
                scanner.skip_value(1)?;
                self.item_without_fields(scanner.since(start), scanner.too_deep);
            }
            if !next_item(scanner)? {
                scanner.bump();
                return Ok(());
            }
            self.part_start = scanner.at();
        }
    }

    fn item_without_fields(&mut self, text: &str, too_deep: bool) {
        let reason =
            if too_deep { DeadLetterReason::TooDeep } else { DeadLetterReason::NotAnEvent };
        self.dead_letter(reason, "an item without fields", text);
    }

    /// An event, a list of them, or a wrapper. The `{` was peeked at.
    fn object(&mut self, scanner: &mut Scanner<'a>, in_list: bool) -> Result<(), Stop> {
        self.event.clear();
        scanner.too_deep = false;
        let start = scanner.at();
        let mut is_list = false;
        scanner.bump();
        let mut more = scanner.token() != b'}';
        while more {
            let key = scanner.key()?;
            if key.text == "items"
                && scanner.token() == b'['
                && !in_list
                && !self.event.has(well_known::AUDIT_ID)
            {
                is_list = true;
                self.list(scanner)?;
            } else if let Some(child) = self.projection.child(NodeId::ROOT, key) {
                self.projection.value(scanner, &mut self.event, child, 1)?;
            } else {
                scanner.skip_value(1)?;
            }
            more = next_member(scanner)?;
        }
        scanner.bump();
        if !is_list {
            self.finish(scanner.since(start), scanner.too_deep);
        }
        Ok(())
    }

    /// Checks what was extracted from one object, and hands it on.
    fn finish(&mut self, text: &'a str, too_deep: bool) {
        self.event.json = text;
        match self.check() {
            Ok(()) => {
                if too_deep {
                    let detail = "nested too deep; matched as far as it goes";
                    self.dead_letter(DeadLetterReason::TooDeep, detail, text);
                } else if text.len() > limits::EVENT_BYTES_MAX {
                    let detail = "an event too large to be real; matched all the same";
                    self.dead_letter(DeadLetterReason::TooLarge, detail, text);
                }
                self.sink.event(&mut self.event);
            }
            Err(_) if too_deep => {
                self.dead_letter(DeadLetterReason::TooDeep, "nested too deep", text);
            }
            Err((reason, detail)) => self.dead_letter(reason, detail, text),
        }
    }

    /// What the engine itself needs: identity, stage, time, and text where it expects text.
    fn check(&mut self) -> Result<(), (DeadLetterReason, &'static str)> {
        use DeadLetterReason::{NoAuditId, NoStage, NoTime, NotAnEvent, WrongType};
        let event = &mut self.event;
        for (field, detail) in [
            (well_known::AUDIT_ID, "auditID is not a string"),
            (well_known::STAGE, "stage is not a string"),
            (well_known::VERB, "verb is not a string"),
            (well_known::REQUEST_URI, "requestURI is not a string"),
            (well_known::USERNAME, "user.username is not a string"),
            (well_known::RECEIVED, "requestReceivedTimestamp is not a string"),
            (well_known::STAGE_TIME, "stageTimestamp is not a string"),
        ] {
            if !matches!(event.first(field), None | Some(Value::Str(_) | Value::Null)) {
                return Err((WrongType, detail));
            }
        }
        if !matches!(
            event.first(well_known::RESPONSE_CODE),
            None | Some(Value::Int(_) | Value::Null)
        ) {
            return Err((WrongType, "responseStatus.code is not an integer"));
        }
        let audit_id = event.first_str(well_known::AUDIT_ID).unwrap_or("");
        let stage = event.first_str(well_known::STAGE);
        if audit_id.is_empty() {
            let audit = event
                .first_str(self.projection.api_version())
                .is_some_and(|version| version.starts_with("audit.k8s.io/"));
            if audit || stage.and_then(Stage::parse).is_some() {
                return Err((NoAuditId, "auditID is missing or empty"));
            }
            return Err((NotAnEvent, "neither an audit event nor a wrapper of one"));
        }
        event.stage = match stage.map(Stage::parse) {
            Some(Some(stage)) => stage,
            Some(None) => return Err((NoStage, "a stage that does not exist")),
            None => return Err((NoStage, "stage is missing")),
        };
        let [timestamp, created] = self.projection.legacy_times();
        event.time = [well_known::STAGE_TIME, well_known::RECEIVED, timestamp, created]
            .into_iter()
            .find_map(|field| event.first_str(field).and_then(EventTime::parse))
            .ok_or((NoTime, "no time that can be read"))?;
        if let Some(cluster) = self.context.cluster {
            event.push(well_known::CLUSTER, Value::Str(Cow::Borrowed(cluster)));
        } else if let Some(value @ Value::Str(_)) = event.first(self.projection.cluster()).cloned()
        {
            event.push(well_known::CLUSTER, value);
        }
        Ok(())
    }

    fn fault(&mut self, fault: Fault, scanner: &Scanner<'_>, text: &str) {
        let reason = if scanner.too_deep {
            DeadLetterReason::TooDeep
        } else if fault == Fault::Truncated || text.trim_end().ends_with(CUT_MARK) {
            DeadLetterReason::Truncated
        } else {
            DeadLetterReason::NotJson
        };
        let detail = format!("{}, at byte {}", fault.describe(), scanner.at());
        self.dead_letter(reason, &detail, text);
    }

    fn dead_letter(&mut self, reason: DeadLetterReason, detail: &str, text: &str) {
        if !self.context.silent {
            self.sink.dead_letter(reason, detail.to_owned(), text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
