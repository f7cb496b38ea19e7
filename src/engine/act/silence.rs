//! A silence: alerts that match it are not told for a time.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ActDigest, ActId, Person};
use crate::engine::{digest::hex, dispatch::Matcher, time::WallTime, words::words};

/// Identity of a silence: that of the act that made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SilenceId(pub [u8; 16]);

impl From<ActId> for SilenceId {
    fn from(act: ActId) -> SilenceId {
        SilenceId(act.0)
    }
}

impl std::str::FromStr for SilenceId {
    type Err = ();

    /// As it is shown: 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<SilenceId, ()> {
        let is_hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex).ok_or(())?;
        Ok(SilenceId(number.to_be_bytes()))
    }
}

impl fmt::Display for SilenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for SilenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

words! {
    /// Where a silence is in its life.
    pub enum SilencePhase {
        /// It begins later.
        Pending = "pending",
        /// It hides what matches.
        Active = "active",
        /// It is over, by its time or by hand.
        Expired = "expired",
    }
}

/// A silence that somebody wants.
#[derive(Clone, Debug)]
pub struct NewSilence {
    /// All must match. At least one, and not only such as match what has no labels at all.
    pub matchers: Vec<Matcher>,
    /// Why.
    pub reason: String,
    /// When it begins; at once if that is past or not said.
    pub starts_at: Option<WallTime>,
    /// When it ends.
    pub ends: SilenceEnd,
}

/// When a silence ends that somebody wants, as they said it.
#[derive(Clone, Copy, Debug)]
pub enum SilenceEnd {
    /// Then.
    At(WallTime),
    /// So long after the start that was said, or after it is made.
    After(Duration),
}

/// Alerts that match are not told from its start to its end. What still fires then is told.
#[derive(Clone, Debug)]
pub struct Silence {
    /// Its name.
    pub id: SilenceId,
    /// All must match.
    pub matchers: Vec<Matcher>,
    /// Who made it, and answers for it.
    pub author: Person,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub made_at: WallTime,
    /// When it begins.
    pub starts_at: WallTime,
    /// When it ends, or has ended if that was earlier.
    pub ends_at: WallTime,
    /// Where it is in its life. It never goes back, whatever clocks do.
    pub phase: SilencePhase,
    /// Of what was sent to make it; `None` if an earlier version made it.
    pub(super) sent: Option<ActDigest>,
    /// Who has ended it before its time, and why.
    pub ended_by: Option<(Person, String)>,
    /// Episodes of alerts that it has hidden.
    pub hidden_count: u64,
    /// Of these, how many fire now.
    pub hiding_count: u64,
    /// When it last began or ceased to hide something, or its start.
    pub hid_at: WallTime,
    /// When its owner was told that it ends soon.
    pub(super) end_told_at: Option<WallTime>,
    /// Since when its owner is told that it hides nothing.
    pub(super) idleness_told_at: Option<WallTime>,
}

impl Silence {
    /// Its matchers as Alertmanager writes them: `{alertname="x",cluster=~"a|b"}`.
    pub fn written(&self) -> String {
        written(&self.matchers)
    }

    /// How long it is.
    pub fn span(&self) -> Duration {
        self.ends_at.since(self.starts_at)
    }
}

/// Matchers in braces.
pub(super) fn written(matchers: &[Matcher]) -> String {
    let texts: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
    format!("{{{}}}", texts.join(","))
}
