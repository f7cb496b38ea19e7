//! The attacks that the generator can play, and the rules that should notice them.
//!
//! A story takes a few seconds, as attacks by script do. It never depends on when it is played: one
//! that needs the night finds somebody for whom it is night. Some can be noticed only by rules that
//! have learnt for days what is usual.

mod access;
mod credentials;
mod habits;
mod pods;

use std::time::Duration;

use super::scene::Scene;

/// How long most stories take at most, until the last alert that belongs to them: 8 s.
const QUICK: Duration = Duration::from_secs(8);

/// An attack.
#[derive(Clone, Copy)]
pub struct Story {
    /// For command lines: `secret-burst`.
    pub id: &'static str,
    /// A few words.
    pub title: &'static str,
    /// What happens, in a sentence or two.
    pub description: &'static str,
    /// Names of the shipped rules that must fire.
    pub expected_rules: &'static [&'static str],
    /// Names of further shipped rules that have reason to.
    pub related_rules: &'static [&'static str],
    /// Whether it can be noticed only after days of history, more than a week.
    pub needs_history: bool,
    /// How long after its beginning an alert may belong to it.
    pub lasts: Duration,
    pub(super) play: fn(&mut Scene<'_>),
}

impl std::fmt::Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Story").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Story {
    /// The index in [`STORIES`] of the story with an id.
    pub fn find(id: &str) -> Option<usize> {
        STORIES.iter().position(|story| story.id == id)
    }

    /// The indexes in [`STORIES`] of those that need history, or of those that need none.
    pub fn all(needs_history: bool) -> Vec<usize> {
        let stories = STORIES.iter().enumerate();
        let wanted = stories.filter(|(_, story)| story.needs_history == needs_history);
        wanted.map(|(index, _)| index).collect()
    }
}

/// Every story, in the order in which they are played. The demo tells those that need no history.
pub const STORIES: &[Story] = &[
    credentials::SECRET_BURST,
    credentials::SECRET_ENUMERATION,
    pods::NIGHT_EXEC,
    access::CLUSTER_ADMIN,
    access::ANONYMOUS,
    credentials::MINTED_TOKEN,
    pods::CONTAINER_ESCAPE,
    access::PERMISSION_PROBE,
    access::EVENTS_DELETED,
    access::NODE_PROXY,
    access::IMPERSONATION,
    pods::REVERSE_SHELL,
    credentials::STOLEN_TOKEN,
    access::WEBHOOK,
    credentials::SELF_SIGNED,
    credentials::LOGIN_SPRAY,
    access::LITTLE_BY_LITTLE,
    habits::FIRST_EXEC,
    habits::NEW_CLIENT,
    habits::CI_SPIKE,
    habits::SILENCE,
];
