//! Visits: accesses of one actor in one cluster with no long pause between them. Whoever acts as somebody else makes a
//! visit of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Access, Outcome};
use crate::engine::time::EventTime;

/// Texts of one sort that a visit names: 20. Further ones are counted only.
const TEXTS_MAX: usize = 20;

/// The pause that ends a visit, unless somebody asks for another: 15 minutes.
pub const VISIT_PAUSE: Duration = Duration::from_secs(900);

/// What one actor did in one cluster without a long pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Who.
    pub actor: Option<Arc<str>>,
    /// On whose behalf: the real caller.
    pub on_behalf_of: Option<Arc<str>>,
    /// Where.
    pub cluster: Option<Arc<str>>,
    /// When its first request was answered.
    pub start: EventTime,
    /// When its last one was.
    pub end: EventTime,
    /// Rows.
    pub accesses: u64,
    /// Requests that they stand for.
    pub requests: u64,
    /// Requests that were refused.
    pub denied: u64,
    /// Sessions that were opened or refused.
    pub sessions: u64,
    /// Whether any of it needed the power of an administrator.
    pub is_privileged: bool,
    /// Addresses.
    pub sources: BTreeSet<Arc<str>>,
    /// Namespaces.
    pub namespaces: BTreeSet<Arc<str>>,
    /// Credentials.
    pub credentials: BTreeSet<Arc<str>>,
    /// Classes, with the number of their requests.
    pub classes: BTreeMap<Arc<str>, u64>,
}

/// Who, on whose behalf, in which cluster, as far as it is known.
type VisitorKey = [Option<Arc<str>>; 3];

/// Puts accesses together to visits.
#[derive(Debug)]
pub struct Visits {
    pause: Duration,
    open: BTreeMap<VisitorKey, Visit>,
    done: Vec<Visit>,
}

impl Visits {
    /// Of accesses that come in the order of time.
    pub fn new(pause: Duration) -> Visits {
        Visits { pause, open: BTreeMap::new(), done: Vec::new() }
    }

    /// Adds the next access, and whether it is the first to tell of its request: the end of a session is, if nothing
    /// tells of its beginning.
    pub fn add(&mut self, access: &Access, is_first: bool) {
        let key = [&access.actor.id, &access.on_behalf_of, &access.cluster].map(Clone::clone);
        if let Some(visit) = self.open.get_mut(&key) {
            if access.at.since(visit.end) <= self.pause {
                visit.add(access, is_first);
                return;
            }
            let next = Visit::begin(access, is_first);
            self.done.push(std::mem::replace(visit, next));
            return;
        }
        self.open.insert(key, Visit::begin(access, is_first));
    }

    /// All visits, the first to begin first.
    pub fn finish(mut self) -> Vec<Visit> {
        self.done.extend(self.open.into_values());
        let place = |visit: &Visit| {
            let Visit { start, actor, on_behalf_of, cluster, .. } = visit;
            (*start, actor.clone(), on_behalf_of.clone(), cluster.clone())
        };
        self.done.sort_by_cached_key(place);
        self.done
    }
}

impl Visit {
    fn begin(access: &Access, is_first: bool) -> Visit {
        let mut visit = Visit {
            actor: access.actor.id.clone(),
            on_behalf_of: access.on_behalf_of.clone(),
            cluster: access.cluster.clone(),
            start: access.at,
            end: access.at,
            accesses: 0,
            requests: 0,
            denied: 0,
            sessions: 0,
            is_privileged: false,
            sources: BTreeSet::new(),
            namespaces: BTreeSet::new(),
            credentials: BTreeSet::new(),
            classes: BTreeMap::new(),
        };
        visit.add(access, is_first);
        visit
    }

    fn add(&mut self, access: &Access, is_first: bool) {
        self.end = self.end.max(access.last());
        self.accesses += 1;
        let count = if is_first { access.count() } else { 0 };
        self.requests += count;
        if access.outcome == Some(Outcome::Denied) {
            self.denied += count;
        }
        if access.session.is_some() {
            self.sessions += count;
        }
        for class in &access.classes {
            self.is_privileged |= &**class == "privileged";
            if self.classes.len() < TEXTS_MAX || self.classes.contains_key(class) {
                *self.classes.entry(Arc::clone(class)).or_default() += count;
            }
        }
        let namespace = access.object.as_ref().and_then(|object| object.namespace.as_ref());
        for (set, text) in [
            (&mut self.sources, access.source_ip.as_ref()),
            (&mut self.namespaces, namespace),
            (&mut self.credentials, access.credential_id.as_ref()),
        ] {
            if let Some(text) = text
                && set.len() < TEXTS_MAX
            {
                set.insert(Arc::clone(text));
            }
        }
    }
}
