//! Which entry of a policy decides about a request, and the sorts of caller and object that entries
//! tell apart.

use std::collections::BTreeSet;

use super::{
    read::{AuditPolicy, PolicyRule, Resources},
    requests::{Below, Requests, Target, Verb},
};
use crate::engine::{
    detect::{Facts, Known},
    event::well_known,
    kubernetes::{
        stages::UNAUTHORIZED,
        users::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, groups_of, kind_of, kind_of_group},
    },
    rule::fold_case,
};

/// Circumstances made of one entry; of an entry with longer lists, the first.
const CIRCUMSTANCES_PER_ENTRY_MAX: usize = 64;

/// Who asks, and for which object: as far as entries of a policy look at it. What is `None` is
/// something that no entry names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Circumstances {
    user: Option<String>,
    groups: Vec<String>,
    /// Empty: outside of any.
    namespace: Option<String>,
    name: Option<String>,
    url: Option<String>,
    /// Nobody: authentication failed.
    pub(super) is_login_failure: bool,
}

/// All circumstances that a policy tells apart.
#[derive(Debug)]
pub(super) struct AllCircumstances {
    /// The usual ones first: somebody, something.
    pub(super) list: Vec<Circumstances>,
    users: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    names: BTreeSet<String>,
    failed_code: BTreeSet<String>,
}

impl AllCircumstances {
    pub(super) fn of(policy: &AuditPolicy) -> AllCircumstances {
        let authenticated = || vec![AUTHENTICATED.to_owned()];
        let usual = Circumstances { groups: authenticated(), ..Circumstances::default() };
        let anonymous = Circumstances {
            user: Some(ANONYMOUS.to_owned()),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..Circumstances::default()
        };
        let failed = Circumstances { is_login_failure: true, ..Circumstances::default() };
        let mut list = vec![usual, anonymous, failed];
        let (mut users, mut namespaces) = (BTreeSet::new(), BTreeSet::new());
        let mut names = BTreeSet::new();
        for entry in &policy.entries {
            let of_entry = circumstances_of(entry);
            for one in &of_entry {
                users.extend(one.user.as_deref().map(fold_case));
                namespaces.extend(one.namespace.as_deref().map(fold_case));
                names.extend(one.name.as_deref().map(fold_case));
            }
            for one in of_entry {
                if !list.contains(&one) {
                    list.push(one);
                }
            }
        }
        let failed_code = BTreeSet::from([UNAUTHORIZED.to_string()]);
        AllCircumstances { list, users, namespaces, names, failed_code }
    }

    /// What some circumstances say about an event.
    pub(super) fn learn<'s>(
        &'s self,
        facts: &mut Facts<'s>,
        requests: &'s Requests<'_>,
        target: &Target,
        of: &'s Circumstances,
    ) {
        let fields = &requests.rules.fields;
        let actor = |facts: &mut Facts<'s>, name: Known<'s>, kind: Option<&'static str>| {
            facts.learn_path(fields, "actor.id", name);
            facts.learn_path(fields, "actor.caller", name);
            if let Some(kind) = kind {
                let is_human = if kind == "human" { "true" } else { "false" };
                facts.learn_path(fields, "actor.kind", Known::Is(kind));
                // Identities may know better.
                if requests.rules.identities.is_empty() {
                    facts.learn_path(fields, "actor.human", Known::Is(is_human));
                }
            }
        };
        if of.is_login_failure {
            facts.learn(well_known::RESPONSE_CODE, Known::Is("401"));
            facts.learn_path(fields, "outcome", Known::Is("denied"));
            for field in [
                well_known::USERNAME,
                well_known::GROUPS,
                well_known::IMPERSONATED_USERNAME,
                well_known::DECISION,
            ] {
                facts.learn(field, Known::Absent);
            }
            actor(facts, Known::Is(ANONYMOUS), Some("anonymous"));
        } else {
            facts.learn(well_known::RESPONSE_CODE, Known::NoneOf(&self.failed_code));
            facts.learn(well_known::GROUPS, Known::Has(&of.groups));
            if let Some(user) = &of.user {
                facts.learn(well_known::USERNAME, Known::Is(user));
                let kind = kind_of(Some(user), of.groups.iter().map(String::as_str));
                actor(facts, Known::Is(user), Some(kind));
            } else {
                let name = Known::Avoids(&self.users);
                facts.learn(well_known::USERNAME, name);
                let kind = of.groups.iter().find_map(|group| kind_of_group(group));
                actor(facts, name, kind);
            }
        }
        let is_namespaced = target.known().is_none_or(|known| known.is_namespaced);
        match of.namespace.as_deref() {
            _ if !is_namespaced => {
                // A namespace is said to be in itself.
                if target.known().is_some_and(|known| known.name != "namespaces") {
                    facts.learn(well_known::NAMESPACE, Known::Absent);
                }
            }
            Some("") => facts.learn(well_known::NAMESPACE, Known::Absent),
            Some(namespace) => facts.learn(well_known::NAMESPACE, Known::Is(namespace)),
            None => facts.learn(well_known::NAMESPACE, Known::Avoids(&self.namespaces)),
        }
        match &of.name {
            Some(name) => facts.learn(well_known::NAME, Known::Is(name)),
            None => facts.learn(well_known::NAME, Known::Avoids(&self.names)),
        }
        if let Some(url) = &of.url {
            facts.learn(well_known::REQUEST_URI, Known::Is(url.trim_end_matches('*')));
        }
    }
}

/// Every combination of what an entry names.
fn circumstances_of(entry: &PolicyRule) -> Vec<Circumstances> {
    let options = |texts: &[String]| -> Vec<Option<String>> {
        if texts.is_empty() { vec![None] } else { texts.iter().cloned().map(Some).collect() }
    };
    let names: Vec<String> =
        entry.resources.iter().flat_map(|resources| resources.names.iter().cloned()).collect();
    let mut all = Vec::new();
    for user in options(&entry.users) {
        for group in options(&entry.groups) {
            for namespace in options(&entry.namespaces) {
                for name in options(&names) {
                    for url in options(&entry.urls) {
                        if all.len() == CIRCUMSTANCES_PER_ENTRY_MAX {
                            return all;
                        }
                        all.push(Circumstances {
                            groups: groups_of(user.as_deref().unwrap_or(""), group.as_deref()),
                            user: match group.as_deref() {
                                Some(UNAUTHENTICATED) => Some(ANONYMOUS.to_owned()),
                                _ => user.clone(),
                            },
                            namespace: namespace.clone(),
                            name: name.clone(),
                            url,
                            is_login_failure: false,
                        });
                    }
                }
            }
        }
    }
    all
}

/// The entry that decides about requests; `None` if none fits, and nothing is recorded.
pub(super) fn decide(
    policy: &AuditPolicy,
    target: &Target,
    verb: Verb,
    circumstances: &Circumstances,
) -> Option<usize> {
    policy.entries.iter().position(|entry| fits(entry, target, verb, circumstances))
}

fn fits(entry: &PolicyRule, target: &Target, verb: Verb, circumstances: &Circumstances) -> bool {
    let named = |list: &[String], value: Option<&str>| {
        list.is_empty() || value.is_some_and(|value| list.iter().any(|known| known == value))
    };
    let in_group = |group: &String| circumstances.groups.contains(group);
    if !named(&entry.users, circumstances.user.as_deref())
        || !(entry.groups.is_empty() || entry.groups.iter().any(in_group))
        || !named(&entry.verbs, verb)
    {
        return false;
    }
    if !entry.namespaces.is_empty() || !entry.resources.is_empty() {
        let is_namespaced = target.known().is_none_or(|known| known.is_namespaced);
        let namespace = match target.known().map(|known| known.name) {
            // It is in itself, whatever its name.
            Some("namespaces") => circumstances.namespace.as_deref(),
            _ if !is_namespaced => Some(""),
            _ => circumstances.namespace.as_deref(),
        };
        let name = circumstances.name.as_deref();
        return *target != Target::Url
            && named(&entry.namespaces, namespace)
            && (entry.resources.is_empty()
                || entry.resources.iter().any(|one| fits_resources(one, target, name)));
    }
    if entry.urls.is_empty() {
        return true;
    }
    *target == Target::Url
        && entry.urls.iter().any(|pattern| {
            let Some(url) = circumstances.url.as_deref() else {
                return matches!(pattern.as_str(), "*" | "/*");
            };
            let url = url.trim_end_matches('*');
            let prefix = pattern.strip_suffix('*');
            prefix.map_or(pattern == url, |prefix| url.starts_with(prefix))
        })
}

fn fits_resources(resources: &Resources, target: &Target, object: Option<&str>) -> bool {
    let (group, name, below) = match target {
        Target::Resource { group, name, below } => (group.as_ref(), Some(name), *below),
        Target::Group(group) => (Some(group), None, Below::Itself),
        Target::OtherResource | Target::Url => return false,
    };
    // Without a group it is the one of that name.
    let is_group = group.is_none_or(|group| *group == resources.group);
    if !is_group || (resources.patterns.is_empty() && group.is_none()) {
        return false;
    }
    if resources.patterns.is_empty() {
        return true;
    }
    let is_object = resources.names.is_empty()
        || object.is_some_and(|object| resources.names.iter().any(|known| known == object));
    let fits = |pattern: &String| {
        if pattern == "*" {
            return group.is_some();
        }
        let Some(name) = name else { return false };
        match (pattern.split_once('/'), below) {
            (None, Below::Itself) => pattern == name,
            (Some((of, "*")), _) => of == name,
            (Some((of, subresource)), Below::Named(known)) => {
                (of == name || of == "*") && subresource == known
            }
            (None, _) | (Some(_), Below::Itself | Below::Other) => false,
        }
    };
    is_object && resources.patterns.iter().any(fits)
}
