//! The fields that rules may use: those of audit events, and those that Tripline derives.
//!
//! One list serves the warnings about fields that do not exist and values that cannot occur, the JSON
//! Schema, and people.

use std::sync::LazyLock;

use super::derived::DERIVATIONS;
use crate::engine::kubernetes::fields::{AUDIT_FIELDS, KnownField};

/// Every known field; sorted by path.
pub static KNOWN_FIELDS: LazyLock<Vec<&'static KnownField>> = LazyLock::new(|| {
    let derived = DERIVATIONS.iter().map(|derivation| &derivation.field);
    let mut fields: Vec<&KnownField> = AUDIT_FIELDS.iter().chain(derived).collect();
    fields.sort_unstable_by_key(|field| field.path);
    fields
});

/// The field of a path: itself, or the tree that it lies in.
pub fn known_field(path: &str) -> Option<&'static KnownField> {
    if let Ok(index) = KNOWN_FIELDS.binary_search_by(|field| field.path.cmp(path)) {
        return KNOWN_FIELDS.get(index).copied();
    }
    let holds = |field: &&&KnownField| {
        let rest = path.strip_prefix(field.path).and_then(|rest| rest.strip_prefix('.'));
        field.kind.is_prefix() && rest.is_some_and(|rest| !rest.is_empty())
    };
    KNOWN_FIELDS.iter().find(holds).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::well_known;

    #[test]
    fn every_path_is_there_once() {
        assert!(KNOWN_FIELDS.is_sorted_by(|left, right| left.path < right.path));
        for path in well_known::PATHS {
            assert!(known_field(path).is_some_and(|field| field.path == *path), "{path}");
        }
    }

    #[test]
    fn trees_hold_everything_below_them() {
        for (path, root) in [
            ("requestObject.spec.hostPID", "requestObject"),
            (
                "annotations.authorization.k8s.io/decision",
                "annotations.authorization.k8s.io/decision",
            ),
            ("annotations.example.com/x", "annotations"),
            ("user.extra.a", "user.extra"),
            ("pod_spec.hostPID", "pod_spec"),
        ] {
            assert_eq!(known_field(path).map(|field| field.path), Some(root), "{path}");
        }
        for path in ["requestObjects", "user.extras", "requestObject.", "objectRef.kind", ""] {
            assert!(known_field(path).is_none(), "{path}");
        }
    }
}
