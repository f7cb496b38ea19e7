//! From the bytes of a record to text: compression, Base64, other encodings, and bytes that files and
//! serializers put in front.
//!
//! What begins like JSON never comes here. Nothing is judged but what the bytes are.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{
        DecompressorOxide, decompress,
        inflate_flags::{TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
    },
};

use super::{NOT_TO_ITS_END, foreign, otlp_proto, scan::Scanner};
use crate::engine::dead_letter::DeadLetterReason;

/// How gzip begins, and how Base64 of that begins.
const GZIP: [u8; 3] = [0x1F, 0x8B, 8];
const GZIP_IN_BASE64: &[u8] = b"H4sI";

/// How Base64 of JSON begins: of `{"`, of `{` and white space, of `[{`, of `[` and white space.
const JSON_IN_BASE64: [&[u8]; 6] = [b"eyJ", b"eyA", b"ew", b"W3", b"WyJ", b"Ww"];

/// What some editors and shippers put in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// How hexadecimal digits of JSON and of gzip begin, of JSON behind a byte order mark, and of a string of JSON.
const IN_HEX: [&[u8]; 7] = [b"7b22", b"7b20", b"7b0a", b"5b7b", b"1f8b08", b"efbbbf", b"227b"];

/// Digits of the shortest text in hexadecimal that is looked at: 64.
const HEX_DIGITS_MIN: usize = 64;

/// Bytes of the shortest Base64 that is looked at, however it begins: 64. An event in it has some hundred.
pub(super) const BASE64_BYTES_MIN: usize = 64;

/// What some bytes are.
#[derive(Debug, PartialEq)]
pub(super) enum Look<'a> {
    /// Text, or nothing that is known.
    Plain(&'a [u8]),
    /// Text in another encoding: its name, and the text.
    Text(&'static str, String),
    /// Something with bytes inside that must be looked at in turn.
    Inside(Inside),
    /// A binary format by its name, in which texts stand as they are.
    Binary(&'static str),
    /// Nothing that can be read, and why.
    Bad(DeadLetterReason, String),
}

/// What was inside of some bytes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Inside {
    /// What it was in.
    pub(super) name: &'static str,
    pub(super) parts: Vec<Vec<u8>>,
    /// Why there may be more than could be read.
    pub(super) fault: Option<(DeadLetterReason, String)>,
}

/// Says what some bytes are. At most `bytes_left` are made of them, which is lowered.
#[inline]
pub(super) fn look<'a>(bytes: &'a [u8], bytes_left: &mut usize) -> Look<'a> {
    match bytes {
        // UTF-16 has a zero in every second byte.
        [b'{' | b'[', second, ..] if *second != 0 => Look::Plain(bytes),
        _ => look_closely(bytes, bytes_left),
    }
}

#[cold]
fn look_closely<'a>(bytes: &'a [u8], bytes_left: &mut usize) -> Look<'a> {
    if bytes.first() == Some(&0x0A)
        && let Some(logs) = otlp_proto::read(bytes, bytes_left)
    {
        let fault = logs.fault.map(|(reason, detail)| (reason, detail.to_owned()));
        let name = "protocol buffers of OpenTelemetry";
        return Look::Inside(Inside { name, parts: vec![logs.json], fault });
    }
    // Marks and zeros may stand in front of anything; behind zeros JSON is looked for below.
    let mut behind = bytes;
    while let Some(rest) = behind.trim_ascii_start().strip_prefix(BYTE_ORDER_MARK) {
        behind = rest;
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    if let Some(rest) = bytes.get(zeros..).filter(|rest| zeros > 0 && begins_base64(rest)) {
        behind = rest;
    }
    if behind.len() < bytes.len() {
        return look(behind, bytes_left);
    }
    if let Some(text) = utf16(bytes) {
        *bytes_left = bytes_left.saturating_sub(text.len());
        return Look::Text("UTF-16", text);
    }
    if let Some(name) = foreign::packed(bytes) {
        return Look::Bad(DeadLetterReason::OtherFormat, not_read(name));
    }
    if bytes.starts_with(&GZIP) {
        return Look::Inside(gunzip(bytes, bytes_left));
    }
    if let [0x78, 0x01 | 0x9C | 0xDA, ..] = bytes
        && let Some(inside) = unzlib(bytes, bytes_left)
    {
        return Look::Inside(inside);
    }
    let text = bytes.trim_ascii_start();
    if begins_base64(text) {
        match base64_values(text, bytes_left) {
            Ok(parts) => return Look::Inside(Inside { name: "Base64", parts, fault: None }),
            Err(error) if text.starts_with(GZIP_IN_BASE64) => {
                // What is wrong with one line spoils no other.
                let parts = lines(text);
                if parts.len() > 1 {
                    let name = "lines, one of which is no Base64";
                    *bytes_left = bytes_left.saturating_sub(text.len());
                    return Look::Inside(Inside { name, parts, fault: None });
                }
                return Look::Bad(DeadLetterReason::NotJson, format!("Base64: {error}"));
            }
            Err(_) => {}
        }
    }
    if let Some(part) = hex_value(text, bytes_left) {
        return Look::Inside(Inside { name: "hexadecimal", parts: vec![part], fault: None });
    }
    if let Some(parts) = base64_of_text(text, bytes_left) {
        return Look::Inside(Inside { name: "Base64", parts, fault: None });
    }
    if text.first() == Some(&0) {
        let behind = behind_zeros(bytes);
        if behind.len() < bytes.len() {
            return Look::Plain(behind);
        }
    }
    if let Some(behind) = behind_glue_header(bytes) {
        return match behind {
            [b'{' | b'[' | b'"', ..] => Look::Plain(behind),
            _ => unzlib(behind, bytes_left).map_or(
                Look::Binary("binary behind the header of Glue's serializers, such as Avro"),
                Look::Inside,
            ),
        };
    }
    foreign::binary(bytes).map_or(Look::Plain(bytes), Look::Binary)
}

/// What a dead letter says of a format that is known and not read.
pub(super) fn not_read(name: &str) -> String {
    format!("{name}, which is not read; set the producer to send plain JSON")
}

/// What follows the header of AWS Glue's serializers: a version, whether it is compressed, an id of sixteen bytes.
fn behind_glue_header(bytes: &[u8]) -> Option<&[u8]> {
    matches!(bytes, [3, 0 | 5, ..]).then(|| bytes.get(18..))?.filter(|behind| !behind.is_empty())
}

/// UTF-16 with a byte order mark; or without one, if it begins with a bracket or with characters of ASCII.
fn utf16(bytes: &[u8]) -> Option<String> {
    let (units, is_little) = match bytes {
        // UTF-32 is not met anywhere.
        [0xFF, 0xFE, 0, 0, ..] => return None,
        [0xFF, 0xFE, rest @ ..] if rest.len() > 1 => (rest, true),
        [0xFE, 0xFF, rest @ ..] if rest.len() > 1 => (rest, false),
        [b'{' | b'[', 0, ..] | [b' '..=b'~', 0, b' '..=b'~', 0, b' '..=b'~', 0, ..] => {
            (bytes, true)
        }
        [0, b'{' | b'[', third, fourth, ..] if (*third == 0) != (*fourth == 0) => (bytes, false),
        [0, b' '..=b'~', 0, b' '..=b'~', 0, b' '..=b'~', ..] => (bytes, false),
        _ => return None,
    };
    let units =
        units.as_chunks::<2>().0.iter().map(|pair| {
            if is_little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) }
        });
    Some(
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
    )
}

/// Whether bytes are one string of JSON.
fn is_string(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes.trim_ascii()) else { return false };
    let mut scanner = Scanner::new(text);
    scanner.string().is_ok() && scanner.at() == text.len()
}

/// What follows zeros: the hole that copytruncate leaves at the front of a log, or the five bytes with
/// which Confluent's serializers begin (a zero and the number of a schema; before Avro's text there is
/// its length too).
fn behind_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let behind_hole = bytes.get(zeros..).unwrap_or_default();
    let is_json = |bytes: &[u8]| matches!(bytes.trim_ascii_start(), [b'{' | b'[' | b'"', ..]);
    // The number of a schema may be that of a bracket; then the one that the end answers begins it.
    let is_closed =
        |bytes: &[u8]| match (bytes.trim_ascii_start().first(), bytes.trim_ascii_end().last()) {
            (Some(b'{'), last) => last == Some(&b'}'),
            (Some(b'['), last) => last == Some(&b']'),
            (Some(b'"'), _) => is_string(bytes),
            _ => false,
        };
    let behind_header = bytes.get(5..).unwrap_or_default();
    let behind_length = {
        let varint = behind_header.iter().take(5).take_while(|byte| **byte & 0x80 != 0).count() + 1;
        behind_header.get(varint..).unwrap_or_default()
    };
    let candidates = [behind_header, behind_hole, behind_length];
    let closed = candidates.iter().find(|bytes| is_closed(bytes));
    closed.or_else(|| candidates.iter().find(|bytes| is_json(bytes))).copied().unwrap_or(bytes)
}

/// The content of all members of gzip, as one: a line may go over from one to the next. Checksums are not
/// compared: what is damaged is hardly JSON any more.
fn gunzip(bytes: &[u8], bytes_left: &mut usize) -> Inside {
    let mut inside = Inside { name: "gzip", ..Inside::default() };
    let (mut plain, mut rest) = (Vec::new(), bytes);
    while let Some(deflated) = skip_header(rest) {
        let (status, used) = inflate(deflated, 0, &mut plain, bytes_left);
        if let Err(reason) = status {
            inside.fault = Some((reason, format!("gzip that {NOT_TO_ITS_END}")));
            rest = &[];
            break;
        }
        // Behind the data are its checksum and length.
        rest = deflated.get(used + 8..).unwrap_or_default();
    }
    if plain.is_empty() && inside.fault.is_none() && rest.len() == bytes.len() {
        let detail = "gzip whose header cannot be read".to_owned();
        inside.fault = Some((DeadLetterReason::NotJson, detail));
        rest = &[];
    }
    inside.parts.push(plain);
    // Some writers fill up with zeros.
    if rest.iter().any(|byte| *byte != 0) {
        inside.parts.push(rest.to_vec());
    }
    inside
}

fn unzlib(bytes: &[u8], bytes_left: &mut usize) -> Option<Inside> {
    let mut plain = Vec::new();
    let (status, _) = inflate(bytes, TINFL_FLAG_PARSE_ZLIB_HEADER, &mut plain, bytes_left);
    let fault = match status {
        // Text that happens to begin so.
        Err(DeadLetterReason::NotJson) => return None,
        Err(_) if plain.is_empty() => return None,
        Err(reason) => Some((reason, format!("zlib that {NOT_TO_ITS_END}"))),
        Ok(()) => None,
    };
    Some(Inside { name: "zlib", parts: vec![plain], fault })
}

/// Bytes for which room is made at first: 1 KiB. It is doubled as long as there are more.
const INFLATED_BYTES_FIRST: usize = 1 << 10;

/// Appends what was deflated; how much was read of it.
fn inflate(
    deflated: &[u8],
    flags: u32,
    out: &mut Vec<u8>,
    bytes_left: &mut usize,
) -> (Result<(), DeadLetterReason>, usize) {
    let flags = flags | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = Box::<DecompressorOxide>::default();
    let start = out.len();
    let max = start.saturating_add(*bytes_left);
    let (mut read, mut written) = (0, start);
    // There may be many members, of which each is given what is left.
    let first = deflated.len().saturating_mul(2).clamp(64, INFLATED_BYTES_FIRST);
    out.resize(start.saturating_add(first).min(max), 0);
    let status = loop {
        let input = deflated.get(read..).unwrap_or_default();
        let (status, more_read, more) = decompress(&mut state, input, out, written, flags);
        read += more_read;
        written += more;
        match status {
            TINFLStatus::Done => break Ok(()),
            TINFLStatus::HasMoreOutput if out.len() < max => {
                let more = (out.len() - start).max(INFLATED_BYTES_FIRST);
                out.resize(out.len().saturating_add(more).min(max), 0);
            }
            TINFLStatus::HasMoreOutput => break Err(DeadLetterReason::TooLarge),
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => {
                break Err(DeadLetterReason::Truncated);
            }
            _ => break Err(DeadLetterReason::NotJson),
        }
    };
    out.truncate(written);
    *bytes_left = bytes_left.saturating_sub(written - start);
    (status, read)
}

/// What follows the header of a gzip member (RFC 1952).
fn skip_header(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(&GZIP)?;
    let (flags, mut rest) = (*rest.first()?, rest.get(7..)?);
    if flags & 4 != 0 {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        rest = tail.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [8, 16] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & 2 != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

/// Whether a text may be Base64 of gzip, zlib or JSON.
pub(super) fn begins_base64(text: &[u8]) -> bool {
    text.starts_with(GZIP_IN_BASE64)
        || JSON_IN_BASE64.iter().any(|begin| text.starts_with(begin))
        || matches!(text, [b'e', b'J', b'w'..=b'z', ..] | [b'e', b'N', b'o'..=b'r', ..])
}

/// What zlib made of something, if it is that to its end.
pub(super) fn inflated(bytes: &[u8], bytes_left: &mut usize) -> Option<Vec<u8>> {
    let [0x78, 0x01 | 0x9C | 0xDA, ..] = bytes else { return None };
    unzlib(bytes, bytes_left).filter(|inside| inside.fault.is_none())?.parts.pop()
}

/// What hexadecimal digits stand for, if that is JSON or compressed. Of a text that was cut, an odd digit at the end
/// stands for nothing.
pub(super) fn hex_value(text: &[u8], bytes_left: &mut usize) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let prefixes = [&b"\\x"[..], b"0x", b"0X"];
    let text = prefixes.iter().find_map(|prefix| text.strip_prefix(*prefix)).unwrap_or(text);
    let is_known = |begin: &&[u8]| {
        text.get(..begin.len()).is_some_and(|start| start.eq_ignore_ascii_case(begin))
    };
    if text.len() < HEX_DIGITS_MIN || !IN_HEX.iter().any(is_known) {
        return None;
    }
    if !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_chunks::<2>().0.iter();
    let value: Vec<u8> = pairs
        .map(|[high, low]| Some((digit(*high)? << 4) | digit(*low)?))
        .collect::<Option<_>>()?;
    *bytes_left = bytes_left.saturating_sub(value.len());
    Some(value)
}

/// Whether a text has no characters but those of Base64, and enough of them.
pub(super) fn may_be_base64(text: &[u8]) -> bool {
    let is_digit = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\r' | b'\n')
    };
    text.len() >= BASE64_BYTES_MIN && text.iter().all(is_digit)
}

/// What Base64 stands for that begins in no usual way, if an event may be in it.
fn base64_of_text(text: &[u8], bytes_left: &mut usize) -> Option<Vec<Vec<u8>>> {
    if !may_be_base64(text) {
        return None;
    }
    let values = base64_values(text, &mut { *bytes_left }).ok()?;
    let holds = |value: &Vec<u8>| {
        foreign::packed(value).is_some()
            || AUDIT_ID.iter().any(|key| memchr::memmem::find(value, key).is_some())
    };
    if !values.iter().any(holds) {
        return None;
    }
    *bytes_left = bytes_left.saturating_sub(values.iter().map(Vec::len).sum());
    Some(values)
}

/// What events have, and entries of clouds that hold them.
const AUDIT_ID: [&[u8]; 2] = [b"auditID", b"protoPayload"];

/// Each line that begins as Base64 does, and what stands between such lines.
fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut is_alone = true;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let begins = begins_base64(line.trim_ascii());
        match parts.last_mut() {
            Some(part) if !begins && !is_alone || line.trim_ascii().is_empty() => {
                part.extend_from_slice(line);
            }
            _ => parts.push(line.to_vec()),
        }
        is_alone = begins;
    }
    parts
}

/// Bytes of a text that may be a word, and is no Base64 that was cut: 16.
const WORD_BYTES_MAX: usize = 16;

/// What one or more values in Base64 stand for. A value may go over several lines; the next one begins
/// on a line of its own.
pub(super) fn base64_values(
    text: &[u8],
    bytes_left: &mut usize,
) -> Result<Vec<Vec<u8>>, base64::DecodeError> {
    let mut values: Vec<Vec<u8>> = Vec::new();
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        let is_complete = |value: &Vec<u8>| value.ends_with(b"=");
        match values.last_mut() {
            Some(value) if !begins_base64(line) && !is_complete(value) => {
                value.extend_from_slice(line);
            }
            _ if line.is_empty() => {}
            _ => values.push(line.to_vec()),
        }
    }
    for value in &mut values {
        // What was cut may end anywhere; a word of a few letters is no such thing.
        let config = GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(value.len() > WORD_BYTES_MAX);
        let standard = GeneralPurpose::new(&STANDARD, config);
        // Of what was cut, the last characters stand for no whole bytes.
        let ends_within = value.last().is_some_and(u8::is_ascii_alphanumeric);
        if ends_within && value.len() % 4 == 1 {
            value.pop();
        }
        if value.iter().any(|byte| matches!(byte, b'-' | b'_')) {
            *value = GeneralPurpose::new(&URL_SAFE, config).decode(&*value)?;
        } else {
            *value = standard.decode(&*value)?;
        }
        *bytes_left = bytes_left.saturating_sub(value.len());
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD as BASE64;
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

    use super::*;
    use crate::engine::{ledger::hex_of, limits};

    fn gzip(text: &str, flags: u8, extra: &[u8]) -> Vec<u8> {
        let head = [&GZIP[..], &[flags, 0, 0, 0, 0, 0, 3], extra].concat();
        [head, compress_to_vec(text.as_bytes(), 6), vec![0; 8]].concat()
    }

    fn looked(bytes: &[u8]) -> Look<'_> {
        look(bytes, &mut { limits::UNWRAPPED_BYTES_MAX })
    }

    #[track_caller]
    fn check_inside(bytes: &[u8], parts: &[&str]) {
        let Look::Inside(inside) = looked(bytes) else { panic!("{:?}", looked(bytes)) };
        let got: Vec<_> = inside.parts.iter().map(|part| String::from_utf8_lossy(part)).collect();
        assert_eq!((got, inside.fault), (parts.iter().map(|part| (*part).into()).collect(), None));
    }

    #[test]
    fn every_header_and_every_member_is_read() {
        let cases: [(u8, &[u8]); 5] = [
            (0, b""),
            (4, b"\x03\x00abc"),
            (8, b"name\0"),
            (8 | 16, b"name\0comment\0"),
            (2 | 4 | 8, b"\x01\x00axyz\0\x01\x02"),
        ];
        for (flags, extra) in cases {
            check_inside(&gzip("[]", flags, extra), &["[]"]);
        }
        let two = [gzip("{\"a\":", 0, b""), gzip("1}", 0, b"")].concat();
        check_inside(&two, &["{\"a\":1}"]);
        check_inside(&[&two[..], &[0; 512]].concat(), &["{\"a\":1}"]);
        check_inside(&[&two[..], b"tail"].concat(), &["{\"a\":1}", "tail"]);
        check_inside(&compress_to_vec_zlib(b"[1]", 6), &["[1]"]);
    }

    #[test]
    fn what_cannot_be_read_to_its_end_says_why() {
        let fault = |bytes: &[u8]| match looked(bytes) {
            Look::Inside(inside) => inside.fault.map(|(reason, _)| reason),
            Look::Bad(reason, _) => Some(reason),
            _ => None,
        };
        let whole = gzip(&"audit".repeat(1_000), 0, b"");
        assert_eq!(fault(&whole[..whole.len() - 12]), Some(DeadLetterReason::Truncated));
        assert_eq!(fault(&whole[..5]), Some(DeadLetterReason::NotJson));
        let bomb = gzip(&" ".repeat(limits::UNWRAPPED_BYTES_MAX + 1), 0, b"");
        assert_eq!(fault(&bomb), Some(DeadLetterReason::TooLarge));
        assert_eq!(fault(b"H4sI!"), Some(DeadLetterReason::NotJson));
        assert_eq!(fault(b"\x28\xB5\x2F\xFD\0\0"), Some(DeadLetterReason::OtherFormat));
        let binary = looked(b"\x0A\xFF\x01\x0A\x00");
        assert!(
            matches!(binary, Look::Binary(name) if name.contains("protocol buffers")),
            "{binary:?}"
        );
        // Text that only begins like something else.
        for text in ["{}", "eyJ hello", "W3C", "x\u{1}y", "\nhello", "hello"] {
            assert_eq!(looked(text.as_bytes()), Look::Plain(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn base64_may_go_over_lines_and_hold_several_values() {
        let one = BASE64.encode(gzip(&"{\"a\":1}".repeat(20), 0, b""));
        let (head, tail) = one.split_at(40);
        let two = BASE64.encode("{\"b\":2}");
        let Look::Inside(inside) = looked(format!("{head}\r\n{tail}\n{two}\n").as_bytes()) else {
            panic!()
        };
        assert_eq!(inside.parts.len(), 2);
        assert!(inside.parts[0].starts_with(&GZIP));
        assert_eq!(inside.parts[1], b"{\"b\":2}");
        check_inside(two.trim_end_matches('=').as_bytes(), &["{\"b\":2}"]);
    }

    #[test]
    fn digits_and_headers_are_undone() {
        let event = format!("{{\"auditID\":\"{}\"}}", "a".repeat(40));
        let hex = hex_of(event.as_bytes());
        for text in [hex.clone(), hex.to_uppercase(), format!("0x{hex}\n"), format!("\\x{hex}")] {
            check_inside(text.as_bytes(), &[&event]);
        }
        // An odd digit is half of a byte.
        check_inside(&hex.as_bytes()[..hex.len() - 1], &[&event[..event.len() - 1]]);
        assert!(matches!(looked(&hex.as_bytes()[..62]), Look::Plain(_)));
        assert!(matches!(looked(format!("{hex}x").as_bytes()), Look::Plain(_)));
        // Base64 of something else than JSON.
        let line = format!("<134>Mar  2 audit: {event}");
        check_inside(BASE64.encode(&line).as_bytes(), &[&line]);
        let other = BASE64.encode("hello ".repeat(20));
        assert!(matches!(looked(other.as_bytes()), Look::Plain(_)));
        let glue = |kind: u8, content: &[u8]| [&[3, kind], &[7; 16][..], content].concat();
        assert_eq!(looked(&glue(0, event.as_bytes())), Look::Plain(event.as_bytes()));
        check_inside(&glue(5, &compress_to_vec_zlib(event.as_bytes(), 6)), &[&event]);
        assert!(matches!(looked(&glue(0, b"\x06abc\xFF")), Look::Binary(_)));
    }

    #[test]
    fn utf16_is_read_with_and_without_its_mark() {
        for text in ["{\"a\":\"ö€😀\"}", "[1]"] {
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            let little_marked = [&[0xFF, 0xFE], &little[..]].concat();
            let big_marked = [&[0xFE, 0xFF], &big[..]].concat();
            for bytes in [little, big, little_marked, big_marked] {
                assert_eq!(looked(&bytes), Look::Text("UTF-16", text.to_owned()), "{bytes:?}");
            }
        }
    }

    #[test]
    fn zeros_in_front_are_a_hole_or_a_header() {
        for (bytes, expected) in [
            (&b"\0\0\0\0\0\0\0\0{\"a\":1}"[..], "{\"a\":1}"),
            (b"\0\0\0\0{\"a\":1}", "{\"a\":1}"),
            (b"\0\0\0\0\x07{\"a\":1}", "{\"a\":1}"),
            (b"\0\0\0\0\x07\"text\"", "\"text\""),
            (b"\0\0\0\x01\xFF{\"a\":1}", "{\"a\":1}"),
            // Schemas 123 and 91: the numbers of brackets.
            (b"\0\0\0\0{{\"a\":1}", "{\"a\":1}"),
            (b"\0\0\0\0[{\"a\":1}", "{\"a\":1}"),
            (b"\0\0\0\0[{\"a\":1}]", "[{\"a\":1}]"),
            (b"\0\0\0\0\x07\x0E{\"a\":1}", "{\"a\":1}"),
            (b"\0\0\0\0\x07\x96\x01{\"a\":1}", "{\"a\":1}"),
            (b"\0\0", "\0\0"),
        ] {
            assert_eq!(looked(bytes), Look::Plain(expected.as_bytes()), "{bytes:?}");
        }
    }
}
