//! Which allowed requests are like one that came before on the same day, as one worker knows them.
//!
//! Every event is looked up here, so it costs a hash over a few texts of it and a comparison, and makes
//! nothing. What this forgets, or another worker has seen, the recorder knows.

use std::{
    borrow::Cow,
    hash::{BuildHasher as _, Hasher as _},
};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{
    UsageMode,
    usage::{day_of, tells_name},
};
use crate::engine::{
    event::{Event, FieldId, FieldTable, well_known},
    kubernetes::users::{MASTERS, NODES},
    limits::{USAGE_KNOWN_PER_WORKER_MAX, USAGE_NAMES_MAX},
    value::Value,
};

/// Texts by which requests are alike.
const PARTS: usize = 9;

/// Days that are known at once: today, the one before, and one that is caught up with.
const DAYS_MAX: usize = 3;

/// What came before.
#[derive(Debug)]
pub(in crate::engine) struct UsedBefore {
    reason: FieldId,
    impersonated_groups: FieldId,
    hasher: DefaultHashBuilder,
    days: Vec<Day>,
    known: usize,
}

#[derive(Debug)]
struct Day {
    number: i64,
    known: HashTable<Known>,
}

/// What requests that are alike have in common.
#[derive(Debug)]
struct Known {
    hash: u64,
    /// The parts one behind the other.
    text: Box<[u8]>,
    /// Where each of them ends.
    ends: [u32; PARTS],
    names: Vec<Box<str>>,
    /// There were more names than are told.
    has_more_names: bool,
}

impl UsedBefore {
    /// Of nothing. Adds the fields that it looks at to a table; `None` if nobody's usage is recorded.
    pub(in crate::engine) fn new(mode: UsageMode, table: &mut FieldTable) -> Option<UsedBefore> {
        (mode != UsageMode::Off).then(|| UsedBefore {
            reason: table.intern("annotations.authorization.k8s.io/reason"),
            impersonated_groups: table.intern("impersonatedUser.groups"),
            hasher: DefaultHashBuilder::default(),
            days: Vec::new(),
            known: 0,
        })
    }

    /// Whether an event is an allowed request unlike all that came before on its day; from now on it is not.
    pub(in crate::engine) fn is_new(&mut self, event: &Event<'_>) -> bool {
        if !is_allowed(event) {
            return false;
        }
        let text = |field| event.first_str(field).unwrap_or("");
        let acting = text(well_known::IMPERSONATED_USERNAME);
        let actor = if acting.is_empty() { text(well_known::USERNAME) } else { acting };
        let resource = text(well_known::RESOURCE);
        let (verb, reason) = (text(well_known::VERB), text(self.reason));
        let parts: [&str; PARTS] = [
            text(well_known::CLUSTER),
            actor,
            verb,
            text(well_known::API_GROUP),
            if resource.is_empty() { path(text(well_known::REQUEST_URI)) } else { resource },
            text(well_known::SUBRESOURCE),
            text(well_known::NAMESPACE),
            reason,
            if reason.is_empty() { self.by_group(event, acting) } else { "" },
        ];
        let name = text(well_known::NAME);
        let name = if name.is_empty() || resource.is_empty() || !tells_name(verb, actor) {
            None
        } else {
            Some(name)
        };
        self.see(day_of(event.time), &parts, name)
    }

    fn see(&mut self, day: i64, parts: &[&str; PARTS], name: Option<&str>) -> bool {
        let mut ends = [0; PARTS];
        let mut length = 0;
        let mut hasher = self.hasher.build_hasher();
        for (part, end) in parts.iter().zip(&mut ends) {
            hasher.write(part.as_bytes());
            length += part.len();
            *end = u32::try_from(length).unwrap_or(u32::MAX);
        }
        let hash = hasher.finish();
        let day = self.day(day);
        let is_it = |known: &Known| known.ends == ends && known.is(parts);
        if let Some(known) = day.find_mut(hash, is_it) {
            return name.is_some_and(|name| known.is_new_name(name));
        }
        let text = parts.concat().into_bytes().into_boxed_slice();
        let names = name.map(Box::from).into_iter().collect();
        let known = Known { hash, text, ends, names, has_more_names: false };
        day.insert_unique(hash, known, |known| known.hash);
        self.known += 1;
        if self.known > USAGE_KNOWN_PER_WORKER_MAX {
            // The recorder still knows them.
            self.days.clear();
            self.known = 0;
        }
        true
    }

    fn day(&mut self, number: i64) -> &mut HashTable<Known> {
        let found = self.days.iter().position(|day| day.number == number);
        let index = found.unwrap_or_else(|| {
            if self.days.len() >= DAYS_MAX {
                let oldest = self.days.iter().map(|day| day.number).min();
                self.days.retain(|day| Some(day.number) != oldest);
                self.known = self.days.iter().map(|day| day.known.len()).sum();
            }
            self.days.push(Day { number, known: HashTable::new() });
            self.days.len() - 1
        });
        &mut self.days.get_mut(index).expect("it was found or pushed").known
    }

    /// Of a request that no reason is written for: by which group it was allowed.
    fn by_group(&self, event: &Event<'_>, acting: &str) -> &'static str {
        let field = if acting.is_empty() { well_known::GROUPS } else { self.impersonated_groups };
        let mut found = "";
        for value in event.values(field) {
            match value {
                Value::Str(Cow::Borrowed(MASTERS)) => return MASTERS,
                Value::Str(text) if **text == *MASTERS => return MASTERS,
                Value::Str(text) if **text == *NODES => found = NODES,
                _ => {}
            }
        }
        found
    }
}

impl Known {
    fn is(&self, parts: &[&str; PARTS]) -> bool {
        let mut rest = &*self.text;
        for part in parts {
            match rest.split_at_checked(part.len()) {
                Some((own, behind)) if own == part.as_bytes() => rest = behind,
                _ => return false,
            }
        }
        true
    }

    /// Whether a name is to be told: it, or that there are more of them.
    fn is_new_name(&mut self, name: &str) -> bool {
        if self.has_more_names || self.names.iter().any(|known| **known == *name) {
            return false;
        }
        if self.names.len() < USAGE_NAMES_MAX {
            self.names.push(Box::from(name));
        } else {
            self.has_more_names = true;
            self.names = Vec::new();
        }
        true
    }
}

/// Whether the API server let it through; where the log does not say that, whether it was answered well.
fn is_allowed(event: &Event<'_>) -> bool {
    match event.first(well_known::DECISION) {
        Some(Value::Str(decision)) => &**decision == "allow",
        _ => match event.first(well_known::RESPONSE_CODE) {
            Some(Value::Int(code)) => (100..400).contains(code),
            _ => false,
        },
    }
}

/// A URI without its query.
fn path(uri: &str) -> &str {
    uri.split_once('?').map_or(uri, |(path, _)| path)
}
