//! How a record is taken apart, step by step, for people who ask why nothing came of it.

use serde::Serialize;

use super::{Decoder, Origin, Sink};
use crate::engine::{
    dead_letter::{ControlMessage, DeadLetterReason},
    event::{Event, FieldTable},
    limits,
};

/// Steps that are kept: 10,000, some for each of the events that a record may hold.
const STEPS_MAX: usize = limits::EVENTS_PER_RECORD_MAX;

/// What a record came to, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TakenApart {
    /// Events.
    pub events: usize,
    /// Parts that are known to hold no events.
    pub control_messages: usize,
    /// Parts that could not be decoded.
    pub dead_letters: usize,
    /// What was found, from the outside to the inside.
    pub steps: Vec<Step>,
    /// Further steps, beyond 10,000.
    pub steps_left_out: usize,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// How many envelopes are around it.
    pub depth: usize,
    /// What it is.
    pub what: String,
}

/// Takes one record apart, as `run` would, and says how.
pub fn take_apart(payload: &[u8]) -> TakenApart {
    let mut taken = TakenApart::default();
    Decoder::new(&FieldTable::new()).decode(payload, Origin::default(), &mut taken);
    taken
}

impl Sink for TakenApart {
    fn event(&mut self, _event: &mut Event<'_>) {
        self.events += 1;
    }

    fn control(&mut self, _message: ControlMessage) {
        self.control_messages += 1;
    }

    fn dead_letter(&mut self, _reason: DeadLetterReason, _detail: String, _bytes: &[u8]) {
        self.dead_letters += 1;
    }

    fn wants_steps(&self) -> bool {
        true
    }

    fn step(&mut self, depth: usize, what: String) {
        if self.steps.len() < STEPS_MAX {
            self.steps.push(Step { depth, what });
        } else {
            self.steps_left_out += 1;
        }
    }
}
