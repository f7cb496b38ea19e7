//! Which users, groups, namespaces, names and paths are to be told apart.
//!
//! Two users are alike if each entry of the policy has both or none of them, and each test of the rules says the same of
//! both; one of them stands for all that are alike. So long lists are looked at as a whole.

use std::collections::BTreeSet;

use super::{
    read::{AuditPolicy, PolicyRule},
    requests::Requests,
};
use crate::engine::{
    event::{FieldId, well_known},
    kubernetes::users::{ANONYMOUS, UNAUTHENTICATED, groups_of, kind_of, kind_of_group},
    rule::{StringKind, Test},
};

/// What a policy names, and what rules ask of it.
pub(super) struct Apart<'p> {
    policy: &'p AuditPolicy,
    requests: &'p Requests<'p>,
    pub(super) users: BTreeSet<String>,
    pub(super) namespaces: BTreeSet<String>,
    pub(super) names: BTreeSet<String>,
    /// Where an entry is for all paths with a beginning: this one, and those that rules name.
    pub(super) urls: BTreeSet<String>,
}

/// What tells a value from another: which entries have it, and which tests it passes.
type Sort = (Vec<bool>, Vec<bool>);

impl<'p> Apart<'p> {
    pub(super) fn new(policy: &'p AuditPolicy, requests: &'p Requests<'p>) -> Apart<'p> {
        let all = |of: fn(&PolicyRule) -> &Vec<String>| -> BTreeSet<String> {
            policy.entries.iter().flat_map(of).cloned().collect()
        };
        let mut users = all(|entry| &entry.users);
        if policy.entries.iter().any(|entry| entry.groups.iter().any(|one| one == UNAUTHENTICATED))
        {
            users.insert(ANONYMOUS.to_owned());
        }
        let names = policy.entries.iter().flat_map(names_in).cloned().collect();
        let patterns = all(|entry| &entry.urls);
        let asked = urls_asked_for(requests);
        let is_covered = |url: &&String| patterns.iter().any(|pattern| covers_url(pattern, url));
        let mut urls: BTreeSet<String> = asked.iter().filter(is_covered).cloned().collect();
        let paths = patterns.iter().filter(|pattern| !is_every_path(pattern));
        urls.extend(paths.map(|pattern| pattern.trim_end_matches('*').to_owned()));
        Apart { policy, requests, users, namespaces: all(|entry| &entry.namespaces), names, urls }
    }

    pub(super) fn users_of(&self, entry: &PolicyRule) -> Vec<Option<String>> {
        some(&entry.users, entry.users.is_empty(), &self.users, |user| {
            let groups = groups_of(user, None);
            let kind = kind_of(Some(user), groups.iter().map(String::as_str));
            let has = |entry: &PolicyRule| {
                [entry.users.iter().any(|one| one == user), has_any(&entry.groups, &groups)]
            };
            let mut passed = self.of_groups(&groups);
            passed.extend(self.of_kind(kind));
            passed.extend(self.passed(well_known::USERNAME, user));
            passed.extend(["actor.id", "actor.caller"].iter().flat_map(|at| self.at(at, user)));
            (self.policy.entries.iter().flat_map(has).collect(), passed)
        })
    }

    pub(super) fn groups_of(&self, entry: &PolicyRule) -> Vec<Option<String>> {
        some(&entry.groups, entry.groups.is_empty(), &BTreeSet::new(), |group| {
            let groups = groups_of("", Some(group));
            let has = |entry: &PolicyRule| has_any(&entry.groups, &groups);
            let mut passed = self.of_groups(&groups);
            passed.extend(kind_of_group(group).into_iter().flat_map(|kind| self.of_kind(kind)));
            (self.policy.entries.iter().map(has).collect(), passed)
        })
    }

    pub(super) fn namespaces_of(&self, entry: &PolicyRule) -> Vec<Option<String>> {
        let named = &entry.namespaces;
        some(named, named.is_empty(), &self.namespaces, |namespace| {
            let has = |entry: &PolicyRule| entry.namespaces.iter().any(|one| one == namespace);
            let has = self.policy.entries.iter().map(has);
            (has.collect(), self.passed(well_known::NAMESPACE, namespace))
        })
    }

    pub(super) fn names_of(&self, entry: &PolicyRule) -> Vec<Option<String>> {
        let named: Vec<String> = names_in(entry).cloned().collect();
        let is_any =
            entry.resources.is_empty() || entry.resources.iter().any(|one| one.names.is_empty());
        some(&named, is_any, &self.names, |name| {
            let resources = self.policy.entries.iter().flat_map(|entry| &entry.resources);
            let has = resources.map(|resources| resources.names.iter().any(|one| one == name));
            (has.collect(), self.passed(well_known::NAME, name))
        })
    }

    pub(super) fn urls_of(&self, entry: &PolicyRule) -> Vec<Option<String>> {
        let covers =
            |entry: &PolicyRule, url: &str| entry.urls.iter().any(|one| covers_url(one, url));
        let named: Vec<String> =
            self.urls.iter().filter(|url| covers(entry, url)).cloned().collect();
        let is_any = entry.urls.is_empty() || entry.urls.iter().any(|one| is_every_path(one));
        some(&named, is_any, &self.urls, |url| {
            let has = self.policy.entries.iter().map(|entry| covers(entry, url));
            (has.collect(), self.passed(well_known::REQUEST_URI, url))
        })
    }

    fn of_groups(&self, groups: &[String]) -> Vec<bool> {
        let each: Vec<Vec<bool>> =
            groups.iter().map(|group| self.passed(well_known::GROUPS, group)).collect();
        let tests = each.first().map_or(0, Vec::len);
        (0..tests).map(|test| each.iter().any(|one| one.get(test) == Some(&true))).collect()
    }

    fn of_kind(&self, kind: &str) -> Vec<bool> {
        let is_human = if kind == "human" { "true" } else { "false" };
        [self.at("actor.kind", kind), self.at("actor.human", is_human)].concat()
    }

    fn at(&self, path: &str, text: &str) -> Vec<bool> {
        let field = self.requests.rules.fields.get(path);
        field.map_or_else(Vec::new, |field| self.passed(field, text))
    }

    fn passed(&self, field: FieldId, text: &str) -> Vec<bool> {
        self.requests.reach.passed(field, text)
    }
}

/// One value of each sort of those that an entry names. If it takes any, `None` stands for those that no entry names, and
/// of `others`, which some entry names, those come besides that a test of the rules asks for. What rules ask for is first.
fn some(
    named: &[String],
    takes_any: bool,
    others: &BTreeSet<String>,
    sort: impl Fn(&str) -> Sort,
) -> Vec<Option<String>> {
    let mut seen: BTreeSet<Sort> = BTreeSet::new();
    let is_asked = |(_, passed): &Sort| passed.contains(&true);
    let (mut first, mut last) = (Vec::new(), Vec::new());
    if takes_any {
        first.push(None);
    }
    for value in named {
        let sort = sort(value);
        let to = if is_asked(&sort) { &mut first } else { &mut last };
        if seen.insert(sort) {
            to.push(Some(value.clone()));
        }
    }
    for value in others.iter().filter(|_| takes_any) {
        let sort = sort(value);
        if is_asked(&sort) && seen.insert(sort) {
            first.push(Some(value.clone()));
        }
    }
    first.append(&mut last);
    first
}

fn names_in(entry: &PolicyRule) -> impl Iterator<Item = &String> {
    entry.resources.iter().flat_map(|resources| &resources.names)
}

fn has_any(list: &[String], wanted: &[String]) -> bool {
    wanted.iter().any(|one| list.contains(one))
}

/// Whether a pattern of an entry is for a path.
pub(super) fn covers_url(pattern: &str, url: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => url.starts_with(prefix),
        None => pattern == url,
    }
}

fn is_every_path(pattern: &str) -> bool {
    matches!(pattern, "*" | "/*")
}

/// Paths, and beginnings of them, that rules name.
fn urls_asked_for(requests: &Requests<'_>) -> BTreeSet<String> {
    let mut urls = BTreeSet::new();
    let tests = requests.rules.predicates.iter();
    for predicate in tests.filter(|predicate| predicate.field == well_known::REQUEST_URI) {
        match &predicate.test {
            Test::OneOf { texts, .. } => urls.extend(texts.iter().cloned()),
            Test::Text { kind: StringKind::Equals | StringKind::StartsWith, pattern, .. } => {
                urls.insert(pattern.clone());
            }
            _ => {}
        }
    }
    urls
}
