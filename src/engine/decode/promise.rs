//! By what it is told, without reading it, that a text may hold an event.

/// How the API server begins an event. Within the texts of another one it has backslashes.
pub(super) const AUDIT_EVENT: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/"#;

/// What texts with an event in them have: keys of events, of events in a cloud's own format, of what is
/// compressed within; Base64 of `auditID`, by where it stands, and of zlib.
const PROMISES: [&str; 13] = [
    "auditID",
    "protoPayload",
    "H4sI",
    "YXVkaXRJR",
    "F1ZGl0SU",
    "hdWRpdElE",
    "\"eJ",
    "AuditId",
    "auditid",
    "audit_id",
    "auditId",
    "AuditID",
    "AUDITID",
];

/// Whether a text may hold an event.
pub(super) fn is_promising(text: &str) -> bool {
    PROMISES.iter().any(|key| memchr::memmem::find(text.as_bytes(), key.as_bytes()).is_some())
}

/// Whether a line begins as an API server begins an event.
pub fn begins_event(line: &[u8]) -> bool {
    line.starts_with(AUDIT_EVENT)
}
