//! One pass over a text: documents, lists and their items, and what each comes to.

use std::{borrow::Cow, ops::Range};

use super::{
    Context, OF_ERROR_STREAM, REST_NOT_READ, Sink, Work, bytes, check, cri,
    cut::{self, FILLERS},
    envelope, foreign,
    json::Json,
    lead, patch,
    projection::{NodeId, Projection, next_item, next_member},
    promise::is_promising,
    retyped::retyped,
    scan::{Fault, Scanner},
    search::{self, Members, Search},
    straight,
};
use crate::engine::{
    dead_letter::{ControlMessage, DeadLetterReason},
    event::{Event, Stage, well_known},
    limits,
    value::{Value, unescape},
};

/// A text being decoded.
pub(super) struct Pass<'w, 'p, 'a, S> {
    work: &'w mut Work<'p, S>,
    text: &'a str,
    event: Event<'a>,
    context: Context<'a>,
    /// Where the part of the text begins of which nothing was handed on yet.
    part_start: usize,
    /// Where the object begins that is being read, unless a list in it was.
    open: Option<usize>,
    /// The end of the line up to which a dead letter says all that is to be said.
    told_until: usize,
    /// A part of a line, up to its end: that of a long one is looked for once.
    line: Range<usize>,
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

/// What may stand at the end of a line behind an event, of the text around it.
const CLOSERS: [char; 5] = [',', ';', '\'', '"', ')'];

impl<'w, 'p, 'a, S: Sink> Pass<'w, 'p, 'a, S> {
    /// Decodes a text. Everything in it goes to the sink.
    pub(super) fn run(work: &'w mut Work<'p, S>, context: Context<'a>, text: &'a str) {
        let event = spare(work);
        let mut pass = Pass {
            work,
            text,
            event,
            context,
            part_start: 0,
            open: None,
            told_until: 0,
            line: 0..0,
        };
        pass.documents();
        let event = pass.event.recycle();
        pass.work.spare.push(event);
    }

    /// Documents one after another: one, or JSON lines.
    fn documents(&mut self) {
        let text = self.text;
        let mut scanner = Scanner::new(text);
        self.skip_fillers(&mut scanner);
        if scanner.at() == text.len() {
            let (reason, detail) = match text.trim() {
                "" => (DeadLetterReason::Empty, "nothing but white space"),
                _ => (DeadLetterReason::NotJson, "nothing but zeros or marks"),
            };
            self.dead_letter(reason, detail, text);
            return;
        }
        while scanner.at() < text.len() {
            self.part_start = scanner.at();
            let before = self.work.outcomes;
            let is_told = self.part_start < self.told_until;
            let events = self.work.events;
            let outer = self.context;
            // A line makes one dead letter at most.
            self.context.silent |= is_told;
            let result = self.document(&mut scanner);
            match result {
                Ok(()) => {}
                Err(Stop::TooManyEvents) => {
                    let rest = text.get(scanner.at()..).unwrap_or("");
                    self.dead_letter(DeadLetterReason::TooManyEvents, REST_NOT_READ, rest);
                    return;
                }
                // A broken line does not spoil the next one.
                Err(Stop::Fault(fault)) => self.broken(fault, &mut scanner),
            }
            self.context = outer;
            if self.work.events > events {
                self.skip_closers(&mut scanner);
            }
            if self.work.outcomes - before > self.work.events - events {
                self.told_until = self.line_end(scanner.at().saturating_sub(1));
            }
            self.skip_fillers(&mut scanner);
        }
    }

    #[inline]
    fn skip_fillers(&self, scanner: &mut Scanner<'a>) {
        while !matches!(scanner.token(), b'{' | b'[') && scanner.at() < self.text.len() {
            let rest = self.text.get(scanner.at()..).unwrap_or("");
            let behind = rest.trim_start_matches(FILLERS);
            if behind.len() == rest.len() {
                return;
            }
            scanner.move_to(self.text.len() - behind.len());
        }
    }

    /// Passes over what closes the text around an event: `',`, `");`.
    #[inline]
    fn skip_closers(&self, scanner: &mut Scanner<'a>) {
        let rest = self.text.get(scanner.at()..).unwrap_or("");
        if rest.starts_with(CLOSERS) {
            let rest = rest.trim_start_matches(CLOSERS);
            let rest = rest.trim_start_matches([' ', '\t', '\r']);
            if rest.is_empty() || rest.starts_with('\n') {
                scanner.move_to(self.text.len() - rest.len());
            }
        }
    }

    /// Counts one more document or item.
    fn count_item(&mut self) -> Result<(), Stop> {
        self.work.items_left = self.work.items_left.checked_sub(1).ok_or(Stop::TooManyEvents)?;
        Ok(())
    }

    fn document(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Stop> {
        self.count_item()?;
        scanner.too_deep = false;
        match scanner.peek() {
            // Text in front of an event may begin with a bracket, too.
            b'{' if scanner.follows(1, b"\"")
                || lead::begins_json(self.text.get(scanner.at()..).unwrap_or("")) =>
            {
                self.object(scanner, 0)
            }
            b'[' if lead::begins_json(self.text.get(scanner.at()..).unwrap_or("")) => {
                self.list(scanner, 0)
            }
            _ => self.line(scanner),
        }
    }

    /// A line that does not begin like an event: text in front of one, a value without fields, or neither.
    fn line(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Stop> {
        let (text, start) = (self.text, scanner.at());
        let end = self.line_end(start);
        let line = text.get(start..end).unwrap_or("");
        if scanner.peek() == b'"' {
            let raw = scanner.string()?;
            self.string(raw.text, scanner.since(start));
            return Ok(());
        }
        let of_runtime = cri::read(line.as_bytes());
        if of_runtime.is_some_and(|part| part.is_error && is_promising(part.text())) {
            self.dead_letter(DeadLetterReason::NotAnEvent, OF_ERROR_STREAM, line);
            scanner.move_to(end);
            return Ok(());
        }
        if let Some(part) = of_runtime.filter(|part| part.is_part || part.is_rest())
            && self.part(line, part)
        {
            scanner.move_to(end);
            return Ok(());
        }
        if let Some(start) = lead::find_spread(line, text.get(end + 1..).unwrap_or("")) {
            // The rest of it stands on the lines that follow.
            scanner.move_to(scanner.at() + start);
            return self.object(scanner, 0);
        }
        if let Some(led) = lead::find(line) {
            self.work.step(self.context, || format!("behind `{}`", shortened(led.lead)));
            let context = Context { time: led.time().or(self.context.time), ..self.context };
            self.work.accounted(context, line.as_bytes(), |work| work.text(&led.content, context));
            scanner.move_to(end);
            return Ok(());
        }
        if scanner.peek() == b'[' {
            return if self.numbers(scanner)? { Ok(()) } else { self.list(scanner, 0) };
        }
        if let Err(fault) = scanner.skip_value(0) {
            // What is on the next line is no part of it.
            scanner.move_to(scanner.at().min(end));
            return Err(Stop::Fault(fault));
        }
        if !text.get(scanner.at()..end).unwrap_or("").trim().is_empty() {
            // Text that begins with a number or a word of JSON.
            return Err(Stop::Fault(Fault::Token));
        }
        let value = scanner.since(start);
        self.dead_letter(DeadLetterReason::NotAnEvent, "a value without fields", value);
        Ok(())
    }

    /// A part of a line that a container runtime split, without the others. False: it is read as any other line.
    fn part(&mut self, line: &str, part: cri::Line<'_>) -> bool {
        let (content, lead) = (part.text(), part.lead());
        let promises = is_promising(content);
        if promises && !part.is_part {
            return false;
        }
        self.dead_letter(DeadLetterReason::PartOfLine, cri::ALONE, line);
        if promises {
            let content = Cow::Borrowed(content);
            let led = lead::Led { content, lead };
            let time = led.time().or(self.context.time);
            let context = Context { time, silent: true, ..self.context };
            self.work.text(&led.content, context);
        }
        true
    }

    /// A list of numbers: the bytes of a text, or nothing. False: it is none, and was not read.
    fn numbers(&mut self, scanner: &mut Scanner<'a>) -> Result<bool, Stop> {
        let start = scanner.at();
        let inner = self.text.get(start + 1..).unwrap_or("").trim_ascii_start();
        if !inner.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return Ok(false);
        }
        scanner.skip_value(0)?;
        let value = scanner.since(start);
        let list = Json::new(value);
        if list.items().any(|item| item.is_string() || item.number().is_none()) {
            scanner.move_to(start);
            return Ok(false);
        }
        let is_inside = self.context.wrappers < limits::WRAPPERS_MAX;
        let bytes = search::bytes_of(list, self.work.bytes_left).filter(|_| is_inside);
        let Some(bytes) = bytes else {
            let detail = "a list of numbers, which are not the bytes of an event";
            self.dead_letter(DeadLetterReason::NotAnEvent, detail, value);
            return Ok(true);
        };
        self.work.bytes_left -= bytes.len();
        self.work.step(self.context, || format!("a list of {} bytes", bytes.len()));
        let wrappers = self.context.wrappers + 1;
        let context = Context { wrappers, closed: false, ..self.context };
        self.work.accounted(context, &bytes, |work| work.payload(&bytes, context));
        Ok(true)
    }

    /// A string of JSON, which may hold an event.
    fn string(&mut self, raw: &'a str, quoted: &'a str) {
        let may_hold = is_promising(raw) || bytes::begins_base64(raw.as_bytes());
        if !may_hold
            || self.context.wrappers >= limits::WRAPPERS_MAX
            || raw.len() > self.work.bytes_left
        {
            let detail = "a value without fields";
            self.dead_letter(DeadLetterReason::NotAnEvent, detail, quoted);
            return;
        }
        let mut text = String::with_capacity(raw.len());
        unescape(raw, &mut text);
        self.work.bytes_left -= raw.len().min(self.work.bytes_left);
        self.work.step(self.context, || "a string of JSON".to_owned());
        let wrappers = self.context.wrappers + 1;
        let context = Context { wrappers, closed: false, ..self.context };
        self.work
            .accounted(context, text.as_bytes(), |work| work.payload(text.as_bytes(), context));
    }

    /// Items of an EventList, or an array of events. The `[` was peeked at. `depth` counts the lists
    /// around it.
    fn list(&mut self, scanner: &mut Scanner<'a>, depth: usize) -> Result<(), Stop> {
        // Its items count, it does not.
        self.work.items_left += 1;
        let start = scanner.at();
        scanner.bump();
        if scanner.token() == b']' {
            scanner.bump();
            self.work.step(self.context, || "an empty list".to_owned());
            self.work.control(self.context, ControlMessage::Empty);
            return Ok(());
        }
        let mut count = 0_usize;
        loop {
            let byte = scanner.token();
            let item = scanner.at();
            self.count_item()?;
            count += 1;
            match byte {
                b'{' => self.object(scanner, depth + 1)?,
                b'[' if depth < limits::LISTS_MAX && self.holds_objects(scanner) => {
                    self.list(scanner, depth + 1)?;
                }
                b'"' => {
                    let raw = scanner.string()?;
                    self.string(raw.text, scanner.since(item));
                }
                _ => {
                    scanner.too_deep = false;
                    scanner.skip_value(1)?;
                    self.other_item(scanner.since(item), scanner.too_deep);
                }
            }
            if !next_item(scanner)? {
                scanner.bump();
                self.work.step(self.context, || {
                    format!("a list of {count}, {} bytes", scanner.at() - start)
                });
                return Ok(());
            }
            self.part_start = scanner.at();
        }
    }

    /// Whether an array that begins here begins with an object, within however many arrays.
    fn holds_objects(&self, scanner: &Scanner<'a>) -> bool {
        let inner = self.text.get(scanner.at()..).unwrap_or("");
        let is_around = |c: char| c == '[' || c.is_ascii_whitespace();
        inner.trim_start_matches(is_around).starts_with(['{', ']'])
    }

    /// An item that is neither an event nor a list of them: perhaps an entry of a log, a time and a line.
    fn other_item(&mut self, text: &'a str, too_deep: bool) {
        if text.starts_with('[') && is_promising(text) && self.unwrap(text) {
            return;
        }
        let reason =
            if too_deep { DeadLetterReason::TooDeep } else { DeadLetterReason::NotAnEvent };
        self.dead_letter(reason, "an item without fields", text);
    }

    /// An event, a list of them, or an envelope. The `{` was peeked at. `depth` counts the lists around
    /// it.
    fn object(&mut self, scanner: &mut Scanner<'a>, depth: usize) -> Result<(), Stop> {
        self.event.clear();
        scanner.too_deep = false;
        let start = scanner.at();
        if self.work.sink.looks_first() && self.straight(scanner) {
            return Ok(());
        }
        self.open = Some(start);
        let mut list = None;
        scanner.bump();
        let mut more = scanner.token() != b'}';
        let mut next = 0;
        let projection = self.work.projection;
        while more {
            let child = if let Some(child) = projection.usual_key(NodeId::ROOT, &mut next, scanner)
            {
                child
            } else {
                let key = scanner.key()?;
                if key.text == "items" && scanner.token() == b'[' && depth <= limits::LISTS_MAX {
                    let from = scanner.at();
                    self.items(scanner, depth)?;
                    list = Some(from - start..scanner.at() - start);
                    more = next_member(scanner)?;
                    continue;
                }
                projection.child(NodeId::ROOT, key)
            };
            match child {
                Some(child) => {
                    let from = scanner.at();
                    projection.value(scanner, &mut self.event, child, 1)?;
                    if let Some(root) = projection.changed_by(child, &self.event) {
                        let body = scanner.since(from);
                        patch::extract(projection, body, &mut self.event, root);
                    }
                }
                None => scanner.skip_value(1)?,
            }
            more = next_member(scanner)?;
        }
        scanner.bump();
        self.open = None;
        self.finish(scanner.since(start), scanner.too_deep, list);
        Ok(())
    }

    /// Reads an event that is as an API server writes it, and hands it on; of parts of it only as much as is
    /// wanted. False: it is read as any other, and nothing of it is left.
    #[inline]
    fn straight(&mut self, scanner: &mut Scanner<'a>) -> bool {
        let (start, projection) = (scanner.at(), self.work.projection);
        let memory = std::mem::take(self.work.closings);
        let found = straight::read(self.text, start, projection, &mut self.event, memory);
        let Some(mut found) = found.filter(|found| self.is_event(start..found.end)) else {
            self.event.clear();
            return false;
        };
        let end = found.end;
        if !self.work.settles(&mut self.event, found.passed) {
            found.complete(projection, &mut self.event);
            if self.event.has_replaced() {
                // It is read in two ways, of which nothing may be derived yet.
                self.event.clear();
                return false;
            }
            self.work.event(&mut self.event);
        }
        *self.work.closings = found.closings;
        scanner.move_to(end);
        self.open = None;
        true
    }

    /// Whether what was read is an event, and written as the API server does it: what may be bent is looked at as a whole.
    fn is_event(&mut self, range: Range<usize>) -> bool {
        self.event.json = self.text.get(range).unwrap_or("");
        check::check_usual(&mut self.event, self.work.projection, self.context)
            && !is_bent(&self.event, self.work.projection)
    }

    /// The items of a list within an object. What was read of the object is kept meanwhile: it may be an
    /// event itself.
    fn items(&mut self, scanner: &mut Scanner<'a>, depth: usize) -> Result<(), Stop> {
        let fresh = spare(self.work);
        let outer = std::mem::replace(&mut self.event, fresh);
        self.open = None;
        let result = if scanner.is_empty_array() {
            scanner.skip_value(1).map_err(Stop::from)
        } else {
            self.list(scanner, depth)
        };
        let used = std::mem::replace(&mut self.event, outer);
        self.work.spare.push(used.recycle());
        self.open = None;
        result
    }

    /// Checks what was extracted from one object, and hands it on. `list`: where in it the items of a list
    /// are, which were handed on.
    fn finish(&mut self, text: &'a str, too_deep: bool, list: Option<Range<usize>>) {
        self.event.json = text;
        match check::check(&mut self.event, self.work.projection, self.context) {
            Ok(()) => {
                if too_deep {
                    let detail = "nested deeper than anything real; matched all the same";
                    self.dead_letter(DeadLetterReason::TooDeep, detail, text);
                } else if text.len() > limits::EVENT_BYTES_MAX {
                    let detail = "an event too large to be real; matched all the same";
                    self.dead_letter(DeadLetterReason::TooLarge, detail, text);
                }
                if is_bent(&self.event, self.work.projection) && self.unbend(text) {
                    return;
                }
                self.tell_event();
                self.work.event(&mut self.event);
            }
            Err((reason, detail)) => match list {
                Some(list) => self.list_object(text, list),
                None if self.unbend(text) || self.unwrap(text) => {}
                None if too_deep => {
                    self.dead_letter(DeadLetterReason::TooDeep, "nested too deep", text);
                }
                None => self.dead_letter(reason, detail, text),
            },
        }
    }

    /// Decodes an event that something has bent on its way, as it was before. False: nothing has.
    #[cold]
    fn unbend(&mut self, text: &'a str) -> bool {
        if self.context.wrappers >= limits::WRAPPERS_MAX || text.len() > self.work.bytes_left {
            return false;
        }
        let document = Json::new(text);
        let event = search::joined_by_underscores(document).or_else(|| retyped(document));
        let Some(event) = event else { return false };
        self.work.bytes_left -= text.len();
        self.work.step(self.context, || "an event that was written in another way".to_owned());
        let wrappers = self.context.wrappers + 1;
        let context = Context { wrappers, closed: false, ..self.context };
        self.work.text(&event, context);
        true
    }

    fn tell_event(&mut self) {
        let Pass { work, context, event, .. } = self;
        work.step(*context, || {
            let id = event.first_str(well_known::AUDIT_ID).unwrap_or("");
            let mut told = format!("an event: {} of {id} at {}", event.stage.as_str(), event.time);
            if event.is_cut {
                told.push_str(", cut off");
            }
            for path in event.unread.paths() {
                told.push_str(&format!(", {path} says nothing clear"));
            }
            told
        });
    }

    /// An object around a list: nothing more than that, unless an event stands beside the list.
    fn list_object(&mut self, text: &'a str, list: Range<usize>) {
        let items = text.get(list.clone()).unwrap_or("");
        let is_empty = Json::new(items).is_empty();
        let (before, after) =
            (text.get(..list.start).unwrap_or(""), text.get(list.end..).unwrap_or(""));
        if is_promising(before) || is_promising(after) {
            if is_empty {
                if !self.unwrap(text) {
                    self.work.control(self.context, ControlMessage::Empty);
                }
                return;
            }
            let rest = format!("{before}[]{after}");
            self.work.text(&rest, self.context);
        } else if is_empty {
            self.work.step(self.context, || "an empty list".to_owned());
            self.work.control(self.context, ControlMessage::Empty);
        }
    }

    /// Decodes what is inside of an object. False: nothing is.
    fn unwrap(&mut self, text: &'a str) -> bool {
        if self.context.wrappers >= limits::WRAPPERS_MAX {
            return false;
        }
        let document = Json::new(text);
        let traces = self.work.sink.wants_steps();
        let search = Search::run(document, self.work.bytes_left, traces);
        self.work.bytes_left = search.bytes_left();
        if search.found.is_empty() {
            return false;
        }
        self.work.step(self.context, || match envelope::name_of(&Members::of(document)) {
            Some(name) => format!("an envelope: {name}"),
            None => "an envelope of no known kind".to_owned(),
        });
        for found in &search.found {
            if self.work.items_left == 0 {
                self.dead_letter(DeadLetterReason::TooManyEvents, REST_NOT_READ, text);
                break;
            }
            self.work.found(found, self.context);
        }
        true
    }

    /// A document that is no JSON: what stands before a cut is decoded, the rest is a dead letter.
    fn broken(&mut self, fault: Fault, scanner: &mut Scanner<'a>) {
        let (text, mut at) = (self.text, scanner.at());
        let before = text.get(..at).unwrap_or("").trim_end_matches(FILLERS);
        let behind = text.get(at..).unwrap_or("").trim_start_matches(FILLERS);
        let has_fillers = behind.len() < text.len() - at;
        if before.ends_with('\n') && (has_fillers || behind.starts_with('{')) {
            // What was cut between two members is looked for on the next line, which is no part of it.
            at = before.len() - 1;
        }
        // Whoever could not write a line to its end, since the disk was full, goes on behind it.
        let bytes_left = &mut self.work.again_bytes_left;
        let torn = self.open.and_then(|open| cut::torn(text, open, at, bytes_left));
        at = torn.map_or(at, |torn| torn.end.min(at));
        let line_end = torn.map_or_else(|| self.line_end(at), |torn| torn.end);
        let end = torn.map_or_else(|| fresh_start(text, line_end), |torn| torn.next);
        let part = text.get(self.part_start..end).unwrap_or("");
        let line = text.get(..line_end).unwrap_or("");
        let mark = cut::mark_in(line).filter(|mark| *mark > self.part_start);
        let is_cut = torn.is_some()
            || mark.is_some()
            || cut::is_cut(fault, text.get(at..line_end).unwrap_or(""));
        let open = self.open.take().filter(|_| is_cut);
        let before = open.and_then(|open| text.get(open..mark.unwrap_or(line.trim_end().len())));
        let known = foreign::text(part).filter(|_| !is_cut);
        let detail = if before.is_some_and(|before| self.closed(before)) {
            if self.context.is_part {
                cri::ALONE.to_owned()
            } else {
                format!("cut off at byte {at}; what stands before was matched")
            }
        } else if let Some(name) = known {
            bytes::not_read(name)
        } else {
            format!("{}, at byte {at}", fault.describe())
        };
        let reason = match (is_cut, scanner.too_deep) {
            (_, true) => DeadLetterReason::TooDeep,
            (true, false) if self.context.is_part => DeadLetterReason::PartOfLine,
            (true, false) => DeadLetterReason::Truncated,
            (false, false) if known.is_some() => DeadLetterReason::OtherFormat,
            (false, false) => DeadLetterReason::NotJson,
        };
        self.dead_letter(reason, &detail, part);
        scanner.move_to(end);
    }

    /// Decodes what stands before a cut; whether an event came of it.
    fn closed(&mut self, before: &str) -> bool {
        if self.context.closed || before.len() > self.work.closing_bytes_left {
            return false;
        }
        let Some(text) = cut::repair(before) else { return false };
        self.work.closing_bytes_left = self.work.closing_bytes_left.saturating_sub(text.len());
        self.work.step(self.context, || "cut off; what stands before:".to_owned());
        let events = self.work.events;
        let context = Context { silent: true, marked: true, closed: true, ..self.context };
        self.work.text(&text, context);
        self.work.events > events
    }

    /// Where the line ends on which something stands.
    fn line_end(&mut self, at: usize) -> usize {
        if !self.line.contains(&at) {
            self.line = at..line_end(self.text, at);
        }
        self.line.end
    }

    fn dead_letter(&mut self, reason: DeadLetterReason, detail: &str, text: &str) {
        self.work.dead_letter(self.context, reason, detail.to_owned(), text.as_bytes());
    }
}

/// Whether something that is nearly always there is not, or not clear: it may be there in another form.
#[inline]
fn is_bent(event: &Event<'_>, projection: &Projection) -> bool {
    // A body that is a text: what stands in it is the body.
    let is_text =
        |body| matches!(event.first(body), Some(Value::Str(text)) if text.starts_with(['{', '[']));
    let is_object = |uri: &str| uri.starts_with("/api") && uri.matches('/').count() > 3;
    !event.has(well_known::USERNAME)
        || !event.unread.is_empty()
        || !event.has(well_known::RESPONSE_CODE) && event.stage != Stage::RequestReceived
        || !event.has(well_known::RESOURCE)
            && event.first_str(well_known::REQUEST_URI).is_some_and(is_object)
        || event.count(well_known::SOURCE_IPS) == 1
            && event.first_str(well_known::SOURCE_IPS).is_some_and(|ip| ip.contains([',', '[']))
        || projection.bodies().into_iter().any(is_text)
}

fn spare<'a, S>(work: &mut Work<'_, S>) -> Event<'a> {
    work.spare.pop().unwrap_or_else(|| Event::new(work.projection.field_count()))
}

/// Where the line ends on which something stands, before its line break.
fn line_end(text: &str, at: usize) -> usize {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    memchr::memchr(b'\n', rest).map_or(text.len(), |end| at + end)
}

/// The line on which something new begins, at the end of this line or later: what was broken may go over
/// many lines.
fn fresh_start(text: &str, line_end: usize) -> usize {
    let mut at = line_end;
    while at < text.len() {
        let start = at + 1;
        let end = self::line_end(text, start);
        let line = text.get(start..end).unwrap_or("").trim_start_matches(FILLERS);
        // Lines within a document begin with white space, a quote or a bracket that closes.
        let is_fresh = line.starts_with('{')
            || line
                .starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '<' | '[' | '@'))
                && (lead::find(line).is_some() || line.starts_with('[') && lead::begins_json(line));
        if is_fresh {
            return start;
        }
        at = end;
    }
    text.len()
}

/// The beginning of a text, for people.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or(""))),
        None => Cow::Borrowed(text),
    }
}
