//! Warnings about fields that do not exist.

use super::{
    bodies::{check_path, without_brackets},
    foreign::foreign,
};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems, nearest},
    event::{
        KNOWN_FIELDS,
        derived::{OBJECT, POD_SPEC},
        known_field,
    },
    kubernetes::{
        fields::{ANNOTATION_PREFIXES, AUDIT_FIELDS, split_key},
        shapes::{POD_SPEC_TYPE, path_to},
    },
    syntax::code,
};

/// Warns about a field that no event has: what is looked for, shown or counted by.
pub(in crate::engine) fn check_field(path: &str, place: &Place, problems: &Problems) {
    if check_name(path, place, problems) {
        check_path(path, place, problems);
    }
}

/// Warns about a field that neither audit events nor Tripline have; what is below bodies is not looked
/// at. Whether there is nothing to warn about.
pub(in crate::engine) fn check_name(path: &str, place: &Place, problems: &Problems) -> bool {
    let Some(diagnostic) = diagnose(path, place) else { return true };
    problems.push(diagnostic);
    false
}

fn diagnose(path: &str, place: &Place) -> Option<Diagnostic> {
    let unknown = |label: String| {
        let title = format!("unknown field `{path}`");
        Diagnostic::warning(code::UNKNOWN_FIELD, place.clone(), title).label(label)
    };
    let did_you_mean =
        |diagnostic: Diagnostic, near: &str| diagnostic.help(format!("did you mean `{near}`?"));
    let key = split_key(path);
    if key.is_none() && path.contains(['[', ']']) {
        return Some(brackets(path, unknown("lists are looked through by themselves".to_owned())));
    }
    let below = [(POD_SPEC, "pod_spec.containers.image"), (OBJECT, "object.metadata.name")];
    if let Some((_, example)) = below.iter().find(|(tree, _)| *tree == path) {
        let label = "no field has this name alone".to_owned();
        return Some(unknown(label).help(format!("name what is below it, such as `{example}`")));
    }
    if known_field(path).is_none() {
        if let Some(foreign) = foreign(path, |path| known_field(path).is_some()) {
            let label = format!("this is a name of {}", foreign.product);
            // Elastic writes `_` for the dots of keys.
            let near = split_key(&foreign.ours)
                .and_then(|(prefix, key)| Some(format!("{prefix}.{}", near_key(prefix, key)?)));
            let ours = near.unwrap_or(foreign.ours);
            return Some(unknown(label).help(format!("here it is `{ours}`")));
        }
        let diagnostic = unknown("audit events have no such field".to_owned());
        return Some(match suggestion(path) {
            Some(near) => did_you_mean(diagnostic, &near),
            None => diagnostic,
        });
    }
    let (prefix, key) = key?;
    let near = near_key(prefix, key)?;
    let label = "Kubernetes sets no such key, but one of nearly this name".to_owned();
    Some(did_you_mean(unknown(label), &format!("{prefix}.{near}")))
}

/// What to write instead of Sigma's proposed selectors of elements, and of indexes.
fn brackets(path: &str, diagnostic: Diagnostic) -> Diagnostic {
    let plain = without_brackets(path);
    if path.contains("[all]") || path.contains("[none]") || path.contains("[all_or_empty]") {
        let help = format!("`{plain}` means any element; say the rest with `not` in the condition");
        return diagnostic.help(help);
    }
    let diagnostic = diagnostic.help(format!("write `{plain}`"));
    if path.contains("[any]") {
        let help = "fields of one and the same element are joined by `tripline: {same_element: …}`";
        return diagnostic.help(help);
    }
    diagnostic
}

/// The key that Kubernetes sets which is nearly this one. Others may set what keys they like, so the
/// part before or behind the slash must be the same, or all letters.
fn near_key(prefix: &str, key: &str) -> Option<&'static str> {
    let mut open = ANNOTATION_PREFIXES.iter();
    if prefix == "annotations" && open.any(|known| key.starts_with(known)) {
        return None;
    }
    // Groups, users and their attributes are impersonated as they are.
    let table = if prefix == "impersonatedUser.extra" { "user.extra" } else { prefix };
    let keys = || AUDIT_FIELDS.iter().filter_map(|field| split_key(field.path));
    let keys: Vec<&'static str> =
        keys().filter(|(of, _)| *of == table).map(|(_, known)| known).collect();
    if keys.contains(&key) {
        return None;
    }
    if let Some(same) = keys.iter().find(|known| letters(known) == letters(key)) {
        return Some(same);
    }
    let (domain, name) = key.rsplit_once('/').unwrap_or(("", key));
    let parts = || keys.iter().filter_map(|known| Some((known.rsplit_once('/')?, *known)));
    let names = parts().filter(|((of, _), _)| letters(of) == letters(domain));
    if let Some(near) = nearest(name, names.map(|((_, known), _)| known)) {
        let found =
            parts().find(|((of, known), _)| letters(of) == letters(domain) && *known == near);
        return found.map(|(_, known)| known);
    }
    let first = |domain: &str| domain.split(['.', '_']).next().map(str::to_ascii_lowercase);
    let is_near = |of: &str| {
        domain.is_empty() || first(of) == first(domain) || nearest(domain, [of]).is_some()
    };
    parts().find(|((of, known), _)| *known == name && is_near(of)).map(|(_, known)| known)
}

/// Letters and digits, in lower case: shippers write `_` for dots.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The same for a field by whose values events are told apart or counted; warns about one that whoever is
/// watched chooses, where there is a better one.
pub(in crate::engine) fn check_key_field(path: &str, place: &Place, problems: &Problems) {
    check_field(path, place, problems);
    if path == "sourceIPs" {
        let title = "clients choose all of `sourceIPs` but the last".to_owned();
        problems.push(
            Diagnostic::warning(code::CLIENT_CHOOSES, place.clone(), title)
                .label("each of them counts")
                .help("write `source.ip`: the address that the API server saw"),
        );
    }
}

/// What to write instead of a path that is not known.
fn suggestion(path: &str) -> Option<String> {
    if let Some(near) = nearest(path, KNOWN_FIELDS.iter().map(|field| field.path)) {
        return Some(near.to_owned());
    }
    // The last part alone, as in `apiGroup` for `objectRef.apiGroup`.
    let tail = format!(".{path}");
    let found = KNOWN_FIELDS.iter().find(|field| {
        field.path.len() > tail.len()
            && field
                .path
                .get(field.path.len() - tail.len()..)
                .is_some_and(|end| end.eq_ignore_ascii_case(&tail))
    });
    if let Some(field) = found {
        return Some(field.path.to_owned());
    }
    let part = PARTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(path));
    if let Some((_, field)) = part {
        return Some((*field).to_owned());
    }
    // A part of a pod spec, looked for at the root of the event.
    let (name, rest) =
        path.split_once('.').map_or((path, ""), |(name, _)| (name, &path[name.len()..]));
    Some(format!("{POD_SPEC}.{}{rest}", path_to(POD_SPEC_TYPE, name)?))
}

/// Parts of bodies that rules like to look for at the root of the event.
const PARTS: &[(&str, &str)] = &[
    ("capabilities", "pod_spec.containers.securityContext.capabilities.add"),
    ("username", "user.username"),
    ("groups", "user.groups"),
    ("roleRef", "object.roleRef.name"),
    ("subjects", "object.subjects.name"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_suggested() {
        for (path, meant) in [
            ("objectRef.resourse", "objectRef.resource"),
            ("objectref.name", "objectRef.name"),
            ("apiGroup", "objectRef.apiGroup"),
            ("hostPath", "host_path"),
            ("userName", "user.username"),
            ("privileged", "pod_spec.containers.securityContext.privileged"),
            ("hostNetwork", "pod_spec.hostNetwork"),
            ("securityContext.runAsUser", "pod_spec.securityContext.runAsUser"),
        ] {
            assert_eq!(suggestion(path).as_deref(), Some(meant), "{path}");
        }
        assert_eq!(suggestion("CommandLineOfProcess"), None);
    }

    #[test]
    fn keys_that_are_nearly_those_of_kubernetes() {
        let decision = Some("authorization.k8s.io/decision");
        for (key, near) in [
            ("authorization.k8s.io/descision", decision),
            ("authorization_k8s_io/decision", decision),
            ("authorization.k8s.io.decision", decision),
            ("authorization.kubernetes.io/decision", decision),
            ("decision", decision),
            ("authorization.k8s.io/decision", None),
            (
                "pod-security.kubernetes.io/audit-violation",
                Some("pod-security.kubernetes.io/audit-violations"),
            ),
            ("mutation.webhook.admission.k8s.io/round_0_index_1", None),
            ("apiserver.latency.k8s.io/etcd", None),
            ("policy.example.com/decision", None),
            ("example.com/anything", None),
        ] {
            assert_eq!(near_key("annotations", key), near, "{key}");
        }
        let pod = Some("authentication.kubernetes.io/pod-name");
        assert_eq!(near_key("user.extra", "authentication.kubernetes.io/podname"), pod);
        assert_eq!(near_key("impersonatedUser.extra", "authentication.kubernetes.io/podname"), pod);
        assert_eq!(near_key("user.extra", "arn"), None);
    }
}
