//! Which entry of a policy decides about a request, and the sorts of caller and object that entries
//! tell apart.

use std::collections::BTreeSet;

use super::{
    apart::{Apart, covers_url},
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

/// Circumstances made of one entry: 256. What rules ask for comes first; that there is more is told.
const CIRCUMSTANCES_PER_ENTRY_MAX: usize = 256;

/// Who asks, and for which object: as far as entries of a policy look at it. What is `None` is
/// something that no entry names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Circumstances {
    user: Option<String>,
    groups: Vec<String>,
    /// Empty: outside of any.
    namespace: Option<String>,
    name: Option<String>,
    /// A path, without wildcards.
    url: Option<String>,
    /// Nobody: authentication failed.
    pub(super) is_login_failure: bool,
}

impl Circumstances {
    /// Whether there are such requests for a target: paths have no names, and resources no paths.
    pub(super) fn are_of(&self, target: &Target) -> bool {
        match target {
            Target::Url => self.namespace.is_none() && self.name.is_none(),
            _ => self.url.is_none(),
        }
    }
}

/// All circumstances that a policy tells apart.
#[derive(Debug)]
pub(super) struct AllCircumstances {
    /// The usual ones first: somebody, something.
    pub(super) list: Vec<Circumstances>,
    /// Entries of which some combinations are not in it.
    pub(super) cut: Vec<usize>,
    users: BTreeSet<String>,
    namespaces: BTreeSet<String>,
    names: BTreeSet<String>,
    urls: BTreeSet<String>,
    failed_code: BTreeSet<String>,
}

impl AllCircumstances {
    pub(super) fn of(policy: &AuditPolicy, requests: &Requests<'_>) -> AllCircumstances {
        let authenticated = || vec![AUTHENTICATED.to_owned()];
        let usual = Circumstances { groups: authenticated(), ..Circumstances::default() };
        let anonymous = Circumstances {
            user: Some(ANONYMOUS.to_owned()),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..Circumstances::default()
        };
        let failed = Circumstances { is_login_failure: true, ..Circumstances::default() };
        let mut list = vec![usual, anonymous, failed];
        let mut known: BTreeSet<Circumstances> = list.iter().cloned().collect();
        let apart = Apart::new(policy, requests);
        let mut cut = Vec::new();
        for (index, entry) in policy.entries.iter().enumerate() {
            let mut of_entry = circumstances_of(entry, &apart);
            if of_entry.len() > CIRCUMSTANCES_PER_ENTRY_MAX {
                of_entry.truncate(CIRCUMSTANCES_PER_ENTRY_MAX);
                cut.push(index);
            }
            list.extend(of_entry.into_iter().filter(|one| known.insert(one.clone())));
        }
        let folded = |texts: &BTreeSet<String>| texts.iter().map(|text| fold_case(text)).collect();
        AllCircumstances {
            list,
            cut,
            users: folded(&apart.users),
            namespaces: folded(&apart.namespaces),
            names: folded(&apart.names),
            urls: folded(&apart.urls),
            failed_code: BTreeSet::from([UNAUTHORIZED.to_string()]),
        }
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
        match &of.url {
            Some(url) => facts.learn(well_known::REQUEST_URI, Known::Is(url)),
            None if *target == Target::Url => {
                facts.learn(well_known::REQUEST_URI, Known::Avoids(&self.urls));
            }
            None => {}
        }
    }
}

/// The combinations of what an entry names, and of what it does not name but rules ask for: as far as the policy or a
/// rule tells them apart, one of each sort. There may be one more than are looked at.
fn circumstances_of(entry: &PolicyRule, apart: &Apart<'_>) -> Vec<Circumstances> {
    let mut callers = Vec::new();
    for user in apart.users_of(entry) {
        for group in apart.groups_of(entry) {
            callers.push(Circumstances {
                groups: groups_of(user.as_deref().unwrap_or(""), group.as_deref()),
                user: match group.as_deref() {
                    Some(UNAUTHENTICATED) => Some(ANONYMOUS.to_owned()),
                    _ => user.clone(),
                },
                ..Circumstances::default()
            });
        }
    }
    if entry.users.is_empty() && entry.groups.is_empty() {
        callers.push(Circumstances { is_login_failure: true, ..Circumstances::default() });
    }
    let mut objects = Vec::new();
    if entry.urls.is_empty() {
        let names = apart.names_of(entry);
        for namespace in apart.namespaces_of(entry) {
            let of_namespace = names.iter().map(|name| (namespace.clone(), name.clone(), None));
            objects.extend(of_namespace);
            if objects.len() > CIRCUMSTANCES_PER_ENTRY_MAX {
                break;
            }
        }
    }
    if entry.namespaces.is_empty() && entry.resources.is_empty() {
        objects.extend(apart.urls_of(entry).into_iter().map(|url| (None, None, url)));
    }
    let all = objects.iter().flat_map(|(namespace, name, url)| {
        callers.iter().map(|caller| Circumstances {
            namespace: namespace.clone(),
            name: name.clone(),
            url: url.clone(),
            ..caller.clone()
        })
    });
    all.take(CIRCUMSTANCES_PER_ENTRY_MAX + 1).collect()
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
    let fits_url = |pattern: &String| match circumstances.url.as_deref() {
        Some(url) => covers_url(pattern, url),
        None => matches!(pattern.as_str(), "*" | "/*"),
    };
    *target == Target::Url && entry.urls.iter().any(fits_url)
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
