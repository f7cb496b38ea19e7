//! What some fields say of the rules together, remembered: verb, resource, status and the like come in some hundreds
//! of combinations, and who asks, with which groups, which client and which permission, in some hundreds more. So
//! most events need one look-up for each of the two.
//!
//! A combination is known by a digest: to read all its texts again would cost more than all else here.

use hashbrown::HashTable;

use super::{Look, field::FieldIndex};
use crate::engine::{
    detect::bits::Bits,
    digest::{SHORT_BYTES, ShortDigests},
    event::{
        Event, FieldId, FieldTable, Parts, derived::CONFIRMED, has_certificate, message_of,
        unanswered::is_done_unanswered, well_known,
    },
    rule::RuleSet,
    value::Value,
};

/// What is asked for, and how it ended.
const KIND: [FieldId; 8] = [
    well_known::STAGE,
    well_known::VERB,
    well_known::RESOURCE,
    well_known::SUBRESOURCE,
    well_known::API_GROUP,
    well_known::RESPONSE_CODE,
    well_known::DECISION,
    well_known::LEVEL,
];

/// Who asks, and with what.
const CALLER: [FieldId; 4] = [
    well_known::USERNAME,
    well_known::GROUPS,
    well_known::IMPERSONATED_USERNAME,
    well_known::USER_AGENT,
];

/// What `outcome` is derived from, beside whether a change was made whose answer was refused ([`is_done_unanswered`]).
const OF_OUTCOME: [FieldId; 2] = [well_known::RESPONSE_CODE, well_known::DECISION];

/// What `actor.kind` is derived from, where there is a name: without one it depends on the status. The same is true of
/// `actor.human` at one time, if nobody is impersonated, and of `actor.confirmed` at one time with one sort of
/// credential.
const OF_ACTOR: [FieldId; 3] =
    [well_known::USERNAME, well_known::GROUPS, well_known::IMPERSONATED_USERNAME];

/// Combinations that are remembered at most: 4,096, and with many rules fewer: see [`BYTES_MAX`]. With another one
/// all are forgotten.
const KNOWN_MAX: usize = 4_096;

/// Bytes of all that is remembered: 1 MiB, or 64 of them if that is more.
const BYTES_MAX: usize = 1 << 20;

/// Places for combinations that came once: 1,024, each for the latest of those that share it.
const ONCE: usize = 1_024;

/// What fields are about whose values come in few combinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// What is asked for, and how it ended.
    Kind,
    /// Who asks, and with what.
    Caller,
}

impl About {
    /// Of an indexed field; `None` if it is about neither.
    pub(super) fn of(table: &FieldTable, index: &FieldIndex) -> Option<About> {
        match index.parts {
            Parts::NONE => {}
            Parts::REASON => return Some(About::Caller),
            _ => return None,
        }
        match table.path(index.field) {
            "outcome" => Some(About::Kind),
            CONFIRMED | "actor.kind" | "actor.human" => Some(About::Caller),
            _ if KIND.contains(&index.field) => Some(About::Kind),
            _ => CALLER.contains(&index.field).then_some(About::Caller),
        }
    }

    const fn key_fields(self) -> &'static [FieldId] {
        match self {
            About::Kind => &KIND,
            About::Caller => &CALLER,
        }
    }
}

/// Fields about one thing, and what they said together before.
#[derive(Debug)]
pub(super) struct Together {
    about: About,
    /// In the order in which they are looked at.
    fields: Vec<FieldIndex>,
    /// Fields of the event by which a combination is known.
    key_fields: Vec<FieldId>,
    /// Whether one of `fields` is `actor.human`, which depends on who was whom when.
    tells_people: bool,
    /// Whether one of `fields` is `actor.confirmed`, which does, too, and on the sort of credential.
    tells_confirmed: bool,
    /// The field that says why a request was allowed, if it is one of `fields`.
    reason: Option<FieldId>,
    /// Whether one of `fields` is `outcome`: the field that tells whether a change was made whose answer was refused.
    message: Option<FieldId>,
    known_max: usize,
    digests: ShortDigests,
    /// Combinations that came once: what comes only once is not worth its memory, and what patterns say of a text is
    /// known only when it comes again.
    once: Vec<u64>,
    known: HashTable<(u128, Bits)>,
    /// Of the event that was looked at last.
    key: Vec<u8>,
    /// Of its combination, if that is known yet.
    latest: Option<u128>,
    fresh: Bits,
}

impl Together {
    /// Takes the fields that are about this out of those that were chosen, for `count` alternatives.
    pub(super) fn of(
        about: About,
        table: &FieldTable,
        fields: &mut Vec<FieldIndex>,
        count: usize,
    ) -> Together {
        let is_it = |index: &mut FieldIndex| About::of(table, index) == Some(about);
        let fields: Vec<FieldIndex> = fields.extract_if(.., is_it).collect();
        let is_needed = |field: &FieldId| {
            fields.iter().any(|index| match table.path(index.field) {
                "outcome" => OF_OUTCOME.contains(field),
                CONFIRMED | "actor.kind" | "actor.human" => OF_ACTOR.contains(field),
                _ => index.field == *field,
            })
        };
        Together {
            about,
            key_fields: about.key_fields().iter().copied().filter(is_needed).collect(),
            tells_confirmed: fields.iter().any(|index| table.path(index.field) == CONFIRMED),
            tells_people: fields.iter().any(|index| table.path(index.field) == "actor.human"),
            reason: fields.iter().find(|index| index.parts == Parts::REASON).map(|one| one.field),
            message: fields
                .iter()
                .find(|index| table.path(index.field) == "outcome")
                .and_then(|_| message_of(table)),
            fields,
            known_max: (BYTES_MAX / (count / 8 + 1)).clamp(64, KNOWN_MAX),
            digests: ShortDigests::default(),
            once: vec![0; ONCE],
            known: HashTable::new(),
            key: Vec::new(),
            latest: None,
            fresh: Bits::default(),
        }
    }

    /// Tells combinations apart by these fields, too, whatever rules ask for; of those that are about who asks, `reason` is
    /// one, which says why a request was allowed.
    pub(super) fn tell_apart_by(&mut self, fields: &[FieldId], reason: FieldId) {
        let known = std::mem::take(&mut self.key_fields);
        let is_wanted = |field: &FieldId| known.contains(field) || fields.contains(field);
        self.key_fields = self.about.key_fields().iter().copied().filter(is_wanted).collect();
        if self.about == About::Caller {
            self.reason = Some(reason);
        }
    }

    /// Another event comes.
    #[inline]
    pub(super) const fn next_event(&mut self) {
        self.latest = None;
    }

    /// The digest of the event's combination, if it was asked for.
    pub(super) const fn latest(&self) -> Option<u128> {
        self.latest
    }

    /// The digest of the event's combination; `None` if it is an odd one. `passed`: parts of it that are not read.
    #[inline]
    pub(super) fn digest(
        &mut self,
        rules: &RuleSet,
        event: &Event<'_>,
        passed: Parts,
    ) -> Option<u128> {
        if self.latest.is_none() && self.write_key(rules, event, passed) {
            self.latest = Some(self.digests.of(&self.key));
        }
        self.latest
    }

    /// Forgets what was said, since it is asked about other rules.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Keeps of `candidates`, which are some of `all`, what the event's combination does not rule out. `all` is the
    /// same for all events of one stage, and of all stages unless this is about the kind. False: nothing.
    #[inline]
    pub(super) fn keep(
        &mut self,
        look: &mut Look<'_>,
        event: &mut Event<'_>,
        all: &Bits,
        candidates: &mut Bits,
    ) -> bool {
        if self.fields.is_empty() {
            return candidates.has_any();
        }
        let Some(digest) = self.digest(look.rules, event, look.passed) else {
            return look.keep(&mut self.fields, event, candidates);
        };
        let hash = ShortDigests::place(digest);
        if let Some((_, left)) = self.known.find(hash, |(known, _)| *known == digest) {
            return candidates.keep(left);
        }
        let place = usize::try_from(hash).unwrap_or(0) % ONCE;
        if self.once.get_mut(place).is_none_or(|once| std::mem::replace(once, hash) != hash) {
            return look.keep(&mut self.fields, event, candidates);
        }
        self.fresh.copy_from(all);
        look.is_thorough = true;
        look.keep(&mut self.fields, event, &mut self.fresh);
        look.is_thorough = false;
        if self.known.len() >= self.known_max {
            self.known.clear();
        }
        let known = (digest, self.fresh.clone());
        self.known.insert_unique(hash, known, |(digest, _)| ShortDigests::place(*digest));
        candidates.keep(&self.fresh)
    }

    /// Writes down the combination. False: it is an odd one.
    fn write_key(&mut self, rules: &RuleSet, event: &Event<'_>, passed: Parts) -> bool {
        self.key.clear();
        let is_named =
            || event.first_str(well_known::USERNAME).is_some_and(|name| !name.is_empty());
        match self.about {
            About::Kind => self.key.push(event.stage as u8),
            About::Caller if !is_named() => return false,
            About::Caller => {}
        }
        if self.tells_people && event.has(well_known::IMPERSONATED_USERNAME) {
            return false;
        }
        if self.tells_people || self.tells_confirmed {
            self.key.extend_from_slice(&rules.identities.ended(event.time).to_le_bytes());
        }
        if self.tells_confirmed {
            self.key.push(u8::from(has_certificate(event)));
        }
        if self.message.is_some() {
            self.key.push(u8::from(is_done_unanswered(event, self.message)));
        }
        for field in &self.key_fields {
            for value in event.values(*field) {
                // No text of UTF-8 has the bytes that stand between the values.
                match value {
                    Value::Str(text) => self.key.extend_from_slice(text.as_bytes()),
                    Value::Int(number) => {
                        self.key.push(0xFD);
                        self.key.extend_from_slice(&number.to_le_bytes());
                    }
                    _ => return false,
                }
                self.key.push(0xFE);
            }
            if self.key.len() > SHORT_BYTES {
                return false;
            }
            self.key.push(0xFF);
        }
        if let Some(reason) = self.reason {
            // What was passed over is not in its field yet.
            let values = event.count(reason) + usize::from(passed.meets(Parts::REASON));
            match (values, event.reason_as_written, event.first_str(reason)) {
                (0, ..) => self.key.push(0xFD),
                (1, Some(written), _) => {
                    self.key.push(0xFC);
                    self.key.extend_from_slice(written.as_bytes());
                }
                (1, None, Some(text)) => self.key.extend_from_slice(text.as_bytes()),
                _ => return false,
            }
        }
        self.key.push(0xFF);
        // No text ends in what fills it up.
        ShortDigests::fill(&mut self.key);
        self.key.len() <= SHORT_BYTES
    }
}
