//! Events in whose body a key stands twice, so that they can be read in two ways.
//!
//! The API server takes the last value of a key; whoever writes others before it wants to be taken for
//! somebody else. So a value counts towards a condition in either reading, and counts against one only if
//! it does in both: a rule that holds for what the API server takes holds, whatever stands before it.

use super::derivations::Derivations;
use crate::engine::{
    event::{Event, FieldId},
    rule::Expression,
};

/// The readings of an event, or of one element of an array.
#[derive(Debug)]
pub(super) struct Readings<'e, 'a> {
    /// With every value.
    pub(super) every: &'e mut Event<'a>,
    /// With the values that the API server takes; `None` if these are all.
    pub(super) taken: Option<Event<'a>>,
}

impl<'e, 'a> Readings<'e, 'a> {
    /// Of an event of which no field was derived yet. Cost: a copy if a key stands twice, else nothing.
    pub(super) fn of(event: &'e mut Event<'a>) -> Readings<'e, 'a> {
        let taken = event.has_replaced().then(|| event.taken());
        Readings { every: event, taken }
    }

    /// The reading whose values of a field are shown: what the API server takes, if it takes any.
    pub(super) fn shown(&mut self, derivations: &Derivations, field: FieldId) -> &mut Event<'a> {
        derivations.derive(self.every, field);
        if let Some(taken) = &mut self.taken {
            derivations.derive(taken, field);
            if taken.has(field) {
                return taken;
            }
        }
        self.every
    }
}

/// What a test comes to that holds so in one reading, and so in the other. `counts`: it counts towards what
/// is asked for, so that one is enough; else it counts against it.
pub(super) fn combined(counts: bool, every: bool, taken: impl FnOnce() -> bool) -> bool {
    if every == counts { every } else { taken() }
}

/// Whether a condition holds by what `holds` says of its tests, and of whether they count towards it.
/// Recursion is bounded by the depth of conditions.
pub(super) fn holds_by(
    condition: &Expression,
    counts: bool,
    holds: &mut dyn FnMut(&Expression, bool) -> bool,
) -> bool {
    match condition {
        Expression::Not(inner) => !holds_by(inner, !counts, holds),
        Expression::All(parts) => parts.iter().all(|part| holds_by(part, counts, holds)),
        Expression::Any(parts) => parts.iter().any(|part| holds_by(part, counts, holds)),
        test => holds(test, counts),
    }
}
