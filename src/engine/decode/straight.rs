//! A straight line through an event, as an API server writes it.
//!
//! Most events satisfy no rule, and their own few fields show that. So these are read first, in the order
//! in which Go writes them: what stands between two values is compared at once, ends of strings come from a
//! bitmap of 64 bytes, and bodies are checked and passed over. If some rule is left, what was passed over
//! is read, too. At any surprise (another order, white space, a key that is not here) nothing is said: the
//! scanner stays the only judge of what an event is, and of what is wrong with it.

use std::{borrow::Cow, ops::Range};

use super::{
    patch,
    projection::{NodeId, Projection},
    scan::{Brackets, RawStr, Scanner, escape_length},
};
use crate::engine::{
    event::{Event, FieldId, Parts, well_known},
    limits::JSON_DEPTH_MAX,
    value::{Value, unescape},
};

/// Bytes of an event that is read in this way: 256 KiB. Of larger ones other bounds have to be kept.
const BYTES_MAX: usize = 256 << 10;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Straight {
    /// Where the event ends.
    pub(super) end: usize,
    /// Parts that it has and that were passed over.
    pub(super) passed: Parts,
    reason: Option<Range<usize>>,
    request: Option<Range<usize>>,
    response: Option<Range<usize>>,
}

impl Straight {
    /// Reads why the request was allowed, of the same text, into the same event.
    pub(super) fn read_reason<'a>(
        &mut self,
        text: &'a str,
        projection: &Projection,
        event: &mut Event<'a>,
    ) {
        if let (Some(range), Some(node)) = (self.reason.take(), projection.places().reason) {
            projection.put_own(text.get(range).unwrap_or(""), event, node);
        }
        self.passed = self.passed.without(Parts::REASON);
    }

    /// Reads what was passed over, of the same text, into the same event.
    pub(super) fn complete<'a>(
        mut self,
        text: &'a str,
        projection: &Projection,
        event: &mut Event<'a>,
    ) {
        self.read_reason(text, projection, event);
        let bodies = [self.request, self.response].into_iter().zip(projection.body_nodes());
        for (range, node) in bodies {
            let (Some(range), Some(node)) = (range, node) else { continue };
            let body = text.get(range).unwrap_or("");
            projection.put_own(body, event, node);
            if let Some(root) = projection.changed_by(node, event) {
                patch::extract(projection, body, event, root);
            }
        }
        projection.settle(event);
    }
}

/// Reads the event that begins at `start`, if it is a usual one. All fields of it are in `event` then, but
/// those in parts that were passed over. Cost: a pass over its bytes.
pub(super) fn read<'a>(
    text: &'a str,
    start: usize,
    projection: &Projection,
    event: &mut Event<'a>,
) -> Option<Straight> {
    let places = projection.places();
    if !places.is_straight {
        return None;
    }
    let found = Straight::default();
    let mut line = Line { text, at: start, block: usize::MAX, specials: 0, projection, found };
    line.event(event)?;
    line.found.end = line.at;
    (line.at - start <= BYTES_MAX).then_some(line.found)
}

/// A place in a text.
struct Line<'a, 'p> {
    text: &'a str,
    at: usize,
    /// The 64 bytes of which `specials` knows.
    block: usize,
    /// Quotes, backslashes and control characters, one bit each.
    specials: u64,
    projection: &'p Projection,
    found: Straight,
}

impl<'a> Line<'a, '_> {
    fn event(&mut self, event: &mut Event<'a>) -> Option<()> {
        // In a list events have no kind of their own.
        if !self.is(br#"{"level":""#) {
            self.must(br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":""#)?;
        }
        self.value(event, well_known::LEVEL)?;
        self.must(br#","auditID":""#)?;
        self.value(event, well_known::AUDIT_ID)?;
        self.must(br#","stage":""#)?;
        self.value(event, well_known::STAGE)?;
        self.must(br#","requestURI":""#)?;
        self.value(event, well_known::REQUEST_URI)?;
        self.must(br#","verb":""#)?;
        self.value(event, well_known::VERB)?;
        self.must(br#","user":{"#)?;
        self.members(|line| line.user(event))?;
        if self.is(br#","sourceIPs":[""#) {
            self.values(event, well_known::SOURCE_IPS)?;
        }
        if self.is(br#","userAgent":""#) {
            self.value(event, well_known::USER_AGENT)?;
        }
        if self.is(br#","objectRef":{"#) {
            self.members(|line| line.object_ref(event))?;
        }
        if self.is(br#","responseStatus":{"#) {
            self.members(|line| line.status(event))?;
        }
        if self.is(br#","requestObject":"#) {
            self.found.request = Some(self.body(Parts::REQUEST)?);
        }
        if self.is(br#","responseObject":"#) {
            self.found.response = Some(self.body(Parts::RESPONSE)?);
        }
        self.must(br#","requestReceivedTimestamp":""#)?;
        self.value(event, well_known::RECEIVED)?;
        self.must(br#","stageTimestamp":""#)?;
        self.value(event, well_known::STAGE_TIME)?;
        if self.is(br#","annotations":{"#) {
            self.members(|line| line.annotation(event))?;
        }
        self.must(b"}")
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
            let start = self.at - 1;
            self.string()?;
            // Twice is unusual.
            let first = self.found.reason.is_none();
            self.found.reason = Some(start..self.at);
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

    /// A body that is an object, which is checked and passed over.
    fn body(&mut self, part: Parts) -> Option<Range<usize>> {
        let start = self.at;
        if self.next()? != b'{' {
            return None;
        }
        self.skip(1)?;
        self.found.passed = self.found.passed.and(part);
        Some(start..self.at)
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
    fn skip(&mut self, depth: usize) -> Option<()> {
        let mut open = Brackets::default();
        loop {
            match self.next()? {
                b'"' => {
                    self.at += 1;
                    self.string()?;
                }
                bracket @ (b'{' | b'[') => {
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
            }
        }
    }

    #[inline]
    fn key(&mut self) -> Option<()> {
        self.must(b"\"")?;
        self.string()?;
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
        let mut escaped = false;
        let mut end = self.special(start);
        loop {
            match self.text.as_bytes().get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end = self.special(end + escape_length(self.text.as_bytes(), end)?);
                }
                _ => return None,
            }
        }
        self.at = end + 1;
        Some(RawStr { text: self.text.get(start..end)?, escaped })
    }

    /// Where the next quote, backslash or control character stands; the end, if nowhere.
    #[inline]
    fn special(&mut self, mut from: usize) -> usize {
        loop {
            let block = from / 64;
            if block != self.block {
                if from >= self.text.len() {
                    return self.text.len();
                }
                self.specials = specials(self.text.as_bytes(), block * 64);
                self.block = block;
            }
            let rest = self.specials >> (from % 64);
            if rest != 0 {
                return from + rest.trailing_zeros() as usize;
            }
            from = (block + 1) * 64;
        }
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
/// end is a control character. The compiler makes vector instructions of the loop.
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
    let mut flags = [0; 64];
    for (flag, byte) in flags.iter_mut().zip(block) {
        // All three, whatever the first is: a branch would keep the loop from being vectorised.
        *flag = u8::from(*byte == b'"') | u8::from(*byte == b'\\') | u8::from(*byte < 0x20);
    }
    let mut mask = 0;
    for (index, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        // Eight bytes that are 0 or 1 become the bits of one.
        let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (index * 8);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_compared_to_the_last() {
        fn check<const N: usize>() {
            let one = [7; N];
            assert!(is_same(&one, &[7; N]));
            for at in 0..N {
                let mut other = one;
                other[at] = 8;
                assert!(!is_same(&one, &other), "{at} of {N}");
            }
        }
        check::<1>();
        check::<7>();
        check::<8>();
        check::<13>();
        check::<16>();
        check::<59>();
    }

    #[test]
    fn specials_are_where_they_stand() {
        let text: String = (0..=0x7f).map(char::from).cycle().take(300).chain(['ö']).collect();
        for start in (0..=text.len()).step_by(64) {
            let mask = specials(text.as_bytes(), start);
            for at in 0..64 {
                let byte = text.as_bytes().get(start + at).copied().unwrap_or(0);
                let expected = byte == b'"' || byte == b'\\' || byte < 0x20;
                assert_eq!(mask >> at & 1 == 1, expected, "{byte} at {start} + {at}");
            }
        }
    }
}
