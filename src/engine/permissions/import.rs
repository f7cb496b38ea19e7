//! Roles and bindings from what `kubectl get … -o json` prints, or the same as YAML.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

use super::rbac::{Binding, Id, Object, PolicyRule, Role, Subject, SubjectKind};
use crate::engine::{
    diagnostic::{SourceText, nearest},
    kubernetes::users::SERVICE_ACCOUNT_PREFIX,
    limits::{RBAC_FILE_BYTES_MAX, RBAC_OBJECTS_MAX},
    text::printable,
    yaml::{Node, parse_bounded},
};

/// The command whose output is wanted.
const COMMAND: &str = "kubectl get clusterroles,clusterrolebindings,roles,rolebindings -A -o json";

const KINDS: [&str; 5] =
    ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"];

/// What is wrong with a file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportMistake {
    /// `items[3].rules[0].verbs`, or a line and a column.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for ImportMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = printable(&self.place);
        write!(f, "{place}: {}; {}", printable(&self.what), printable(&self.hint))
    }
}

impl std::error::Error for ImportMistake {}

/// What was in a file, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Roles, bindings and service accounts, each once.
    pub objects: Vec<Object>,
}

impl Imported {
    /// How many there are: roles, bindings, service accounts.
    pub fn counts(&self) -> [usize; 3] {
        let count = |is: fn(&Object) -> bool| self.objects.iter().filter(|one| is(one)).count();
        [
            count(|one| matches!(one, Object::Role { .. })),
            count(|one| matches!(one, Object::Binding { .. })),
            count(|one| matches!(one, Object::ServiceAccount { .. })),
        ]
    }
}

impl Imported {
    /// The same as a list of objects, without what nobody needs of them.
    pub fn list(&self) -> Value {
        let items: Vec<Value> = self.objects.iter().map(item_of).collect();
        json!({ "kind": "List", "items": items })
    }
}

fn item_of(object: &Object) -> Value {
    let metadata = |id: &Id, created: Option<&String>| json!({ "name": id.name, "namespace": id.namespace, "creationTimestamp": created });
    let cluster = |id: &Id| if id.namespace.is_none() { "Cluster" } else { "" };
    match object {
        Object::Role { id, role } => {
            let mut metadata = metadata(id, role.created.as_ref());
            if let Some(members) = metadata.as_object_mut() {
                members.insert("labels".to_owned(), json!(role.labels));
            }
            let rule = role.is_aggregated.then(|| json!({}));
            let kind = format!("{}Role", cluster(id));
            json!({ "kind": kind, "metadata": metadata, "rules": role.rules, "aggregationRule": rule })
        }
        Object::Binding { id, binding } => {
            let role = &binding.role;
            let role = json!({ "kind": format!("{}Role", cluster(role)), "name": role.name });
            json!({
                "kind": format!("{}RoleBinding", cluster(id)),
                "metadata": metadata(id, binding.created.as_ref()),
                "roleRef": role, "subjects": binding.subjects,
            })
        }
        Object::ServiceAccount { id } => {
            json!({ "kind": "ServiceAccount", "metadata": metadata(id, None) })
        }
    }
}

type Outcome<T> = Result<T, ImportMistake>;

fn mistake<T>(place: &str, what: impl Into<String>, hint: impl Into<String>) -> Outcome<T> {
    Err(ImportMistake { place: place.to_owned(), what: what.into(), hint: hint.into() })
}

/// Reads a file. Cost: its length.
///
/// # Errors
/// It is no list of objects of RBAC, or only a part of one. Nothing of it is taken then.
pub fn import(name: &str, text: &str) -> Outcome<Imported> {
    if text.len() > RBAC_FILE_BYTES_MAX {
        let what =
            format!("it has {} bytes, and at most {RBAC_FILE_BYTES_MAX} are read", text.len());
        return mistake(name, what, "leave out what are no roles and bindings");
    }
    let documents = documents(name, text)?;
    let mut objects: BTreeMap<(u8, Id), Object> = BTreeMap::new();
    for (place, kind, value) in items(&documents)? {
        let object = object(&place, &kind, value)?;
        if objects.len() >= RBAC_OBJECTS_MAX {
            let what = format!("there are more than {RBAC_OBJECTS_MAX} objects");
            return mistake(&place, what, "no cluster has so many; what is it?");
        }
        if let Some(twice) = objects.insert(key_of(&object), object) {
            let what = format!("{} is there twice", name_of(&twice));
            return mistake(&place, what, format!("print the list once: {COMMAND}"));
        }
    }
    let imported = Imported { objects: objects.into_values().collect() };
    whole(name, &imported)?;
    Ok(imported)
}

/// Every cluster has roles and bindings of its own; a list without some is a part of one.
fn whole(name: &str, imported: &Imported) -> Outcome<()> {
    let has = |is: &dyn Fn(&Object) -> bool| imported.objects.iter().any(is);
    let missing = [
        (
            "ClusterRole",
            has(&|one| matches!(one, Object::Role { id, .. } if id.namespace.is_none())),
        ),
        (
            "ClusterRoleBinding",
            has(&|one| matches!(one, Object::Binding { id, .. } if id.namespace.is_none())),
        ),
    ];
    match missing.iter().find(|(_, is_there)| !is_there) {
        Some((kind, _)) => {
            let what = format!(
                "there is no {kind} in it, and every cluster has some: it is a part of the list"
            );
            mistake(name, what, format!("print all of it: {COMMAND}"))
        }
        None => Ok(()),
    }
}

fn documents(name: &str, text: &str) -> Outcome<Vec<Value>> {
    let begins = text.trim_start_matches('\u{feff}').trim_start();
    if begins.is_empty() {
        return mistake(name, "the file is empty", format!("fill it: {COMMAND} > {name}"));
    }
    if begins.starts_with(['{', '[']) {
        return match serde_json::from_str(begins) {
            Ok(value) => Ok(vec![value]),
            Err(error) => {
                // Lines before the text have nothing in them.
                let skipped = text.get(..text.len() - begins.len()).unwrap_or("");
                let line = error.line() + skipped.matches('\n').count();
                let place = format!("{name}:{line}:{}", error.column());
                if error.is_eof() {
                    let what = "it ends in the middle of the list: it was cut off";
                    mistake(&place, what, format!("make it again: {COMMAND} > {name}"))
                } else {
                    let what = format!("it is no JSON: {error}");
                    mistake(&place, what, format!("it is to be what this prints: {COMMAND}"))
                }
            }
        };
    }
    let source = SourceText::new(name, begins);
    match parse_bounded(&source, RBAC_FILE_BYTES_MAX) {
        Ok(nodes) => Ok(nodes.iter().map(Node::json).collect()),
        Err(diagnostic) => {
            let line = diagnostic.one_line();
            mistake(
                name,
                format!("it is neither JSON nor YAML: {line}"),
                format!("make it so: {COMMAND} > {name}"),
            )
        }
    }
}

/// Objects with where they stand and of which kind they are. A list of one kind does not repeat it.
fn items(documents: &[Value]) -> Outcome<Vec<(String, String, &Value)>> {
    let mut found = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        let kind = document.get("kind").and_then(Value::as_str).unwrap_or("");
        let root =
            if documents.len() > 1 { format!("document {}: ", number + 1) } else { String::new() };
        let Some(items) = document.get("items") else {
            if KINDS.contains(&kind) {
                found.push((root.trim_end_matches(": ").to_owned(), kind.to_owned(), document));
                continue;
            }
            let what = match kind {
                "" => "it is no list of objects".to_owned(),
                kind => format!("it is a {kind}, and no list of roles and bindings"),
            };
            let place = if root.is_empty() { "kind" } else { root.trim_end_matches(": ") };
            return mistake(place, what, format!("it is to be what this prints: {COMMAND}"));
        };
        let Some(items) = items.as_array() else {
            return mistake(
                &format!("{root}items"),
                "it is no list",
                format!("it is to be what this prints: {COMMAND}"),
            );
        };
        let of_list = kind.strip_suffix("List").unwrap_or("");
        for (index, item) in items.iter().enumerate() {
            let kind = item.get("kind").and_then(Value::as_str).unwrap_or(of_list);
            found.push((format!("{root}items[{index}]"), kind.to_owned(), item));
        }
    }
    if found.is_empty() {
        return mistake(
            "items",
            "there is nothing in the list",
            format!(
                "who prints it must be allowed to list roles and bindings of the whole cluster: {COMMAND}"
            ),
        );
    }
    Ok(found)
}

/// One object of RBAC.
pub(super) fn object(place: &str, kind: &str, value: &Value) -> Outcome<Object> {
    let metadata = format!("{place}.metadata");
    let Some(name) = value.pointer("/metadata/name").and_then(Value::as_str) else {
        return mistake(
            &format!("{metadata}.name"),
            "the object has no name",
            "print the list again",
        );
    };
    let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str);
    let is_of_namespace = matches!(kind, "Role" | "RoleBinding" | "ServiceAccount");
    if is_of_namespace && namespace.is_none_or(str::is_empty) {
        let what = format!("the {kind} `{name}` has no namespace");
        return mistake(&format!("{metadata}.namespace"), what, "print the list with `-A -o json`");
    }
    let id = Id::new(namespace.filter(|_| is_of_namespace), name);
    let created = value.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
    let created = created.map(str::to_owned);
    match kind {
        "Role" | "ClusterRole" => {
            let role = role(place, value, created)?;
            Ok(Object::Role { id, role })
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let binding = binding(place, &id, value, created)?;
            Ok(Object::Binding { id, binding })
        }
        "ServiceAccount" => Ok(Object::ServiceAccount { id }),
        other => {
            let what = match other {
                "" => "the object does not say what kind it is".to_owned(),
                other => format!("`{name}` is a {other}, which is no role and no binding"),
            };
            let hint = nearest(other, KINDS).map_or_else(
                || format!("print these alone: {COMMAND}"),
                |near| format!("did you mean {near}?"),
            );
            mistake(&format!("{place}.kind"), what, hint)
        }
    }
}

fn role(place: &str, value: &Value, created: Option<String>) -> Outcome<Role> {
    let mut rules = Vec::new();
    let listed = list(place, value, "rules")?;
    for (index, rule) in listed.iter().enumerate() {
        rules.push(policy_rule(&format!("{place}.rules[{index}]"), rule)?);
    }
    let labels = value.pointer("/metadata/labels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    let labels =
        labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    let is_aggregated = value.get("aggregationRule").is_some_and(|rule| !rule.is_null());
    Ok(Role { rules, labels, is_aggregated, created })
}

fn policy_rule(place: &str, value: &Value) -> Outcome<PolicyRule> {
    if !value.is_object() {
        return mistake(place, "a rule is a mapping of lists", "print the list again");
    }
    let rule = PolicyRule {
        verbs: texts(place, value, "verbs")?,
        api_groups: texts(place, value, "apiGroups")?,
        resources: texts(place, value, "resources")?,
        resource_names: texts(place, value, "resourceNames")?,
        non_resource_urls: texts(place, value, "nonResourceURLs")?,
    };
    if rule.verbs.is_empty() {
        let what = "the rule has no verbs, which the API server takes from nobody";
        return mistake(&format!("{place}.verbs"), what, "print the list again");
    }
    Ok(rule)
}

fn binding(place: &str, id: &Id, value: &Value, created: Option<String>) -> Outcome<Binding> {
    let text = |key: &str| value.pointer(&format!("/roleRef/{key}")).and_then(Value::as_str);
    let (Some(kind), Some(name)) = (text("kind"), text("name")) else {
        let what = format!("{} names no role", id.binding());
        return mistake(&format!("{place}.roleRef"), what, "print the list again");
    };
    let role = match kind {
        "Role" if id.namespace.is_some() => Id::new(id.namespace.as_deref(), name),
        "ClusterRole" => Id::new(None, name),
        other => {
            let what = format!("{} gives a {other}, which cannot be", id.binding());
            return mistake(&format!("{place}.roleRef.kind"), what, "it is Role or ClusterRole");
        }
    };
    let mut subjects = Vec::new();
    for (index, one) in list(place, value, "subjects")?.iter().enumerate() {
        subjects.push(subject(&format!("{place}.subjects[{index}]"), one)?);
    }
    Ok(Binding { role, subjects, created })
}

fn subject(place: &str, value: &Value) -> Outcome<Subject> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let (Some(kind), Some(name)) = (text("kind"), text("name")) else {
        return mistake(place, "a subject has a kind and a name", "print the list again");
    };
    let Some(kind) = SubjectKind::parse(kind) else {
        let what = format!("there are no subjects of kind `{kind}`");
        let hint = "they are User, Group or ServiceAccount";
        return mistake(&format!("{place}.kind"), what, hint);
    };
    let account = name.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
    // A service account may be named as the user that it is.
    if let (SubjectKind::User, Some((namespace, name))) = (kind, account) {
        return Ok(Subject {
            kind: SubjectKind::ServiceAccount,
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        });
    }
    let namespace = text("namespace").filter(|_| kind == SubjectKind::ServiceAccount);
    Ok(Subject { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() })
}

/// A list, empty if it is not there.
fn list<'v>(place: &str, value: &'v Value, key: &str) -> Outcome<&'v [Value]> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => mistake(&format!("{place}.{key}"), "it is no list", "print the list again"),
    }
}

fn texts(place: &str, value: &Value, key: &str) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for (index, item) in list(place, value, key)?.iter().enumerate() {
        let Some(text) = item.as_str() else {
            let place = format!("{place}.{key}[{index}]");
            return mistake(&place, "it is no text", "print the list again");
        };
        found.push(text.to_owned());
    }
    Ok(found)
}

/// By which objects are in order, and each there once.
pub(super) fn key_of(object: &Object) -> (u8, Id) {
    match object {
        Object::Role { id, .. } => (0, id.clone()),
        Object::Binding { id, .. } => (1, id.clone()),
        Object::ServiceAccount { id } => (2, id.clone()),
    }
}

fn name_of(object: &Object) -> String {
    match object {
        Object::Role { id, .. } => id.role(),
        Object::Binding { id, .. } => id.binding(),
        Object::ServiceAccount { id } => {
            format!("ServiceAccount {}/{}", id.namespace.as_deref().unwrap_or(""), id.name)
        }
    }
}
