//! Parameters of queries that API servers look at, whatever the resource (`k8s.io/apimachinery/…/meta/v1`
//! and `k8s.io/api/core/v1`, the types whose names end in `Options`).

/// Their names; sorted by bytes.
pub const PARAMETERS: &[&str] = &[
    "allowWatchBookmarks",
    "command",
    "container",
    "continue",
    "dryRun",
    "exact",
    "export",
    "fieldManager",
    "fieldSelector",
    "fieldValidation",
    "follow",
    "force",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "includeObject",
    "includeUninitialized",
    "insecureSkipTLSVerifyBackend",
    "labelSelector",
    "limit",
    "limitBytes",
    "orphanDependents",
    "path",
    "ports",
    "pretty",
    "previous",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "sinceSeconds",
    "sinceTime",
    "stderr",
    "stdin",
    "stdout",
    "stream",
    "tailLines",
    "timeout",
    "timeoutSeconds",
    "timestamps",
    "tty",
    "watch",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_sorted() {
        assert!(PARAMETERS.is_sorted());
    }
}
