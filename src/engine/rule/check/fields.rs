//! Warnings about fields that do not exist.

use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems, nearest},
    event::{KNOWN_FIELDS, known_field},
    syntax::code,
};

/// Warns about a field that neither audit events nor Tripline have.
pub(in crate::engine) fn check_field(path: &str, place: &Place, problems: &Problems) {
    if known_field(path).is_some() {
        return;
    }
    let mut diagnostic =
        Diagnostic::warning(code::UNKNOWN_FIELD, place.clone(), format!("unknown field `{path}`"))
            .label("audit events have no such field");
    if let Some(near) = suggestion(path) {
        diagnostic = diagnostic.help(format!("did you mean `{near}`?"));
    }
    problems.push(diagnostic);
}

/// What to write instead of a path that is not known.
pub(in crate::engine) fn suggestion(path: &str) -> Option<String> {
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
    POD_PARTS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(path))
        .map(|(_, field)| (*field).to_owned())
}

/// Parts of a pod spec that rules like to look for at the root of the event.
const POD_PARTS: &[(&str, &str)] = &[
    ("hostPath", "pod_spec.volumes.hostPath.path"),
    ("capabilities", "pod_spec.containers.securityContext.capabilities.add"),
    ("privileged", "pod_spec.containers.securityContext.privileged"),
    ("hostNetwork", "pod_spec.hostNetwork"),
    ("hostPID", "pod_spec.hostPID"),
    ("hostIPC", "pod_spec.hostIPC"),
    ("image", "pod_spec.containers.image"),
    ("serviceAccountName", "pod_spec.serviceAccountName"),
    ("username", "user.username"),
    ("groups", "user.groups"),
    ("roleRef", "requestObject.roleRef.name"),
    ("subjects", "requestObject.subjects.name"),
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
            ("hostPath", "pod_spec.volumes.hostPath.path"),
            ("userName", "user.username"),
        ] {
            assert_eq!(suggestion(path).as_deref(), Some(meant), "{path}");
        }
        assert_eq!(suggestion("CommandLineOfProcess"), None);
    }
}
