//! Which allowed requests are like one that came before on the same day, as one worker knows them.
//!
//! Every event is looked up here, so it costs a copy of a few texts of it and their hash, and makes nothing. What
//! this forgets, or another worker has seen, the recorder knows.

use std::borrow::Cow;

use hashbrown::{HashMap, HashSet};

use super::{
    UsageMode,
    lately::{Lately, Look, Request, Who},
    usage::{day_of, tells_name},
};
use crate::engine::{
    digest::{SecretDigest, SecretDigests},
    event::{Combinations, Event, FieldId, FieldTable, Parts, well_known},
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
    /// What the request that is looked up has in common with others.
    key: Vec<u8>,
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

/// An event that is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Looked {
    /// The index of its day.
    day: usize,
    /// Among what came lately; `None`: it is not looked for there.
    lately: Option<Look>,
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
    /// What [`Combinations`] have to tell apart for this, besides the reason.
    pub(in crate::engine) const FIELDS: [FieldId; 9] = [
        well_known::VERB,
        well_known::RESOURCE,
        well_known::SUBRESOURCE,
        well_known::API_GROUP,
        well_known::RESPONSE_CODE,
        well_known::DECISION,
        well_known::USERNAME,
        well_known::GROUPS,
        well_known::IMPERSONATED_USERNAME,
    ];

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
            key: Vec::new(),
            named: Vec::new(),
        })
    }

    /// The field that says why a request was allowed.
    pub(in crate::engine) const fn reason(&self) -> FieldId {
        self.reason
    }

    /// Looks an event up, for [`UsedBefore::is_new`].
    #[inline]
    pub(in crate::engine) fn look(
        &mut self,
        event: &Event<'_>,
        combinations: Option<Combinations>,
    ) -> Looked {
        let day = self.day(day_of(event.time));
        let Some(Combinations { kind, caller }) = combinations else {
            return Looked { day, lately: None };
        };
        let text = |field| event.first_str(field).unwrap_or("");
        let acting = text(well_known::IMPERSONATED_USERNAME);
        let (resource, namespace) = (text(well_known::RESOURCE), text(well_known::NAMESPACE));
        if resource.is_empty() && !namespace.is_empty() {
            return Looked { day, lately: None };
        }
        let request = Request {
            // What came lately is known of a day as long as the day itself is.
            generation: self.days.get(day).map_or(0, |day| day.generation),
            kind,
            who: match caller {
                Some(digest) if acting.is_empty() => Who::Digest(digest),
                _ => {
                    let [reason, group] = self.why(event, acting);
                    Who::Texts { actor: actor(event), reason, group }
                }
            },
            cluster: text(well_known::CLUSTER),
            whereabouts: if resource.is_empty() { path(event) } else { namespace },
            name: name(event),
        };
        Looked { day, lately: self.lately.look(&request) }
    }

    /// Whether an event that was looked up is an allowed request unlike all that came before on its day; from now on it
    /// is not.
    #[inline]
    pub(in crate::engine) fn is_new(&mut self, event: &Event<'_>, looked: &Looked) -> bool {
        if looked.lately.as_ref().is_some_and(|look| self.lately.came(look)) {
            return false;
        }
        self.is_unlike(event, looked)
    }

    /// See [`UsedBefore::is_new`], of what did not come lately.
    fn is_unlike(&mut self, event: &Event<'_>, looked: &Looked) -> bool {
        if !is_allowed(event) {
            return false;
        }
        self.write_key(event);
        match self.see(looked.day, name(event)) {
            Seen::New => true,
            Seen::Known => false,
            Seen::WithAnyName => {
                if let Some(look) = &looked.lately {
                    self.lately.came_with_any_name(look);
                }
                false
            }
        }
    }

    /// Writes down what a request has in common with others, but for names.
    fn write_key(&mut self, event: &Event<'_>) {
        let text = |field| event.first_str(field).unwrap_or("");
        let [reason, group] = self.why(event, text(well_known::IMPERSONATED_USERNAME));
        let resource = text(well_known::RESOURCE);
        self.key.clear();
        for part in [
            text(well_known::CLUSTER),
            actor(event),
            text(well_known::VERB),
            text(well_known::API_GROUP),
            if resource.is_empty() { path(event) } else { resource },
            text(well_known::SUBRESOURCE),
            text(well_known::NAMESPACE),
            reason,
            group,
        ] {
            self.key.extend_from_slice(part.as_bytes());
            // No text of UTF-8 has this byte.
            self.key.push(0xFF);
        }
    }

    /// Of the request that was written down last.
    fn see(&mut self, day: usize, name: Option<&str>) -> Seen {
        let digest = self.digests.of(&self.key);
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
    #[inline]
    fn day(&mut self, number: i64) -> usize {
        let found = self.days.iter().position(|day| day.number == number);
        found.unwrap_or_else(|| self.begin_day(number))
    }

    #[cold]
    fn begin_day(&mut self, number: i64) -> usize {
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
    }

    /// The reason for which a request was allowed; where none is written, by which group that was.
    #[inline]
    fn why<'e>(&self, event: &'e Event<'_>, acting: &str) -> [&'e str; 2] {
        // Most are looked at before the reason is read. As it is written it tells the same.
        let read = || event.first_str(self.reason).unwrap_or("");
        match event.reason_as_written.unwrap_or_else(read) {
            "" => ["", self.by_group(event, acting)],
            reason => [reason, ""],
        }
    }

    /// Of a request that no reason is written for: by which group it was allowed.
    #[inline]
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

/// As whom it was done.
#[inline]
fn actor<'e>(event: &'e Event<'_>) -> &'e str {
    let acting = event.first_str(well_known::IMPERSONATED_USERNAME).filter(|name| !name.is_empty());
    acting.or_else(|| event.first_str(well_known::USERNAME)).unwrap_or("")
}

/// The name of its object, if requests are told apart by it.
#[inline]
fn name<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    let text = |field| event.first_str(field).unwrap_or("");
    let name = event.first_str(well_known::NAME).filter(|name| !name.is_empty())?;
    let has_name = !text(well_known::RESOURCE).is_empty();
    (has_name && tells_name(text(well_known::VERB), actor(event))).then_some(name)
}

/// The URI without its query.
#[inline]
fn path<'e>(event: &'e Event<'_>) -> &'e str {
    let uri = event.first_str(well_known::REQUEST_URI).unwrap_or("");
    uri.split_once('?').map_or(uri, |(path, _)| path)
}
