//! By which permission a request was allowed, from what the API server writes beside its decision.
//!
//! The authorizer of RBAC names one binding of those that allow the request, cluster role bindings first
//! (`k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac`): names in Go's `%q`, those of role bindings and
//! service accounts as `name/namespace`. `system:masters` and nodes need no binding, and no reason is
//! written for them; the groups tell them apart. What is not RBAC's is no permission here.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::kubernetes::users::{MASTERS, NODES};

/// What every reason of RBAC's begins with.
const ALLOWED_BY: &str = "RBAC: allowed by ";

/// Something with a kind, a name, and perhaps a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Named<T> {
    /// `RoleBinding`, `ClusterRole`, `User` …
    pub kind: T,
    /// Of role bindings and service accounts.
    pub namespace: Option<T>,
    /// Its name; any text.
    pub name: T,
}

/// By which permission a request was allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Permission<T> {
    /// A binding gives a role to a subject.
    Binding {
        /// The binding.
        binding: Named<T>,
        /// The role; one of a `Role` is in the namespace of its binding.
        role: Named<T>,
        /// To whom it is given: the actor, or a group that it is in.
        subject: Named<T>,
    },
    /// The group `system:masters`, which may do everything without a binding.
    Masters,
    /// The authorizer of nodes.
    Node,
}

impl<T> Named<T> {
    fn map<U>(self, to: &mut dyn FnMut(T) -> U) -> Named<U> {
        Named { kind: to(self.kind), namespace: self.namespace.map(&mut *to), name: to(self.name) }
    }
}

impl<T> Permission<T> {
    /// The same, with other texts.
    pub fn map<U>(self, to: &mut dyn FnMut(T) -> U) -> Permission<U> {
        match self {
            Permission::Binding { binding, role, subject } => Permission::Binding {
                binding: binding.map(to),
                role: role.map(to),
                subject: subject.map(to),
            },
            Permission::Masters => Permission::Masters,
            Permission::Node => Permission::Node,
        }
    }
}

impl<T: AsRef<str>> fmt::Display for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = (self.kind.as_ref(), self.name.as_ref());
        match &self.namespace {
            Some(namespace) => write!(f, "{kind} {}/{name}", namespace.as_ref()),
            None => write!(f, "{kind} {name}"),
        }
    }
}

impl<T: AsRef<str>> Permission<T> {
    /// What questions name it by: the binding, `system:masters` or `node`.
    pub fn name(&self) -> String {
        match self {
            Permission::Binding { binding, .. } => binding.to_string(),
            Permission::Masters => MASTERS.to_owned(),
            Permission::Node => "node".to_owned(),
        }
    }

    /// To whom its binding gives it.
    pub const fn subject(&self) -> Option<&Named<T>> {
        match self {
            Permission::Binding { subject, .. } => Some(subject),
            Permission::Masters | Permission::Node => None,
        }
    }
}

impl<T: AsRef<str>> fmt::Display for Permission<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Permission::Binding { binding, role, .. } => write!(f, "{binding} → {role}"),
            Permission::Masters => f.write_str(MASTERS),
            Permission::Node => f.write_str("the node authorizer"),
        }
    }
}

/// The permission that a reason names; `None` if it is not one of RBAC's.
pub fn parse_reason(reason: &str) -> Option<Permission<String>> {
    let rest = reason.strip_prefix(ALLOWED_BY)?;
    let (binding_kind, rest) = rest.split_once(' ')?;
    let (binding, rest) = unquote(rest)?;
    let (role_kind, rest) = rest.strip_prefix(" of ")?.split_once(' ')?;
    let (role, rest) = unquote(rest)?;
    let (subject_kind, rest) = rest.strip_prefix(" to ")?.split_once(' ')?;
    let (subject, rest) = unquote(rest)?;
    let binding = match binding_kind {
        "ClusterRoleBinding" => named(binding_kind, binding),
        "RoleBinding" => in_namespace(binding_kind, binding)?,
        _ => return None,
    };
    let mut role = named(role_kind, role);
    if role_kind == "Role" {
        role.namespace.clone_from(&binding.namespace);
    }
    let subject = match subject_kind {
        "ServiceAccount" => in_namespace(subject_kind, subject)?,
        _ => named(subject_kind, subject),
    };
    rest.is_empty().then_some(Permission::Binding { binding, role, subject })
}

/// The permission of a request that was allowed without a reason, by the groups of who it was done as.
pub fn without_reason<'g>(groups: impl Iterator<Item = &'g str>) -> Option<Permission<String>> {
    let mut is_node = false;
    for group in groups {
        if group == MASTERS {
            return Some(Permission::Masters);
        }
        is_node |= group == NODES;
    }
    is_node.then_some(Permission::Node)
}

fn named(kind: &str, name: String) -> Named<String> {
    Named { kind: kind.to_owned(), namespace: None, name }
}

/// `name/namespace`; neither has a slash.
fn in_namespace(kind: &str, text: String) -> Option<Named<String>> {
    let (name, namespace) = text.rsplit_once('/')?;
    Some(Named {
        kind: kind.to_owned(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
    })
}

/// A text in Go's `%q`, and what comes behind it. `None` if it is none.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let mut chars = text.strip_prefix('"')?.chars();
    loop {
        let char = match chars.next()? {
            '"' => return Some((String::from_utf8_lossy(&bytes).into_owned(), chars.as_str())),
            '\\' => match chars.next()? {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                'x' => {
                    // A byte that is no UTF-8 by itself.
                    bytes.push(u8::try_from(hex(&mut chars, 2)?).ok()?);
                    continue;
                }
                'u' => char::from_u32(hex(&mut chars, 4)?)?,
                'U' => char::from_u32(hex(&mut chars, 8)?)?,
                char @ ('\\' | '"' | '\'') => char,
                _ => return None,
            },
            char => char,
        };
        bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn hex(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    let (code, rest) = chars.as_str().split_at_checked(digits)?;
    *chars = rest.chars();
    code.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(code, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: &str, expected: Option<[&str; 3]>) {
        let found = parse_reason(reason).map(|permission| match permission {
            Permission::Binding { binding, role, subject } => {
                [binding.to_string(), role.to_string(), subject.to_string()]
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(found, expected.map(|texts| texts.map(str::to_owned)), "{reason}");
    }

    #[test]
    fn reasons_of_rbac_are_taken_apart() {
        check(
            r#"RBAC: allowed by ClusterRoleBinding "admins" of ClusterRole "cluster-admin" to Group "ops""#,
            Some(["ClusterRoleBinding admins", "ClusterRole cluster-admin", "Group ops"]),
        );
        check(
            r#"RBAC: allowed by RoleBinding "edit/dev" of Role "edit" to User "anna@example.org""#,
            Some(["RoleBinding dev/edit", "Role dev/edit", "User anna@example.org"]),
        );
        check(
            r#"RBAC: allowed by RoleBinding "ci/shop" of ClusterRole "view" to ServiceAccount "bot/ci""#,
            Some(["RoleBinding shop/ci", "ClusterRole view", "ServiceAccount ci/bot"]),
        );
    }

    #[test]
    fn names_are_exact_whatever_they_hold() {
        check(
            r#"RBAC: allowed by ClusterRoleBinding "a\"b\\ of \n\x1b\u202e\U0001f600\xff" of ClusterRole "r" to User "u\" to x""#,
            Some([
                "ClusterRoleBinding a\"b\\ of \n\u{1b}\u{202e}😀\u{fffd}",
                "ClusterRole r",
                "User u\" to x",
            ]),
        );
    }

    #[test]
    fn other_reasons_are_no_permission() {
        for reason in [
            "",
            "allowed by webhook",
            "RBAC: clusterrole.rbac.authorization.k8s.io \"x\" not found",
            r#"RBAC: allowed by ClusterRoleBinding "a" of ClusterRole "b" to User "c" and more"#,
            r#"RBAC: allowed by ClusterRoleBinding "a of ClusterRole b"#,
            r#"RBAC: allowed by RoleBinding "without-namespace" of Role "r" to User "u""#,
            r#"RBAC: allowed by ClusterRoleBinding "\ud800" of ClusterRole "b" to User "c""#,
        ] {
            check(reason, None);
        }
    }

    #[test]
    fn without_a_reason_the_group_tells() {
        let of = |groups: &[&str]| without_reason(groups.iter().copied());
        assert_eq!(of(&["system:authenticated", "system:masters"]), Some(Permission::Masters));
        assert_eq!(of(&["system:nodes", "system:masters"]), Some(Permission::Masters));
        assert_eq!(of(&["system:nodes"]), Some(Permission::Node));
        assert_eq!(of(&["system:authenticated"]), None);
    }
}
