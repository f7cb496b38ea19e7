//! Lists of roles and bindings: whole ones, and what is none.

use serde_json::{Value, json};
use tripline::engine::{
    ledger::{Entry, Row},
    permissions::{Imported, import, snapshot_entries},
    time::{EventTime, WallTime},
};

/// A small cluster.
pub(crate) fn cluster() -> Value {
    let role = |kind: &str, namespace: Option<&str>, name: &str, rules: Value| {
        let mut metadata = json!({ "name": name, "creationTimestamp": "2026-01-01T00:00:00Z" });
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace.into();
        }
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules })
    };
    let binding =
        |kind: &str, namespace: Option<&str>, name: &str, role: (&str, &str), subjects: Value| {
            let mut object = role_ref(kind, name, role, subjects);
            if let Some(namespace) = namespace {
                object["metadata"]["namespace"] = namespace.into();
            }
            object
        };
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        role("ClusterRole", None, "view", json!([
            {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}])),
        role("ClusterRole", None, "metrics", json!([
            {"nonResourceURLs": ["/metrics", "/healthz/*"], "verbs": ["get"]}])),
        role("ClusterRole", None, "everything", json!([
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])),
        {"kind": "ClusterRole", "metadata": {"name": "sum", "labels": {"x": "y"}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}, "rules": null},
        role("Role", Some("shop"), "config", json!([
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["shop"], "verbs": ["get", "update"]}])),
        binding("ClusterRoleBinding", None, "viewers", ("ClusterRole", "view"), json!([
            {"kind": "Group", "name": "readers", "apiGroup": "rbac.authorization.k8s.io"}])),
        binding("ClusterRoleBinding", None, "scrape", ("ClusterRole", "metrics"), json!([
            {"kind": "ServiceAccount", "name": "prometheus", "namespace": "monitoring"}])),
        binding("RoleBinding", Some("shop"), "view", ("ClusterRole", "view"), json!([
            {"kind": "User", "name": "anna"}])),
        binding("RoleBinding", Some("shop"), "config", ("Role", "config"), json!([
            {"kind": "User", "name": "system:serviceaccount:shop:web"}])),
        binding("RoleBinding", Some("shop"), "lost", ("Role", "gone"), json!([{"kind": "User", "name": "anna"}])),
        binding("RoleBinding", Some("shop"), "nobody", ("ClusterRole", "view"), Value::Null),
    ]})
}

fn role_ref(kind: &str, name: &str, role: (&str, &str), subjects: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": { "name": name, "creationTimestamp": "2026-01-01T00:00:00Z" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1 },
        "subjects": subjects,
    })
}

#[test]
fn a_whole_list_is_taken_as_json_and_as_yaml() {
    let text = cluster().to_string();
    let found = import("rbac.json", &text).unwrap();
    assert_eq!(found.counts(), [5, 6, 0]);
    // Each document of a stream is an object, or a list.
    let items = cluster()["items"].as_array().unwrap().clone();
    let mut yaml = String::new();
    for item in &items {
        // Flow style is YAML, too; it only must not begin like JSON.
        let (kind, lines) = (&item["kind"], serde_json::to_string_pretty(item).unwrap());
        yaml += &format!("---\n# {kind}\n{lines}\n");
    }
    assert_eq!(import("rbac.yaml", &yaml).unwrap(), found);
    assert_eq!(import("rbac.json", &found.list().to_string()).unwrap(), found);
    let mut turned = items.clone();
    turned.reverse();
    let turned = json!({ "kind": "List", "items": turned }).to_string();
    assert_eq!(import("rbac.json", &turned).unwrap(), found, "the order says nothing");
}

#[test]
fn what_is_no_list_is_refused_with_place_and_hint() {
    let whole = cluster();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value = whole.clone();
        change(&mut value);
        value.to_string()
    };
    let text = serde_json::to_string_pretty(&whole).unwrap();
    let half = text[..text.len() / 2].to_owned();
    let pod = changed(&|value| {
        value["items"][2] =
            json!({ "kind": "Pod", "metadata": { "name": "web-0", "namespace": "a" } });
    });
    for (text, place, what, hint) in [
        (String::new(), "rbac.json", "empty", "kubectl get clusterroles"),
        (half, "rbac.json:", "cut off", "make it again"),
        ("{\"kind\": \"List\" \"items\": []}".to_owned(), "rbac.json:1:", "no JSON", "kubectl get"),
        ("a: [1\nb: 2".to_owned(), "rbac.json", "neither JSON nor YAML", "kubectl get"),
        ("just words".to_owned(), "kind", "no list of objects", "kubectl get"),
        (
            json!({ "kind": "Secret", "metadata": {"name": "x"} }).to_string(),
            "kind",
            "a Secret",
            "kubectl get",
        ),
        (json!({ "kind": "List", "items": {} }).to_string(), "items", "no list", "kubectl get"),
        (
            json!({ "kind": "List", "items": [] }).to_string(),
            "items",
            "nothing in the list",
            "allowed to list",
        ),
        (pod, "items[2].kind", "`web-0` is a Pod", "kubectl get"),
        (
            changed(&|v| v["items"][2]["kind"] = "ClusterRoles".into()),
            "items[2].kind",
            "ClusterRoles",
            "did you mean ClusterRole?",
        ),
        (
            changed(&|v| v["items"][2]["metadata"] = json!({})),
            "items[2].metadata.name",
            "no name",
            "again",
        ),
        (
            changed(&|v| v["items"][4]["metadata"]["namespace"] = Value::Null),
            "items[4].metadata.namespace",
            "`config` has no namespace",
            "-A",
        ),
    ] {
        refuses(&text, (place, what, hint));
    }
}

/// Says where a list is wrong, how, and what to do.
fn refuses(text: &str, (place, what, hint): (&str, &str, &str)) {
    let mistake = import("rbac.json", text).expect_err(place);
    assert!(
        mistake.place.starts_with(place)
            && mistake.what.contains(what)
            && mistake.hint.contains(hint),
        "{mistake}"
    );
}

#[test]
fn what_is_wrong_in_a_role_or_a_binding_is_refused_with_place_and_hint() {
    let whole = cluster();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value = whole.clone();
        change(&mut value);
        value.to_string()
    };
    for (text, place, what, hint) in [
        (changed(&|v| v["items"][0]["rules"] = "all".into()), "items[0].rules", "no list", "again"),
        (
            changed(&|v| v["items"][0]["rules"][1] = "all".into()),
            "items[0].rules[1]",
            "a mapping",
            "again",
        ),
        (
            changed(&|v| v["items"][0]["rules"][1]["verbs"] = json!(["get", 7])),
            "items[0].rules[1].verbs[1]",
            "no text",
            "again",
        ),
        (
            changed(&|v| v["items"][0]["rules"][1]["verbs"] = json!([])),
            "items[0].rules[1].verbs",
            "no verbs",
            "again",
        ),
        (
            changed(&|v| v["items"][5]["roleRef"] = Value::Null),
            "items[5].roleRef",
            "names no role",
            "again",
        ),
        (
            changed(&|v| v["items"][5]["roleRef"]["kind"] = "Role".into()),
            "items[5].roleRef.kind",
            "cannot be",
            "Role or ClusterRole",
        ),
        (
            changed(&|v| v["items"][5]["subjects"][0]["kind"] = "Robot".into()),
            "items[5].subjects[0].kind",
            "`Robot`",
            "User, Group or ServiceAccount",
        ),
        (
            changed(&|v| {
                let one = v["items"][0].clone();
                v["items"][1] = one;
            }),
            "items[1]",
            "ClusterRole view is there twice",
            "once",
        ),
        (
            changed(&|v| v["items"] = v["items"].as_array().unwrap()[..5].into()),
            "rbac.json",
            "no ClusterRoleBinding",
            "print all of it",
        ),
        (
            changed(&|v| v["items"] = v["items"].as_array().unwrap()[4..].into()),
            "rbac.json",
            "no ClusterRole ",
            "print all of it",
        ),
    ] {
        refuses(&text, (place, what, hint));
    }
}

/// What the ledger keeps of a list.
pub(super) fn rows_of(found: &Imported, taken: EventTime, first_id: u64) -> Vec<Row> {
    let entries = snapshot_entries("", "ann", taken, found).unwrap();
    let row = |(id, entry): (u64, Entry)| Row {
        id,
        recorded: WallTime::from_micros(taken.micros()),
        content: tripline::engine::ledger::Content::Entry(Box::new(entry)),
    };
    (first_id..).zip(entries).map(row).collect()
}

#[test]
fn a_large_list_is_cut_into_rows_and_put_together_again() {
    let mut value = cluster();
    let items = value["items"].as_array_mut().unwrap();
    for number in 0..3_000 {
        items.push(json!({ "kind": "Role", "metadata": { "name": format!("r{number}"), "namespace": "n" },
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"] }] }));
    }
    let found = import("rbac.json", &value.to_string()).unwrap();
    let rows = rows_of(&found, EventTime::from_micros(1), 1);
    assert!(rows.len() > 3, "{} rows", rows.len());
    assert!(rows.iter().all(|row| row.line().len() < 80 << 10));
    let grants = |rows: &[Row]| {
        let mut builder = tripline::engine::permissions::GrantsBuilder::default();
        for row in rows {
            builder.snapshot(row.entry().unwrap(), row.at());
        }
        builder.finish()
    };
    assert_eq!(grants(&rows).counts(), [3_005, 6]);
    // A part that is missing, or another one, is no snapshot.
    let mut broken = rows.clone();
    broken.remove(1);
    assert_eq!(grants(&broken).taken, None);
    let mut broken = rows;
    broken.swap(1, 2);
    assert_eq!(grants(&broken).taken, None);
}
