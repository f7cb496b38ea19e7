//! Names that Kubernetes gives to users and groups (`k8s.io/apiserver/pkg/authentication/user`,
//! `…/serviceaccount`).

/// The user of a request without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of everybody who was authenticated.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody else.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of whoever may do everything, without a binding.
pub const MASTERS: &str = "system:masters";
/// The group of all kubelets.
pub const NODES: &str = "system:nodes";
/// The group of all service accounts.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// How names of kubelets begin.
pub const NODE_PREFIX: &str = "system:node:";
/// How names of service accounts begin; namespace and name follow, with a colon between them.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// How the group of the service accounts of one namespace begins.
pub const SERVICE_ACCOUNTS_PREFIX: &str = "system:serviceaccounts:";

/// How names of everything that belongs to the cluster begin. The control planes of EKS use one of
/// their own.
const SYSTEM_PREFIXES: [&str; 2] = ["system:", "eks:"];
/// Names of control planes without such a prefix: those of AKS.
const SYSTEM_NAMES: [&str; 2] = ["acsService", "aksService"];
/// The administrator of k3s and OpenShift: a person all the same.
const ADMINISTRATOR: &str = "system:admin";

/// Kinds of user, as `actor.kind` says them.
pub const KINDS: &[&str] = &["human", "serviceaccount", "node", "system", "anonymous", "unknown"];

/// What kind of user a name is: one of [`KINDS`].
pub fn kind_of_name(name: Option<&str>) -> &'static str {
    let Some(name) = name else { return "unknown" };
    match name {
        ANONYMOUS => "anonymous",
        ADMINISTRATOR => "human",
        _ if name.starts_with(SERVICE_ACCOUNT_PREFIX) => "serviceaccount",
        _ if name.starts_with(NODE_PREFIX) => "node",
        _ if SYSTEM_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => "system",
        _ if SYSTEM_NAMES.contains(&name) => "system",
        _ => "human",
    }
}

/// What kind everybody in a group is, if the group is one of Kubernetes'.
pub fn kind_of_group(group: &str) -> Option<&'static str> {
    match group {
        NODES => Some("node"),
        SERVICE_ACCOUNTS => Some("serviceaccount"),
        _ => None,
    }
}

/// The groups in which somebody is at least: of whom `user` is the name (empty if it is not known) and
/// `group` one of the groups.
pub fn groups_of(user: &str, group: Option<&str>) -> Vec<String> {
    if group == Some(UNAUTHENTICATED) || user == ANONYMOUS {
        return vec![UNAUTHENTICATED.to_owned()];
    }
    let mut groups = vec![AUTHENTICATED.to_owned()];
    let account = user.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
    let of_account = group.and_then(|group| group.strip_prefix(SERVICE_ACCOUNTS_PREFIX));
    if let Some(namespace) = account.map(|(namespace, _)| namespace).or(of_account) {
        groups.push(SERVICE_ACCOUNTS.to_owned());
        groups.push(format!("{SERVICE_ACCOUNTS_PREFIX}{namespace}"));
    }
    if user.starts_with(NODE_PREFIX) {
        groups.push(NODES.to_owned());
    }
    if let Some(group) = group
        && !groups.iter().any(|known| known == group)
    {
        groups.push(group.to_owned());
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_follow_from_names() {
        assert_eq!(groups_of(ANONYMOUS, None), [UNAUTHENTICATED]);
        assert_eq!(groups_of("eve", Some("dev")), [AUTHENTICATED, "dev"]);
        assert_eq!(groups_of("system:node:n1", Some(NODES)), [AUTHENTICATED, NODES]);
        let account = [AUTHENTICATED, SERVICE_ACCOUNTS, "system:serviceaccounts:shop"];
        assert_eq!(groups_of("system:serviceaccount:shop:web", None), account);
        assert_eq!(groups_of("", Some("system:serviceaccounts:shop")), account);
    }

    #[test]
    fn kinds_are_words_of_the_field() {
        for name in [None, Some(ANONYMOUS), Some("eve"), Some("system:x"), Some("system:node:x")] {
            assert!(KINDS.contains(&kind_of_name(name)), "{name:?}");
        }
        for group in [NODES, SERVICE_ACCOUNTS] {
            assert!(kind_of_group(group).is_some_and(|kind| KINDS.contains(&kind)));
        }
    }
}
