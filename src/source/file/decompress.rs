//! What stands between the bytes of a file and its lines: compression, and another encoding.

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes read at once: 256 KiB.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// Compression within compression that is undone: 3 levels.
const LEVELS_MAX: usize = 3;

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Of a zstd frame that holds no data, which some writers put first; the first byte may be 0x50–0x5f.
const ZSTD_SKIPPABLE_MAGIC: &[u8] = &[0x2a, 0x4d, 0x18];

type Input = Box<dyn BufRead + Send>;

/// Counts what is read before decompression.
pub(super) struct Counted {
    pub(super) input: Box<dyn Read + Send>,
    pub(super) done: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Looks at the first bytes and puts the right decoders in front.
pub(super) fn decompress(input: Counted) -> io::Result<Input> {
    let mut input: Box<dyn Read + Send> = Box::new(input);
    let mut level = 0;
    loop {
        let mut head = Vec::with_capacity(4);
        input.by_ref().take(4).read_to_end(&mut head)?;
        let is_gzip = head.starts_with(GZIP_MAGIC) && level < LEVELS_MAX;
        let is_zstd = is_zstd(&head) && level < LEVELS_MAX;
        let is_utf16 = utf16_order(&head);
        let whole = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(head).chain(input));
        input = if is_gzip {
            // Rotated logs are often several gzip members in one file.
            Box::new(flate2::bufread::MultiGzDecoder::new(whole))
        } else if is_zstd {
            Box::new(zstd::stream::read::Decoder::with_buffer(whole)?)
        } else if let Some(is_little) = is_utf16 {
            let text = FromUtf16 { input: whole, is_little, ready: Vec::new(), high: None };
            return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, text)));
        } else {
            return Ok(Box::new(whole));
        };
        level += 1;
    }
}

/// Whether a file that begins so holds its content as it is.
pub(super) fn is_plain(head: &[u8]) -> bool {
    !head.starts_with(GZIP_MAGIC) && !is_zstd(head) && utf16_order(head).is_none()
}

fn is_zstd(head: &[u8]) -> bool {
    let is_skippable = head.get(1..4) == Some(ZSTD_SKIPPABLE_MAGIC)
        && head.first().is_some_and(|first| first & 0xf0 == 0x50);
    head.starts_with(ZSTD_MAGIC) || is_skippable
}

/// Whether this is UTF-16, and then whether the lower byte comes first.
fn utf16_order(head: &[u8]) -> Option<bool> {
    match head {
        [0xff, 0xfe, 0, 0] => None,
        [0xff, 0xfe, ..] | [b'{' | b'[', 0, ..] => Some(true),
        [0xfe, 0xff, ..] | [0, b'{' | b'[', ..] => Some(false),
        _ => None,
    }
}

/// Text in UTF-16, read as UTF-8. What is no text becomes U+FFFD.
struct FromUtf16<R> {
    input: R,
    is_little: bool,
    /// What was decoded and not handed on.
    ready: Vec<u8>,
    /// The first half of a character.
    high: Option<u16>,
}

impl<R: BufRead> FromUtf16<R> {
    fn push(&mut self, unit: u16) {
        let mut put = |c: char| {
            let mut bytes = [0; 4];
            self.ready.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
        };
        let units = self.high.take().into_iter().chain([unit]);
        for decoded in char::decode_utf16(units) {
            match decoded {
                Ok(c) => put(c),
                Err(error)
                    if (0xd800..0xdc00).contains(&error.unpaired_surrogate())
                        && error.unpaired_surrogate() == unit =>
                {
                    self.high = Some(unit);
                }
                Err(_) => put(char::REPLACEMENT_CHARACTER),
            }
        }
    }
}

impl<R: BufRead> Read for FromUtf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            let mut bytes = Vec::with_capacity(BUFFER_BYTES);
            let limit = (BUFFER_BYTES / 2 * 2) as u64;
            self.input.by_ref().take(limit).read_to_end(&mut bytes)?;
            for pair in bytes.as_chunks::<2>().0 {
                let unit = if self.is_little {
                    u16::from_le_bytes(*pair)
                } else {
                    u16::from_be_bytes(*pair)
                };
                self.push(unit);
            }
        }
        let count = self.ready.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(self.ready.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}
