//! A tar archive of plain files, as POSIX describes it (`ustar`): so any `tar` takes it apart.
//!
//! It holds a few files with short names that are made here, so links, long names and other sorts of entries
//! are not needed; what has them is refused. The same files make the same bytes.

use std::collections::BTreeMap;

/// Bytes of a block; headers are one, and files are padded to whole ones.
const BLOCK: usize = 512;

/// Bytes of the name of a file.
const NAME_BYTES_MAX: usize = 100;

/// Writes files in the order of their names. Their time is 1970, and their owner nobody.
///
/// # Errors
/// A name that is too long, or a file that is.
pub(super) fn write(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        if name.len() > NAME_BYTES_MAX || bytes.len() > 0o777_7777_7777 {
            return Err(format!("{name}: it does not fit into a tar archive"));
        }
        out.extend_from_slice(&header(name, bytes.len()));
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    Ok(out)
}

fn header(name: &str, bytes: usize) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block, 0, name);
    put(&mut block, 100, "0000600\0");
    put(&mut block, 108, "0000000\0");
    put(&mut block, 116, "0000000\0");
    put(&mut block, 124, &format!("{bytes:011o}\0"));
    put(&mut block, 136, "00000000000\0");
    put(&mut block, 148, "        ");
    put(&mut block, 156, "0");
    put(&mut block, 257, "ustar\0");
    put(&mut block, 263, "00");
    let sum = sum_of(&block);
    put(&mut block, 148, &format!("{sum:06o}\0 "));
    block
}

fn put(block: &mut [u8; BLOCK], at: usize, text: &str) {
    for (place, byte) in block.iter_mut().skip(at).zip(text.bytes()) {
        *place = byte;
    }
}

/// The sum of a header's bytes, with spaces in the place of the sum itself.
fn sum_of(block: &[u8]) -> u32 {
    let bytes = block.iter().enumerate();
    bytes.map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum()
}

/// Reads files back.
///
/// # Errors
/// What is no such archive, is cut, or holds anything but plain files.
pub(super) fn read(mut bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut files = BTreeMap::new();
    loop {
        let (block, rest) = bytes.split_at_checked(BLOCK).ok_or("the archive is cut")?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(files);
        }
        if number(block, 148, 8) != Some(u64::from(sum_of(block))) {
            return Err("a header of the archive is damaged".to_owned());
        }
        let name = text(block, 0, NAME_BYTES_MAX).ok_or("a name in the archive is no text")?;
        if !matches!(block.get(156), Some(b'0' | 0)) {
            return Err(format!("{name}: the archive holds what is no plain file"));
        }
        let length = number(block, 124, 12).and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| format!("{name}: its length is damaged"))?;
        let padded = length.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX);
        let (content, behind) =
            rest.split_at_checked(padded).ok_or_else(|| format!("{name}: the archive is cut"))?;
        let content = content.get(..length).unwrap_or_default().to_vec();
        if files.insert(name.to_owned(), content).is_some() {
            return Err(format!("{name}: it is there twice"));
        }
        bytes = behind;
    }
}

fn text(block: &[u8], at: usize, most: usize) -> Option<&str> {
    let field = block.get(at..at + most)?;
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(most);
    std::str::from_utf8(field.get(..end)?).ok()
}

/// An octal number.
fn number(block: &[u8], at: usize, most: usize) -> Option<u64> {
    u64::from_str_radix(text(block, at, most)?.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> BTreeMap<String, Vec<u8>> {
        let long = "n".repeat(NAME_BYTES_MAX);
        let file = |name: &str, bytes: usize| (name.to_owned(), vec![b'x'; bytes]);
        [file("a", 0), file("b/c.json", 511), file("d", 512), file(&long, 513)].into()
    }

    #[test]
    fn files_are_read_as_they_were_written() {
        let bytes = write(&files()).unwrap();
        assert_eq!(read(&bytes).unwrap(), files());
        assert_eq!(bytes, write(&files()).unwrap());
        assert!(write(&[("n".repeat(NAME_BYTES_MAX + 1), vec![])].into()).is_err());
    }

    #[test]
    fn what_is_cut_or_damaged_is_refused() {
        let bytes = write(&files()).unwrap();
        for end in [0, 1, 511, 512, 1_000, bytes.len() - 2 * BLOCK - 1] {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
        for at in [0, 100, 124, 156, 300] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "{at}");
        }
    }
}
