//! Texts as a shell takes them for one word.

/// A text as a shell takes it for one word. What acts on a terminal stays as it is: see
/// [`printable`](super::printable).
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one() {
        for (text, word) in [
            ("system:serviceaccount:shop/web@2%", "system:serviceaccount:shop/web@2%"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(id)", "'$(id)'"),
            ("o'neil", "'o'\\''neil'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }
}
