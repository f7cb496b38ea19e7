//! What an object says in more than one way: directories of the node, subjects of bindings, and the service
//! account of a secret, each in one form.

use std::borrow::Cow;

use super::{Event, FieldId, request::clean, sources::Sources, well_known};
use crate::engine::{kubernetes::users::SERVICE_ACCOUNT_PREFIX, value::Value};

/// The type of secrets that the API server fills with a token.
const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";

/// Combinations of namespaces and names that are looked at: 524,288, more than an event can have subjects.
/// Only a patch names parts of subjects, so that it is not known which belong together; one that makes more
/// combinations counts as one of which values were left out (`PATCH_PARTS_MAX`).
const COMBINATIONS_MAX: usize = 1 << 19;

/// `host_path`.
pub(super) fn host_paths(event: &mut Event<'_>, field: FieldId, sources: &Sources) {
    let fields = sources.host_paths.iter();
    let paths: Vec<String> = fields
        .flat_map(|from| event.values(*from))
        .filter_map(|value| match value {
            Value::Str(path) => Some(normal(path)),
            _ => None,
        })
        .collect();
    for path in paths {
        event.push(field, Value::Str(Cow::Owned(path)));
    }
}

/// The shortest form of a path of a node.
fn normal(path: &str) -> String {
    let mut cleaned = String::with_capacity(path.len() + 1);
    if path.starts_with('/') {
        clean(path, &mut cleaned);
    } else {
        clean(&format!("/{path}"), &mut cleaned);
    }
    let mut rest = cleaned.trim_end_matches('/');
    // What a process of the node sees as its root, or began in, is the node's.
    while let Some(inside) = behind_process(rest) {
        rest = inside;
    }
    let below_run =
        rest.strip_prefix("/var/run").filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match below_run {
        Some(rest) => format!("/run{rest}"),
        None if rest.is_empty() => "/".to_owned(),
        None => rest.to_owned(),
    }
}

/// What lies behind `/proc/PROCESS/root` or `/proc/PROCESS/cwd`.
fn behind_process(path: &str) -> Option<&str> {
    let (_, inside) = path.strip_prefix("/proc/")?.split_once('/')?;
    let rest = inside.strip_prefix("root").or_else(|| inside.strip_prefix("cwd"))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// `subject.id`.
pub(super) fn subjects(event: &mut Event<'_>, field: FieldId, sources: &Sources) {
    let [Some(of), Some(kind), Some(namespace), Some(name)] = sources.subjects else { return };
    let mut cursors = [kind, namespace, name].map(|field| (field, event.cursor(field)));
    let mut part = Event::new(event.field_count());
    // A role binding names service accounts of its own namespace without it.
    let own = event.first_str(well_known::NAMESPACE).filter(|own| !own.is_empty());
    let mut ids: Vec<String> = Vec::new();
    let mut combinations = 0;
    for range in event.elements(of) {
        part.clear();
        event.copy_range(&mut cursors, &range.links, &mut part);
        let texts = |field| part.values(field).filter_map(Value::text);
        let is_account = texts(kind).any(|kind| kind == "ServiceAccount");
        let is_other = !is_account || texts(kind).count() > 1;
        let may_be_account = is_account || part.count(kind) == 0;
        let mut namespaces: Vec<_> = texts(namespace).filter(|of| !of.is_empty()).collect();
        if namespaces.is_empty() {
            namespaces.extend(own.map(Cow::Borrowed));
        }
        for name in texts(name) {
            if is_other {
                ids.push(name.to_string());
            }
            for of in namespaces.iter().filter(|_| may_be_account) {
                if combinations == COMBINATIONS_MAX {
                    break;
                }
                combinations += 1;
                ids.push(format!("{SERVICE_ACCOUNT_PREFIX}{of}:{name}"));
            }
        }
    }
    for id in ids {
        event.push(field, Value::Str(Cow::Owned(id)));
    }
}

/// `secret.account`.
pub(super) fn secret_account(event: &mut Event<'_>, field: FieldId, sources: &Sources) {
    let [Some(of_type), Some(account)] = sources.secret_account else { return };
    let is_token = event.values(of_type).filter_map(Value::text).any(|of| of == TOKEN_TYPE);
    let Some(namespace) = event.first_str(well_known::NAMESPACE).filter(|_| is_token) else {
        return;
    };
    let name = event.values(account).find_map(Value::text);
    let id = format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{}", name.unwrap_or_default());
    event.push(field, Value::Str(Cow::Owned(id)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_node_have_one_form() {
        for (path, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/etc/", "/etc"),
            ("/./etc//kubernetes/../ssh", "/etc/ssh"),
            ("/var/run/docker.sock", "/run/docker.sock"),
            ("/var/run/", "/run"),
            ("/var/running", "/var/running"),
            ("/proc/1/root", "/"),
            ("/proc/self/root/proc/1/cwd/etc", "/etc"),
            ("/proc/1/rooted", "/proc/1/rooted"),
            ("etc", "/etc"),
            ("", "/"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }
}
