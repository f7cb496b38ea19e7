//! Of each rule that a binding gives to somebody: whether it was used.
//!
//! The log names one binding for each request, of those that would allow it, so that a rule which nobody is seen
//! to use may still be what somebody relies on; some verbs are asked for besides requests, and no event shows them;
//! and what nobody observed is not unused. So there are four verdicts, and each says why.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    besides,
    grants::{Grants, Known},
    observed::Observed,
    rbac::{Asked, Binding, Covers, Id, PolicyRule, Role, Subject, SubjectKind},
    subject::Who,
    uses::{Use, UseKey, Uses},
};
use crate::engine::{
    access::Permission,
    kubernetes::users::{SERVICE_ACCOUNT_PREFIX, SERVICE_ACCOUNTS, SERVICE_ACCOUNTS_PREFIX},
    time::EventTime,
    words::words,
};

/// Names of those who used something that are told: 3.
const USERS_TOLD_MAX: usize = 3;

words! {
    /// Whether a grant was used.
    pub enum Verdict {
        /// The log says so.
        Used = "used",
        /// It was not, and all of the time was observed.
        Unused = "unused",
        /// It was not seen to be used, but not all of the time was observed, or it was used earlier on its first day.
        NotObserved = "not observed",
        /// It may have been, and the log does not say.
        CannotTell = "cannot tell",
    }
}

/// Which grants are asked about. All that is given must fit.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What somebody is given, and uses.
    pub who: Option<Who>,
    /// One binding.
    pub binding: Option<Id>,
    /// Bindings that give this role.
    pub role: Option<Id>,
}

/// One rule that one binding gives.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantVerdict {
    /// The binding.
    pub binding: Id,
    /// The role.
    pub role: Id,
    /// To whom: those who are asked about, or all.
    pub subjects: Vec<Subject>,
    /// Which rule of the role it is, from 0; `None` if the role has none.
    pub rule_index: Option<usize>,
    /// The rule.
    pub rule: Option<PolicyRule>,
    /// Since when it is given, if that is known.
    pub since: Option<EventTime>,
    /// Whether it was used.
    pub verdict: Verdict,
    /// When it was used last: the first use of that day.
    pub last: Option<EventTime>,
    /// By whom, the latest first; some of them.
    pub by: Vec<String>,
    /// Why.
    pub reason: String,
    /// What is to be known of it besides.
    pub notes: Vec<String>,
}

impl GrantVerdict {
    /// Somebody used it; some did, each with when they did last.
    fn is_used_by(&mut self, mut users: Vec<(EventTime, &UseKey)>) {
        users.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
        let Some((last, key)) = users.first() else { return };
        self.verdict = Verdict::Used;
        self.reason = format!("last for: {}", key.request());
        self.last = Some(*last);
        for (_, key) in &users {
            if self.by.len() < USERS_TOLD_MAX && !self.by.iter().any(|known| **known == *key.actor)
            {
                self.by.push(key.actor.to_string());
            }
        }
    }
}

/// What is known, in a form in which it is quickly found.
struct Evidence<'a> {
    grants: &'a Grants,
    uses: &'a Uses,
    observed: &'a Observed,
    /// Uses that the log names a binding for.
    by_binding: BTreeMap<Id, Vec<(&'a UseKey, &'a Use)>>,
    by_actor: BTreeMap<Arc<str>, Vec<(&'a UseKey, &'a Use)>>,
    /// Everybody who used something, with their groups.
    actors: BTreeMap<Arc<str>, BTreeSet<String>>,
    /// Only what this one did counts.
    who: Option<&'a Who>,
}

/// The verdicts on what is wanted, in the order of names.
pub fn verdicts(
    grants: &Grants,
    uses: &Uses,
    observed: &Observed,
    wanted: &Wanted,
) -> Vec<GrantVerdict> {
    let evidence = Evidence::new(grants, uses, observed, wanted.who.as_ref());
    let mut found = Vec::new();
    for (id, binding) in &grants.bindings {
        if wanted.binding.as_ref().is_some_and(|wanted| wanted != id)
            || wanted.role.as_ref().is_some_and(|wanted| *wanted != binding.value.role)
        {
            continue;
        }
        let subjects = evidence.subjects(&binding.value);
        if subjects.is_empty() && wanted.who.is_some() {
            continue;
        }
        evidence.of_binding(id, binding, &subjects, &mut found);
    }
    if wanted.role.is_none() {
        evidence.of_strangers(wanted.binding.as_ref(), &mut found);
    }
    found
}

impl<'a> Evidence<'a> {
    fn new(
        grants: &'a Grants,
        uses: &'a Uses,
        observed: &'a Observed,
        who: Option<&'a Who>,
    ) -> Evidence<'a> {
        let mut by_binding: BTreeMap<Id, Vec<(&UseKey, &Use)>> = BTreeMap::new();
        let mut by_actor: BTreeMap<Arc<str>, Vec<(&UseKey, &Use)>> = BTreeMap::new();
        for (key, sum) in uses.iter() {
            if let Some(binding) = key.binding() {
                by_binding.entry(binding).or_default().push((key, sum));
            }
            by_actor.entry(Arc::clone(&key.actor)).or_default().push((key, sum));
        }
        let actors =
            uses.actors().map(|actor| (Arc::clone(actor), uses.groups_of(actor))).collect();
        Evidence { grants, uses, observed, by_binding, by_actor, actors, who }
    }

    /// The subjects of a binding that are asked about.
    fn subjects(&self, binding: &Binding) -> Vec<Subject> {
        let is_wanted = |subject: &&Subject| match self.who {
            None => true,
            Some(Who::User(user)) => subject.means(user, &self.uses.groups_of(user)),
            Some(Who::Group(group)) => subject.kind == SubjectKind::Group && subject.name == *group,
        };
        binding.subjects.iter().filter(is_wanted).cloned().collect()
    }

    fn of_binding(
        &self,
        id: &Id,
        binding: &Known<Binding>,
        subjects: &[Subject],
        found: &mut Vec<GrantVerdict>,
    ) {
        let new = || GrantVerdict {
            binding: id.clone(),
            role: binding.value.role.clone(),
            subjects: subjects.to_vec(),
            rule_index: None,
            rule: None,
            since: binding.since,
            verdict: Verdict::Unused,
            last: None,
            by: Vec::new(),
            reason: String::new(),
            notes: self.notes(id, binding, subjects),
        };
        let known = self.grants.roles.get(&binding.value.role);
        let rules = known.map_or(&[][..], |role| role.value.rules.as_slice());
        if let Some(verdict) = self.of_no_rule(new(), (binding, known), rules) {
            found.push(verdict);
        }
        let Some(role) = known else { return };
        let mut before: Vec<&PolicyRule> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let mut verdict = GrantVerdict {
                rule_index: Some(index),
                rule: Some(rule.clone()),
                since: binding.since.max(role.since),
                ..new()
            };
            self.judge(&mut verdict, (binding, role), rule, &before);
            add_notes_of_role(&mut verdict, &role.value, rule);
            found.push(verdict);
            before.push(rule);
        }
    }

    /// What a binding gave that its role does not say, or not any more. `None`: there is nothing of it.
    fn of_no_rule(
        &self,
        mut verdict: GrantVerdict,
        (binding, role): (&Known<Binding>, Option<&Known<Role>>),
        rules: &[PolicyRule],
    ) -> Option<GrantVerdict> {
        let name = verdict.role.role();
        let namespace = verdict.binding.namespace.clone();
        let uses = self.by_binding.get(&verdict.binding).map_or(&[][..], Vec::as_slice);
        let is_left = |(key, sum): &&(&UseKey, &Use)| {
            self.counts(key)
                && !rules.iter().any(|rule| allows(rule, namespace.as_deref(), key, sum))
        };
        let left = || uses.iter().filter(is_left).map(|(key, sum)| (sum.last, *key));
        let unknown = binding.unknown.as_ref().or(match role {
            Some(role) => role.unknown.as_ref(),
            None => self.grants.stranger(&verdict.role, Id::role),
        });
        let users: Vec<(EventTime, &UseKey)> = left().filter(|(_, key)| !key.is_earlier).collect();
        if !users.is_empty() {
            verdict.is_used_by(users);
            verdict.notes.push(match (unknown, role) {
                (Some(why), _) => format!("it is not known what it says: {why}"),
                (None, None) => format!("there is no {name} any more"),
                (None, Some(_)) => "the role does not allow it any more".to_owned(),
            });
            return Some(verdict);
        }
        if !rules.is_empty() {
            return None;
        }
        (verdict.verdict, verdict.reason) = if let Some(why) = unknown {
            (Verdict::CannotTell, format!("it is not known what it says: {why}"))
        } else if let Some((at, key)) = left().max() {
            (verdict.last, verdict.by) = (Some(at), vec![key.actor.to_string()]);
            (Verdict::NotObserved, used_earlier(key))
        } else if role.is_none() {
            (Verdict::Unused, format!("there is no {name}, so the binding gives nothing"))
        } else {
            (Verdict::Unused, "the role has no rules, so the binding gives nothing".to_owned())
        };
        Some(verdict)
    }

    /// Bindings that the log names, and that are not there, or were never brought.
    fn of_strangers(&self, wanted: Option<&Id>, found: &mut Vec<GrantVerdict>) {
        for (id, uses) in &self.by_binding {
            if self.grants.bindings.contains_key(id) || wanted.is_some_and(|wanted| wanted != id) {
                continue;
            }
            let counted = uses.iter().filter(|(key, _)| self.counts(key));
            let Some((key, sum)) = counted.max_by_key(|(_, sum)| sum.last) else { continue };
            let role = match &key.permission {
                Some(Permission::Binding { role, .. }) => {
                    Id::new(role.namespace.as_deref(), &role.name)
                }
                _ => continue,
            };
            let note = match (self.grants.taken, self.grants.stranger(id, Id::binding)) {
                (None, _) => "what the binding gives besides is not known".to_owned(),
                (_, Some(why)) => format!("what the binding gives besides is not known: {why}"),
                (Some(_), None) => "the binding is not there any more".to_owned(),
            };
            found.push(GrantVerdict {
                binding: id.clone(),
                role,
                subjects: Vec::new(),
                rule_index: None,
                rule: None,
                since: None,
                verdict: Verdict::Used,
                last: Some(sum.last),
                by: vec![key.actor.to_string()],
                reason: format!("last for: {}", key.request()),
                notes: vec![note],
            });
            if key.is_earlier
                && let Some(stranger) = found.last_mut()
            {
                stranger.verdict = Verdict::NotObserved;
                stranger.reason = used_earlier(key);
            }
        }
    }

    fn judge(
        &self,
        verdict: &mut GrantVerdict,
        (binding, role): (&Known<Binding>, &Known<Role>),
        rule: &PolicyRule,
        before: &[&PolicyRule],
    ) {
        let namespace = verdict.binding.namespace.clone();
        let uses = self.by_binding.get(&verdict.binding).map_or(&[][..], Vec::as_slice);
        let mut of_an_earlier_rule = false;
        let mut users: Vec<(EventTime, &UseKey)> = Vec::new();
        let mut earlier: Option<(EventTime, &UseKey)> = None;
        for (key, sum) in uses.iter().filter(|(key, _)| self.counts(key)) {
            if !allows(rule, namespace.as_deref(), key, sum) {
                continue;
            }
            // The rules of a role are asked in their order.
            if before.iter().any(|other| allows(other, namespace.as_deref(), key, sum)) {
                of_an_earlier_rule = true;
            } else if key.is_earlier {
                earlier = earlier.max(Some((sum.last, key)));
            } else {
                users.push((sum.last, key));
            }
        }
        if !users.is_empty() {
            verdict.is_used_by(users);
            return;
        }
        let unknown = binding.unknown.as_ref().or(role.unknown.as_ref());
        (verdict.verdict, verdict.reason) = if let Some(why) = unknown {
            (Verdict::CannotTell, format!("it is not known what it says: {why}"))
        } else if let Some((at, key)) = earlier {
            (verdict.last, verdict.by) = (Some(at), vec![key.actor.to_string()]);
            (Verdict::NotObserved, used_earlier(key))
        } else if of_an_earlier_rule {
            let reason = "an earlier rule of the same role allows what was done with it";
            (Verdict::CannotTell, reason.to_owned())
        } else if let Some(reason) = self.another_way(verdict, rule) {
            (Verdict::CannotTell, reason)
        } else if let Some(reason) = self.besides(verdict, rule) {
            (Verdict::CannotTell, reason)
        } else {
            let of_machines = verdict.subjects.iter().any(is_of_machines);
            match self.observed.missing(verdict.since, of_machines) {
                None => (Verdict::Unused, "all of the time was observed".to_owned()),
                Some(missing) => (Verdict::NotObserved, missing),
            }
        };
    }

    /// Whether a use is one of those that are asked about.
    fn counts(&self, key: &UseKey) -> bool {
        match self.who {
            None => true,
            Some(Who::User(user)) => **user == *key.actor,
            Some(Who::Group(group)) => key.permission.as_ref().is_some_and(|permission| {
                permission
                    .subject()
                    .is_some_and(|subject| &*subject.kind == "Group" && *subject.name == **group)
            }),
        }
    }

    /// How somebody who has this grant did what it allows, by another permission or by one that is not told.
    fn another_way(&self, verdict: &GrantVerdict, rule: &PolicyRule) -> Option<String> {
        let namespace = verdict.binding.namespace.as_deref();
        for (actor, _) in
            self.actors.iter().filter(|(actor, groups)| self.has_it(verdict, actor, groups))
        {
            for (key, sum) in self.by_actor.get(actor).into_iter().flatten() {
                let is_own = key.binding().as_ref() == Some(&verdict.binding);
                if is_own || !allows(rule, namespace, key, sum) {
                    continue;
                }
                let request = key.request();
                return Some(match &key.permission {
                    None => format!(
                        "{actor} did {request}, and the log does not say by which permission"
                    ),
                    Some(Permission::Masters) => {
                        format!(
                            "{actor} did {request} as one of system:masters, who need no binding"
                        )
                    }
                    Some(Permission::Node) => {
                        format!("{actor} did {request} as a node, which needs no binding")
                    }
                    Some(other) => format!(
                        "{} allows {actor} the same ({request}), and the log names one binding only",
                        other.name()
                    ),
                });
            }
        }
        None
    }

    /// Whether somebody who is asked about has this grant.
    fn has_it(&self, verdict: &GrantVerdict, actor: &str, groups: &BTreeSet<String>) -> bool {
        let is_asked = match self.who {
            Some(Who::User(user)) => user == actor,
            _ => true,
        };
        is_asked && verdict.subjects.iter().any(|subject| subject.means(actor, groups))
    }

    /// How this grant may have been used without being a request's own permission.
    fn besides(&self, verdict: &GrantVerdict, rule: &PolicyRule) -> Option<String> {
        let has_it = |actor: &str| self.has_it(verdict, actor, &self.uses.groups_of(actor));
        if besides::lets_impersonate(rule)
            && let Some((caller, actor)) = self.uses.callers().find(|(caller, _)| has_it(caller))
        {
            return Some(format!(
                "{caller} acted as {actor}, and the log does not say by which permission"
            ));
        }
        let uses = self
            .by_actor
            .iter()
            .flat_map(|(actor, uses)| uses.iter().map(move |(key, _)| (actor, *key)));
        let mut asked =
            uses.filter_map(|(actor, key)| Some((actor, key, besides::asked_with(key, rule)?)));
        if let Some((actor, key, verb)) = asked.find(|(actor, ..)| has_it(actor)) {
            return Some(format!(
                "{actor} did {}, for which `{verb}` may have been asked, too: the log does not show it",
                key.request()
            ));
        }
        besides::hidden(rule)
    }

    fn notes(&self, id: &Id, binding: &Known<Binding>, subjects: &[Subject]) -> Vec<String> {
        let mut notes = Vec::new();
        if binding.value.subjects.is_empty() {
            notes.push(format!("{} names nobody", id.binding()));
        }
        for subject in subjects.iter().filter(|one| one.kind == SubjectKind::ServiceAccount) {
            let namespace = subject.namespace.as_deref().unwrap_or("");
            if self.grants.lacks_account(namespace, &subject.name) {
                notes.push(format!("{subject} was not there when the snapshot was taken"));
            }
        }
        notes
    }
}

/// Why a use that was told before the time says nothing of the time.
fn used_earlier(key: &UseKey) -> String {
    format!(
        "it was used on the first day before this time began ({}); a use is told once a day, so whether it was used \
         again is not known: ask from the beginning of that day (UTC) on",
        key.request()
    )
}

/// Whether a rule of a role that is bound in a namespace, or in the cluster, allows a use, or some of it.
fn allows(rule: &PolicyRule, bound_in: Option<&str>, key: &UseKey, sum: &Use) -> bool {
    let asked = key.asked();
    if let Some(bound_in) = bound_in {
        match asked {
            Asked::Path(_) => return false,
            Asked::Resource { namespace, .. } if namespace != bound_in => return false,
            Asked::Resource { .. } => {}
        }
    }
    match rule.covers(&key.verb, asked) {
        Covers::No => false,
        Covers::All => true,
        // Where names are not told, it may have been one of them.
        Covers::SomeNames => {
            sum.has_more_names
                || sum.has_nameless
                || sum
                    .names
                    .iter()
                    .any(|name| rule.resource_names.iter().any(|own| **own == **name))
        }
    }
}

fn is_of_machines(subject: &Subject) -> bool {
    match subject.kind {
        SubjectKind::ServiceAccount => true,
        SubjectKind::Group => {
            subject.name == SERVICE_ACCOUNTS
                || subject.name.starts_with(SERVICE_ACCOUNTS_PREFIX)
                || subject.name.starts_with("system:")
        }
        SubjectKind::User => {
            subject.name.starts_with("system:") || subject.name.starts_with(SERVICE_ACCOUNT_PREFIX)
        }
    }
}

fn add_notes_of_role(verdict: &mut GrantVerdict, role: &Role, rule: &PolicyRule) {
    if role.is_aggregated {
        let note =
            "the rules of this role are put together from others by their labels: change those";
        verdict.notes.push(note.to_owned());
    }
    if rule.has_wildcards() {
        verdict.notes.push("the rule allows more than it names (`*`)".to_owned());
    }
    if !rule.resource_names.is_empty() && verdict.verdict == Verdict::Used {
        let note = "the names of objects are told only as far as there are few: it may have been another one";
        verdict.notes.push(note.to_owned());
    }
    if !rule.non_resource_urls.is_empty() && verdict.binding.namespace.is_some() {
        verdict
            .notes
            .push("paths cannot be given in a namespace: the rule gives nothing".to_owned());
    }
}
