//! The ledger: accesses and entries in one order, with one hash chain.
//!
//! A row has a number and a line; the line is what an export prints, and
//! `hash = SHA-256(previous hash ‖ line)`. So anybody can check it with a few lines of their own. Where rows
//! are kept is the archive's business, and which there are the recorder's.

mod about;
mod chain;
mod entry;
mod line;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    access::{Access, Usage},
    time::{EventTime, WallTime},
};

pub use about::About;
pub use chain::{Chain, Hash, hex_of, parse_hex};
pub use entry::{Body, Entry, EntryKind, INPUT_ENDED, RULE_NAME, last_use_in, uses_in};
pub use line::Line;

/// One row of the ledger. `T` is how the texts of an access are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row<T = Arc<str>> {
    /// Counts up by one from 1.
    pub id: u64,
    /// When it was written, by the operator's clock.
    pub recorded: WallTime,
    /// What it tells.
    pub content: Content<T>,
}

/// What a row tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content<T = Arc<str>> {
    /// What somebody did to a cluster.
    Access(Box<Access<T>>),
    /// What Tripline did or was told.
    Entry(Box<Entry>),
    /// A permission was used, for the first time on that day.
    Usage(Box<Usage<T>>),
}

impl Row {
    /// When what it tells happened: by the time of the event, or else when it was written.
    pub fn at(&self) -> EventTime {
        match &self.content {
            Content::Access(access) => access.at,
            Content::Entry(entry) => entry.at.unwrap_or_else(|| self.recorded.as_event()),
            Content::Usage(usage) => usage.at,
        }
    }

    /// How long after its first request the last was answered that it stands for; zero if it is no roll-up.
    pub fn lasted(&self) -> Duration {
        self.access().map_or(Duration::ZERO, |access| access.last().since(access.at))
    }

    /// The access, if it is one.
    pub fn access(&self) -> Option<&Access> {
        match &self.content {
            Content::Access(access) => Some(access),
            Content::Entry(_) | Content::Usage(_) => None,
        }
    }

    /// The entry, if it is one.
    pub fn entry(&self) -> Option<&Entry> {
        match &self.content {
            Content::Access(_) | Content::Usage(_) => None,
            Content::Entry(entry) => Some(entry),
        }
    }

    /// What was used, if it is that.
    pub fn usage(&self) -> Option<&Usage> {
        match &self.content {
            Content::Usage(usage) => Some(usage),
            Content::Access(_) | Content::Entry(_) => None,
        }
    }
}
