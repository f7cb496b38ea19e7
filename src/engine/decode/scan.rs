//! A strict JSON scanner over borrowed text: the only place that reads JSON byte by byte.
//!
//! It accepts what `serde_json` accepts for `IgnoredAny`, at any depth, without recursion, and
//! without building anything: it hands out spans. A general parser spends most of its time on values
//! that no rule asked for; here they cost one pass, eight bytes at a time. It knows nothing of audit
//! events.

use crate::engine::limits;

/// Why a text is not JSON. The place is the scanner's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It stops early.
    Truncated,
    /// Something else was expected.
    Token,
    /// A control character inside a string.
    Control,
    /// An escape that does not exist.
    Escape,
    /// A number that is none.
    Number,
    /// A word other than `true`, `false` and `null`.
    Word,
}

impl Fault {
    /// For people, without content of the record.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Fault::Truncated => "the text stops early",
            Fault::Token => "another character was expected",
            Fault::Control => "a control character stands inside a string",
            Fault::Escape => "an escape does not exist",
            Fault::Number => "a number is malformed",
            Fault::Word => "a word is neither true, false nor null",
        }
    }
}

/// A string between its quotes, as written.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawStr<'a> {
    /// The text with its escapes.
    pub(super) text: &'a str,
    /// Whether it has any.
    pub(super) escaped: bool,
}

/// A number as written.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawNumber<'a> {
    /// Its text.
    pub(super) text: &'a str,
    /// Whether it has neither fraction nor exponent.
    pub(super) integer: bool,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// The high bit of each byte that is zero; exact up to and including the first.
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// The high bit of each byte that ends a plain run in a string: a quote, a backslash, a control
/// character. Exact up to and including the first.
const fn special_bytes(word: u64) -> u64 {
    let quote = zero_bytes(word ^ (ONES * b'"' as u64));
    let backslash = zero_bytes(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    quote | backslash | control
}

/// 32 bytes as numbers, to be compared all at once: a comparison of texts that are each of another length
/// spends most of its time on finding out which.
#[inline]
pub(super) fn words_of(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}

/// How long the escape is whose backslash stands here. `None` if there is no such escape.
#[inline]
pub(super) fn escape_length(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => {
            let digits = bytes.get(at + 2..)?.first_chunk::<4>()?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(6)
        }
        _ => None,
    }
}

/// Which brackets are open, one bit each: set for `{`.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    bits: u128,
    depth: usize,
    spilled: Vec<u128>,
}

impl Brackets {
    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(128) {
            self.spilled.push(self.bits);
        }
        self.bits = (self.bits << 1) | u128::from(object);
        self.depth += 1;
    }

    pub(super) fn in_object(&self) -> bool {
        self.bits & 1 == 1
    }

    pub(super) fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(128) {
            self.bits = self.spilled.pop().unwrap_or(0);
        }
    }
}

/// Where the brackets of a text that was checked open and close, in the order in which they open.
pub(super) type Closings = Vec<Closing>;

/// Where one bracket stands, and the end of the one that closes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A position in a text that is being read.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// What is known of its brackets: by it whatever nobody asks for is passed over without being read again.
    closings: Closings,
    /// The first of those that may be ahead.
    ahead: usize,
    /// Where the text begins for them.
    base: usize,
    /// Something was nested deeper than [`limits::JSON_DEPTH_MAX`].
    pub(super) too_deep: bool,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0, closings: Vec::new(), ahead: 0, base: 0, too_deep: false }
    }

    /// Of a text that was checked and is nowhere too deep. It begins at `base` for these brackets.
    pub(super) const fn of_checked(text: &'a str, base: usize, closings: Closings) -> Scanner<'a> {
        Scanner { text, at: 0, closings, ahead: 0, base, too_deep: false }
    }

    /// What was known of brackets.
    pub(super) fn into_closings(self) -> Closings {
        self.closings
    }

    /// Where the bracket that stands here is closed, if that is known.
    #[inline]
    fn closing(&mut self) -> Option<usize> {
        let here = self.base + self.at;
        loop {
            let closing = self.closings.get(self.ahead)?;
            if closing.start as usize > here {
                return None;
            }
            self.ahead += 1;
            if closing.start as usize == here {
                return (closing.end as usize).checked_sub(self.base);
            }
        }
    }

    /// Bytes read so far.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Goes on from another position, at a character's boundary.
    pub(super) const fn move_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The text from a position up to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or("")
    }

    /// The next byte; 0 at the end, which is no token either.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Whether an array with nothing in it stands here.
    pub(super) fn is_empty_array(&self) -> bool {
        let rest = self.text.get(self.at..).and_then(|rest| rest.strip_prefix('['));
        rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(']'))
    }

    /// Moves past one byte of ASCII that was peeked at.
    #[inline]
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// Moves past a bracket that opens, around which so many are open.
    #[inline]
    pub(super) fn open_bracket(&mut self, depth: usize) {
        self.at += 1;
        if depth >= limits::JSON_DEPTH_MAX {
            self.too_deep = true;
        }
    }

    /// Skips white space and peeks.
    #[inline]
    pub(super) fn token(&mut self) -> u8 {
        loop {
            let byte = self.peek();
            if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
    }

    /// The fault that stands here: an early end, or `otherwise`.
    #[cold]
    pub(super) fn fault(&self, otherwise: Fault) -> Fault {
        if self.at >= self.text.len() { Fault::Truncated } else { otherwise }
    }

    /// The next 32 bytes, if there are so many.
    #[inline]
    pub(super) fn words(&self) -> Option<[u64; 4]> {
        let bytes = self.text.as_bytes().get(self.at..)?.first_chunk::<32>()?;
        Some(words_of(bytes))
    }

    /// Whether these bytes stand so far ahead.
    #[inline]
    pub(super) fn follows(&self, ahead: usize, bytes: &[u8]) -> bool {
        self.text.as_bytes().get(self.at + ahead..).is_some_and(|text| text.starts_with(bytes))
    }

    /// Moves past bytes of ASCII that were compared.
    #[inline]
    pub(super) fn skip(&mut self, count: usize) {
        self.at += count;
    }

    #[inline]
    fn word_at(&self, at: usize) -> Option<u64> {
        let bytes = self.text.as_bytes().get(at..)?.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*bytes))
    }

    /// Reads a string whose opening quote stands here.
    #[expect(clippy::inline_always, reason = "half of the time of decoding is spent here")]
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<RawStr<'a>, Fault> {
        let start = self.at + 1;
        let escaped = self.skip_string()?;
        match self.text.get(start..self.at - 1) {
            Some(text) => Ok(RawStr { text, escaped }),
            None => Err(Fault::Token),
        }
    }

    /// Moves past a string whose opening quote stands here. Says whether it has escapes.
    #[inline]
    fn skip_string(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        let mut escaped = false;
        loop {
            while let Some(word) = self.word_at(self.at) {
                let special = special_bytes(word);
                if special != 0 {
                    self.at += (special.trailing_zeros() / 8) as usize;
                    break;
                }
                self.at += 8;
            }
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.skip_escape()?;
                }
                0x20.. => self.at += 1,
                _ => return Err(self.fault(Fault::Control)),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_ascii_hexdigit() {
                        return Err(self.fault(Fault::Escape));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.fault(Fault::Escape)),
        }
        Ok(())
    }

    /// Reads a key, its colon, and the white space around it. The quote was peeked at.
    #[inline]
    pub(super) fn key(&mut self) -> Result<RawStr<'a>, Fault> {
        if self.peek() != b'"' {
            return Err(self.fault(Fault::Token));
        }
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Fault> {
        if self.token() != b':' {
            return Err(self.fault(Fault::Token));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a number whose first byte, a digit or `-`, stands here.
    pub(super) fn number(&mut self) -> Result<RawNumber<'a>, Fault> {
        let start = self.at;
        let integer = self.skip_number()?;
        Ok(RawNumber { text: self.since(start), integer })
    }

    fn skip_number(&mut self) -> Result<bool, Fault> {
        let mut integer = true;
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.skip_digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            integer = false;
            self.skip_digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            integer = false;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.skip_digits()?;
        }
        if self.peek().is_ascii_digit() {
            return Err(Fault::Number);
        }
        Ok(integer)
    }

    /// One digit or more.
    fn skip_digits(&mut self) -> Result<(), Fault> {
        if !self.peek().is_ascii_digit() {
            return Err(self.fault(Fault::Number));
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    /// Moves past a word that must stand here.
    pub(super) fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        for expected in word.bytes() {
            if self.peek() != expected {
                return Err(self.fault(Fault::Word));
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Moves past one value, checking all of it. `depth` counts the brackets open around it.
    #[inline]
    pub(super) fn skip_value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.token() {
            b'{' | b'[' => self.skip_nested(depth),
            byte => self.skip_scalar(byte),
        }
    }

    /// Moves past a value without parts, of which the first byte stands here.
    #[inline]
    fn skip_scalar(&mut self, byte: u8) -> Result<(), Fault> {
        match byte {
            b'"' => self.skip_string().map(drop),
            b'-' | b'0'..=b'9' => self.skip_number().map(drop),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => Err(self.fault(Fault::Token)),
        }
    }

    /// Moves past an object or an array, which begins here, and all that is in it.
    fn skip_nested(&mut self, depth: usize) -> Result<(), Fault> {
        if let Some(end) = self.closing() {
            self.at = end;
            return Ok(());
        }
        let mut open = Brackets::default();
        loop {
            match self.token() {
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    open.push(bracket == b'{');
                    if depth + open.depth > limits::JSON_DEPTH_MAX {
                        self.too_deep = true;
                    }
                    let next = self.token();
                    if next == b'}' && bracket == b'{' || next == b']' && bracket == b'[' {
                        // The loop below closes it.
                    } else if bracket == b'{' {
                        self.skip_key()?;
                        continue;
                    } else {
                        continue;
                    }
                }
                byte => self.skip_scalar(byte)?,
            }
            loop {
                if open.depth == 0 {
                    return Ok(());
                }
                match self.token() {
                    b',' => {
                        self.at += 1;
                        if open.in_object() {
                            self.token();
                            self.skip_key()?;
                        }
                        break;
                    }
                    b'}' if open.in_object() => {}
                    b']' if !open.in_object() => {}
                    _ => return Err(self.fault(Fault::Token)),
                }
                self.at += 1;
                open.pop();
            }
        }
    }

    #[inline]
    fn skip_key(&mut self) -> Result<(), Fault> {
        if self.peek() != b'"' {
            return Err(self.fault(Fault::Token));
        }
        self.skip_string()?;
        self.colon()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> Result<(), Fault> {
        let mut scanner = Scanner::new(text);
        scanner.skip_value(0)?;
        if scanner.token() == 0 && scanner.at() == text.len() {
            Ok(())
        } else {
            Err(scanner.fault(Fault::Token))
        }
    }

    #[test]
    fn what_serde_json_accepts_is_accepted_and_nothing_else() {
        let nested = format!("{}1{}", "[{\"a\":".repeat(60), "}]".repeat(60));
        for text in [
            "{}",
            "[]",
            " [ ] ",
            "{\"a\":1}",
            "[1,2]",
            "[1,]",
            "{\"a\":1,}",
            "{,}",
            "[,1]",
            "{a:1}",
            "{\"a\" : [ { \"b\" : null } , true , false ] }",
            "nul",
            "truee",
            "+1",
            "01",
            "-",
            "-0",
            "1.",
            ".5",
            "1e",
            "1e+",
            "1E-7",
            "1.5e300",
            "1e400",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"a\nb\"",
            "\"\\ud800\"",
            "\"tail",
            "\"\\",
            "{\"a\":",
            "{\"a\"",
            "[1 2]",
            "]",
            "}",
            "",
            "1 1",
            "[}",
            "{]",
            "\"\u{7f}\"",
            "\"ö\u{2028}\"",
            "[\"abcdefgh\\\"ijklmnop\"]",
            "\u{0}",
            "[1]\u{0}",
            &nested,
            "1a",
            "00",
            "-01",
            "1.0.0",
            "tru",
            "[true,nul]",
            "\"abcdefg\u{1f}\"",
            "\"abcdefgh\"",
        ] {
            let expected = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            assert_eq!(accepts(text).is_ok(), expected, "{text:?}: {:?}", accepts(text));
        }
    }

    #[test]
    fn an_early_end_is_told_from_a_wrong_character() {
        let whole = r#"{"a":[1,{"b":"c\u00e9","d":-1.5e3}],"e":true,"f":null,"g":{}}"#;
        assert_eq!(accepts(whole), Ok(()));
        for end in 0..whole.len() {
            assert_eq!(accepts(&whole[..end]), Err(Fault::Truncated), "{}", &whole[..end]);
        }
        assert_eq!(accepts("{\"a\":x"), Err(Fault::Token));
        assert_eq!(accepts("\"\u{1}\""), Err(Fault::Control));
    }

    #[test]
    fn any_depth_is_checked_and_noticed() {
        for depth in [127, 128, 129, 255, 256, 257, 1_000] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let mut scanner = Scanner::new(&text);
            assert_eq!(scanner.skip_value(0), Ok(()));
            assert_eq!(scanner.too_deep, depth > 128, "{depth}");
            assert_eq!(scanner.at(), text.len());
            let crossed = format!("{}{}}}{}", "[".repeat(depth), "]".repeat(depth - 1), "");
            assert_eq!(accepts(&crossed), Err(Fault::Token), "{depth}");
            let mixed = format!("{}1{}", "[{\"k\":".repeat(depth), "}]".repeat(depth));
            assert_eq!(accepts(&mixed), Ok(()), "{depth}");
        }
    }
}
