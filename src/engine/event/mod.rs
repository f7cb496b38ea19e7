//! One audit event, projected onto the fields that the loaded rules need.
//!
//! A [`FieldTable`] gives each dotted path that rules, evidence or templates name a [`FieldId`];
//! decoding fills an [`Event`] with the values of just these. The fields in [`well_known`] are always
//! there, in a fixed order, because the engine itself needs them: stage, identity, time, actor.

mod actor;
mod callers;
mod combinations;
pub mod derived;
mod identities;
mod identity;
mod known;
pub mod network;
mod object;
mod parts;
mod redact;
mod reference;
mod request;
mod shell;
mod sources;
pub(in crate::engine) mod unanswered;
mod unread;
pub(in crate::engine) mod unseen;

use std::{borrow::Cow, ops::Range};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::{kubernetes::runs_long, limits, time::EventTime, value::Value};

pub(in crate::engine) use actor::has_certificate;
pub(in crate::engine) use combinations::Combinations;
pub use identities::{Identities, Identity, NamePattern};
pub use identity::RequestIdentity;
pub use known::{KNOWN_FIELDS, known_field};
pub(in crate::engine) use parts::Parts;
pub use redact::{redact, redact_json, redact_record};
pub(in crate::engine) use reference::{Owed, Reference};
pub(in crate::engine) use request::shown_parameter;
pub(in crate::engine) use sources::{Sources, message_of};
pub use unread::{UnreadCounts, UnreadFields};

pub use super::kubernetes::Stage;

/// Index of a field in its [`FieldTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FieldId(pub u16);

impl FieldId {
    /// For indexing arrays that are as long as the field table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Fields that every event has a slot for, in this order.
pub mod well_known {
    use super::FieldId;

    macro_rules! well_known {
        ($($(#[$doc:meta])* $name:ident = $index:literal, $path:literal;)*) => {
            $($(#[$doc])* pub const $name: FieldId = FieldId($index);)*
            /// Their paths; the index is the number of the field.
            pub const PATHS: &[&str] = &[$($path),*];
        };
    }

    well_known! {
        /// Chosen by the client if it sends `Audit-ID`; of any length.
        AUDIT_ID = 0, "auditID";
        /// `RequestReceived`, `ResponseStarted`, `ResponseComplete` or `Panic`.
        STAGE = 1, "stage";
        /// Lower-case; empty for odd HTTP methods.
        VERB = 2, "verb";
        /// Path and query as sent.
        REQUEST_URI = 3, "requestURI";
        /// The authenticated caller; absent for 401.
        USERNAME = 4, "user.username";
        /// Who the caller acts as, if that was authorized.
        IMPERSONATED_USERNAME = 5, "impersonatedUser.username";
        /// Absent for non-resource requests.
        RESOURCE = 6, "objectRef.resource";
        /// `exec`, `log`, `token` …
        SUBRESOURCE = 7, "objectRef.subresource";
        /// Absent for cluster-scoped objects.
        NAMESPACE = 8, "objectRef.namespace";
        /// Absent for lists and refused creates.
        NAME = 9, "objectRef.name";
        /// Absent for the core group.
        API_GROUP = 10, "objectRef.apiGroup";
        /// HTTP status.
        RESPONSE_CODE = 11, "responseStatus.code";
        /// Microseconds, RFC 3339.
        RECEIVED = 12, "requestReceivedTimestamp";
        /// Microseconds, RFC 3339.
        STAGE_TIME = 13, "stageTimestamp";
        /// All but the last entry are chosen by the client.
        SOURCE_IPS = 14, "sourceIPs";
        /// Chosen by the client.
        USER_AGENT = 15, "userAgent";
        /// Groups of the caller.
        GROUPS = 16, "user.groups";
        /// `allow` or `forbid`; not the outcome.
        DECISION = 17, "annotations.authorization.k8s.io/decision";
        /// Audit level of the event.
        LEVEL = 18, "level";
        /// The credential that was used.
        CREDENTIAL_ID = 19, "user.extra.authentication.kubernetes.io/credential-id";
        /// Name of the cluster: from the source, the wrapper, or absent.
        CLUSTER = 20, "cluster";
        /// `"true"` where the API server dropped the bodies of an event that is too large.
        TRUNCATED = 21, "annotations.audit.k8s.io/truncated";
    }
}

/// Every path that something asked for, each with its number.
#[derive(Clone, Debug)]
pub struct FieldTable {
    paths: Vec<String>,
    by_path: HashMap<String, FieldId>,
}

impl Default for FieldTable {
    fn default() -> FieldTable {
        FieldTable::new()
    }
}

impl FieldTable {
    /// A table of the well-known fields.
    pub fn new() -> FieldTable {
        let mut table = FieldTable { paths: Vec::new(), by_path: HashMap::new() };
        for path in well_known::PATHS {
            table.intern(path);
        }
        table
    }

    /// The number of a path, new or known. With a derived field come those that it is computed from.
    ///
    /// # Panics
    /// Past 65,535 fields; rule loading refuses sets long before.
    pub fn intern(&mut self, path: &str) -> FieldId {
        if let Some(id) = self.by_path.get(path) {
            return *id;
        }
        let id = FieldId(u16::try_from(self.paths.len()).expect("at most 65,535 fields"));
        self.paths.push(path.to_owned());
        self.by_path.insert(path.to_owned(), id);
        for need in derived::needs(path) {
            self.intern(need);
        }
        id
    }

    /// The number of a path, if it is known.
    pub fn get(&self, path: &str) -> Option<FieldId> {
        self.by_path.get(path).copied()
    }

    /// The path of a field.
    pub fn path(&self, field: FieldId) -> &str {
        self.paths.get(field.index()).map_or("", String::as_str)
    }

    /// All paths; the index is the number.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Never: the well-known fields are always there.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// Whether a request runs long, so that the API server answers it in two stages.
pub fn is_long_running(event: &Event<'_>) -> bool {
    let text = |field| event.first_str(field).unwrap_or("");
    runs_long(text(well_known::VERB), text(well_known::SUBRESOURCE))
}

/// Whether an event tells the end of a request that runs long, of whose answer the API server tells in an event before.
pub fn is_end_of_long(event: &Event<'_>) -> bool {
    matches!(event.stage, Stage::ResponseComplete | Stage::Panic) && is_long_running(event)
}

const NONE: u32 = u32::MAX;

/// The values of one field: first and last link, and how many.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
    count: u32,
}

const EMPTY: Chain = Chain { first: NONE, last: NONE, count: 0 };

#[derive(Clone, Debug)]
struct Link<'a> {
    value: Value<'a>,
    next: u32,
    /// Whose value it is, for clearing only what was used.
    field: FieldId,
    /// The API server does not take it: its key stands once more in the same object, of which the last
    /// counts, or is one that objects of Kubernetes do not have.
    is_replaced: bool,
}

/// Owned strings kept for reuse, and how long they may be, so that one long value does not hold its
/// memory for ever.
const SPARE_STRINGS_MAX: usize = 64;
const SPARE_STRING_BYTES_MAX: usize = 16 << 10;

/// Values for which memory is kept for the next event: 65,536, at 32 B each.
const SPARE_VALUES_MAX: usize = 64 << 10;

/// One decoded event. Reused from event to event: [`Event::clear`] keeps the memory.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    chains: Vec<Chain>,
    /// Which fields have a value, one bit each.
    present: Vec<u64>,
    links: Vec<Link<'a>>,
    /// Memory of owned values that were cleared.
    spare: Vec<String>,
    /// Derived fields that were computed; see [`derived::Derivation::derive`].
    derived: u64,
    /// When it happened: `stageTimestamp`, else `requestReceivedTimestamp`.
    pub time: EventTime,
    /// Its stage.
    pub stage: Stage,
    /// Values left out because of [`limits::VALUES_PER_EVENT_MAX`], and patches of which not all that they put is
    /// known.
    pub values_dropped: u32,
    /// Keys of the objects of a body that are being read, each with the values below it.
    keys: Vec<(u32, Range<usize>)>,
    /// Whether any value is replaced; see [`Event::taken`].
    has_replaced: bool,
    /// It is what is taken of another event.
    is_taken: bool,
    /// It was cut off on its way: what stood behind the cut is absent.
    pub is_cut: bool,
    /// A shipper left out a body that was too large for it.
    pub bodies_skipped: bool,
    /// Its bodies came before its verb or its object, and were read as those of a change.
    pub(in crate::engine) is_object_assumed: bool,
    /// Fields that are absent since they were written in a way that says nothing clear.
    pub unread: UnreadFields,
    /// The whole event as JSON, as it came.
    pub json: &'a str,
    /// Why the request was allowed, with the escapes of JSON: the first time that it is said. It may be known before the
    /// field has it.
    pub(in crate::engine) reason_as_written: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// An empty event with room for `fields` fields.
    pub fn new(fields: usize) -> Event<'a> {
        Event {
            chains: vec![EMPTY; fields],
            present: vec![0; fields.div_ceil(64)],
            links: Vec::with_capacity(64),
            spare: Vec::new(),
            derived: 0,
            time: EventTime::MIN,
            stage: Stage::ResponseComplete,
            values_dropped: 0,
            keys: Vec::new(),
            has_replaced: false,
            is_taken: false,
            is_cut: false,
            bodies_skipped: false,
            is_object_assumed: false,
            unread: UnreadFields::default(),
            json: "",
            reason_as_written: None,
        }
    }

    /// Forgets all values. Cost: the number of values that it had.
    pub fn clear(&mut self) {
        for link in self.links.drain(..) {
            if let Some(chain) = self.chains.get_mut(link.field.index()) {
                *chain = EMPTY;
            }
            if let Value::Str(Cow::Owned(mut text)) = link.value
                && self.spare.len() < SPARE_STRINGS_MAX
                && text.capacity() <= SPARE_STRING_BYTES_MAX
            {
                text.clear();
                self.spare.push(text);
            }
        }
        self.links.shrink_to(SPARE_VALUES_MAX);
        self.present.fill(0);
        self.derived = 0;
        self.time = EventTime::MIN;
        self.stage = Stage::ResponseComplete;
        self.values_dropped = 0;
        self.keys.clear();
        self.has_replaced = false;
        self.is_taken = false;
        self.is_cut = false;
        self.bodies_skipped = false;
        self.is_object_assumed = false;
        self.unread = UnreadFields::default();
        self.json = "";
        self.reason_as_written = None;
    }

    /// This event, cleared, for values that live for another time.
    pub fn recycle<'b>(mut self) -> Event<'b> {
        self.clear();
        Event {
            chains: self.chains,
            present: self.present,
            // The library collects an empty vector of the same layout in place: no allocation.
            links: self.links.into_iter().map_while(|_| None).collect(),
            spare: self.spare,
            derived: 0,
            time: EventTime::MIN,
            stage: Stage::ResponseComplete,
            values_dropped: 0,
            keys: self.keys,
            has_replaced: false,
            is_taken: false,
            is_cut: false,
            bodies_skipped: false,
            is_object_assumed: false,
            unread: UnreadFields::default(),
            json: "",
            reason_as_written: None,
        }
    }

    /// Notes why the request was allowed, as it is written.
    #[inline]
    pub(in crate::engine) fn note_reason(&mut self, written: &'a str) {
        self.reason_as_written.get_or_insert(written);
    }

    /// Adds a value to a field, behind those that it has.
    #[inline]
    pub fn push(&mut self, field: FieldId, value: Value<'a>) {
        let Some(chain) = self.chains.get_mut(field.index()) else { return };
        let Ok(index) = u32::try_from(self.links.len()) else { return };
        if chain.count == 0 {
            *chain = Chain { first: index, last: index, count: 1 };
            if let Some(word) = self.present.get_mut(field.index() / 64) {
                *word |= 1 << (field.index() % 64);
            }
        } else if index >= limits::VALUES_PER_EVENT_MAX {
            return self.push_to_full(field, value);
        } else {
            let last = std::mem::replace(&mut chain.last, index);
            chain.count += 1;
            if let Some(link) = self.links.get_mut(last as usize) {
                link.next = index;
            }
        }
        self.links.push(Link { value, next: NONE, field, is_replaced: false });
    }

    /// An event that is full keeps the first values of each field and its latest: the last source address
    /// is the one to trust.
    #[cold]
    fn push_to_full(&mut self, field: FieldId, value: Value<'a>) {
        self.values_dropped = self.values_dropped.saturating_add(1);
        let last = self.chains.get(field.index()).map_or(NONE, |chain| chain.last);
        if let Some(link) = self.links.get_mut(last as usize) {
            link.value = value;
        }
    }

    /// Adds a string that `write` makes, in memory that is reused.
    pub fn push_owned(&mut self, field: FieldId, write: impl FnOnce(&mut String)) {
        let mut text = self.spare.pop().unwrap_or_default();
        write(&mut text);
        self.push(field, Value::Str(Cow::Owned(text)));
    }

    /// Gives a field this value and no other.
    pub fn set(&mut self, field: FieldId, value: Value<'a>) {
        self.unset(field);
        self.push(field, value);
    }

    /// Takes all values from a field.
    pub fn unset(&mut self, field: FieldId) {
        if let Some(chain) = self.chains.get_mut(field.index()) {
            *chain = EMPTY;
        }
        if let Some(word) = self.present.get_mut(field.index() / 64) {
            *word &= !(1 << (field.index() % 64));
        }
    }

    /// How many values were added so far: see [`Event::note_key`].
    #[inline]
    pub(in crate::engine) fn mark(&self) -> usize {
        self.links.len()
    }

    /// How many keys of bodies are noted: the beginning of those of one object.
    #[inline]
    pub(in crate::engine) fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Notes a key of an object of which the first key has the number `first`, whose values were added
    /// since `mark`. If it stands there already, what was added for it then is replaced: the API server
    /// takes the last one.
    pub(in crate::engine) fn note_key(&mut self, first: usize, key: u32, mark: usize) {
        let added = mark..self.links.len();
        let known = self.keys.get_mut(first..).unwrap_or_default();
        let Some((_, earlier)) = known.iter_mut().find(|(known, _)| *known == key) else {
            self.keys.push((key, added));
            return;
        };
        let earlier = std::mem::replace(earlier, added);
        self.replace(earlier);
    }

    /// Forgets the keys of an object, of which the first has this number.
    #[inline]
    pub(in crate::engine) fn forget_keys(&mut self, first: usize) {
        if self.keys.len() > first {
            self.keys.truncate(first);
        }
    }

    /// Says that the API server does not take what was added since `mark`.
    pub(in crate::engine) fn disregard(&mut self, mark: usize) {
        self.replace(mark..self.links.len());
    }

    /// Says that the API server does not take these values.
    fn replace(&mut self, range: Range<usize>) {
        for link in self.links.get_mut(range).unwrap_or_default() {
            link.is_replaced = true;
            self.has_replaced = true;
        }
    }

    /// Whether a body can be read in two ways, as somebody wrote it who wants to be taken for somebody else.
    pub(in crate::engine) const fn has_replaced(&self) -> bool {
        self.has_replaced
    }

    /// Whether it is one of the two readings of an event.
    pub(in crate::engine) const fn is_read_twice(&self) -> bool {
        self.has_replaced || self.is_taken
    }

    /// The event as the API server takes it: without the values that are replaced. For events of which no
    /// field was derived yet. Cost: a copy.
    pub(in crate::engine) fn taken(&self) -> Event<'a> {
        let mut taken = Event::new(self.chains.len());
        taken.time = self.time;
        taken.stage = self.stage;
        taken.is_cut = self.is_cut;
        taken.bodies_skipped = self.bodies_skipped;
        taken.values_dropped = self.values_dropped;
        taken.is_taken = true;
        taken.json = self.json;
        // What was set anew is no longer in its chain.
        let mut is_current = vec![false; self.links.len()];
        for chain in &self.chains {
            let mut next = chain.first as usize;
            while let (Some(link), Some(current)) = (self.links.get(next), is_current.get_mut(next))
            {
                *current = true;
                next = link.next as usize;
            }
        }
        let links = self.links.iter().zip(is_current);
        for (link, _) in links.filter(|(link, is_current)| *is_current && !link.is_replaced) {
            taken.push(link.field, link.value.clone());
        }
        taken
    }

    /// The values of a field in the order of the document; none if it is absent.
    pub fn values(&self, field: FieldId) -> Values<'_, 'a> {
        let next = self.chains.get(field.index()).map_or(NONE, |chain| chain.first);
        Values { links: &self.links, next }
    }

    /// Whether the field has any value, `null` included.
    pub fn has(&self, field: FieldId) -> bool {
        self.count(field) > 0
    }

    /// Which fields have a value, one bit each, in their order.
    pub(in crate::engine) fn present(&self) -> &[u64] {
        &self.present
    }

    /// How many fields there is room for.
    pub(super) fn field_count(&self) -> usize {
        self.chains.len()
    }

    /// How many values the field has.
    #[inline]
    pub fn count(&self, field: FieldId) -> usize {
        self.chains.get(field.index()).map_or(0, |chain| chain.count as usize)
    }

    /// The first value of a field.
    #[inline]
    pub fn first(&self, field: FieldId) -> Option<&Value<'a>> {
        let chain = self.chains.get(field.index())?;
        self.links.get(chain.first as usize).map(|link| &link.value)
    }

    /// The last value of a field.
    pub fn last(&self, field: FieldId) -> Option<&Value<'a>> {
        let chain = self.chains.get(field.index())?;
        self.links.get(chain.last as usize).map(|link| &link.value)
    }

    /// The objects that a path leads to, each with where the values below it were found.
    pub(in crate::engine) fn elements(&self, of: FieldId) -> Vec<ElementRange> {
        let mut next = self.chains.get(of.index()).map_or(NONE, |chain| chain.first);
        let mut ranges: Vec<ElementRange> = Vec::new();
        while let Some(link) = self.links.get(next as usize) {
            if let Some(before) = ranges.last_mut() {
                before.links.end = before.links.end.min(next);
            }
            if link.value == Value::Composite {
                let is_replaced = link.is_replaced;
                ranges.push(ElementRange { links: next..u32::MAX, is_replaced });
            }
            next = link.next;
        }
        ranges
    }

    /// Where to begin with [`Event::copy_range`].
    pub(in crate::engine) fn cursor(&self, field: FieldId) -> u32 {
        self.chains.get(field.index()).map_or(NONE, |chain| chain.first)
    }

    /// Copies the values of fields that lie in a range of [`Event::elements`], in the order of the document. The
    /// cursors move with the ranges, so that all of them together cost the number of values.
    pub(in crate::engine) fn copy_range(
        &self,
        fields: &mut [(FieldId, u32)],
        range: &Range<u32>,
        to: &mut Event<'a>,
    ) {
        let next_of = |fields: &mut [(FieldId, u32)]| {
            let left = fields.iter_mut().filter(|(_, cursor)| *cursor < range.end);
            let (field, cursor) = left.min_by_key(|(_, cursor)| *cursor)?;
            let (link, at) = (self.links.get(*cursor as usize)?, *cursor);
            *cursor = link.next;
            Some((*field, link, at))
        };
        while let Some((field, link, at)) = next_of(fields) {
            if at >= range.start {
                let mark = to.mark();
                to.push(field, link.value.clone());
                if link.is_replaced {
                    to.replace(mark..to.mark());
                }
            }
        }
    }

    /// The first value of a field, if it is a string.
    #[inline]
    pub fn first_str(&self, field: FieldId) -> Option<&str> {
        match self.first(field)? {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The last value of a field, if it is a string.
    pub fn last_str(&self, field: FieldId) -> Option<&str> {
        match self.last(field)? {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }
}

/// Where the values of one element of an array are, for [`Event::copy_range`].
#[derive(Clone, Debug)]
pub(in crate::engine) struct ElementRange {
    pub(in crate::engine) links: Range<u32>,
    /// The API server does not take it.
    pub(in crate::engine) is_replaced: bool,
}

/// Iterator over the values of one field.
#[derive(Clone, Debug)]
pub struct Values<'e, 'a> {
    links: &'e [Link<'a>],
    next: u32,
}

impl<'e, 'a> Iterator for Values<'e, 'a> {
    type Item = &'e Value<'a>;

    fn next(&mut self) -> Option<&'e Value<'a>> {
        let link = self.links.get(self.next as usize)?;
        self.next = link.next;
        Some(&link.value)
    }
}
