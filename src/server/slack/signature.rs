//! Whether Slack sent a request, when, and whether for the first time.
//!
//! Slack signs `v0:TIMESTAMP:BODY` with HMAC-SHA256 and the signing secret of the app. A signature is taken
//! once, and only for five minutes around its time.

use std::{collections::BTreeMap, time::Duration};

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::engine::{ledger::parse_hex, time::WallTime};

/// How old a request may be, or how far ahead its clock: 5 min, as Slack advises.
const AGE_MAX: Duration = Duration::from_secs(300);

/// Signatures that are remembered: 4,096. Whoever clicks beyond it, within five minutes, is told to come back.
const SEEN_MAX: usize = 4_096;

/// A signature, as it is compared and remembered.
pub(super) type Signature = [u8; 32];

/// What the headers of a request say of its signature.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    timestamp: i64,
    pub(super) signature: Signature,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untrusted {
    /// There is no signature, or it is none.
    Unsigned,
    /// It is older than it may be, or our clock or Slack's is wrong.
    Old,
    /// No app of ours signs like this.
    Wrong,
    /// It was here before.
    Replayed,
    /// More came within five minutes than can be remembered.
    TooMany,
}

impl Signed {
    /// What the headers say, if it could be taken at this time.
    pub(super) fn read(headers: &HeaderMap, now: WallTime) -> Result<Signed, Untrusted> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let timestamp = text("x-slack-request-timestamp").and_then(|text| text.parse().ok());
        let signature = text("x-slack-signature").and_then(|text| text.strip_prefix("v0="));
        let (Some(timestamp), Some(signature)) = (timestamp, signature.and_then(parse_hex)) else {
            return Err(Untrusted::Unsigned);
        };
        let signed = Signed { timestamp, signature };
        if signed.is_of(now) { Ok(signed) } else { Err(Untrusted::Old) }
    }

    fn is_of(&self, now: WallTime) -> bool {
        let seconds = now.micros().div_euclid(1_000_000);
        self.timestamp.abs_diff(seconds) <= AGE_MAX.as_secs()
    }

    /// Whether it is over this body with this secret. Takes as long whatever is right about it.
    pub(super) fn is_by(&self, secret: &str, body: &[u8]) -> bool {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes any key");
        mac.update(format!("v0:{}:", self.timestamp).as_bytes());
        mac.update(body);
        mac.verify_slice(&self.signature).is_ok()
    }
}

/// The signatures that were taken, with their times. Only right ones come here.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<Signature, i64>);

impl Seen {
    /// Takes a signature for the first and only time.
    pub(super) fn take(&mut self, signed: &Signed, now: WallTime) -> Result<(), Untrusted> {
        self.0
            .retain(|_, timestamp| Signed { timestamp: *timestamp, signature: [0; 32] }.is_of(now));
        if self.0.contains_key(&signed.signature) {
            return Err(Untrusted::Replayed);
        }
        if self.0.len() >= SEEN_MAX {
            return Err(Untrusted::TooMany);
        }
        self.0.insert(signed.signature, signed.timestamp);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_531_420_618;

    fn headers(timestamp: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-slack-request-timestamp", timestamp.parse().unwrap());
        headers.insert("x-slack-signature", signature.parse().unwrap());
        headers
    }

    fn at(seconds: i64) -> WallTime {
        WallTime::from_millis(seconds * 1_000)
    }

    /// The example of Slack's own documentation.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    #[test]
    fn the_example_of_slack_is_taken_and_nothing_else() {
        let signed = Signed::read(&headers("1531420618", SIGNATURE), at(AT)).unwrap();
        assert!(signed.is_by(SECRET, BODY));
        assert!(!signed.is_by("8f742231b10e8888abcd99yyyzzz85a6", BODY));
        assert!(!signed.is_by(SECRET, &BODY[1..]));
        let later = Signed::read(&headers("1531420619", SIGNATURE), at(AT)).unwrap();
        assert!(!later.is_by(SECRET, BODY), "the time is signed, too");
    }

    #[test]
    fn what_is_old_ahead_or_no_signature_is_not_looked_at() {
        let read = |timestamp: &str, signature: &str, now| {
            Signed::read(&headers(timestamp, signature), at(now)).map(drop)
        };
        for (now, expected) in [
            (AT + 300, Ok(())),
            (AT - 300, Ok(())),
            (AT + 301, Err(Untrusted::Old)),
            (AT - 301, Err(Untrusted::Old)),
        ] {
            assert_eq!(read("1531420618", SIGNATURE, now), expected, "{now}");
        }
        assert_eq!(read("-9223372036854775808", SIGNATURE, AT), Err(Untrusted::Old));
        for (timestamp, signature) in [
            ("", SIGNATURE),
            ("1531420618.5", SIGNATURE),
            ("1531420618", &SIGNATURE[3..]),
            ("1531420618", &SIGNATURE[..66]),
            ("1531420618", "v1=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
        ] {
            assert_eq!(read(timestamp, signature, AT), Err(Untrusted::Unsigned), "{signature}");
        }
        assert_eq!(Signed::read(&HeaderMap::new(), at(AT)), Err(Untrusted::Unsigned));
    }

    #[test]
    fn each_is_taken_once_and_they_are_bounded() {
        let signed = |number: u16, timestamp| {
            let [high, low] = number.to_be_bytes();
            let mut signature = [0; 32];
            (signature[0], signature[1]) = (high, low);
            Signed { timestamp, signature }
        };
        let mut seen = Seen::default();
        assert_eq!(seen.take(&signed(0, AT), at(AT)), Ok(()));
        assert_eq!(seen.take(&signed(0, AT), at(AT + 300)), Err(Untrusted::Replayed));
        for number in 1..4_096 {
            assert_eq!(seen.take(&signed(number, AT), at(AT)), Ok(()));
        }
        assert_eq!(seen.take(&signed(4_096, AT), at(AT)), Err(Untrusted::TooMany));
        // Too old to be taken at all: nothing of them need be remembered.
        assert_eq!(seen.take(&signed(4_096, AT + 301), at(AT + 301)), Ok(()));
        assert_eq!(seen.0.len(), 1);
    }
}
