//! What people do about alerts: silence, acknowledge, assign, judge, comment, end by hand.
//!
//! An [`Act`] is an input of the engine like any other. It is carried out at once, and answered when the
//! checkpoint that holds it is durable, so that whoever was answered can rely on it. Each bears an id that
//! its author chose: the same act with the same id is answered again and done once, and another act with it is
//! refused.
//!
//! What was done with an alert belongs to one episode of it ([`Episode`]); silences belong to nobody's alert
//! ([`Silence`]), and hide whatever matches. Who keeps both is [`Acts`].
//!
//! Words are Alertmanager's: a silence has matchers, an author, a reason, a start and an end.

mod answer;
mod book;
mod deed;
mod episode;
mod ledger;
mod perform;
mod preview;
mod reminder;
mod silence;
mod state;
mod state_key;

pub use answer::{Acted, Answer, OnAlert, Refused};
pub use book::{ActNews, Acts, ActsCounts, Mute};
pub use deed::{Deed, DeedKind, Verdict};
pub use episode::{Episode, EpisodeKey};
pub use ledger::{ActEntry, ActEntryKind};
pub use preview::{Hidden, Preview, preview};
pub use silence::{NewSilence, Silence, SilenceEnd, SilenceId, SilencePhase};

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    alert::Fingerprint, digest::Digest, dispatch::Matcher, limits, text::bounded_line,
    time::EventTime,
};

/// What a person wants to be done.
#[derive(Clone, Debug)]
pub struct Act {
    /// The same for the same act, however often it is sent, and for no other.
    pub id: ActId,
    /// Who does it.
    pub by: Person,
    /// What.
    pub what: What,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum What {
    /// Hide alerts for a time.
    AddSilence(NewSilence),
    /// End a silence before its time.
    EndSilence {
        /// Which.
        id: SilenceId,
        /// Why; may be empty.
        why: String,
    },
    /// Something with alerts, at most [`limits::ALERTS_PER_ACT_MAX`] of them; with each of them that is known.
    Alerts {
        /// Which.
        alerts: Vec<AlertName>,
        /// What is done.
        deed: DeedKind,
        /// The comment, or why; may be empty where nothing has to be said.
        text: String,
    },
}

impl What {
    /// Its word, under which it is counted.
    pub const fn as_str(&self) -> &'static str {
        match self {
            What::AddSilence(_) => "silence",
            What::EndSilence { .. } => "end_silence",
            What::Alerts { deed, .. } => deed.as_str(),
        }
    }

    /// Of all that was said, so that an act that is sent again is told from another one. In which order alerts and
    /// matchers were named says nothing. It is stored: what goes into it never changes its form.
    fn digest(&self) -> ActDigest {
        let (said, mut named): (Vec<String>, Vec<String>) = match self {
            What::AddSilence(NewSilence { matchers, reason, starts_at, ends }) => {
                let from = starts_at.map_or_else(String::new, |at| at.micros().to_string());
                let (until, span) = match ends {
                    SilenceEnd::At(at) => (at.micros().to_string(), String::new()),
                    SilenceEnd::After(span) => (String::new(), span.as_micros().to_string()),
                };
                let matchers = matchers.iter().map(Matcher::to_string);
                (vec![reason.clone(), from, until, span], matchers.collect())
            }
            What::EndSilence { id, why } => (vec![why.clone()], vec![id.to_string()]),
            What::Alerts { alerts, deed, text } => {
                let alerts = alerts.iter().map(AlertName::to_string);
                (vec![deed.value().to_owned(), text.clone()], alerts.collect())
            }
        };
        named.sort_unstable();
        named.dedup();
        said.iter().chain(&named).fold(Digest::of([self.as_str()]), Digest::part).first()
    }
}

/// Tells what was sent with an id from what else may be sent with it: nobody but its author gains by confusing them.
type ActDigest = [u8; 8];

/// Names an alert, or one episode of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertName {
    /// The alert.
    pub fingerprint: Fingerprint,
    /// When the episode began. `None`: the one that fires, else the latest.
    pub starts_at: Option<EventTime>,
}

impl fmt::Display for AlertName {
    /// `FINGERPRINT@START`, or the fingerprint alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.starts_at {
            Some(starts_at) => write!(f, "{}@{}", self.fingerprint, starts_at.rfc3339()),
            None => write!(f, "{}", self.fingerprint),
        }
    }
}

impl FromStr for AlertName {
    type Err = ();

    /// As it is shown.
    fn from_str(text: &str) -> Result<AlertName, ()> {
        let Some((fingerprint, start)) = text.split_once('@') else {
            return Ok(AlertName { fingerprint: text.parse()?, starts_at: None });
        };
        let starts_at = Some(EventTime::parse(start).ok_or(())?);
        Ok(AlertName { fingerprint: fingerprint.parse()?, starts_at })
    }
}

/// Identity of an act: a hash of what its author chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActId(pub [u8; 16]);

impl ActId {
    /// Of the text that its author chose, and of who that is: nobody can answer with another's act.
    pub fn of(name: &str, chosen: &str) -> ActId {
        ActId(Digest::default().part(name).part(chosen).first())
    }
}

impl ActId {
    /// As it is shown: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<ActId> {
        text.parse::<Fingerprint>().ok().map(|digits| ActId(digits.0))
    }
}

impl fmt::Display for ActId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::digest::hex(&self.0))
    }
}

impl fmt::Debug for ActId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Who does something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// As whom they came in.
    pub name: String,
    /// What they may do: `responder`.
    pub role: String,
    /// From where: an address, or nothing if it is not known.
    pub address: String,
}

impl Person {
    /// A name in one line, if all of it is kept: 253 bytes.
    pub fn whole_name(name: &str) -> Option<String> {
        let kept = bounded_line(name, usize::MAX);
        (kept.len() + '…'.len_utf8() <= limits::PERSON_BYTES_MAX).then_some(kept)
    }

    /// With texts cut to [`limits::PERSON_BYTES_MAX`], each in one line.
    pub fn new(name: &str, role: &str, address: &str) -> Person {
        let bounded = |text: &str| bounded_line(text, limits::PERSON_BYTES_MAX);
        Person { name: bounded(name), role: bounded(role), address: bounded(address) }
    }
}

#[cfg(test)]
mod tests;
