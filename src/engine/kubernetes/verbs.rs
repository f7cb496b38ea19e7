//! Verbs of requests (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).
//!
//! Requests for resources have verbs of Kubernetes; all others the HTTP method in lower case. `HEAD` on
//! a resource is `get`. There is no `exec` and no `replace`.

/// Follows the changes of objects.
pub const WATCH: &str = "watch";

/// What requests below the path `/proxy`, long deprecated, had.
pub const PROXY: &str = "proxy";

/// All words, the usual first.
pub const VERBS: &[&str] = &[
    "get",
    "list",
    WATCH,
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    PROXY,
    "post",
    "put",
    "head",
    "options",
    "connect",
    "trace",
];

/// Verbs of requests for resources; sorted.
pub const RESOURCE_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", WATCH];

/// Verbs of other requests: HTTP methods; sorted.
pub const URL_VERBS: [&str; 7] = ["delete", "get", "head", "options", "patch", "post", "put"];

/// Verbs of requests that only read, and so have no body.
pub const READING: [&str; 3] = ["get", "list", WATCH];

/// Verbs of requests whose body is an object or a patch of one.
pub const WRITING: [&str; 3] = ["create", "patch", "update"];

/// Verbs of requests that change something; sorted.
pub const CHANGING: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// Verbs of requests that are for many objects at once, and so name none.
pub const NAMELESS: [&str; 3] = ["deletecollection", "list", WATCH];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_a_word() {
        assert!(RESOURCE_VERBS.is_sorted() && URL_VERBS.is_sorted());
        for verb in RESOURCE_VERBS.iter().chain(&URL_VERBS) {
            assert!(VERBS.contains(verb), "{verb}");
        }
        for verb in READING.iter().chain(&WRITING).chain(&NAMELESS).chain(&CHANGING) {
            assert!(RESOURCE_VERBS.contains(verb), "{verb}");
        }
    }
}
