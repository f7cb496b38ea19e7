//! What a silence would hide.

use std::{sync::Arc, time::Duration};

use super::{Episode, reminder::is_about};
use crate::engine::{dispatch::Matcher, time::WallTime};

/// How far back a preview looks: 24 hours.
const LOOKS_BACK: Duration = Duration::from_secs(86_400);

/// Alerts that a preview names: 100, those that fire first, the gravest first. The rest is in its numbers.
const NAMED_MAX: usize = 100;

/// What a silence with some matchers would hide now, and would have hidden in the last 24 hours.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// Alerts that fire and match.
    pub firing_count: usize,
    /// Episodes that fired in the last 24 hours and match, those that fire now included.
    pub day_count: usize,
    /// Alerts that fire, whether they match or not.
    pub all_firing_count: usize,
    /// Some of them.
    pub hidden: Vec<Hidden>,
}

/// An episode that a silence would hide.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// The episode.
    pub episode: Arc<Episode>,
    /// It is hidden already.
    pub is_silenced: bool,
}

/// What a silence with these matchers would hide. Cost: all episodes.
pub fn preview<'a>(
    now: WallTime,
    matchers: &[Matcher],
    episodes: impl Iterator<Item = &'a Arc<Episode>>,
) -> Preview {
    let (mut preview, mut found) = (Preview::default(), Vec::new());
    for episode in episodes {
        let is_recent = episode.ended.is_none_or(|ended| now.since(ended) <= LOOKS_BACK);
        preview.all_firing_count += usize::from(episode.is_firing());
        if is_recent && is_about(matchers, episode) {
            preview.firing_count += usize::from(episode.is_firing());
            preview.day_count += 1;
            found.push(episode);
        }
    }
    found.sort_by_key(|one| (!one.is_firing(), std::cmp::Reverse(one.severity), one.key));
    let hidden = |episode: &Arc<Episode>| Hidden {
        episode: Arc::clone(episode),
        is_silenced: !episode.silenced_by.is_empty(),
    };
    preview.hidden = found.into_iter().take(NAMED_MAX).map(hidden).collect();
    preview
}
