//! Which permissions were used by whom in a time: rows of usage added up.
//!
//! A use is told once a day, when it is seen first. So of a time that begins within a day it counts, too, what was told
//! of that day before: it may have been used again, which only an access can show.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::rbac::{Asked, Id};
use crate::engine::{
    access::{
        Access, Permission, Usage,
        usage::{day_of, start_of},
    },
    kubernetes::users::groups_of,
    time::EventTime,
};

/// Names that are kept of requests that are alike: 16. More are many.
const NAMES_KEPT_MAX: usize = 16;

/// Groups that are kept of a user: 256.
const GROUPS_KEPT_MAX: usize = 256;

/// The code of an answer to who made something.
const CREATED: u16 = 201;

/// What requests that are alike have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UseKey {
    /// As whom it was done; empty if nobody knows.
    pub actor: Arc<str>,
    /// What was done.
    pub verb: Arc<str>,
    /// API group; empty for the core group.
    pub group: Arc<str>,
    /// Empty for a path.
    pub resource: Arc<str>,
    /// Empty if it is the resource itself.
    pub subresource: Arc<str>,
    /// Empty: of all namespaces, or of the cluster.
    pub namespace: Arc<str>,
    /// A path that is about no resource.
    pub path: Option<Arc<str>>,
    /// By which permission, if the log says it.
    pub permission: Option<Permission<Arc<str>>>,
    /// It was told of the first day before the time that is asked about: nobody knows whether it was used in that time.
    pub is_earlier: bool,
}

/// How it was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// When the first of them was recorded.
    pub first: EventTime,
    /// When the last was: the first one of its day.
    pub last: EventTime,
    /// On how many days.
    pub days: u64,
    /// Names of objects, as far as they were told.
    pub names: BTreeSet<Arc<str>>,
    /// There were more.
    pub has_more_names: bool,
    /// Some of them had no name, or it was not told.
    pub has_nameless: bool,
    /// Who spoke for the actor.
    pub on_behalf_of: BTreeSet<Arc<str>>,
    last_day: i64,
}

/// All uses of a time, of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    /// When the time begins; all that is added is of it, if it is absent.
    from: Option<EventTime>,
    by_key: BTreeMap<UseKey, Use>,
    groups: BTreeMap<Arc<str>, BTreeSet<String>>,
    /// Who acted as somebody else, each with one of these.
    callers: BTreeMap<Arc<str>, Arc<str>>,
}

impl UseKey {
    /// What RBAC is asked about it.
    pub(super) fn asked(&self) -> Asked<'_> {
        match &self.path {
            Some(path) => Asked::Path(path),
            None => Asked::Resource {
                group: &self.group,
                resource: &self.resource,
                subresource: &self.subresource,
                namespace: &self.namespace,
            },
        }
    }

    /// The binding that the log names.
    pub fn binding(&self) -> Option<Id> {
        match self.permission.as_ref()? {
            Permission::Binding { binding, .. } => {
                Some(Id::new(binding.namespace.as_deref(), &binding.name))
            }
            Permission::Masters | Permission::Node => None,
        }
    }

    /// `get pods/log in shop`.
    pub fn request(&self) -> String {
        if let Some(path) = &self.path {
            return format!("{} {path}", self.verb);
        }
        let mut text = format!("{} {}", self.verb, self.resource);
        for (before, part) in
            [("/", &self.subresource), (" of ", &self.group), (" in ", &self.namespace)]
        {
            if !part.is_empty() {
                text.push_str(before);
                text.push_str(part);
            }
        }
        text
    }
}

impl Uses {
    /// Of a time that begins then. Rows from the beginning of its first day on are to be added.
    pub fn since(from: EventTime) -> Uses {
        Uses { from: Some(from), ..Uses::default() }
    }

    /// The day of a time, within which a use is told once: when it begins, and when it ends.
    pub fn day_of(time: EventTime) -> (EventTime, EventTime) {
        let day = day_of(time);
        (start_of(day), start_of(day.saturating_add(1)))
    }

    /// Whether there is something that nobody knows to have been used in the time itself.
    pub fn is_in_doubt(&self) -> bool {
        self.by_key.keys().any(|key| key.is_earlier && !self.is_seen_again(key))
    }

    /// Whether what was told before the time was seen in it, too.
    pub(super) fn is_seen_again(&self, key: &UseKey) -> bool {
        key.is_earlier && self.by_key.contains_key(&UseKey { is_earlier: false, ..key.clone() })
    }

    /// Adds an allowed request of the time, at some moment of it, if its like was told before it. Others say nothing that
    /// rows of usage do not.
    pub fn seen_again(&mut self, access: &Access, at: EventTime) {
        if access.permission.is_none() {
            return;
        }
        let Some(usage) = Usage::of(Access { at, ..access.clone() }) else { return };
        let key = UseKey { is_earlier: true, ..self.key_of(&usage) };
        if self.by_key.contains_key(&key) {
            self.add(&usage);
        }
    }

    /// Adds what else the API server asked of somebody who patched what was not there: that is how `apply` makes
    /// things, and whoever does it must be allowed to create them. The log says so by its answer, 201.
    pub fn made_by_patch(&mut self, access: &Access) {
        if access.verb.as_deref() == Some("patch")
            && access.code == Some(CREATED)
            && access.permission.is_some()
            && let Some(usage) = Usage::of(Access { verb: Some("create".into()), ..access.clone() })
        {
            self.add(&usage);
        }
    }

    fn key_of(&self, usage: &Usage) -> UseKey {
        let none = || Arc::from("");
        let object = usage.object.as_ref();
        UseKey {
            actor: usage.actor.id.clone().unwrap_or_else(none),
            verb: Arc::clone(&usage.verb),
            group: object.and_then(|object| object.group.clone()).unwrap_or_else(none),
            resource: object.map_or_else(none, |object| Arc::clone(&object.resource)),
            subresource: object.and_then(|object| object.subresource.clone()).unwrap_or_else(none),
            namespace: object.and_then(|object| object.namespace.clone()).unwrap_or_else(none),
            path: usage.path.clone().filter(|_| object.is_none()),
            permission: usage.permission.clone(),
            is_earlier: self.from.is_some_and(|from| usage.at < from),
        }
    }

    /// Adds of a row only who acted as whom.
    pub fn add_caller(&mut self, usage: &Usage) {
        if let (Some(caller), Some(actor)) = (&usage.on_behalf_of, &usage.actor.id) {
            self.callers.entry(Arc::clone(caller)).or_insert_with(|| Arc::clone(actor));
        }
    }

    /// Everybody who acted as somebody else, with one of these.
    pub fn callers(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.callers.iter()
    }

    /// Adds a row. Rows come in the order of time.
    pub fn add(&mut self, usage: &Usage) {
        self.add_caller(usage);
        let key = self.key_of(usage);
        let groups = self.groups.entry(Arc::clone(&key.actor)).or_default();
        if groups.len() < GROUPS_KEPT_MAX {
            groups.extend(usage.groups.iter().map(ToString::to_string));
        }
        let day = day_of(usage.at);
        let sum = self.by_key.entry(key).or_insert_with(|| Use {
            first: usage.at,
            last: usage.at,
            days: 0,
            names: BTreeSet::new(),
            has_more_names: false,
            has_nameless: false,
            on_behalf_of: BTreeSet::new(),
            last_day: i64::MIN,
        });
        sum.first = sum.first.min(usage.at);
        sum.last = sum.last.max(usage.at);
        if day != sum.last_day {
            (sum.days, sum.last_day) = (sum.days + 1, day);
        }
        sum.has_more_names |= usage.has_more_names;
        match usage.name() {
            Some(name) if sum.names.len() < NAMES_KEPT_MAX => {
                sum.names.insert(Arc::clone(name));
            }
            Some(name) => sum.has_more_names |= !sum.names.contains(name),
            None => sum.has_nameless |= !usage.has_more_names,
        }
        if let Some(caller) = &usage.on_behalf_of
            && sum.on_behalf_of.len() < NAMES_KEPT_MAX
        {
            sum.on_behalf_of.insert(Arc::clone(caller));
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&UseKey, &Use)> {
        self.by_key.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether nothing was used.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The groups of a user, as far as requests showed them or its name says them.
    pub fn groups_of(&self, user: &str) -> BTreeSet<String> {
        let mut groups = self.groups.get(user).cloned().unwrap_or_default();
        groups.extend(groups_of(user, None));
        groups
    }

    /// Everybody who used something.
    pub fn actors(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.keys()
    }
}
