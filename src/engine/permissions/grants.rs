//! What is granted: the last snapshot, and the changes that the log showed since.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    changes::{Change, NOT_NAMED, Target, change_of},
    rbac::{Binding, Id, Object, Role, Subject, SubjectKind},
    snapshot::{Part, objects_of, part_of},
    subject::Who,
};
use crate::engine::{
    access::Access,
    ledger::{Entry, EntryKind},
    time::EventTime,
};

/// How long before its time a snapshot may have been begun: a minute. Changes of then are made once more, which
/// does no harm.
const SNAPSHOT_TAKES: Duration = Duration::from_secs(60);

/// Something that is granted, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known<T> {
    /// What it says; what it said last, if it was changed since and nobody knows to what.
    pub(super) value: T,
    /// Since when it says so, if that is known.
    pub(super) since: Option<EventTime>,
    /// Why it is not known what it says now.
    pub(super) unknown: Option<String>,
}

/// Roles and bindings of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    pub(super) roles: BTreeMap<Id, Known<Role>>,
    pub(super) bindings: BTreeMap<Id, Known<Binding>>,
    /// Service accounts, if the snapshot has any.
    pub(super) accounts: BTreeSet<Id>,
    /// Objects that were made or changed, and of which nothing is known.
    pub(super) strangers: BTreeMap<String, String>,
    /// When the list of the snapshot was printed; `None` if there is no snapshot.
    pub taken: Option<EventTime>,
    /// Who brought it.
    pub by: String,
    /// Changes that the log showed since.
    pub changes: u64,
}

/// Puts grants together from the rows of one cluster.
#[derive(Clone, Debug, Default)]
pub struct GrantsBuilder {
    parts: Vec<Part>,
    snapshot: Option<(EventTime, String, Vec<Object>)>,
    changes: Vec<Arc<Access>>,
}

impl GrantsBuilder {
    /// Adds an entry of kind `rbac_snapshot`; in the order of ids. Returns whether a snapshot is whole now.
    pub fn snapshot(&mut self, entry: &Entry, at: EventTime) -> bool {
        if entry.kind != EntryKind::RbacSnapshot {
            return false;
        }
        let Some(part) = part_of(entry) else { return false };
        if part.number == 1 {
            self.parts.clear();
        }
        let is_last = part.number == part.of;
        self.parts.push(part);
        if !is_last {
            return false;
        }
        let Some(objects) = objects_of(&std::mem::take(&mut self.parts)) else { return false };
        if self.snapshot.as_ref().is_none_or(|(taken, ..)| *taken <= at) {
            self.snapshot = Some((at, entry.party.clone(), objects));
        }
        true
    }

    /// Adds an access that may have changed a role or a binding; in the order of time.
    pub fn change(&mut self, access: &Access) {
        self.changes.push(Arc::new(access.clone()));
    }

    /// Since when changes are wanted; `None` if there is no snapshot.
    pub fn changes_from(&self) -> Option<EventTime> {
        self.snapshot.as_ref().map(|(taken, ..)| taken.minus(SNAPSHOT_TAKES))
    }

    /// What is granted at the end.
    pub fn finish(self) -> Grants {
        let mut grants = Grants::default();
        let mut from = EventTime::MIN;
        if let Some((taken, by, objects)) = self.snapshot {
            from = taken.minus(SNAPSHOT_TAKES);
            (grants.taken, grants.by) = (Some(taken), by);
            for object in objects {
                grants.put(object, None);
            }
        }
        for access in self.changes.iter().filter(|access| access.at >= from) {
            if let Some(change) = change_of(access, |target| grants.value_of(target)) {
                grants.changes += 1;
                grants.apply(change, access.at);
            }
        }
        grants
    }
}

impl Grants {
    /// How many roles and bindings there are.
    pub fn counts(&self) -> [usize; 2] {
        [self.roles.len(), self.bindings.len()]
    }

    /// Names of all bindings, or of all roles, as people write them.
    pub fn names(&self, of_roles: bool) -> Vec<String> {
        if of_roles {
            self.roles.keys().map(Id::role).collect()
        } else {
            self.bindings.keys().map(Id::binding).collect()
        }
    }

    /// All that bindings name, as people ask about it.
    pub fn subjects(&self) -> Vec<String> {
        let subjects = self.bindings.values().flat_map(|binding| &binding.value.subjects);
        let named = |subject: &Subject| match (subject.kind, &subject.namespace) {
            (SubjectKind::Group, _) => Who::Group(subject.name.clone()).to_string(),
            (SubjectKind::ServiceAccount, Some(namespace)) => {
                format!("serviceaccount:{namespace}/{}", subject.name)
            }
            _ => subject.name.clone(),
        };
        subjects.map(named).collect()
    }

    /// Objects that were made or changed, and of which nothing is known, with why.
    pub fn strangers(&self) -> impl Iterator<Item = (&String, &String)> {
        self.strangers.iter()
    }

    /// Whether a service account is not there, as far as the snapshot tells.
    pub(super) fn lacks_account(&self, namespace: &str, name: &str) -> bool {
        !self.accounts.is_empty() && !self.accounts.contains(&Id::new(Some(namespace), name))
    }

    /// Why nobody knows what an object says that was made; it may be one that the log does not name.
    pub(super) fn stranger(&self, id: &Id, name: fn(&Id) -> String) -> Option<&String> {
        let unnamed = Id::new(id.namespace.as_deref(), NOT_NAMED);
        self.strangers.get(&name(id)).or_else(|| self.strangers.get(&name(&unnamed)))
    }

    fn put(&mut self, object: Object, changed: Option<EventTime>) {
        let since = |created: Option<&String>| {
            changed.or_else(|| created.and_then(|text| EventTime::parse(text)))
        };
        match object {
            Object::Role { id, mut role } => {
                let before = self.roles.get(&id);
                let same = before.filter(|before| before.value.rules == role.rules);
                let since = same.and_then(|same| same.since).or(since(role.created.as_ref()));
                if let Some(before) = before {
                    role.created = role.created.or_else(|| before.value.created.clone());
                }
                self.strangers.remove(&id.role());
                self.roles.insert(id, Known { value: role, since, unknown: None });
            }
            Object::Binding { id, mut binding } => {
                binding.name_accounts(&id);
                let before = self.bindings.get(&id);
                let same = before.filter(|before| {
                    before.value.subjects == binding.subjects && before.value.role == binding.role
                });
                let since = same.and_then(|same| same.since).or(since(binding.created.as_ref()));
                if let Some(before) = before {
                    binding.created = binding.created.or_else(|| before.value.created.clone());
                }
                self.strangers.remove(&id.binding());
                self.bindings.insert(id, Known { value: binding, since, unknown: None });
            }
            Object::ServiceAccount { id } => {
                self.accounts.insert(id);
            }
        }
    }

    fn apply(&mut self, change: Change, at: EventTime) {
        match change {
            Change::Is(object) => self.put(*object, Some(at)),
            Change::Gone(Target { is_role: true, id }) => {
                self.roles.remove(&id);
                self.strangers.remove(&id.role());
            }
            Change::Gone(Target { id, .. }) => {
                self.bindings.remove(&id);
                self.strangers.remove(&id.binding());
            }
            Change::Unknown(Target { is_role, id }, why) if id.name.is_empty() => {
                self.unknown_all(is_role, id.namespace.as_deref(), &why);
            }
            Change::Unknown(Target { is_role: true, id }, why) => match self.roles.get_mut(&id) {
                Some(role) => role.unknown = Some(why),
                None => {
                    self.strangers.insert(id.role(), why);
                }
            },
            Change::Unknown(Target { id, .. }, why) => match self.bindings.get_mut(&id) {
                Some(binding) => binding.unknown = Some(why),
                None => {
                    self.strangers.insert(id.binding(), why);
                }
            },
            Change::AllUnknown(Target { is_role, id }, why) => {
                self.unknown_all(is_role, id.namespace.as_deref(), &why);
            }
        }
    }

    fn unknown_all(&mut self, is_role: bool, namespace: Option<&str>, why: &str) {
        let is_there = |id: &Id| id.namespace.as_deref() == namespace;
        if is_role {
            let roles = self.roles.iter_mut().filter(|(id, _)| is_there(id));
            roles.for_each(|(_, role)| role.unknown = Some(why.to_owned()));
        } else {
            let bindings = self.bindings.iter_mut().filter(|(id, _)| is_there(id));
            bindings.for_each(|(_, binding)| binding.unknown = Some(why.to_owned()));
        }
    }

    /// An object as a patch finds it; `None` if that is not known.
    fn value_of(&self, target: &Target) -> Option<Value> {
        if target.is_role {
            let known = self.roles.get(&target.id).filter(|known| known.unknown.is_none())?;
            let Role { rules, labels, is_aggregated, .. } = &known.value;
            let mut value = json!({ "metadata": { "labels": labels }, "rules": rules });
            if *is_aggregated && let Some(members) = value.as_object_mut() {
                members.insert("aggregationRule".to_owned(), json!({}));
            }
            return Some(value);
        }
        let known = self.bindings.get(&target.id).filter(|known| known.unknown.is_none())?;
        let Binding { role, subjects, .. } = &known.value;
        let kind = if role.namespace.is_some() { "Role" } else { "ClusterRole" };
        Some(json!({
            "metadata": {}, "roleRef": { "kind": kind, "name": role.name }, "subjects": subjects,
        }))
    }
}
