//! Stages of a request, and which requests have which (`k8s.io/apiserver/pkg/endpoints/filters`:
//! `audit.go`, `authn_audit.go`; `LongRunningFunc` of kube-apiserver).

use super::{
    resources::subresource,
    verbs::{PROXY, WATCH},
};
use crate::engine::words::words;

words! {
    /// Stage of an audit event.
    pub enum Stage {
        /// The request arrived; there is no answer yet.
        RequestReceived = "RequestReceived",
        /// Headers were sent: long-running requests and failed logins.
        ResponseStarted = "ResponseStarted",
        /// The answer was sent.
        ResponseComplete = "ResponseComplete",
        /// The API server panicked.
        Panic = "Panic",
        /// No stage of the API server: a change was received, and no end of it came. Only rules that name
        /// it see it.
        Unfinished = "Unfinished",
    }
}

/// The words of all stages.
pub const STAGE_WORDS: &[&str] = &[
    Stage::RequestReceived.as_str(),
    Stage::ResponseStarted.as_str(),
    Stage::ResponseComplete.as_str(),
    Stage::Panic.as_str(),
    Stage::Unfinished.as_str(),
];

/// The words of the stages that an API server knows.
pub const SERVER_STAGE_WORDS: &[&str] = &[
    Stage::RequestReceived.as_str(),
    Stage::ResponseStarted.as_str(),
    Stage::ResponseComplete.as_str(),
    Stage::Panic.as_str(),
];

/// Status of a request whose authentication failed. It has one event only, of stage
/// [`Stage::ResponseStarted`], which names nobody.
pub const UNAUTHORIZED: u16 = 401;

/// Whether requests with this verb and this subresource (empty for none) run long, so that the API
/// server tells of their answer in two stages.
pub fn runs_long(verb: &str, below: &str) -> bool {
    matches!(verb, WATCH | PROXY)
        || !below.is_empty() && subresource(below).is_some_and(|known| known.runs_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_run_long() {
        for (verb, below, long) in [
            ("watch", "", true),
            ("get", "exec", true),
            ("create", "attach", true),
            ("get", "log", true),
            ("create", "portforward", true),
            ("delete", "proxy", true),
            ("get", "", false),
            ("create", "eviction", false),
            ("patch", "status", false),
        ] {
            assert_eq!(runs_long(verb, below), long, "{verb} {below}");
        }
    }
}
