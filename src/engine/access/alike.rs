//! What accesses that are rolled up have in common.
//!
//! Machines ask for the same thing all day. One worker remembers what the like of a request was made of, so
//! that the next one is looked up by the fields of its event, and nothing of it is taken apart again.

use std::{sync::Arc, time::Duration};

use hashbrown::HashMap;

use super::{Access, Detail, Manner, Object, Outcome, SINGLE_ONES, SessionStep};
use crate::engine::{
    digest::{Digest, SecretDigest, SecretDigests},
    event::{Event, FieldId, FieldTable, Identities, Parts, well_known},
    event_ref::EventRef,
    kubernetes::verbs::{NAMELESS, READING},
    limits::{ALIKE_KEY_BYTES_MAX, ALIKE_KNOWN_PER_WORKER_MAX},
    rule::{KeyPart, KeyParts, RuleIndex},
    time::EventTime,
    value::Value,
};

/// What accesses of one roll-up have in common, of whatever time.
#[derive(Clone, Debug, PartialEq)]
pub struct Alike {
    /// The access of one event, without what others of its roll-up may differ in by the rule.
    access: Access,
    /// Like ones within so long become one row.
    every: Duration,
    /// Of what makes them alike: 16 bytes of BLAKE3.
    digest: [u8; 16],
}

impl Alike {
    /// Of an access, by what makes it like others. Cost: BLAKE3 of some texts.
    pub fn new(access: Access, every: Duration, parts: KeyParts) -> Alike {
        let access = only(access, parts);
        let digest = digest_of(&access, every);
        Alike { access, every, digest }
    }

    /// Like ones within so long become one row.
    pub const fn every(&self) -> Duration {
        self.every
    }

    /// What makes them alike: 16 bytes of BLAKE3.
    pub const fn digest(&self) -> [u8; 16] {
        self.digest
    }

    /// The access of one event among them; its own time and place are those of that event.
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// The access of another event among them.
    pub fn of(&self, at: EventTime, request: [u8; 16], event: &EventRef) -> Access {
        Access {
            at,
            request,
            audit_id: event.audit_id.clone(),
            position: event.position.clone(),
            event_hash: event.event_hash.get(),
            ..self.access.clone()
        }
    }
}

/// The access without what accesses of its roll-up may differ in by the rule.
fn only(mut access: Access, parts: KeyParts) -> Access {
    let has = |part| parts.has(part);
    if !has(KeyPart::Actor) {
        access.actor.id = None;
        access.actor.team = None;
        access.groups.clear();
        access.credential_id = None;
    }
    if !has(KeyPart::OnBehalfOf) {
        access.on_behalf_of = None;
    }
    if !has(KeyPart::Verb) {
        access.verb = None;
    }
    if !has(KeyPart::Outcome) {
        (access.outcome, access.code) = (None, None);
    }
    if !has(KeyPart::Source) {
        access.source_ip = None;
        access.claimed_ips.clear();
    }
    if !has(KeyPart::Permission) {
        access.permission = None;
    }
    if !has(KeyPart::Name) {
        let is_of_one = access.object.as_ref().is_some_and(|object| object.name.is_some())
            && access.verb.as_deref().is_some_and(|verb| NAMELESS.contains(&verb));
        // Details are those of one object. A list of one is none of all.
        let selector = is_of_one.then(|| SINGLE_ONES.to_owned());
        access.detail = Detail { selector, ..Detail::default() };
    }
    if access.session.is_some() {
        (access.session, access.duration) = (Some(SessionStep::Whole), None);
    }
    access.object = access.object.filter(|_| has(KeyPart::Resource)).map(|object| Object {
        subresource: object.subresource.filter(|_| has(KeyPart::Subresource)),
        namespace: object.namespace.filter(|_| has(KeyPart::Namespace)),
        name: object.name.filter(|_| has(KeyPart::Name)),
        ..object
    });
    access
}

fn digest_of(access: &Access, every: Duration) -> [u8; 16] {
    let mut digest = Digest::default().bytes(every.as_secs().to_le_bytes());
    digest = access.classes.iter().fold(digest, |digest, class| digest.part(&**class)).part("\0");
    let object = access.object.as_ref();
    let part = |find: fn(&Object<Arc<str>>) -> Option<&Arc<str>>| object.and_then(find);
    let permission = access.permission.as_ref().map(ToString::to_string);
    for text in [
        access.cluster.as_deref(),
        access.actor.id.as_deref(),
        access.on_behalf_of.as_deref(),
        access.verb.as_deref(),
        part(|object| object.group.as_ref()).map(|text| &**text),
        part(|object| Some(&object.resource)).map(|text| &**text),
        part(|object| object.subresource.as_ref()).map(|text| &**text),
        part(|object| object.namespace.as_ref()).map(|text| &**text),
        part(|object| object.name.as_ref()).map(|text| &**text),
        access.outcome.map(Outcome::as_str),
        access.source_ip.as_deref(),
        permission.as_deref(),
    ] {
        digest = digest.optional_part(text);
    }
    if access.names_left_out_of_lists() {
        digest = digest.part(SINGLE_ONES);
    }
    digest.first()
}

/// Fields that an access is made of, whatever its roll-up is by.
const FIELDS: [FieldId; 14] = [
    well_known::CLUSTER,
    well_known::LEVEL,
    well_known::VERB,
    well_known::USERNAME,
    well_known::IMPERSONATED_USERNAME,
    well_known::GROUPS,
    well_known::CREDENTIAL_ID,
    well_known::API_GROUP,
    well_known::RESOURCE,
    well_known::SUBRESOURCE,
    well_known::NAMESPACE,
    well_known::SOURCE_IPS,
    well_known::USER_AGENT,
    well_known::DECISION,
];

/// What roll-ups that tell objects apart have besides, of requests that only read.
const FIELDS_OF_ONE: [FieldId; 2] = [well_known::NAME, well_known::REQUEST_URI];

/// Which accesses were rolled up before, as one worker knows them.
#[derive(Debug)]
pub(in crate::engine) struct AlikeBefore {
    identities: Arc<Identities>,
    more: [FieldId; 2],
    digests: SecretDigests,
    known: HashMap<SecretDigest, Arc<Alike>>,
    /// Of the event that was looked up last.
    key: Vec<u8>,
}

/// Where what was looked up belongs, if it is not there.
#[derive(Debug)]
pub(in crate::engine) struct Place(SecretDigest);

impl AlikeBefore {
    /// None, by who is who. Adds the fields that it looks at to a table.
    pub(in crate::engine) fn new(
        table: &mut FieldTable,
        identities: Arc<Identities>,
    ) -> AlikeBefore {
        AlikeBefore {
            identities,
            more: [table.intern(Parts::REASON_PATH), table.intern("impersonatedUser.groups")],
            digests: SecretDigests::default(),
            known: HashMap::new(),
            key: Vec::new(),
        }
    }

    /// What an event that these rules record is an access of, if one came before that was made of the same;
    /// else where it belongs. `Err(None)`: an access depends on more than is looked at here. Cost: a copy
    /// of some texts and their hash.
    pub(in crate::engine) fn find(
        &mut self,
        event: &Event<'_>,
        matched: &[RuleIndex],
        manner: &Manner,
    ) -> Result<&Arc<Alike>, Option<Place>> {
        if self.write_key(event, matched, manner).is_none() {
            return Err(None);
        }
        let digest = self.digests.of(&self.key);
        self.known.get(&digest).ok_or(Some(Place(digest)))
    }

    /// Remembers what the event that was looked up last is an access of.
    pub(in crate::engine) fn put(&mut self, Place(digest): Place, alike: Arc<Alike>) {
        if self.known.len() >= ALIKE_KNOWN_PER_WORKER_MAX {
            self.known.clear();
        }
        self.known.insert(digest, alike);
    }

    /// Writes down all that an access depends on, but for when and where it was; `None` if that is more.
    fn write_key(
        &mut self,
        event: &Event<'_>,
        matched: &[RuleIndex],
        manner: &Manner,
    ) -> Option<()> {
        let is_rolled_up = manner.every.is_some() && !manner.is_session;
        let is_whole = !event.is_cut
            && !event.bodies_skipped
            && !event.has_replaced()
            && event.unread.is_empty()
            && !event.has(well_known::TRUNCATED);
        let code = match event.first(well_known::RESPONSE_CODE) {
            Some(Value::Int(code)) => *code,
            None => 0,
            Some(_) => return None,
        };
        let tells_one = manner.key.has(KeyPart::Name);
        // Of an object that is told apart, bodies and failures are details.
        let is_read = || event.first_str(well_known::VERB).is_some_and(|v| READING.contains(&v));
        if !is_rolled_up || !is_whole || tells_one && !((100..400).contains(&code) && is_read()) {
            return None;
        }
        self.key.clear();
        self.key.extend_from_slice(&matched.len().to_le_bytes());
        for rule in matched {
            self.key.extend_from_slice(&rule.index().to_le_bytes());
        }
        self.key.extend_from_slice(&code.to_le_bytes());
        // A name that is left out is one all the same.
        let has_name = event.first_str(well_known::NAME).is_some_and(|name| !name.is_empty());
        self.key.push(u8::from(has_name));
        // Who is who may change with time.
        self.key.extend_from_slice(&self.identities.ended(event.time).to_le_bytes());
        let of_one: &[FieldId] = if tells_one { &FIELDS_OF_ONE } else { &[] };
        for field in FIELDS.iter().chain(&self.more).chain(of_one) {
            // No text of UTF-8 has these bytes.
            for value in event.values(*field) {
                let Value::Str(text) = value else { return None };
                self.key.push(0xFE);
                self.key.extend_from_slice(text.as_bytes());
            }
            self.key.push(0xFF);
        }
        (self.key.len() <= ALIKE_KEY_BYTES_MAX).then_some(())
    }
}
