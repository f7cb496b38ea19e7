//! What people did about an alert, as its messages show it.

use std::collections::BTreeMap;

use super::{Episode, Silence};
use crate::engine::digest::Digest;

/// Annotations that say it, in the order in which it is read.
pub const HANDLING: [&str; 4] = ["acknowledged_by", "assigned_to", "judged", "silenced"];

/// What people did about an alert, as its messages show it: annotations that it has beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    annotations: BTreeMap<&'static str, String>,
    digest: u64,
}

impl Handling {
    /// Of an episode, and the first of the silences that hide it.
    pub(super) fn of(episode: &Episode, silence: Option<&Silence>) -> Handling {
        let acknowledged = episode.acknowledged().map(|deed| deed.by.name.clone());
        let is_other = |who: &&str| acknowledged.as_deref() != Some(who);
        let assigned = episode.assignee().filter(is_other).map(str::to_owned);
        let verdict = episode.judged().map(|(verdict, deed)| {
            let word = verdict.as_str().replace('_', " ");
            format!("{word}, by {}", deed.by.name)
        });
        let silenced = silence.map(|silence| {
            format!("until {}, by {}", silence.ends_at.rfc3339(), silence.author.name)
        });
        let said = HANDLING.into_iter().zip([acknowledged, assigned, verdict, silenced]);
        let annotations: BTreeMap<&'static str, String> =
            said.filter_map(|(name, value)| Some((name, value?))).collect();
        if annotations.is_empty() {
            return Handling::default();
        }
        let parts = annotations.iter().flat_map(|(name, value)| [*name, value.as_str()]);
        let digest = parts.fold(Digest::default(), Digest::part);
        // 0 is that nothing was done.
        let digest = u64::from_le_bytes(digest.first()).max(1);
        Handling { annotations, digest }
    }

    /// What it is told apart by from what was shown before; 0 if there is nothing to show.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// The annotations.
    pub fn annotations(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.annotations.iter().map(|(name, value)| (*name, value.as_str()))
    }
}
