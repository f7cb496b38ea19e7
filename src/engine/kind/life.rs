//! From when to when alerts fire, for each kind and shape of window: the lines of one table.
//!
//! A kind names its lines in [`KINDS`](super::KINDS), and its code keeps to them: when a condition holds is
//! its own business, for how long an alert of it then fires that of [`Kind::fires_for`](super::Kind) and
//! [`Holds`](super::Holds).

/// One way in which alerts live. Parts of sentences, in Markdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Of which rules; empty if of all of the kind.
    pub of: &'static str,
    /// When an alert begins.
    pub begins: &'static str,
    /// When people are told again of one that fires.
    pub again: &'static str,
    /// When it ends.
    pub ends: &'static str,
}

const DOUBLED: &str = "its value has doubled, or its severity rises";

/// An alert of a rule about one event. Not of a kind, but beside them in the table.
pub const ONE_EVENT: Life = Life {
    of: "",
    begins: "the event",
    again: "the number of its events has doubled, or its severity rises",
    ends: "`engine.resolve_after` (5m) after the last event",
};

/// Of what is new.
pub(super) const NEW: Life = Life {
    of: "",
    begins: "the event that is the first with its values",
    again: "never: it is new once",
    ends: "`engine.resolve_after` (5m) after the event",
};

/// Of what is rare.
pub(super) const RARE: Life = Life {
    of: "",
    begins: "the event whose values are rare",
    again: DOUBLED,
    ends: "`engine.resolve_after` (5m) after the last event with them",
};

/// What more events can only make truer.
pub(super) const AT_ONCE: Life = Life {
    of: "`gt`, `gte`; `sliding` or `tumbling`",
    begins: "the event that completes the condition",
    again: DOUBLED,
    ends: "`timespan` after the last event with which it held",
};

/// The same, if it cannot be said by a threshold.
pub(super) const AT_ONCE_OF_RULES: Life =
    Life { of: "without `not`; `sliding` or `tumbling`", ..AT_ONCE };

/// The same, whatever the rule says.
pub(super) const AT_ONCE_ALWAYS: Life = Life { of: "", ..AT_ONCE };

/// The same, over a session.
pub(super) const AT_ONCE_IN_SESSION: Life = Life {
    of: "`gt`, `gte`; `session`",
    ends: "`gap` after the last event: with the session",
    ..AT_ONCE
};

/// The same, over a session.
pub(super) const AT_ONCE_OF_RULES_IN_SESSION: Life =
    Life { of: "without `not`; `session`", ..AT_ONCE_IN_SESSION };

/// A sum, a mean: what a sliding window decides as each event comes.
pub(super) const SLIDING_NUMBER: Life = Life { of: "`gt`, `gte`; `sliding`", ..AT_ONCE };

/// What further events may make untrue.
pub(super) const AT_END: Life = Life {
    of: "all else; `tumbling`",
    begins: "the end of the window",
    again: DOUBLED,
    ends: "the end of the next window, unless it holds there, too",
};

/// What must not come beside something else.
pub(super) const NOT_SEEN: Life = Life {
    of: "all else; `sliding` or `tumbling`",
    begins: "the end of the window, which the first event that is asked for begins if it slides",
    again: DOUBLED,
    ends: "`timespan` later, unless it holds again",
};

/// The same, over a session.
pub(super) const AT_END_OF_SESSION: Life = Life {
    of: "all else; `session`",
    begins: "the end of the session",
    again: DOUBLED,
    ends: "`gap` later",
};

/// Silence.
pub(super) const ABSENCE: Life = Life {
    of: "",
    begins: "`timespan` of silence",
    again: "the silence has doubled, or its severity rises",
    ends: "the next event of the key, or when it is expected no longer",
};

/// Sums that sink.
pub(super) const RISK: Life = Life {
    of: "",
    begins: "the finding with which the sum reaches `line`",
    again: DOUBLED,
    ends: "the sum has sunk below `line`",
};
