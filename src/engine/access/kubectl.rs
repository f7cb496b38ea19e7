//! A line that reads like the command by which somebody may have done it. For people: the client may have
//! been another, and what is not known is left out. In the place of a name that a roll-up left out is `…`.

use std::sync::Arc;

use serde_json::Value;

use super::{Access, Object};
use crate::engine::{
    event::shown_parameter,
    text::{printable, shell_word},
};

/// The line for an access.
pub fn kubectl_line(access: &Access) -> String {
    let mut words = vec!["kubectl".to_owned()];
    if let Some(object) = &access.object {
        of_object(access, object, &mut words);
    } else {
        let path = access.detail.path.as_deref().unwrap_or("/");
        words.extend(["get".to_owned(), "--raw".to_owned(), quoted(path)]);
    }
    if access.on_behalf_of.is_some()
        && let Some(actor) = &access.actor.id
    {
        words.push(format!("--as {}", quoted(actor)));
    }
    if access.detail.dry_run {
        words.push("--dry-run=server".to_owned());
    }
    if let Some(command) = &access.detail.command {
        // How its words were parted is not known; none of them acts on the shell of whoever tries it.
        words.push("--".to_owned());
        words.extend(command.split(' ').filter(|word| !word.is_empty()).map(quoted));
    }
    words.join(" ")
}

fn of_object(access: &Access, object: &Object<Arc<str>>, words: &mut Vec<String>) {
    let verb = access.verb.as_deref().unwrap_or("");
    let resource = match &object.group {
        Some(group) if !is_usual(group) => format!("{}.{group}", object.resource),
        _ => object.resource.to_string(),
    };
    let resource = quoted(&resource);
    let left_out = access.names_left_out();
    // What is quoted is never this.
    let name = object.name.as_deref().map(quoted).or_else(|| left_out.then(|| "…".to_owned()));
    let named = |words: &mut Vec<String>, name: Option<String>| words.extend(name);
    let decided = decision(access, object);
    match (&*object.resource, object.subresource.as_deref(), verb) {
        ("pods", Some(below @ ("exec" | "attach")), _) => {
            words.push(below.to_owned());
            named(words, name);
        }
        ("pods", Some("portforward"), _) => {
            words.push("port-forward".to_owned());
            named(words, name);
        }
        ("pods", Some("log"), _) => {
            words.push("logs".to_owned());
            named(words, name);
        }
        ("pods", Some("ephemeralcontainers"), _) => {
            words.push("debug".to_owned());
            named(words, name);
        }
        ("pods", Some("eviction"), _) => {
            words.extend(["evict", "pod"].map(str::to_owned));
            named(words, name);
        }
        ("serviceaccounts", Some("token"), "create") => {
            words.extend(["create", "token"].map(str::to_owned));
            named(words, name);
        }
        ("certificatesigningrequests", Some("approval"), _) if decided.is_some() => {
            words.extend(["certificate", decided.unwrap_or_default()].map(str::to_owned));
            named(words, name);
        }
        (_, below, verb) => {
            let verb = match verb {
                "list" | "watch" | "get" => "get",
                "update" => "replace",
                "deletecollection" => "delete",
                other => other,
            };
            words.extend([printable(verb).into_owned(), resource]);
            named(words, name);
            match access.verb.as_deref() {
                Some("watch") => words.push("--watch".to_owned()),
                Some("deletecollection") if access.detail.selector.is_none() => {
                    words.push("--all".to_owned());
                }
                _ => {}
            }
            words.extend(access.detail.selector.iter().flat_map(|selector| limits(selector)));
            if let Some(below) = below {
                words.push(format!("--subresource {}", quoted(below)));
            }
        }
    }
    match &object.namespace {
        Some(namespace) => words.push(format!("-n {}", quoted(namespace))),
        None if object.name.is_none() && !left_out && is_namespaced(&object.resource) => {
            words.push("-A".to_owned());
        }
        None => {}
    }
}

/// What was decided on a certificate request, if the body of the decision says it: `approve` or `deny`. The API server
/// takes no request that is both.
fn decision(access: &Access, object: &Object<Arc<str>>) -> Option<&'static str> {
    let is_decision = &*object.resource == "certificatesigningrequests"
        && object.subresource.as_deref() == Some("approval");
    if !is_decision {
        return None;
    }
    let body: Value = serde_json::from_str(access.detail.body.as_deref()?).ok()?;
    let of_status = |status: &Value| status.get("conditions").cloned();
    let conditions: Vec<Value> = match body {
        // A JSON Patch: what it puts somewhere below the status.
        Value::Array(steps) => steps
            .iter()
            .filter_map(|step| match step.get("path")?.as_str()? {
                "/status" => of_status(step.get("value")?),
                path if path.starts_with("/status/conditions") => step.get("value").cloned(),
                _ => None,
            })
            .collect(),
        body => body.get("status").and_then(of_status).into_iter().collect(),
    };
    let all =
        conditions.iter().flat_map(|one| one.as_array().map_or(std::slice::from_ref(one), |of| of));
    let kinds: Vec<&str> = all.filter_map(|one| one.get("type")?.as_str()).collect();
    match (kinds.contains(&"Approved"), kinds.contains(&"Denied")) {
        (true, false) => Some("approve"),
        (false, true) => Some("deny"),
        _ => None,
    }
}

/// What a list, a watch or a deletion was limited to, as kubectl is told it.
fn limits(selector: &str) -> impl Iterator<Item = String> {
    selector.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| {
        let option = if name == "fieldSelector" { "--field-selector" } else { "-l" };
        format!("{option} {}", quoted(&shown_parameter(value)))
    })
}

/// Groups whose resources nobody writes the group of.
fn is_usual(group: &str) -> bool {
    matches!(
        group,
        "apps"
            | "batch"
            | "rbac.authorization.k8s.io"
            | "certificates.k8s.io"
            | "policy"
            | "networking.k8s.io"
            | "storage.k8s.io"
            | "admissionregistration.k8s.io"
    )
}

fn is_namespaced(resource: &str) -> bool {
    matches!(
        resource,
        "pods"
            | "secrets"
            | "configmaps"
            | "services"
            | "deployments"
            | "serviceaccounts"
            | "jobs"
            | "roles"
            | "rolebindings"
            | "events"
            | "statefulsets"
            | "daemonsets"
            | "cronjobs"
            | "ingresses"
            | "endpoints"
            | "replicasets"
    )
}

/// A word as a shell takes it, without what acts on a terminal.
fn quoted(text: &str) -> String {
    shell_word(&printable(text))
}
