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

    /// Whether it is known what can be read: before that, and while nothing answers, nothing of it is over.
    pub(super) fn is_known(&self) -> bool {
        (self.read.is_some() || !self.away.0.is_empty()) && self.unavailable.is_none()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_makes_it_not_ready_and_strangers_only_worse() {
        let mut source = SourceHealth::default();
        assert_eq!(source.health().0, Health::Starting);
        source.read = Some(3);
        assert_eq!(source.health(), (Health::Ok, "reads 3 partitions".to_owned()));
        source.strangers = "console at 10.0.0.1".to_owned();
        let (health, detail) = source.health();
        assert!(health == Health::Degraded && detail.contains("console at 10.0.0.1"), "{detail}");
        let names = (0..7).map(|number| format!("audit/{number}")).collect();
        source.away = (names, "it has no leader".to_owned());
        let (health, detail) = source.health();
        assert!(health == Health::Down && detail.contains("audit/4 and 2 more"), "{detail}");
        assert!(source.is_known());
        source.rebuild_left = 9;
        assert_eq!(source.health().0, Health::Starting);
        source.unavailable = Some("no broker".to_owned());
        assert_eq!(source.health(), (Health::Down, "no broker".to_owned()));
    }

    #[test]
    fn what_is_not_known_is_not_over() {
        let mut source = SourceHealth::default();
        assert!(!source.is_known(), "an earlier process may have told of some");
        source.read = Some(1);
        assert!(source.is_known() && source.unread().is_none());
        source.away = (vec!["audit/1".to_owned()], "it has no leader".to_owned());
        assert!(source.is_known() && source.unread().is_some());
        source.unavailable = Some("the brokers do not answer".to_owned());
        assert!(!source.is_known());
        (source.unavailable, source.away) = (None, Default::default());
        assert!(source.is_known() && source.unread().is_none());
    }
}
