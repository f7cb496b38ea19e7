//! Permissions: imports, verdicts, and the role that would do.

mod commands;
mod evaluator;
mod imports;
mod suggested;
mod verdicts;

use std::fmt;

use serde_json::json;
use tripline::engine::time::EventTime;

use evaluator::Request;
pub(crate) use imports::cluster;

/// Rules that record changes of permissions.
const RULES: &str = "
title: Permissions
name: permissions
logsource: {product: kubernetes, service: audit}
detection:
  change:
    objectRef.apiGroup: rbac.authorization.k8s.io
    verb: [create, update, patch, delete, deletecollection]
  condition: change
tripline: {record: permission_change}
";

/// When worlds begin.
const START: &str = "2026-03-04T10:00:00Z";

/// An event, as an API server writes it.
struct EventText<'a> {
    id: usize,
    at: EventTime,
    user: &'a str,
    groups: &'a [&'a str],
    request: &'a Request,
    /// As it stands within a text of JSON.
    reason: &'a str,
    is_allowed: bool,
}

impl fmt::Display for EventText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = self.request;
        let at = self.at.rfc3339();
        let object = if request.resource.is_empty() {
            String::new()
        } else {
            let mut object = json!({ "resource": request.resource, "apiVersion": "v1" });
            for (key, text) in [
                ("apiGroup", &request.group),
                ("subresource", &request.subresource),
                ("namespace", &request.namespace),
                ("name", &request.name),
            ] {
                if !text.is_empty() {
                    object[key] = text.as_str().into();
                }
            }
            format!(r#""objectRef":{object},"#)
        };
        let path = if request.path.is_empty() { "/api/v1/x?limit=500" } else { &request.path };
        let (decision, code) = if self.is_allowed { ("allow", 200) } else { ("forbid", 403) };
        write!(
            f,
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{}","stage":"ResponseComplete","requestURI":"{path}","verb":"{}","user":{{"username":"{}","groups":{}}},"sourceIPs":["10.0.0.1"],{object}"responseStatus":{{"code":{code}}},"requestReceivedTimestamp":"{at}","stageTimestamp":"{at}","annotations":{{"authorization.k8s.io/decision":"{decision}","authorization.k8s.io/reason":"{}"}}}}"#,
            self.id,
            request.verb,
            self.user,
            json!(self.groups),
            self.reason,
        )
    }
}
