//! Values of different fields that no event has together.

use std::collections::{BTreeMap, BTreeSet};

use super::conflict::{Conflict, words};
use crate::engine::{
    diagnostic::nearest,
    kubernetes::{
        Stage,
        resources::{self, RESOURCES, Resource, SUBRESOURCES, Subresource},
        runs_long,
        stages::{STAGE_WORDS, UNAUTHORIZED},
        verbs::VERBS,
    },
    value::fold_case,
};

const RESOURCE: &str = "objectRef.resource";
const SUBRESOURCE: &str = "objectRef.subresource";
const GROUP: &str = "objectRef.apiGroup";
const VERB: &str = "verb";
const STAGE: &str = "stage";
const CODE: &str = "responseStatus.code";
const OUTCOME: &str = "outcome";
const DECISION: &str = "annotations.authorization.k8s.io/decision";

/// The values that fields must have, by path; folded.
pub(super) struct Together<'r>(pub(super) BTreeMap<&'r str, &'r BTreeSet<String>>);

impl Together<'_> {
    /// Finds out whether some event can have all of them.
    pub(super) fn check(&self) -> Result<(), Conflict> {
        self.check_subresource()?;
        self.check_resource()?;
        self.check_stage()?;
        self.check_failed_login()
    }

    fn of(&self, path: &str) -> impl Iterator<Item = &str> {
        self.0.get(path).into_iter().flat_map(|values| values.iter().map(String::as_str))
    }

    fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Whether a field must have this value and no other.
    fn is_only(&self, path: &str, value: &str) -> bool {
        self.0.get(path).is_some_and(|values| values.len() == 1) && self.of(path).eq([value])
    }

    /// Says that with its values of one field, another has one of `allowed`.
    fn expect(&self, path: &str, other: &str, allowed: &[&str]) -> Result<(), Conflict> {
        let (Some(values), Some(others)) = (self.0.get(path), self.0.get(other)) else {
            return Ok(());
        };
        if others.iter().any(|value| allowed.iter().any(|one| fold_case(one) == *value)) {
            return Ok(());
        }
        let (values, others) = (as_written(values), as_written(others));
        let title =
            format!("with {}, `{other}` is never {}", setting(path, &values), words(&others));
        let help = if allowed.is_empty() {
            format!("`{other}` is absent then")
        } else {
            format!("it is one of: {}", allowed.join(", "))
        };
        Err(Conflict { title, help })
    }

    /// The subresources that it can be about, if all are known.
    fn subresources(&self) -> Option<Vec<&'static Subresource>> {
        self.of(SUBRESOURCE).map(resources::subresource).collect()
    }

    /// The resources that it can be about. `None`: any, or some that nobody knows.
    fn resources(&self) -> Option<Vec<&'static Resource>> {
        let mut all = Vec::new();
        let (by_group, groups) = (self.has(GROUP), self.of(GROUP).collect::<BTreeSet<_>>());
        for name in self.of(RESOURCE) {
            let is_meant = |known: &&Resource| !by_group || groups.contains(known.group);
            let before = all.len();
            all.extend(resources::named(name).filter(is_meant));
            if all.len() == before {
                return None;
            }
        }
        Some(all).filter(|all| !all.is_empty())
    }

    fn check_subresource(&self) -> Result<(), Conflict> {
        if !self.has(SUBRESOURCE) {
            return Ok(());
        }
        let known = self.resources();
        if let Some(resources) = &known {
            let below: BTreeSet<&str> =
                resources.iter().flat_map(|one| one.subresources.iter().copied()).collect();
            if !self.of(SUBRESOURCE).any(|name| below.contains(name)) {
                return self.no_such_subresource(&below);
            }
        }
        // Other API servers may have subresources of the same name with other verbs.
        let is_ours = known.is_some() || !self.has(RESOURCE) && !self.has(GROUP);
        if let Some(below) = self.subresources().filter(|_| is_ours) {
            let verbs: BTreeSet<&str> =
                below.iter().flat_map(|one| one.verbs.iter().copied()).collect();
            let verbs: Vec<&str> = verbs.into_iter().collect();
            self.expect(SUBRESOURCE, VERB, &verbs)?;
        }
        Ok(())
    }

    /// What it asks for below a resource, if that is all known.
    pub(super) fn stream(&self) -> Option<Stream> {
        let below = self.subresources().filter(|below| !below.is_empty())?;
        Some(Stream { below, verbs: self.0.get(VERB).map(|verbs| (*verbs).clone()) })
    }

    fn no_such_subresource(&self, below: &BTreeSet<&str>) -> Result<(), Conflict> {
        let with: Vec<&str> = RESOURCES
            .iter()
            .filter(|known| self.of(SUBRESOURCE).any(|name| known.subresources.contains(&name)))
            .map(|known| known.name)
            .collect();
        if !with.is_empty() {
            return self.expect(SUBRESOURCE, RESOURCE, &with);
        }
        let (Some(resources), Some(names)) = (self.0.get(RESOURCE), self.0.get(SUBRESOURCE)) else {
            return Ok(());
        };
        let near = self.of(SUBRESOURCE).find_map(|name| nearest(name, below.iter().copied()));
        let title = format!("{} has no subresource {}", words(resources), words(names));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if below.is_empty() => "it has none at all".to_owned(),
            None => format!("it has: {}", below.iter().copied().collect::<Vec<_>>().join(", ")),
        };
        Err(Conflict { title, help })
    }

    /// Names of resources and groups go together, as long as both are Kubernetes' own.
    fn check_resource(&self) -> Result<(), Conflict> {
        let is_own = |group: &str| RESOURCES.iter().any(|known| known.group == group);
        if !self.has(RESOURCE) || !self.has(GROUP) || !self.of(GROUP).all(is_own) {
            return Ok(());
        }
        let mut groups = BTreeSet::new();
        for name in self.of(RESOURCE) {
            let before = groups.len();
            groups.extend(resources::named(name).map(|known| known.group));
            if groups.len() == before && resources::named(name).next().is_none() {
                return Ok(());
            }
        }
        groups.remove("");
        self.expect(RESOURCE, GROUP, &groups.into_iter().collect::<Vec<_>>())
    }

    fn check_stage(&self) -> Result<(), Conflict> {
        let unanswered = [Stage::RequestReceived, Stage::Unfinished];
        if unanswered.iter().any(|stage| self.is_only(STAGE, &fold_case(stage.as_str()))) {
            for path in [CODE, OUTCOME, DECISION] {
                self.expect(STAGE, path, &[])?;
            }
        }
        let started = self.is_only(STAGE, &fold_case(Stage::ResponseStarted.as_str()));
        if started && self.excludes_failed_logins() && self.has(VERB) && !self.may_run_long() {
            let long: Vec<&str> =
                VERBS.iter().copied().filter(|verb| runs_long(verb, "")).collect();
            let conflict = self.expect(STAGE, VERB, &long);
            let help = "other requests reach only the stage ResponseComplete".to_owned();
            return conflict.map_err(|conflict| Conflict { help, ..conflict });
        }
        Ok(())
    }

    fn excludes_failed_logins(&self) -> bool {
        let unauthorized = UNAUTHORIZED.to_string();
        self.has(CODE) && !self.of(CODE).any(|code| code == unauthorized)
            || self.has(OUTCOME) && !self.of(OUTCOME).any(|outcome| outcome == "denied")
    }

    fn may_run_long(&self) -> bool {
        let known = self.resources();
        let may_be = |below: &Subresource| match (self.has(SUBRESOURCE), &known) {
            (true, _) => self.of(SUBRESOURCE).any(|name| name == below.name),
            (false, Some(resources)) => {
                resources.iter().any(|one| one.subresources.contains(&below.name))
            }
            (false, None) => true,
        };
        self.of(VERB).any(|verb| {
            runs_long(verb, "")
                || SUBRESOURCES.iter().any(|below| {
                    below.verbs.contains(&verb) && runs_long(verb, below.name) && may_be(below)
                })
        })
    }

    /// A request whose authentication failed has one event, and it names nobody.
    fn check_failed_login(&self) -> Result<(), Conflict> {
        if !self.is_only(CODE, &UNAUTHORIZED.to_string()) {
            return Ok(());
        }
        self.expect(CODE, STAGE, &[Stage::ResponseStarted.as_str()])?;
        for path in ["user.username", "impersonatedUser.username", DECISION] {
            self.expect(CODE, path, &[])?;
        }
        self.expect(CODE, OUTCOME, &["denied"])
    }
}

/// Requests for what lies below a resource.
#[derive(Debug)]
pub(super) struct Stream {
    below: Vec<&'static Subresource>,
    /// The verbs; `None` for any.
    verbs: Option<BTreeSet<String>>,
}

impl Stream {
    fn sees(&self, below: &str, verb: &str) -> bool {
        self.below.iter().any(|known| known.name == below)
            && self.verbs.as_ref().is_none_or(|verbs| verbs.contains(verb))
    }
}

/// Streams are asked for with either of two verbs, by the age of the client: whoever looks for one of
/// them misses the others. Says so of each that no other alternative makes up for.
pub(super) fn half_of(alternatives: &[Stream]) -> Vec<Conflict> {
    let mut found = Vec::new();
    for stream in alternatives {
        let Some(verbs) = &stream.verbs else { continue };
        if !stream.below.iter().all(|known| known.upgrades) {
            continue;
        }
        let is_missing = |verb: &&&str| {
            let seen =
                |known: &Subresource| alternatives.iter().any(|other| other.sees(known.name, verb));
            !verbs.contains(**verb) && !stream.below.iter().all(|known| seen(known))
        };
        let mut both = stream.below.iter().flat_map(|known| known.verbs);
        let Some(missing) = both.find(is_missing) else { continue };
        let names: BTreeSet<String> =
            stream.below.iter().map(|known| known.name.to_owned()).collect();
        let names = setting(SUBRESOURCE, &names);
        let who = if *missing == "get" {
            "kubectl asks with `get` since 1.31, over a WebSocket"
        } else {
            "kubectl before 1.31 and other clients ask with `create`, over SPDY"
        };
        found.push(Conflict {
            title: format!("with {names}, requests with the verb `{missing}` are not seen"),
            help: format!("{who}: write `verb: [create, get]`"),
        });
    }
    found
}

/// The values as people know them: what is compared is folded.
fn as_written(values: &BTreeSet<String>) -> BTreeSet<String> {
    let stage = |value: &String| {
        let stage = STAGE_WORDS.iter().find(|word| fold_case(word) == *value);
        stage.map_or_else(|| value.clone(), |word| (*word).to_owned())
    };
    values.iter().map(stage).collect()
}

/// `path: value`, or `path: [one, other]`.
fn setting(path: &str, values: &BTreeSet<String>) -> String {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    match values.as_slice() {
        [value] => format!("`{path}: {value}`"),
        several => format!("`{path}: [{}]`", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Settings = [(&'static str, &'static [&'static str])];

    fn conflict(settings: &Settings) -> Option<String> {
        let sets: Vec<(&str, BTreeSet<String>)> = settings
            .iter()
            .map(|(path, values)| (*path, values.iter().map(|value| fold_case(value)).collect()))
            .collect();
        let all = sets.iter().map(|(path, values)| (*path, values)).collect();
        Together(all).check().err().map(|conflict| format!("{}; {}", conflict.title, conflict.help))
    }

    #[test]
    fn what_occurs_is_not_suspected() {
        let fine: &[&Settings] = &[
            &[(SUBRESOURCE, &["exec"]), (VERB, &["create", "get"]), (RESOURCE, &["pods"])],
            &[(SUBRESOURCE, &["exec", "status"]), (VERB, &["patch"])],
            &[(SUBRESOURCE, &["portforward"]), (RESOURCE, &["virtualmachineinstances"])],
            &[(SUBRESOURCE, &["restart"]), (VERB, &["update"])],
            &[(RESOURCE, &["services"]), (GROUP, &["serving.knative.dev"])],
            &[(RESOURCE, &["services"]), (GROUP, &["serving.knative.dev"]), (SUBRESOURCE, &["x"])],
            &[(RESOURCE, &["deployments", "pods"]), (GROUP, &["apps"])],
            &[(STAGE, &["ResponseStarted"]), (VERB, &["get"]), (CODE, &["200"])],
            &[(STAGE, &["ResponseStarted"]), (VERB, &["list"])],
            &[(STAGE, &["ResponseStarted"]), (CODE, &["401"])],
            &[(STAGE, &["ResponseComplete", "ResponseStarted"]), (CODE, &["401", "403"])],
            &[(CODE, &["401"]), (OUTCOME, &["denied"])],
        ];
        for settings in fine {
            assert_eq!(conflict(settings), None, "{settings:?}");
        }
    }

    #[test]
    fn streams_are_asked_for_in_two_ways() {
        let stream = |below: &str, verbs: &[&str]| {
            let below = BTreeSet::from([below.to_owned()]);
            let verbs = verbs.iter().map(|verb| (*verb).to_owned()).collect();
            Together(BTreeMap::from([(SUBRESOURCE, &below), (VERB, &verbs)])).stream()
        };
        let half = |below: &str, verbs: &[&str]| {
            let streams: Vec<Stream> = stream(below, verbs).into_iter().collect();
            half_of(&streams).pop().map(|half| half.title)
        };
        assert!(half("exec", &["create"]).is_some_and(|title| title.contains("`get`")));
        assert!(half("attach", &["get"]).is_some_and(|title| title.contains("`create`")));
        assert_eq!(half("exec", &["create", "get"]), None);
        assert_eq!(half("log", &["get"]), None);
        assert_eq!(half("restart", &["get"]), None);
        let two = [stream("exec", &["create"]).unwrap(), stream("exec", &["get"]).unwrap()];
        assert!(half_of(&two).is_empty(), "one makes up for the other");
    }

    #[test]
    fn what_never_occurs_together_is_explained() {
        let dead: &[(&Settings, &str)] = &[
            (
                &[(SUBRESOURCE, &["exec"]), (VERB, &["delete"])],
                "with `objectRef.subresource: exec`, `verb` is never `delete`; it is one of: create, get",
            ),
            (
                &[(SUBRESOURCE, &["exec", "log"]), (VERB, &["patch"])],
                "with `objectRef.subresource: [exec, log]`, `verb` is never `patch`; it is one of: \
                 create, get",
            ),
            (
                &[(SUBRESOURCE, &["exec"]), (RESOURCE, &["deployments"])],
                "with `objectRef.subresource: exec`, `objectRef.resource` is never `deployments`; it is \
                 one of: pods",
            ),
            (
                &[(SUBRESOURCE, &["execs"]), (RESOURCE, &["pods"])],
                "`pods` has no subresource `execs`; did you mean `exec`?",
            ),
            (
                &[(SUBRESOURCE, &["restart"]), (RESOURCE, &["secrets"])],
                "`secrets` has no subresource `restart`; it has none at all",
            ),
            (
                &[(RESOURCE, &["pods"]), (GROUP, &["apps"])],
                "with `objectRef.resource: pods`, `objectRef.apiGroup` is never `apps`; \
                 `objectRef.apiGroup` is absent then",
            ),
            (
                &[(RESOURCE, &["roles"]), (GROUP, &["apps"])],
                "with `objectRef.resource: roles`, `objectRef.apiGroup` is never `apps`; it is one of: \
                 rbac.authorization.k8s.io",
            ),
            (
                &[(STAGE, &["RequestReceived"]), (CODE, &["200"])],
                "with `stage: RequestReceived`, `responseStatus.code` is never `200`; \
                 `responseStatus.code` is absent then",
            ),
            (
                &[(STAGE, &["ResponseStarted"]), (VERB, &["list"]), (CODE, &["200"])],
                "with `stage: ResponseStarted`, `verb` is never `list`; other requests reach only the \
                 stage ResponseComplete",
            ),
            (
                &[(STAGE, &["ResponseComplete"]), (CODE, &["401"])],
                "with `responseStatus.code: 401`, `stage` is never `ResponseComplete`; it is one of: \
                 ResponseStarted",
            ),
            (
                &[(CODE, &["401"]), ("user.username", &["eve"])],
                "with `responseStatus.code: 401`, `user.username` is never `eve`; `user.username` is \
                 absent then",
            ),
        ];
        for (settings, expected) in dead {
            assert_eq!(conflict(settings).as_deref(), Some(*expected), "{settings:?}");
        }
    }
}
