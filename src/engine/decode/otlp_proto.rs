//! OpenTelemetry's Kafka exporter with its usual encoding, `otlp_proto`: protocol buffers, which are written
//! down as `otlp_json` would have them, and read as that (`otlp`).
//!
//! The reader is one of our own: `prost` builds a whole message before anything can be counted, so that 16 MiB of
//! empty log records would become a gigabyte, and says nothing of a message that was cut. This one makes no
//! more than it may, and reads up to the cut. It takes for OpenTelemetry's only what has log records where
//! they belong, and nothing else there, since a text may begin with the same byte.

use crate::engine::{dead_letter::DeadLetterReason, limits::JSON_DEPTH_MAX};

/// Logs of OpenTelemetry.
#[derive(Debug)]
pub(super) struct Logs {
    /// They as JSON.
    pub(super) json: Vec<u8>,
    /// Why there may be more than could be read.
    pub(super) fault: Option<(DeadLetterReason, &'static str)>,
}

/// Bytes that are no such message.
#[derive(Debug)]
struct Other;

/// A message, or a text, within another one.
#[derive(Clone, Copy, Debug)]
struct Message<'a> {
    bytes: &'a [u8],
    /// Bytes that belong to it and are not there, since all of it was cut.
    missing: usize,
}

/// The value of one field.
#[derive(Clone, Copy, Debug)]
enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Message(Message<'a>),
}

/// What comes next in a message.
enum Next<'a> {
    Field(u64, Field<'a>),
    End,
    /// The rest is not there.
    Cut,
}

impl<'a> Message<'a> {
    /// The message around all others. Its length is written nowhere.
    const fn outermost(bytes: &'a [u8]) -> Message<'a> {
        Message { bytes, missing: usize::MAX }
    }

    fn next(&mut self) -> Result<Next<'a>, Other> {
        if self.bytes.is_empty() {
            let is_whole = matches!(self.missing, 0 | usize::MAX);
            return Ok(if is_whole { Next::End } else { Next::Cut });
        }
        let Some(key) = self.varint()? else { return Ok(Next::Cut) };
        let value = match key & 7 {
            0 => self.varint()?.map(Field::Varint),
            1 => self.fixed::<8>()?.map(|bytes| Field::Fixed64(u64::from_le_bytes(bytes))),
            2 => match self.varint()? {
                Some(length) => Some(Field::Message(self.inner(length)?)),
                None => None,
            },
            5 => self.fixed::<4>()?.map(|_| Field::Fixed32),
            _ => return Err(Other),
        };
        Ok(value.map_or(Next::Cut, |value| Next::Field(key >> 3, value)))
    }

    /// What is written in seven bits of each byte; `None` if it is cut.
    fn varint(&mut self) -> Result<Option<u64>, Other> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let Some((byte, rest)) = self.bytes.split_first() else { return self.cut() };
            self.bytes = rest;
            value |= u64::from(byte & 0x7F).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        Err(Other)
    }

    fn fixed<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Other> {
        let Some((value, rest)) = self.bytes.split_first_chunk() else { return self.cut() };
        self.bytes = rest;
        Ok(Some(*value))
    }

    /// A message, or a text, of so many bytes.
    fn inner(&mut self, length: u64) -> Result<Message<'a>, Other> {
        let length = usize::try_from(length).map_err(|_| Other)?;
        if let Some((bytes, rest)) = self.bytes.split_at_checked(length) {
            self.bytes = rest;
            return Ok(Message { bytes, missing: 0 });
        }
        let bytes = std::mem::take(&mut self.bytes);
        let missing = length - bytes.len();
        // No message is longer than the one that it is in.
        if missing <= self.missing { Ok(Message { bytes, missing }) } else { Err(Other) }
    }

    /// It ends before it should.
    fn cut<T>(&mut self) -> Result<Option<T>, Other> {
        self.bytes = &[];
        if self.missing > 0 { Ok(None) } else { Err(Other) }
    }
}

/// Writes what is read as JSON.
struct Writer {
    out: Vec<u8>,
    bytes_max: usize,
    records: usize,
    is_cut: bool,
}

/// Reads logs of OpenTelemetry; `None` if the bytes are nothing of that kind, or without a single log record. At
/// most `bytes_left` are made of them, which is lowered.
pub(super) fn read(bytes: &[u8], bytes_left: &mut usize) -> Option<Logs> {
    let mut writer = Writer { out: Vec::new(), bytes_max: *bytes_left, records: 0, is_cut: false };
    writer.requests(Message::outermost(bytes)).ok()?;
    if writer.records == 0 {
        return None;
    }
    *bytes_left = bytes_left.saturating_sub(writer.out.len());
    let fault = if writer.is_full() {
        Some((
            DeadLetterReason::TooLarge,
            "OpenTelemetry's protocol buffers, of which not all was read",
        ))
    } else if writer.is_cut {
        Some((DeadLetterReason::Truncated, "OpenTelemetry's protocol buffers, which were cut"))
    } else {
        None
    };
    Some(Logs { json: writer.out, fault })
}

impl Writer {
    /// Whether no more may be written. What is open is closed all the same.
    fn is_full(&self) -> bool {
        self.out.len() >= self.bytes_max
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Reads a message field by field.
    fn fields<'a>(
        &mut self,
        mut message: Message<'a>,
        mut field: impl FnMut(&mut Self, u64, Field<'a>) -> Result<(), Other>,
    ) -> Result<(), Other> {
        while !self.is_full() {
            match message.next()? {
                Next::Field(number, value) => field(self, number, value)?,
                Next::End => break,
                Next::Cut => {
                    self.is_cut = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes the messages of one field as the items of a list.
    fn list<'a>(
        &mut self,
        message: Message<'a>,
        of: u64,
        mut item: impl FnMut(&mut Self, Message<'a>) -> Result<(), Other>,
    ) -> Result<(), Other> {
        self.put("[");
        let mut is_first = true;
        self.fields(message, |writer, number, value| {
            let (true, Field::Message(inner)) = (number == of, value) else { return Ok(()) };
            if !std::mem::take(&mut is_first) {
                writer.put(",");
            }
            item(writer, inner)
        })?;
        self.put("]");
        Ok(())
    }

    /// `LogsData`, which is what `ExportLogsServiceRequest` is, too.
    fn requests(&mut self, message: Message<'_>) -> Result<(), Other> {
        only(message, &[1])?;
        self.put("{\"resourceLogs\":");
        self.list(message, 1, Writer::resource_logs)?;
        self.put("}");
        Ok(())
    }

    fn resource_logs(&mut self, message: Message<'_>) -> Result<(), Other> {
        only(message, &[1, 2, 3, 1000])?;
        self.put("{");
        self.fields(message, |writer, number, value| match value {
            Field::Message(resource) if number == 1 => {
                writer.put("\"resource\":{\"attributes\":");
                writer.list(resource, 1, |writer, entry| writer.key_value(entry, 0))?;
                writer.put("},");
                Ok(())
            }
            _ => Ok(()),
        })?;
        self.put("\"scopeLogs\":");
        self.list(message, 2, Writer::scope_logs)?;
        self.put("}");
        Ok(())
    }

    fn scope_logs(&mut self, message: Message<'_>) -> Result<(), Other> {
        only(message, &[1, 2, 3])?;
        self.put("{\"logRecords\":");
        self.list(message, 2, Writer::log_record)?;
        self.put("}");
        Ok(())
    }

    fn log_record(&mut self, message: Message<'_>) -> Result<(), Other> {
        let (mut body, mut times) = (None, [0; 2]);
        // What is wrong with it must show before any of it counts.
        self.fields(message, |_, number, value| {
            match (number, value) {
                (1, Field::Fixed64(time)) => times[0] = time,
                (11, Field::Fixed64(time)) => times[1] = time,
                (5, Field::Message(value)) => body = Some(value),
                (2 | 7, Field::Varint(_))
                | (8, Field::Fixed32)
                | (3 | 6 | 9 | 10 | 12, Field::Message(_))
                | (0 | 4 | 13.., _) => {}
                _ => return Err(Other),
            }
            Ok(())
        })?;
        self.records += 1;
        self.put("{");
        for (key, time) in ["timeUnixNano", "observedTimeUnixNano"].into_iter().zip(times) {
            if time != 0 {
                self.put(&format!("\"{key}\":\"{time}\","));
            }
        }
        self.put("\"body\":");
        match body {
            Some(body) => self.any_value(body, 0)?,
            None => self.put("{}"),
        }
        self.put(",\"attributes\":");
        self.list(message, 6, |writer, entry| writer.key_value(entry, 0))?;
        self.put("}");
        Ok(())
    }

    fn key_value(&mut self, message: Message<'_>, depth: usize) -> Result<(), Other> {
        let (mut key, mut value) = (None, None);
        self.fields(message, |_, number, field| {
            match (number, field) {
                (1, Field::Message(text)) => key = Some(text),
                (2, Field::Message(inner)) => value = Some(inner),
                (1 | 2, _) => return Err(Other),
                _ => {}
            }
            Ok(())
        })?;
        self.put("{\"key\":");
        self.string(key.unwrap_or(Message { bytes: &[], missing: 0 }));
        self.put(",\"value\":");
        match value {
            Some(value) => self.any_value(value, depth)?,
            None => self.put("{}"),
        }
        self.put("}");
        Ok(())
    }

    /// Recursion is bounded by [`JSON_DEPTH_MAX`]; what lies deeper has no value.
    fn any_value(&mut self, message: Message<'_>, depth: usize) -> Result<(), Other> {
        let mut last = None;
        self.fields(message, |_, number, value| {
            last = Some((number, value));
            Ok(())
        })?;
        match last {
            Some((1, Field::Message(text))) => {
                self.put("{\"stringValue\":");
                self.string(text);
            }
            Some((2, Field::Varint(value))) => {
                self.put(&format!("{{\"boolValue\":{}", value != 0));
            }
            Some((3, Field::Varint(value))) => {
                self.put(&format!("{{\"intValue\":\"{}\"", value.cast_signed()));
            }
            Some((4, Field::Fixed64(bits))) => {
                let value = serde_json::Value::from(f64::from_bits(bits));
                self.put(&format!("{{\"doubleValue\":{value}"));
            }
            Some((5, Field::Message(array))) if depth < JSON_DEPTH_MAX => {
                self.put("{\"arrayValue\":{\"values\":");
                self.list(array, 1, |writer, item| writer.any_value(item, depth + 1))?;
                self.put("}");
            }
            Some((6, Field::Message(list))) if depth < JSON_DEPTH_MAX => {
                self.put("{\"kvlistValue\":{\"values\":");
                self.list(list, 1, |writer, entry| writer.key_value(entry, depth + 1))?;
                self.put("}");
            }
            Some((7, Field::Message(bytes))) => {
                let standard = base64::engine::general_purpose::STANDARD;
                let text = base64::Engine::encode(&standard, bytes.bytes);
                self.put(&format!("{{\"bytesValue\":\"{text}\""));
                self.is_cut |= bytes.missing > 0;
            }
            Some((1..=7, _)) if depth < JSON_DEPTH_MAX => return Err(Other),
            _ => self.put("{"),
        }
        self.put("}");
        Ok(())
    }

    /// A string of JSON. Bytes that are not UTF-8 stay as they are: that is judged where all text is.
    fn string(&mut self, text: Message<'_>) {
        self.is_cut |= text.missing > 0;
        self.put("\"");
        let is_plain = |byte: &u8| *byte >= 0x20 && !matches!(byte, b'"' | b'\\');
        let mut rest = text.bytes;
        while !rest.is_empty() && !self.is_full() {
            let plain = rest.iter().take_while(|byte| is_plain(byte)).count();
            let (run, behind) = rest.split_at(plain);
            self.out.extend_from_slice(run);
            rest = behind;
            if let Some((byte, behind)) = rest.split_first() {
                match byte {
                    b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', *byte]),
                    b'\n' => self.put("\\n"),
                    _ => self.put(&format!("\\u{byte:04x}")),
                }
                rest = behind;
            }
        }
        self.put("\"");
    }
}

/// A field that is a message or a text, as it is written.
pub(super) fn part(number: u64, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for mut value in [number << 3 | 2, content.len() as u64] {
        while value >= 0x80 {
            out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        out.push(value.to_le_bytes()[0]);
    }
    out.extend_from_slice(content);
    out
}

/// That a message has no fields but messages of these numbers.
fn only(mut message: Message<'_>, numbers: &[u64]) -> Result<(), Other> {
    loop {
        match message.next()? {
            Next::Field(number, Field::Message(_)) if numbers.contains(&number) => {}
            Next::Field(..) => return Err(Other),
            Next::End | Next::Cut => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_value(key: &str, value: &[u8]) -> Vec<u8> {
        [part(1, key.as_bytes()), part(2, value)].concat()
    }

    fn request(records: &[Vec<u8>]) -> Vec<u8> {
        let resource = part(1, &key_value("k8s.cluster.name", &part(1, b"prod")));
        let records: Vec<u8> = records.iter().flat_map(|record| part(2, record)).collect();
        let scope = [part(1, &part(1, b"filelog")), records].concat();
        part(1, &[part(1, &resource), part(2, &scope), part(3, b"schema")].concat())
    }

    /// A log record with a time, a severity, and this body.
    fn record(body: &[u8]) -> Vec<u8> {
        [&[0x09, 0, 0xCA, 0x9A, 0x3B, 0, 0, 0, 0, 0x10, 9][..], &part(5, body)].concat()
    }

    fn json(bytes: &[u8]) -> serde_json::Value {
        let logs = read(bytes, &mut (1 << 20)).unwrap();
        assert_eq!(logs.fault, None);
        serde_json::from_slice(&logs.json).unwrap()
    }

    fn fault(bytes: &[u8]) -> Option<DeadLetterReason> {
        read(bytes, &mut (1 << 20)).and_then(|logs| logs.fault).map(|(reason, _)| reason)
    }

    #[test]
    fn values_are_those_of_the_json_form() {
        let pairs = [
            key_value("text", &part(1, "a\"\\\n\u{1}ö".as_bytes())),
            key_value("yes", &[0x10, 1]),
            key_value("minus", &[&[0x18][..], &[0xFF; 9], &[1]].concat()),
            key_value("half", &[&[0x21][..], &0.5_f64.to_le_bytes()].concat()),
            key_value("list", &part(5, &[part(1, &part(1, b"a")), part(1, &[])].concat())),
            key_value("bytes", &part(7, &[0, 255])),
            key_value("none", &[]),
        ];
        let pairs: Vec<u8> = pairs.iter().flat_map(|pair| part(1, pair)).collect();
        let document = json(&request(&[record(&part(6, &pairs))]));
        let first = &document["resourceLogs"][0];
        let attribute =
            serde_json::json!({"key": "k8s.cluster.name", "value": {"stringValue": "prod"}});
        assert_eq!(first["resource"]["attributes"][0], attribute);
        let written = &first["scopeLogs"][0]["logRecords"][0];
        assert_eq!(written["timeUnixNano"], "1000000000");
        let expected = serde_json::json!([
            {"key": "text", "value": {"stringValue": "a\"\\\n\u{1}ö"}},
            {"key": "yes", "value": {"boolValue": true}},
            {"key": "minus", "value": {"intValue": "-1"}},
            {"key": "half", "value": {"doubleValue": 0.5}},
            {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {}]}}},
            {"key": "bytes", "value": {"bytesValue": "AP8="}},
            {"key": "none", "value": {}},
        ]);
        assert_eq!(written["body"]["kvlistValue"]["values"], expected);
    }

    #[test]
    fn what_is_no_log_record_where_one_belongs_is_something_else() {
        // A span has its id where a log record has its time.
        let span = request(&[part(1, &[7; 16])]);
        for other in [
            &span[..],
            b"\n",
            b"\n\n\n\n",
            b"\n{\"a\":1}",
            b"\n{\n \"kind\": \"Event\"\n}",
            b"\nhello",
            b"\x0A\xFF\x01\x0A\x00",
            &request(&[]),
            &[0x0A; 1_000],
        ] {
            assert!(read(other, &mut (1 << 20)).is_none(), "{other:?}");
        }
    }

    #[test]
    fn what_was_cut_is_read_up_to_there() {
        let whole = request(&[record(&part(1, b"first")), record(&part(1, &[b'x'; 300]))]);
        assert_eq!(fault(&whole), None);
        let first_ends = whole.windows(5).position(|five| five == b"first").unwrap() + 5;
        for end in first_ends..whole.len() {
            let logs = read(&whole[..end], &mut (1 << 20)).unwrap();
            assert_eq!(logs.fault.map(|(reason, _)| reason), Some(DeadLetterReason::Truncated));
            let text = String::from_utf8(logs.json.clone()).unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{end}: {text}");
            assert!(text.contains("first"), "{end}: {text}");
        }
    }

    #[test]
    fn no_more_is_made_than_may_be() {
        let many = request(&vec![Vec::new(); 100_000]);
        let mut left = 10_000;
        let logs = read(&many, &mut left).unwrap();
        assert_eq!(logs.fault.map(|(reason, _)| reason), Some(DeadLetterReason::TooLarge));
        assert!(logs.json.len() < 11_000 && left == 0);
        assert!(serde_json::from_slice::<serde_json::Value>(&logs.json).is_ok());
        let mut nested = part(1, b"deep");
        for _ in 0..1_000 {
            nested = part(5, &part(1, &nested));
        }
        let logs = read(&request(&[record(&nested)]), &mut (1 << 20)).unwrap();
        let text = String::from_utf8(logs.json.clone()).unwrap();
        assert_eq!(text.matches("arrayValue").count(), JSON_DEPTH_MAX);
    }
}
