//! Formats that are known and not read: what they are called, so that a dead letter can say it.
//!
//! Bytes are told by how they begin, text by how its first line looks. Nothing depends on it but words.

/// Compressed or packed formats, by their first bytes. No text with an event can stand in them as it is.
const PACKED: [(&[u8], &str); 18] = [
    (&[0x28, 0xB5, 0x2F, 0xFD], "zstd"),
    (&[0x04, 0x22, 0x4D, 0x18], "LZ4"),
    (&[0x02, 0x21, 0x4C, 0x18], "LZ4"),
    (b"LZ4Block", "LZ4, as Java writes it"),
    (&[0xFF, 0x06, 0x00, 0x00, b's', b'N', b'a', b'P'], "Snappy"),
    (&[0x82, b'S', b'N', b'A', b'P', b'P', b'Y'], "Snappy"),
    (&[0xFD, b'7', b'z', b'X', b'Z'], "xz"),
    (&[b'7', b'z', 0xBC, 0xAF], "7z"),
    (&[0x1F, 0x9D], "compress"),
    (&[0x89, b'L', b'Z', b'O'], "LZO"),
    (&[0x1E, 0x0F], "a part of a GELF message"),
    (b"PK\x03\x04", "zip"),
    (b"BZh9", "bzip2"),
    (b"LZIP", "lzip"),
    (b"Obj\x01", "an Avro file"),
    (b"PAR1", "Parquet"),
    (b"ORC\x08", "ORC"),
    (b"ARROW1", "Arrow"),
];

/// Binary formats, by their first bytes, in which texts stand as they are.
const BINARY: [(&[u8], &str); 6] = [
    (b"k8s\0", "protocol buffers of Kubernetes"),
    (&[0xC3, 0x01], "Avro"),
    (&[0xAC, 0xED, 0x00, 0x05], "objects as Java serializes them"),
    (&[0xD9, 0xD9, 0xF7], "CBOR"),
    (&[0xE0, 0x01, 0x00, 0xEA], "Ion"),
    (&[0xFF, 0xFE, 0x00, 0x00], "UTF-32"),
];

/// What is compressed or packed, if it is known.
pub(super) fn packed(bytes: &[u8]) -> Option<&'static str> {
    let known = PACKED.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name);
    known.or_else(|| is_lz4_block(bytes).then_some("LZ4 without a frame"))
}

/// What is binary, if it is known. Texts in it stand as they are.
pub(super) fn binary(bytes: &[u8]) -> Option<&'static str> {
    if let Some((_, name)) = BINARY.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(name);
    }
    // What follows is looked at only where the first bytes are odd.
    match bytes {
        _ if bytes.get(257..262) == Some(b"ustar") => Some("tar"),
        [0x80, 2..=5, ..] => Some("a pickle of Python"),
        [0x81..=0x8F, 0xA1..=0xBF | 0xD9, ..]
        | [0xDE, _, _, 0xA1..=0xBF | 0xD9, ..]
        | [0x91..=0x9F, 0x80..=0xDF, ..]
        | [0xDC | 0xDD, _, _, _, ..] => {
            Some("MessagePack, in which Fluentd and Fluent Bit forward")
        }
        [0xA1..=0xB7 | 0xBF, 0x61..=0x7B, ..] => Some("CBOR"),
        [a, b, c, d, 1..=19, .., 0]
            if usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])) == Ok(bytes.len()) =>
        {
            Some("BSON")
        }
        [0, _, _, _, _, ..] if !is_text(bytes) => Some(
            "binary behind the header of Confluent's serializers, such as Avro or protocol buffers",
        ),
        [0x0A, ..] if !is_text(bytes) => {
            Some("binary, such as protocol buffers that are no logs of OpenTelemetry")
        }
        _ if begins_snappy(bytes) && !is_text(bytes) => Some("Snappy without a frame"),
        _ => None,
    }
}

/// Whether there is nothing but text, at most behind zeros.
fn is_text(bytes: &[u8]) -> bool {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let rest = bytes.get(zeros..).unwrap_or_default();
    std::str::from_utf8(rest).is_ok_and(|text| !text.contains('\0'))
}

/// Whether JSON begins after the length and the tag of a first literal.
fn begins_snappy(bytes: &[u8]) -> bool {
    let length = bytes.iter().take(4).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let rest = bytes.get(length..).unwrap_or_default();
    let Some(tag) = rest.first().filter(|tag| tag.is_multiple_of(4)) else { return false };
    let tag_length = match tag >> 2 {
        60 => 2,
        61 => 3,
        62 => 4,
        63 => 5,
        _ => 1,
    };
    begins_json(rest.get(tag_length..).unwrap_or_default())
}

/// Whether JSON begins after the lengths of a first literal, with or without a length of all in front.
fn is_lz4_block(bytes: &[u8]) -> bool {
    [bytes, bytes.get(4..).unwrap_or_default()].iter().any(|block| match block {
        [0xF0..=0xFF, rest @ ..] => {
            let more = rest.iter().take(8).take_while(|byte| **byte == 0xFF).count() + 1;
            begins_json(rest.get(more..).unwrap_or_default())
        }
        _ => false,
    })
}

fn begins_json(bytes: &[u8]) -> bool {
    matches!(bytes, [b'{', b'"', ..] | [b'[', b'{', ..])
}

/// What a text is that is no JSON, if it is known.
pub(super) fn text(text: &str) -> Option<&'static str> {
    let text = text.trim_start();
    let line = text.lines().next().unwrap_or("").trim_end();
    let is_name = |c: char| c.is_ascii_alphabetic() || matches!(c, '?' | '!' | '/');
    if line.strip_prefix('<').is_some_and(|rest| rest.starts_with(is_name)) {
        return Some("XML or HTML");
    }
    let begins = |start: &str| line.starts_with(start);
    let has = |part: &str| line.contains(part);
    if has(" AUDIT: id=") {
        return Some(
            "the API server's old text format (its flag `--audit-log-format` may say `json`)",
        );
    }
    if has("CEF:0|") || has("CEF:1|") {
        return Some("CEF");
    }
    if has("LEEF:1.0|") || has("LEEF:2.0|") {
        return Some("LEEF");
    }
    if begins("%7B%22") || begins("%7b%22") || has("=%7B%22") || has("=%7b%22") {
        return Some("percent-encoded text");
    }
    if begins("{'") || begins("[{'") {
        return Some("a dictionary as Python prints it");
    }
    if begins("{\"") && has("\"=>") || begins("{:") && has("=>") {
        return Some("a hash as Ruby prints it");
    }
    if begins("map[") || begins("&{") {
        return Some("a value as Go prints it");
    }
    if begins("---") || begins("kind: ") || begins("apiVersion: ") || begins("- kind: ") {
        return Some("YAML");
    }
    let digits = line.trim_start_matches("0x").trim_start_matches("\\x");
    if digits.len() >= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("hexadecimal digits");
    }
    let pairs = line.split_whitespace().filter(|word| {
        let key = word.split_once('=').map_or("", |(key, _)| key);
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    });
    if pairs.count() >= 3 {
        return Some("pairs of keys and values (logfmt)");
    }
    let is_row = |separator: char| line.matches(separator).count() >= COMMAS_MIN;
    let is_prose = has(", ") || has("; ") || has("{");
    (!is_prose && [',', ';', '\t', '|'].into_iter().any(is_row)).then_some("CSV")
}

/// Separators that a line of comma-separated values has at least: 2.
const COMMAS_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_by_how_they_begin() {
        for (bytes, name) in [
            (&b"\x28\xB5\x2F\xFD\0"[..], "zstd"),
            (b"LZ4Block\x26", "LZ4, as Java writes it"),
            (b"\xF0\x20{\"kind\"", "LZ4 without a frame"),
            (b"\x60\x01\0\0\xF3\xFF\x02{\"kind\"", "LZ4 without a frame"),
            (b"PK\x03\x04\x14", "zip"),
        ] {
            assert_eq!(packed(bytes), Some(name), "{bytes:?}");
        }
        for (bytes, name) in [
            (&b"k8s\0\x0A\x0F"[..], "protocol buffers of Kubernetes"),
            (b"\x82\xA4kind\xA5Event", "MessagePack, in which Fluentd and Fluent Bit forward"),
            (b"\x93\xA3tag\xCE", "MessagePack, in which Fluentd and Fluent Bit forward"),
            (b"\xA2\x64kind\x65Event", "CBOR"),
            (b"\x0C\0\0\0\x10a\0\x01\0\0\0\0", "BSON"),
            (b"\x95\x07\xF0\x3C{\"kind\"\xFE", "Snappy without a frame"),
        ] {
            assert_eq!(binary(bytes), Some(name), "{bytes:?}");
        }
        assert!(binary(b"\0\0\0\0\x07\x06a-1\xFF").is_some_and(|name| name.contains("Confluent")));
        for text in ["hello", "<134>1 {\"a\":1}", "", "\0\0\0\0{\"a\":1}", "\nhello", "é"] {
            assert_eq!(packed(text.as_bytes()), None, "{text}");
            assert_eq!(binary(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn texts_are_told_by_their_first_line() {
        for (given, name) in [
            ("<?xml version=\"1.0\"?>\n<e/>", "XML or HTML"),
            ("<Event>x</Event>", "XML or HTML"),
            ("auditID,verb,stage,user\na,get,Panic,eve", "CSV"),
            ("a\tb\tc\td", "CSV"),
            ("kind: Event\napiVersion: audit.k8s.io/v1", "YAML"),
            ("{'kind': 'Event'}", "a dictionary as Python prints it"),
            ("{\"kind\"=>\"Event\"}", "a hash as Ruby prints it"),
            ("map[kind:Event]", "a value as Go prints it"),
            ("time=x level=info verb=get", "pairs of keys and values (logfmt)"),
            ("CEF:0|Kubernetes|audit|1|x", "CEF"),
            ("LEEF:2.0|K8s|audit|1|", "LEEF"),
            ("%7B%22kind%22", "percent-encoded text"),
            ("68656c6c6f20776f726c64", "hexadecimal digits"),
        ] {
            assert_eq!(text(given), Some(name), "{given}");
        }
        assert!(text("2026-03-02T10:00:00Z AUDIT: id=\"a\"").is_some());
        for given in
            ["hello", "I0302 10:00:00 a.go:1] a, b, c, d", "", "<134>x", "[pod/a/b] no", "{x} y"]
        {
            assert_eq!(text(given), None, "{given}");
        }
    }
}
