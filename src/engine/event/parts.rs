//! Parts of an event that may be passed over at first, and which fields they hold.

use super::derived::{OBJECT, POD_SPEC, UNSEEN};

/// A set of parts of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Parts(u8);

impl Parts {
    /// The annotation that says why a request was allowed.
    pub(in crate::engine) const REASON_PATH: &str = "annotations.authorization.k8s.io/reason";

    /// No part.
    pub(in crate::engine) const NONE: Parts = Parts(0);
    /// The annotation that says why a request was allowed.
    pub(in crate::engine) const REASON: Parts = Parts(1);
    /// `requestObject`.
    pub(in crate::engine) const REQUEST: Parts = Parts(1 << 1);
    /// `responseObject`.
    pub(in crate::engine) const RESPONSE: Parts = Parts(1 << 2);

    /// Every set of parts, by its number.
    pub(in crate::engine) fn sets() -> impl Iterator<Item = Parts> {
        (0..1 << 3).map(Parts)
    }

    /// Number of the set among [`Parts::sets`].
    pub(in crate::engine) fn number(self) -> usize {
        usize::from(self.0)
    }

    /// The parts from which the field with this path has its values.
    pub(in crate::engine) fn of(path: &str) -> Parts {
        let is_in = |root: &str| {
            path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if path == Parts::REASON_PATH {
            Parts::REASON
        } else if is_in("requestObject") {
            Parts::REQUEST
        } else if is_in("responseObject") {
            Parts::RESPONSE
        } else if path == UNSEEN || is_in(OBJECT) || is_in(POD_SPEC) {
            Parts::REQUEST.and(Parts::RESPONSE)
        } else {
            Parts::NONE
        }
    }

    /// Both.
    #[must_use]
    pub(in crate::engine) const fn and(self, other: Parts) -> Parts {
        Parts(self.0 | other.0)
    }

    /// Whether any part is in both.
    pub(in crate::engine) const fn meets(self, other: Parts) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_parts() {
        for (path, parts) in [
            ("verb", Parts::NONE),
            ("annotations.authorization.k8s.io/decision", Parts::NONE),
            ("annotations.authorization.k8s.io/reason", Parts::REASON),
            ("user.extra.a", Parts::NONE),
            ("requestObject", Parts::REQUEST),
            ("requestObject.kind", Parts::REQUEST),
            ("requestObjects", Parts::NONE),
            ("responseObject.kind", Parts::RESPONSE),
            ("pod_spec.hostPID", Parts::REQUEST.and(Parts::RESPONSE)),
            ("object.kind", Parts::REQUEST.and(Parts::RESPONSE)),
            ("objectRef.uid", Parts::NONE),
        ] {
            assert_eq!(Parts::of(path), parts, "{path}");
        }
    }
}
