//! What it costs to know the value of a field.

use crate::engine::event::{
    Parts,
    derived::{CONFIRMED, UNSEEN, is_derived},
    well_known,
};

/// How dear a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    /// It is there already.
    Nothing,
    /// It is computed from a value or two.
    Little,
    /// It is parsed, or looked up by patterns: only for rules that nothing else rules out.
    Much,
    /// It is looked at only where a rule asks.
    TooMuch,
}

/// How dear the field with this path is.
pub(super) fn cost_of(path: &str) -> Cost {
    match path {
        // The decoder itself fills it in.
        "cluster" => Cost::Nothing,
        CONFIRMED | "actor.kind" | "outcome" => Cost::Little,
        "actor.human" | "source.public" | UNSEEN => Cost::Much,
        _ if is_derived(path) => Cost::TooMuch,
        _ => Cost::Nothing,
    }
}

/// Fields that are always decoded, and that few events have.
const SELDOM: [&str; 3] =
    ["impersonatedUser.username", "cluster", "annotations.audit.k8s.io/truncated"];

/// Whether nearly every event has the field with this path, and it costs little to know, at least if it is remembered.
pub(super) fn is_usual(path: &str) -> bool {
    matches!(path, CONFIRMED | "actor.kind" | "actor.human" | "outcome")
        || Parts::of(path) == Parts::REASON
        || well_known::PATHS.contains(&path) && !SELDOM.contains(&path)
}
