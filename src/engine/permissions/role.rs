//! The smallest role that allows what somebody did.
//!
//! What is suggested names every verb, group and resource that was used, and nothing that stands for more. It is
//! limited to names of objects where these are few and stay the same, and is given in the cluster only if it was
//! used there. What cannot be said so is left out, with why.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    besides,
    rbac::PolicyRule,
    subject::Who,
    uses::{Use, UseKey, Uses},
};
use crate::engine::{
    access::{Permission, usage::is_of_names},
    kubernetes::users::{AUTHENTICATED, MASTERS, SERVICE_ACCOUNTS, UNAUTHENTICATED},
};

/// Names to which a rule is limited at most: 5.
const NAMES_MAX: usize = 5;

/// Days on which names must have been used to be taken for those that stay.
const STABLE_DAYS: u64 = 2;

/// Bindings that every cluster has, to groups of everybody.
const OF_EVERYBODY: [&str; 4] = [
    "system:basic-user",
    "system:discovery",
    "system:public-info-viewer",
    "system:service-account-issuer-discovery",
];

/// What is opened by a GET where clients speak WebSocket.
const STREAMS: [&str; 3] = ["pods/attach", "pods/exec", "pods/portforward"];

/// Where a role is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In all of the cluster: a ClusterRole.
    Cluster,
    /// In one namespace: a Role.
    Namespace(String),
}

/// A rule, and what is to be known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuggestedRule {
    /// The rule.
    pub rule: PolicyRule,
    /// Why it is not limited to names, if it might have been; and what is asked besides.
    pub notes: Vec<String>,
}

/// What was done and is not suggested.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Why.
    pub why: String,
    /// `get pods in shop`.
    pub request: String,
}

/// The roles that would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// Rules by where they are given.
    pub scopes: BTreeMap<Scope, Vec<SuggestedRule>>,
    /// What is not among them.
    pub left_out: Vec<LeftOut>,
    /// Real callers of what was done.
    pub on_behalf_of: BTreeSet<Arc<str>>,
    /// Some of it was allowed by `system:masters`.
    pub has_masters: bool,
    /// Requests unlike each other that it allows.
    pub requests: usize,
    /// Some of them are known of the first day alone, before the time itself began.
    pub has_earlier: bool,
}

/// What is done to which resource, where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target<'a> {
    scope: Scope,
    group: &'a str,
    resource: String,
    verb: &'a str,
}

/// Scope, API group, resources, the one that is alone since it has names, and those names.
type Together = (Scope, String, Vec<String>, Option<String>, BTreeSet<String>);

/// By which names.
#[derive(Clone, Debug, Default)]
struct Names {
    named: BTreeSet<Arc<str>>,
    is_any: bool,
    days: u64,
}

/// What would do for somebody, by what they used. Cost: the number of uses, some log of it.
pub fn suggest(who: &Who, uses: &Uses) -> Suggestion {
    let mut suggestion = Suggestion::default();
    let mut targets: BTreeMap<Target<'_>, Names> = BTreeMap::new();
    let mut paths: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut left_out = BTreeSet::new();
    for (key, sum) in uses.iter().filter(|(key, _)| is_of(who, key)) {
        if let Some(why) = why_not(key) {
            left_out.insert(LeftOut { why, request: key.request() });
            continue;
        }
        suggestion.requests += usize::from(!uses.is_seen_again(key));
        suggestion.has_earlier |= key.is_earlier && !uses.is_seen_again(key);
        suggestion.has_masters |= key.permission == Some(Permission::Masters);
        suggestion.on_behalf_of.extend(sum.on_behalf_of.iter().cloned());
        match &key.path {
            Some(path) => {
                paths.entry(path).or_default().insert(&key.verb);
            }
            None => add_names(targets.entry(target_of(key)).or_default(), sum),
        }
    }
    without_what_the_cluster_has(&mut targets);
    suggestion.scopes = rules_of(targets);
    let of_paths = rules_of_paths(&paths);
    if !of_paths.is_empty() {
        suggestion.scopes.entry(Scope::Cluster).or_default().extend(of_paths);
    }
    suggestion.left_out = left_out.into_iter().collect();
    suggestion
}

fn is_of(who: &Who, key: &UseKey) -> bool {
    match who {
        Who::User(user) => **user == *key.actor,
        Who::Group(group) => key
            .permission
            .as_ref()
            .and_then(Permission::subject)
            .is_some_and(|subject| &*subject.kind == "Group" && *subject.name == **group),
    }
}

/// Why a use is not suggested.
fn why_not(key: &UseKey) -> Option<String> {
    match &key.permission {
        Some(Permission::Node) => {
            return Some("nodes may do so without a binding".to_owned());
        }
        Some(Permission::Binding { binding, subject, .. }) => {
            let everybody = [AUTHENTICATED, UNAUTHENTICATED, SERVICE_ACCOUNTS];
            if OF_EVERYBODY.contains(&&*binding.name) && everybody.contains(&&*subject.name) {
                return Some(format!(
                    "ClusterRoleBinding {} gives it to everybody",
                    &*binding.name
                ));
            }
        }
        Some(Permission::Masters) | None => {}
    }
    let is_plain = if let Some(path) = &key.path {
        path.starts_with('/') && !path.contains('*') && !path.contains('…')
    } else {
        let names = [&key.group, &key.subresource, &key.namespace];
        is_name(&key.resource) && names.iter().all(|name| name.is_empty() || is_name(name))
    };
    let is_verb = !key.verb.is_empty() && key.verb.bytes().all(|byte| byte.is_ascii_lowercase());
    (!is_plain || !is_verb)
        .then(|| "a rule cannot name it without allowing more than it".to_owned())
}

/// What resources, groups and namespaces are called: never something that stands for more.
fn is_name(text: &str) -> bool {
    text.len() <= 253
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
        })
}

fn target_of(key: &UseKey) -> Target<'_> {
    let resource = match &*key.subresource {
        "" => key.resource.to_string(),
        subresource => format!("{}/{subresource}", key.resource),
    };
    let scope = match &*key.namespace {
        "" => Scope::Cluster,
        namespace => Scope::Namespace(namespace.to_owned()),
    };
    Target { scope, group: &key.group, resource, verb: &key.verb }
}

fn add_names(names: &mut Names, sum: &Use) {
    names.named.extend(sum.names.iter().cloned());
    names.is_any |= sum.has_more_names || sum.has_nameless;
    names.days = names.days.max(sum.days);
}

/// What is allowed in the cluster is allowed in each namespace.
fn without_what_the_cluster_has(targets: &mut BTreeMap<Target<'_>, Names>) {
    let everywhere: BTreeSet<(String, String, String)> = targets
        .iter()
        .filter(|(target, names)| {
            target.scope == Scope::Cluster && reasons_for_any(target, names).is_some()
        })
        .map(|(target, _)| {
            (target.group.to_owned(), target.resource.clone(), target.verb.to_owned())
        })
        .collect();
    targets.retain(|target, _| {
        let same = (target.group.to_owned(), target.resource.clone(), target.verb.to_owned());
        target.scope == Scope::Cluster || !everywhere.contains(&same)
    });
}

/// Why a target is not limited to names; empty if nobody would expect it to be. `None`: it is.
fn reasons_for_any(target: &Target<'_>, names: &Names) -> Option<&'static str> {
    if !is_of_names(target.verb) || names.named.is_empty() && !names.is_any {
        Some("")
    } else if names.is_any || names.named.len() > NAMES_MAX {
        Some("of any name, as there were many")
    } else if names.days < STABLE_DAYS {
        Some("of any name, as it was used on one day only")
    } else if names.named.iter().any(|name| is_made_up(name) || name.contains('…')) {
        Some("of any name, as names were made by a controller")
    } else {
        None
    }
}

/// Whether a name looks as if a controller made it: `web-7d9f8c6b5-x2x9p`, `backup-29384756-abcde`.
fn is_made_up(name: &str) -> bool {
    // The letters of which Kubernetes makes the ends of names.
    let is_random = |part: &str| {
        let known = |byte: u8| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte);
        part.len() == 5 && part.bytes().all(known)
    };
    let is_number = |part: &str| part.len() >= 7 && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_hash = |part: &str| {
        part.len() >= 8
            && part.bytes().any(|byte| byte.is_ascii_digit())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || b"bcdfghjklmnpqrstvwxz".contains(&byte))
    };
    name.split(['-', '.']).skip(1).any(|part| is_random(part) || is_number(part) || is_hash(part))
}

/// Rules as few as can be: resources with the same verbs together.
fn rules_of(targets: BTreeMap<Target<'_>, Names>) -> BTreeMap<Scope, Vec<SuggestedRule>> {
    /// What is allowed of one resource by some names.
    type Place = (Scope, String, String, Vec<String>);
    let mut verbs: BTreeMap<Place, (BTreeSet<String>, BTreeSet<&'static str>)> = BTreeMap::new();
    for (target, names) in targets {
        let reason = reasons_for_any(&target, &names);
        let only = match reason {
            Some(_) => Vec::new(),
            None => names.named.iter().map(ToString::to_string).collect(),
        };
        let place = (target.scope, target.group.to_owned(), target.resource, only);
        let (verbs, reasons) = verbs.entry(place).or_default();
        verbs.insert(target.verb.to_owned());
        reasons.extend(reason.filter(|reason| !reason.is_empty()));
    }
    let mut together: BTreeMap<Together, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for ((scope, group, resource, only), (verbs, reasons)) in verbs {
        let alone = (!only.is_empty()).then(|| resource.clone());
        let (resources, notes) = together.entry((scope, group, only, alone, verbs)).or_default();
        notes.extend(reasons.iter().map(|reason| format!("{resource}: {reason}")));
        resources.insert(resource);
    }
    let mut scopes: BTreeMap<Scope, Vec<SuggestedRule>> = BTreeMap::new();
    for ((scope, group, only, _, verbs), (resources, notes)) in together {
        let rule = PolicyRule {
            verbs: verbs.into_iter().collect(),
            api_groups: vec![group],
            resources: resources.into_iter().collect(),
            resource_names: only,
            non_resource_urls: Vec::new(),
        };
        let mut notes: Vec<String> = notes.into_iter().collect();
        notes.extend(asked_besides(&rule));
        scopes.entry(scope).or_default().push(SuggestedRule { rule, notes });
    }
    scopes
}

/// What the API server asks of somebody besides the request itself: the log does not show it, and it is left out.
fn asked_besides(rule: &PolicyRule) -> Vec<String> {
    let has = |list: &[String], wanted: &[&str]| list.iter().any(|one| wanted.contains(&&**one));
    let mut notes: Vec<String> = besides::notes(rule).collect();
    let streams: Vec<&str> =
        STREAMS.into_iter().filter(|stream| has(&rule.resources, &[stream])).collect();
    let is_core = has(&rule.api_groups, &[""]);
    if is_core
        && !streams.is_empty()
        && has(&rule.verbs, &["get"])
        && !has(&rule.verbs, &["create"])
    {
        let streams = streams.join(", ");
        notes.push(format!("{streams}: Kubernetes 1.35 and later ask for the verb `create`, too"));
    }
    notes
}

fn rules_of_paths(paths: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<SuggestedRule> {
    let mut by_verbs: BTreeMap<&BTreeSet<&str>, Vec<String>> = BTreeMap::new();
    for (path, verbs) in paths {
        by_verbs.entry(verbs).or_default().push((*path).to_owned());
    }
    let rules = by_verbs.into_iter().map(|(verbs, paths)| PolicyRule {
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        non_resource_urls: paths,
        ..PolicyRule::default()
    });
    rules.map(|rule| SuggestedRule { rule, notes: Vec::new() }).collect()
}

impl Suggestion {
    /// Whether there is nothing to suggest.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// The name of the group that may do everything, for those who are told.
    pub const MASTERS: &str = MASTERS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_controllers_are_known() {
        for name in ["web-7d9f8c6b5-x2x9p", "backup-29384756-zlk4d", "job-1234567"] {
            assert!(is_made_up(name), "{name}");
        }
        for name in ["db-password", "web-0", "kube-root-ca.crt", "leader", "shop-prod-2026"] {
            assert!(!is_made_up(name), "{name}");
        }
    }
}
