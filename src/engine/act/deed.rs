//! What was done with one alert.

use serde::{Deserialize, Serialize};

use super::{ActId, Person};
use crate::engine::{rule::Severity, time::WallTime, words::words};

words! {
    /// What an alert turned out to be.
    pub enum Verdict {
        /// Somebody did what the rule looks for, and should not have.
        TruePositive = "true_positive",
        /// Somebody did what the rule looks for, and was allowed to.
        Benign = "benign",
        /// Nobody did what the rule looks for.
        FalsePositive = "false_positive",
    }
}

/// What is done with an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeedKind {
    /// Somebody takes care of it: it is theirs, and not repeated until its severity rises.
    Acknowledge,
    /// Somebody is to take care of it.
    Assign {
        /// Who; nobody if it is empty.
        to: String,
    },
    /// Somebody says what it turned out to be.
    Verdict {
        /// What.
        verdict: Verdict,
    },
    /// Somebody says something.
    Comment,
    /// Somebody ends it, whatever its rule says.
    Resolve,
}

impl DeedKind {
    /// Its word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            DeedKind::Acknowledge => "acknowledge",
            DeedKind::Assign { .. } => "assign",
            DeedKind::Verdict { .. } => "verdict",
            DeedKind::Comment => "comment",
            DeedKind::Resolve => "resolve",
        }
    }

    /// What it came to, in a word: whom it was assigned to, the verdict.
    pub fn value(&self) -> &str {
        match self {
            DeedKind::Assign { to } => to,
            DeedKind::Verdict { verdict } => verdict.as_str(),
            DeedKind::Acknowledge | DeedKind::Comment | DeedKind::Resolve => "",
        }
    }
}

/// Something that was done with an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// The act that it was part of.
    pub act: ActId,
    /// Who did it.
    pub by: Person,
    /// When, by the operator's clock.
    pub at: WallTime,
    /// What.
    pub kind: DeedKind,
    /// How grave the alert was then.
    pub severity: Severity,
    /// The comment, or why.
    pub text: String,
}

impl Deed {
    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let Person { name, role, address } = &self.by;
        128 + name.len() + role.len() + address.len() + self.text.len() + self.kind.value().len()
    }
}
