//! Addresses of pages: a path and parameters, encoded so that any value survives.

use std::fmt::{self, Write as _};

/// The address of a page of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    path: String,
    pairs: Vec<(String, String)>,
}

impl Link {
    /// To a path whose parts are encoded already or need none.
    pub(super) fn to(path: &str) -> Link {
        Link { path: path.to_owned(), pairs: Vec::new() }
    }

    /// To an episode of an alert.
    pub(super) fn to_alert(fingerprint: &str, start: &str) -> Link {
        let mut path = format!("/alerts/{fingerprint}/");
        encode(&mut path, start);
        Link { path, pairs: Vec::new() }
    }

    /// To a page below this one; `part` needs no encoding.
    #[must_use]
    pub(super) fn below(mut self, part: &str) -> Link {
        self.path.push('/');
        self.path.push_str(part);
        self
    }

    /// With one more parameter.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: &str) -> Link {
        self.pairs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With all of these.
    #[must_use]
    pub(super) fn with_all(mut self, pairs: &[(String, String)]) -> Link {
        self.pairs.extend_from_slice(pairs);
        self
    }

    /// With these in place of what it has of that name.
    #[must_use]
    pub(super) fn set(self, name: &str, value: &str) -> Link {
        self.without(name).with(name, value)
    }

    /// Without a parameter.
    #[must_use]
    pub(super) fn without(mut self, name: &str) -> Link {
        self.pairs.retain(|(known, _)| known != name);
        self
    }

    /// Without one value of a parameter.
    #[must_use]
    pub(super) fn without_pair(mut self, name: &str, value: &str) -> Link {
        self.pairs.retain(|(known, own)| known != name || own != value);
        self
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.path.clone();
        for (index, (name, value)) in self.pairs.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            encode(&mut text, name);
            text.push('=');
            encode(&mut text, value);
        }
        f.write_str(&text)
    }
}

/// Everything but letters, digits and what RFC 3986 lets stand in each part of an address.
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_survives() {
        let link = Link::to("/actor").with("id", "a&b=c d/é\u{202e}").with("zone", "UTC");
        assert_eq!(link.to_string(), "/actor?id=a%26b%3Dc%20d%2F%C3%A9%E2%80%AE&zone=UTC");
        assert_eq!(link.clone().set("zone", "x").without("id").to_string(), "/actor?zone=x");
        let alert = Link::to_alert("ab", "2026-11-29T09:08:47Z").to_string();
        assert_eq!(alert, "/alerts/ab/2026-11-29T09:08:47Z");
    }
}
