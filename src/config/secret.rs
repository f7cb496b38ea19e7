//! Secrets: following references to them, and keeping them out of what is shown.

use std::{collections::BTreeMap, ops::Range, path::Path};

use crate::{
    engine::yaml::{Node, NodeKind, SecretRef},
    file,
};

/// Bytes of a secret's file: 64 KiB. A larger one is refused; it is surely not a secret.
const SECRET_FILE_BYTES_MAX: usize = 64 << 10;

/// Words that make a key's value a secret, whatever stands around them.
const SECRET_WORDS: [&str; 10] = [
    "authorization",
    "password",
    "passphrase",
    "passwd",
    "secret",
    "token",
    "api_key",
    "routing_key",
    "webhook_url",
    "credentials",
];

/// Follows references to secrets. Cheap to clone; reads at each call, so that a rotated file is seen.
#[derive(Clone)]
pub struct SecretReader {
    environment: BTreeMap<String, String>,
}

impl SecretReader {
    /// Variables are those given here; files are relative to the working directory.
    pub fn new(environment: &[(String, String)]) -> SecretReader {
        SecretReader { environment: environment.iter().cloned().collect() }
    }

    /// Reads a secret. A file loses one line break at its end. White space alone is no secret: whoever takes it off
    /// the ends of what a client sends would let everybody in.
    ///
    /// # Errors
    /// Why there is none, for people; never any part of a secret.
    pub fn read(&self, secret: &SecretRef) -> Result<String, String> {
        match secret {
            SecretRef::Inline(text) => Ok(text.clone()),
            SecretRef::Env(name) => match self.environment.get(name).map(String::as_str) {
                None => Err(format!("environment variable {name} is not set")),
                Some(text) if text.trim().is_empty() => {
                    Err(format!("environment variable {name} is empty"))
                }
                Some(text) => Ok(text.to_owned()),
            },
            SecretRef::File(path) => {
                read_file(Path::new(path)).map_err(|why| format!("secret file {path}: {why}"))
            }
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let bytes = file::read(path, SECRET_FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    // Some editors put a mark in front, which is no part of the secret.
    let text = text.trim_start_matches('\u{feff}');
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Whether the value of a key must not be shown. `password_file` and `password_env` name a place, so
/// theirs may be; so may `${NAME}`, which the caller sees.
pub(super) fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace(['.', '-'], "_");
    // A token's endpoint is no secret, but who knows a webhook's URL may post to it.
    let names_a_place = ["_file", "_env", "_location", "token_url", "endpoint_url"];
    SECRET_WORDS.iter().any(|word| key.contains(word))
        && !names_a_place.iter().any(|end| key.ends_with(end))
}

/// The places of all secrets in a tree, in bytes.
pub(super) fn secret_spans(node: &Node, out: &mut Vec<Range<usize>>) {
    match &node.kind {
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                if is_secret_key(&key.text) {
                    all_scalars(value, out);
                } else {
                    secret_spans(value, out);
                }
            }
        }
        NodeKind::List(items) => items.iter().for_each(|item| secret_spans(item, out)),
        _ => {}
    }
}

fn all_scalars(node: &Node, out: &mut Vec<Range<usize>>) {
    match &node.kind {
        NodeKind::Map(entries) => entries.iter().for_each(|(_, value)| all_scalars(value, out)),
        NodeKind::List(items) => items.iter().for_each(|item| all_scalars(item, out)),
        NodeKind::Str(text) if text.starts_with("${") && text.ends_with('}') => {}
        NodeKind::Null => {}
        _ => out.push(node.span.clone()),
    }
}

/// The places of secrets in a text that is not YAML, by the look of its lines: everything after a
/// secret's key, up to the end of the line.
pub(super) fn secret_spans_by_look(text: &str, out: &mut Vec<Range<usize>>) {
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let shown = line.trim_end();
        let mut at = 0;
        for piece in shown.split_inclusive([':', '=']) {
            at += piece.len();
            let key = piece.trim_end_matches([':', '=']).trim_matches(['"', '\'', ' ']);
            let key = key.rsplit(['{', ',', ' ', '"', '\'', '[']).next().unwrap_or(key);
            if is_secret_key(key) && piece.ends_with([':', '=']) {
                out.push(line_start + at..line_start + shown.len());
                break;
            }
        }
        line_start += line.len();
    }
}

/// Bytes from which on a part of a URL's path looks like a token, as in `hooks.slack.com/services/…`.
const TOKEN_BYTES_MIN: usize = 16;

/// What is secret in URLs, wherever they stand: user and password (`://user:password@`), long parts of
/// the path, and the query.
pub(super) fn url_secret_spans(text: &str, out: &mut Vec<Range<usize>>) {
    for (scheme, _) in text.match_indices("://") {
        let start = scheme + 3;
        let rest = text.get(start..).unwrap_or("");
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}' | ']'))
            .unwrap_or(rest.len());
        let url = rest.get(..end).unwrap_or("");
        let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
        if let Some(at) = url.get(..authority).and_then(|authority| authority.rfind('@')) {
            out.push(start..start + at);
        }
        let path = url.get(authority..).unwrap_or("");
        let path_end = path.find('?').unwrap_or(path.len());
        let mut at = start + authority;
        for part in path.get(..path_end).unwrap_or("").split('/') {
            if part.len() >= TOKEN_BYTES_MIN {
                out.push(at..at + part.len());
            }
            at += part.len() + 1;
        }
        out.push((start + authority + path_end + 1).min(start + end)..start + end);
    }
}

/// The text with `*` in place of every byte inside the spans, line breaks kept, so that places in it
/// stay right.
pub(super) fn mask(text: &str, spans: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in spans {
        let range = span.start.min(bytes.len())..span.end.min(bytes.len());
        for byte in bytes.get_mut(range).unwrap_or(&mut []) {
            if !matches!(byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::engine::{diagnostic::SourceText, yaml::parse};

    #[test]
    fn references_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("good"), "hunter2\n").unwrap();
        fs::write(directory.path().join("empty"), "\n").unwrap();
        fs::write(directory.path().join("blank"), " \t\n\n").unwrap();
        fs::write(directory.path().join("binary"), [0xff, 0xfe]).unwrap();
        fs::write(directory.path().join("huge"), vec![b'x'; 70_000]).unwrap();
        let made = std::process::Command::new("mkfifo").arg(directory.path().join("pipe")).status();
        assert!(made.unwrap().success());
        let environment = [("TOKEN", "t"), ("NONE", ""), ("BLANK", " \n")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()));
        let reader = SecretReader::new(&environment);
        let read = |secret| reader.read(&secret);
        assert_eq!(read(SecretRef::Inline("x".to_owned())).as_deref(), Ok("x"));
        assert_eq!(read(SecretRef::Env("TOKEN".to_owned())).as_deref(), Ok("t"));
        let file = |name: &str| SecretRef::File(directory.path().join(name).display().to_string());
        assert_eq!(read(file("good")).as_deref(), Ok("hunter2"));
        for (secret, why) in [
            (SecretRef::Env("NONE".to_owned()), "is empty"),
            (SecretRef::Env("GONE".to_owned()), "is not set"),
            (SecretRef::Env("BLANK".to_owned()), "is empty"),
            (file("empty"), "it is empty"),
            (file("blank"), "it is empty"),
            (file("binary"), "not UTF-8"),
            (file("huge"), "more than 65536 bytes"),
            (file("gone"), "No such file"),
            (file("pipe"), "it is a pipe, not a file"),
        ] {
            let error = read(secret).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn secrets_are_masked_and_the_rest_is_not() {
        let text = "slack: {webhook_url: 'https://hooks/T0'}\nsmtp:\n  password: |\n    multi\n    line\n  password_file: /run/p\n  token: ${TOKEN}\nurl: http://bob:pw@host/a/XYZsecretXYZsecret/b?key=Q1\n";
        let nodes = parse(&SourceText::new("t.yaml", text)).unwrap();
        let mut spans = Vec::new();
        secret_spans(&nodes[0], &mut spans);
        url_secret_spans(text, &mut spans);
        let masked = mask(text, &spans);
        for secret in ["T0", "multi", "line", "bob", "pw@", "XYZ", "Q1"] {
            assert!(!masked.contains(secret), "{secret} in\n{masked}");
        }
        for open in ["/run/p", "${TOKEN}", "@host/a/"] {
            assert!(masked.contains(open), "{open} not in\n{masked}");
        }
        assert_eq!(masked.len(), text.len());
    }

    #[test]
    fn text_that_is_not_yaml_is_masked_by_its_look() {
        let text =
            "a: [1\n  kafka: {user: u, sasl.password: hunter2, x: 1}\n  \"token\": abc\nname: ok\n";
        let mut spans = Vec::new();
        secret_spans_by_look(text, &mut spans);
        let masked = mask(text, &spans);
        assert!(!masked.contains("hunter2") && !masked.contains("abc"), "{masked}");
        assert!(masked.contains("user: u") && masked.contains("name: ok"), "{masked}");
    }
}
