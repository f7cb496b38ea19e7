//! What fields with few values say of the rules together: verb, resource, status and the like come in some
//! hundreds of combinations, so that most events need one look-up for all of them.
//!
//! Nothing but time depends on it.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{Look, field::FieldIndex};
use crate::engine::{
    detect::bits::Bits,
    event::{Event, FieldId, FieldTable, Parts, well_known},
    value::Value,
};

/// Fields with few values.
const FEW: [FieldId; 8] = [
    well_known::STAGE,
    well_known::VERB,
    well_known::RESOURCE,
    well_known::SUBRESOURCE,
    well_known::API_GROUP,
    well_known::RESPONSE_CODE,
    well_known::DECISION,
    well_known::LEVEL,
];

/// What `outcome` is derived from.
const OF_OUTCOME: [FieldId; 2] = [well_known::RESPONSE_CODE, well_known::DECISION];

/// Bytes of a combination that is remembered at most: 256.
const KEY_BYTES_MAX: usize = 256;

/// Combinations that are remembered at most: 4,096, and with many rules fewer: see [`BYTES_MAX`]. With another one
/// all are forgotten.
const KNOWN_MAX: usize = 4_096;

/// Bytes of all that is remembered, but for the combinations: 1 MiB, or 64 of them if that is more.
const BYTES_MAX: usize = 1 << 20;

/// Places for combinations that came once: 1,024, each for the latest of those that share it.
const ONCE: usize = 1_024;

/// Whether a field has few values.
pub(super) fn has_few(table: &FieldTable, index: &FieldIndex) -> bool {
    let is_outcome = table.get("outcome") == Some(index.field);
    index.parts == Parts::NONE && (is_outcome || FEW.contains(&index.field))
}

/// Fields with few values, and what they said together before.
#[derive(Debug, Default)]
pub(super) struct Together {
    /// In the order in which they are looked at.
    fields: Vec<FieldIndex>,
    /// Fields of the event by which a combination is known.
    key_fields: Vec<FieldId>,
    known_max: usize,
    hasher: DefaultHashBuilder,
    /// Hashes of combinations that came once: what comes only once is not worth its memory, and what patterns say of
    /// a text is known only when it comes again.
    once: Vec<u64>,
    known: HashTable<(Box<[u8]>, Bits)>,
    /// Of the event that was looked at last.
    key: Vec<u8>,
}

impl Together {
    /// Takes the fields with few values out of those that were chosen, for `count` alternatives.
    pub(super) fn of(table: &FieldTable, fields: &mut Vec<FieldIndex>, count: usize) -> Together {
        let outcome = table.get("outcome");
        let fields: Vec<FieldIndex> =
            fields.extract_if(.., |index| has_few(table, index)).collect();
        let is_needed = |field: &FieldId| {
            let needs = |index: &FieldIndex| {
                index.field == *field || Some(index.field) == outcome && OF_OUTCOME.contains(field)
            };
            fields.iter().any(needs)
        };
        Together {
            key_fields: FEW.into_iter().filter(is_needed).collect(),
            fields,
            known_max: (BYTES_MAX / (count / 8 + 1)).clamp(64, KNOWN_MAX),
            once: vec![0; ONCE],
            ..Together::default()
        }
    }

    /// Forgets what was said, since it is asked about other rules.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// What is left of `all` for an event, into `candidates`. False: nothing.
    #[inline]
    pub(super) fn keep(
        &mut self,
        look: &mut Look<'_>,
        event: &mut Event<'_>,
        all: &Bits,
        candidates: &mut Bits,
    ) -> bool {
        if !self.write_key(event) {
            candidates.copy_from(all);
            return look.keep(&mut self.fields, event, candidates);
        }
        let hash = self.hasher.hash_one(self.key.as_slice());
        if let Some((_, left)) = self.known.find(hash, |(known, _)| **known == *self.key) {
            candidates.copy_from(left);
            return candidates.has_any();
        }
        candidates.copy_from(all);
        let is_left = look.keep(&mut self.fields, event, candidates);
        let place = usize::try_from(hash).unwrap_or(0) % ONCE;
        if self.once.get_mut(place).is_some_and(|once| std::mem::replace(once, hash) == hash) {
            if self.known.len() >= self.known_max {
                self.known.clear();
            }
            let known = (self.key.as_slice().into(), candidates.clone());
            let hasher = &self.hasher;
            self.known.insert_unique(hash, known, |(key, _)| hasher.hash_one(&**key));
        }
        is_left
    }

    /// Writes down the combination. False: it is an odd one.
    fn write_key(&mut self, event: &Event<'_>) -> bool {
        self.key.clear();
        self.key.push(event.stage as u8);
        for field in &self.key_fields {
            // No text of UTF-8 has the bytes that stand between the values.
            match (event.count(*field), event.first(*field)) {
                (0, _) => self.key.push(0xFE),
                (1, Some(Value::Str(text))) => self.key.extend_from_slice(text.as_bytes()),
                (1, Some(Value::Int(number))) => {
                    self.key.push(0xFD);
                    self.key.extend_from_slice(&number.to_le_bytes());
                }
                _ => return false,
            }
            self.key.push(0xFF);
        }
        self.key.len() <= KEY_BYTES_MAX
    }
}
