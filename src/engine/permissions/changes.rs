//! What a change of a role or binding made of it, from the body that the log has of the request.
//!
//! Lists of rules and subjects are replaced as a whole by every sort of patch (they are atomic, says the API of
//! RBAC), so a patch of any sort that is no JSON Patch is merged alike. What cannot be followed is not guessed:
//! the object is unknown from then on.

use serde_json::{Map, Value};

use super::{
    import::object,
    rbac::{Id, Object},
};
use crate::engine::access::{Access, Outcome, shown_actor};

/// How something is called that was made and that the log does not name: no object can have this name.
pub(super) const NOT_NAMED: &str = "(not named)";

/// What became of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// It is so now.
    Is(Box<Object>),
    /// It is gone.
    Gone(Target),
    /// It was changed, and nobody knows to what.
    Unknown(Target, String),
    /// All of a kind and namespace may be gone.
    AllUnknown(Target, String),
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Or else a binding.
    pub(super) is_role: bool,
    pub(super) id: Id,
}

/// What an access changed; `None` if it changed no role and no binding. `known` gives an object as it was.
pub(super) fn change_of(
    access: &Access,
    known: impl Fn(&Target) -> Option<Value>,
) -> Option<Change> {
    let asked = access.object.as_ref()?;
    if asked.group.as_deref() != Some("rbac.authorization.k8s.io")
        || asked.subresource.is_some()
        || access.outcome != Some(Outcome::Success)
        || access.detail.dry_run
    {
        return None;
    }
    let kind = match &*asked.resource {
        "roles" => "Role",
        "clusterroles" => "ClusterRole",
        "rolebindings" => "RoleBinding",
        "clusterrolebindings" => "ClusterRoleBinding",
        _ => return None,
    };
    let verb = access.verb.as_deref()?;
    // What is made anew may be named by the server, in its answer alone. It is none of those that are there.
    let (is_new, name) = (verb == "create", asked.name.as_deref().unwrap_or(""));
    let is_named = !name.is_empty();
    let name = if is_new && !is_named { NOT_NAMED } else { name };
    let id = Id::new(asked.namespace.as_deref(), name);
    let target = Target { is_role: kind.ends_with("Role"), id };
    let unknown = |why: &str| {
        let who = match &access.actor.id {
            Some(actor) => shown_actor(Some(actor), access.on_behalf_of.as_deref()),
            None => "somebody".to_owned(),
        };
        let did = if is_new { "made" } else { "changed" };
        let why = format!("{who} {did} it on {}, and {why}", access.at.rfc3339());
        Some(Change::Unknown(target.clone(), why))
    };
    match verb {
        "delete" if is_named => return Some(Change::Gone(target)),
        "delete" => return unknown("the log does not name it"),
        "deletecollection" => {
            let why = format!("several were deleted at once on {}", access.at.rfc3339());
            return Some(Change::AllUnknown(target, why));
        }
        "create" | "update" | "patch" => {}
        _ => return None,
    }
    let Some(body) = &access.detail.body else {
        return unknown("the log has no body of the request (its level is Metadata)");
    };
    if !is_named {
        return unknown("the log does not name it");
    }
    let Ok(body) = serde_json::from_str::<Value>(body) else {
        return unknown("the body of the request is not whole");
    };
    let result = if verb == "patch" {
        let base = known(&target);
        match body {
            Value::Array(steps) => base.and_then(|base| patched(base, &steps)),
            body if has_directives(&body) => None,
            // Who applies an object that is not there makes it.
            body if base.is_none() && body.get("kind").and_then(Value::as_str) != Some(kind) => {
                None
            }
            body => Some(merged(base.unwrap_or(Value::Null), &body)),
        }
    } else {
        Some(body)
    };
    let Some(mut result) = result else {
        return unknown("how it was before is not known, or what the patch made of it");
    };
    set_name(&mut result, &target.id);
    match object("body", kind, &result) {
        Ok(object) => Some(Change::Is(Box::new(object))),
        Err(_) => unknown("the body of the request is no such object"),
    }
}

/// The request says by its path which object it is.
fn set_name(value: &mut Value, id: &Id) {
    if let Some(object) = value.as_object_mut() {
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("name".to_owned(), Value::from(id.name.as_str()));
            if let Some(namespace) = &id.namespace {
                metadata.insert("namespace".to_owned(), Value::from(namespace.as_str()));
            }
        }
    }
}

/// Whether a strategic merge patch says more than what is to be.
fn has_directives(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(key, value)| key.starts_with('$') || has_directives(value))
        }
        Value::Array(items) => items.iter().any(has_directives),
        _ => false,
    }
}

/// RFC 7386.
fn merged(base: Value, patch: &Value) -> Value {
    let Value::Object(members) = patch else { return patch.clone() };
    let mut base = match base {
        Value::Object(base) => base,
        _ => Map::new(),
    };
    for (key, value) in members {
        if value.is_null() {
            base.remove(key);
        } else {
            let own = base.remove(key).unwrap_or(Value::Null);
            base.insert(key.clone(), merged(own, value));
        }
    }
    Value::Object(base)
}

/// RFC 6902, the steps that people use on roles; `None` for another, or one that cannot be.
fn patched(mut base: Value, steps: &[Value]) -> Option<Value> {
    for step in steps {
        let path = step.get("path")?.as_str()?;
        let (parent, key) = path.rsplit_once('/')?;
        let key = key.replace("~1", "/").replace("~0", "~");
        let op = step.get("op")?.as_str()?;
        if op == "test" {
            // It was answered well, so it held.
            continue;
        }
        match base.pointer_mut(parent)? {
            Value::Object(members) => match op {
                "add" | "replace" => {
                    members.insert(key, step.get("value")?.clone());
                }
                "remove" => {
                    members.remove(&key)?;
                }
                _ => return None,
            },
            Value::Array(items) => {
                let index = if key == "-" { items.len() } else { key.parse().ok()? };
                match op {
                    "add" if index <= items.len() => {
                        items.insert(index, step.get("value")?.clone());
                    }
                    "replace" => *items.get_mut(index)? = step.get("value")?.clone(),
                    "remove" if index < items.len() => {
                        items.remove(index);
                    }
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
    Some(base)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_do_what_the_api_server_does_with_atomic_lists() {
        let base = json!({"rules": [{"verbs": ["get"]}], "metadata": {"labels": {"a": "1"}}});
        let merge = json!({"rules": [{"verbs": ["list"]}], "metadata": {"labels": {"a": null}}});
        let expected = json!({"rules": [{"verbs": ["list"]}], "metadata": {"labels": {}}});
        assert_eq!(merged(base.clone(), &merge), expected);
        let steps = json!([
            {"op": "test", "path": "/rules/0/verbs/0", "value": "get"},
            {"op": "add", "path": "/rules/0/verbs/-", "value": "watch"},
            {"op": "replace", "path": "/rules/0/verbs/0", "value": "list"},
            {"op": "remove", "path": "/metadata/labels/a"},
        ]);
        let steps = steps.as_array().unwrap();
        let expected = json!({"rules": [{"verbs": ["list", "watch"]}], "metadata": {"labels": {}}});
        assert_eq!(patched(base.clone(), steps), Some(expected));
        for broken in [
            json!([{"op": "add", "path": "/rules/7/verbs/-", "value": "x"}]),
            json!([{"op": "move", "from": "/rules/0", "path": "/rules/-"}]),
            json!([{"op": "remove", "path": "/rules/4"}]),
        ] {
            assert_eq!(patched(base.clone(), broken.as_array().unwrap()), None, "{broken}");
        }
        assert!(has_directives(&json!({"rules": [{"$patch": "delete"}]})));
    }
}
