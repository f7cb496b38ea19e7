//! Which allowed requests are like one that came before on the same day, as one worker knows them.
//!
//! Every event is looked up here, so it costs a copy of a few texts of it and their hash, and makes nothing. What
//! this forgets, or another worker has seen, the recorder knows.

use std::borrow::Cow;

use hashbrown::{HashMap, HashSet};

use super::{
    UsageMode,
    lately::{Lately, Request},
    usage::{day_of, tells_name},
};
use crate::engine::{
    digest::{SecretDigest, SecretDigests},
    event::{Event, FieldId, FieldTable, Parts, well_known},
    kubernetes::users::{MASTERS, NODES},
    limits::{USAGE_KNOWN_PER_WORKER_MAX, USAGE_NAMES_MAX},
    value::Value,
};

/// Days that are known at once: today, the one before, and one that is caught up with.
const DAYS_MAX: usize = 3;

/// What came before.
#[derive(Debug)]
pub(in crate::engine) struct UsedBefore {
    reason: FieldId,
    impersonated_groups: FieldId,
    lately: Lately,
    digests: SecretDigests,
    days: Vec<Day>,
    /// How many days were begun.
    generations: u64,
    known: usize,
    /// A name with what its request has in common with others.
    named: Vec<u8>,
}

#[derive(Debug)]
struct Day {
    number: i64,
    /// Another one if the day is forgotten and comes again.
    generation: u64,
    /// Requests that are alike, by what they have in common.
    known: HashMap<SecretDigest, Names>,
    /// Names that were told, each with what the requests have in common.
    named: HashSet<SecretDigest>,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It is unlike all that came before.
    New,
    /// The like of it came.
    Known,
    /// It would be known with any other name, too.
    WithAnyName,
}

/// How many names of objects were told of requests that are alike; `None`: that there are more than are told.
type Names = Option<u8>;

impl UsedBefore {
    /// Of nothing. Adds the fields that it looks at to a table; `None` if nobody's usage is recorded.
    pub(in crate::engine) fn new(mode: UsageMode, table: &mut FieldTable) -> Option<UsedBefore> {
        (mode != UsageMode::Off).then(|| UsedBefore {
            reason: table.intern(Parts::REASON_PATH),
            impersonated_groups: table.intern("impersonatedUser.groups"),
            lately: Lately::new(),
            digests: SecretDigests::default(),
            days: Vec::new(),
            generations: 0,
            known: 0,
            named: Vec::new(),
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
        let verb = text(well_known::VERB);
        // Most are looked at before the reason is read. As it is written it tells the same.
        let reason = event.reason_as_written.unwrap_or_else(|| text(self.reason));
        let what = [
            text(well_known::CLUSTER),
            actor,
            verb,
            text(well_known::API_GROUP),
            if resource.is_empty() { path(text(well_known::REQUEST_URI)) } else { resource },
            text(well_known::SUBRESOURCE),
            text(well_known::NAMESPACE),
        ];
        let why = [reason, if reason.is_empty() { self.by_group(event, acting) } else { "" }];
        let name = text(well_known::NAME);
        let name = if name.is_empty() || resource.is_empty() || !tells_name(verb, actor) {
            None
        } else {
            Some(name)
        };
        let day = self.day(day_of(event.time));
        // What came lately is known of a day as long as the day itself is.
        let generation = self.days.get(day).map_or(0, |day| day.generation);
        if self.lately.came(&Request { generation, what, why, name }) {
            return false;
        }
        match self.see(day, name) {
            Seen::New => true,
            Seen::Known => false,
            Seen::WithAnyName => {
                self.lately.came_with_any_name();
                false
            }
        }
    }

    /// Of the request that was looked up last.
    fn see(&mut self, day: usize, name: Option<&str>) -> Seen {
        let digest = self.digests.of(self.lately.key());
        let Some(names) = self.days.get_mut(day).and_then(|day| day.known.get_mut(&digest)) else {
            self.begin(day, digest, name);
            return Seen::New;
        };
        let Some(name) = name else { return Seen::Known };
        let Some(count) = *names else { return Seen::WithAnyName };
        let named = self.named(digest, name);
        let Some(Day { known, named: all, .. }) = self.days.get_mut(day) else { return Seen::New };
        if all.contains(&named) {
            return Seen::Known;
        }
        let has_room = usize::from(count) < USAGE_NAMES_MAX;
        if has_room {
            all.insert(named);
        }
        known.insert(digest, has_room.then_some(count + 1));
        Seen::New
    }

    /// Remembers the first of its like.
    fn begin(&mut self, day: usize, digest: SecretDigest, name: Option<&str>) {
        let named = name.map(|name| self.named(digest, name));
        if let Some(day) = self.days.get_mut(day) {
            day.known.insert(digest, Some(u8::from(named.is_some())));
            day.named.extend(named);
        }
        self.known += 1;
        if self.known > USAGE_KNOWN_PER_WORKER_MAX {
            // The recorder still knows them.
            self.days.clear();
            self.known = 0;
        }
    }

    /// A name with what the requests have in common.
    fn named(&mut self, digest: SecretDigest, name: &str) -> SecretDigest {
        self.named.clear();
        for half in digest {
            self.named.extend_from_slice(&half.to_le_bytes());
        }
        self.named.extend_from_slice(name.as_bytes());
        self.digests.of(&self.named)
    }

    /// The index of a day.
    fn day(&mut self, number: i64) -> usize {
        let found = self.days.iter().position(|day| day.number == number);
        found.unwrap_or_else(|| {
            if self.days.len() >= DAYS_MAX {
                let oldest = self.days.iter().map(|day| day.number).min();
                self.days.retain(|day| Some(day.number) != oldest);
                self.known = self.days.iter().map(|day| day.known.len()).sum();
            }
            self.generations += 1;
            self.days.push(Day {
                number,
                generation: self.generations,
                known: HashMap::new(),
                named: HashSet::new(),
            });
            self.days.len() - 1
        })
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
