//! How one source is, from what it reports, for `/readyz`.

use crate::{engine::text::counted, server::Health};

/// Partitions that are named: 5. The rest is counted.
const NAMED_MAX: usize = 5;

/// What a source has reported last.
#[derive(Debug, Default)]
pub(super) struct SourceHealth {
    /// Partitions that it reads; `None` before it could read any.
    pub(super) read: Option<usize>,
    /// Why it cannot read at all.
    pub(super) unavailable: Option<String>,
    /// Partitions that it cannot read, and why.
    pub(super) away: (Vec<String>, String),
    /// Who else is in its group; empty if nobody is.
    pub(super) strangers: String,
    /// Records left to be read before windows are as they were.
    pub(super) rebuild_left: i64,
}

impl SourceHealth {
    /// The health of the source, and why.
    pub(super) fn health(&self) -> (Health, String) {
        if let Some(why) = &self.unavailable {
            return (Health::Down, why.clone());
        }
        let Some(read) = self.read else {
            return (Health::Starting, "waits for its partitions".to_owned());
        };
        if self.rebuild_left > 0 {
            let left = self.rebuild_left;
            let detail = format!("rebuilds windows of lost state; {left} records are left to read");
            return (Health::Starting, detail);
        }
        if let Some(unread) = self.unread() {
            return (Health::Down, unread);
        }
        let detail = format!("reads {}", counted(read, "partition"));
        if self.strangers.is_empty() {
            return (Health::Ok, detail);
        }
        (Health::Degraded, format!("{detail}; {}", self.shared()))
    }

    /// What is not read, for people.
    pub(super) fn unread(&self) -> Option<String> {
        let (names, why) = &self.away;
        if names.is_empty() {
            return None;
        }
        let named = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Some(format!("cannot read {named}{more}: {why}; they are read again from where they stand"))
    }

    /// Who shares the group, for people.
    pub(super) fn shared(&self) -> String {
        let who = &self.strangers;
        format!(
            "other programs are members of its consumer group: {who}. They take no records away, but \
             the group's offsets no longer tell how far Tripline is; give them a group of their own"
        )
    }
}
