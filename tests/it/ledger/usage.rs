//! Uses of permissions, and verdicts on grants, against plain loops over the events.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tripline::engine::{
    access::Permission,
    ledger::Row,
    permissions::{
        GrantsBuilder, ObservedBuilder, Uses, Verdict, Wanted, import, snapshot_entries, verdicts,
    },
    time::EventTime,
};

use super::{Recording, agreement::Seen};

/// Actor, verb, group, resource or path, subresource, namespace, and the permission in words.
type Key = (i64, [String; 7]);

/// Names of a day, as far as they are told, and whether there were more.
type Names = (BTreeSet<String>, bool);

impl Seen {
    fn is_allowed(&self) -> bool {
        self.text("/annotations/authorization.k8s.io~1decision") == "allow"
    }

    fn reason(&self) -> &str {
        self.text("/annotations/authorization.k8s.io~1reason")
    }

    /// `ClusterRoleBinding x > ClusterRole y > Group z`, `system:masters`, `system:nodes`, or nothing.
    fn permission(&self) -> String {
        let Some(rest) = self.reason().strip_prefix("RBAC: allowed by ") else {
            let groups = if self.text("/impersonatedUser/username").is_empty() {
                "/user/groups"
            } else {
                "/impersonatedUser/groups"
            };
            let groups = self.json.pointer(groups).and_then(Value::as_array);
            let is_in =
                |group: &str| groups.is_some_and(|groups| groups.iter().any(|one| one == group));
            let group = ["system:masters", "system:nodes"].into_iter().find(|group| is_in(group));
            return group.unwrap_or("").to_owned();
        };
        let parts: Vec<&str> = rest.split('"').collect();
        let [binding_kind, binding, of, role, to, subject, _] = parts.as_slice() else {
            panic!("{rest}")
        };
        // A namespace stands behind the name here, and before it there.
        let turned = |text: &str| match text.split_once('/') {
            Some((name, namespace)) => format!("{namespace}/{name}"),
            None => text.to_owned(),
        };
        let role_kind = of.replace(" of ", "").trim().to_owned();
        let namespace = binding.split_once('/').map_or("", |(_, namespace)| namespace);
        let role =
            if role_kind == "Role" { format!("{namespace}/{role}") } else { (*role).to_owned() };
        let subject_kind = to.replace(" to ", "").trim().to_owned();
        let subject =
            if subject_kind == "ServiceAccount" { turned(subject) } else { (*subject).to_owned() };
        format!(
            "{} {} > {role_kind} {role} > {subject_kind} {subject}",
            binding_kind.trim(),
            turned(binding)
        )
    }

    fn resource_or_path(&self) -> String {
        let resource = self.text("/objectRef/resource");
        if resource.is_empty() {
            self.text("/requestURI").split('?').next().unwrap().to_owned()
        } else {
            resource.to_owned()
        }
    }

    fn key(&self) -> Key {
        let part = |name: &str| self.text(&format!("/objectRef/{name}")).to_owned();
        let key = [
            self.actor(),
            self.text("/verb").to_owned(),
            part("apiGroup"),
            self.resource_or_path(),
            part("subresource"),
            part("namespace"),
            self.permission(),
        ];
        (day(self.at), key)
    }

    fn told_name(&self) -> Option<String> {
        let is_told = matches!(self.text("/verb"), "get" | "update" | "patch" | "delete")
            && !self.actor().starts_with("system:node:");
        let name = self.text("/objectRef/name");
        (is_told && !name.is_empty()).then(|| name.to_owned())
    }
}

fn day(at: EventTime) -> i64 {
    at.micros().div_euclid(86_400_000_000)
}

fn text(text: Option<&Arc<str>>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

fn said(rows: &[Arc<Row>]) -> BTreeMap<Key, (Names, usize)> {
    let mut said: BTreeMap<Key, (Names, usize)> = BTreeMap::new();
    for usage in rows.iter().filter_map(|row| row.usage()) {
        let object = usage.object.as_ref();
        let permission = match &usage.permission {
            None => String::new(),
            Some(Permission::Masters) => "system:masters".to_owned(),
            Some(Permission::Node) => "system:nodes".to_owned(),
            Some(Permission::Binding { binding, role, subject }) => {
                format!("{binding} > {role} > {subject}")
            }
        };
        let resource = object.map(|object| object.resource.to_string());
        let key = [
            text(usage.actor.id.as_ref()),
            usage.verb.to_string(),
            text(object.and_then(|object| object.group.as_ref())),
            resource.unwrap_or_else(|| text(usage.path.as_ref())),
            text(object.and_then(|object| object.subresource.as_ref())),
            text(object.and_then(|object| object.namespace.as_ref())),
            permission,
        ];
        let ((names, has_more), rows) = said.entry((day(usage.at), key)).or_default();
        names.extend(usage.name().map(ToString::to_string));
        *has_more |= usage.has_more_names;
        *rows += 1;
    }
    said
}

/// Each allowed request of a new kind is one row, with up to four names; returns how many rows there are.
pub(super) fn check_rows(seed: u64, seen: &[Seen], recording: &Recording) -> usize {
    let mut naive: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    for event in seen.iter().filter(|event| event.is_allowed()) {
        naive.entry(event.key()).or_default().extend(event.told_name());
    }
    let said = said(&recording.rows);
    let keys: Vec<&Key> = naive.keys().collect();
    assert_eq!(said.keys().collect::<Vec<_>>(), keys, "seed {seed}");
    let mut count = 0;
    for (key, names) in &naive {
        let ((told, has_more), rows) = &said[key];
        assert_eq!(*has_more, names.len() > 4, "seed {seed}: {key:?}");
        assert!(told.is_subset(names), "seed {seed}: {key:?}");
        assert_eq!(told.len(), names.len().min(4), "seed {seed}: {key:?}");
        assert_eq!(*rows, told.len().max(1) + usize::from(*has_more), "seed {seed}: {key:?}");
        count += rows;
    }
    count
}

const RULES: [(&[&str], &str, &str); 3] = [
    (&["get", "list", "watch"], "*", "*"),
    (&["create", "update", "patch", "delete"], "*", "*"),
    (&["get", "update"], "", "secrets"),
];

/// For each binding that the log names, and one that it does not: which rules were used, and when last.
pub(super) fn check_verdicts(seed: u64, seen: &[Seen], recording: &Recording) -> usize {
    let allowed: Vec<&Seen> = seen.iter().filter(|event| event.is_allowed()).collect();
    let bindings: BTreeSet<String> = allowed
        .iter()
        .map(|event| event.permission())
        .filter(|permission| permission.contains(" > "))
        .chain(["ClusterRoleBinding idle > ClusterRole idle > User nobody".to_owned()])
        .collect();
    let grants = grants_of(&bindings, allowed[0].at.minus(Duration::from_secs(86_400)));
    let mut uses = Uses::default();
    recording.rows.iter().filter_map(|row| row.usage()).for_each(|usage| uses.add(usage));
    let observed = ObservedBuilder::new("").finish(EventTime::epoch(), EventTime::epoch());
    let found = verdicts(&grants.finish(), &uses, &observed, &Wanted::default());
    let mut naive: BTreeSet<(String, usize, i64)> = BTreeSet::new();
    let mut last: BTreeMap<(String, usize), i64> = BTreeMap::new();
    for event in &allowed {
        let permission = event.permission();
        let Some((binding, _)) = permission.split_once(" > ") else { continue };
        let namespace =
            binding.split_once(' ').unwrap().1.split_once('/').map(|(namespace, _)| namespace);
        let is_in_reach =
            namespace.is_none_or(|namespace| namespace == event.text("/objectRef/namespace"));
        let rule = RULES.iter().position(|(verbs, group, resource)| {
            verbs.contains(&event.text("/verb"))
                && !event.text("/objectRef/resource").is_empty()
                && (*group == "*" || *group == event.text("/objectRef/apiGroup"))
                && (*resource == "*"
                    || *resource == event.text("/objectRef/resource")
                        && event.text("/objectRef/subresource").is_empty())
        });
        if let Some(rule) = rule.filter(|_| is_in_reach) {
            let latest = last.entry((binding.to_owned(), rule)).or_insert(i64::MIN);
            *latest = (*latest).max(day(event.at));
        }
    }
    naive.extend(last.into_iter().map(|((binding, rule), day)| (binding, rule, day)));
    let used: BTreeSet<(String, usize, i64)> = found
        .iter()
        .filter(|one| one.verdict == Verdict::Used)
        // What no rule of today allows was used by what the role said before.
        .filter_map(|one| Some((one.binding.binding(), one.rule_index?, day(one.last.unwrap()))))
        .collect();
    assert_eq!(used, naive, "seed {seed}");
    // Nobody looked, so nothing is unused; the third rule is hidden by the first two.
    assert!(found.iter().all(|one| one.verdict != Verdict::Unused), "seed {seed}");
    let third = |one: &tripline::engine::permissions::GrantVerdict| one.rule_index == Some(2);
    assert!(found.iter().filter(|one| third(one)).all(|one| one.verdict != Verdict::Used));
    used.len()
}

/// A snapshot in which each of the bindings gives the same three rules.
fn grants_of(bindings: &BTreeSet<String>, taken: EventTime) -> GrantsBuilder {
    let mut items: BTreeMap<String, Value> = BTreeMap::new();
    for permission in bindings {
        let parts: Vec<&str> = permission.split(" > ").collect();
        let split = |text: &str| {
            let (kind, name) = text.split_once(' ').unwrap();
            let (namespace, name) = match (kind, name.split_once('/')) {
                ("ClusterRole" | "ClusterRoleBinding" | "User" | "Group", _) | (_, None) => {
                    (None, name)
                }
                (_, Some((namespace, name))) => (Some(namespace.to_owned()), name),
            };
            (kind.to_owned(), namespace, name.to_owned())
        };
        let (kind, namespace, name) = split(parts[0]);
        let (role_kind, _, role_name) = split(parts[1]);
        let (subject_kind, subject_namespace, subject) = split(parts[2]);
        let rules: Vec<Value> = RULES
            .iter()
            .map(|(verbs, group, resource)| {
                json!({ "verbs": verbs, "apiGroups": [group], "resources": [resource] })
            })
            .collect();
        let role_namespace = namespace.clone().filter(|_| role_kind == "Role");
        items.insert(
            format!("{role_kind}/{role_namespace:?}/{role_name}"),
            json!({ "kind": role_kind, "rules": rules,
                "metadata": { "name": role_name, "namespace": role_namespace } }),
        );
        let binding = items.entry(format!("{kind}/{namespace:?}/{name}")).or_insert_with(|| {
            json!({ "kind": kind, "metadata": { "name": name, "namespace": namespace },
                "roleRef": { "kind": role_kind, "name": role_name }, "subjects": [] })
        });
        binding["subjects"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "kind": subject_kind, "name": subject, "namespace": subject_namespace }));
    }
    let list = json!({ "kind": "List", "items": items.into_values().collect::<Vec<_>>() });
    let found = import("rbac.json", &list.to_string()).unwrap();
    let mut builder = GrantsBuilder::default();
    for entry in snapshot_entries("", "test", taken, &found).unwrap() {
        builder.snapshot(&entry, taken);
    }
    builder
}
