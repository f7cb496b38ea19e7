//! One audit event, projected onto the fields that the loaded rules need.
//!
//! A [`FieldTable`] gives each dotted path that rules, evidence or templates name a [`FieldId`];
//! decoding fills an [`Event`] with the values of just these. The fields in [`well_known`] are always
//! there, in a fixed order, because the engine itself needs them: stage, identity, time, actor.

use std::{borrow::Cow, sync::Arc};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::{time::EventTime, value::Value};

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

    /// The number of a path, new or known.
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

/// Stage of an audit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// The request arrived; there is no answer yet.
    RequestReceived,
    /// Headers were sent: long-running requests and failed logins.
    ResponseStarted,
    /// The answer was sent.
    ResponseComplete,
    /// The API server panicked.
    Panic,
}

impl Stage {
    /// From the word in the event.
    pub fn parse(text: &str) -> Option<Stage> {
        Some(match text {
            "RequestReceived" => Stage::RequestReceived,
            "ResponseStarted" => Stage::ResponseStarted,
            "ResponseComplete" => Stage::ResponseComplete,
            "Panic" => Stage::Panic,
            _ => return None,
        })
    }

    /// The word in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }
}

/// Identity of one request: a content hash without the stage, so that both stages of a long-running
/// request, and every copy that a shipper sent again, are the same. 128 bits of BLAKE3 over cluster,
/// audit id, received time, verb, URI, user and code class: `auditID` alone is chosen by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestIdentity(pub [u8; 16]);

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Link<'a> {
    value: Value<'a>,
    next: u32,
}

/// One decoded event. Reused from event to event: [`Event::clear`] keeps the memory.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// First and last link of each field; `NONE` if it has no value.
    ends: Vec<(u32, u32)>,
    links: Vec<Link<'a>>,
    /// Fields with values, for clearing only what was used.
    used: Vec<FieldId>,
    /// When it happened: `stageTimestamp`, else `requestReceivedTimestamp`.
    pub time: EventTime,
    /// Its stage.
    pub stage: Stage,
    /// Cluster from the source or the wrapper, if known.
    pub cluster: Option<Arc<str>>,
    /// Values left out because of [`super::limits::VALUES_PER_FIELD_MAX`].
    pub values_dropped: u32,
}

impl<'a> Event<'a> {
    /// An empty event with room for `fields` fields.
    pub fn new(fields: usize) -> Event<'a> {
        Event {
            ends: vec![(NONE, NONE); fields],
            links: Vec::with_capacity(64),
            used: Vec::with_capacity(64),
            time: EventTime::MIN,
            stage: Stage::ResponseComplete,
            cluster: None,
            values_dropped: 0,
        }
    }

    /// Forgets all values. Cost: the number of fields that had any.
    pub fn clear(&mut self) {
        for field in self.used.drain(..) {
            if let Some(ends) = self.ends.get_mut(field.index()) {
                *ends = (NONE, NONE);
            }
        }
        self.links.clear();
        self.time = EventTime::MIN;
        self.stage = Stage::ResponseComplete;
        self.cluster = None;
        self.values_dropped = 0;
    }

    /// Adds a value to a field, behind those that it has.
    pub fn push(&mut self, field: FieldId, value: Value<'a>) {
        let Ok(index) = u32::try_from(self.links.len()) else { return };
        let Some(ends) = self.ends.get_mut(field.index()) else { return };
        self.links.push(Link { value, next: NONE });
        if ends.0 == NONE {
            *ends = (index, index);
            self.used.push(field);
            return;
        }
        let last = std::mem::replace(&mut ends.1, index);
        if let Some(link) = self.links.get_mut(last as usize) {
            link.next = index;
        }
    }

    /// The values of a field in the order of the document; none if it is absent.
    pub fn values(&self, field: FieldId) -> Values<'_, 'a> {
        let next = self.ends.get(field.index()).map_or(NONE, |ends| ends.0);
        Values { links: &self.links, next }
    }

    /// Whether the field has any value, `null` included.
    pub fn has(&self, field: FieldId) -> bool {
        self.ends.get(field.index()).is_some_and(|ends| ends.0 != NONE)
    }

    /// The first value of a field, if it is a string.
    pub fn first_str(&self, field: FieldId) -> Option<&str> {
        match self.values(field).next()? {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The last value of a field as text.
    pub fn last_text(&self, field: FieldId) -> Option<Cow<'_, str>> {
        self.values(field).last()?.text()
    }
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
