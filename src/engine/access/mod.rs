//! Accesses: requests that somebody may ask about, with all that the log says of them.
//!
//! Recording rules decide which requests these are; here is what one is made of. What is not known is
//! absent, never guessed. How many become rows is decided by the recorder, and where rows stay by the
//! ledger.

mod alike;
mod extract;
mod fields;
mod kubectl;
mod lately;
pub mod permission;
mod session;
pub mod usage;
mod used;
mod visit;
mod who;

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    event::{Event, Reference},
    kubernetes::{AuditLevel, verbs::NAMELESS},
    rule::KeyParts,
    time::EventTime,
    words::words,
};

pub use super::event_ref::{AuditId, EventPosition, EventRef};
pub use super::settings::UsageMode;
pub use alike::Alike;
pub(in crate::engine) use alike::AlikeBefore;
pub(in crate::engine) use extract::Extractor;
pub use kubectl::kubectl_line;
pub use permission::Permission;
pub use session::{Session, Sessions};
pub use usage::Usage;
pub(in crate::engine) use used::{Looked, UsedBefore};
pub use visit::{VISIT_PAUSE, Visit, Visits};
pub use who::{UNKNOWN, shown_actor};

words! {
    /// How a request ended.
    pub enum Outcome {
        /// It was answered.
        Success = "success",
        /// Whoever asked may not, or could not say who they are.
        Denied = "denied",
        /// Anything else.
        Error = "error",
    }
}

words! {
    /// Which part of a session a row tells of.
    pub enum SessionStep {
        /// The stream was opened, or refused.
        Start = "start",
        /// It was closed; its beginning is a row of its own.
        End = "end",
        /// Both: the log tells of no other part, or several sessions are rolled up.
        Whole = "whole",
    }
}

/// One request, or a roll-up of like ones. `T` is how its texts are kept: as themselves, or as numbers of
/// a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access<T = Arc<str>> {
    /// When it was answered.
    pub at: EventTime,
    /// The classes of all rules that record it; sorted.
    pub classes: Vec<T>,
    /// What was done, as the log says it.
    pub verb: Option<T>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// HTTP status.
    pub code: Option<u16>,
    /// Who acted.
    pub actor: Actor<T>,
    /// Groups of who it was done as.
    pub groups: Vec<T>,
    /// The real caller of a request that impersonates.
    pub on_behalf_of: Option<T>,
    /// The credential that was used.
    pub credential_id: Option<T>,
    /// The last hop: what the client cannot choose.
    pub source_ip: Option<T>,
    /// The hops before it: the client's words.
    pub claimed_ips: Vec<T>,
    /// The client's words.
    pub user_agent: Option<T>,
    /// Where it happened.
    pub cluster: Option<T>,
    /// On what; absent for requests that are about no resource.
    pub object: Option<Object<T>>,
    /// By which permission it was allowed, if the log says it.
    pub permission: Option<Permission<T>>,
    /// More, by what it is.
    pub detail: Detail,
    /// At which level it was recorded.
    pub level: Option<AuditLevel>,
    /// The client may choose it.
    pub audit_id: AuditId,
    /// Which request it is, whatever its stage: 16 bytes.
    pub request: [u8; 16],
    /// Where the event was read.
    pub position: EventPosition<T>,
    /// SHA-256 of the event's bytes as they were read.
    pub event_hash: [u8; 32],
    /// Of a session: which part of it.
    pub session: Option<SessionStep>,
    /// How long a session lasted, if its end is known; microseconds.
    pub duration: Option<u64>,
    /// Of a roll-up: how many there are, the first of which is this one.
    pub rolled_up: Option<RollUp>,
    /// A part of the event is missing.
    pub truncated: bool,
    /// Its time is ahead of our clock by more than is allowed.
    pub from_future: bool,
    /// Names of the rules that record it.
    pub rules: Vec<T>,
    /// The version of their rule set.
    pub rule_set: T,
}

/// Who acted, as it was known then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor<T> {
    /// The name: of the impersonated user, if there is one.
    pub id: Option<T>,
    /// `human`, `serviceaccount`, `node`, `system`, `anonymous` or `unknown`.
    pub kind: T,
    /// Whether it is a person.
    pub human: bool,
    /// Its team.
    pub team: Option<T>,
}

/// The selector of lists and watches of one object each, as far as a roll-up leaves their names out.
pub(super) const SINGLE_ONES: &str = "fieldSelector=metadata.name=…";

/// Kinds of actor that are no people.
pub const MACHINES: [&str; 3] = ["serviceaccount", "node", "system"];

impl<T: AsRef<str>> Actor<T> {
    /// Whether it is a service account, a node or a part of Kubernetes, and nobody says that a person is behind
    /// it.
    pub fn is_machine(&self) -> bool {
        !self.human && MACHINES.contains(&self.kind.as_ref())
    }
}

/// What a request was about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Object<T> {
    /// API group; absent for the core group.
    pub group: Option<T>,
    /// `pods`, `secrets` …
    pub resource: T,
    /// `exec`, `token` …
    pub subresource: Option<T>,
    /// Absent for what belongs to the cluster.
    pub namespace: Option<T>,
    /// Absent for lists, and for refused creates.
    pub name: Option<T>,
}

/// Several accesses as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollUp {
    /// How many.
    pub count: u64,
    /// When the first was answered.
    pub first: EventTime,
    /// When the last was answered.
    pub last: EventTime,
}

/// What else is known of a request. All of it is bounded, and redacted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// What was run in a container.
    pub command: Option<String>,
    /// The path of a request that is about no resource, without its query.
    pub path: Option<String>,
    /// It was only tried, and changed nothing (`dryRun`).
    pub dry_run: bool,
    /// Labels or fields that a list or watch was limited to.
    pub selector: Option<String>,
    /// The role that a binding gives.
    pub role: Option<String>,
    /// To whom a binding gives it.
    pub subjects: Vec<String>,
    /// The credential that was issued.
    pub issued_credential_id: Option<String>,
    /// Why it was allowed or refused, if that is not a permission of RBAC's.
    pub reason: Option<String>,
    /// What the API server said of a failure.
    pub message: Option<String>,
    /// The body of a request that changes permissions, as it was sent.
    pub body: Option<String>,
}

/// How the rules that an event satisfies record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Like ones within so long become one row; `None` if each is recorded.
    pub every: Option<Duration>,
    /// What makes accesses alike.
    pub key: KeyParts,
    /// It is a part of a session.
    pub is_session: bool,
}

/// What one event shows, and how it is to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// An access, with all that is known of it.
    Whole(Box<Access>, Manner),
    /// One of many that are alike.
    Alike {
        /// What they have in common.
        alike: Arc<Alike>,
        /// When it was answered.
        at: EventTime,
        /// Which request it is.
        request: [u8; 16],
        /// Which event.
        event: Arc<EventRef>,
    },
}

impl Observed {
    /// An event as one of many, which happened at some time.
    pub(in crate::engine) fn one_of(
        alike: &Arc<Alike>,
        at: EventTime,
        event: &Event<'_>,
        reference: &mut Reference<'_>,
    ) -> Observed {
        let request = reference.request(event).0;
        let event = Arc::clone(reference.of(event));
        Observed::Alike { alike: Arc::clone(alike), at, request, event }
    }

    /// The access; of one of many what they have in common, with its own time and place.
    pub fn access(&self) -> Cow<'_, Access> {
        match self {
            Observed::Whole(access, _) => Cow::Borrowed(access),
            Observed::Alike { alike, at, request, event } => {
                Cow::Owned(alike.of(*at, *request, event))
            }
        }
    }
}

fn all<T, U>(texts: Vec<T>, to: &mut dyn FnMut(T) -> U) -> Vec<U> {
    texts.into_iter().map(to).collect()
}

impl<T> Access<T> {
    /// The same, with other texts.
    pub fn map<U>(self, to: &mut dyn FnMut(T) -> U) -> Access<U> {
        Access {
            at: self.at,
            classes: all(self.classes, to),
            verb: self.verb.map(&mut *to),
            outcome: self.outcome,
            code: self.code,
            actor: Actor {
                id: self.actor.id.map(&mut *to),
                kind: to(self.actor.kind),
                human: self.actor.human,
                team: self.actor.team.map(&mut *to),
            },
            groups: all(self.groups, to),
            on_behalf_of: self.on_behalf_of.map(&mut *to),
            credential_id: self.credential_id.map(&mut *to),
            source_ip: self.source_ip.map(&mut *to),
            claimed_ips: all(self.claimed_ips, to),
            user_agent: self.user_agent.map(&mut *to),
            cluster: self.cluster.map(&mut *to),
            object: self.object.map(|object| object.map(to)),
            permission: self.permission.map(|permission| permission.map(to)),
            detail: self.detail,
            level: self.level,
            audit_id: self.audit_id,
            request: self.request,
            position: EventPosition {
                topic: to(self.position.topic),
                partition: self.position.partition,
                offset: self.position.offset,
                index: self.position.index,
            },
            event_hash: self.event_hash,
            session: self.session,
            duration: self.duration,
            rolled_up: self.rolled_up,
            truncated: self.truncated,
            from_future: self.from_future,
            rules: all(self.rules, to),
            rule_set: to(self.rule_set),
        }
    }

    /// How many requests it stands for.
    pub fn count(&self) -> u64 {
        self.rolled_up.map_or(1, |rolled_up| rolled_up.count)
    }

    /// When it began: of the end of a session the time before which it lasted so long, if that is known.
    pub fn began(&self) -> EventTime {
        let lasted = self.duration.filter(|_| self.session == Some(SessionStep::End));
        self.at.minus(Duration::from_micros(lasted.unwrap_or(0)))
    }

    /// When the last of its requests was answered.
    pub fn last(&self) -> EventTime {
        self.rolled_up.map_or(self.at, |rolled_up| rolled_up.last)
    }
}

impl<T: AsRef<str>> Access<T> {
    /// Whether it is about objects whose names a roll-up left out: it stands for requests for one object each. A list has
    /// no name, nor has a create that was refused.
    pub fn names_left_out(&self) -> bool {
        let Some(object) = self.object.as_ref().filter(|object| object.name.is_none()) else {
            return false;
        };
        let is_of_one = match self.verb.as_ref().map(AsRef::as_ref) {
            Some("create") => {
                object.subresource.is_some() || self.outcome == Some(Outcome::Success)
            }
            Some(verb) if NAMELESS.contains(&verb) => self.names_left_out_of_lists(),
            Some(_) | None => true,
        };
        self.rolled_up.is_some() && is_of_one
    }
}

impl<T> Access<T> {
    /// Whether it is a list or watch of one object, whose name is left out.
    fn names_left_out_of_lists(&self) -> bool {
        self.detail.selector.as_deref() == Some(SINGLE_ONES)
    }
}

impl<T> Object<T> {
    /// The same, with other texts.
    pub fn map<U>(self, to: &mut dyn FnMut(T) -> U) -> Object<U> {
        Object {
            group: self.group.map(&mut *to),
            resource: to(self.resource),
            subresource: self.subresource.map(&mut *to),
            namespace: self.namespace.map(&mut *to),
            name: self.name.map(&mut *to),
        }
    }
}
