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

/// How ids of credentials begin that are client certificates.
pub const CERTIFICATE_PREFIX: &str = "X509SHA256=";

/// How names of what runs on each node begin, and the group that all of these are in: nodes that join with
/// a token, and networks of OpenShift.
const ON_NODES: [(&str, &str); 3] = [
    ("system:bootstrap:", "system:bootstrappers"),
    ("system:multus:", "system:multus"),
    ("system:ovn-node:", "system:ovn-nodes"),
];
/// The API server itself.
const API_SERVER: &str = "system:apiserver";

/// How names of everything that belongs to the cluster begin. The control planes of EKS use one of
/// their own.
const SYSTEM_PREFIXES: [&str; 2] = ["system:", "eks:"];
/// Names of control planes without such a prefix: those of AKS.
const SYSTEM_NAMES: [&str; 2] = ["acsService", "aksService"];
/// The administrator of k3s and OpenShift: a person all the same.
const ADMINISTRATOR: &str = "system:admin";

/// Users of control planes that record groups, below the prefixes above; sorted.
const CONTROL_PLANES: [&str; 34] = [
    "eks:addon-manager",
    "eks:authenticator",
    "eks:az-poller",
    "eks:certificate-controller",
    "eks:cloud-controller-manager",
    "eks:cloudwatch-agent",
    "eks:cluster-bootstrap",
    "eks:cluster-event-watcher",
    "eks:coredns-autoscaler",
    "eks:extension-metrics-apiserver",
    "eks:fargate-manager",
    "eks:fargate-scheduler",
    "eks:k8s-metrics",
    "eks:kms-storage-migrator",
    "eks:kube-proxy-windows",
    "eks:network-policy-controller",
    "eks:network-webhooks",
    "eks:node-manager",
    "eks:nodewatcher",
    "eks:pod-identity-mutating-webhook",
    "eks:service-operations",
    "eks:tagging-controller",
    "eks:vpc-resource-controller",
    "system:apiserver",
    "system:cloud-controller-manager",
    "system:k3s-controller",
    "system:k3s-supervisor",
    "system:konnectivity-server",
    "system:kube-apiserver",
    "system:kube-controller-manager",
    "system:kube-proxy",
    "system:kube-scheduler",
    "system:rke2-controller",
    "system:rke2-supervisor",
];

/// Kinds of user, as `actor.kind` says them.
pub const KINDS: &[&str] = &["human", "serviceaccount", "node", "system", "anonymous", "unknown"];

/// What kind of user somebody is, by name and groups: one of [`KINDS`]. Cost: groups are looked at only if the
/// name is one of Kubernetes' own.
///
/// A name alone proves nothing: whoever gets a certificate signed chooses its common name, and an identity
/// provider may hand out any. So where groups are recorded, a machine is what has the group that the API
/// server or the signer gives such machines, and of the control plane, most of which is in no group of its
/// own, what has a name that one is known to use. Anything else that calls itself `system:` is `human`,
/// which no rule excuses; a control plane that is not known yet is seen too often rather than never, until
/// `identities.yaml` lists its name as no person's (`actor.confirmed`). No groups are recorded on GKE, and
/// before some cuts: there the name has to do.
pub fn kind_of<'g>(name: Option<&str>, groups: impl IntoIterator<Item = &'g str>) -> &'static str {
    let kind = kind_of_name(name);
    let Some(name) = name.filter(|_| !matches!(kind, "human" | "unknown")) else { return kind };
    let mut groups = groups.into_iter().peekable();
    if groups.peek().is_none() {
        return kind;
    }
    let is_confirmed = match group_of_kind(name, kind) {
        Some(group) => groups.any(|known| known == group),
        None => CONTROL_PLANES.binary_search(&name).is_ok(),
    };
    if is_confirmed { kind } else { "human" }
}

/// Whether nothing speaks against a name: it is none of Kubernetes' own, or [`kind_of`] takes it for what it says.
pub fn is_confirmed<'g>(name: &str, groups: impl IntoIterator<Item = &'g str>) -> bool {
    kind_of(Some(name), groups) == kind_of_name(Some(name))
}

/// Whether a name is one of a control plane's that no group could confirm, and that is not known.
pub fn is_unknown_control_plane(name: &str) -> bool {
    kind_of_name(Some(name)) == "system"
        && group_of_kind(name, "system").is_none()
        && CONTROL_PLANES.binary_search(&name).is_err()
}

/// The group in which somebody of this name is, if they are of this kind.
fn group_of_kind(name: &str, kind: &str) -> Option<&'static str> {
    match kind {
        "anonymous" => Some(UNAUTHENTICATED),
        "node" => Some(NODES),
        "serviceaccount" => Some(SERVICE_ACCOUNTS),
        _ if name == API_SERVER || SYSTEM_NAMES.contains(&name) => Some(MASTERS),
        _ => {
            let on_nodes = ON_NODES.iter().find(|(prefix, _)| name.starts_with(prefix));
            on_nodes.map(|(_, group)| *group)
        }
    }
}

/// What kind of user a name is, if nothing is known of groups: one of [`KINDS`].
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
    if let Some(of_kind) = group_of_kind(user, kind_of_name(Some(user)))
        && !groups.iter().any(|known| known == of_kind)
    {
        groups.push(of_kind.to_owned());
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
        assert_eq!(groups_of(API_SERVER, None), [AUTHENTICATED, MASTERS]);
        assert_eq!(
            groups_of("system:bootstrap:a1b2c3", None),
            [AUTHENTICATED, "system:bootstrappers"]
        );
    }

    #[test]
    fn groups_confirm_what_names_claim() {
        let names = [
            ANONYMOUS,
            "system:node:n1",
            "system:serviceaccount:shop:web",
            "system:bootstrap:a1b2c3",
            "aksService",
            "eve",
            ADMINISTRATOR,
        ];
        for name in names.into_iter().chain(CONTROL_PLANES) {
            let kind = kind_of_name(Some(name));
            assert_eq!(kind_of(Some(name), []), kind, "{name}, without groups");
            let groups = groups_of(name, None);
            let groups = groups.iter().map(String::as_str);
            assert_eq!(kind_of(Some(name), groups.clone()), kind, "{name}, with its groups");
            assert!(is_confirmed(name, groups) && is_confirmed(name, []), "{name}");
        }
        for name in [
            ANONYMOUS,
            "system:node:evil",
            "system:serviceaccount:shop:web",
            "system:bootstrap:a1b2c3",
            "aksService",
            API_SERVER,
            "system:evil",
            "system:kube-scheduler2",
            "eks:evil",
        ] {
            assert_eq!(kind_of(Some(name), [AUTHENTICATED]), "human", "{name}");
            assert!(!is_confirmed(name, [AUTHENTICATED]), "{name}");
        }
        // The group of something else.
        assert_eq!(kind_of(Some("system:node:evil"), [AUTHENTICATED, SERVICE_ACCOUNTS]), "human");
        assert_eq!(kind_of(None, [AUTHENTICATED]), "unknown");
        assert!(CONTROL_PLANES.is_sorted());
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
