//! What the API server, and kubelets, ask of somebody besides the request itself: no event shows it.

use super::{
    rbac::{Asked, Covers, PolicyRule},
    uses::UseKey,
};

/// Requests of which more is asked, and what that is.
#[derive(Debug)]
pub(super) struct Besides {
    group: &'static str,
    resources: &'static [&'static str],
    /// Verb, API group and resources that are asked for, too.
    asked: (&'static str, &'static str, &'static [&'static str]),
    /// For people who are given a role without it.
    note: &'static str,
}

const BESIDES: &[Besides] = &[
    Besides {
        group: RBAC,
        resources: &["rolebindings", "clusterrolebindings"],
        asked: ("bind", RBAC, &["roles", "clusterroles"]),
        note: "who gives a role needs the verb `bind` on it, or all that it allows, which is left out",
    },
    Besides {
        group: RBAC,
        resources: &["roles", "clusterroles"],
        asked: ("escalate", RBAC, &["roles", "clusterroles"]),
        note: "who writes a role needs the verb `escalate` on it, or all that it allows, which is left out",
    },
    Besides {
        group: CERTIFICATES,
        resources: &["certificatesigningrequests/approval"],
        asked: ("approve", CERTIFICATES, &["signers"]),
        note: "who approves needs the verb `approve` on the signer (`signers`), which is left out",
    },
    Besides {
        group: CERTIFICATES,
        resources: &["certificatesigningrequests/status"],
        asked: ("sign", CERTIFICATES, &["signers"]),
        note: "who signs needs the verb `sign` on the signer (`signers`), which is left out",
    },
    Besides {
        group: CERTIFICATES,
        resources: &["clustertrustbundles"],
        asked: ("attest", CERTIFICATES, &["signers"]),
        note: "a bundle of a signer needs the verb `attest` on it (`signers`), which is left out",
    },
];

const RBAC: &str = "rbac.authorization.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const CHANGING: [&str; 3] = ["create", "update", "patch"];

/// Verbs of requests for resources. Any other is asked besides one (`impersonate`, `bind`, `approve`, `use` …).
const OF_REQUESTS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// What the verb `impersonate` is asked for, with the API group.
const IMPERSONATED: [(&str, &str); 5] = [
    ("", "users"),
    ("", "groups"),
    ("", "serviceaccounts"),
    ("authentication.k8s.io", "uids"),
    ("authentication.k8s.io", "userextras"),
];

/// What is below nodes that kubelets ask for: whether somebody who comes to them may. `nodes/proxy` is what they ask for
/// unless they know better (kubelet authorization, pkg/kubelet/server/auth.go), whatever else it is a request for.
const OF_KUBELETS: [&str; 10] = [
    "nodes/*",
    "nodes/checkpoint",
    "nodes/configz",
    "nodes/healthz",
    "nodes/log",
    "nodes/metrics",
    "nodes/pods",
    "nodes/proxy",
    "nodes/spec",
    "nodes/stats",
];

/// Below what somebody may own: asked of whoever makes an object that keeps its owner from being deleted (admission
/// plugin OwnerReferencesPermissionEnforcement). There is no request for it.
const FINALIZERS: &str = "/finalizers";

/// What is asked besides of whoever has a role, and is left out of it.
pub(super) fn notes(rule: &PolicyRule) -> impl Iterator<Item = String> {
    let has = |list: &[String], wanted: &[&str]| list.iter().any(|one| wanted.contains(&&**one));
    let is_of = move |besides: &&Besides| {
        has(&rule.api_groups, &[besides.group])
            && has(&rule.resources, besides.resources)
            && has(&rule.verbs, &CHANGING)
    };
    BESIDES.iter().filter(is_of).map(|besides| besides.note.to_owned())
}

/// Why nobody can tell of a rule that it was not used: what of it no event shows. `None` if events show all that it names.
pub(super) fn hidden(rule: &PolicyRule) -> Option<String> {
    let is_hidden = |verb: &&String| *verb != "*" && !OF_REQUESTS.contains(&&***verb);
    let verbs: Vec<String> =
        rule.verbs.iter().filter(is_hidden).map(|verb| format!("`{verb}`")).collect();
    if !verbs.is_empty() && !rule.resources.is_empty() {
        let verbs = verbs.join(", ");
        return Some(format!("{verbs}: asked besides requests, which the log does not show"));
    }
    if let Some(path) = rule.non_resource_urls.first() {
        return Some(format!(
            "{path}: other servers ask for paths of their own, which the log does not show"
        ));
    }
    rule.resources.iter().find_map(|resource| {
        if OF_KUBELETS.contains(&resource.as_str()) {
            Some(format!("{resource}: kubelets ask for it themselves, which the log does not show"))
        } else if resource.ends_with(FINALIZERS) {
            Some(format!(
                "{resource}: asked of whoever names an owner, which the log does not show"
            ))
        } else {
            None
        }
    })
}

/// Whether a rule lets somebody act as another.
pub(super) fn lets_impersonate(rule: &PolicyRule) -> bool {
    IMPERSONATED.iter().any(|(group, resource)| allows(rule, "impersonate", group, resource))
}

/// The verb that was asked for, too, when somebody did something, if it is one that a rule allows.
pub(super) fn asked_with(key: &UseKey, rule: &PolicyRule) -> Option<&'static str> {
    let is_it = |resource: &&str| match resource.split_once('/') {
        Some((resource, below)) => *key.resource == *resource && *key.subresource == *below,
        None => *key.resource == **resource && key.subresource.is_empty(),
    };
    let is_asked = |besides: &&Besides| {
        let (verb, group, resources) = besides.asked;
        *key.group == *besides.group
            && CHANGING.contains(&&*key.verb)
            && besides.resources.iter().any(is_it)
            && resources.iter().any(|resource| allows(rule, verb, group, resource))
    };
    BESIDES.iter().find(is_asked).map(|besides| besides.asked.0)
}

fn allows(rule: &PolicyRule, verb: &str, group: &str, resource: &str) -> bool {
    let asked = Asked::Resource { group, resource, subresource: "", namespace: "" };
    rule.covers(verb, asked) != Covers::No
}
