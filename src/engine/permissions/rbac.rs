//! Roles and bindings, and which requests a rule of a role allows, as Kubernetes documents it
//! (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/>).

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::engine::words::words;

/// What stands for everything in a rule.
pub(super) const ALL: &str = "*";

words! {
    /// What a subject of a binding is.
    pub enum SubjectKind {
        /// A user, by a name that the API server knows nothing else of.
        User = "User",
        /// A group of users.
        Group = "Group",
        /// A service account.
        ServiceAccount = "ServiceAccount",
    }
}

/// To whom a binding gives its role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// What it is.
    pub kind: SubjectKind,
    /// Of service accounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// The name of a role or a binding. Without a namespace it is one of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id {
    /// Of a Role or RoleBinding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// One rule of a role: what is in all of its lists is allowed, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// `get`, `list` …; `*` is every verb.
    pub verbs: Vec<String>,
    /// Empty text is the core group; `*` is every group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`; `*` is every resource, and what is below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Only objects of these names; of any, if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths that are about no resource; a `*` at the end stands for anything.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// A Role or ClusterRole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// What it allows.
    pub rules: Vec<PolicyRule>,
    /// Labels, by which other roles take its rules in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its rules are put together by the cluster from roles with some labels.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_aggregated: bool,
    /// When it was made, if its object says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

/// A RoleBinding or ClusterRoleBinding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The role that it gives.
    pub role: Id,
    /// To whom.
    pub subjects: Vec<Subject>,
    /// When it was made, if its object says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

/// An object of RBAC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Object {
    /// A Role or ClusterRole.
    Role {
        /// Its name.
        id: Id,
        /// What it says.
        role: Role,
    },
    /// A RoleBinding or ClusterRoleBinding.
    Binding {
        /// Its name.
        id: Id,
        /// What it says.
        binding: Binding,
    },
    /// A service account that is there.
    ServiceAccount {
        /// Its name.
        id: Id,
    },
}

impl Id {
    /// Of the cluster, or of a namespace.
    pub fn new(namespace: Option<&str>, name: &str) -> Id {
        let namespace = namespace.filter(|namespace| !namespace.is_empty()).map(str::to_owned);
        Id { namespace, name: name.to_owned() }
    }

    /// `Role shop/edit` or `ClusterRole view`.
    pub fn role(&self) -> String {
        self.of_kind("Role")
    }

    /// `RoleBinding shop/edit` or `ClusterRoleBinding admins`.
    pub fn binding(&self) -> String {
        self.of_kind("RoleBinding")
    }

    fn of_kind(&self, kind: &str) -> String {
        match &self.namespace {
            Some(namespace) => format!("{kind} {namespace}/{}", self.name),
            None => format!("Cluster{kind} {}", self.name),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str();
        match &self.namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{}", self.name),
            None => write!(f, "{kind} {}", self.name),
        }
    }
}

impl Binding {
    /// Service accounts that it names without a namespace are of its own, as the API server has it.
    pub(super) fn name_accounts(&mut self, own: &Id) {
        for subject in &mut self.subjects {
            if subject.kind == SubjectKind::ServiceAccount && subject.namespace.is_none() {
                subject.namespace.clone_from(&own.namespace);
            }
        }
    }
}

/// What an API server asks RBAC about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// About a resource.
    Resource {
        group: &'a str,
        resource: &'a str,
        subresource: &'a str,
        /// Empty: of all namespaces, or of the cluster.
        namespace: &'a str,
    },
    /// About a path that is none.
    Path(&'a str),
}

/// Whether a rule allows a request, whatever the name of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Covers {
    /// It does not.
    No,
    /// If its name is one of the rule's.
    SomeNames,
    /// It does.
    All,
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == ALL || one == wanted)
}

impl PolicyRule {
    /// Whether it allows a request.
    pub(super) fn covers(&self, verb: &str, asked: Asked<'_>) -> Covers {
        if !has(&self.verbs, verb) {
            return Covers::No;
        }
        match asked {
            Asked::Path(path) => {
                let allows = |url: &String| match url.strip_suffix('*') {
                    Some(beginning) => path.starts_with(beginning.trim_end_matches('*')),
                    None => url == path,
                };
                if self.non_resource_urls.iter().any(allows) { Covers::All } else { Covers::No }
            }
            Asked::Resource { group, resource, subresource, .. } => {
                if !has(&self.api_groups, group) || !self.has_resource(resource, subresource) {
                    Covers::No
                } else if self.resource_names.is_empty() {
                    Covers::All
                } else {
                    Covers::SomeNames
                }
            }
        }
    }

    fn has_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|one| match one.split_once('/') {
            _ if one == ALL => true,
            Some((own, below)) => {
                !subresource.is_empty() && below == subresource && (own == ALL || own == resource)
            }
            None => subresource.is_empty() && one == resource,
        })
    }

    /// Whether it allows what nobody has named.
    pub fn has_wildcards(&self) -> bool {
        let lists = [&self.verbs, &self.api_groups, &self.resources, &self.non_resource_urls];
        lists.iter().any(|list| list.iter().any(|one| one.contains('*')))
    }
}

impl fmt::Display for PolicyRule {
    /// `get, list of pods, pods/log (apps); only web-0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verbs.join(", "))?;
        if !self.resources.is_empty() {
            write!(f, " of {}", self.resources.join(", "))?;
        }
        let groups: Vec<&str> = self
            .api_groups
            .iter()
            .map(|group| if group.is_empty() { "core" } else { group })
            .collect();
        if groups.iter().any(|group| *group != "core") {
            write!(f, " ({})", groups.join(", "))?;
        }
        if !self.resource_names.is_empty() {
            write!(f, "; only {}", self.resource_names.join(", "))?;
        }
        if !self.non_resource_urls.is_empty() {
            write!(f, " at {}", self.non_resource_urls.join(", "))?;
        }
        Ok(())
    }
}
