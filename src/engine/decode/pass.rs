//! One pass over a text: documents, lists and their items, and what each comes to.

use std::borrow::Cow;

use super::{
    Context, DECODERS, Sink,
    json::Json,
    projection::{NodeId, Projection, next_item, next_member},
    scan::{Fault, Scanner},
    wrapper::Wrapped,
};
use crate::engine::{
    dead_letter::DeadLetterReason,
    event::{Event, Stage, well_known},
    limits,
    time::EventTime,
    value::Value,
};

/// What CloudWatch puts where it cuts a long line.
const CUT_MARK: &str = "[Truncated...]";

/// A text being decoded.
pub(super) struct Pass<'p, 'a, S> {
    projection: &'p Projection,
    spare: &'p mut Vec<Event<'static>>,
    event: Event<'a>,
    context: Context<'a>,
    /// Documents and items of the record that may still be read.
    items_left: &'p mut usize,
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

impl<'p, 'a, S: Sink> Pass<'p, 'a, S> {
    /// Decodes a text. Everything in it goes to `sink`.
    pub(super) fn run(
        projection: &'p Projection,
        spare: &'p mut Vec<Event<'static>>,
        context: Context<'a>,
        items_left: &'p mut usize,
        sink: &'p mut S,
        text: &'a str,
    ) {
        let event = spare.pop().unwrap_or_else(|| Event::new(projection.field_count()));
        let mut pass = Pass { projection, spare, event, context, items_left, part_start: 0, sink };
        pass.text(text);
        pass.spare.push(pass.event.recycle());
    }

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
        *self.items_left = self.items_left.checked_sub(1).ok_or(Stop::TooManyEvents)?;
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
        *self.items_left += 1;
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
        let mut next = 0;
        while more {
            let child =
                if let Some(child) = self.projection.usual_key(NodeId::ROOT, &mut next, scanner) {
                    child
                } else {
                    let key = scanner.key()?;
                    if key.text == "items"
                        && scanner.token() == b'['
                        && !in_list
                        && !self.event.has(well_known::AUDIT_ID)
                    {
                        is_list = true;
                        self.list(scanner)?;
                        more = next_member(scanner)?;
                        continue;
                    }
                    self.projection.child(NodeId::ROOT, key)
                };
            match child {
                Some(child) => {
                    self.projection.value(scanner, &mut self.event, child, 1)?;
                }
                None => scanner.skip_value(1)?,
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
            Err((DeadLetterReason::NotAnEvent, _)) if self.unwrap(text) => {}
            Err(_) if too_deep => {
                self.dead_letter(DeadLetterReason::TooDeep, "nested too deep", text);
            }
            Err((reason, detail)) => self.dead_letter(reason, detail, text),
        }
    }

    /// Decodes what a shipper wrapped. False: it is no wrapper that we know.
    fn unwrap(&mut self, text: &'a str) -> bool {
        if self.context.wrappers >= limits::WRAPPERS_MAX {
            return false;
        }
        let mut inside = Vec::new();
        let wrapper = Json::new(text);
        if !DECODERS.iter().any(|decoder| decoder.unwrap(wrapper, &mut inside)) {
            return false;
        }
        for Wrapped { content, cluster } in inside {
            if *self.items_left == 0 {
                let detail = "the rest was not read";
                self.dead_letter(DeadLetterReason::TooManyEvents, detail, text);
                break;
            }
            let context = Context {
                // What the operator configured is right; a wrapper only knows what it was told.
                cluster: self.context.cluster.or(cluster.as_deref()),
                wrappers: self.context.wrappers + 1,
                silent: self.context.silent,
            };
            Pass::run(self.projection, self.spare, context, self.items_left, self.sink, &content);
        }
        true
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
