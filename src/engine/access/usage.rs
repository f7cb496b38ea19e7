//! Usage: which permissions were used, each once a day.
//!
//! Every allowed request is looked at, and the first of its like on a day becomes a row: same cluster, actor,
//! verb, resource, namespace and permission. Of what is read or changed by its name, a few names are told, too,
//! since they decide whether a role may be limited to them.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Access, Actor, EventPosition, Object, Permission};
use crate::engine::{kubernetes::users::NODE_PREFIX, time::EventTime};

/// Microseconds of a day in UTC.
const DAY: i64 = 86_400_000_000;

/// Whether a role may limit a verb to some names, which then are told.
#[inline]
pub(in crate::engine) const fn is_of_names(verb: &str) -> bool {
    // Told apart by length first, which each event asks for.
    matches!(verb.as_bytes(), b"get" | b"update" | b"patch" | b"delete")
}

/// The first request of its like on a day. `T` is how its texts are kept: as themselves, or as numbers of a
/// table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage<T = Arc<str>> {
    /// When it was answered.
    pub at: EventTime,
    /// As whom it was done.
    pub actor: Actor<T>,
    /// Groups of that one.
    pub groups: Vec<T>,
    /// The real caller, if that is somebody else.
    pub on_behalf_of: Option<T>,
    /// Where it happened.
    pub cluster: Option<T>,
    /// What was done.
    pub verb: T,
    /// To what; its name only where a few are told. Absent for requests that are about no resource.
    pub object: Option<Object<T>>,
    /// There were more names on this day than are told one by one.
    pub has_more_names: bool,
    /// The path of a request that is about no resource, without its query.
    pub path: Option<T>,
    /// By which permission it was allowed, if the log says it.
    pub permission: Option<Permission<T>>,
    /// Which request it is, whatever its stage: 16 bytes.
    pub request: [u8; 16],
    /// Where the event was read.
    pub position: EventPosition<T>,
    /// SHA-256 of the event's bytes as they were read.
    pub event_hash: [u8; 32],
}

/// Days since 1970, in UTC.
pub(in crate::engine) const fn day_of(time: EventTime) -> i64 {
    time.micros().div_euclid(DAY)
}

/// When a day begins.
pub(in crate::engine) const fn start_of(day: i64) -> EventTime {
    EventTime::from_micros(day.saturating_mul(DAY))
}

/// Whether the name of an object is told, if there is one: nodes have the names of all their pods, and nobody
/// makes a role for them.
#[inline]
pub(in crate::engine) fn tells_name(verb: &str, actor: &str) -> bool {
    is_of_names(verb) && !actor.starts_with(NODE_PREFIX)
}

impl Usage {
    /// What an access says of the use of permissions; `None` if nobody knows what was done.
    pub(in crate::engine) fn of(access: Access) -> Option<Usage> {
        let Access { actor, verb, object, detail, .. } = access;
        let verb = verb?;
        let has_name = tells_name(&verb, actor.id.as_deref().unwrap_or(""));
        let object =
            object.map(|object| Object { name: object.name.filter(|_| has_name), ..object });
        Some(Usage {
            at: access.at,
            actor,
            groups: access.groups,
            on_behalf_of: access.on_behalf_of,
            cluster: access.cluster,
            path: detail.path.filter(|_| object.is_none()).map(Arc::from),
            verb,
            object,
            has_more_names: false,
            permission: access.permission,
            request: access.request,
            position: access.position,
            event_hash: access.event_hash,
        })
    }

    /// Whether it is one that is recorded when only that of people is.
    pub(in crate::engine) fn is_of_people(&self) -> bool {
        !self.actor.is_machine()
    }

    /// The name that is told.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.object.as_ref()?.name.as_ref()
    }
}

impl fmt::Display for Usage {
    /// `get pods/log in shop`, `list nodes`, `get /metrics`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.verb)?;
        let Some(object) = &self.object else {
            return write!(f, " {}", self.path.as_deref().unwrap_or(""));
        };
        write!(f, " {}", object.resource)?;
        if let Some(subresource) = &object.subresource {
            write!(f, "/{subresource}")?;
        }
        if let Some(group) = &object.group {
            write!(f, " of {group}")?;
        }
        if let Some(name) = &object.name {
            write!(f, " {name}")?;
        }
        match &object.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

impl<T> Usage<T> {
    /// The same, with other texts.
    pub fn map<U>(self, to: &mut dyn FnMut(T) -> U) -> Usage<U> {
        Usage {
            at: self.at,
            actor: Actor {
                id: self.actor.id.map(&mut *to),
                kind: to(self.actor.kind),
                human: self.actor.human,
                team: self.actor.team.map(&mut *to),
            },
            groups: self.groups.into_iter().map(&mut *to).collect(),
            on_behalf_of: self.on_behalf_of.map(&mut *to),
            cluster: self.cluster.map(&mut *to),
            verb: to(self.verb),
            object: self.object.map(|object| object.map(to)),
            has_more_names: self.has_more_names,
            path: self.path.map(&mut *to),
            permission: self.permission.map(|permission| permission.map(to)),
            request: self.request,
            position: EventPosition {
                topic: to(self.position.topic),
                partition: self.position.partition,
                offset: self.position.offset,
                index: self.position.index,
            },
            event_hash: self.event_hash,
        }
    }
}
