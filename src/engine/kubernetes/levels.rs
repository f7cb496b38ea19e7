//! How much of a request an audit policy records (`Level` in `k8s.io/apiserver/pkg/apis/audit`).

/// How much of a request an audit policy records. `None`, the level at which there is no event, is not
/// among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditLevel {
    #[default]
    /// Who, what and when, without bodies.
    Metadata,
    /// And the request's body.
    Request,
    /// And the response's body.
    RequestResponse,
}

impl AuditLevel {
    /// All, in order.
    pub const ALL: [AuditLevel; 3] =
        [AuditLevel::Metadata, AuditLevel::Request, AuditLevel::RequestResponse];

    /// The word in audit policies and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuditLevel::Metadata => "Metadata",
            AuditLevel::Request => "Request",
            AuditLevel::RequestResponse => "RequestResponse",
        }
    }
}

/// What an event may say of its own level.
pub const LEVEL_WORDS: &[&str] = &[
    "None",
    AuditLevel::Metadata.as_str(),
    AuditLevel::Request.as_str(),
    AuditLevel::RequestResponse.as_str(),
];
