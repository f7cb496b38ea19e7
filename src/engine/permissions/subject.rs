//! Who is asked about: a user, a service account or a group.

use std::{collections::BTreeSet, fmt};

use super::rbac::{Subject, SubjectKind};
use crate::engine::kubernetes::users::{SERVICE_ACCOUNT_PREFIX, groups_of};

/// A user, a service account or a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// By the name that the API server knows, that of a service account too.
    User(String),
    /// All who are in it.
    Group(String),
}

impl Who {
    /// From what people write: a name, `group:NAME`, `serviceaccount:NAMESPACE/NAME`. `None` if it is none of
    /// these.
    pub fn parse(text: &str) -> Option<Who> {
        if let Some(group) = text.strip_prefix("group:") {
            return (!group.is_empty()).then(|| Who::Group(group.to_owned()));
        }
        if let Some(account) = text.strip_prefix("serviceaccount:") {
            let (namespace, name) = account.split_once('/')?;
            let is_whole = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
            return is_whole.then(|| Who::User(user_of(namespace, name)));
        }
        (!text.trim().is_empty()).then(|| Who::User(text.to_owned()))
    }

    /// The subject of a binding that gives it something.
    pub fn subject(&self) -> Subject {
        match self {
            Who::Group(name) => {
                Subject { kind: SubjectKind::Group, namespace: None, name: name.clone() }
            }
            Who::User(name) => {
                let account = name.strip_prefix(SERVICE_ACCOUNT_PREFIX);
                match account.and_then(|account| account.split_once(':')) {
                    Some((namespace, account)) => Subject {
                        kind: SubjectKind::ServiceAccount,
                        namespace: Some(namespace.to_owned()),
                        name: account.to_owned(),
                    },
                    None => {
                        Subject { kind: SubjectKind::User, namespace: None, name: name.clone() }
                    }
                }
            }
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::User(name) => f.write_str(name),
            Who::Group(name) => write!(f, "group:{name}"),
        }
    }
}

fn user_of(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

impl Subject {
    /// Whether a user with these groups is meant. Groups that follow from the name need not be among them.
    pub(super) fn means(&self, user: &str, groups: &BTreeSet<String>) -> bool {
        match self.kind {
            SubjectKind::User => self.name == user,
            SubjectKind::ServiceAccount => {
                user_of(self.namespace.as_deref().unwrap_or(""), &self.name) == user
            }
            SubjectKind::Group => {
                groups.contains(&self.name) || groups_of(user, None).contains(&self.name)
            }
        }
    }
}
