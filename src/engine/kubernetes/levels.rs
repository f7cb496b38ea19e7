//! How much of a request an audit policy records (`Level` in `k8s.io/apiserver/pkg/apis/audit`).

use crate::engine::words::words;

words! {
    /// How much of a request an audit policy records. `None`, the level at which there is no event, is not
    /// among them.
    #[derive(Default)]
    pub enum AuditLevel {
        #[default]
        /// Who, what and when, without bodies.
        Metadata = "Metadata",
        /// And the request's body.
        Request = "Request",
        /// And the response's body.
        RequestResponse = "RequestResponse",
    }
}

/// What an event may say of its own level.
pub const LEVEL_WORDS: &[&str] = &[
    "None",
    AuditLevel::Metadata.as_str(),
    AuditLevel::Request.as_str(),
    AuditLevel::RequestResponse.as_str(),
];
