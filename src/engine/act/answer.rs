//! What an act came to.

use std::sync::Arc;

use super::{AlertName, Episode, Silence};
use crate::engine::words::words;

/// What an act came to; handed out once that is durable.
pub type Answer = Result<Acted, Refused>;

/// An act was done.
#[derive(Clone, Debug, Default)]
pub struct Acted {
    /// It was done before: this is the same again.
    pub again: bool,
    /// The silence that it was about.
    pub silence: Option<Arc<Silence>>,
    /// The alerts that it was about, as they are now.
    pub alerts: Vec<OnAlert>,
    /// Those that nobody knows; nothing was done with them.
    pub unknown: Vec<AlertName>,
}

/// What an act came to for one alert.
#[derive(Clone, Debug)]
pub struct OnAlert {
    /// The episode, with what was done just now and before.
    pub episode: Arc<Episode>,
    /// How many of its deeds were there before: they are what others did first.
    pub before: usize,
}

words! {
    /// Why nothing was done.
    pub enum Refused {
        /// Another act was done that was sent with this id. What earlier versions did counts as the same act.
        AnotherAct = "another_act",
        /// None of the alerts is known: they never fired, or ended long ago.
        UnknownAlert = "unknown_alert",
        /// The alert is over: only one that fires can be ended.
        AlertEnded = "alert_ended",
        /// A comment, a reason or a name is longer than is kept of one.
        TextTooLong = "text_too_long",
        /// There is no such silence.
        UnknownSilence = "unknown_silence",
        /// The silence has ended already.
        SilenceEnded = "silence_ended",
        /// A silence must end after it begins, after now, and within a year.
        SilenceSpan = "silence_span",
        /// The matchers of a silence are none, too many, or match whatever there is.
        SilenceMatchers = "silence_matchers",
        /// There are too many silences that run or are to come.
        TooManySilences = "too_many_silences",
        /// The act names too many alerts, or none.
        TooManyAlerts = "too_many_alerts",
        /// Too much was done about the alert already, or about all of them.
        TooManyDeeds = "too_many_deeds",
    }
}
