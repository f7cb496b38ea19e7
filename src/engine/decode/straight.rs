//! A straight line through an event, as an API server writes it.
//!
//! Most events satisfy no rule, and their own few fields show that. So these are read first: each key is
//! looked for where Go writes it, ends of strings come from a bitmap of 64 bytes, and bodies are checked and
//! passed over. If some rule is left, what was passed over is read, too. Shippers may write the keys in another
//! order, which costs a comparison for each that is not where it was looked for. At any surprise (white space, a
//! key twice, one that is not here) nothing is said: the scanner stays the only judge of what an event is, and
//! of what is wrong with it.

use std::borrow::Cow;

use wide::u8x16;

use super::{
    patch,
    projection::{NodeId, Projection},
    scan::{Brackets, Closing, Closings, RawStr, Scanner, escape_length},
};
use crate::engine::{
    event::{Event, FieldId, Parts, well_known},
    limits::JSON_DEPTH_MAX,
    value::{Value, unescape},
};

/// Bytes of an event that is read in this way: 256 KiB. Of larger ones other bounds have to be kept.
const BYTES_MAX: usize = 256 << 10;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Straight<'a> {
    /// Where the event ends.
    pub(super) end: usize,
    /// Parts that it has and that were passed over.
    pub(super) passed: Parts,
    /// Brackets of what was passed over, by their places in the text.
    pub(super) closings: Closings,
    reason: Option<RawStr<'a>>,
    request: Option<Body<'a>>,
    response: Option<Body<'a>>,
}

/// A body that was passed over.
#[derive(Clone, Copy, Debug)]
struct Body<'a> {
    text: &'a str,
    /// Where it begins.
    start: usize,
}

impl<'a> Straight<'a> {
    /// Reads what was passed over into the event.
    pub(super) fn complete(&mut self, projection: &Projection, event: &mut Event<'a>) {
        if let (Some(reason), Some(node)) = (self.reason, projection.places().reason) {
            projection.put_text(reason, event, node);
        }
        let bodies = [self.request, self.response].into_iter().zip(projection.body_nodes());
        for (body, node) in bodies {
            let (Some(body), Some(node)) = (body, node) else { continue };
            let closings = std::mem::take(&mut self.closings);
            let mut scanner = Scanner::of_checked(body.text, body.start, closings);
            projection.put_own(&mut scanner, event, node);
            self.closings = scanner.into_closings();
            if let Some(root) = projection.changed_by(node, event) {
                patch::extract(projection, body.text, event, root);
            }
        }
        projection.settle(event);
    }
}

/// Reads the event that begins at `start`, if it is a usual one. All fields of it are in `event` then, but
/// those in parts that were passed over. `memory`: brackets of an event before, whose memory is used. Cost: a pass over
/// its bytes.
pub(super) fn read<'a>(
    text: &'a str,
    start: usize,
    projection: &Projection,
    event: &mut Event<'a>,
    mut memory: Closings,
) -> Option<Straight<'a>> {
    let places = projection.places();
    if !places.is_straight {
        return None;
    }
    memory.clear();
    let found = Straight { closings: memory, ..Straight::default() };
    let mut line =
        Line { text, at: start, block: usize::MAX, specials: 0, keys: 0, projection, found };
    line.event(event)?;
    line.found.end = line.at;
    (line.at - start <= BYTES_MAX).then_some(line.found)
}

/// Keys of an event, one bit each.
mod key {
    pub(super) const KIND: u32 = 1;
    pub(super) const API_VERSION: u32 = 1 << 1;
    pub(super) const LEVEL: u32 = 1 << 2;
    pub(super) const AUDIT_ID: u32 = 1 << 3;
    pub(super) const STAGE: u32 = 1 << 4;
    pub(super) const REQUEST_URI: u32 = 1 << 5;
    pub(super) const VERB: u32 = 1 << 6;
    pub(super) const USER: u32 = 1 << 7;
    pub(super) const SOURCE_IPS: u32 = 1 << 8;
    pub(super) const USER_AGENT: u32 = 1 << 9;
    pub(super) const OBJECT_REF: u32 = 1 << 10;
    pub(super) const RESPONSE_STATUS: u32 = 1 << 11;
    pub(super) const REQUEST: u32 = 1 << 12;
    pub(super) const RESPONSE: u32 = 1 << 13;
    pub(super) const RECEIVED: u32 = 1 << 14;
    pub(super) const STAGE_TIME: u32 = 1 << 15;
    pub(super) const ANNOTATIONS: u32 = 1 << 16;

    /// Those that every event has.
    pub(super) const NEEDED: u32 =
        LEVEL | AUDIT_ID | STAGE | REQUEST_URI | VERB | USER | RECEIVED | STAGE_TIME;
    /// In a list events have no kind of their own.
    pub(super) const OF_A_DOCUMENT: u32 = KIND | API_VERSION;
    /// How a body is read depends on what the request is.
    pub(super) const BODIES: u32 = REQUEST | RESPONSE;
}

/// A place in a text.
struct Line<'a, 'p> {
    text: &'a str,
    at: usize,
    /// The 64 bytes of which `specials` knows.
    block: usize,
    /// Quotes, backslashes and control characters, one bit each.
    specials: u64,
    /// Keys that were read.
    keys: u32,
    projection: &'p Projection,
    found: Straight<'a>,
}

impl<'a> Line<'a, '_> {
    fn event(&mut self, event: &mut Event<'a>) -> Option<()> {
        self.must(b"{")?;
        let mut before = self.at;
        // In Go's order once is enough.
        while !self.members_in_order(event)? {
            if self.at == before {
                return None;
            }
            before = self.at;
        }
        let of_a_document = self.keys & key::OF_A_DOCUMENT;
        let is_whole = self.keys & key::NEEDED == key::NEEDED
            && (of_a_document == 0 || of_a_document == key::OF_A_DOCUMENT);
        is_whole.then_some(())
    }

    /// Reads the members that stand here, as long as they come in Go's order. Whether the event ended.
    fn members_in_order(&mut self, event: &mut Event<'a>) -> Option<bool> {
        let ended = self.member(br#""kind":"Event""#, key::KIND, |_| Some(()))?
            || self.member(br#""apiVersion":"audit.k8s.io/v1""#, key::API_VERSION, |_| Some(()))?
            || self.text_of(br#""level":""#, key::LEVEL, event, well_known::LEVEL)?
            || self.text_of(br#""auditID":""#, key::AUDIT_ID, event, well_known::AUDIT_ID)?
            || self.text_of(br#""stage":""#, key::STAGE, event, well_known::STAGE)?
            || self.text_of(
                br#""requestURI":""#,
                key::REQUEST_URI,
                event,
                well_known::REQUEST_URI,
            )?
            || self.text_of(br#""verb":""#, key::VERB, event, well_known::VERB)?
            || self
                .member(br#""user":{"#, key::USER, |line| line.members(|line| line.user(event)))?
            || self.member(br#""sourceIPs":[""#, key::SOURCE_IPS, |line| {
                line.values(event, well_known::SOURCE_IPS)
            })?
            || self.text_of(br#""userAgent":""#, key::USER_AGENT, event, well_known::USER_AGENT)?
            || self.member(br#""objectRef":{"#, key::OBJECT_REF, |line| {
                line.members(|line| line.object_ref(event))
            })?
            || self.member(br#""responseStatus":{"#, key::RESPONSE_STATUS, |line| {
                line.members(|line| line.status(event))
            })?
            || self.member(br#""requestObject":{"#, key::REQUEST, |line| {
                line.found.request = Some(line.body(Parts::REQUEST)?);
                Some(())
            })?
            || self.member(br#""responseObject":{"#, key::RESPONSE, |line| {
                line.found.response = Some(line.body(Parts::RESPONSE)?);
                Some(())
            })?
            || self.text_of(
                br#""requestReceivedTimestamp":""#,
                key::RECEIVED,
                event,
                well_known::RECEIVED,
            )?
            || self.text_of(
                br#""stageTimestamp":""#,
                key::STAGE_TIME,
                event,
                well_known::STAGE_TIME,
            )?
            || self.member(br#""annotations":{"#, key::ANNOTATIONS, |line| {
                line.members(|line| line.annotation(event))
            })?;
        Some(ended)
    }

    /// Reads a member of the event and what comes behind it, if it is this one. Whether the event ended.
    #[inline]
    fn member<const N: usize>(
        &mut self,
        name: &[u8; N],
        bit: u32,
        read: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<bool> {
        if !self.is(name) {
            return Some(false);
        }
        // What a body is depends on the request, and the values of the answer come behind those of the request.
        let too_late = match bit {
            key::VERB | key::OBJECT_REF => key::BODIES | bit,
            key::REQUEST => key::BODIES,
            _ => bit,
        };
        if self.keys & too_late != 0 {
            return None;
        }
        self.keys |= bit;
        read(self)?;
        if self.is(b",") {
            return Some(false);
        }
        self.must(b"}")?;
        Some(true)
    }

    /// The same for a text.
    #[inline]
    fn text_of<const N: usize>(
        &mut self,
        name: &[u8; N],
        bit: u32,
        event: &mut Event<'a>,
        field: FieldId,
    ) -> Option<bool> {
        self.member(name, bit, |line| line.value(event, field))
    }

    fn user(&mut self, event: &mut Event<'a>) -> Option<()> {
        let places = self.projection.places();
        if self.is(br#""username":""#) {
            self.value(event, well_known::USERNAME)
        } else if self.is(br#""groups":[""#) {
            self.values(event, well_known::GROUPS)
        } else if self.is(br#""extra":{"#) {
            self.members(|line| line.other(event, places.extra, 3))
        } else {
            self.other(event, places.user, 2)
        }
    }

    fn object_ref(&mut self, event: &mut Event<'a>) -> Option<()> {
        if self.is(br#""resource":""#) {
            self.value(event, well_known::RESOURCE)
        } else if self.is(br#""namespace":""#) {
            self.value(event, well_known::NAMESPACE)
        } else if self.is(br#""name":""#) {
            self.value(event, well_known::NAME)
        } else if self.is(br#""apiGroup":""#) {
            self.value(event, well_known::API_GROUP)
        } else if self.is(br#""subresource":""#) {
            self.value(event, well_known::SUBRESOURCE)
        } else {
            self.other(event, self.projection.places().object_ref, 2)
        }
    }

    fn status(&mut self, event: &mut Event<'a>) -> Option<()> {
        if self.is(br#""code":"#) {
            self.code(event)
        } else {
            self.other(event, self.projection.places().status, 2)
        }
    }

    /// A status of three digits.
    fn code(&mut self, event: &mut Event<'a>) -> Option<()> {
        let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = *self.ahead::<3>()? else {
            return None;
        };
        let digit = |byte: u8| i64::from(byte - b'0');
        let code = digit(a) * 100 + digit(b) * 10 + digit(c);
        event.push(well_known::RESPONSE_CODE, Value::Int(code));
        self.at += 3;
        Some(())
    }

    fn annotation(&mut self, event: &mut Event<'a>) -> Option<()> {
        if self.is(br#""authorization.k8s.io/decision":""#) {
            return self.value(event, well_known::DECISION);
        }
        if self.is(br#""authorization.k8s.io/reason":""#) {
            // Twice is unusual.
            let first = self.found.reason.is_none();
            let reason = self.string()?;
            event.note_reason(reason.text);
            self.found.reason = Some(reason);
            self.found.passed = self.found.passed.and(Parts::REASON);
            return first.then_some(());
        }
        let places = self.projection.places();
        if let Some(child) = self.key_below(places.annotations)? {
            // Annotations are strings. One that says the reason in another way would come before the first.
            let says_reason = places.reason.is_some_and(|of| self.projection.shares(child, of));
            if self.next()? != b'"' || says_reason && self.found.reason.is_some() {
                return None;
            }
            return self.extract(event, child, 2);
        }
        self.skip(2)
    }

    /// A body that is an object, whose `{` was read, which is checked and passed over.
    fn body(&mut self, part: Parts) -> Option<Body<'a>> {
        self.at -= 1;
        let start = self.at;
        self.skip(1)?;
        self.found.passed = self.found.passed.and(part);
        Some(Body { text: self.text.get(start..self.at)?, start })
    }

    /// A member of an object that the line does not know by name: extracted if anything is asked for there.
    fn other(&mut self, event: &mut Event<'a>, of: Option<NodeId>, depth: usize) -> Option<()> {
        match self.key_below(of)? {
            Some(child) => self.extract(event, child, depth),
            None => self.skip(depth),
        }
    }

    /// Reads a key and its colon; the node that it leads to, if anything is asked for there.
    #[expect(clippy::option_option, reason = "a surprise, or a key that nobody asks for")]
    fn key_below(&mut self, of: Option<NodeId>) -> Option<Option<NodeId>> {
        self.must(b"\"")?;
        let key = self.string()?;
        self.must(b":")?;
        Some(of.and_then(|of| self.projection.child(of, key)))
    }

    fn extract(&mut self, event: &mut Event<'a>, node: NodeId, depth: usize) -> Option<()> {
        // Nearly all of them are texts, or lists of texts.
        if self.is(b"\"") {
            let text = self.string()?;
            self.projection.put_text(text, event, node);
            return Some(());
        }
        if self.is(b"[\"") {
            loop {
                let text = self.string()?;
                self.projection.put_text(text, event, node);
                if self.is(b"]") {
                    return Some(());
                }
                self.must(b",\"")?;
            }
        }
        let mut scanner = Scanner::new(self.text);
        scanner.move_to(self.at);
        self.projection.value_below(&mut scanner, event, node, depth).ok()?;
        self.at = scanner.at();
        (!scanner.too_deep).then_some(())
    }

    /// The members of an object whose `{` was read, up to its end.
    #[inline]
    fn members(&mut self, mut member: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if self.is(b"}") {
            return Some(());
        }
        loop {
            member(self)?;
            if self.is(b"}") {
                return Some(());
            }
            self.must(b",")?;
        }
    }

    /// Passes over one value, checking all of it. `depth` counts the brackets open around it.
    #[inline]
    fn skip(&mut self, depth: usize) -> Option<()> {
        // Most of them are texts, or empty.
        if self.is(b"\"") {
            self.pass_string()?;
            return Some(());
        }
        if self.is(b"{}") { Some(()) } else { self.skip_other(depth) }
    }

    fn skip_other(&mut self, depth: usize) -> Option<()> {
        let mut open = Brackets::default();
        // The last bracket that is open; until it is closed, its end is the one around it.
        let mut last = u32::MAX;
        loop {
            match self.next()? {
                b'"' => {
                    self.at += 1;
                    self.pass_string()?;
                }
                bracket @ (b'{' | b'[') => {
                    let around = last;
                    last = u32::try_from(self.found.closings.len()).ok()?;
                    let start = u32::try_from(self.at).ok()?;
                    self.found.closings.push(Closing { start, end: around });
                    self.at += 1;
                    open.push(bracket == b'{');
                    if depth + open.depth() > JSON_DEPTH_MAX {
                        return None;
                    }
                    match (bracket, self.next()?) {
                        (b'{', b'}') | (b'[', b']') => {}
                        (b'{', _) => {
                            self.key()?;
                            continue;
                        }
                        _ => continue,
                    }
                }
                _ => self.scalar()?,
            }
            loop {
                if open.depth() == 0 {
                    return Some(());
                }
                match self.next()? {
                    b',' => {
                        self.at += 1;
                        if open.in_object() {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if open.in_object() => {}
                    b']' if !open.in_object() => {}
                    _ => return None,
                }
                self.at += 1;
                open.pop();
                let closing = self.found.closings.get_mut(last as usize)?;
                last = std::mem::replace(&mut closing.end, u32::try_from(self.at).ok()?);
            }
        }
    }

    #[inline]
    fn key(&mut self) -> Option<()> {
        self.must(b"\"")?;
        self.pass_string()?;
        self.must(b":")
    }

    /// A number or a word.
    fn scalar(&mut self) -> Option<()> {
        if !matches!(self.next()?, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') {
            return None;
        }
        let mut scanner = Scanner::new(self.text);
        scanner.move_to(self.at);
        scanner.skip_value(0).ok()?;
        self.at = scanner.at();
        Some(())
    }

    /// The rest of a string, for a field.
    #[inline]
    fn value(&mut self, event: &mut Event<'a>, field: FieldId) -> Option<()> {
        let raw = self.string()?;
        if raw.escaped {
            event.push_owned(field, |text| unescape(raw.text, text));
        } else {
            event.push(field, Value::Str(Cow::Borrowed(raw.text)));
        }
        Some(())
    }

    /// The rest of a list of strings, behind the quote of the first.
    fn values(&mut self, event: &mut Event<'a>, field: FieldId) -> Option<()> {
        loop {
            self.value(event, field)?;
            if self.is(b"]") {
                return Some(());
            }
            self.must(b",\"")?;
        }
    }

    /// The rest of a string whose quote was read.
    #[inline]
    fn string(&mut self) -> Option<RawStr<'a>> {
        let start = self.at;
        let escaped = self.pass_string()?;
        Some(RawStr { text: self.text.get(start..self.at - 1)?, escaped })
    }

    /// Passes over it. Whether it has escapes.
    #[inline]
    fn pass_string(&mut self) -> Option<bool> {
        // Most end in the block in which they begin.
        if self.at / 64 == self.block {
            let rest = self.specials >> (self.at % 64);
            let end = self.at + rest.trailing_zeros() as usize;
            if rest != 0 && self.text.as_bytes().get(end) == Some(&b'"') {
                self.at = end + 1;
                return Some(false);
            }
        }
        self.pass_long_string()
    }

    #[inline(never)]
    fn pass_long_string(&mut self) -> Option<bool> {
        let end = self.special(self.at);
        if self.text.as_bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Some(false);
        }
        self.pass_escapes(end)
    }

    /// Passes over the rest of a string from its first backslash on.
    fn pass_escapes(&mut self, mut at: usize) -> Option<bool> {
        loop {
            match self.text.as_bytes().get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    at = self.special(at + escape_length(self.text.as_bytes(), at)?);
                }
                _ => return None,
            }
        }
        self.at = at + 1;
        Some(true)
    }

    /// Where the next quote, backslash or control character stands; the end, if nowhere.
    #[inline]
    fn special(&mut self, from: usize) -> usize {
        let block = from / 64;
        if block != self.block {
            self.look_at(block);
        }
        let rest = self.specials >> (from % 64);
        if rest != 0 {
            return from + rest.trailing_zeros() as usize;
        }
        // There is one at the end.
        loop {
            self.look_at(self.block + 1);
            if self.specials != 0 {
                return self.block * 64 + self.specials.trailing_zeros() as usize;
            }
        }
    }

    #[inline]
    fn look_at(&mut self, block: usize) {
        self.specials = specials(self.text.as_bytes(), block * 64);
        self.block = block;
    }

    #[inline]
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The bytes that stand here, if there are so many.
    #[inline]
    fn ahead<const N: usize>(&self) -> Option<&[u8; N]> {
        self.text.as_bytes().get(self.at..)?.first_chunk()
    }

    /// Moves past these bytes if they stand here.
    #[inline]
    fn is<const N: usize>(&mut self, bytes: &[u8; N]) -> bool {
        let stands_here = self.ahead::<N>().is_some_and(|ahead| is_same(ahead, bytes));
        if stands_here {
            self.at += N;
        }
        stands_here
    }

    #[inline]
    fn must<const N: usize>(&mut self, bytes: &[u8; N]) -> Option<()> {
        self.is(bytes).then_some(())
    }
}

/// Whether the bytes are the same, eight at a time: a call to compare them would cost more than that.
#[inline]
fn is_same<const N: usize>(one: &[u8; N], other: &[u8; N]) -> bool {
    let (words, rest) = one.as_chunks::<8>();
    let (other_words, other_rest) = other.as_chunks::<8>();
    let differ =
        |one: &[u8; 8], other: &[u8; 8]| u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
    let different =
        words.iter().zip(other_words).fold(0, |all, (one, other)| all | differ(one, other));
    let different = match (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(one), Some(other)) => different | differ(one, other),
        _ => rest
            .iter()
            .zip(other_rest)
            .fold(different, |all, (one, other)| all | u64::from(one ^ other)),
    };
    different == 0
}

/// Which of the 64 bytes from here on are quotes, backslashes or control characters; what lies behind the
/// end is a control character.
#[inline]
fn specials(bytes: &[u8], start: usize) -> u64 {
    let rest = bytes.get(start..).unwrap_or_default();
    if let Some(block) = rest.first_chunk::<64>() {
        return specials_of(block);
    }
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(rest) {
        *to = *from;
    }
    specials_of(&block)
}

#[inline]
fn specials_of(block: &[u8; 64]) -> u64 {
    let [quote, backslash, control] = [b'"', b'\\', 0x1F].map(u8x16::splat);
    let mut mask = 0;
    for (index, part) in block.as_chunks::<16>().0.iter().enumerate() {
        let bytes = u8x16::new(*part);
        let is_special =
            bytes.simd_eq(quote) | bytes.simd_eq(backslash) | bytes.min(control).simd_eq(bytes);
        mask |= u64::from(is_special.to_bitmask()) << (index * 16);
    }
    mask
}

#[cfg(test)]
mod tests;
