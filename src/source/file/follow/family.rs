//! Which log a file belongs to: rotated files have the name of their log, and more.

use std::path::Path;

/// Endings of compressed files.
const PACKED: [&str; 5] = [".gz", ".zst", ".bz2", ".xz", ".z"];

/// The log that a file is of, as the path of its live file: `audit.log` for `audit.log.1`,
/// `audit.log.2.gz`, `audit.log-20260105`, and `audit-2026-01-05T22-14-01.123.log`, as the API server calls
/// them. A name that has other numbers in it is of another log.
pub(super) fn log_of(path: &Path) -> String {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
        return path.display().to_string();
    };
    let log = without_rotation(&name);
    let log = if log.is_empty() { name.into_owned() } else { log };
    path.with_file_name(log).display().to_string()
}

fn without_rotation(name: &str) -> String {
    let mut name = name.to_owned();
    while let Some(ending) =
        PACKED.iter().find(|ending| name.to_ascii_lowercase().ends_with(**ending))
    {
        name.truncate(name.len() - ending.len());
    }
    if let Some((stem, number)) = name.rsplit_once('.')
        && !number.is_empty()
        && number.len() <= 5
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !stem.is_empty()
    {
        name.truncate(stem.len());
    }
    while let Some((start, end)) = date_in(&name) {
        name.replace_range(start..end, "");
    }
    name
}

/// Where a date stands in a name, with what parts it from what stands before: at least eight digits from
/// the year on, and what may stand between them.
fn date_in(name: &str) -> Option<(usize, usize)> {
    let bytes = name.as_bytes();
    let is_part = |byte: u8| byte.is_ascii_digit() || b"-_:.T+Z".contains(&byte);
    let mut at = 0;
    while let Some(start) = bytes.get(at..)?.iter().position(|byte| b"-_.".contains(byte)) {
        let start = at + start;
        let rest = bytes.get(start + 1..)?;
        let mut length = rest.iter().take_while(|byte| is_part(**byte)).count();
        // What parts the date from what stands behind it stays.
        while length > 0 && !rest.get(length - 1).is_some_and(|b| b.is_ascii_digit() || *b == b'Z')
        {
            length -= 1;
        }
        let date = rest.get(..length)?;
        let digits = date.iter().filter(|byte| byte.is_ascii_digit()).count();
        let has_year = date.starts_with(b"19") || date.starts_with(b"20");
        if has_year && digits >= 8 {
            return Some((start, start + 1 + length));
        }
        at = start + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_of_their_log() {
        for name in [
            "audit.log",
            "audit.log.1",
            "audit.log.12.gz",
            "audit.log-20260105",
            "audit.log-20260105.zst",
            "audit.log-20260105-1767651241.gz",
            "audit-2026-01-05T22-14-01.123.log",
            "audit-2026-01-05T22-14-01.123.log.gz",
            "audit_20260105.log",
            "audit.log.2026-01-05T22:14:01Z",
        ] {
            assert_eq!(log_of(&Path::new("/var/log").join(name)), "/var/log/audit.log", "{name}");
        }
    }

    #[test]
    fn other_logs_are_not() {
        for name in ["audit-1.log", "audit2.log", "audit-master1.log", "20260105", "audit.v1", ".1"]
        {
            assert_eq!(log_of(Path::new(name)), name);
        }
    }
}
