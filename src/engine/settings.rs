//! What the engine is told by its operator.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{limits, words::words};

words! {
    /// Whose use of permissions is recorded.
    #[derive(Default)]
    pub enum UsageMode {
        /// Everybody's.
        #[default]
        All = "all",
        /// That of people, and of those of whom nobody knows what they are.
        People = "people",
        /// Nobody's.
        Off = "off",
    }
}

impl UsageMode {
    /// The one of two that records less.
    #[must_use]
    pub fn weaker(self, other: UsageMode) -> UsageMode {
        self.max(other)
    }
}

/// What the engine is told about time and limits.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Tolerated disorder of event times.
    pub grace: Duration,
    /// After how long without records a partition stops holding the watermark back.
    pub idle_after: Duration,
    /// How far ahead of the operator's clock an event may claim to be and still move the watermark.
    pub skew_max: Duration,
    /// How long windows wait for partitions that cannot be read, while others can.
    pub away_max: Duration,
    /// How old an alert may be that is told by itself; older ones are recorded and summed up. `None`: any.
    pub alert_age_max: Option<Duration>,
    /// How long an alert of a plain detection rule fires after its last event.
    pub resolve_after: Duration,
    /// Bytes that the state of all correlations may take together; see [`limits::MEMORY_DEFAULT`].
    pub memory: u64,
    /// Whose use of permissions is recorded.
    pub usage: UsageMode,
    /// By name of a cluster, the source that is the truth for it; what others bring of it is left out.
    pub truths: BTreeMap<String, Option<Arc<str>>>,
}

impl Default for EngineSettings {
    fn default() -> EngineSettings {
        EngineSettings {
            grace: limits::GRACE_DEFAULT,
            idle_after: limits::IDLE_AFTER_DEFAULT,
            skew_max: limits::SKEW_MAX_DEFAULT,
            away_max: limits::AWAY_MAX_DEFAULT,
            alert_age_max: None,
            resolve_after: Duration::from_secs(300),
            memory: limits::MEMORY_DEFAULT,
            usage: UsageMode::default(),
            truths: BTreeMap::new(),
        }
    }
}
