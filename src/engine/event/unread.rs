//! Which fields of an event were written in a way that says nothing clear, and are absent therefore.
//!
//! Only fields that the engine itself looks at are checked: a text where a number should be, a time that
//! is none. Every other field is what its JSON is.

use super::{FieldId, well_known};

/// The fields that can be unread.
const CHECKED: [FieldId; 9] = [
    well_known::AUDIT_ID,
    well_known::LEVEL,
    well_known::RECEIVED,
    well_known::REQUEST_URI,
    well_known::RESPONSE_CODE,
    well_known::STAGE,
    well_known::STAGE_TIME,
    well_known::USERNAME,
    well_known::VERB,
];

/// A set of fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnreadFields(u16);

impl UnreadFields {
    /// Adds one of the fields that are checked; no other is ever added.
    pub fn insert(&mut self, field: FieldId) {
        if let Some(index) = CHECKED.iter().position(|checked| *checked == field) {
            self.0 |= 1 << index;
        }
    }

    /// Whether there are none, as nearly always.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their paths.
    pub fn paths(self) -> impl Iterator<Item = &'static str> {
        paths().enumerate().filter(move |(index, _)| self.0 >> index & 1 == 1).map(|(_, path)| path)
    }
}

/// How often each field was unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnreadCounts([u64; CHECKED.len()]);

impl UnreadCounts {
    /// Counts those of one event.
    pub fn add(&mut self, fields: UnreadFields) {
        for (index, count) in self.0.iter_mut().enumerate() {
            *count += u64::from(fields.0 >> index & 1);
        }
    }

    /// Path and number of each.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        paths().zip(self.0)
    }
}

fn paths() -> impl Iterator<Item = &'static str> {
    CHECKED.iter().filter_map(|field| well_known::PATHS.get(field.index()).copied())
}
