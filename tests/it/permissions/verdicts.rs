//! Verdicts on grants, for what was used, observed and changed.

use serde_json::{Value, json};
use tripline::engine::{
    access::UsageMode,
    ledger::{Entry, EntryKind, Row},
    permissions::{
        GrantsBuilder, Id, ObservedBuilder, Uses, Verdict, Wanted, Who, import, verdicts,
    },
    time::EventTime,
};

use super::{
    EventText, START,
    evaluator::Request,
    imports::{cluster, rows_of},
};
use crate::ledger::{Recording, rules};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

const BY_GROUP: &str = r#"RBAC: allowed by ClusterRoleBinding \"viewers\" of ClusterRole \"view\" to Group \"readers\""#;
const BY_NAME: &str =
    r#"RBAC: allowed by RoleBinding \"view/shop\" of ClusterRole \"view\" to User \"anna\""#;

/// A cluster whose grants are known, and what happens in it.
struct World {
    recording: Recording,
    snapshot: Vec<Row>,
    start: EventTime,
    count: usize,
}

impl World {
    fn new() -> World {
        World::of(&cluster())
    }

    /// Of a list of roles and bindings.
    fn of(objects: &Value) -> World {
        let start = EventTime::parse(START).unwrap();
        let found = import("rbac.json", &objects.to_string()).unwrap();
        World {
            recording: Recording::new(&rules(super::RULES), start),
            snapshot: rows_of(&found, start, 1_000_000),
            start,
            count: 0,
        }
    }

    fn now(&self) -> EventTime {
        self.start.plus(std::time::Duration::from_secs(60 * self.count as u64))
    }

    fn did(&mut self, user: &str, groups: &[&str], reason: &str, request: &Request) {
        self.count += 1;
        let at = self.now();
        let event =
            EventText { id: self.count, at, user, groups, request, reason, is_allowed: true };
        self.recording.read(0, at, &[event.to_string().as_bytes()]);
    }

    /// The same as another user.
    fn did_as(&mut self, user: &str, other: &str, reason: &str, request: &Request) {
        self.count += 1;
        let (at, groups) = (self.now(), &["system:authenticated"][..]);
        let event =
            EventText { id: self.count, at, user, groups, request, reason, is_allowed: true };
        let mut event: Value = serde_json::from_str(&event.to_string()).unwrap();
        event["impersonatedUser"] = json!({ "username": other });
        self.recording.read(0, at, &[event.to_string().as_bytes()]);
    }

    /// A change of an object of RBAC, with a body.
    fn changed(
        &mut self,
        verb: &str,
        resource: &str,
        name: &str,
        namespace: &str,
        body: Option<Value>,
    ) {
        let request = Request {
            group: "rbac.authorization.k8s.io".to_owned(),
            name: name.to_owned(),
            ..request(verb, resource, namespace)
        };
        self.count += 1;
        let at = self.now();
        let event = EventText {
            id: self.count,
            at,
            user: "root",
            groups: &["system:masters"],
            request: &request,
            reason: "",
            is_allowed: true,
        };
        let mut event: Value = serde_json::from_str(&event.to_string()).unwrap();
        if let Some(body) = body {
            event["level"] = "Request".into();
            event["requestObject"] = body;
        }
        self.recording.read(0, at, &[event.to_string().as_bytes()]);
    }

    /// Of each grant of a question: binding, number of the rule, verdict, and why.
    fn verdicts(
        &mut self,
        wanted: &Wanted,
        hours: u32,
    ) -> Vec<(String, Option<usize>, Verdict, String)> {
        self.recording.rest(5);
        self.count += 5;
        let rows = &self.recording.rows;
        let mut grants = GrantsBuilder::default();
        for row in &self.snapshot {
            grants.snapshot(row.entry().unwrap(), row.at());
        }
        let mut uses = Uses::default();
        let mut observed = ObservedBuilder::new("");
        for row in rows {
            row.access().into_iter().for_each(|access| grants.change(access));
            row.usage().into_iter().for_each(|usage| uses.add(usage));
        }
        observed.add(&complete_hour("all"), self.start.minus(HOUR));
        for hour in 0..hours {
            observed.add(&complete_hour("all"), self.start.plus(HOUR * hour));
        }
        let to = self.start.plus(HOUR * hours.max(1));
        let observed = observed.finish(self.start, to);
        verdicts(&grants.finish(), &uses, &observed, wanted)
            .into_iter()
            .map(|one| {
                let why = [vec![one.reason], one.notes].concat().join("; ");
                (one.binding.binding(), one.rule_index, one.verdict, why)
            })
            .collect()
    }
}

fn complete_hour(usage: &str) -> Entry {
    Entry::new(EntryKind::Coverage, "", "complete").count("events", 9).fact("usage", usage)
}

fn request(verb: &str, resource: &str, namespace: &str) -> Request {
    Request {
        user: String::new(),
        groups: Vec::new(),
        verb: verb.to_owned(),
        group: String::new(),
        resource: resource.to_owned(),
        subresource: String::new(),
        namespace: namespace.to_owned(),
        name: String::new(),
        path: String::new(),
    }
}

fn anna() -> Wanted {
    Wanted { who: Who::parse("anna"), ..Wanted::default() }
}

#[track_caller]
fn check(
    found: &[(String, Option<usize>, Verdict, String)],
    expected: &[(&str, Option<usize>, Verdict, &str)],
) {
    let shown: Vec<String> = found.iter().map(|one| format!("{one:?}")).collect();
    assert_eq!(found.len(), expected.len(), "{shown:#?}");
    for (one, (binding, rule, verdict, why)) in found.iter().zip(expected) {
        assert_eq!((one.0.as_str(), one.1, one.2), (*binding, *rule, *verdict), "{shown:#?}");
        assert!(one.3.contains(why), "{why} is not in {}", one.3);
    }
}

#[test]
fn used_unused_not_observed_and_cannot_tell() {
    use Verdict::{CannotTell, NotObserved, Unused, Used};
    let mut world = World::new();
    let groups = ["readers", "system:authenticated"];
    world.did("anna", &groups, BY_GROUP, &request("list", "pods", "shop"));
    // All of it was observed: what was not used is unused, unless another binding gives the same.
    check(
        &world.verdicts(&anna(), 24),
        &[
            ("ClusterRoleBinding viewers", Some(0), Used, "last for: list pods in shop"),
            ("ClusterRoleBinding viewers", Some(1), Unused, "all of the time"),
            ("RoleBinding shop/lost", None, Unused, "there is no Role shop/gone"),
            (
                "RoleBinding shop/view",
                Some(0),
                CannotTell,
                "ClusterRoleBinding viewers allows anna the same",
            ),
            ("RoleBinding shop/view", Some(1), Unused, "all of the time"),
        ],
    );
    // Each binding that the log names is used, whatever else allows the same.
    let mut both = World::new();
    both.did("anna", &groups, BY_GROUP, &request("list", "pods", "shop"));
    both.did("anna", &groups, BY_NAME, &request("list", "pods", "shop"));
    let used: Vec<_> = both.verdicts(&anna(), 24).into_iter().filter(|one| one.2 == Used).collect();
    assert_eq!(used.len(), 2, "{used:?}");
    // Nobody looked: what was seen is used, and the rest is not known.
    check(
        &world.verdicts(&anna(), 0),
        &[
            ("ClusterRoleBinding viewers", Some(0), Used, ""),
            ("ClusterRoleBinding viewers", Some(1), NotObserved, "no hour"),
            ("RoleBinding shop/lost", None, Unused, ""),
            ("RoleBinding shop/view", Some(0), CannotTell, ""),
            ("RoleBinding shop/view", Some(1), NotObserved, ""),
        ],
    );
    // One is asked about by its name, or by its role.
    let binding = Wanted { binding: Some(Id::new(Some("shop"), "nobody")), ..Wanted::default() };
    check(
        &world.verdicts(&binding, 24),
        &[
            ("RoleBinding shop/nobody", Some(0), Unused, "names nobody"),
            ("RoleBinding shop/nobody", Some(1), Unused, "names nobody"),
        ],
    );
    let role = Wanted { role: Some(Id::new(None, "metrics")), ..Wanted::default() };
    check(
        &world.verdicts(&role, 24),
        &[("ClusterRoleBinding scrape", Some(0), CannotTell, "other servers ask")],
    );
}

#[test]
fn what_the_log_does_not_say_is_not_guessed() {
    use Verdict::{CannotTell, Unused, Used};
    let mut world = World::new();
    // Without a reason, and as one who needs no binding.
    world.did("anna", &["system:authenticated"], "", &request("get", "configmaps", "shop"));
    let found = world.verdicts(&anna(), 24);
    let of = |binding: &str, rule: usize| {
        found.iter().find(|one| one.0 == binding && one.1 == Some(rule)).unwrap()
    };
    assert_eq!(of("RoleBinding shop/view", 0).2, Unused);
    assert_eq!(of("RoleBinding shop/view", 1).2, CannotTell);
    assert!(of("RoleBinding shop/view", 1).3.contains("does not say by which permission"));

    let mut world = World::new();
    world.did("anna", &["system:masters"], "", &request("get", "configmaps", "shop"));
    let found = world.verdicts(&anna(), 24);
    assert!(found.iter().any(|one| one.2 == CannotTell && one.3.contains("system:masters")));

    // In another namespace a RoleBinding gives nothing.
    let mut world = World::new();
    world.did("anna", &["system:authenticated"], "", &request("get", "configmaps", "dev"));
    assert!(world.verdicts(&anna(), 24).iter().all(|one| one.2 == Unused));

    // Of names only that of the role counts.
    for (name, verdict) in [("shop", Used), ("other", Unused)] {
        let mut world = World::new();
        let web = "system:serviceaccount:shop:web";
        let reason = r#"RBAC: allowed by RoleBinding \"config/shop\" of Role \"config\" to User \"system:serviceaccount:shop:web\""#;
        let own = Request { name: name.to_owned(), ..request("get", "configmaps", "shop") };
        world.did(web, &[], reason, &own);
        let wanted = Wanted { who: Who::parse("serviceaccount:shop/web"), ..Wanted::default() };
        let found = world.verdicts(&wanted, 24);
        if verdict == Unused {
            check(
                &found,
                &[
                    ("RoleBinding shop/config", None, Used, "does not allow it any more"),
                    ("RoleBinding shop/config", Some(0), verdict, ""),
                ],
            );
        } else {
            check(&found, &[("RoleBinding shop/config", Some(0), verdict, "")]);
        }
    }
}

#[test]
fn what_no_request_shows_is_never_unused() {
    use Verdict::{CannotTell, Unused, Used};
    const RBAC: &str = "rbac.authorization.k8s.io";
    let rules = [
        ("act", "impersonate", "", "users groups"),
        ("any", "*", "*", "*"),
        ("approve", "approve", "certificates.k8s.io", "signers"),
        ("bind", "bind escalate", RBAC, "clusterroles"),
        ("finalizers", "update", "apps", "deployments/finalizers"),
        ("metrics", "get", "", "nodes/metrics"),
        ("more", "get impersonate", "", "pods users"),
        ("nodes", "get", "", "nodes/*"),
        ("path", "get", "", "/metrics"),
        ("pods", "get", "", "pods"),
        ("policy", "use", "policy", "podsecuritypolicies"),
        ("proxy", "create", "", "nodes/proxy"),
        ("roles", "*", RBAC, "clusterroles"),
    ];
    let items = rules.map(|(name, verbs, group, resources)| {
        let [verbs, resources] = [verbs, resources].map(|words| words.split(' ').collect::<Vec<_>>());
        let head = |kind: &str| json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": name } });
        let (mut role, mut binding) = (head("ClusterRole"), head("ClusterRoleBinding"));
        role["rules"] = if resources[0].starts_with('/') {
            json!([{ "nonResourceURLs": resources, "verbs": verbs }])
        } else {
            json!([{ "apiGroups": [group], "resources": resources, "verbs": verbs }])
        };
        binding["roleRef"] = json!({ "apiGroup": RBAC, "kind": "ClusterRole", "name": name });
        binding["subjects"] = json!([{ "kind": "User", "name": "anna", "apiGroup": RBAC }]);
        [role, binding]
    });
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": items.concat() });
    let found = |world: &mut World, wanted: &Wanted| {
        let of = |(binding, _, verdict, why): (String, _, Verdict, String)| {
            (binding.replace("ClusterRoleBinding ", ""), verdict, why)
        };
        world.verdicts(wanted, 24).into_iter().map(of).collect::<Vec<_>>()
    };
    let told = |found: &[(String, Verdict, String)], verdict: Verdict| {
        let of = found.iter().filter(|one| one.1 == verdict).map(|one| one.0.as_str());
        of.collect::<Vec<_>>().join(" ")
    };
    for wanted in [anna(), Wanted::default()] {
        let mut quiet = World::of(&objects);
        let quiet = found(&mut quiet, &wanted);
        assert_eq!(
            told(&quiet, CannotTell),
            "act approve bind finalizers metrics more nodes path policy proxy",
            "{quiet:?}"
        );
        assert_eq!(told(&quiet, Unused), "any pods roles");
        assert!(quiet[3].2.contains("`bind`, `escalate`: asked besides"), "{quiet:?}");
        let why = ["owner", "kubelets ask", "asked besides", "kubelets ask", "other servers ask"];
        for (at, why) in (4..).zip(why) {
            assert!(quiet[at].2.contains(why), "{quiet:?}");
        }

        // Who acts as another may need what allows everything for it.
        let mut world = World::of(&objects);
        world.did_as("anna", "boss", "", &request("get", "secrets", "shop"));
        let acted = found(&mut world, &wanted);
        let expected = "act any approve bind finalizers metrics more nodes path policy proxy";
        assert_eq!(told(&acted, CannotTell), expected, "{acted:?}");
        assert!(acted[0].2.contains("anna acted as boss"), "{acted:?}");
        let mut world = World::of(&objects);
        world.did_as("carl", "boss", "", &request("get", "secrets", "shop"));
        assert_eq!(told(&found(&mut world, &wanted), Unused), "any pods roles");

        // So may who gives a role.
        let mut world = World::of(&objects);
        let give =
            Request { group: RBAC.to_owned(), ..request("create", "clusterrolebindings", "") };
        world.did("anna", &["system:masters"], "", &give);
        let gave = found(&mut world, &wanted);
        assert_eq!(told(&gave, Unused), "pods", "{gave:?}");
        assert!(gave[12].2.contains("for which `bind` may have been asked"), "{gave:?}");

        // What the log shows is used, whatever else the rule allows.
        let mut world = World::of(&objects);
        let reason = r#"RBAC: allowed by ClusterRoleBinding \"more\" of ClusterRole \"more\" to User \"anna\""#;
        world.did("anna", &[], reason, &request("get", "pods", "shop"));
        assert_eq!(told(&found(&mut world, &wanted), Used), "more");
    }
}

#[test]
fn changes_that_the_log_showed_count() {
    use Verdict::{CannotTell, Unused};
    let wanted = |binding: &str| Wanted {
        binding: Some(Id::new(Some("shop"), binding)),
        ..Wanted::default()
    };
    let subjects = json!([{ "kind": "User", "name": "anna" }]);
    let mut world = World::new();
    // A binding that was made, one that is gone, a role that was patched in each way.
    world.changed("create", "rolebindings", "", "shop", Some(json!({
        "metadata": { "name": "new" }, "roleRef": { "kind": "Role", "name": "config" }, "subjects": subjects })));
    world.changed("create", "rolebindings", "new", "shop", Some(json!({
        "metadata": { "name": "new" }, "roleRef": { "kind": "Role", "name": "config" }, "subjects": subjects })));
    world.changed("delete", "rolebindings", "lost", "shop", None);
    world.changed(
        "patch",
        "roles",
        "config",
        "shop",
        Some(json!({ "rules": [
        { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }] })),
    );
    world.changed(
        "patch",
        "roles",
        "config",
        "shop",
        Some(json!([
        { "op": "remove", "path": "/rules/0" }])),
    );
    let found = world.verdicts(&wanted("new"), 24);
    check(&found, &[("RoleBinding shop/new", Some(0), Unused, "")]);
    assert!(world.verdicts(&wanted("lost"), 24).is_empty());
    // A change without a body, and one that cannot be followed.
    for body in [None, Some(json!({ "rules": [{ "$patch": "delete" }] })), Some(json!("…"))] {
        let mut world = World::new();
        world.changed("patch", "roles", "config", "shop", body);
        let found = world.verdicts(&wanted("config"), 24);
        check(&found, &[("RoleBinding shop/config", Some(0), CannotTell, "root changed it")]);
    }
    // Only tried.
    let mut world = World::new();
    world.changed("deletecollection", "rolebindings", "", "shop", None);
    let found = world.verdicts(&wanted("config"), 24);
    check(&found, &[("RoleBinding shop/config", Some(0), CannotTell, "several were deleted")]);
}

#[test]
fn an_hour_counts_only_if_all_uses_of_it_are_known() {
    let start = EventTime::parse(START).unwrap();
    let at = |hour: u32| start.plus(HOUR * hour);
    let observed = |change: &dyn Fn(&mut ObservedBuilder)| {
        let mut builder = ObservedBuilder::new("");
        builder.add(&complete_hour("all"), start.minus(HOUR));
        for hour in 0..4 {
            builder.add(&complete_hour("all"), at(hour));
        }
        change(&mut builder);
        builder.finish(start, at(9))
    };
    let whole = observed(&|_| {});
    assert_eq!(
        (whole.hours(), whole.whole(true)),
        (4, 4),
        "hours that are not told yet are left out"
    );
    assert_eq!(whole.missing(None, true), None);
    let gap = |subject: &str, what: &str| Entry::new(EntryKind::Gap, subject, what);
    for (entry, hour, missing) in [
        (gap("ledger", "shed").fact("last", &at(2).rfc3339()), 1, "2 of 4 hours"),
        (gap("audit/3", "lost"), 2, "1 of 4 hours"),
        (gap("usage", "left_out"), 2, "4 of 4 hours"),
        (gap("usage", "late"), 2, "4 of 4 hours"),
        (
            Entry::new(EntryKind::Coverage, "", "degraded").count("dead_letters", 1),
            3,
            "1 of 4 hours",
        ),
        (
            Entry::new(EntryKind::Coverage, "", "degraded").count("cut", 1).fact("usage", "all"),
            3,
            "1 of 4 hours",
        ),
    ] {
        let found = observed(&|builder| builder.add(&entry, at(hour))).missing(None, false);
        assert!(
            found.as_ref().is_some_and(|found| found.starts_with(missing)),
            "{entry:?}: {found:?}"
        );
        let since = Some(at(hour));
        let later = observed(&|builder| builder.add(&entry, at(hour))).missing(since, false);
        assert!(later.is_some(), "{entry:?}");
    }
    // Of people only, or of nobody: machines' use is not known, or nobody's.
    for (mode, of_people, of_machines) in [
        (UsageMode::All, true, true),
        (UsageMode::People, true, false),
        (UsageMode::Off, false, false),
    ] {
        let mut builder = ObservedBuilder::new("");
        builder.add(&complete_hour("all"), start.minus(HOUR));
        (0..4).for_each(|hour| builder.add(&complete_hour(mode.as_str()), at(hour)));
        let found = builder.finish(start, at(4));
        assert_eq!(found.missing(None, false).is_none(), of_people, "{mode:?}");
        assert_eq!(found.missing(None, true).is_none(), of_machines, "{mode:?}");
    }
    // Nobody knows how much was seen of the hour in which somebody began to look.
    let mut builder = ObservedBuilder::new("");
    (0..4).for_each(|hour| builder.add(&complete_hour("all"), at(hour)));
    let found = builder.finish(start, at(4)).missing(None, false);
    assert!(found.is_some_and(|found| found.starts_with("1 of 4 hours")));
    // One that an earlier version told says nothing of usage.
    let mut builder = ObservedBuilder::new("");
    builder.add(&Entry::new(EntryKind::Coverage, "", "complete").count("events", 9), start);
    assert!(builder.finish(start, at(1)).missing(None, false).is_some());
}

fn of_binding(name: &str) -> Wanted {
    Wanted { binding: Some(Id::new(Some("shop"), name)), ..Wanted::default() }
}

fn by_binding(name: &str, role: &str) -> String {
    format!(r#"RBAC: allowed by RoleBinding \"{name}/shop\" of Role \"{role}\" to User \"anna\""#)
}

#[test]
fn a_service_account_without_a_namespace_is_of_that_of_the_binding() {
    let body = json!({
        "metadata": { "name": "own" }, "roleRef": { "kind": "Role", "name": "config" },
        "subjects": [{ "kind": "ServiceAccount", "name": "api" }] });
    let mut made = World::new();
    made.changed("create", "rolebindings", "own", "shop", Some(body.clone()));
    let mut brought = World::new();
    let mut list = cluster();
    let mut item = body;
    (item["kind"], item["metadata"]["namespace"]) = ("RoleBinding".into(), "shop".into());
    list["items"].as_array_mut().unwrap().push(item);
    let found = import("rbac.json", &list.to_string()).unwrap();
    brought.snapshot = rows_of(&found, brought.start, 1_000_000);
    for world in [&mut made, &mut brought] {
        let api = Wanted { who: Who::parse("serviceaccount:shop/api"), ..Wanted::default() };
        check(
            &world.verdicts(&api, 24),
            &[("RoleBinding shop/own", Some(0), Verdict::Unused, "all of the time")],
        );
        // Another binding allows the same account the same.
        let user = "system:serviceaccount:shop:api";
        let reason = r#"RBAC: allowed by ClusterRoleBinding \"all\" of ClusterRole \"all\" to ServiceAccount \"api/shop\""#;
        let request = Request { name: "shop".to_owned(), ..request("get", "configmaps", "shop") };
        world.did(user, &[], reason, &request);
        let found = world.verdicts(&of_binding("own"), 24);
        check(&found, &[("RoleBinding shop/own", Some(0), Verdict::CannotTell, "allows")]);
    }
}

#[test]
fn what_a_role_allowed_before_it_changed_was_used() {
    use Verdict::{CannotTell, Unused, Used};
    let subjects = json!([{ "kind": "User", "name": "anna" }]);
    let world = || {
        let mut world = World::new();
        for (binding, role) in [("one", "mine"), ("two", "new")] {
            let body = json!({ "metadata": { "name": binding },
                "roleRef": { "kind": "Role", "name": role }, "subjects": subjects });
            world.changed("create", "rolebindings", binding, "shop", Some(body));
        }
        let rule = json!({ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] });
        let body = json!({ "metadata": { "name": "mine" }, "rules": [rule] });
        world.changed("create", "roles", "mine", "shop", Some(body));
        world
    };
    let other = json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] });
    for (verb, body, note, unused) in [
        ("delete", None, "there is no Role shop/mine any more", None),
        ("update", Some(json!({ "rules": [] })), "the role does not allow it any more", None),
        ("update", Some(json!({ "rules": [other] })), "does not allow it any more", Some(0)),
    ] {
        let rest =
            |verdict, why| unused.map(|rule| ("RoleBinding shop/one", Some(rule), verdict, why));
        let mut used = world();
        let reason = by_binding("one", "mine");
        used.did("anna", &["system:authenticated"], &reason, &request("get", "pods", "shop"));
        used.changed(verb, "roles", "mine", "shop", body.clone());
        let mut expected = vec![("RoleBinding shop/one", None, Used, note)];
        expected.extend(rest(Unused, ""));
        check(&used.verdicts(&of_binding("one"), 24), &expected);
        let mut idle = world();
        idle.changed(verb, "roles", "mine", "shop", body);
        let expected =
            rest(Unused, "").unwrap_or(("RoleBinding shop/one", None, Unused, "gives nothing"));
        check(&idle.verdicts(&of_binding("one"), 24), &[expected]);
    }
    // A role that was made, and nobody knows as what.
    let mut unknown = world();
    check(
        &unknown.verdicts(&of_binding("two"), 24),
        &[("RoleBinding shop/two", None, Unused, "there is no Role shop/new")],
    );
    unknown.changed("create", "roles", "new", "shop", None);
    check(
        &unknown.verdicts(&of_binding("two"), 24),
        &[("RoleBinding shop/two", None, CannotTell, "root made it")],
    );
    let reason = by_binding("two", "new");
    unknown.did("anna", &["system:authenticated"], &reason, &request("get", "pods", "shop"));
    check(
        &unknown.verdicts(&of_binding("two"), 24),
        &[("RoleBinding shop/two", None, Used, "it is not known what it says")],
    );
}

#[test]
fn what_the_server_named_is_none_of_those_that_are_there() {
    let body = json!({ "metadata": { "generateName": "tmp-" },
        "roleRef": { "kind": "Role", "name": "config" },
        "subjects": [{ "kind": "User", "name": "bob" }] });
    for body in [None, Some(body)] {
        let mut world = World::new();
        world.changed("create", "rolebindings", "", "shop", body);
        let found = world.verdicts(&of_binding("config"), 24);
        check(&found, &[("RoleBinding shop/config", Some(0), Verdict::Unused, "")]);
        let reason = by_binding("tmp-x2x9p", "config");
        world.did("bob", &[], &reason, &request("get", "configmaps", "shop"));
        let found = world.verdicts(&of_binding("tmp-x2x9p"), 24);
        check(&found, &[("RoleBinding shop/tmp-x2x9p", None, Verdict::Used, "root made it on")]);
        let mut grants = GrantsBuilder::default();
        for row in &world.snapshot {
            grants.snapshot(row.entry().unwrap(), row.at());
        }
        world
            .recording
            .rows
            .iter()
            .filter_map(|row| row.access())
            .for_each(|one| grants.change(one));
        let grants = grants.finish();
        let strangers: Vec<&str> = grants.strangers().map(|(name, _)| name.as_str()).collect();
        assert_eq!(strangers, ["RoleBinding shop/(not named)"]);
    }
}
