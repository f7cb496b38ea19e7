//! Google Cloud audit logs of GKE: another format for the same requests, converted to audit events.

use serde_json::{Map, Value, json};

use super::{
    json::Json,
    wrapper::{Wrapped, Wrapper},
};
use crate::engine::kubernetes::{AuditLevel, Stage, resources::subresource, runs_long};

/// A `LogEntry` whose `protoPayload` is an `AuditLog` of the service `k8s.io`.
pub(super) struct Gke;

impl Wrapper for Gke {
    fn name(&self) -> &'static str {
        "gke"
    }

    fn summary(&self) -> &'static str {
        "A Cloud Logging entry (GKE), converted: who, what, where and the bodies are there; groups, \
         `user.uid` and audit stages are not. The cluster is `resource.labels.cluster_name`."
    }

    fn example(&self) -> &'static str {
        r#"{"insertId":"85371f7c","logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","authenticationInfo":{"principalEmail":"alice@example.com"},"methodName":"io.k8s.core.v1.pods.create","requestMetadata":{"callerIp":"203.0.113.7","callerSuppliedUserAgent":"kubectl/v1.33.0"},"resourceName":"core/v1/namespaces/shop/pods/web-0","serviceName":"k8s.io","status":{"code":0}},"resource":{"labels":{"cluster_name":"prod"},"type":"k8s_cluster"},"labels":{"authorization.k8s.io/decision":"allow"},"timestamp":"2026-01-05T22:14:01.131Z"}"#
    }

    fn unwrap<'a>(&self, wrapper: Json<'a>, inside: &mut Vec<Wrapped<'a>>) -> bool {
        if wrapper.at(&["protoPayload", "methodName"]).is_none() {
            return false;
        }
        // Nested deeper than serde_json goes: a dead letter like other records that are no events.
        let Ok(entry) = serde_json::from_str::<Value>(wrapper.raw()) else { return false };
        if text(&entry, "/protoPayload/serviceName") != Some("k8s.io") {
            return true;
        }
        let Some(event) = convert(&entry) else { return false };
        let cluster =
            text(&entry, "/resource/labels/cluster_name").map(|name| name.to_owned().into());
        inside.push(Wrapped { content: event.to_string().into(), cluster });
        true
    }
}

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer)?.as_str()
}

/// The audit event that the API server would have written.
fn convert(entry: &Value) -> Option<Value> {
    let method = text(entry, "/protoPayload/methodName")?;
    let verb = method.rsplit('.').next()?;
    let object = Object::parse(text(entry, "/protoPayload/resourceName").unwrap_or(""));
    let payload = |name: &str| entry.pointer(&format!("/protoPayload/{name}"));
    let below = object.subresource.unwrap_or("");
    let upgrades = subresource(below).is_some_and(|known| known.upgrades);
    let stage =
        if runs_long(verb, below) { Stage::ResponseStarted } else { Stage::ResponseComplete };
    let (request, response) = (body(payload("request")), body(payload("response")));
    let level = match (&request, &response) {
        (_, Some(_)) => AuditLevel::RequestResponse,
        (Some(_), None) => AuditLevel::Request,
        (None, None) => AuditLevel::Metadata,
    };
    let mut event = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": level.as_str(),
        "auditID": entry.get("insertId")?,
        "stage": stage.as_str(),
        "requestURI": object.uri(request.as_ref().filter(|_| upgrades)),
        "verb": verb,
        "user": {"username": payload("authenticationInfo/principalEmail").unwrap_or(&Value::Null)},
        "objectRef": object.reference(),
        "responseStatus": status(payload("status"), verb, upgrades),
        "requestReceivedTimestamp": entry.get("timestamp")?,
        "stageTimestamp": entry.get("timestamp")?,
    });
    let fields = event.as_object_mut()?;
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    put("sourceIPs", payload("requestMetadata/callerIp").map(|ip| json!([ip])));
    put("userAgent", payload("requestMetadata/callerSuppliedUserAgent").cloned());
    put("annotations", entry.get("labels").cloned());
    put("requestObject", request);
    put("responseObject", response);
    Some(event)
}

/// A body without the type that Google adds; `None` if nothing is left.
fn body(value: Option<&Value>) -> Option<Value> {
    let mut fields: Map<String, Value> = value?.as_object()?.clone();
    fields.remove("@type");
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// The HTTP status that a gRPC status stands for.
fn status(status: Option<&Value>, verb: &str, upgrades: bool) -> Value {
    let grpc = status.and_then(|status| status.get("code")).and_then(Value::as_i64).unwrap_or(0);
    let code = match grpc {
        0 if upgrades => 101,
        0 if verb == "create" => 201,
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    };
    match status.and_then(|status| status.get("message")) {
        Some(message) => json!({"code": code, "message": message}),
        None => json!({"code": code}),
    }
}

/// What `resourceName` says: `group/version/[namespaces/<namespace>/]resource[/name[/subresource]]`.
#[derive(Debug, Default, PartialEq)]
struct Object<'v> {
    group: &'v str,
    version: &'v str,
    namespace: Option<&'v str>,
    resource: Option<&'v str>,
    name: Option<&'v str>,
    subresource: Option<&'v str>,
}

impl<'v> Object<'v> {
    fn parse(text: &'v str) -> Object<'v> {
        let (head, path) = match text.splitn(3, '/').collect::<Vec<_>>()[..] {
            [group, version, path] => ((group, version), path),
            _ => return Object::default(),
        };
        let group = if head.0 == "core" { "" } else { head.0 };
        let object = Object { group, version: head.1, ..Object::default() };
        let parts: Vec<&str> = path.splitn(5, '/').collect();
        match parts[..] {
            // `namespaces/x/status` is part of the namespace itself.
            ["namespaces", name, part @ ("status" | "finalize")] => Object {
                namespace: Some(name),
                resource: Some("namespaces"),
                name: Some(name),
                subresource: Some(part),
                ..object
            },
            ["namespaces", namespace, resource, ref rest @ ..] => Object {
                namespace: Some(namespace),
                resource: Some(resource),
                name: rest.first().copied(),
                subresource: rest.get(1).copied(),
                ..object
            },
            ["namespaces", name] => Object {
                namespace: Some(name),
                resource: Some("namespaces"),
                name: Some(name),
                ..object
            },
            [resource, ref rest @ ..] => Object {
                resource: Some(resource),
                name: rest.first().copied(),
                subresource: rest.get(1).copied(),
                ..object
            },
            [] => object,
        }
    }

    /// As `objectRef`; null if there is no object.
    fn reference(&self) -> Value {
        let Some(resource) = self.resource else { return Value::Null };
        let mut reference = Map::new();
        let parts = [
            ("resource", Some(resource)),
            ("namespace", self.namespace),
            ("name", self.name),
            ("apiGroup", Some(self.group).filter(|group| !group.is_empty())),
            ("apiVersion", Some(self.version)),
            ("subresource", self.subresource),
        ];
        for (key, value) in parts {
            if let Some(value) = value {
                reference.insert(key.to_owned(), value.into());
            }
        }
        Value::Object(reference)
    }

    /// The path of the request, with the `command` of an exec, which is where rules look for it.
    fn uri(&self, options: Option<&Value>) -> String {
        let mut uri = match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        let namespaced = self.namespace.filter(|_| self.resource != Some("namespaces"));
        let namespace = namespaced.map(|namespace| format!("namespaces/{namespace}"));
        let parts = [namespace.as_deref(), self.resource, self.name, self.subresource];
        for part in parts.into_iter().flatten() {
            uri.push('/');
            uri.push_str(part);
        }
        let command = options.and_then(|options| options.get("command")).and_then(Value::as_array);
        let words = command.into_iter().flatten().filter_map(Value::as_str);
        for (index, word) in words.enumerate() {
            uri.push_str(if index == 0 { "?command=" } else { "&command=" });
            for byte in word.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        uri.push(char::from(byte));
                    }
                    _ => uri.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        uri
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_names_are_taken_apart() {
        for (name, uri, expected) in [
            (
                "core/v1/namespaces/shop/pods/web-0/exec",
                "/api/v1/namespaces/shop/pods/web-0/exec",
                json!({"resource": "pods", "namespace": "shop", "name": "web-0", "apiVersion": "v1", "subresource": "exec"}),
            ),
            (
                "rbac.authorization.k8s.io/v1/clusterrolebindings/x",
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/x",
                json!({"resource": "clusterrolebindings", "name": "x", "apiGroup": "rbac.authorization.k8s.io", "apiVersion": "v1"}),
            ),
            (
                "core/v1/namespaces/shop",
                "/api/v1/namespaces/shop",
                json!({"resource": "namespaces", "namespace": "shop", "name": "shop", "apiVersion": "v1"}),
            ),
            (
                "core/v1/namespaces/shop/secrets",
                "/api/v1/namespaces/shop/secrets",
                json!({"resource": "secrets", "namespace": "shop", "apiVersion": "v1"}),
            ),
        ] {
            let object = Object::parse(name);
            assert_eq!(object.reference(), expected, "{name}");
            assert_eq!(object.uri(None), uri);
        }
        assert_eq!(Object::parse("healthz").reference(), Value::Null);
    }

    #[test]
    fn an_exec_shows_what_it_ran_and_how_it_ended() {
        let entry = json!({
            "insertId": "id",
            "timestamp": "2026-01-05T22:14:01Z",
            "labels": {"authorization.k8s.io/decision": "allow"},
            "protoPayload": {
                "methodName": "io.k8s.core.v1.pods.exec.create",
                "resourceName": "core/v1/namespaces/shop/pods/web-0/exec",
                "request": {"@type": "core.k8s.io/v1.PodExecOptions", "command": ["sh", "-c", "id; w"]},
                "status": {},
            },
        });
        let event = convert(&entry).unwrap();
        assert_eq!(event["stage"], "ResponseStarted");
        assert_eq!(event["responseStatus"]["code"], 101);
        assert_eq!(
            event["requestURI"],
            "/api/v1/namespaces/shop/pods/web-0/exec?command=sh&command=-c&command=id%3B%20w"
        );
        assert_eq!(event["verb"], "create");
        assert_eq!(event["level"], "Request");
        let denied = json!({"code": 7, "message": "no"});
        assert_eq!(status(Some(&denied), "get", false), json!({"code": 403, "message": "no"}));
    }
}
