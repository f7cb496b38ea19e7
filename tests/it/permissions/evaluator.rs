//! What RBAC allows, written from its documentation alone
//! (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/>): plain loops over objects as JSON.

use serde_json::Value;

/// Who asks, and for what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    pub(super) verb: String,
    pub(super) group: String,
    /// Empty for a path.
    pub(super) resource: String,
    pub(super) subresource: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) path: String,
}

/// "Permissions are purely additive (there are no deny rules)": whether any binding allows it.
pub(super) fn is_allowed(objects: &[Value], request: &Request) -> bool {
    objects.iter().any(|binding| {
        let kind = text(binding, "/kind");
        let namespace = text(binding, "/metadata/namespace");
        // "A RoleBinding grants permissions within a specific namespace whereas a ClusterRoleBinding grants
        // that access cluster-wide."
        let is_in_reach = match kind {
            "ClusterRoleBinding" => true,
            "RoleBinding" => !request.resource.is_empty() && namespace == request.namespace,
            _ => false,
        };
        is_in_reach
            && list(binding, "/subjects").iter().any(|subject| is_meant(subject, request))
            && role_of(objects, binding)
                .is_some_and(|role| list(role, "/rules").iter().any(|rule| allows(rule, request)))
    })
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts<'v>(value: &'v Value, pointer: &str) -> Vec<&'v str> {
    list(value, pointer).iter().filter_map(Value::as_str).collect()
}

fn is_meant(subject: &Value, request: &Request) -> bool {
    let name = text(subject, "/name");
    match text(subject, "/kind") {
        "User" => name == request.user,
        "Group" => request.groups.iter().any(|group| group == name),
        // "ServiceAccounts have names prefixed with system:serviceaccount:"
        "ServiceAccount" => {
            let namespace = text(subject, "/namespace");
            request.user == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

/// "A RoleBinding may reference any Role in the same namespace. Alternatively, a RoleBinding can reference a
/// ClusterRole."
fn role_of<'v>(objects: &'v [Value], binding: &Value) -> Option<&'v Value> {
    let kind = text(binding, "/roleRef/kind");
    objects.iter().find(|role| {
        text(role, "/kind") == kind
            && text(role, "/metadata/name") == text(binding, "/roleRef/name")
            && (kind == "ClusterRole"
                || text(role, "/metadata/namespace") == text(binding, "/metadata/namespace"))
    })
}

fn allows(rule: &Value, request: &Request) -> bool {
    let has = |pointer: &str, wanted: &str| {
        texts(rule, pointer).iter().any(|one| *one == "*" || *one == wanted)
    };
    if !has("/verbs", &request.verb) {
        return false;
    }
    if request.resource.is_empty() {
        // "'*' in a nonResourceURL is a suffix glob match"
        return texts(rule, "/nonResourceURLs").iter().any(|url| match url.strip_suffix('*') {
            Some(start) => request.path.starts_with(start),
            None => *url == request.path,
        });
    }
    // "use a slash (/) to delimit the resource and subresource"
    let resource = match request.subresource.as_str() {
        "" => request.resource.clone(),
        below => format!("{}/{below}", request.resource),
    };
    let names = texts(rule, "/resourceNames");
    has("/apiGroups", &request.group)
        && has("/resources", &resource)
        // "requests can be restricted to individual instances of a resource"; those without a name are not one.
        && (names.is_empty() || names.contains(&request.name.as_str()))
}

#[test]
fn it_says_what_the_documentation_says() {
    let objects = serde_json::json!([
        {"kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": [
            {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["my-configmap"], "verbs": ["get"]},
            {"nonResourceURLs": ["/healthz", "/healthz/*"], "verbs": ["get"]}]},
        {"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "dev"},
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "Group", "name": "devs"}]},
        {"kind": "ClusterRoleBinding", "metadata": {"name": "b"},
            "roleRef": {"kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}]},
    ]);
    let objects = objects.as_array().unwrap();
    let request = |user: &str, verb: &str, what: &str, namespace: &str, name: &str| {
        let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
        Request {
            user: user.to_owned(),
            groups: vec!["devs".to_owned()],
            verb: verb.to_owned(),
            group: String::new(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            path: String::new(),
        }
    };
    let web = "system:serviceaccount:shop:web";
    for (user, verb, what, namespace, name, expected) in [
        ("ann", "get", "pods", "dev", "p", true),
        ("ann", "get", "pods/log", "dev", "p", true),
        ("ann", "get", "pods/exec", "dev", "p", false),
        ("ann", "delete", "pods", "dev", "p", false),
        ("ann", "get", "pods", "prod", "p", false),
        ("ann", "list", "pods", "", "", false),
        ("ann", "get", "configmaps", "dev", "my-configmap", true),
        ("ann", "get", "configmaps", "dev", "other", false),
        (web, "list", "pods", "", "", true),
        (web, "get", "pods", "prod", "p", true),
    ] {
        let request = Request {
            groups: if user == web { Vec::new() } else { vec!["devs".to_owned()] },
            ..request(user, verb, what, namespace, name)
        };
        assert_eq!(is_allowed(objects, &request), expected, "{request:?}");
    }
    let path = |user: &str, path: &str| Request {
        path: path.to_owned(),
        groups: Vec::new(),
        ..request(user, "get", "", "", "")
    };
    assert!(is_allowed(objects, &path(web, "/healthz/etcd")));
    assert!(!is_allowed(objects, &path(web, "/metrics")));
    assert!(!is_allowed(objects, &path("ann", "/healthz")));
}
