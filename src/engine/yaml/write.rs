//! Texts as YAML has them, for documents that are made.

use std::fmt::Write as _;

/// A text as YAML has it: plain if it can be nothing else, or in quotes as JSON writes it.
pub(in crate::engine) fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'/' | b'*'))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text);
    if is_plain {
        return text.to_owned();
    }
    let mut quoted = String::new();
    for char in serde_json::Value::from(text).to_string().chars() {
        // What a terminal would obey, or turns text around, is not written as itself.
        let code = u32::from(char);
        let _ = match code {
            0x20..0x7f => write!(quoted, "{char}"),
            ..0x1_0000 => write!(quoted, "\\u{code:04x}"),
            _ => write!(quoted, "\\U{code:08x}"),
        };
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yaml_would_take_for_something_else_is_in_quotes() {
        for (text, written) in [
            ("pods/log", "pods/log"),
            ("pods/*", "pods/*"),
            ("*", "\"*\""),
            ("no", "\"no\""),
            ("1e3", "\"1e3\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("x\n- y", "\"x\\n- y\""),
            ("Anna@example.org", "\"Anna@example.org\""),
            ("é\u{202e}😀", "\"\\u00e9\\u202e\\U0001f600\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }
}
