//! Audit events as a Kubernetes API server writes them, at the present time.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

/// A finished request of a user; `namespace` and `name` may be empty. Every call is another request.
pub(crate) fn event(user: &str, verb: &str, resource: &str, namespace: &str, name: &str) -> Value {
    event_at(user, verb, resource, namespace, name, Duration::ZERO)
}

/// The same, so long ago.
pub(crate) fn event_at(
    user: &str,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
    ago: Duration,
) -> Value {
    let time = timestamp(ago);
    json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": audit_id(),
        "stage": "ResponseComplete",
        "requestURI": format!("/api/v1/namespaces/{namespace}/{resource}/{name}"),
        "verb": verb,
        "user": {"username": user, "groups": ["system:authenticated"]},
        "sourceIPs": ["198.51.100.7"],
        "userAgent": "kubectl/v1.31.0 (linux/amd64) kubernetes/9edcffc",
        "objectRef": {
            "resource": resource,
            "namespace": namespace,
            "name": name,
            "apiVersion": "v1",
        },
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": time,
        "stageTimestamp": time,
        "annotations": {"authorization.k8s.io/decision": "allow"},
    })
}

/// Now minus `ago`, as Kubernetes writes it.
pub(crate) fn timestamp(ago: Duration) -> String {
    let time = jiff::Timestamp::try_from(SystemTime::now() - ago).unwrap();
    format!("{time:.6}")
}

/// A UUID that no other event of this run has.
fn audit_id() -> String {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(1));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id())
}
