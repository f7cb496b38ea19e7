//! Known secrets, cut from what others say.
//!
//! A receiver may repeat our token, or the secret path of its URL, in what it answers; its words go on
//! into logs, the ledger and the console.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use memchr::memmem;

/// What stands in the place of a secret.
const CUT: &str = "[secret]";

/// Bytes of the shortest text that is cut: 4. Shorter ones are in every text, and no secrets.
const BYTES_MIN: usize = 4;

/// Bytes from which on a part of a URL's path is cut even if it looks like a word.
const TOKEN_BYTES_MIN: usize = 16;

/// Texts that must not be quoted.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Longest first, so that of a secret that holds another one nothing is left.
    texts: Vec<String>,
}

impl Secrets {
    /// These, in every form that an answer may repeat them in.
    pub fn of<T: AsRef<str>>(secrets: impl IntoIterator<Item = T>) -> Secrets {
        let mut texts: Vec<String> = Vec::new();
        for secret in secrets {
            let secret = secret.as_ref().trim();
            texts.extend(parts_of_url(secret).into_iter().map(str::to_owned));
            // As it stands in JSON, if that differs.
            let quoted = serde_json::Value::from(secret).to_string();
            texts.push(quoted.trim_matches('"').to_owned());
            texts.push(secret.to_owned());
        }
        texts.retain(|text| text.len() >= BYTES_MIN);
        texts.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        texts.dedup();
        Secrets { texts }
    }

    /// Whether there is one of them in a text.
    pub fn are_in(&self, text: &str) -> bool {
        self.cut_from(text) != text
    }

    /// The text without them, nor the beginning of one that was cut short at its end.
    pub fn cut_from(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &self.texts {
            clean = clean.replace(secret.as_str(), CUT);
        }
        for word in base64_words(text).filter(|word| self.are_below(word)) {
            clean = clean.replace(word, CUT);
        }
        let Some(head) = clean.strip_suffix('…') else { return clean };
        match self.begun_at_end(head.as_bytes()) {
            0 => clean,
            bytes => format!("{}{CUT}…", head.get(..head.len() - bytes).unwrap_or("")),
        }
    }

    /// Whether a word says one of them in base64, as the header of `basic_auth` does.
    fn are_below(&self, word: &str) -> bool {
        let whole = word.len() / 4 * 4;
        let Ok(plain) = STANDARD_NO_PAD.decode(word.get(..whole).unwrap_or("")) else {
            return false;
        };
        let holds = |secret: &String| memmem::find(&plain, secret.as_bytes()).is_some();
        self.texts.iter().any(holds) || self.begun_at_end(&plain) > 0
    }

    /// How many bytes at the end of a text are the beginning of one of them.
    fn begun_at_end(&self, text: &[u8]) -> usize {
        let begun = self.texts.iter().filter_map(|secret| {
            let secret = secret.as_bytes();
            (BYTES_MIN..secret.len())
                .rev()
                .find(|at| secret.get(..*at).is_some_and(|head| text.ends_with(head)))
        });
        begun.max().unwrap_or(0)
    }
}

/// What may be base64: runs of its characters, without the `=` at their end.
fn base64_words(text: &str) -> impl Iterator<Item = &str> {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    text.split(move |c: char| !is_base64(c)).filter(|word| word.len() >= 8)
}

/// What is secret about a URL when it is not whole: what comes behind the host, the parts of its path
/// that look like tokens, and user and password.
fn parts_of_url(text: &str) -> Vec<&str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Vec::new() };
    if !scheme.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Vec::new();
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let mut parts = vec![path.split('#').next().unwrap_or(path)];
    parts.extend(path.split(['/', '?', '&', '=', '#']).filter(|part| {
        let is_mixed = part.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase());
        part.len() >= TOKEN_BYTES_MIN || is_mixed
    }));
    parts.extend(authority.rsplit_once('@').map(|(user, _)| user));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_receiver_repeats_is_cut() {
        let secrets = Secrets::of([
            "tok\"en-1",
            "https://u:pw77@h.example/hooks/T01/s3cr3t?key=abcdefghijklmnop",
        ]);
        for (said, quoted) in [
            ("no such token: tok\"en-1.", "no such token: [secret]."),
            (r#"{"token":"tok\"en-1"}"#, r#"{"token":"[secret]"}"#),
            ("POST /hooks/T01/s3cr3t?key=abcdefghijklmnop: gone", "POST [secret]: gone"),
            ("no hook s3cr3t for u:pw77", "no hook [secret] for [secret]"),
            ("no hook s3cr…", "no hook [secret]…"),
            ("Authorization: Basic dTp0b2siZW4tMQ==", "Authorization: Basic [secret]=="),
            ("Authorization: Basic dTp0b2siZW4t…", "Authorization: Basic [secret]…"),
            ("unauthorised", "unauthorised"),
            ("the hooks are gone", "the hooks are gone"),
        ] {
            assert_eq!(secrets.cut_from(said), quoted);
        }
        assert!(secrets.are_in("x tok\"en-1") && !secrets.are_in("x tok"));
    }

    #[test]
    fn what_is_in_every_text_is_no_secret() {
        assert_eq!(Secrets::of(["", "a", "http://h/"]).cut_from("a http://x/ a"), "a http://x/ a");
    }
}
